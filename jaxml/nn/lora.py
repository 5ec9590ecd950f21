"""Low-rank adaptation: train a thin product beside chosen kernels, which stay fixed.

    adapters = lora.add(params, key=key, rank=8, targets="(query|value)/kernel$")
    loss = lambda adapters: loss_of(lora.merge(params, adapters), batch)
    grads = jax.grad(loss)(adapters)                       # of the adapters alone
    params = lora.merge(params, adapters)                  # for good

Adapters are a tree of their own, so an optimizer that is given them trains nothing else
and keeps no state of anything else; `mask` tells their numbers from their scales.

Letters: i features in, o features out, r rank; leading axes: stacked layers, experts.

References:
    Hu et al., 2021. LoRA. arXiv:2106.09685 (section 4.1; A and B there are `down` and
    `up` here, transposed, since kernels are [in, out]).
"""

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PyTree
from safetensors.numpy import load_file, save_file

__all__ = ["Adapter", "add", "load", "mask", "merge", "save", "unmerge"]

SHOWN = 8  # paths in an error
TARGETS = r"(query|value)/kernel$"
FILE, CONFIG = "adapter_model.safetensors", "adapter_config.json"


class Adapter(NamedTuple):
    """What is added to one kernel: scale * down @ up."""

    down: Float[Array, "*layers i r"]
    up: Float[Array, "*layers r o"]
    scale: Float[Array, ""]  # alpha / r


def add(
    params: PyTree,
    *,
    key: Key[Array, ""],
    rank: int = 8,
    alpha: float = 8.0,
    targets: str = TARGETS,
) -> dict[str, Any]:
    """Adapters that change nothing yet: `up` is zero, `down` drawn.

    Args:
        params: parameters, nested dicts; kernels [in, out], or stacked on leading axes.
            Not for kernels of convolutions.
        key: for `down`, uniform within 1/√in.
        rank: of what is added, at least 1.
        alpha: how strong it is; it is divided by the rank.
        targets: regular expression, searched in the path ("layers_0/attention/query/
            kernel"); what it finds is adapted.

    Returns:
        A tree like `params` with an `Adapter` in the place of each adapted kernel, and
        nothing else.

    Raises:
        ValueError: if nothing is found, or something that is no kernel, or the rank is
            out of range.

    >>> params = {"query": {"kernel": jnp.ones((4, 6)), "bias": jnp.ones(6)}}
    >>> add(params, key=jax.random.key(0), rank=2)["query"]["kernel"].down.shape
    (4, 2)
    """
    if rank < 1:
        raise ValueError(f"rank must be at least 1; got {rank}")
    flat = _flat(params)
    chosen = [path for path in flat if re.search(targets, path)]
    if not chosen:
        some = ", ".join(list(flat)[:SHOWN])
        raise ValueError(
            f"targets must find a kernel; {targets!r} finds none in {some}"
        )
    thin = [path for path in chosen if flat[path].ndim < 2]
    if thin:
        raise ValueError(f"targets must be kernels [in, out]; got {', '.join(thin)}")
    adapters = {}
    for path, key in zip(chosen, jax.random.split(key, len(chosen)), strict=True):
        *layers, i, o = flat[path].shape
        dtype, bound = flat[path].dtype, i**-0.5
        adapters[path] = Adapter(
            jax.random.uniform(key, (*layers, i, rank), dtype, -bound, bound),
            jnp.zeros((*layers, rank, o), dtype),
            jnp.asarray(alpha / rank, jnp.float32),
        )
    return _nested(adapters)


def merge(params: PyTree, adapters: Mapping[str, Any]) -> PyTree:
    """Parameters with the adapters added to their kernels.

    The product is taken in float32 and rounded to the dtype of the kernel.

    Raises:
        ValueError: if an adapter has no kernel, or one of another shape.
    """
    return _added(params, adapters, 1.0)


def unmerge(params: PyTree, adapters: Mapping[str, Any]) -> PyTree:
    """What `merge` added taken away again, to rounding."""
    return _added(params, adapters, -1.0)


def mask(adapters: Mapping[str, Any]) -> dict[str, Any]:
    """True for what is trained, False for the scales; for `optax.masked`.

    >>> params = {"query": {"kernel": jnp.ones((4, 6))}}
    >>> mask(add(params, key=jax.random.key(0)))["query"]["kernel"]
    Adapter(down=True, up=True, scale=False)
    """
    marks: Any = (True, True, False)
    return _nested({path: Adapter(*marks) for path in _flat(adapters)})


