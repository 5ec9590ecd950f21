"""Shares of examples that are right, and losses of decisions: means that merge.

    metrics.compute(metrics.accuracy(logits, labels, weight))
    metrics.compute(metrics.log_loss(proba, labels, weight))

A row of weight 0 is absent, whatever it holds.

Letters: b examples, k classes, t labels of an example.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped

from jaxml.metrics import means
from jaxml.metrics.means import Mean

__all__ = [
    "accuracy",
    "binary_accuracy",
    "brier",
    "exact_match",
    "hamming",
    "hinge",
    "log_loss",
    "top_k",
    "zero_one",
]


def accuracy(
    logits: Float[Array, "*b k"],
    labels: Int[Array, "..."],
    weight: Shaped[Array, "*lead"] | None = None,
) -> Mean:
    """Share of examples whose greatest logit is that of the label.

    Args:
        logits: scores, or anything that grows with them. Ties go to the lower class,
            and an example whose logit of the label is NaN is wrong.
        labels: classes from 0 to k - 1. Any other label makes the accuracy NaN, unless
            its weight is 0.
        weight: as in `mean`.

    >>> means.compute(accuracy(jnp.array([[0.0, 2.0], [3.0, 1.0]]), jnp.array([1, 1])))
    Array(0.5, dtype=float32)
    """
    return top_k(logits, labels, 1, weight)


def top_k(
    logits: Float[Array, "*b k"],
    labels: Int[Array, "..."],
    k: int,
    weight: Shaped[Array, "*lead"] | None = None,
) -> Mean:
    """Share of examples with the label among the `k` greatest logits.

    Args:
        logits: as in `accuracy`.
        labels: as in `accuracy`.
        k: how many guesses an example has, from 1 to the number of classes.
        weight: as in `mean`.

    Raises:
        ValueError: if `k` is out of its range, or the shapes do not fit.
    """
    if logits.shape[:-1] != labels.shape:
        raise ValueError(
            f"logits must have the shape of labels {labels.shape} and one more axis of "
            f"classes; got {logits.shape}"
        )
    classes = logits.shape[-1]
    if not 1 <= k <= classes:
        raise ValueError(
            f"k must be from 1 to the number of classes {classes}; got {k}"
        )
    known = (labels >= 0) & (labels < classes)
    index = jnp.where(known, labels, 0)[..., None]
    own = jnp.take_along_axis(logits, index, axis=-1)
    # The rank by counting, without a sort.
    place = jnp.arange(classes).reshape((1,) * labels.ndim + (classes,))
    rank = ((logits > own) | ((logits == own) & (place < index))).sum(-1)
    hit = (rank < k) & ~jnp.isnan(own[..., 0])
    return means.mean(jnp.where(known, hit, jnp.nan), weight)


def binary_accuracy(
    scores: Float[Array, "*b"],
    labels: Shaped[Array, "..."],
    weight: Shaped[Array, "*lead"] | None = None,
    *,
    threshold: float | Float[Array, ""] = 0.0,
) -> Mean:
    """Share of examples on the right side of `threshold`.

    Args:
        scores: logits by default; a score above `threshold` says 1.
        labels: 0 or 1.
        weight: as in `mean`.
        threshold: in the unit of `scores`: 0 for logits, 0.5 for probabilities.
    """
    means.same_shape(scores, labels)
    return means.mean((scores > threshold) == (labels > 0), weight)


def exact_match(
    prediction: Shaped[Array, "b *t"],
    target: Shaped[Array, "b *t"],
    weight: Shaped[Array, "b"] | None = None,
) -> Mean:
    """Share of examples whose predicted label, or every one of several, is right."""
    means.same_shape(prediction, target)
    same = (prediction == target).reshape(len(target), -1).all(1)
    return means.mean(same, weight)


def zero_one(
    prediction: Shaped[Array, "b *t"],
    target: Shaped[Array, "b *t"],
    weight: Shaped[Array, "b"] | None = None,
) -> Mean:
    """Share of examples that are not an `exact_match`."""
    right = exact_match(prediction, target, weight)
    return Mean(right.weight - right.total, right.weight)


def hamming(
    prediction: Shaped[Array, "b *t"],
    target: Shaped[Array, "b *t"],
    weight: Shaped[Array, "b"] | None = None,
) -> Mean:
    """Share of labels that are wrong, of all labels of all examples."""
    means.same_shape(prediction, target)
    return means.mean(prediction != target, weight)


def log_loss(
    proba: Float[Array, "b"] | Float[Array, "b k"],
    labels: Int[Array, "b"],
    weight: Shaped[Array, "b"] | None = None,
) -> Mean:
    """Mean of -log of the probability of the label.

    Args:
        proba: [b] of class 1 of two, or [b, k]; kept eps away from 0 and 1.
        labels: classes from 0 to k - 1; any other makes the loss NaN unless its weight
            is 0.
        weight: how much each example counts.

    >>> proba = jnp.array([[0.5, 0.5], [0.25, 0.75]])
    >>> means.compute(log_loss(proba, jnp.array([0, 1])))
    Array(0.49041462, dtype=float32)
    """
    eps = jnp.finfo(proba.dtype).eps
    own = _own(proba, labels)
    return means.mean(-jnp.log(jnp.clip(own, eps, 1 - eps)), weight)


def brier(
    proba: Float[Array, "b"] | Float[Array, "b k"],
    labels: Int[Array, "b"],
    weight: Shaped[Array, "b"] | None = None,
) -> Mean:
    """Mean squared distance of the probabilities to the label.

    Args:
        proba: [b] of class 1 of two, or [b, k].
        labels: classes, as in `log_loss`.
        weight: how much each example counts.

    Returns:
        For two classes (p - y)², from 0 to 1; for more the sum over classes, to 2.
    """
    own = _own(proba, labels)
    if proba.ndim == 1 or proba.shape[1] == 2:
        return means.mean((1 - own) ** 2, weight)
    gap = (proba**2).sum(1) - 2 * own + 1
    return means.mean(gap, weight)


def hinge(
    decision: Float[Array, "b"] | Float[Array, "b k"],
    labels: Int[Array, "b"],
    weight: Shaped[Array, "b"] | None = None,
) -> Mean:
    """Mean hinge loss: what the margin lacks to 1.

    Args:
        decision: [b] of class 1 of two, or [b, k]; of k the margin is to the greatest
            of the others (Crammer and Singer).
        labels: classes, as in `log_loss`.
        weight: how much each example counts.
    """
    if decision.ndim == 1:
        sign = jnp.where(labels == 1, 1.0, jnp.where(labels == 0, -1.0, jnp.nan))
        margin = sign * decision
    else:
        place = jnp.arange(decision.shape[1])[None]
        others = jnp.where(place == labels[:, None], -jnp.inf, decision)
        margin = _own(decision, labels) - others.max(1)
    return means.mean(jnp.maximum(1 - margin, 0), weight)


def _own(values, labels):
    """The value of the label of each row; NaN for a label that there is not."""
    if values.shape[:1] != labels.shape:
        raise ValueError(
            f"labels must be one for each of the {len(values)} rows; "
            f"got shape {labels.shape}"
        )
    if values.ndim == 1:
        other = jnp.where(labels == 0, 1 - values, jnp.nan)
        return jnp.where(labels == 1, values, other)
    known = (labels >= 0) & (labels < values.shape[1])
    index = jnp.where(known, labels, 0)[:, None]
    own = jnp.take_along_axis(values, index, axis=1)[:, 0]
    return jnp.where(known, own, jnp.nan)
