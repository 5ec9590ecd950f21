"""Scores against two classes at every threshold: curves, and a threshold to keep.

    roc = metrics.roc_curve(scores, labels, weight)        # n + 1 points
    metrics.threshold_at_precision(scores, labels, 0.9)

Curves have a static number of points, one for each row and one more, so they can be
jitted and mapped: rows of equal scores, and absent rows (weight 0), repeat a point. So
plots and areas are exact as they are; `distinct` marks each point once.

Letters: n rows.

References:
    Fawcett, 2006. An introduction to ROC analysis. Pattern Recognition Letters 27,
    algorithm 2.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from jaxml.metrics import means
from jaxml.ops import order

__all__ = [
    "Det",
    "PrecisionRecall",
    "Roc",
    "det_curve",
    "precision_recall_curve",
    "roc_curve",
    "sums",
    "threshold_at_precision",
]

Weight = Shaped[Array, "n"] | None


class Roc(NamedTuple):
    """Rates as the threshold falls."""

    fpr: Float[Array, "n+1"]  # share of class 0 at or above the threshold
    tpr: Float[Array, "n+1"]  # share of class 1 there
    thresholds: Float[Array, "n+1"]  # the first is infinite: nothing is above it
    distinct: Bool[Array, "n+1"]


class PrecisionRecall(NamedTuple):
    """Precision and recall as the threshold rises; last (1, 0), of no threshold."""

    precision: Float[Array, "n+1"]
    recall: Float[Array, "n+1"]
    thresholds: Float[Array, "n"]
    distinct: Bool[Array, "n+1"]


class Det(NamedTuple):
    """Error rates as the threshold rises."""

    fpr: Float[Array, "n+1"]  # share of class 0 at or above the threshold
    fnr: Float[Array, "n+1"]  # share of class 1 below it
    thresholds: Float[Array, "n+1"]
    distinct: Bool[Array, "n+1"]  # also without the ends where a rate stays 0


def roc_curve(
    scores: Float[Array, "n"], labels: Shaped[Array, "n"], weight: Weight = None
) -> Roc:
    """Rates of true and false alarms at every threshold.

    Args:
        scores: they grow with the chance of class 1.
        labels: 0 or 1.
        weight: how much each row counts; 0 is an absent row. Default: 1.

    Returns:
        The curve; NaN where a class has no rows.

    >>> roc_curve(jnp.array([0.1, 0.8, 0.4]), jnp.array([0, 1, 1])).tpr
    Array([0. , 0.5, 1. , 1. ], dtype=float32)
    """
    false, true, thresholds, distinct = sums(scores, labels, weight)
    return Roc(false / false[-1], true / true[-1], thresholds, distinct)


def precision_recall_curve(
    scores: Float[Array, "n"], labels: Shaped[Array, "n"], weight: Weight = None
) -> PrecisionRecall:
    """Precision and recall at every threshold.

    Args:
        scores: they grow with the chance of class 1.
        labels: 0 or 1.
        weight: how much each row counts; 0 is an absent row. Default: 1.

    Returns:
        The curve in scikit-learn's order; recall is 1 where class 1 has no rows.
    """
    false, true, thresholds, distinct = sums(scores, labels, weight)
    both = false + true
    precision = jnp.where(both > 0, true / jnp.where(both > 0, both, 1), 1)
    found = true[-1] > 0
    recall = jnp.where(found, true / jnp.where(found, true[-1], 1), 1).at[0].set(0)
    parts = (precision, recall, thresholds[1:], distinct)
    return PrecisionRecall(*(part[::-1] for part in parts))


def det_curve(
    scores: Float[Array, "n"], labels: Shaped[Array, "n"], weight: Weight = None
) -> Det:
    """The trade of false alarms against misses.

    Args:
        scores: they grow with the chance of class 1.
        labels: 0 or 1.
        weight: how much each row counts; 0 is an absent row. Default: 1.
    """
    false, true, thresholds, distinct = sums(scores, labels, weight)
    # From the last point without false alarms to the first without misses.
    place = jnp.arange(len(false))
    start = jnp.where(distinct & (false == 0), place, 0).max()
    stop = jnp.where(distinct & (true == true[-1]), place, len(false)).min()
    inside = distinct & (place >= start) & (place <= stop)
    missed = (true[-1] - true) / true[-1]
    parts = (false / false[-1], missed, thresholds, inside)
    return Det(*(part[::-1] for part in parts))


def threshold_at_precision(
    scores: Float[Array, "n"],
    labels: Shaped[Array, "n"],
    precision: float | Float[Array, ""],
    weight: Weight = None,
) -> Float[Array, ""]:
    """The least threshold from which on predictions are right often enough.

    Args:
        scores: they grow with the chance of class 1.
        labels: 0 or 1.
        precision: what share of the rows at or above the threshold must be of class 1.
        weight: how much each row counts; 0 is an absent row. Default: 1.

    Returns:
        A threshold for `scores >= threshold`, the one of most recall; infinite where
        none is precise enough.

    >>> scores = jnp.array([0.1, 0.4, 0.6, 0.8])
    >>> threshold_at_precision(scores, jnp.array([0, 1, 0, 1]), 0.6)
    Array(0.4, dtype=float32)
    """
    curve = precision_recall_curve(scores, labels, weight)
    enough = (curve.precision[:-1] >= precision) & curve.distinct[:-1]
    return jnp.where(enough, curve.thresholds, jnp.inf).min()


def sums(scores, labels, weight):
    """Weight of each class at or above every score, from the greatest score down."""
    means.same_shape(scores, labels)
    n = len(scores)
    weight = jnp.ones_like(scores) if weight is None else means.spread(weight, scores)
    present = weight > 0
    by = order.argsort(jnp.where(present, -scores, jnp.nan))  # absent rows go last
    broken = jnp.isnan(jnp.where(present, scores, 0)).any()
    scores, present = scores[by], present[by]
    weight = jnp.where(present, weight[by], 0)
    one = labels[by] > 0
    totals = [jnp.cumsum(jnp.where(side, weight, 0)) for side in (~one, one)]
    # Only the last of equal scores is a point; the others repeat it.
    place = jnp.arange(n)
    count = present.sum()
    last = (place == count - 1) | jnp.append(scores[1:] != scores[:-1], True)
    distinct = last & (place < count)
    final = jnp.maximum(count - 1, 0)
    point = jax.lax.cummin(jnp.where(distinct, place, final), reverse=True)
    point = jnp.where(place < count, point, final)
    zero = jnp.zeros(1, weight.dtype)
    false, true = (
        jnp.where(broken, jnp.nan, jnp.concatenate([zero, s[point]])) for s in totals
    )
    edge = jnp.full(1, jnp.inf, scores.dtype)
    thresholds = jnp.concatenate([edge, scores[point]])
    return false, true, thresholds, jnp.append(True, distinct)
