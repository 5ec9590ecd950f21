"""Optional C++ kernels for a CPU, compiled at first use; without a compiler XLA serves.

if native.enabled("sgd"):
    outputs = native.call("sgd", "sgd_epoch_float32", fallback, shapes, *inputs)

Only loops that XLA runs badly have one: steps that depend on each other, each of a few
nanoseconds. A kernel takes and gives the same arrays as `fallback`, a function in JAX
that stands for it on a GPU or a TPU, in derivatives, where no compiler is found, and
where the environment says JAXML_NATIVE=0.

The library lies in the folder `native` of the cache (JAXML_CACHE, or ~/.cache/jaxml),
under a name made of all that it depends on. A program that was exported or stored with
a kernel needs the kernel where it is loaded: export with JAXML_NATIVE=0.
"""

import ctypes
import functools
import hashlib
import logging
import os
import platform
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
from jaxtyping import Array, Int, UInt32

__all__ = ["argsort", "call", "enabled", "reason"]

_FUNCTIONS = {
    "sgd": ("argsort", "sgd_epoch_float32", "sgd_epoch_float64"),
    "dual_coordinate": ("dual_coordinate_float32", "dual_coordinate_float64"),
    "bins": ("bins_find_float32", "bins_find_float64"),
    "codes": ("codes_float32", "codes_float64"),
    "select": ("select_float32", "select_float64"),
    "cart": ("cart_grow_float32", "cart_grow_float64"),
    "boost": ("boost_float32", "boost_float64"),
    "histogram": ("histogram_float32", "histogram_float64"),
    "trees": (
        "trees_sum_float32",
        "trees_sum_float64",
        "trees_leaves_float32",
        "trees_leaves_float64",
    ),
    "lstm": ("lstm_forward", "lstm_backward"),
    "trees_shap": ("trees_shap_float32", "trees_shap_float64"),
}
_FLAGS = ("-O3", "-shared", "-fPIC", "-std=c++17", "-fopenmp-simd", "-w")
_SECONDS = 120  # a compiler that takes longer is taken for broken
_lock = threading.Lock()


def enabled(source: str) -> bool:
    """Whether the kernels of a source are built, wanted and loaded.

    The first call in a process may compile (seconds, once on a machine). Call it where
    a program is chosen, not inside of a jitted function, and pass the answer on as a
    static argument: then a change of the environment is seen.

    Args:
        source: name of a file `jaxml/ops/*.cc`.
    """
    return os.environ.get("JAXML_NATIVE", "1") != "0" and _load(source)[0] is not None


def reason(source: str) -> str:
    """Where the library of a source lies, or why there is none."""
    if os.environ.get("JAXML_NATIVE", "1") == "0":
        return "switched off by JAXML_NATIVE=0"
    return _load(source)[1]


def call(
    source: str,
    function: str,
    fallback: Callable[..., Sequence[Array]],
    shapes: Sequence[jax.ShapeDtypeStruct],
    *inputs: Array,
    **attributes: int,
) -> Sequence[Array]:
    """Run a kernel on a CPU, and `fallback` elsewhere and for derivatives.

    Args:
        source: name of the source; `enabled(source)` must be true.
        function: name of the kernel.
        fallback: the same function in JAX, of the same arrays.
        shapes: of the results.
        inputs: arrays.
        attributes: static numbers of the kernel.
    """
    name = _target(function, _load(source)[0])
    static = {key: np.int32(value) for key, value in attributes.items()}

    def kernel(*inputs):
        shaped = jax.ffi.ffi_call(name, list(shapes), vmap_method="sequential")
        return tuple(shaped(*inputs, **static))

    @jax.custom_jvp
    def run(*inputs):
        return jax.lax.platform_dependent(
            *inputs, cpu=kernel, default=lambda *inputs: tuple(fallback(*inputs))
        )

    @run.defjvp
    def tangent(primals, tangents):
        return jax.jvp(lambda *inputs: tuple(fallback(*inputs)), primals, tangents)

    return run(*inputs)


def argsort(bits: UInt32[Array, "n"]) -> Int[Array, "n"]:
    """Stable order of unsigned integers, by a radix sort; needs `enabled("sgd")`."""
    shape = jax.ShapeDtypeStruct(bits.shape, jnp.int32)

    def fallback(bits):
        return (jnp.argsort(bits, stable=True).astype(jnp.int32),)

    return call("sgd", "argsort", fallback, [shape], bits)[0]


@functools.cache
def _once(source: str) -> tuple[str | None, str]:
    """Digest of the loaded library, or None; and its path, or what is wrong."""
    try:
        path, digest = _build(source)
        library = ctypes.CDLL(str(path))
        for function in _FUNCTIONS[source]:
            capsule = jax.ffi.pycapsule(getattr(library, function))
            jax.ffi.register_ffi_target(
                _target(function, digest), capsule, platform="cpu"
            )
    except (OSError, RuntimeError, AttributeError, subprocess.SubprocessError) as error:
        logging.getLogger(__name__).info("%s: no native kernel: %s", source, error)
        return None, str(error)
    return digest, str(path)


def _load(source: str) -> tuple[str | None, str]:
    with _lock:  # two threads must not register one name
        return _once(source)


def _target(function: str, digest: str | None) -> str:
    """Name in a program; another source has another, so stored programs can't mix."""
    return f"jaxml_{function}_{digest}"


def _build(source: str) -> tuple[Path, str]:
    """Path of the library, compiled if it is not in the cache, and its digest."""
    code = Path(__file__).with_name(f"{source}.cc")
    compiler = _compiler()
    version = subprocess.run(
        [compiler, "--version"], capture_output=True, text=True, timeout=_SECONDS
    )
    parts = [*_texts(code), jaxlib.__version__, version.stdout, *_FLAGS]
    parts += [platform.system(), platform.machine()]
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    folder = _cache()
    path = folder / f"{source}-{digest}.so"
    if path.exists():
        return path, digest
    folder.mkdir(parents=True, exist_ok=True)
    # Processes that build at once, or die while they do, leave whole files or none.
    handle, name = tempfile.mkstemp(prefix=f"{source}-", suffix=".tmp", dir=folder)
    os.close(handle)
    folders = ["-I", jax.ffi.include_dir(), "-I", str(code.parent)]
    command = [compiler, *_FLAGS, *folders, str(code), "-o", name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
        if done.returncode:
            raise RuntimeError(f"{compiler} failed: {done.stderr[-500:].strip()}")
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)
    return path, digest


def _texts(code: Path) -> list[str]:
    """The text of a source and of the headers beside it that it includes."""
    texts: dict[Path, str] = {}
    todo = [code]
    while todo:
        path = todo.pop()
        if path not in texts and path.exists():
            texts[path] = path.read_text()
            names = re.findall(r'^\s*#\s*include\s*"([^"]+)"', texts[path], re.M)
            todo += [code.parent / name for name in names]
    return [texts[path] for path in sorted(texts)]


def _compiler() -> str:
    """Path of the C++ compiler: CXX, or one of the usual names."""
    wanted = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "clang++", "c++"]
    for name in wanted:
        found = shutil.which(name)
        if found:
            return found
    raise RuntimeError(f"no C++ compiler: looked for {', '.join(wanted)}")


def _cache() -> Path:
    home = os.environ.get("JAXML_CACHE") or Path.home() / ".cache" / "jaxml"
    return Path(home) / "native"
