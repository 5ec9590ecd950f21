"""Medians and absolute errors of the rows of some nodes, exact, in XLA.

For every feature and bin the rows of each node are gone through in the order of their
targets: O(n b d) for all nodes of a step together. That is right but slow: the kernel
does it in O(n d log n).

Letters: as in `cart_levels`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

__all__ = ["Order", "arrange", "gains", "medians"]


class Order(NamedTuple):
    """Rows by slot, then by target; for one output."""

    order: Int[Array, "n"]
    slot: Int[Array, "n"]
    number: Float[Array, "n"]
    weight: Float[Array, "n"]
    start: Int[Array, "a+1"]  # of each slot


def arrange(problem, slot, a: int) -> list[Order]:
    """Put the rows in order, for each output."""
    count = jax.ops.segment_sum(jnp.ones_like(slot), slot, a + 1)
    start = jnp.cumsum(count) - count
    out = []
    for o in range(problem.number.shape[1]):
        order = jnp.lexsort((problem.number[:, o], slot))
        number, weight = problem.number[order, o], problem.weight[order]
        out.append(Order(order, slot[order], number, weight, start))
    return out


def medians(problem, slot, a: int) -> Float[Array, "a o"]:
    """Weighted median of each slot; the middle of two where half is between them."""
    columns = []
    for rows in arrange(problem, slot, a):
        inside, total = _inside(rows, rows.weight)
        last = len(rows.number) - 1
        at = jnp.minimum(_crossing(rows, inside, total), last)
        before = jnp.maximum(at - 1, 0)
        even = (at > rows.start) & (inside[before] == total / 2)
        number = rows.number[at]
        middle = rows.number[before] / 2 + number / 2
        columns.append(jnp.where(even, middle, number)[:a])
    return jnp.stack(columns, 1)


def gains(problem, orders: list[Order], totals, code, b: int) -> Float[Array, "a 2 b"]:
    """Decrease of the sum of absolute errors by splits after each bin.

    The second axis is the side of missing values: right, left.
    """
    a = len(totals.weight)
    whole = totals.weight * totals.impurity

    def error(keep):
        return sum(_error(rows, keep[rows.order]) for rows in orders) / len(orders)

    def after(bin, side):
        left = (code <= bin) | ((code == b) & side)
        return whole - (error(left) + error(~left))[:a]

    def one_side(side):
        return jax.lax.map(lambda bin: after(bin, side), jnp.arange(b)).T

    right = one_side(False)
    left = jax.lax.cond(
        (code == b).any(), lambda: one_side(True), lambda: jnp.zeros_like(right)
    )
    return jnp.stack([right, left], 1)


def _inside(rows, weight):
    """Weight up to each row within its slot, and of each slot."""
    total = jax.ops.segment_sum(weight, rows.slot, len(rows.start))
    return jnp.cumsum(weight) - (jnp.cumsum(total) - total)[rows.slot], total


def _crossing(rows, inside, total):
    """The first row of each slot with more than half of the weight up to it."""
    below = (inside <= total[rows.slot] / 2).astype(jnp.int32)
    return rows.start + jax.ops.segment_sum(below, rows.slot, len(rows.start))


def _error(rows, keep):
    """Sum of the distances to the median over the rows that are kept, of each slot."""
    weight = jnp.where(keep, rows.weight, 0)
    inside, total = _inside(rows, weight)
    at = jnp.minimum(_crossing(rows, inside, total), len(rows.number) - 1)
    distance = jnp.abs(rows.number - rows.number[at][rows.slot])
    return jax.ops.segment_sum(weight * distance, rows.slot, len(rows.start))
