"""Damaged, killed, full: a whole checkpoint or a clear error, and nothing else."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from jaxml.train import commit, digest
from jaxml.train.checkpoint import Checkpoints, SaveError


def make_state(seed=0):
    return {"kernel": jnp.arange(12.0).reshape(3, 4) + seed, "step": jnp.asarray(seed)}


def assert_same(got, wanted):
    for name, leaf in wanted.items():
        np.testing.assert_array_equal(got[name], leaf)


def filled(folder, steps=(1, 2, 3), **options):
    """A closed folder with a checkpoint for each step."""
    with Checkpoints(folder, **options) as checkpoints:
        for step in steps:
            checkpoints.save(step, make_state(step))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "checkpoints"


def test_every_flipped_byte_is_found(folder):
    filled(folder, steps=(1, 2))
    wanted = make_state(1)
    files = sorted(path for path in (folder / "2").rglob("*") if path.is_file())
    assert len(files) >= 4
    for path in files:
        sound = path.read_bytes()
        for at in np.linspace(0, len(sound) - 1, 12).astype(int):
            damaged = bytearray(sound)
            damaged[at] ^= 0x10
            path.write_bytes(damaged)
            with Checkpoints(folder) as checkpoints:
                restored = checkpoints.restore(wanted)
            assert restored.step == 1
            assert_same(restored.state, wanted)
            assert path.name in restored.skipped[0]
        path.write_bytes(sound)
    with Checkpoints(folder) as checkpoints:
        assert checkpoints.restore(wanted).step == 2


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def test_short_and_missing_files_are_found(folder):
    filled(folder, steps=(1, 2))
    for name in sorted(
        str(path.relative_to(folder / "2"))
        for path in (folder / "2").rglob("*")
        if path.is_file()
    ):
        for harm in (cut, Path.unlink):
            kept = shutil.copytree(folder / "2", folder.parent / "kept")
            harm(folder / "2" / name)
            with Checkpoints(folder) as checkpoints:
                restored = checkpoints.restore(make_state())
            assert restored.step == 1
            assert restored.skipped[0].startswith(f"step 2: {name} ")
            assert_same(restored.state, make_state(1))
            shutil.rmtree(folder / "2")
            kept.rename(folder / "2")


def test_rejects_a_folder_where_none_is_sound(folder):
    filled(folder)
    for step in (1, 2, 3):
        (folder / str(step) / "index.json").unlink()
    with Checkpoints(folder) as checkpoints:
        told = "is sound: step 3: index.json is missing; step 2"
        with pytest.raises(digest.DamagedError, match=told):
            checkpoints.restore(make_state())


def test_damaged_ones_are_not_among_the_kept(folder):
    filled(folder)
    cut(folder / "3" / "index.json")
    cut(folder / "2" / "index.json")
    with Checkpoints(folder, keep=2) as checkpoints:
        assert checkpoints.restore(make_state()).step == 1
        checkpoints.save(2, make_state(2), wait=True)
        assert checkpoints.steps() == [1, 2]
        assert checkpoints.restore(make_state()).step == 2


def test_best_falls_back(folder):
    with Checkpoints(folder) as checkpoints:
        for step, score in enumerate([0.1, 0.2, 0.3]):
            checkpoints.save(step, make_state(step), score=score, wait=True)
        cut(folder / "0" / "arrays" / "_METADATA")
        best = checkpoints.best(make_state())
    assert best.step == 1
    assert "step 0: arrays/_METADATA" in best.skipped[0]


def test_leftovers_go_with_the_first_save(folder):
    filled(folder)
    for name in (".4.partial", ".1.gone", ".2.old"):
        (folder / name / "arrays").mkdir(parents=True)
    (folder / "3").rename(folder / ".3.old")  # killed between two renames
    with Checkpoints(folder, keep=9) as checkpoints:
        assert checkpoints.restore(make_state()).step == 3  # reading removes nothing
        assert (folder / ".4.partial").exists()
        checkpoints.save(5, make_state(5), wait=True)
    assert sorted(path.name for path in folder.iterdir()) == ["1", "2", "3", "5"]


class Killed(BaseException):
    """Not an Exception: no handler of the library sees it, as none sees SIGKILL."""


def test_killed_at_any_call_leaves_a_whole_one(folder, monkeypatch):
    """Die before each call that changes the disk, in turn."""
    calls, last = [0], [0]

    def mortal(owner, name):
        original = getattr(owner, name)

        def call(*args, **kwargs):
            calls[0] += 1
            if calls[0] == last[0]:
                files = Path(args[0]).rglob("*.*") if name == "rmtree" else ()
                for path in files:
                    path.unlink()  # it dies half-way
                raise Killed
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, call)

    mortal(Path, "mkdir")
    mortal(Path, "rename")
    mortal(shutil, "rmtree")
    mortal(os, "fsync")
    mortal(json, "dump")
    mortal(ocp.PyTreeCheckpointHandler, "save")
    for number in range(1, 99):
        last[0] = 0
        shutil.rmtree(folder, ignore_errors=True)
        filled(folder, steps=(1, 2), keep=1, keep_best=0)
        checkpoints = Checkpoints(folder, keep=1, keep_best=0)
        calls[0], last[0] = 0, number
        try:
            checkpoints.save(2, make_state(7))  # replaces
            checkpoints.save(3, make_state(3), wait=True)  # removes the one before
        except Killed:
            last[0] = 0
        else:
            break
        for path in commit.found(folder).values():
            digest.check(path)
        with Checkpoints(folder, keep=1, keep_best=0) as checkpoints:
            restored = checkpoints.restore(make_state())
            saved = int(restored.state["step"])
            assert saved in {2: (2, 7), 3: (3,)}[restored.step]
            assert_same(restored.state, make_state(saved))
            checkpoints.save(4, make_state(4))
        assert [path.name for path in folder.iterdir()] == ["4"]
    assert number > 20


WRITER = """
import sys
import jax.numpy as jnp
from jaxml.train.checkpoint import Checkpoints
with Checkpoints(sys.argv[1], keep=2) as checkpoints:
    for step in range(int(sys.argv[2]), 10**6):
        checkpoints.save(step, {"step": jnp.full(50_000, step), "b": jnp.asarray(step)})
        print(step, flush=True)
