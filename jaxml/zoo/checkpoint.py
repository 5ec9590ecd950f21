"""The files of a checkpoint: a Hugging Face folder, or one file of weights.

    config, tensors = read("bert-base-uncased")      # config.json, *.safetensors

The tensors stay on the disk until they are read, one by one.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jaxml.zoo import safetensors
from jaxml.zoo.safetensors import FormatError, Tensors

__all__ = ["Checkpoint", "read", "sharded", "write"]

INDEX = ".safetensors.index.json"
NAMES = ("model", "diffusion_pytorch_model", "pytorch_model")  # sought in this order
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_LONGEST = 100_000_000  # bytes of a JSON file


class Checkpoint(NamedTuple):
    """What a folder or file holds."""

    config: dict[str, Any] | None  # of config.json, if there is one
    tensors: Tensors


def read(path: str | os.PathLike) -> Checkpoint:
    """Open a checkpoint; the tensors stay on the disk.

    Args:
        path: a folder, a `.safetensors` file, or the index of several.

    Raises:
        FormatError: a file is damaged, hostile, or a pickle, which is never opened.
        FileNotFoundError: there is nothing to read.
    """
    path = Path(path)
    if path.is_dir():
        config = path / "config.json"
        return Checkpoint(_json(config) if config.exists() else None, _of_folder(path))
    if path.suffix in PICKLES and path.exists():
        raise FormatError(_refusal(path))
    if path.name.endswith(INDEX):
        return Checkpoint(None, sharded(path))
    return Checkpoint(None, safetensors.read(path))


def _of_folder(folder: Path) -> Tensors:
    for name in NAMES:
        if (folder / f"{name}.safetensors").exists():
            return safetensors.read(folder / f"{name}.safetensors")
        if (folder / f"{name}{INDEX}").exists():
            return sharded(folder / f"{name}{INDEX}")
    files = sorted(folder.glob("*.safetensors"))
    if len(files) == 1:
        return safetensors.read(files[0])
    if files:
        names = ", ".join(file.name for file in files)
        raise FormatError(f"{folder} must hold one {NAMES[0]}{INDEX}, beside {names}")
    pickles = [file for file in sorted(folder.iterdir()) if file.suffix in PICKLES]
    if pickles:
        raise FormatError(_refusal(pickles[0]))
    raise FileNotFoundError(f"{folder} must hold {NAMES[0]}.safetensors; it does not")


def _refusal(path: Path) -> str:
    """Why a pickle is not read, and the line that converts it."""
    target = path.with_suffix(".safetensors")
    code = (
        "import torch, safetensors.torch as s; "
        f"w = torch.load({str(path)!r}, map_location='cpu', weights_only=True); "
        "s.save_file({k: v.contiguous().clone() for k, v in w.items()}, "
        f"{str(target)!r})"
    )
    return (
        f"{path} is a pickle, which runs any code when it is opened; convert it where "
        f'torch is installed:\npython -c "{code}"'
    )


def sharded(index: str | os.PathLike) -> Tensors:
    """Open the files that an index names, as one.

    Raises:
        FormatError: a shard is absent, or holds other tensors than the index says, or
            its name leads out of the folder.
    """
    index = Path(index)
    table = _json(index)
    places = table.get("weight_map")
    if not isinstance(places, dict) or not all(
        isinstance(file, str) for file in places.values()
    ):
        raise FormatError(f"{index} must have a weight_map of names to files")
    for file in set(places.values()):
        if Path(file).name != file or "\\" in file or not file.endswith(".safetensors"):
            raise FormatError(f"{index}: a shard must lie beside it; got {file!r}")
        if not (index.parent / file).is_file():
            raise FormatError(f"{index}: the shard {file} is absent")
    shards = {
        file: safetensors.read(index.parent / file) for file in set(places.values())
    }
    for file, shard in sorted(shards.items()):
        meant = {name for name, place in places.items() if place == file}
        lost, foreign = sorted(meant - set(shard)), sorted(set(shard) - meant)
        if lost or foreign:
            raise FormatError(
                f"{index}: {file} must hold the tensors that the index says; missing "
                f"{lost[:5] or 'none'}, foreign {foreign[:5] or 'none'}"
            )
    joined = Tensors.joined([shards[file] for file in sorted(shards)])
    return joined


def _json(path: Path) -> dict[str, Any]:
    if path.stat().st_size > _LONGEST:
        raise FormatError(f"{path} must have at most {_LONGEST} bytes")
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path} is no JSON ({error})") from error
    if not isinstance(found, dict):
        raise FormatError(f"{path} must hold a JSON object")
    return found


def write(
    folder: str | os.PathLike,
    tensors: Mapping[str, Any],
    *,
    config: Mapping[str, Any] | None = None,
    metadata: Mapping[str, str] | None = None,
    largest: int = 5_000_000_000,
) -> None:
    """Write a Hugging Face folder.

    Args:
        folder: made if it is absent.
        tensors: arrays, or what has `shape`, `dtype`, `nbytes` and `read()`.
        config: for config.json.
        metadata: of the files.
        largest: bytes of a file; more tensors go into further files with an index.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    groups: list[dict[str, Any]] = [{}]
    filled = 0
    for name in sorted(tensors):
        size = tensors[name].nbytes
        if groups[-1] and filled + size > largest:
            groups.append({})
            filled = 0
        groups[-1][name] = tensors[name]
        filled += size
    metadata = metadata or {"format": "pt"}
    stale = {file.name for name in NAMES for file in folder.glob(f"{name}*")}
    written = set()
    places: dict[str, str] = {}
    for number, group in enumerate(groups, 1):
        name = f"{NAMES[0]}.safetensors"
        if len(groups) > 1:
            name = f"{NAMES[0]}-{number:05}-of-{len(groups):05}.safetensors"
        safetensors.write(folder / name, group, metadata=metadata)
        written.add(name)
        places |= dict.fromkeys(group, name)
    if len(groups) > 1:
        total = sum(tensor.nbytes for tensor in tensors.values())
        index = {"metadata": {"total_size": total}, "weight_map": places}
        _write_json(folder / f"{NAMES[0]}{INDEX}", index)
        written.add(f"{NAMES[0]}{INDEX}")
    if config is not None:
        _write_json(folder / "config.json", config)
    for name in (
        stale - written
    ):  # of an earlier save: a reader would take the wrong one
        if name.endswith((".safetensors", INDEX)):
            (folder / name).unlink()


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    text = json.dumps(value, indent=2, sort_keys=True) + "\n"
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    partial.write_text(text)
    os.replace(partial, path)
