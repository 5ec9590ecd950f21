"""Which nodes of a tree lie above and below a node, from its children.

above = trees_order.parents(trees.children_left, trees.children_right)
last = trees_order.last_below(trees.children_right)

Letters: t trees, m nodes.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

__all__ = ["last_below", "parents"]


@jax.jit
def parents(
    children_left: Int[Array, "*t m"], children_right: Int[Array, "*t m"]
) -> Int[Array, "*t m"]:
    """Find the node above each node; itself for the root, and where no node is."""
    shape = children_left.shape
    m = shape[-1]
    left, right = children_left.reshape(-1, m), children_right.reshape(-1, m)
    count = len(left)
    here = jnp.arange(count * m, dtype=jnp.int32).reshape(count, m)
    offset = here[:, :1]
    above = here.reshape(-1)
    for side in (left, right):  # one scatter for all trees
        child = jnp.where(left >= 0, side + offset, count * m)
        above = above.at[child.reshape(-1)].set(here.reshape(-1), mode="drop")
    return (above.reshape(count, m) - offset).reshape(shape)


@jax.jit
def last_below(children_right: Int[Array, "*t m"]) -> Int[Array, "*t m"]:
    """The last node at or below each node: those below i are i + 1 to last_below[i].

    Nodes must be numbered depth first, left before right.
    """
    m = children_right.shape[-1]
    index = jnp.arange(m, dtype=children_right.dtype)
    index = index.reshape((1,) * (children_right.ndim - 1) + (m,))
    last = jnp.where(children_right >= 0, children_right, index)
    for _ in range(m.bit_length()):  # each round doubles the steps to the right
        last = jnp.take_along_axis(last, last, -1)
    return last
