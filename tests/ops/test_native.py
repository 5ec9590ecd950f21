import os
import signal
import stat
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.ops import native

HAS_COMPILER = native.enabled("sgd")
needs_compiler = pytest.mark.skipif(not HAS_COMPILER, reason=native.reason("sgd"))

# Builds, sorts by the kernel if there is one, and says where the library is.
BUILD = """
import jax.numpy as jnp
from jaxml.ops import native
if native.enabled("sgd"):
    print(native.argsort(jnp.array([3, 1, 2], jnp.uint32)).tolist())
print(native.reason("sgd"))
"""


def start(cache, **environment):
    """A fresh process that builds into `cache`."""
    return subprocess.Popen(
        [sys.executable, "-c", BUILD],
        env={**os.environ, "JAXML_CACHE": str(cache), "XLA_FLAGS": "", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    return out.splitlines()


def compiler(folder, script):
    """A stand-in for a compiler."""
    path = folder / "compiler"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def libraries(cache):
    return sorted(path.suffix for path in (cache / "native").iterdir())


class TestWithoutKernel:
    """XLA serves, and `reason` says why."""

    def test_no_compiler(self, tmp_path):
        out = finish(start(tmp_path, CXX="no-such-compiler"))
        assert out == ["no C++ compiler: looked for no-such-compiler"]

    def test_a_compiler_that_fails(self, tmp_path):
        broken = compiler(tmp_path, 'echo "out of order" >&2; exit 1')
        out = finish(start(tmp_path, CXX=broken))
        assert out == [f"{broken} failed: out of order"]
        assert libraries(tmp_path) == []

    def test_a_compiler_that_makes_no_library(self, tmp_path):
        broken = compiler(tmp_path, "exit 0")  # it leaves the empty file that it got
        out = finish(start(tmp_path, CXX=broken))
        assert len(out) == 1
        assert "file too short" in out[0]

    def test_a_cache_that_cannot_be_written(self, tmp_path):
        (tmp_path / "file").write_text("")
        out = finish(start(tmp_path / "file"))
        assert len(out) == 1
        assert "Not a directory" in out[0]

    def test_switched_off(self, monkeypatch):
        monkeypatch.setenv("JAXML_NATIVE", "0")
        assert not native.enabled("sgd")
        assert native.reason("sgd") == "switched off by JAXML_NATIVE=0"


@needs_compiler
class TestBuild:
    def test_two_processes_at_once_and_one_killed_before(self, tmp_path):
        # A compiler whose work is done already, and that takes a second for it.
        made = native.reason("sgd")
        slow = compiler(tmp_path, f'for last; do :; done; sleep 1; cp {made} "$last"')
        killed = start(tmp_path, CXX=slow)
        folder = tmp_path / "native"
        deadline = time.monotonic() + 100
        while not (folder.exists() and list(folder.glob("*.tmp"))):
            assert time.monotonic() < deadline
            assert killed.poll() is None
            time.sleep(0.02)
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
        assert ".so" not in libraries(tmp_path)
        both = [start(tmp_path, CXX=slow), start(tmp_path, CXX=slow)]
        for process in both:
            order, path = finish(process)
            assert order == "[1, 2, 0]"
            assert path.startswith(str(folder))
        assert libraries(tmp_path).count(".so") == 1

    def test_another_source_has_another_name(self, tmp_path, monkeypatch):
        source = tmp_path / "sgd.cc"
        source.write_text("int one() { return 1; }")
        monkeypatch.setenv("JAXML_CACHE", str(tmp_path))
        monkeypatch.setattr(native, "__file__", str(tmp_path / "native.py"))
        first, digest = native._build("sgd")
        assert native._build("sgd") == (first, digest)
        source.write_text("int one() { return 2; }")
        assert native._build("sgd")[1] != digest

    def test_a_changed_header_makes_another_name(self, tmp_path, monkeypatch):
        (tmp_path / "sgd.cc").write_text(
            '#include "one.h"\nint two() { return one(); }'
        )
        (tmp_path / "one.h").write_text('#pragma once\n#include "deep.h"')
        monkeypatch.setenv("JAXML_CACHE", str(tmp_path))
        monkeypatch.setattr(native, "__file__", str(tmp_path / "native.py"))
        made = set()
        for body in ("return 1;", "return 2;"):
            (tmp_path / "deep.h").write_text(f"inline int one() {{ {body} }}")
            made.add(native._build("sgd")[1])
        (tmp_path / "other.h").write_text("no part of it")
        made.add(native._build("sgd")[1])
        assert len(made) == 2


@needs_compiler
class TestCall:
    def test_order_is_stable(self, key):
        bits = jax.random.bits(key, (3000,), jnp.uint32)
        for mask in (0xFFFFFFFF, 0xFF, 0xFF000000):
            some = bits & jnp.uint32(mask)
            expected = np.argsort(np.asarray(some), kind="stable")
            np.testing.assert_array_equal(native.argsort(some), expected)
            np.testing.assert_array_equal(jax.jit(native.argsort)(some), expected)

    def test_vmap_runs_it_for_each(self, key):
        bits = jax.random.bits(key, (3, 20), jnp.uint32)
        expected = np.argsort(np.asarray(bits), axis=1, kind="stable")
        np.testing.assert_array_equal(jax.vmap(native.argsort)(bits), expected)

    @pytest.mark.parametrize(("platform", "kernel"), [("cpu", True), ("cuda", False)])
    def test_other_platforms_get_the_fallback(self, platform, kernel):
        shape = jax.ShapeDtypeStruct((8,), jnp.uint32)
        traced = jax.jit(native.argsort).trace(shape)
        program = traced.lower(lowering_platforms=(platform,)).as_text()
        assert ("jaxml_argsort" in program) == kernel
