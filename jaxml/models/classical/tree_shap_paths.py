"""The ways to the leaves of a tree as arrays: what each asks of every feature.

ways = tree_shap_paths.paths(nodes, cover, slots)
passed = tree_shap_paths.passes(ways, x)

All splits of a way by one feature are one question: an interval, a set of categories.

Letters: n rows, d features, m nodes, l leaves, s features on a way, k outputs,
w words of 32 categories.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt32

from jaxml.ops import trees as tree_ops
from jaxml.ops import trees_order
from jaxml.ops.trees import Nodes

__all__ = ["Paths", "edges", "passes", "paths"]


class Paths(NamedTuple):
    """The way to each leaf of a tree: what it asks of each feature that it splits."""

    value: Float[Array, "l k"]
    feature: Int[Array, "l s"]  # -1: no feature
    share: Float[Array, "l s"]  # of the training rows that pass: z
    low: Float[Array, "l s"]  # low < x <= high passes
    high: Float[Array, "l s"]
    missing: Bool[Array, "l s"]  # a NaN passes
    categorical: Bool[Array, "l s"]  # the sets ask too
    sets: UInt32[Array, "l s w"]  # bit c: category c passes
    other: Bool[Array, "l s"]  # a category beyond the sets passes


def passes(paths: Paths, x: Float[Array, "d n"]) -> Bool[Array, "l s n"]:
    """Say whether each row passes all that a path asks of each of its features."""
    value = x[jnp.maximum(paths.feature, 0)]

    def wide(field):
        return jnp.broadcast_to(field[..., None], value.shape)

    passes = ~(value <= wide(paths.low)) & (value <= wide(paths.high))
    if paths.sets.shape[-1]:
        sets = paths.sets[:, :, None]
        sets = jnp.broadcast_to(sets, (*value.shape, sets.shape[-1]))
        known, bit = tree_ops.member(sets, value)
        member = jnp.where(known, bit, wide(paths.other))
        passes = passes & (member | ~wide(paths.categorical))
    passes = jnp.where(jnp.isnan(value), wide(paths.missing), passes)
    return passes | wide(paths.feature < 0)


def edges(
    nodes: Nodes, cover: Float[Array, "m"]
) -> tuple[Int[Array, "m"], Float[Array, "m"]]:
    """Parent of each node (or itself), and its share of the parent's rows."""
    above = trees_order.parents(nodes.children_left, nodes.children_right)
    here = jnp.arange(len(cover), dtype=above.dtype)
    whole = cover[above]
    share = jnp.where(whole > 0, cover / jnp.where(whole > 0, whole, 1), 0)
    return above, jnp.where(above == here, 1, share)


def paths(nodes: Nodes, cover: Float[Array, "m"], slots: int) -> Paths:
    """Find the way from each leaf of a tree up to the root.

    Args:
        nodes: one tree, without an axis for trees.
        cover: weight of the training rows in each node.
        slots: most different features on a path.
    """
    m, words = nodes.categories.shape
    leaves = (m + 1) // 2
    (leaf,) = jnp.nonzero(nodes.children_left < 0, size=leaves, fill_value=m - 1)
    leaf = leaf.astype(jnp.int32)
    above, share = edges(nodes, cover)
    index = jnp.arange(slots)[None]
    shape = (leaves, slots)
    dtype = cover.dtype
    threshold = jax.lax.stop_gradient(nodes.threshold)

    def climbing(carry):
        place, _, steps = carry
        return (above[place] != place).any() & (steps < m)

    def climb(carry):
        place, paths, steps = carry
        parent = above[place]
        feature = nodes.feature[parent]
        same = paths.feature == feature[:, None]
        free = index == (paths.feature >= 0).sum(1, keepdims=True)
        slot = jnp.where(same.any(1, keepdims=True), same, free)
        slot = slot & (parent != place)[:, None]
        left = (nodes.children_left[parent] == place)[:, None]
        asks_set = nodes.categorical[parent][:, None] & (words > 0)
        bound = threshold[parent][:, None]
        sets = nodes.categories[parent]
        sets = jnp.where(left, sets, ~sets)
        other = nodes.other_go_to_left[parent][:, None] == left
        missing = nodes.missing_go_to_left[parent][:, None] == left

        def put(new, old, where=True):
            return jnp.where(slot & where, jnp.broadcast_to(new, old.shape), old)

        paths = Paths(
            paths.value,
            put(feature[:, None], paths.feature),
            put(share[place][:, None] * paths.share, paths.share),
            put(jnp.fmax(paths.low, bound), paths.low, ~left & ~asks_set),
            put(jnp.fmin(paths.high, bound), paths.high, left & ~asks_set),
            put(missing & paths.missing, paths.missing),
            put(True, paths.categorical, asks_set),
            jnp.where(
                (slot & asks_set)[..., None], sets[:, None] & paths.sets, paths.sets
            ),
            put(other & paths.other, paths.other, asks_set),
        )
        return parent, paths, steps + 1

    start = Paths(
        nodes.value[leaf],
        jnp.full(shape, -1, jnp.int32),
        jnp.ones(shape, dtype),
        jnp.full(shape, jnp.nan, dtype),  # no bound: -inf passes too
        jnp.full(shape, jnp.inf, dtype),
        jnp.ones(shape, bool),
        jnp.zeros(shape, bool),
        jnp.full((*shape, words), 2**32 - 1, jnp.uint32),
        jnp.ones(shape, bool),
    )
    return jax.lax.while_loop(climbing, climb, (leaf, start, 0))[1]
