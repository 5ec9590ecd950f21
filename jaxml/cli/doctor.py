"""`jaxml doctor`: what this machine has, and what is missing."""

import importlib.metadata
import os
import platform
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from jaxml import __version__
from jaxml.cli import terminal
from jaxml.data import datasets, sources

__all__ = ["command"]

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
EXTRAS = {  # extra -> distributions it brings
    "plots": ("matplotlib", "pillow"),
    "tensorboard": ("tensorboardX",),
    "records": ("grain", "array-record"),
    "sklearn": ("scikit-learn",),
    "text": ("tokenizers",),
}
VARIABLES = (  # beginnings of names
    "JAXML_",
    "JAX_",
    "XLA_",
    "CUDA_VISIBLE_DEVICES",
    "TPU_",
    "LIBTPU_",
    "SLURM_",
    "OMPI_COMM_WORLD_",
)
Row = tuple[str, str]


def command(arguments: Sequence[str]) -> int:
    """Run `jaxml doctor`; the exit code is 0 whatever it finds."""
    terminal.Parser(
        "doctor", description="Show what this machine has, and what is missing."
    ).parse_args(arguments)
    warnings: list[str] = []
    parts = (_versions, _devices, _memory, _caches, _data, _environment)
    for part in parts:
        rows = list(part(warnings))
        terminal.table((part.__name__.strip("_"), ""), rows or [("none", "")])
        terminal.say("")
    for warning in warnings:
        terminal.say(f"warning: {warning}")
    if not warnings:
        terminal.say("nothing is missing")
    return 0


def _versions(warnings: list[str]) -> Iterator[Row]:
    yield "python", f"{platform.python_version()} on {platform.platform()}"
    yield "jaxml", __version__
    for name in PACKAGES:
        yield name, _version(name) or "absent"
        if _version(name) is None:
            warnings.append(f"{name} is not installed, and jaxml needs it")
    for extra, names in EXTRAS.items():
        found = [f"{name} {_version(name) or 'absent'}" for name in names]
        yield f"[{extra}]", ", ".join(found)
        if not all(map(_version, names)):
            warnings.append(f"without [{extra}]: pip install 'jaxml-learn[{extra}]'")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _devices(warnings: list[str]) -> Iterator[Row]:
    import jax

    try:
        devices = jax.local_devices()
    except Exception as error:  # JAX raises many kinds, one of them without a word
        asked = os.environ.get("JAX_PLATFORMS") or "any platform"
        warnings.append(
            f"JAX cannot start on {asked}: {str(error) or 'no such device'}"
        )
        return
    yield "backend", jax.default_backend()
    yield "processes", f"{jax.process_index()} of {jax.process_count()}"
    for device in devices:
        memory = device.memory_stats() or {}
        used, limit = memory.get("bytes_in_use"), memory.get("bytes_limit")
        shown = f", {_size(used)} of {_size(limit)} in use" if limit else ""
        yield str(device), f"{device.device_kind}{shown}"
    if jax.default_backend() == "cpu" and shutil.which("nvidia-smi"):
        warnings.append(
            "there is a GPU that JAX does not use: pip install 'jax[cuda12]'"
        )


def _memory(warnings: list[str]) -> Iterator[Row]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    yield "cores", f"{cores or os.cpu_count()} of {os.cpu_count()}"
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        page = os.sysconf("SC_PAGE_SIZE")
        yield "host memory", _size(page * os.sysconf("SC_PHYS_PAGES"))
        if "SC_AVPHYS_PAGES" in os.sysconf_names:
            yield "free of it", _size(page * os.sysconf("SC_AVPHYS_PAGES"))
    disk = shutil.disk_usage(Path.cwd())
    yield "disk here", f"{_size(disk.free)} free of {_size(disk.total)}"
    if disk.free < 1 << 30:
        warnings.append(f"the disk of {Path.cwd()} has {_size(disk.free)} left")


def _caches(warnings: list[str]) -> Iterator[Row]:
    programs = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    folders = {
        "data": sources.cache(),
        "programs": Path(programs) if programs else sources.cache().parent / "xla",
    }
    for name, folder in folders.items():
        files = [path for path in folder.rglob("*") if path.is_file()]
        size = _size(sum(path.stat().st_size for path in files))
        yield name, f"{folder}: {len(files)} files, {size}"
        parent = next(p for p in (folder, *folder.parents) if p.exists())
        if not os.access(parent, os.W_OK):
            warnings.append(f"the cache {folder} cannot be written")


def _data(warnings: list[str]) -> Iterator[Row]:
    named = os.environ.get("JAXML_DATA")
    if named and not Path(named).is_dir():
        warnings.append(f"JAXML_DATA names {named}, which is no folder")
    for name in datasets.NAMES:
        paths = datasets.describe(name).paths
        yield name, str(paths[0].parent) if paths else f"jaxml data get {name}"


def _environment(warnings: list[str]) -> Iterator[Row]:
    for name in sorted(os.environ):
        if name.startswith(VARIABLES):
            yield name, os.environ[name]
    if os.environ.get("JAX_ENABLE_X64", "0").lower() in ("1", "true"):
        warnings.append("JAX_ENABLE_X64 is on: accelerators are slow in float64")
    if os.environ.get("JAX_DEBUG_NANS", "0").lower() in ("1", "true"):
        warnings.append("JAX_DEBUG_NANS is on: every step waits for the device")


def _size(count: int | float | None) -> str:
    """Bytes in words."""
    if count is None:
        return "unknown"
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
