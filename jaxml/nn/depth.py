"""The same block many times: as a loop, or as one block scanned over stacked weights.

    x, caches = repeat(block, 12)(x, mask=mask, cache=caches, train=train)
    x, caches = repeat(block, 80, scan=True, remat="full")(x, causal=True)
    stacked = stack(variables, "layers")          # what the scan wants, from the loop's
    variables = unstack(stacked, "layers")

A loop makes `layers_0`, `layers_1`, ...; a scan makes one `layers` whose leaves have a
leading axis: it compiles in the time of one block, and runs a little slower on a CPU.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxml.nn import check

__all__ = ["recorder", "repeat", "stack", "unstack"]


def repeat(
    block: Callable[..., nn.Module] | Sequence[Callable[..., nn.Module]],
    count: int,
    *,
    scan: bool = False,
    remat: str | None = None,
    name: str = "layers",
    record: Callable | None = None,
) -> Callable:
    """A function of (x, *, cache=None, **options) that runs the blocks in a row.

    To be used inside a compact method, whose module then owns the blocks.

    Args:
        block: maker of a block, given its name, or one maker for each layer; a block
            is called with x, cache and the options, and gives x and its cache.
        count: how many blocks.
        scan: whether to run one block over stacked parameters, caches and draws.
        remat: what the backward pass keeps of a block: None all, "full" nothing, or
            what the policy of that name in `jax.checkpoint_policies` says.
        name: of the blocks.
        record: called with what enters each block, in order; see `recorder`.

    Returns:
        A function that gives x and the caches: a tuple in a loop, one `Cache` with a
        leading axis in a scan, None if there were none.

    Raises:
        ValueError: if there is no such policy, or makers that differ are to be scanned.
    """
    makers = [block] * count if callable(block) else list(block)
    if len(makers) != count or (scan and not callable(block)):
        raise ValueError(
            f"block must be one maker, or (in a loop) {count}; got {len(makers)}"
            f"{' to be scanned' if scan else ''}"
        )
    wrap = _rematerialised(remat, scan)

    def run(x: Any, *, cache: Any = None, **options: Any) -> tuple[Any, Any]:
        # Options travel in the closure, where flags stay Python's and arrays are
        # constants of all blocks.
        def body(module, x, cache):
            y, cache = module(x, cache=cache, **options)
            return y, (cache, None if record is None else x)

        if scan:
            return _scan(wrap(body), makers[0](name=name), x, cache, count, record)
        kept = []
        for i, make in enumerate(makers):
            held = None if cache is None else cache[i]
            x, (held, entered) = wrap(body)(make(name=f"{name}_{i}"), x, held)
            kept.append(held)
            if record is not None:
                record(entered)
        return x, None if cache is None else tuple(kept)

    return run


def recorder(module: nn.Module, name: str = "hidden_states") -> Callable | None:
    """What `repeat` takes as `record`, to sow what enters each block.

    Args:
        module: the module whose "intermediates" shall have it.
        name: under which.

    Returns:
        None where the caller did not make that collection mutable, so that nothing is
        held for nobody.
    """
    if not module.is_mutable_collection("intermediates"):
        return None
    return lambda x: module.sow("intermediates", name, x)


def stack(variables: Mapping[str, Any], name: str = "layers") -> dict[str, Any]:
    """Variables of a loop as a scan wants them: `layers_0`, ... become `layers`.

    Args:
        variables: any nested dictionary; all places with such names are changed.
        name: of the blocks.

    >>> stack({"layers_0": {"b": np.zeros(2)}, "layers_1": {"b": np.ones(2)}})
    {'layers': {'b': array([[0., 0.],
           [1., 1.]])}}
    """
    numbered = re.compile(re.escape(name) + r"_(\d+)")
    out, parts = {}, {}
    for key, value in variables.items():
        found = numbered.fullmatch(key)
        if found:
            parts[int(found[1])] = value
        else:
            out[key] = stack(value, name) if isinstance(value, Mapping) else value
    if parts:
        out[name] = jax.tree.map(_stack, *(parts[i] for i in range(len(parts))))
    return out


def unstack(variables: Mapping[str, Any], name: str = "layers") -> dict[str, Any]:
    """The inverse of `stack`.

    Args:
        variables: any nested dictionary; all places with that name are changed.
        name: of the blocks.
    """
    out: dict[str, Any] = {}
    for key, value in variables.items():
        if key == name and isinstance(value, Mapping):
            count = jax.tree.leaves(value)[0].shape[0]
            for i in range(count):
                out[f"{name}_{i}"] = jax.tree.map(lambda leaf, i=i: leaf[i], value)
        else:
            out[key] = unstack(value, name) if isinstance(value, Mapping) else value
    return out


def _stack(*leaves):
    on_host = all(isinstance(leaf, np.ndarray) for leaf in leaves)
    return (np if on_host else jnp).stack(leaves)


def _rematerialised(remat, scan):
    """A wrapper of the body of a block."""
    if remat is None:
        return lambda body: body
    policies = [n for n in dir(jax.checkpoint_policies) if not n.startswith("_")]
    check.one_of(remat, ("full", *policies), "remat policy")
    policy = None if remat == "full" else getattr(jax.checkpoint_policies, remat)
    # Inside a scan nothing is shared between forward and backward pass anyway.
    return lambda body: nn.remat(body, policy=policy, prevent_cse=not scan)


def _scan(body, module, x, cache, count, record):
    scanned = nn.scan(
        body,
        variable_axes={True: 0},
        split_rngs={True: True},
        length=count,
    )
    x, (cache, entered) = scanned(module, x, cache)
    if record is not None:
        for i in range(count):
            record(entered[i])
    return x, cache
