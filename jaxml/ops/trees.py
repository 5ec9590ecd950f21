"""Decision trees as arrays: one tree, or many with leading axes; how rows walk them.

leaf = trees.apply(trees_of_a_forest, x)         # [n, t]
scores = trees.sum_values(trees_of_a_forest, x)  # [n, k]

A node i sends a row left where x[feature[i]] <= threshold[i]. Nodes are numbered in
depth-first order, left before right, so a child comes after its parent; the entries
from `node_count` on are unused.

A node with `categorical` asks for a category instead, the value without its fraction:
the row goes left where its bit is set, and by `other_go_to_left` where the category is
negative or at least 32 w. A NaN goes by `missing_go_to_left` in both.

Letters: n rows, d features, t trees, m nodes, k outputs, w words of 32 categories.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt32

from jaxml.ops import native, trees_kernel

__all__ = [
    "Nodes",
    "Trees",
    "apply",
    "flatten",
    "leaves_of",
    "member",
    "sum_of",
    "sum_values",
]

TOGETHER = 8  # trees that walk side by side in XLA


class Trees(NamedTuple):
    """Trees, with the field names of scikit-learn's `tree_`."""

    children_left: Int[Array, "*t m"]  # -1 at a leaf
    children_right: Int[Array, "*t m"]  # -1 at a leaf
    feature: Int[Array, "*t m"]  # -2 at a leaf
    threshold: Float[Array, "*t m"]  # -2 at a leaf; x <= threshold goes left
    missing_go_to_left: Bool[Array, "*t m"]  # where a NaN goes
    categorical: Bool[Array, "*t m"]  # split by `categories`, not by `threshold`
    categories: UInt32[Array, "*t m w"]  # bit c: category c goes left; w = 0: no sets
    other_go_to_left: Bool[Array, "*t m"]  # where a category beyond 32 w goes
    value: Float[Array, "*t m k"]  # class shares, or means of the targets
    impurity: Float[Array, "*t m"]
    n_node_samples: Int[Array, "*t m"]  # rows of positive weight
    weighted_n_node_samples: Float[Array, "*t m"]
    node_count: Int[Array, "*t"]


class Nodes(NamedTuple):
    """What rows need to walk trees [t, m]: the arrays of the kernel, in its dtypes."""

    children_left: Int[Array, "*t m"]
    children_right: Int[Array, "*t m"]
    feature: Int[Array, "*t m"]
    threshold: Float[Array, "*t m"]
    missing_go_to_left: Bool[Array, "*t m"]
    categorical: Bool[Array, "*t m"]
    categories: UInt32[Array, "*t m w"]
    other_go_to_left: Bool[Array, "*t m"]
    value: Float[Array, "*t m k"]


def apply(trees: Trees, x: Float[Array, "n d"]) -> Int[Array, "n *t"]:
    """Find the leaf of every row in every tree.

    Args:
        trees: trees over d features.
        x: rows, with NaN where a value is missing.

    Returns:
        Index of the leaf's node, for every row and every axis of trees.
    """
    return _apply(trees, x, native.enabled("trees"))


def sum_values(trees: Trees, x: Float[Array, "n d"]) -> Float[Array, "n k"]:
    """Sum the values of the leaves of every row over trees.

    Args:
        trees: trees over d features. The sum runs over their first axis (the trees of a
            forest, the iterations of a booster), in its order; further axes (the
            classes of a booster) stay, and are columns of the result. One tree without
            an axis gives its own values.
        x: rows, with NaN where a value is missing.

    Returns:
        [n, k] for trees [t, m] with values [t, m, k]; [n, c] for a booster of c classes
        with trees [t, c, m] and values [t, c, m, 1]; in general [n, c k].
    """
    return _sum_values(trees, x, native.enabled("trees"))


def flatten(trees: Trees, x: Float[Array, "n d"]) -> tuple[Nodes, Float[Array, "n d"]]:
    """Lay all trees along one axis, and bring them and the rows into one dtype."""
    axes = trees.node_count.ndim
    float_types = (x.dtype, trees.threshold.dtype, trees.value.dtype)
    dtype = functools.reduce(jnp.promote_types, float_types, jnp.float32)
    flat = {}
    for name in Nodes._fields:
        array = getattr(trees, name)
        array = array.reshape(trees.node_count.size, *array.shape[axes:])
        if jnp.issubdtype(array.dtype, jnp.floating):
            array = array.astype(dtype)
        elif jnp.issubdtype(array.dtype, jnp.signedinteger):
            array = array.astype(jnp.int32)
        flat[name] = array
    return Nodes(**flat), x.astype(dtype)


@functools.partial(jax.jit, static_argnames=("kernel",))
def _apply(trees, x, kernel):
    flat, x = flatten(trees, x)

    def fallback(*arrays):
        return (leaves_of(Nodes(*arrays[:-1]), arrays[-1]),)

    def shapes(n):
        return (jax.ShapeDtypeStruct((n, trees.node_count.size), jnp.int32),)

    if kernel:
        leaves = trees_kernel.call("trees", "trees_leaves", fallback, shapes, *flat, x)
    else:
        leaves = fallback(*flat, x)
    return leaves[0].reshape(len(x), *trees.node_count.shape)


