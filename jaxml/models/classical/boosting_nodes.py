"""Nodes of a growing tree, in XLA; see `boosting_growth`.

nodes = root(m, q, cells, sums, seed, numbers, units)
nodes = children(nodes, here, pair, split, table, numbers, units)
fields = number(recipe, table, numbers, units, nodes, node, count)

Letters: m nodes, q groups of features.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt32

from jaxml.models.classical.boosting_splits import (
    Split,
    Units,
    leaf_value,
    mix,
    soft,
    words,
)

__all__ = ["Nodes", "children", "number", "root"]


class Nodes(NamedTuple):
    """Nodes in the order of their creation, so parents before children."""

    left: Int[Array, "m"]  # -1 at a leaf
    right: Int[Array, "m"]
    depth: Int[Array, "m"]
    sums: Int[Array, "m 5"]  # in `Units`
    value: Float[Array, "m"]
    bounds: Float[Array, "m 2"]  # of the values in the nodes below
    path: UInt32[Array, "m"]  # hash that the draws of features come from
    groups: Bool[Array, "m q"]  # constraints that all splits so far obey
    split: Split  # the best one


def root(
    m: int,
    q: int,
    cells: int,
    sums: Int[Array, "5"],
    seed: UInt32[Array, ""],
    numbers: Any,
    units: Units,
) -> Nodes:
    """All nodes, of which the first is the root."""
    dtype = units.low.dtype
    limit = jnp.stack([-numbers.max_step, numbers.max_step])
    value = leaf_value(units.real(sums), numbers, limit)
    none = Split(
        jnp.full(m, -jnp.inf, dtype),
        jnp.zeros(m, jnp.int32),
        jnp.zeros(m, jnp.int32),
        jnp.zeros(m, bool),
        jnp.zeros((m, cells), bool),
        jnp.zeros((m, 5), sums.dtype),
    )
    return Nodes(
        left=jnp.full(m, -1),
        right=jnp.full(m, -1),
        depth=jnp.zeros(m, jnp.int32),
        sums=jnp.zeros((m, 5), sums.dtype).at[0].set(sums),
        value=jnp.zeros(m, dtype).at[0].set(value),
        bounds=jnp.broadcast_to(limit[None], (m, 2)),
        path=jnp.zeros(m, jnp.uint32).at[0].set(seed),
        groups=jnp.ones((m, q), bool),
        split=none,
    )


def children(
    nodes: Nodes,
    here: Array,
    pair: Array,
    split: Split,
    table: Any,
    numbers: Any,
    units: Units,
) -> Nodes:
    """The nodes after the node `here` was split into the `pair`."""
    whole, bounds = nodes.sums[here], nodes.bounds[here]
    sums = jnp.stack([split.sums, whole - split.sums])
    value = leaf_value(units.real(sums), numbers, bounds[None])
    seen = (table.kind[split.feature] & 2) > 0
    # Without missing values to learn from they go where most rows go.
    missing_left = jnp.where(seen, split.missing_left, sums[0, 4] > sums[1, 4])
    cells = split.cells.at[-1].set(missing_left)
    middle, way = value.sum() / 2, table.monotone[split.feature]
    low, high = bounds[0], bounds[1]
    limits = jnp.stack(
        [
            jnp.stack(
                [jnp.where(way < 0, middle, low), jnp.where(way > 0, middle, high)]
            ),
            jnp.stack(
                [jnp.where(way > 0, middle, low), jnp.where(way < 0, middle, high)]
            ),
        ]
    )
    steps = jnp.array([0x9E3779B9, 0x7F4A7C15], jnp.uint32)
    groups = nodes.groups[here] & table.groups[:, split.feature]
    best = nodes.split
    best = best._replace(
        gain=best.gain.at[here].set(-jnp.inf),
        cells=best.cells.at[here].set(cells),
        missing_left=best.missing_left.at[here].set(missing_left),
    )
    return Nodes(
        left=nodes.left.at[here].set(pair[0]),
        right=nodes.right.at[here].set(pair[1]),
        depth=nodes.depth.at[pair].set(nodes.depth[here] + 1),
        sums=nodes.sums.at[pair].set(sums),
        value=nodes.value.at[pair].set(value),
        bounds=nodes.bounds.at[pair].set(limits),
        path=nodes.path.at[pair].set(mix(nodes.path[here] ^ steps)),
        groups=nodes.groups.at[pair].set(groups[None]),
        split=best,
    )


def number(
    recipe: Any,
    table: Any,
    numbers: Any,
    units: Units,
    nodes: Nodes,
    node: Array,
    count: Array,
) -> tuple[Array, ...]:
    """The fields of `Grown`, in depth-first order."""
    m = len(nodes.left)

    def above(i, size):
        i = m - 1 - i
        inner = nodes.left[i] >= 0
        below = size[nodes.left[i]] + size[nodes.right[i]]
        return size.at[i].add(jnp.where(inner, below, 0))

    size = jax.lax.fori_loop(0, m, above, jnp.ones(m, jnp.int32))

    def down(i, place):
        left, right = nodes.left[i], nodes.right[i]
        at = jnp.where(left >= 0, jnp.stack([left, right]), m)
        first = place[i] + 1
        return place.at[at].set(jnp.stack([first, first + size[left]]), mode="drop")

    place = jax.lax.fori_loop(0, m, down, jnp.zeros(m, jnp.int32))
    there = jnp.arange(m) < count
    place = jnp.where(there, place, m)
    inner = nodes.left >= 0

    def put(values, empty, mask=there):
        mask = mask.reshape(m, *(1,) * (values.ndim - 1))
        values = jnp.where(mask, values, jnp.asarray(empty, values.dtype))
        full = jnp.full(values.shape, empty, values.dtype)
        return full.at[place].set(values, mode="drop")

    split = nodes.split
    categorical = ((table.kind[split.feature] & 1) > 0) & inner
    sets = words(split.cells, recipe.words)
    sums = units.real(nodes.sums)
    loss = nodes.value * soft(sums[:, 0], numbers.l1)
    return (
        put(place[nodes.left], -1, inner).astype(jnp.int32),
        put(place[nodes.right], -1, inner).astype(jnp.int32),
        put(split.feature, -2, inner).astype(jnp.int32),
        put(jnp.where(categorical, 0, split.bin), -2, inner).astype(jnp.int32),
        put(split.missing_left, False, inner),
        put(categorical, False),
        put(sets, 0, categorical),
        put(nodes.value, 0),
        put(loss, 0),
        put(sums[:, 1], 0),
        put(nodes.sums[:, 4], 0).astype(jnp.int32),
        count.astype(jnp.int32),
        place[node].astype(jnp.int32),
    )
