"""Load a network and its weights from files, each device its own share.

    model, variables, *_ = load("bert-base-uncased")              # a folder
    loaded = load("r50.safetensors", family="torchvision/resnet", config="resnet50")
    loaded = load("llama", mesh=mesh, rules=rules, dtype=jnp.bfloat16, scan=True)

The config says which network; the table of its family says which tensor is which.
"""

import dataclasses
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxml import sharding
from jaxml.zoo import checkpoint, hub, table
from jaxml.zoo.family import Family
from jaxml.zoo.leaf import Leaf, flatten, unflatten
from jaxml.zoo.problem import Problem, report
from jaxml.zoo.request import Request, request

__all__ = ["Loaded", "Request", "load", "request", "shapes_of"]

Rules = Sequence[tuple[str, jax.P]] | Callable[[Any, jax.sharding.Mesh], Any]


class Loaded(NamedTuple):
    """A network with its weights, and what is needed to write them back."""

    model: nn.Module
    variables: dict[str, Any]
    family: Family
    config: dict[str, Any]
    extras: table.Extras
    problems: list[Problem]  # empty unless loaded with strict=False


def load(
    path: str | os.PathLike,
    *,
    family: str | None = None,
    config: Mapping[str, Any] | str | None = None,
    dtype: Any = None,
    mesh: jax.sharding.Mesh | None = None,
    rules: Rules = (),
    strict: bool = True,
    scan: bool = False,
) -> Loaded:
    """Build the network that a checkpoint is of, and fill it with its weights.

    Tensors are read from a memory map one by one, and of each only what the devices of
    this process hold: the memory of the host stays below the largest tensor plus the
    shards it holds.

    Args:
        path: a Hugging Face folder (config.json and safetensors), a `.safetensors`
            file, or the index of several; or the name of a repository, which is
            downloaded into a cache and checked (`hub.find`).
        family: "torchvision/resnet", "transformers/bert"; default: by the config.
        config: instead of config.json: a dict, an architecture ("resnet50"), or the
            call that builds the reference: "torchvision.models.resnet50()".
        dtype: to store the weights in; default: that of the file. Integers stay.
        mesh: devices to lay the weights on; default: the first device.
        rules: for the mesh: pairs of a regular expression and a PartitionSpec, the
            first that is found decides, and a dimension that does not divide stays
            whole; or a function as `sharding.fsdp`.
        strict: whether a tensor that is missing, extra or wrongly shaped is an error.
            If not, it is in `problems`, and the leaves that lack one start as
            `model.init` with key 0 makes them.
        scan: whether the blocks are stacked and the depth is a loop.

    Raises:
        ValueError: tensors that do not fit, all in one message; no family for the
            config; a file that is damaged, hostile or a pickle (`FormatError`).
        FileNotFoundError: there is nothing to read.
        sources.DataError: a repository that cannot be downloaded.
    """
    if rules and mesh is None:
        raise ValueError("rules lay weights on a mesh; give mesh= too")
    found = checkpoint.read(_at(path))
    wanted = request(found.config if config is None else config, family)
    model = wanted.family.build(wanted.config, wanted.name)
    if dtype is not None:
        model = _with(model, "param_dtype", dtype) or model
    if scan:
        stacked = _with(model, "scan", True)
        if stacked is None:
            raise ValueError(f"the depth of {type(model).__name__} cannot be stacked")
        model = stacked
    shapes = shapes_of(wanted.family, model)
    rows = wanted.family.rows(model)
    leaves, extras, problems = table.resolve(rows, found.tensors, shapes)
    if strict and problems:
        raise ValueError(report(problems, str(path)))
    where = _where(shapes, mesh, rules)
    flat = {name: _placed(leaf, where[name], dtype) for name, leaf in leaves.items()}
    absent = [name for name in flatten(shapes) if name not in flat]
    flat |= _initial(wanted.family, model, absent, where)
    ordered = {name: flat[name] for name in where}
    return Loaded(
        model, unflatten(ordered), wanted.family, wanted.config, extras, problems
    )


