"""Cases made by reference implementations: weights, inputs and the outputs they gave.

    case = read("open/bert_mlm.safetensors")
    case.tensors["bert.embeddings.word_embeddings.weight"]

A case is `<case>.safetensors` with `params/...`, `inputs/...` and `outputs/...` beside
`<case>.json`. Weights that are not stored are drawn again: each value is a function of
the seed of the case, the name of the tensor, and its kind.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxml.zoo import builder, safetensors

__all__ = ["Case", "config", "draw", "read"]

Number = int | float


class Case(NamedTuple):
    """One case."""

    name: str
    about: dict[str, Any]  # the JSON beside it
    tensors: dict[str, np.ndarray]  # the checkpoint, by the names of its library
    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]

    @property
    def library(self) -> str:
        return self.about["library"]

    @property
    def network(self) -> str:
        """The class of the reference."""
        return self.about["class"]

    @property
    def config(self) -> dict[str, Any]:
        return config(self.about)


def config(about: Mapping[str, Any]) -> dict[str, Any]:
    """The config that a case, or a manifest of a checkpoint, holds.

    Returns:
        That of config.json; or the call that builds the network (`builder.parse`);
        or {"text": ...} where the text is no call.
    """
    found = about.get("config") or {}
    if "config_json" in found:
        return found["config_json"]
    text = about.get("builder") or found.get("builder")
    if text is None:
        return found
    try:
        return builder.parse(text)
    except ValueError:
        return {"text": text}


def read(path: str | os.PathLike) -> Case:
    """Read a case from its safetensors file, its JSON, or their common stem.

    Raises:
        ValueError: the file is not sound, or not a case of a network.
        OSError: a file cannot be read.
    """
    stem = Path(path)
    if stem.suffix in (".safetensors", ".json"):
        stem = stem.with_suffix("")
    about = json.loads(stem.with_name(f"{stem.name}.json").read_text())
    if not isinstance(about, dict) or not {"library", "class"} <= set(about):
        raise ValueError(f"{stem}.json must name the library and class of a network")
    file = safetensors.read(stem.with_name(f"{stem.name}.safetensors"))
    groups: dict[str, dict[str, np.ndarray]] = {
        "params": {},
        "inputs": {},
        "outputs": {},
    }
    for name in file:
        group, _, rest = name.partition("/")
        if group not in groups:
            raise ValueError(f"{stem}: a tensor must be in {list(groups)}; got {name}")
        groups[group][rest] = file[name]
    tensors = groups["params"]
    for name, line in about.get("weights", {}).get("recipe", {}).items():
        if name not in tensors:
            tensors[name] = draw(about["seed"], name, *line)
    return Case(stem.name, about, tensors, groups["inputs"], groups["outputs"])


def draw(
    seed: int,
    name: str,
    shape: Any,
    kind: str,
    a: float | int = 0.0,
    b: float | int = 1.0,
) -> np.ndarray:
    """The weights of a case that does not store them.

    Args:
        seed: of the case.
        name: of the tensor.
        shape: of the tensor.
        kind: "normal" (mean a, deviation b), "uniform" (from a to b) or "zeros_i64".
        a: see kind.
        b: see kind.

    Raises:
        ValueError: an unknown kind.
    """
    if kind == "zeros_i64":
        return np.zeros(shape, np.int64)
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    # NumPy promises that this stream never changes (NEP 19).
    random = np.random.RandomState(int.from_bytes(digest[:4], "little"))
    if kind == "normal":
        values = a + b * random.standard_normal(shape)
    elif kind == "uniform":
        values = a + (b - a) * random.random_sample(shape)
    else:
        raise ValueError(f"kind must be normal, uniform or zeros_i64; got {kind!r}")
    return np.asarray(values, np.float32).reshape(shape)
