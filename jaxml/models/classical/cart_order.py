"""Numbers of nodes in depth-first order, for trees in which children follow parents."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

__all__ = ["depth_first"]


def depth_first(
    left: Int[Array, "m"],
    right: Int[Array, "m"],
    parent: Int[Array, "m"],
    depth: Int[Array, "m"],
    size: Int[Array, ""],
) -> Int[Array, "m"]:
    """The depth-first number of every node, left before right, one level at a time.

    Args:
        left, right: children, -1 at a leaf.
        parent: of each node; any for the root, which is node 0.
        depth: of each node, 0 for the root.
        size: number of nodes; those behind are left out.

    >>> left, right = jnp.array([1, 3, -1, -1, -1]), jnp.array([2, 4, -1, -1, -1])
    >>> parent, depth = jnp.array([0, 0, 0, 1, 1]), jnp.array([0, 1, 1, 2, 2])
    >>> depth_first(left, right, parent, depth, jnp.array(5)).tolist()
    [0, 1, 4, 2, 3]
    """
    m = len(left)
    used = jnp.arange(m) < size
    deepest = jnp.where(used, depth, 0).max()

    def add(step, below):
        level = deepest - step
        part = jnp.where(used & (depth == level), below, 0)
        return below.at[parent].add(part)

    below = jax.lax.fori_loop(0, deepest, add, jnp.ones(m, jnp.int32))

    def number(step, place):
        here = used & (depth == step) & (left >= 0)
        first = jnp.where(here, left, m)
        place = place.at[first].set(place + 1, mode="drop")
        second = jnp.where(here, right, m)
        return place.at[second].set(
            place + 1 + below[jnp.maximum(left, 0)], mode="drop"
        )

    return jax.lax.fori_loop(0, deepest, number, jnp.zeros(m, jnp.int32))
