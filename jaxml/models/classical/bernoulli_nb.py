"""Bernoulli naive Bayes: features are yes or no, and a no counts as much as a yes.

    model = bernoulli_nb.fit(x, y, n_classes=3, binarize=0.5)
    labels = bernoulli_nb.predict(model, x_new)
    model = bernoulli_nb.solve(bernoulli_nb.merge(stats_a, stats_b), binarize=0.5)

Letters: n rows, m queries, d features, k classes.

References:
    McCallum and Nigam, 1998. A comparison of event models for naive Bayes text
        classification. AAAI workshop on learning for text categorization.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxml.models.classical import multinomial_nb
from jaxml.models.classical.multinomial_nb import Stats, merge, subtract
from jaxml.ops import check

__all__ = [
    "BernoulliNB",
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


class BernoulliNB(NamedTuple):
    """Log probability of a yes and of a no to each feature in each class."""

    feature_log_prob: Float[Array, "k d"]  # of a yes
    negative_log_prob: Float[Array, "k d"]  # of a no
    class_log_prior: Float[Array, "k"]
    feature_count: Float[Array, "k d"]  # weighted rows that say yes
    class_count: Float[Array, "k"]  # sum of the weights
    binarize: Float[Array, ""] | None  # above it is a yes; None: rows are 0 and 1


def fit(
    x: Float[Array, "n d"],
    y: Int[Array, "n"],
    *,
    n_classes: int = 2,
    alpha: float | Float[Array, ""] | Float[Array, "d"] = 1.0,
    binarize: float | Float[Array, ""] | None = 0.0,
    fit_prior: bool = True,
    class_prior: Float[Array, "k"] | None = None,
    sample_weight: Float[Array, "n"] | None = None,
) -> BernoulliNB:
    """Fit the share of rows that say yes in each class.

    Args:
        x: rows.
        y: labels from 0 to `n_classes` - 1. A class without rows is never predicted.
        n_classes: number of classes, at least 2.
        alpha: added to the rows that say yes and to those that say no, at least 0, one
            number or one per feature.
        binarize: what is above it is a yes. None: `x` holds 0 and 1 already.
        fit_prior: whether a class is as probable as it is frequent; else all are alike.
        class_prior: probability of each class; comes before `fit_prior`.
        sample_weight: how much each row counts; 0 is an absent row. Default: 1.

    Returns:
        The log probabilities, those of `solve(stats(...))`.

    Raises:
        ValueError: if a shape is wrong or a number out of range.

    >>> x, y = jnp.array([[3.0, 0.0], [2.0, 1.0], [0.0, 1.0]]), jnp.array([0, 0, 1])
    >>> (100 * jnp.exp(fit(x, y).feature_log_prob)).round()
    Array([[75., 50.],
           [33., 67.]], dtype=float32)
    """
    check.at_least("alpha", alpha, 0)
    found = stats(
        x, y, n_classes=n_classes, binarize=binarize, sample_weight=sample_weight
    )
    return solve(
        found,
        alpha=alpha,
        binarize=binarize,
        fit_prior=fit_prior,
        class_prior=class_prior,
    )


def stats(
    x: Float[Array, "n d"],
    y: Int[Array, "n"],
    *,
    n_classes: int = 2,
    binarize: float | Float[Array, ""] | None = 0.0,
    sample_weight: Float[Array, "n"] | None = None,
) -> Stats:
    """Sums of the weights, and of those that say yes, of each class.

    Raises:
        ValueError: if a shape is wrong or `n_classes` is below 2.
    """
    check.rows(x, y, sample_weight)
    return multinomial_nb.stats(
        _yes(x, binarize), y, n_classes=n_classes, sample_weight=sample_weight
    )


@partial(jax.jit, static_argnames=("fit_prior",))
def solve(
    stats: Stats,
    *,
    alpha: float | Float[Array, ""] | Float[Array, "d"] = 1.0,
    binarize: float | Float[Array, ""] | None = 0.0,
    fit_prior: bool = True,
    class_prior: Float[Array, "k"] | None = None,
) -> BernoulliNB:
    """The model of given statistics; arguments as in `fit`."""
    count, yes = stats
    dtype = count.dtype
    alpha = jnp.asarray(alpha, dtype).reshape(1, -1)
    rows = jnp.log(count[:, None] + 2 * alpha)
    # The chance of a no from its own count: 1 - exp(log) would cancel near 1.
    no = jnp.maximum(count[:, None] - yes, 0)
    return BernoulliNB(
        jnp.log(yes + alpha) - rows,
        jnp.log(no + alpha) - rows,
        multinomial_nb.log_prior(count, fit_prior, class_prior),
        yes,
        count,
        None if binarize is None else jnp.asarray(binarize, dtype),
    )


@jax.jit
def predict_joint_log_proba(
    model: BernoulliNB, x: Float[Array, "m d"]
) -> Float[Array, "m k"]:
    """Log probability of each row together with each class."""
    yes = _yes(x, model.binarize)
    likelihood = multinomial_nb.product(yes, model.feature_log_prob)
    likelihood += multinomial_nb.product(1 - yes, model.negative_log_prob)
    return likelihood + model.class_log_prior[None]


@jax.jit
def predict_log_proba(
    model: BernoulliNB, x: Float[Array, "m d"]
) -> Float[Array, "m k"]:
    """Log probability of each class."""
    return jax.nn.log_softmax(predict_joint_log_proba(model, x))


@jax.jit
def predict_proba(model: BernoulliNB, x: Float[Array, "m d"]) -> Float[Array, "m k"]:
    """Probability of each class."""
    return jax.nn.softmax(predict_joint_log_proba(model, x))


@jax.jit
def predict(model: BernoulliNB, x: Float[Array, "m d"]) -> Int[Array, "m"]:
    """The most probable class."""
    return predict_joint_log_proba(model, x).argmax(1)


def _yes(x, binarize):
    """1 for yes and 0 for no; NaN stays, so that it is seen."""
    if binarize is None:
        return x
    above = (x > jnp.asarray(binarize, x.dtype)).astype(x.dtype)
    return jnp.where(jnp.isnan(x), x, above)
