"""How deep trees are, and through which nodes rows pass.

depth = tree_paths.node_depth(trees)             # [*t, m]
passed = tree_paths.decision_path(trees, x)      # [n, *t, m] of booleans

Works on one tree, or on many with leading axes. A tree's nodes must be numbered depth
first, left before right, as `jaxml.ops.trees` says: the nodes below a node are those
that follow it.

Letters: n rows, d features, t trees, m nodes.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxml.ops import trees as tree_ops
from jaxml.ops import trees_order
from jaxml.ops.trees import Trees

__all__ = ["decision_path", "max_depth", "n_leaves", "node_depth"]


@jax.jit
def node_depth(trees: Trees) -> Int[Array, "*t m"]:
    """Splits above each node; 0 for the root, and where no node is."""
    above = trees_order.parents(trees.children_left, trees.children_right)
    m = above.shape[-1]
    index = jnp.arange(m, dtype=above.dtype).reshape((1,) * (above.ndim - 1) + (m,))
    # Steps to an ancestor, and the steps from there: each round doubles the reach.
    depth = (above != index).astype(jnp.int32)
    for _ in range(m.bit_length()):
        depth = depth + jnp.take_along_axis(depth, above, -1)
        above = jnp.take_along_axis(above, above, -1)
    return depth


@jax.jit
def max_depth(trees: Trees) -> Int[Array, "*t"]:
    """Splits on the longest way from the root to a leaf."""
    return node_depth(trees).max(-1)


@jax.jit
def n_leaves(trees: Trees) -> Int[Array, "*t"]:
    """Number of leaves."""
    m = trees.children_left.shape[-1]
    index = jnp.arange(m).reshape((1,) * trees.node_count.ndim + (m,))
    used = index < trees.node_count[..., None]
    return (used & (trees.children_left < 0)).sum(-1)


@jax.jit
def decision_path(trees: Trees, x: Float[Array, "n d"]) -> Bool[Array, "n *t m"]:
    """Say which nodes each row passes, the root and the leaf included.

    Args:
        trees: trees over d features.
        x: rows, with NaN where a value is missing.
    """
    leaf = tree_ops.apply(trees, x)[..., None]
    m = trees.children_left.shape[-1]
    index = jnp.arange(m, dtype=leaf.dtype).reshape((1,) * (leaf.ndim - 1) + (m,))
    return (index <= leaf) & (
        leaf <= trees_order.last_below(trees.children_right)[None]
    )
