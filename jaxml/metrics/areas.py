"""Areas under the curves over all thresholds, of classes and labels.

    metrics.roc_auc(scores, labels, weight)                # [n], ties count half
    metrics.roc_auc(proba, labels, weight, multi_class="ovo")

A row of weight 0 is absent. Letters: n rows, k classes or labels.

References:
    Hand and Till, 2001. A simple generalisation of the area under the ROC curve for
    multiple class classification problems. Machine Learning 45, eq. 7.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from jaxml.metrics import curves, means

__all__ = ["auc", "average_precision", "roc_auc"]

Weight = Shaped[Array, "n"] | None


def auc(x: Float[Array, "n"], y: Float[Array, "n"]) -> Float[Array, ""]:
    """Area under the line through (x, y), where `x` only rises or only falls.

    >>> auc(jnp.array([0.0, 0.5, 1.0]), jnp.array([0.0, 1.0, 1.0]))
    Array(0.75, dtype=float32)
    """
    means.same_shape(x, y)
    area = (jnp.diff(x) * (y[1:] + y[:-1]) / 2).sum()
    return jnp.where(x[-1] < x[0], -area, area)


def roc_auc(
    scores: Float[Array, "n"] | Float[Array, "n k"],
    labels: Shaped[Array, "n"] | Shaped[Array, "n k"],
    weight: Weight = None,
    *,
    multi_class: str = "ovr",
    average: str | None = "macro",
) -> Float[Array, "..."]:
    """Area under the ROC curve: how often class 1 scores above class 0, ties half.

    Args:
        scores: [n] of class 1 of two, or [n, k].
        labels: [n]: classes from 0 to k - 1. [n, k]: whether a row has each label.
        weight: how much each row counts; 0 is an absent row. Default: 1.
        multi_class: of k classes, "ovr": each against the rest; "ovo": the mean over
            all pairs.
        average: over classes or labels. "macro": each counts the same; "weighted": by
            its rows; None: one area each (not of pairs).

    Returns:
        The area; NaN where a class has no rows.

    Raises:
        ValueError: if a choice is unknown.
    """
    _choices(multi_class, average)
    if scores.ndim == 1:
        return _area(scores, labels, weight)
    if labels.ndim == 1 and multi_class == "ovo":
        return _pairs(scores, labels, weight, average)
    return _averaged(_area, scores, labels, weight, average)


def average_precision(
    scores: Float[Array, "n"] | Float[Array, "n k"],
    labels: Shaped[Array, "n"] | Shaped[Array, "n k"],
    weight: Weight = None,
    *,
    average: str | None = "macro",
) -> Float[Array, "..."]:
    """Mean precision over the steps of recall, without interpolation.

    Args:
        scores: [n] of class 1 of two, or [n, k].
        labels: as in `roc_auc`.
        weight: how much each row counts; 0 is an absent row. Default: 1.
        average: as in `roc_auc`.
    """
    _choices("ovr", average)
    if scores.ndim == 1:
        return _steps(scores, labels, weight)
    return _averaged(_steps, scores, labels, weight, average)


def _area(scores, labels, weight):
    curve = curves.roc_curve(scores, labels, weight)
    return auc(curve.fpr, curve.tpr)


def _steps(scores, labels, weight):
    false, true, _, _ = curves.sums(scores, labels, weight)
    both = (false + true)[1:]
    precision = true[1:] / jnp.where(both > 0, both, 1)
    found = true[-1] > 0
    steps = jnp.diff(true) / jnp.where(found, true[-1], 1)
    return jnp.where(found | jnp.isnan(true[-1]), (steps * precision).sum(), 0)


def _averaged(score, scores, labels, weight, average):
    """The score of each column, one after another, and their mean."""
    k = scores.shape[1]
    if labels.ndim == 2:
        means.same_shape(scores, labels)
        target = labels > 0
    else:
        target = labels[:, None] == jnp.arange(k)[None]
    one = lambda column: score(column[0], column[1], weight)
    each = jax.lax.map(one, (scores.T, target.T))
    if average is None:
        return each
    if average == "macro":
        return each.mean()
    mass = jnp.ones(len(scores)) if weight is None else weight
    mass = means.weighted(means.spread(mass, target), target).sum(0)
    # A class without rows has no share in it.
    return means.weighted(mass, each).sum() / mass.sum()


def _pairs(scores, labels, weight, average):
    """Hand and Till: the mean of the areas of a over b and of b over a."""
    weight = jnp.ones(len(scores), scores.dtype) if weight is None else weight
    weight = means.spread(weight, labels)

    def one(pair):
        a, b = pair
        inside = jnp.where((labels == a) | (labels == b), weight, 0)
        first = _area(scores[:, a], labels == a, inside)
        second = _area(scores[:, b], labels == b, inside)
        return (first + second) / 2, inside.sum()

    pairs = np.triu_indices(scores.shape[1], 1)
    areas, mass = jax.lax.map(one, tuple(jnp.asarray(side) for side in pairs))
    return areas.mean() if average == "macro" else (areas * mass).sum() / mass.sum()


def _choices(multi_class, average):
    for name, value, known in (
        ("multi_class", multi_class, ("ovr", "ovo")),
        ("average", average, ("macro", "weighted", None)),
    ):
        if value not in known:
            raise ValueError(f"{name} must be one of {known}; got {value!r}")
    if multi_class == "ovo" and average is None:
        raise ValueError("average must be 'macro' or 'weighted' for 'ovo'; got None")
