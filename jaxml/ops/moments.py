"""Weighted first and second moments of rows: sums that merge, subtract and shard.

a, b = moments.stats(x_1, y_1), moments.stats(x_2, y_2)
both = moments.merge(a, b)                     # as if from all the rows at once
rest = moments.subtract(both, b)               # as if without the rows of b

All that a least-squares fit needs of its rows; so streaming, sharded and
leave-a-fold-out fits are sums of these. The second moments are about the mean: raw ones
would lose all digits where the mean is large beside the spread.

Letters: n rows, d features, t targets.

References:
    Chan, Golub and LeVeque, 1983. Algorithms for computing the sample variance.
    The American Statistician 37(3), eq. 2.1.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxml.ops import check

__all__ = ["Moments", "merge", "stats", "subtract"]


class Moments(NamedTuple):
    """Sums over weighted rows, about their means."""

    weight: Float[Array, ""]  # sum of the weights
    mean_x: Float[Array, "d"]
    mean_y: Float[Array, "t"]
    gram: Float[Array, "d d"]  # sum of w (x - mean)(x - mean)ᵀ
    cross: Float[Array, "t d"]  # sum of w (y - mean)(x - mean)ᵀ
    spread: Float[Array, "t"]  # sum of w (y - mean)²


def stats(
    x: Float[Array, "n d"],
    y: Float[Array, "n *t"],
    sample_weight: Float[Array, "n"] | None = None,
) -> Moments:
    """Sum up the rows.

    Args:
        x: rows.
        y: targets; [n] counts as one target.
        sample_weight: what each row counts, at least 0; all 1 if None.

    Returns:
        The moments. Without any weight the means are NaN.

    Raises:
        ValueError: if the numbers of rows differ.

    >>> x = jnp.array([[1.0], [2.0], [6.0]])
    >>> total = stats(x, 2 * x[:, 0])
    >>> [round(float(part.sum()), 3) for part in (total.mean_x, total.gram)]
    [3.0, 14.0]
    """
    check.rows(x, y, sample_weight)
    return _stats(x, y.reshape(len(x), -1), sample_weight)


@jax.jit
def _stats(x, y, sample_weight):
    row = jnp.ones(len(x), x.dtype) if sample_weight is None else sample_weight
    weight = row.sum()
    mean_y = row @ y / weight
    y = y - mean_y[None]
    weighted_y = row[:, None] * y
    # One pass over x for the mean and the cross product.
    first = _first(jnp.concatenate([row[:, None], weighted_y], 1), x)
    mean_x = first[0] / weight
    # Where the mean is large beside the spread the short form cancels; the long one
    # writes a centred copy of x, three times the cost.
    short = _second(x, sample_weight) - weight * jnp.outer(mean_x, mean_x)
    lost = (weight * mean_x**2 > 100 * jnp.diagonal(short)).any()

    def centred(_):
        moved = x - mean_x[None]
        slip = row @ moved / weight  # what rounding left in the mean
        gram = _second(moved, sample_weight) - weight * jnp.outer(slip, slip)
        return mean_x + slip, gram, _first(weighted_y, moved)

    def kept(_):
        left = weighted_y.sum(0)  # 0 but for rounding
        return mean_x, short, first[1:] - jnp.outer(left, mean_x)

    mean_x, gram, cross = jax.lax.cond(lost, centred, kept, None)
    return Moments(weight, mean_x, mean_y, gram, cross, (weighted_y * y).sum(0))


def _second(x, row):
    """Σ w x xᵀ; the copy of x that weights ask for is not made without them."""
    left = x if row is None else row[:, None] * x
    return jnp.einsum("ni,nj->ij", left, x, precision="highest")


def _first(y, x):
    return jnp.einsum("nt,nd->td", y, x, precision="highest")


@jax.jit
def merge(a: Moments, b: Moments) -> Moments:
    """The moments of the rows of `a` and `b` together.

    Args:
        a: moments, possibly of no rows.
        b: moments with the same d and t.
    """
    weight = a.weight + b.weight
    whole = jnp.where(weight == 0, 1, weight)
    share = b.weight / whole
    between = a.weight * share  # eq. 2.1b: the spread between the two means
    a, b = (_or_zero(part) for part in (a, b))
    step_x, step_y = b.mean_x - a.mean_x, b.mean_y - a.mean_y
    return Moments(
        weight,
        a.mean_x + share * step_x,
        a.mean_y + share * step_y,
        a.gram + b.gram + between * jnp.outer(step_x, step_x),
        a.cross + b.cross + between * jnp.outer(step_y, step_x),
        a.spread + b.spread + between * step_y**2,
    )


@jax.jit
def subtract(whole: Moments, part: Moments) -> Moments:
    """The moments of the rows of `whole` without those of `part`.

    Args:
        whole: moments.
        part: moments of some of the rows that `whole` has seen.
    """
    weight = whole.weight - part.weight
    part = _or_zero(part)
    mean_x = whole.mean_x + part.weight / weight * (whole.mean_x - part.mean_x)
    mean_y = whole.mean_y + part.weight / weight * (whole.mean_y - part.mean_y)
    step_x, step_y = part.mean_x - mean_x, part.mean_y - mean_y
    between = weight * part.weight / whole.weight
    return Moments(
        weight,
        mean_x,
        mean_y,
        whole.gram - part.gram - between * jnp.outer(step_x, step_x),
        whole.cross - part.cross - between * jnp.outer(step_y, step_x),
        whole.spread - part.spread - between * step_y**2,
    )


def _or_zero(part: Moments) -> Moments:
    """The same, with means of 0 where there are no rows (they would be NaN)."""
    empty = part.weight == 0
    return Moments(*(jnp.where(empty, 0, leaf) for leaf in part))
