"""Losses of gradient boosting: where to start, slopes, and the best step of a leaf.

    start = gradient_boosting_losses.start("huber", y, weight, 1, alpha)     # [c]
    slope = gradient_boosting_losses.descent("huber", y, raw, delta)         # [n, c]
    step = gradient_boosting_losses.leaf_values("huber", parts, m)           # [m]

Raw predictions are log-odds ("log_loss"), half of them ("exponential"), centred
logarithms of probabilities ("log_loss" of c > 2 classes), or the prediction itself.

Letters: n rows, m leaves, c raw predictions of a row.

References:
    Friedman, 2001. Greedy function approximation: a gradient boosting machine. Ann.
        Stat. 29(5), algorithms 1 to 6.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxml.ops import order

__all__ = [
    "CLASSES",
    "NUMBERS",
    "Parts",
    "descent",
    "leaf_values",
    "mean_loss",
    "quantiles",
    "start",
]

CLASSES = ("log_loss", "exponential")
NUMBERS = ("squared_error", "absolute_error", "huber", "quantile")
LEAST = 2.3e-16  # probability that a class without rows starts with


class Parts(NamedTuple):
    """What the step of a leaf depends on, for one of the c raw predictions."""

    y: Float[Array, "n"]  # the target, or 1.0 for the class
    raw: Float[Array, "n"]  # prediction so far
    slope: Float[Array, "n"]  # negative gradient there
    weight: Float[Array, "n"]  # 0: the tree has not seen the row
    leaf: Int[Array, "n"]
    number: Float[Array, ""]  # share of "quantile", width of "huber"
    classes: int  # c, or 2


def start(
    loss: str,
    y: Float[Array, "n"] | Int[Array, "n"],
    weight: Float[Array, "n"],
    c: int,
    alpha: Float[Array, ""],
) -> Float[Array, "c"]:
    """The constant raw prediction of the least loss."""
    if loss in CLASSES:
        labels = jnp.arange(max(c, 2))
        member = (y[:, None] == labels[None]).astype(weight.dtype)
        share = jnp.matmul(weight, member, precision="highest") / weight.sum()
        log = jnp.log(jnp.maximum(share, LEAST))
        if c > 1:
            return log - log.mean()
        return (log[1:] - log[:1]) * (0.5 if loss == "exponential" else 1)
    if loss == "squared_error":
        kept = jnp.where(weight > 0, y, 0)
        return jnp.matmul(weight, kept, precision="highest")[None] / weight.sum()
    share = alpha if loss == "quantile" else jnp.asarray(0.5, y.dtype)
    return quantiles(y, weight, jnp.zeros(len(y), jnp.int32), 1, share)


def descent(
    loss: str,
    y: Float[Array, "n"] | Int[Array, "n"],
    raw: Float[Array, "n c"],
    number: Float[Array, ""],
) -> Float[Array, "n c"]:
    """The negative gradient of the loss of each row.

    Args:
        loss: of CLASSES or NUMBERS.
        y: labels or targets.
        raw: predictions so far.
        number: share of "quantile", width of "huber".
    """
    if loss in CLASSES and raw.shape[1] > 1:
        member = y[:, None] == jnp.arange(raw.shape[1])[None]
        return member.astype(raw.dtype) - jax.nn.softmax(raw, axis=1)
    first = raw[:, 0]
    if loss == "log_loss":
        slope = y.astype(raw.dtype) - jax.nn.sigmoid(first)
    elif loss == "exponential":
        slope = jnp.where(y == 1, jnp.exp(-first), -jnp.exp(first))
    elif loss == "squared_error":
        slope = y - first
    elif loss == "huber":
        slope = jnp.clip(y - first, -number, number)
    elif loss == "absolute_error":
        slope = jnp.where(y >= first, 1.0, -1.0).astype(raw.dtype)
    else:
        slope = jnp.where(y >= first, number, number - 1)
    return slope[:, None]


def mean_loss(
    loss: str,
    y: Float[Array, "n"] | Int[Array, "n"],
    raw: Float[Array, "n c"],
    weight: Float[Array, "n"],
    number: Float[Array, ""],
) -> Float[Array, ""]:
    """The weighted mean over the rows, as scikit-learn's `train_score_`.

    Of two classes "log_loss" is counted twice (the deviance).
    """
    first = raw[:, 0]
    error = jnp.abs(y - first) if loss in NUMBERS else first
    if loss in CLASSES and raw.shape[1] > 1:
        taken = jnp.take_along_axis(raw, y[:, None].astype(jnp.int32), 1)[:, 0]
        each = jax.nn.logsumexp(raw, axis=1) - taken
    elif loss == "log_loss":
        each = 2 * (jnp.logaddexp(first, 0) - y * first)
    elif loss == "exponential":
        each = jnp.exp(jnp.where(y == 1, -first, first))
    elif loss == "squared_error":
        each = error**2
    elif loss == "absolute_error":
        each = error
    elif loss == "huber":
        far = number * (error - 0.5 * number)
        each = jnp.where(error <= number, 0.5 * error**2, far)
    else:
        each = jnp.where(y >= first, number * error, (1 - number) * error)
    return jnp.where(weight > 0, weight * each, 0).sum() / weight.sum()


def leaf_values(loss: str, parts: Parts, m: int) -> Float[Array, "m"]:
    """What the rows of each leaf shall move by, one Newton step or the exact minimum.

    Args:
        loss: of CLASSES, or of NUMBERS but for "squared_error", whose trees say it.
        parts: rows and their leaves.
        m: number of nodes; those without rows get 0.
    """
    weight, leaf = parts.weight, parts.leaf

    def sums(values):
        kept = jnp.where(weight > 0, weight * values, 0)
        return jnp.zeros(m, kept.dtype).at[leaf].add(kept)

    if loss in CLASSES:
        above = sums(parts.slope)
        if loss == "exponential":
            below = sums(jnp.abs(parts.slope))
        else:
            share = parts.y - parts.slope
            below = sums(share * (1 - share))
            # Friedman's factor, of algorithm 6.
            c = parts.classes
            above = above * ((c - 1) / c) if c > 2 else above
        flat = below < jnp.finfo(below.dtype).tiny * 16
        return jnp.where(flat, 0, above / jnp.where(flat, 1, below))
    rest = parts.y - parts.raw
    share = parts.number if loss == "quantile" else jnp.asarray(0.5, rest.dtype)
    middle = quantiles(rest, weight, leaf, m, share)
    if loss == "huber":  # eq. 31
        width = parts.number
        beyond = jnp.clip(rest - middle[leaf], -width, width)
        mass = sums(jnp.ones_like(rest))
        middle = middle + sums(beyond) / jnp.where(mass > 0, mass, 1)
    return middle


def quantiles(
    values: Float[Array, "n"],
    weight: Float[Array, "n"],
    group: Int[Array, "n"],
    m: int,
    share: Float[Array, ""],
) -> Float[Array, "m"]:
    """The least value of each group at which the summed weights reach a share.

    By bisection over the bits of the values: sums over the rows alone, no sort.

    Args:
        values: numbers.
        weight: of each; 0 is absent.
        group: of each, from 0 to `m` - 1.
        m: number of groups; those without weight get 0.
        share: from 0 to 1.

    >>> share, group = jnp.array(0.5), jnp.array([0, 0, 0, 1])
    >>> quantiles(jnp.array([3.0, 1.0, 2.0, 7.0]), jnp.ones(4), group, 3, share)
    Array([2., 7., 0.], dtype=float32)
    """
    keys = order.bits(values)
    kind = keys.dtype
    width = kind.itemsize * 8
    sums = lambda kept: jnp.zeros(m, weight.dtype).at[group].add(kept)
    mass = sums(weight)
    # Within rounding of the share counts as there.
    least = share * mass * (1 - 4 * jnp.finfo(weight.dtype).eps)

    def halve(_, carry):
        low, high = carry  # the answer is from low to high
        middle = low + ((high - low) >> 1)
        below = sums(jnp.where(keys <= middle[group], weight, 0))
        enough = (below >= least) & (below > 0)
        return jnp.where(enough, low, middle + 1), jnp.where(enough, middle, high)

    low = jnp.zeros(m, kind)
    bounds = (low, jnp.full(m, jnp.iinfo(kind).max, kind))
    found = jax.lax.fori_loop(0, width, halve, bounds)[1]
    sign = jnp.asarray(1 << (width - 1), kind)
    raw = jnp.where(found >= sign, found ^ sign, ~found)
    return jnp.where(mass > 0, jax.lax.bitcast_convert_type(raw, values.dtype), 0)