@functools.partial(jax.jit, static_argnames=("kernel",))
def _sum_values(trees, x, kernel):
    flat, x = flatten(trees, x)
    columns = math.prod(trees.node_count.shape[1:])
    width = columns * trees.value.shape[-1]

    def fallback(*arrays):
        return (sum_of(Nodes(*arrays[:-1]), arrays[-1], columns),)

    def shapes(n):
        return (jax.ShapeDtypeStruct((n, width), x.dtype),)

    if kernel:
        total = trees_kernel.call(
            "trees", "trees_sum", fallback, shapes, *flat, x, columns=columns
        )
    else:
        total = fallback(*flat, x)
    return total[0].astype(trees.value.dtype)


def leaves_of(nodes: Nodes, x: Float[Array, "n d"]) -> Int[Array, "n t"]:
    """`apply` in XLA, some trees at a time."""
    whole, rest = _blocks(nodes, TOGETHER)
    leaves = []
    if len(whole.feature):
        blocks = jax.lax.map(lambda block: _walk(block, x), whole)
        leaves.append(jnp.moveaxis(blocks, 0, 1).reshape(len(x), -1))
    if len(rest.feature):
        leaves.append(_walk(rest, x))
    return jnp.concatenate(leaves, 1)


def sum_of(nodes: Nodes, x: Float[Array, "n d"], columns: int) -> Float[Array, "n k"]:
    """`sum_values` in XLA: tree j adds to the block of columns j modulo `columns`."""
    width = columns * nodes.value.shape[-1]

    def add(total, block):
        leaf = _walk(block, x) + _offsets(block)
        value = block.value.reshape(-1, block.value.shape[-1])
        value = value.at[leaf].get(mode="clip").reshape(len(x), -1, width)
        for step in range(value.shape[1]):  # one after the other, as the kernel adds
            total = total + value[:, step]
        return total, None

    total = jnp.zeros((len(x), width), nodes.value.dtype)
    whole, rest = _blocks(nodes, max(1, TOGETHER // columns) * columns)
    if len(whole.feature):
        total, _ = jax.lax.scan(add, total, whole)
    return add(total, rest)[0] if len(rest.feature) else total


def _blocks(nodes, size):
    """Trees in blocks [b, size, m], and those [r, m] that are left over."""
    full = len(nodes.feature) // size

    def block(array):
        return array[: full * size].reshape(full, size, *array.shape[1:])

    return jax.tree.map(block, nodes), jax.tree.map(lambda a: a[full * size :], nodes)


def _offsets(nodes):
    """[1, t] number of the first node of each tree, where all are laid out in a row."""
    t, m = nodes.feature.shape
    return m * jnp.arange(t, dtype=jnp.int32)[None]


def _walk(nodes, x):
    """[n, t] leaves of all rows in all trees, one level at a time."""
    t, m = nodes.feature.shape
    offsets = _offsets(nodes)
    # Steps have no slope; and a loop of unknown length no derivative backwards.
    x, threshold = jax.lax.stop_gradient((x, nodes.threshold))

    def look(field, place):
        flat = field.reshape(t * m, *field.shape[2:])
        return flat.at[place + offsets].get(mode="clip")

    def walking(carry):
        _, moved, steps = carry
        return moved & (steps < m)

    def step(carry):
        place, _, steps = carry
        left = look(nodes.children_left, place)
        feature = jnp.maximum(look(nodes.feature, place), 0)
        value = jnp.take_along_axis(x, feature, 1, mode="clip")
        goes_left = value <= look(threshold, place)
        if nodes.categories.shape[-1]:
            known, bit = member(look(nodes.categories, place), value)
            bit = jnp.where(known, bit, look(nodes.other_go_to_left, place))
            goes_left = jnp.where(look(nodes.categorical, place), bit, goes_left)
        missing = look(nodes.missing_go_to_left, place)
        goes_left = jnp.where(jnp.isnan(value), missing, goes_left)
        child = jnp.where(goes_left, left, look(nodes.children_right, place))
        return jnp.where(left < 0, place, child), (left >= 0).any(), steps + 1

    start = jnp.zeros((len(x), t), jnp.int32)
    return jax.lax.while_loop(walking, step, (start, jnp.array(True), 0))[0]


def member(
    sets: UInt32[Array, "*s w"], value: Float[Array, "*s"]
) -> tuple[Bool[Array, "*s"], Bool[Array, "*s"]]:
    """Whether sets [..., w] can hold the category, and whether they do."""
    words = sets.shape[-1]
    known = (value > -1) & (value < 32 * words)
    category = jnp.where(known, value, 0).astype(jnp.int32)
    word = jnp.take_along_axis(sets, (category >> 5)[..., None], -1)[..., 0]
    return known, ((word >> (category & 31).astype(jnp.uint32)) & 1) == 1
