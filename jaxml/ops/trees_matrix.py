"""Rows walk trees by products of matrices: the form for a TPU, where trees are small.

scores = trees_matrix.sum_values(trees, x)      # [n, k], as jaxml.ops.trees.sum_values

All splits of a tree are asked of all rows at once: the features are selected by a
product with a matrix of zeros and ones, and a row is in the leaf all of whose splits
agree, which a second product counts. That is d + l numbers a split and row where
`jaxml.ops.trees` reads a few for each level: it pays where products are cheap and reads
at random dear, up to a few hundred leaves. The results are the same, bit for bit.

Letters: n rows, d features, t trees, m nodes, s splits, l leaves, k outputs, w words of
32 categories.

References:
    Nakandala et al., 2020. A tensor compiler for unified machine learning prediction
        serving. OSDI. (Hummingbird: the GEMM strategy)
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxml.ops import trees as tree_ops
from jaxml.ops import trees_kernel, trees_order
from jaxml.ops.trees import Nodes, Trees

__all__ = ["apply", "sum_values"]

ELEMENTS = 1 << 24  # answers of rows to splits, and of leaves, held at once


@jax.jit
def apply(trees: Trees, x: Float[Array, "n d"]) -> Int[Array, "n *t"]:
    """Find the leaf of every row in every tree, as `jaxml.ops.trees.apply`.

    Args:
        trees: trees over d features.
        x: rows, with NaN where a value is missing.
    """

    def leaves(nodes, x):
        def one(tree):
            index, reached = _reached(tree, x)
            return jnp.where(reached, index[None], 0).sum(1, dtype=jnp.int32)

        return jax.lax.map(one, nodes).T

    flat, x = tree_ops.flatten(trees, x)
    (found,) = trees_kernel.by_rows(
        lambda *arrays: (_in_blocks(leaves, *arrays),),
        lambda *arrays: (tree_ops.leaves_of(Nodes(*arrays[:-1]), arrays[-1]),),
        1,
        *flat,
        x,
    )
    return found.reshape(len(x), *trees.node_count.shape)


@jax.jit
def sum_values(trees: Trees, x: Float[Array, "n d"]) -> Float[Array, "n k"]:
    """Sum the values of the leaves of every row, as `jaxml.ops.trees.sum_values`.

    Args:
        trees: trees of which the first axis is summed, and the others are columns.
        x: rows, with NaN where a value is missing.
    """
    columns = math.prod(trees.node_count.shape[1:])

    def sums(nodes, x):
        def one(tree):
            index, reached = _reached(tree, x)
            # One term is not zero: the product selects, and rounds nothing.
            chosen = reached.astype(x.dtype)
            return jnp.matmul(chosen, tree.value[index], precision="highest")

        def add(total, block):
            values = jax.lax.map(one, block)  # [columns, n, k]
            return total + jnp.moveaxis(values, 0, 1).reshape(len(x), -1), None

        blocks = jax.tree.map(
            lambda leaf: leaf.reshape(len(leaf) // columns, columns, *leaf.shape[1:]),
            nodes,
        )
        start = jnp.zeros((len(x), columns * nodes.value.shape[-1]), x.dtype)
        return jax.lax.scan(add, start, blocks)[0]

    flat, x = tree_ops.flatten(trees, x)
    (total,) = trees_kernel.by_rows(
        lambda *arrays: (_in_blocks(sums, *arrays),),
        lambda *arrays: (tree_ops.sum_of(Nodes(*arrays[:-1]), arrays[-1], columns),),
        1,
        *flat,
        x,
    )
    return total.astype(trees.value.dtype)


def _in_blocks(function, *arrays):
    """`function(nodes, x)` of some rows at a time."""
    nodes, x = Nodes(*arrays[:-1]), arrays[-1]
    n = len(x)
    size = max(1, min(n, ELEMENTS // nodes.feature.shape[1]))
    blocks = -(-n // size)
    padded = jnp.pad(x, ((0, blocks * size - n), (0, 0)))
    found = jax.lax.map(
        lambda rows: function(nodes, rows), padded.reshape(blocks, size, -1)
    )
    return found.reshape(blocks * size, -1)[:n]


def _reached(tree, x):
    """Nodes of the leaves [l] of a tree, and whether each row is in them [n, l]."""
    m = len(tree.feature)
    is_split = tree.children_left >= 0
    (split,) = jnp.nonzero(is_split, size=max(1, (m - 1) // 2), fill_value=m)
    (leaf,) = jnp.nonzero(~is_split, size=(m + 1) // 2, fill_value=m - 1)
    used = split < m
    split = jnp.minimum(split, m - 1)
    goes_left = _answers(tree, split, x).astype(jnp.bfloat16)
    last = trees_order.last_below(tree.children_right)

    def below(child):
        inside = (child[:, None] <= leaf[None]) & (leaf[None] <= last[child][:, None])
        return inside & used[:, None]

    left, right = below(tree.children_left[split]), below(tree.children_right[split])
    sign = left.astype(jnp.bfloat16) - right.astype(jnp.bfloat16)
    # A row's leaf counts all its lefts and none of its rights, in whole numbers.
    count = jnp.matmul(goes_left, sign, preferred_element_type=jnp.float32)
    real = left.any(0) | right.any(0) | (leaf == 0)
    return leaf, (count == left.sum(0)[None]) & real[None]


def _answers(tree, split, x):
    """Whether each row goes left at each split: [n, s]."""
    d = x.shape[1]
    feature = tree.feature[split][None]
    select = (jnp.arange(d, dtype=feature.dtype)[:, None] == feature).astype(x.dtype)
    missing = jnp.isnan(x)
    # 0 times infinity would be NaN.
    finite = jnp.nan_to_num(x)
    value = jnp.matmul(finite, select, precision="highest")
    goes_left = value <= tree.threshold[split][None]
    words = tree.categories.shape[-1]
    if words:
        known = (value > -1) & (value < 32 * words)
        category = jnp.where(known, value, 0).astype(jnp.int32)
        word = jnp.zeros(value.shape, jnp.uint32)
        for place in range(words):
            chosen = tree.categories[split, place][None]
            word = jnp.where(category >> 5 == place, chosen, word)
        bit = (word >> (category & 31).astype(jnp.uint32)) & 1
        bit = jnp.where(known, bit == 1, tree.other_go_to_left[split][None])
        goes_left = jnp.where(tree.categorical[split][None], bit, goes_left)
    absent = jnp.matmul(missing.astype(jnp.bfloat16), select.astype(jnp.bfloat16)) > 0
    return jnp.where(absent, tree.missing_go_to_left[split][None], goes_left)