def _at(path: str | os.PathLike) -> Path:
    """Where the weights lie: here, or in a cache by the name of a repository."""
    place = Path(path).expanduser()
    if place.exists():
        return place
    if isinstance(path, str) and hub.is_name(path):
        return hub.find(path)
    raise FileNotFoundError(
        f"a path must be a folder or file of weights; there is no {place}"
    )


def shapes_of(family: Family, model: nn.Module) -> dict[str, Any]:
    """The variables of a network as `jax.ShapeDtypeStruct`s; nothing is computed."""
    return dict(jax.eval_shape(model.init, jax.random.key(0), *family.inputs(model)))


def _with(model: nn.Module, name: str, value: Any) -> nn.Module | None:
    """The network with a field changed, its own or of parts; None where none has it."""
    if hasattr(model, name):
        return model.clone(**{name: value})
    parts = {
        field.name: getattr(model, field.name)
        for field in dataclasses.fields(model)
        if field.name not in ("parent", "name")
    }
    changed: dict[str, Any] = {
        field: _with(part, name, value)
        for field, part in parts.items()
        if isinstance(part, nn.Module)
    }
    changed = {field: part for field, part in changed.items() if part is not None}
    return model.clone(**changed) if changed else None


def _where(
    shapes: Mapping[str, Any], mesh: jax.sharding.Mesh | None, rules: Rules
) -> dict[str, Any]:
    """The sharding of each leaf by path, in the order of the variables."""
    leaves = flatten(shapes)
    if mesh is None:
        return dict.fromkeys(leaves)
    if callable(rules):
        return flatten(rules(dict(shapes), mesh))
    # rules for all transformers need not all apply to this one
    specs = flatten(sharding.specs(dict(shapes), rules, every_rule=False))
    return {
        path: _sharding(path, leaves[path].shape, specs[path], mesh) for path in leaves
    }


def _sharding(
    path: str, shape: tuple[int, ...], spec: jax.P, mesh: jax.sharding.Mesh
) -> jax.NamedSharding:
    """Of a leaf; a dimension that its devices do not divide stays whole."""
    if len(spec) > len(shape):
        raise ValueError(
            f"a spec must have at most one entry for each dimension; {path} has shape "
            f"{shape}, its spec is {spec}"
        )
    entries = []
    for size, entry in zip(shape, spec, strict=False):
        names = (entry,) if isinstance(entry, str) else entry or ()
        for name in names:
            if name not in mesh.shape:
                raise ValueError(
                    f"{path} must be split on axes of {mesh.axis_names}; got {name!r}"
                )
        parts = math.prod(mesh.shape[name] for name in names)
        entries.append(entry if size % parts == 0 else None)
    return jax.NamedSharding(mesh, jax.P(*entries))


def _placed(leaf: Leaf, where: Any, dtype: Any) -> jax.Array:
    """A leaf on its devices; each shard is read once."""
    stored = leaf.dtype
    if dtype is not None and jnp.issubdtype(stored, jnp.floating):
        stored = np.dtype(dtype)
    stored = jax.dtypes.canonicalize_dtype(stored)
    if where is None:
        return jnp.asarray(leaf.read((), stored))
    shards: dict[Any, np.ndarray] = {}

    def shard(index: tuple[slice, ...] | None) -> np.ndarray:
        index = index or ()
        key = tuple((s.start, s.stop) for s in index)
        if key not in shards:
            shards[key] = leaf.read(index, stored)
        return shards[key]

    return jax.make_array_from_callback(leaf.shape, where, shard)


def _initial(
    family: Family, model: nn.Module, names: Sequence[str], where: Mapping[str, Any]
) -> dict[str, jax.Array]:
    """The leaves that no file holds, as the network starts them."""
    if not names:
        return {}

    def start() -> dict[str, jax.Array]:
        inputs = [jnp.zeros(x.shape, x.dtype) for x in family.inputs(model)]
        flat = flatten(model.init(jax.random.key(0), *inputs))
        return {name: flat[name] for name in names}

    out = {name: where[name] for name in names}
    return jax.jit(start, out_shardings=None if None in out.values() else out)()