"""


def start(code, *args):
    command = [sys.executable, "-c", code, *map(str, args)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_sigkill_while_saving(folder):
    rng = np.random.default_rng(0)
    template = {"step": jnp.zeros(50_000, int), "b": jnp.zeros((), int)}
    first = 0
    for _ in range(3):
        process = start(WRITER, folder, first)
        try:
            for _ in range(3):
                process.stdout.readline()
            time.sleep(rng.uniform(0, 0.1))
        finally:
            process.send_signal(signal.SIGKILL)
            process.communicate()
        with Checkpoints(folder) as checkpoints:
            restored = checkpoints.restore(template)
        assert restored.skipped == ()
        assert restored.step >= first
        assert np.unique(restored.state["step"]) == restored.step == restored.state["b"]
        first = restored.step + 1


def fail(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("surface", ["wait", "save", "close"])
def test_full_disk_surfaces_and_harms_nothing(folder, surface, monkeypatch):
    filled(folder, steps=(1,))
    checkpoints = Checkpoints(folder)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        checkpoints.save(2, make_state(2))
        told = rf"cannot save step 2; earlier .* untouched. No space left.*{folder}"
        arguments = (3, make_state(3)) if surface == "save" else ()
        with pytest.raises(SaveError, match=told) as caught:
            getattr(checkpoints, surface)(*arguments)
    assert caught.value.errno == errno.ENOSPC
    assert [path.name for path in folder.iterdir()] == ["1"]
    with Checkpoints(folder) as checkpoints:
        assert_same(checkpoints.restore(make_state()).state, make_state(1))
        checkpoints.save(2, make_state(2), wait=True)
        assert checkpoints.steps() == [1, 2]


FULL = """
import resource, sys
import jax.numpy as jnp
from jaxml.train.checkpoint import Checkpoints, SaveError
checkpoints = Checkpoints(sys.argv[1])
checkpoints.save(1, {"x": jnp.zeros(10)}, wait=True)
for size in (100_000, 1_000_000):  # packed, and of its own
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        checkpoints.save(2, {"x": jnp.ones(size)}, wait=True)
    except SaveError as error:
        print(error)
print(checkpoints.steps(), checkpoints.restore({"x": jnp.zeros(10)}).step)
"""


def test_a_real_limit_of_the_file_size(folder):
    process = start(FULL, folder)
    output, errors = process.communicate(timeout=60)
    lines = output.splitlines()
    assert len(lines) == 3, output + errors
    for line in lines[:2]:
        assert "File too large" in line
        assert str(folder) in line
    assert lines[2] == "[1] 1"
    assert [path.name for path in folder.iterdir()] == ["1"]


def test_rejects_a_folder_under_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"Not a directory.*file"):
        Checkpoints(tmp_path / "file" / "checkpoints")


def test_no_permission_to_write(folder, monkeypatch):
    filled(folder, steps=(1,))

    def forbid(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    checkpoints = Checkpoints(folder)
    monkeypatch.setattr(Path, "mkdir", forbid)
    with pytest.raises(SaveError, match=rf"Permission denied.*{folder}"):
        checkpoints.save(2, make_state(2), wait=True)
    assert checkpoints.restore(make_state()).step == 1


def test_no_permission_to_read_is_no_damage(folder, monkeypatch):
    filled(folder)

    def forbid(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(digest, "_digest", forbid)
    with Checkpoints(folder) as checkpoints, pytest.raises(PermissionError):
        checkpoints.restore(make_state())
