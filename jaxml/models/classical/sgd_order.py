"""The order in which rows are met, and which are set aside: functions of a key.

order = shuffled(weight, key=key)
held_out = aside(weight, labels, 0.1, key=key)

What is drawn for a row depends on its rank among the rows that have a weight, so rows
of weight 0 change nothing wherever they stand.

Letters: n rows.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from jaxml.ops import native

__all__ = ["aside", "shuffled"]


def shuffled(
    weight: Float[Array, "n"], *, key: Key[Array, ""], fast: bool = False
) -> Int[Array, "n"]:
    """Draw a permutation of the rows.

    Args:
        weight: of the rows; 0 is an absent row, which stands anywhere.
        key: random key.
        fast: whether to sort by the kernel `native.argsort`; the order is the same.
    """
    draws = _draws(key, weight)
    if fast:
        return native.argsort(draws)
    return jnp.argsort(draws, stable=True).astype(jnp.int32)


def aside(
    weight: Float[Array, "n"],
    groups: Int[Array, "n"] | None,
    fraction: float | Float[Array, ""],
    *,
    key: Key[Array, ""],
) -> Bool[Array, "n"]:
    """Draw rows to set aside: a share of each group, at least one row and not all.

    Args:
        weight: of the rows; a row of weight 0 is never set aside.
        groups: label of each row; None: all are one group.
        fraction: the share, between 0 and 1.
        key: random key.
    """
    n = len(weight)
    last = jnp.iinfo(jnp.int32).max
    labels = jnp.zeros(n, jnp.int32) if groups is None else groups.astype(jnp.int32)
    labels = jnp.where(weight > 0, labels, last)
    drawn = jnp.argsort(_draws(key, weight), stable=True)
    order = drawn[jnp.argsort(labels[drawn], stable=True)]
    ordered = labels[order]
    first = jnp.searchsorted(ordered, ordered, side="left")
    size = jnp.searchsorted(ordered, ordered, side="right") - first
    share = jnp.floor(jnp.asarray(fraction, weight.dtype) * size + 0.5)
    share = jnp.clip(share.astype(size.dtype), 1, jnp.maximum(size - 1, 0))
    chosen = jnp.zeros(n, bool).at[order].set(jnp.arange(n) - first < share)
    return chosen & (weight > 0)


def _draws(key, weight):
    """A random integer for each row, given by its rank among those with a weight."""
    present = (weight > 0).astype(jnp.int32)
    rank = jnp.cumsum(present) - present
    return jax.random.bits(key, weight.shape, jnp.uint32)[rank]
