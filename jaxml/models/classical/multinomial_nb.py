"""Multinomial naive Bayes: rows are counts of events, such as words of a text.

    model = multinomial_nb.fit(x, y, n_classes=3, alpha=0.1)
    labels = multinomial_nb.predict(model, x_new)
    model = multinomial_nb.solve(multinomial_nb.merge(stats_a, stats_b), alpha=0.1)

Letters: n rows, m queries, d features, k classes.

References:
    Manning, Raghavan and Schütze, 2008. Introduction to information retrieval, ch. 13.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxml.models.classical import gaussian_nb
from jaxml.ops import check

__all__ = [
    "MultinomialNB",
    "Stats",
    "fit",
    "log_prior",
    "merge",
    "predict",
    "predict_joint_log_proba",
    "predict_log_proba",
    "predict_proba",
    "product",
    "solve",
    "stats",
    "subtract",
]


class MultinomialNB(NamedTuple):
    """Log probability of each event in each class."""

    feature_log_prob: Float[Array, "k d"]
    class_log_prior: Float[Array, "k"]
    feature_count: Float[Array, "k d"]  # weighted
    class_count: Float[Array, "k"]  # sum of the weights


class Stats(NamedTuple):
    """All that a fit needs to know of the data: sums, which add and subtract."""

    class_count: Float[Array, "k"]
    feature_count: Float[Array, "k d"]


def fit(
    x: Float[Array, "n d"],
    y: Int[Array, "n"],
    *,
    n_classes: int = 2,
    alpha: float | Float[Array, ""] | Float[Array, "d"] = 1.0,
    fit_prior: bool = True,
    class_prior: Float[Array, "k"] | None = None,
    sample_weight: Float[Array, "n"] | None = None,
) -> MultinomialNB:
    """Fit the share of each event in each class.

    Args:
        x: counts, at least 0; fractions such as tf-idf will do.
        y: labels from 0 to `n_classes` - 1. A class without rows is never predicted.
        n_classes: number of classes, at least 2.
        alpha: added to every count, at least 0, one number or one per feature.
        fit_prior: whether a class is as probable as it is frequent; else all are alike.
        class_prior: probability of each class; comes before `fit_prior`.
        sample_weight: how much each row counts; 0 is an absent row. Default: 1.

    Returns:
        The log probabilities, those of `solve(stats(...))`.

    Raises:
        ValueError: if a shape is wrong or a number out of range.

    >>> x, y = jnp.array([[3.0, 0.0], [0.0, 1.0]]), jnp.array([0, 1])
    >>> (100 * jnp.exp(fit(x, y).feature_log_prob)).round()
    Array([[80., 20.],
           [33., 67.]], dtype=float32)
    """
    check.at_least("alpha", alpha, 0)
    found = stats(x, y, n_classes=n_classes, sample_weight=sample_weight)
    return solve(found, alpha=alpha, fit_prior=fit_prior, class_prior=class_prior)


def stats(
    x: Float[Array, "n d"],
    y: Int[Array, "n"],
    *,
    n_classes: int = 2,
    sample_weight: Float[Array, "n"] | None = None,
) -> Stats:
    """Sums of the weights and of the rows of each class.

    Raises:
        ValueError: if a shape is wrong or `n_classes` is below 2.
    """
    check.rows(x, y, sample_weight)
    check.labels(y, n_classes)
    return _stats(x, y, n_classes, sample_weight)


@jax.jit
def merge(a: Stats, b: Stats) -> Stats:
    """The statistics of the rows of both."""
    return Stats(a.class_count + b.class_count, a.feature_count + b.feature_count)


@jax.jit
def subtract(a: Stats, b: Stats) -> Stats:
    """The statistics of the rows of `a` without those of `b`, exact for counts."""
    return Stats(a.class_count - b.class_count, a.feature_count - b.feature_count)


@partial(jax.jit, static_argnames=("fit_prior",))
def solve(
    stats: Stats,
    *,
    alpha: float | Float[Array, ""] | Float[Array, "d"] = 1.0,
    fit_prior: bool = True,
    class_prior: Float[Array, "k"] | None = None,
) -> MultinomialNB:
    """The model of given statistics; arguments as in `fit`."""
    count, feature_count = stats
    alpha = jnp.asarray(alpha, count.dtype).reshape(1, -1)
    smooth = feature_count + alpha
    share = jnp.log(smooth) - jnp.log(smooth.sum(1, keepdims=True))
    prior = log_prior(count, fit_prior, class_prior)
    return MultinomialNB(share, prior, feature_count, count)


@jax.jit
def predict_joint_log_proba(
    model: MultinomialNB, x: Float[Array, "m d"]
) -> Float[Array, "m k"]:
    """Log probability of each row together with each class, up to a constant."""
    return product(x, model.feature_log_prob) + model.class_log_prior[None]


@jax.jit
def predict_log_proba(
    model: MultinomialNB, x: Float[Array, "m d"]
) -> Float[Array, "m k"]:
    """Log probability of each class."""
    return jax.nn.log_softmax(predict_joint_log_proba(model, x))


@jax.jit
def predict_proba(model: MultinomialNB, x: Float[Array, "m d"]) -> Float[Array, "m k"]:
    """Probability of each class."""
    return jax.nn.softmax(predict_joint_log_proba(model, x))


@jax.jit
def predict(model: MultinomialNB, x: Float[Array, "m d"]) -> Int[Array, "m"]:
    """The most probable class."""
    return predict_joint_log_proba(model, x).argmax(1)


def log_prior(
    class_count: Float[Array, "k"],
    fit_prior: bool,
    class_prior: Float[Array, "k"] | None,
) -> Float[Array, "k"]:
    """Log probability of each class: given, its share, or all alike."""
    if class_prior is not None:
        return jnp.log(class_prior.astype(class_count.dtype))
    if fit_prior:
        return jnp.log(class_count) - jnp.log(class_count.sum())
    return jnp.full_like(class_count, -jnp.log(len(class_count)))


def product(x: Float[Array, "m d"], logs: Float[Array, "k d"]) -> Float[Array, "m k"]:
    """x times logs, where zero times minus infinity (no event of no chance) is zero."""
    lowest = jnp.finfo(logs.dtype).min / 2
    finite = jnp.where(logs == -jnp.inf, lowest, logs)
    return jnp.matmul(x, finite.T, precision=jax.lax.Precision.HIGHEST)


@partial(jax.jit, static_argnames=("n_classes",))
def _stats(x, y, n_classes, sample_weight):
    member = gaussian_nb.members(y, n_classes, sample_weight, x.dtype)
    total = jnp.matmul(member, x, precision=jax.lax.Precision.HIGHEST)
    return Stats(member.sum(1), total)