def save(
    adapters: Mapping[str, Any],
    folder: str | os.PathLike,
    *,
    names: Callable[[str], str] | None = None,
) -> None:
    """Write the folder that PEFT writes: safetensors, and a config.

    Args:
        adapters: not stacked ones.
        folder: where to; made if it is not there.
        names: from the path of a kernel to the name of its module in the other
            library; default: the path itself with dots, without "kernel".

    Raises:
        ValueError: if adapters are stacked, their ranks or scales differ, or two get
            one name.
    """
    flat = _flat(adapters)
    named = _named(flat, names)
    if any(adapter.down.ndim > 2 for adapter in flat.values()):
        raise ValueError("stacked adapters must be unstacked first (jaxml.nn.depth)")
    settings = {(a.down.shape[-1], float(a.scale)) for a in flat.values()}
    if len(settings) != 1:
        raise ValueError(f"rank and scale must be the same of all; got {settings}")
    ((rank, scale),) = settings
    tensors = {}
    for path, adapter in flat.items():
        for part, kernel in (("A", adapter.down), ("B", adapter.up)):
            tensor = np.ascontiguousarray(np.asarray(kernel).T)
            tensors[f"{named[path]}.lora_{part}.weight"] = tensor
    config = {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": scale * rank,
        "target_modules": sorted({name.split(".")[-1] for name in named.values()}),
        "bias": "none",
    }
    Path(folder).mkdir(parents=True, exist_ok=True)
    save_file(tensors, Path(folder) / FILE)
    (Path(folder) / CONFIG).write_text(json.dumps(config, indent=2) + "\n")


def load(
    params: PyTree,
    folder: str | os.PathLike,
    *,
    targets: str = TARGETS,
    names: Callable[[str], str] | None = None,
) -> dict[str, Any]:
    """Read adapters of `params` from a folder that `save` or PEFT wrote.

    Args:
        params: the parameters that they adapt.
        folder: with `adapter_model.safetensors` and `adapter_config.json`.
        targets: as in `add`: which kernels may have adapters there.
        names: as in `save`.

    Raises:
        ValueError: if a tensor belongs to no kernel, lacks its partner or does not fit.
        FileNotFoundError: if a file is missing.
    """
    config = json.loads((Path(folder) / CONFIG).read_text())
    rank = config["r"]
    root = rank**0.5 if config.get("use_rslora") else rank
    tensors = load_file(Path(folder) / FILE)
    flat = {p: leaf for p, leaf in _flat(params).items() if re.search(targets, p)}
    adapters = {}
    for path, name in _named(flat, names).items():
        parts = [f"{name}.lora_{part}.weight" for part in "AB"]
        there = [part for part in parts if part in tensors]
        if not there:
            continue
        if len(there) == 1:
            raise ValueError(f"{name} must have both lora_A and lora_B; got one")
        down, up = (jnp.asarray(tensors.pop(part).T) for part in parts)
        scale = jnp.asarray(config["lora_alpha"] / root, jnp.float32)
        adapters[path] = Adapter(down, up, scale)
        _check_shape(path, flat[path], adapters[path])
    if tensors or not adapters:
        some = ", ".join(list(tensors)[:SHOWN])
        raise ValueError(
            f"each tensor must belong to a kernel of {targets!r}; {some} to none"
        )
    return _nested(adapters)


def _added(params, adapters, sign):
    flat, kernels = _flat(adapters), _flat(params)
    unknown = sorted(set(flat) - set(kernels))
    if unknown:
        raise ValueError(f"adapters must have kernels; none at {unknown[:SHOWN]}")

    def add_to(path, kernel):
        adapter = flat.get(_path(path))
        if adapter is None:
            return kernel
        _check_shape(_path(path), kernel, adapter)
        # The scale is a setting: it is not learnt, whatever is differentiated.
        scale = sign * jax.lax.stop_gradient(adapter.scale)
        product = jnp.matmul(
            adapter.down, adapter.up, preferred_element_type=jnp.float32
        )
        return (kernel + scale * product).astype(kernel.dtype)

    return jax.tree_util.tree_map_with_path(add_to, params)


def _check_shape(path, kernel, adapter):
    fits = (*adapter.down.shape[:-1], adapter.up.shape[-1])
    if fits != kernel.shape:
        raise ValueError(
            f"the adapter of {path} must be for {list(kernel.shape)}; got {list(fits)}"
        )


def _named(flat, names):
    """The name of the module in the file of each path."""
    if names is None:
        names = lambda path: path.removesuffix("/kernel").replace("/", ".")
    named = {path: f"base_model.model.{names(path)}" for path in flat}
    if len(set(named.values())) != len(named):
        raise ValueError("names must differ; two paths got the same one")
    return named


def _path(path):
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _flat(tree):
    """Leaves, adapters being leaves, by path."""
    is_adapter = lambda x: isinstance(x, Adapter)
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=is_adapter)
    return {_path(path): leaf for path, leaf in leaves}


def _nested(flat):
    tree: dict[str, Any] = {}
    for path, leaf in flat.items():
        *parents, last = path.split("/")
        place = tree
        for name in parents:
            place = place.setdefault(name, {})
        place[last] = leaf
    return tree
