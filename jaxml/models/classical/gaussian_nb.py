"""Gaussian naive Bayes: features independent and normal within each class.

    model = gaussian_nb.fit(x, y, n_classes=3)
    labels = gaussian_nb.predict(model, x_new)
    model = gaussian_nb.solve(gaussian_nb.merge(stats_of_day_1, stats_of_day_2))

Letters: n rows, m queries, d features, k classes.

References:
    Chan, Golub and LeVeque, 1983. Algorithms for computing the sample variance. The
        American Statistician 37(3): the corrected two passes and the merge.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxml.ops import check

__all__ = [
    "GaussianNB",
    "Stats",
    "fit",
    "members",
    "merge",
    "predict",
    "predict_joint_log_proba",
    "predict_log_proba",
    "predict_proba",
    "solve",
    "stats",
    "subtract",
]


class GaussianNB(NamedTuple):
    """Mean and variance of each feature in each class."""

    theta: Float[Array, "k d"]  # means
    var: Float[Array, "k d"]  # variances, smoothed by epsilon
    class_prior: Float[Array, "k"]
    class_count: Float[Array, "k"]  # sum of the weights
    epsilon: Float[Array, ""]  # added to every variance


class Stats(NamedTuple):
    """All that a fit needs to know of the data."""

    class_count: Float[Array, "k"]  # sum of the weights
    mean: Float[Array, "k d"]  # 0 where a class is empty
    scatter: Float[Array, "k d"]  # weighted sum of squares about the mean


def fit(
    x: Float[Array, "n d"],
    y: Int[Array, "n"],
    *,
    n_classes: int = 2,
    priors: Float[Array, "k"] | None = None,
    var_smoothing: float | Float[Array, ""] = 1e-9,
    sample_weight: Float[Array, "n"] | None = None,
) -> GaussianNB:
    """Fit one normal distribution per feature and class.

    Args:
        x: rows.
        y: labels from 0 to `n_classes` - 1. A class without rows is never predicted.
        n_classes: number of classes, at least 2.
        priors: probability of each class. Default: its share of the weights.
        var_smoothing: share of the largest variance of a feature, over all classes,
            that is added to every variance; at least 0.
        sample_weight: how much each row counts; 0 is an absent row. Default: 1.

    Returns:
        The means and variances, those of `solve(stats(...))`.

    Raises:
        ValueError: if a shape is wrong or a number out of range.

    >>> x, y = jnp.array([[0.0], [2.0], [8.0], [10.0]]), jnp.array([0, 0, 1, 1])
    >>> model = fit(x, y)
    >>> model.theta.ravel(), predict(model, jnp.array([[4.0], [7.0]]))
    (Array([1., 9.], dtype=float32), Array([0, 1], dtype=int32))
    """
    check.at_least("var_smoothing", var_smoothing, 0)
    found = stats(x, y, n_classes=n_classes, sample_weight=sample_weight)
    return solve(found, priors=priors, var_smoothing=var_smoothing)


def stats(
    x: Float[Array, "n d"],
    y: Int[Array, "n"],
    *,
    n_classes: int = 2,
    sample_weight: Float[Array, "n"] | None = None,
) -> Stats:
    """Count, mean and scatter of each class: sums over rows, in two passes.

    Args:
        x: rows.
        y: labels from 0 to `n_classes` - 1.
        n_classes: number of classes, at least 2.
        sample_weight: how much each row counts. Default: 1.

    Raises:
        ValueError: if a shape is wrong or `n_classes` is below 2.
    """
    check.rows(x, y, sample_weight)
    check.labels(y, n_classes)
    return _stats(x, y, n_classes, sample_weight)


@jax.jit
def merge(a: Stats, b: Stats) -> Stats:
    """The statistics of the rows of both."""
    count = a.class_count + b.class_count
    share = _ratio(b.class_count, count)[:, None]
    gap = b.mean - a.mean
    between = a.class_count[:, None] * share * gap**2
    return Stats(count, a.mean + share * gap, a.scatter + b.scatter + between)


@jax.jit
def subtract(a: Stats, b: Stats) -> Stats:
    """The statistics of the rows of `a` without those of `b`, to rounding."""
    count = jnp.maximum(a.class_count - b.class_count, 0)
    empty = (count == 0)[:, None]
    mean = a.mean + _ratio(b.class_count, count)[:, None] * (a.mean - b.mean)
    share = _ratio(b.class_count, a.class_count)[:, None]
    between = count[:, None] * share * (mean - b.mean) ** 2
    scatter = jnp.maximum(a.scatter - b.scatter - between, 0)
    return Stats(count, jnp.where(empty, 0, mean), jnp.where(empty, 0, scatter))


@jax.jit
def solve(
    stats: Stats,
    *,
    priors: Float[Array, "k"] | None = None,
    var_smoothing: float | Float[Array, ""] = 1e-9,
) -> GaussianNB:
    """The model of given statistics.

    Args:
        stats: of all rows.
        priors: as in `fit`.
        var_smoothing: as in `fit`.
    """
    count, mean, scatter = stats
    total = count.sum()
    middle = (count @ mean / total)[None]
    spread = scatter.sum(0) + count @ (mean - middle) ** 2
    epsilon = jnp.asarray(var_smoothing, mean.dtype) * (spread / total).max()
    variance = _ratio(scatter, count[:, None]) + epsilon
    prior = count / total if priors is None else priors.astype(mean.dtype)
    return GaussianNB(mean, variance, prior, count, epsilon)


@jax.jit
def predict_joint_log_proba(
    model: GaussianNB, x: Float[Array, "m d"]
) -> Float[Array, "m k"]:
    """Log density of each row together with each class."""

    def density(mean, variance):
        # From the differences: the expanded square would cancel far from the origin.
        squares = ((x - mean[None]) ** 2 / variance[None]).sum(1)
        return -0.5 * (squares + jnp.log(2 * jnp.pi * variance).sum())

    densities = jax.vmap(density)(model.theta, model.var)
    return densities.T + jnp.log(model.class_prior)[None]


@jax.jit
def predict_log_proba(model: GaussianNB, x: Float[Array, "m d"]) -> Float[Array, "m k"]:
    """Log probability of each class."""
    return jax.nn.log_softmax(predict_joint_log_proba(model, x))


@jax.jit
def predict_proba(model: GaussianNB, x: Float[Array, "m d"]) -> Float[Array, "m k"]:
    """Probability of each class."""
    return jax.nn.softmax(predict_joint_log_proba(model, x))


@jax.jit
def predict(model: GaussianNB, x: Float[Array, "m d"]) -> Int[Array, "m"]:
    """The most probable class."""
    return predict_joint_log_proba(model, x).argmax(1)


def members(
    y: Int[Array, "n"],
    n_classes: int,
    sample_weight: Float[Array, "n"] | None,
    dtype: jnp.dtype,
) -> Float[Array, "k n"]:
    """The weight of each row in the row of its class, 0 elsewhere."""
    # Classes first: `members @ x` is then several times faster than a product with
    # the transpose of [n, k].
    belongs = jnp.arange(n_classes, dtype=y.dtype)[:, None] == y[None]
    weight = 1 if sample_weight is None else sample_weight[None]
    return jnp.where(belongs, weight, 0).astype(dtype)


@partial(jax.jit, static_argnames=("n_classes",))
def _stats(x, y, n_classes, sample_weight):
    member = members(y, n_classes, sample_weight, x.dtype)
    times = partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
    count = member.sum(1)
    mean = _ratio(times(member, x), count[:, None])
    gap = x - mean[y]
    # The mean was rounded: what it misses is known from the gaps.
    missed = _ratio(times(member, gap), count[:, None])
    scatter = times(member, gap**2) - count[:, None] * missed**2
    return Stats(count, mean + missed, jnp.maximum(scatter, 0))


def _ratio(a, b):
    """a / b, and 0 where b is 0."""
    return jnp.where(b == 0, 0, a / jnp.where(b == 0, 1, b))
