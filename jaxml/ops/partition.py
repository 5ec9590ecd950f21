"""One program on one device, and another where the rows lie on several.

fit = partition.by_rows(whole, local, rows_in=(0, 0), rows_out=(None,))
(total,) = fit(x, y)

XLA cannot look into a kernel, and cannot cut a program that walks the rows: it would
gather them on every device. Here the program of one device, `whole`, has beside it the
program of a device that holds some of the rows, `local`, which adds up what it needs
from the others (`jax.lax.psum`). Which one runs is decided where the program is
compiled, from how the arrays lie. For several devices it is compiled anew in each
process: its key in the persistent cache of programs holds an address of the process.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
from jax.experimental.custom_partitioning import (
    ArrayMapping,
    SdyShardingRule,
    custom_partitioning,
)
from jax.sharding import NamedSharding

__all__ = ["by_rows"]


def by_rows(
    whole: Callable[..., Sequence[jax.Array]],
    local: Callable[..., Sequence[jax.Array]],
    rows_in: Sequence[int | None],
    rows_out: Sequence[int | None],
    many: Callable[..., Sequence[jax.Array]] | None = None,
) -> Callable[..., tuple[jax.Array, ...]]:
    """A function of arrays, run by `whole`, or by `local` where rows are sharded.

    On one device, within `jax.shard_map`, and where the devices cannot share the rows
    evenly it is `whole`. Under `vmap` it runs for one after the other, or by `many`. It
    has no derivative: stop the gradient of its arguments, or give it one by
    `jax.custom_jvp`.

    Both functions take all that is traced as arguments, never from their surroundings.
    Random keys go in as their data (`jax.random.key_data`).

    Args:
        whole: `whole(*arrays)` gives a tuple of arrays.
        local: `local(axis, *shards)` gives the same from the part of the rows that a
            device holds; `axis` is the name of the mesh axis that counts the devices,
            or a tuple of names, for `jax.lax.psum` and its like. What has no rows must
            come out the same on every device.
        rows_in: for each argument the axis along which its rows lie, or None.
        rows_out: the same for each result.
        many: `many(batched, *arrays)` does what `whole` does, for all at once under
            `vmap`: arrays of which `batched` is True have a first axis that counts
            them, and so has each result. Under a second `vmap` it runs for one group
            after the other.
    """
    rows_in, rows_out = tuple(rows_in), tuple(rows_out)

    @custom_partitioning
    def split(*arrays):
        # Constants of `whole` are allowed inside of a jitted function only.
        return tuple(jax.jit(whole)(*arrays))

    def partition(mesh, arguments, results):
        axes = _axes(arguments, rows_in)
        shards = math.prod(mesh.shape[axis] for axis in axes)
        sizes = [part.shape[row] for part, row in _with_rows(arguments, rows_in)]
        sizes += [part.shape[row] for part, row in _with_rows(results, rows_out)]
        if shards == 1 or any(size % shards for size in sizes):
            axes = ()
        name = axes[0] if len(axes) == 1 else axes

        def run(*shards):
            return tuple(local(name, *shards) if axes else whole(*shards))

        return (
            mesh,
            run,
            _shardings(mesh, axes, results, rows_out),
            _shardings(mesh, axes, arguments, rows_in),
        )

    def infer(mesh, arguments, results):
        return _shardings(mesh, _axes(arguments, rows_in), results, rows_out)

    def rule(mesh, arguments, results):
        return _rule(arguments, rows_in, results, rows_out)

    split.def_partition(
        partition, infer_sharding_from_operands=infer, sharding_rule=rule
    )

    @jax.custom_batching.custom_vmap
    def run(*arrays):
        return jax.jit(split)(*arrays)

    @run.def_vmap
    def together(size, batched, *arrays):
        if many is None:
            return one_by_one(batched, *arrays), (True,) * len(rows_out)
        side_by_side = by_rows(
            partial(many, tuple(batched)),
            lambda axis, *shards: one_by_one(batched, *shards, axis=axis),
            [_later(row, own) for row, own in zip(rows_in, batched, strict=True)],
            [_later(row, True) for row in rows_out],
        )
        return side_by_side(*arrays), (True,) * len(rows_out)

    def one_by_one(batched, *arrays, axis=None):
        def one(taken):
            rest = iter(taken)
            pairs = zip(arrays, batched, strict=True)
            these = [next(rest) if own else shared for shared, own in pairs]
            return tuple(run(*these) if axis is None else local(axis, *these))

        taken = tuple(a for a, own in zip(arrays, batched, strict=True) if own)
        return jax.lax.map(one, taken)

    return run


def _later(row: int | None, by_one: bool) -> int | None:
    return None if row is None else row + by_one


def _with_rows(arrays, rows):
    pairs = zip(arrays, rows, strict=True)
    return [(array, row) for array, row in pairs if row is not None]


def _axes(arguments: Sequence[Any], rows: Sequence[int | None]) -> tuple[str, ...]:
    """Mesh axes that the rows of the largest sharded argument lie on."""
    found: tuple[str, ...] = ()
    most = -1
    for argument, row in _with_rows(arguments, rows):
        sharding = argument.sharding
        if not isinstance(sharding, NamedSharding) or len(sharding.spec) <= row:
            continue
        axes = sharding.spec[row]
        if axes and argument.size > most:
            found = axes if isinstance(axes, tuple) else (axes,)
            most = argument.size
    return found


def _shardings(mesh, axes, arrays, rows):
    """Rows over the axes, all else on every device."""
    specs = [
        jax.P() if row is None or not axes else jax.P(*(None,) * row, axes)
        for _, row in zip(arrays, rows, strict=True)
    ]
    return tuple(NamedSharding(mesh, spec) for spec in specs)


def _rule(arguments, rows_in, results, rows_out):
    """What Shardy may spread: the rows, and nothing else."""
    names: list[str] = []

    def mapping(array, row):
        fresh = []
        for axis in range(len(array.shape)):
            if axis != row:
                names.append(f"f{len(names)}")
            fresh.append("rows" if axis == row else names[-1])
        return ArrayMapping(*fresh)

    inside = tuple(map(mapping, arguments, rows_in))
    outside = tuple(map(mapping, results, rows_out))
    return SdyShardingRule(inside, outside, need_replication_factors=tuple(names))
