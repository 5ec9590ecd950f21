"""What an exported function takes and gives, as `signature.json` beside it.

signature = read("runs/digits/export")
say(signature.input)                        # "uint8 [rows, 8, 8, 1]"
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

__all__ = ["Signature", "Spec", "fit", "named", "read", "say", "specs"]

FORMAT = 1
FILE = "signature.json"


@dataclass(frozen=True)
class Spec:
    """One array of the input or the output."""

    name: str  # path in the tree of arrays, "" where there is one alone
    shape: tuple[int | None, ...]  # None: the rows, axis 0
    dtype: str

    @property
    def row(self) -> tuple[int, ...]:
        """Shape of one row."""
        return tuple(size for size in self.shape if size is not None)


@dataclass(frozen=True)
class Signature:
    """What an export takes and gives."""

    input: tuple[Spec, ...]
    output: tuple[Spec, ...]
    classes: tuple[str, ...]  # names of the last axis of the output; () for numbers
    probabilities: bool  # with classes: the output sums to one; otherwise logits
    note: str
    platforms: tuple[str, ...]
    jax: str  # version that wrote it
    jaxml: str
    sha256: dict[str, str]  # of each other file
    format: int = FORMAT


def read(folder: str | Path) -> Signature:
    """What the export in `folder` takes and gives, without loading it.

    Raises:
        ValueError: if the folder is no export, or its signature is damaged.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        raise ValueError(f"{folder} is no export: it has no {FILE}")
    try:
        values = json.loads(path.read_bytes())
        for side in ("input", "output"):
            sides = [spec | {"shape": tuple(spec["shape"])} for spec in values[side]]
            values[side] = tuple(Spec(**spec) for spec in sides)
        values |= {name: tuple(values[name]) for name in ("classes", "platforms")}
        signature = Signature(**values)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if signature.format != FORMAT:
        raise ValueError(
            f"{path} has format {signature.format}; this jaxml reads {FORMAT}"
        )
    return signature


def fit(x, spec: Spec):
    """`x` as the program takes it."""
    wrong = f"the input must be {say([spec])}; got {say(specs(x))}"
    if x.ndim != len(spec.shape) or x.shape[1:] != spec.shape[1:] or not len(x):
        raise ValueError(wrong)
    dtype = jnp.dtype(spec.dtype)
    if jnp.issubdtype(dtype, jnp.integer) and jnp.issubdtype(x.dtype, jnp.integer):
        low, high = jnp.iinfo(dtype).min, jnp.iinfo(dtype).max
        if x.min() < low or x.max() > high:
            raise ValueError(f"{wrong} with values out of {low} to {high}")
    elif not (
        jnp.issubdtype(dtype, jnp.floating) and jnp.issubdtype(x.dtype, jnp.floating)
    ):
        if x.dtype != dtype:
            raise ValueError(wrong)
    return x.astype(dtype)


def say(arrays: Sequence[Spec]) -> str:
    """`image uint8 [rows, 28, 28, 1] and x float32 [rows, 8]`."""
    words = []
    for spec in arrays:
        sizes = ["rows" if size is None else str(size) for size in spec.shape]
        words.append(f"{spec.name} {spec.dtype} [{', '.join(sizes)}]".strip())
    return " and ".join(words)


def specs(tree: PyTree) -> tuple[Spec, ...]:
    """The arrays of `tree`; a symbolic size is None."""
    found = []
    for name, leaf in named(tree).items():
        shape = [size if isinstance(size, int) else None for size in leaf.shape]
        found.append(Spec(name, tuple(shape), str(leaf.dtype)))
    return tuple(found)


def named(tree: PyTree) -> dict[str, Any]:
    """The leaves of `tree` by path, in its order.

    Raises:
        ValueError: if two paths read the same.
    """
    leaves = jax.tree.leaves_with_path(tree)
    found = {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in leaves
    }
    if len(found) != len(leaves):
        raise ValueError(
            f"paths must differ; got {len(leaves)} leaves as {list(found)}"
        )
    return found
