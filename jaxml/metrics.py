"""Metrics: pure functions of (prediction, target, weight), and one mergeable mean.

    total = metrics.merge(metrics.accuracy(logits_1, labels_1),
    metrics.accuracy(logits_2, labels_2)) metrics.compute(total)      # the accuracy
    over both batches, whatever their sizes

A row of weight zero is an absent row, also when its values are NaN; so the mean over
padded batches, or over shards of one, is the mean over the data. Counts are float32:
exact up to 2^24.

Letters: b examples, k classes.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped

__all__ = [
    "Mean",
    "absolute_error",
    "accuracy",
    "binary_accuracy",
    "compute",
    "confusion_matrix",
    "f1",
    "mean",
    "merge",
    "precision",
    "r2",
    "recall",
    "squared_error",
    "top_k",
]


class Mean(NamedTuple):
    """A weighted mean that can still be merged with others."""

    total: Float[Array, "*batch"]  # sum of weight times value
    weight: Float[Array, "*batch"]  # sum of the weights


def mean(
    values: Shaped[Array, "*shape"], weight: Shaped[Array, "*lead"] | None = None
) -> Mean:
    """The mean of `values`, over all their axes.

    Args:
        values: what to average; booleans count as 0 and 1.
        weight: how much each value counts, 0 is an absent value. Its axes are the
            leading axes of `values`: a weight [b] counts for all the values [b, t] of
            its row.

    Returns:
        A `Mean`; `compute` turns it into the number.

    Raises:
        ValueError: if the axes of `weight` do not lead those of `values`.

    >>> compute(mean(jnp.array([1.0, 2.0, 9.0]), jnp.array([1.0, 1.0, 0.0])))
    Array(1.5, dtype=float32)
    """
    values = values.astype(jnp.promote_types(values.dtype, jnp.float32))
    if weight is None:
        return Mean(values.sum(), jnp.asarray(values.size, values.dtype))
    weight = _like(weight, values)
    return Mean(_weighted(weight, values).sum(), weight.sum())


def merge(a: Mean, b: Mean) -> Mean:
    """The mean over the values of both."""
    return Mean(a.total + b.total, a.weight + b.weight)


def compute(mean: Mean) -> Float[Array, "*batch"]:
    """The number; NaN if nothing was counted."""
    return mean.total / mean.weight


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

    >>> compute(accuracy(jnp.array([[0.0, 2.0], [3.0, 1.0]]), jnp.array([1, 1])))
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
    return mean(jnp.where(known, hit, jnp.nan), weight)


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
    _same_shape(scores, labels)
    return mean((scores > threshold) == (labels > 0), weight)


def squared_error(
    prediction: Float[Array, "*b"],
    target: Shaped[Array, "..."],
    weight: Shaped[Array, "*lead"] | None = None,
) -> Mean:
    """Mean squared error, in the squared unit of `target`.

    Raises:
        ValueError: if the shapes differ: [b, 1] less [b] would be [b, b].
    """
    _same_shape(prediction, target)
    return mean((prediction - target) ** 2, weight)


def absolute_error(
    prediction: Float[Array, "*b"],
    target: Shaped[Array, "..."],
    weight: Shaped[Array, "*lead"] | None = None,
) -> Mean:
    """Mean absolute error, in the unit of `target`; raises as `squared_error` does."""
    _same_shape(prediction, target)
    return mean(jnp.abs(prediction - target), weight)


def r2(
    prediction: Float[Array, "b"],
    target: Float[Array, "b"],
    weight: Shaped[Array, "b"] | None = None,
) -> Float[Array, ""]:
    """Share of the variance of `target` that `prediction` explains, at most 1.

    It needs all the data at once: the R² of batches cannot be averaged.
    """
    center = compute(mean(target, weight))
    residual = squared_error(prediction, target, weight)
    spread = squared_error(jnp.broadcast_to(center, target.shape), target, weight)
    return 1 - residual.total / spread.total


def confusion_matrix(
    prediction: Int[Array, "b"],
    label: Int[Array, "b"],
    num_classes: int,
    weight: Shaped[Array, "b"] | None = None,
) -> Float[Array, "k k"]:
    """Weight of the examples by (label, prediction); the sum over batches is that of
    all.

    Args:
        prediction: classes from 0 to `num_classes` - 1.
        label: the true ones. An example outside the classes, here or in `prediction`,
            makes its nearest cell NaN, unless its weight is 0.
        num_classes: k.
        weight: how much each example counts. Default: 1.

    >>> confusion_matrix(jnp.array([0, 1, 1]), jnp.array([0, 1, 0]), 2)
    Array([[1., 1.],
           [0., 1.]], dtype=float32)
    """
    _same_shape(prediction, label)
    weight = jnp.ones(label.shape) if weight is None else _like(weight, label)
    known = (jnp.minimum(prediction, label) >= 0) & (
        jnp.maximum(prediction, label) < num_classes
    )
    row, column = (jnp.clip(x, 0, num_classes - 1) for x in (label, prediction))
    cells = jax.ops.segment_sum(
        _weighted(weight, jnp.where(known, 1.0, jnp.nan)),
        row * num_classes + column,
        num_classes**2,
    )
    return cells.reshape(num_classes, num_classes)


def precision(confusion: Float[Array, "k k"]) -> Float[Array, "k"]:
    """Of what was predicted as each class, the share that is; 0 if nothing was."""
    return _share(jnp.diagonal(confusion), confusion.sum(0))


def recall(confusion: Float[Array, "k k"]) -> Float[Array, "k"]:
    """Of what is of each class, the share that was found; 0 if nothing is."""
    return _share(jnp.diagonal(confusion), confusion.sum(1))


def f1(confusion: Float[Array, "k k"]) -> Float[Array, "k"]:
    """Harmonic mean of `precision` and `recall` of each class."""
    return _share(2 * jnp.diagonal(confusion), confusion.sum(0) + confusion.sum(1))


def _share(part, whole):
    return jnp.where(whole == 0, 0.0, part / jnp.where(whole == 0, 1.0, whole))


def _like(weight, values):
    """`weight` in the shape of `values`, whose leading axes it has."""
    if weight.shape != values.shape[: weight.ndim]:
        raise ValueError(
            f"weight must have the leading axes of the values {values.shape}; "
            f"got {weight.shape}"
        )
    trailing = (1,) * (values.ndim - weight.ndim)
    weight = weight.astype(jnp.promote_types(weight.dtype, jnp.float32))
    return jnp.broadcast_to(weight.reshape(weight.shape + trailing), values.shape)


def _weighted(weight, values):
    """Their product, 0 where the weight is 0, whatever the value."""
    return jnp.where(weight == 0, 0.0, weight * values)


def _same_shape(prediction, target):
    if prediction.shape != target.shape:
        raise ValueError(
            f"prediction must have the shape of the target {target.shape}; "
            f"got {prediction.shape}"
        )
