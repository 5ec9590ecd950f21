"""Growth of trees in XLA: breadth first, a bounded number of nodes at a time.

Each step takes the next nodes in the order of their birth, sums up the rows by node and
bin, chooses splits, and moves the rows to the children. So work and memory of a step do
not depend on the depth of the tree. Where rows lie on several devices, sums are added
up over `axis`. Best-first growth splits one node a step.

Letters: as in `cart`; a active nodes, b bins, s statistics of a row.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, UInt32

from jaxml.models.classical import cart_gain, cart_order, cart_problem

__all__ = ["CRITERIA", "grow"]

CRITERIA = {
    "gini": 0,
    "entropy": 1,
    "log_loss": 1,
    "squared_error": 2,
    "friedman_mse": 2,
    "poisson": 3,
    "absolute_error": 4,
}
STATISTICS = 1 << 21  # numbers in the sums by node and bin of one feature, at most


class Growth(NamedTuple):
    """A tree on its way: nodes in the order of their birth."""

    left: Int[Array, "m"]  # -1 at a leaf
    right: Int[Array, "m"]
    parent: Int[Array, "m"]
    depth: Int[Array, "m"]
    path: UInt32[Array, "m"]  # state of the random numbers
    split: cart_gain.Split  # of every node that was looked at, leading axis m
    totals: cart_problem.Totals
    node: Int[Array, "n"]  # where each row is
    seen: Int[Array, ""]  # nodes that were looked at
    size: Int[Array, ""]  # nodes that were born
    full: Bool[Array, ""]


def grow(recipe, m, axis, codes, low, high, target, weight, limits, seeds):
    """Grow trees of at most m nodes; the arrays of `Trees` without categories.

    Args:
        recipe: a `cart.Recipe`.
        m: capacity.
        axis: of the mesh over which rows are spread, or None.
        codes: [n, d].
        low, high: [d, b] of the bins.
        target: [n, o].
        weight: [t, n].
        limits: [4] in the order of `cart.Limits`.
        seeds: [t].
    """
    if axis is not None and recipe.criterion == "absolute_error":
        # Medians are no sums: every device looks at all rows.
        whole = partial(jax.lax.all_gather, axis_name=axis, tiled=True)
        codes, target, weight = whole(codes), whole(target), whole(weight, axis=1)
        axis = None
    one = partial(_grow_one, recipe, m, axis, codes, low, high, target, limits)
    return jax.lax.map(lambda pair: one(*pair), (weight, seeds))


def _grow_one(recipe, m, axis, codes, low, high, target, limits, weight, seed):
    problem = cart_problem.prepare(
        recipe, axis, codes, low, high, target, weight, limits
    )
    n = len(codes)
    width = low.shape[1] + 1
    most = STATISTICS // (width * (problem.stats.shape[1] + 1))
    active = max(1, min(most, max(32, 2 * n // width), 1024, (m + 1) // 2))
    by_leaf = recipe.max_leaf_nodes is not None
    if by_leaf:
        active = min(2, m)
    zero = jnp.zeros(m + active, jnp.int32)
    split, totals = _blank(
        problem, m + active, target.shape[1] * max(1, recipe.n_classes)
    )
    growth = Growth(
        left=zero - 1,
        right=zero - 1,
        parent=zero,
        depth=zero,
        path=zero.astype(jnp.uint32).at[0].set(seed),
        split=split,
        totals=totals,
        node=jnp.zeros(n, jnp.int32),
        seen=jnp.zeros((), jnp.int32),
        size=jnp.ones((), jnp.int32),
        full=jnp.zeros((), bool),
    )
    run = _best_first if by_leaf else _by_levels
    step = partial(run, recipe, axis, problem, m, active)
    growth = jax.lax.while_loop(lambda g: g.seen < g.size, step, growth)
    return _finish(problem, m, growth)


def _blank(problem, m, k):
    """Room for the splits and sums of m nodes."""
    zero = jnp.zeros(m, problem.stats.dtype)
    whole, no = jnp.zeros(m, jnp.int32), jnp.zeros(m, bool)
    wide = jnp.zeros((m, problem.stats.shape[1]), zero.dtype)
    split = cart_gain.Split(zero, whole, whole, zero, no)
    values = jnp.zeros((m, k), zero.dtype)
    totals = cart_problem.Totals(wide, zero, zero, zero, values, zero, no)
    return split, totals


def _by_levels(recipe, axis, problem, m, active, growth):
    """Look at the next nodes, and split those that can be."""
    growth, first = _look(recipe, axis, problem, active, growth)
    number = first + jnp.arange(active, dtype=jnp.int32)
    splits = _part(growth.split.feature, first, active) >= 0
    return _apply(problem, m, growth, number[0], splits & (number < growth.seen))


def _best_first(recipe, axis, problem, m, active, growth):
    """Look at the youngest nodes, and split the best of all that were not split."""
    growth, _ = _look(recipe, axis, problem, active, growth)
    number = jnp.arange(len(growth.left), dtype=jnp.int32)
    waits = (growth.split.feature >= 0) & (growth.left < 0) & (number < growth.seen)
    gain = jnp.where(waits, growth.split.gain, -jnp.inf)
    scale = growth.totals.scale[gain.argmax()]
    _, chosen = cart_gain.choose(gain, scale)
    leaves = (growth.size + 1) // 2
    go = waits.any() & (leaves < recipe.max_leaf_nodes)
    return _apply(problem, m, growth, chosen, go[None])


def _part(array, first, active):
    return jax.lax.dynamic_slice_in_dim(array, first, active)


def _look(recipe, axis, problem, active, growth):
    """Sums and splits of the nodes from `seen` on."""
    first = growth.seen
    count = jnp.minimum(growth.size - first, active)
    slot = growth.node - first
    slot = jnp.where((slot >= 0) & (slot < count) & problem.present, slot, active)
    totals = cart_problem.describe(recipe, axis, problem, slot, active)
    path = _part(growth.path, first, active)
    split = cart_gain.search(recipe, axis, problem, slot, totals, path)
    depth = _part(growth.depth, first, active)
    may = ~totals.pure & (totals.n_rows >= problem.limits[0]) & problem.sound
    may = (
        may
        & (totals.n_rows >= 2 * problem.limits[1])
        & (totals.weight >= 2 * problem.least)
    )
    if recipe.max_depth is not None:
        may &= depth < recipe.max_depth
    share = split.gain / problem.total
    decrease = problem.limits[3]
    may &= (decrease <= 0) | (share + 1e-15 >= decrease)
    split = split._replace(feature=jnp.where(may, split.feature, -2))

    def put(array, new):
        return jax.lax.dynamic_update_slice_in_dim(array, new, first, 0)

    return growth._replace(
        split=jax.tree.map(put, growth.split, split),
        totals=jax.tree.map(put, growth.totals, totals),
        seen=first + count,
    ), first


def _apply(problem, m, growth, first, splits):
    """Give children to the nodes from `first` on where `splits` says so."""
    active = len(splits)
    place = growth.size + 2 * (jnp.cumsum(splits, dtype=jnp.int32) - splits)
    room = place + 2 <= m
    full = growth.full | (splits & ~room).any()
    splits &= room
    number = first + jnp.arange(active, dtype=jnp.int32)
    left = jnp.where(splits, place, len(growth.left))
    path, depth = _part(growth.path, first, active), _part(growth.depth, first, active)

    def born(array, for_left, for_right):
        array = array.at[left].set(for_left, mode="drop")
        return array.at[left + 1].set(for_right, mode="drop")

    def put(array, new):
        old = _part(array, first, active)
        return jax.lax.dynamic_update_slice_in_dim(
            array, jnp.where(splits, new, old), first, 0
        )

    slot = growth.node - first
    here = (slot >= 0) & (slot < active)
    slot = jnp.where(here, slot, 0)
    feature = jnp.maximum(_part(growth.split.feature, first, active)[slot], 0)
    code = problem.columns[feature, jnp.arange(len(slot))].astype(jnp.int32)
    goes_left = jnp.where(
        code == problem.low.shape[1],
        _part(growth.split.missing_left, first, active)[slot],
        code <= _part(growth.split.bin, first, active)[slot],
    )
    child = place[slot] + jnp.where(goes_left, 0, 1)
    return growth._replace(
        left=put(growth.left, place),
        right=put(growth.right, place + 1),
        parent=born(growth.parent, number, number),
        depth=born(growth.depth, depth + 1, depth + 1),
        path=born(
            growth.path,
            cart_gain.mix(path, cart_gain.LEFT),
            cart_gain.mix(path, cart_gain.RIGHT),
        ),
        node=jnp.where(here & splits[slot], child, growth.node),
        size=growth.size + 2 * splits.sum(dtype=jnp.int32),
        full=full,
    )


def _finish(problem, m, growth):
    """The arrays in depth-first order; NaN where the problem has no answer."""
    dtype = problem.low.dtype
    place = cart_order.depth_first(
        growth.left, growth.right, growth.parent, growth.depth, growth.size
    )
    leaf = growth.left < 0
    split, totals = growth.split, growth.totals
    number = jnp.arange(len(leaf))
    used = number < growth.size

    def child(array):
        return jnp.where(leaf, -1, place[jnp.maximum(array, 0)])

    def order(array, empty):
        out = jnp.full((m, *array.shape[1:]), empty, array.dtype)
        return out.at[jnp.where(used, place, m)].set(array, mode="drop")

    bad = ~problem.sound
    value = jnp.where(bad[None, None], jnp.nan, totals.value)
    impurity = jnp.where(bad, jnp.nan, totals.impurity)
    return (
        order(child(growth.left), -1),
        order(child(growth.right), -1),
        order(jnp.where(leaf, -2, split.feature), -2),
        order(jnp.where(leaf, jnp.asarray(-2, dtype), split.threshold), -2),
        order(split.missing_left & ~leaf, False),
        order(value, 0),
        order(impurity, 0),
        order(totals.n_rows.astype(jnp.int32), 0),
        order(totals.weight, 0),
        growth.size,
        growth.full,
    )
