"""Categorical naive Bayes: each feature is one of some kinds, coded 0, 1, 2 ...

    model = categorical_nb.fit(x, y, n_classes=3, n_categories=12)
    labels = categorical_nb.predict(model, x_new)
    model = categorical_nb.solve(categorical_nb.merge(stats_a, stats_b))

Letters: n rows, m queries, d features, k classes, c categories.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from jaxml.models.classical import gaussian_nb, multinomial_nb
from jaxml.ops import check

__all__ = [
    "CategoricalNB",
    "Stats",
    "fit",
    "merge",
    "predict",
    "predict_joint_log_proba",
    "predict_log_proba",
    "predict_proba",
    "solve",
    "stats",
    "subtract",
]


class CategoricalNB(NamedTuple):
    """Log probability of each category of each feature in each class."""

    feature_log_prob: Float[Array, "d k c"]  # -inf for a category the feature lacks
    class_log_prior: Float[Array, "k"]
    category_count: Float[Array, "d k c"]  # weighted
    class_count: Float[Array, "k"]  # sum of the weights
    n_categories: Int[Array, "d"]  # 1 + the largest code of each feature


class Stats(NamedTuple):
    """All that a fit needs to know of the data: sums, which add and subtract."""

    class_count: Float[Array, "k"]
    category_count: Float[Array, "d k c"]


def fit(
    x: Float[Array, "n d"],
    y: Int[Array, "n"],
    *,
    n_categories: int,
    n_classes: int = 2,
    alpha: float | Float[Array, ""] = 1.0,
    fit_prior: bool = True,
    class_prior: Float[Array, "k"] | None = None,
    min_categories: int | Int[Array, ""] | Int[Array, "d"] | None = None,
    sample_weight: Float[Array, "n"] | None = None,
) -> CategoricalNB:
    """Fit the share of each category in each class.

    Args:
        x: codes, whole numbers from 0 to `n_categories` - 1.
        y: labels from 0 to `n_classes` - 1. A class without rows is never predicted.
        n_categories: room for categories, the same for all features; codes beyond it
            count nowhere.
        n_classes: number of classes, at least 2.
        alpha: added to every count, at least 0.
        fit_prior: whether a class is as probable as it is frequent; else all are alike.
        class_prior: probability of each class; comes before `fit_prior`.
        min_categories: least number of categories of each feature. A feature has the
            larger of it and 1 + its largest code.
        sample_weight: how much each row counts; 0 is an absent row. Default: 1.

    Returns:
        The log probabilities, those of `solve(stats(...))`.

    Raises:
        ValueError: if a shape is wrong or a number out of range.

    >>> x, y = jnp.array([[0.0], [2.0], [2.0]]), jnp.array([0, 1, 1])
    >>> (100 * jnp.exp(fit(x, y, n_categories=3).feature_log_prob)).round()
    Array([[[50., 25., 25.],
            [20., 20., 60.]]], dtype=float32)
    """
    check.at_least("alpha", alpha, 0)
    found = stats(
        x,
        y,
        n_categories=n_categories,
        n_classes=n_classes,
        sample_weight=sample_weight,
    )
    return solve(
        found,
        alpha=alpha,
        fit_prior=fit_prior,
        class_prior=class_prior,
        min_categories=min_categories,
    )


def stats(
    x: Float[Array, "n d"],
    y: Int[Array, "n"],
    *,
    n_categories: int,
    n_classes: int = 2,
    sample_weight: Float[Array, "n"] | None = None,
) -> Stats:
    """Sums of the weights of each class and of each category in it.

    Raises:
        ValueError: if a shape is wrong or a size out of range.
    """
    check.rows(x, y, sample_weight)
    check.labels(y, n_classes)
    check.size("n_categories", n_categories, 1)
    return _stats(x, y, n_categories, n_classes, sample_weight)


@jax.jit
def merge(a: Stats, b: Stats) -> Stats:
    """The statistics of the rows of both."""
    return Stats(a.class_count + b.class_count, a.category_count + b.category_count)


@jax.jit
def subtract(a: Stats, b: Stats) -> Stats:
    """The statistics of the rows of `a` without those of `b`, exact for counts."""
    return Stats(a.class_count - b.class_count, a.category_count - b.category_count)


@partial(jax.jit, static_argnames=("fit_prior",))
def solve(
    stats: Stats,
    *,
    alpha: float | Float[Array, ""] = 1.0,
    fit_prior: bool = True,
    class_prior: Float[Array, "k"] | None = None,
    min_categories: int | Int[Array, ""] | Int[Array, "d"] | None = None,
) -> CategoricalNB:
    """The model of given statistics; arguments as in `fit`."""
    count, category_count = stats
    d, _, c = category_count.shape
    codes = jnp.arange(c)[None]
    seen = category_count.sum(1) != 0
    sizes = jnp.where(seen, codes + 1, 0).max(1)
    if min_categories is not None:
        sizes = jnp.maximum(sizes, jnp.broadcast_to(jnp.asarray(min_categories), (d,)))
    alpha = jnp.asarray(alpha, count.dtype)
    smooth = jnp.where(codes < sizes[:, None], alpha, 0)[:, None] + category_count
    logs = jnp.log(smooth) - jnp.log(smooth.sum(2, keepdims=True))
    prior = multinomial_nb.log_prior(count, fit_prior, class_prior)
    return CategoricalNB(logs, prior, category_count, count, sizes)


@jax.jit
def predict_joint_log_proba(
    model: CategoricalNB, x: Float[Array, "m d"]
) -> Float[Array, "m k"]:
    """Log probability of each row together with each class.

    A code that the feature lacks has probability 0 in every class.
    """
    c = model.feature_log_prob.shape[2]

    def feature(total, part):
        codes, logs = part  # [m], [k c]
        place = jnp.clip(codes, 0, c - 1).astype(jnp.int32)
        value = jnp.where((codes == place)[:, None], logs.T[place], -jnp.inf)
        return total + jnp.where(jnp.isnan(codes)[:, None], jnp.nan, value), None

    start = jnp.zeros((len(x), len(model.class_count)), x.dtype)
    total, _ = lax.scan(feature, start, (x.T, model.feature_log_prob))
    return total + model.class_log_prior[None]


@jax.jit
def predict_log_proba(
    model: CategoricalNB, x: Float[Array, "m d"]
) -> Float[Array, "m k"]:
    """Log probability of each class; NaN where the row is impossible in all."""
    return jax.nn.log_softmax(predict_joint_log_proba(model, x))


@jax.jit
def predict_proba(model: CategoricalNB, x: Float[Array, "m d"]) -> Float[Array, "m k"]:
    """Probability of each class; NaN where the row is impossible in all."""
    return jax.nn.softmax(predict_joint_log_proba(model, x))


@jax.jit
def predict(model: CategoricalNB, x: Float[Array, "m d"]) -> Int[Array, "m"]:
    """The most probable class."""
    return predict_joint_log_proba(model, x).argmax(1)


@partial(jax.jit, static_argnames=("n_categories", "n_classes"))
def _stats(x, y, n_categories, n_classes, sample_weight):
    member = gaussian_nb.members(y, n_classes, sample_weight, x.dtype)

    def category(code):
        found = jnp.where(jnp.isnan(x), x, (x == code).astype(x.dtype))
        return jnp.matmul(member, found, precision=lax.Precision.HIGHEST)

    counts = lax.map(category, jnp.arange(n_categories, dtype=x.dtype))
    return Stats(member.sum(1), counts.transpose(2, 1, 0))
