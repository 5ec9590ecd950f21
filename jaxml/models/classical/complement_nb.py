"""Complement naive Bayes: each class is judged by the counts of all the others.

    model = complement_nb.fit(x, y, n_classes=3)
    labels = complement_nb.predict(model, x_new)
    model = complement_nb.solve(complement_nb.merge(stats_a, stats_b))

Better than the multinomial where classes are of very different size.

Letters: n rows, m queries, d features, k classes.

References:
    Rennie, Shih, Teevan and Karger, 2003. Tackling the poor assumptions of naive Bayes
        text classifiers. ICML, table 4.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxml.models.classical import multinomial_nb
from jaxml.models.classical.multinomial_nb import Stats, merge, stats, subtract
from jaxml.ops import check

__all__ = [
    "ComplementNB",
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


class ComplementNB(NamedTuple):
    """How much each event speaks for each class."""

    feature_log_prob: Float[Array, "k d"]  # minus the log share in the other classes
    class_log_prior: Float[Array, "k"]  # not used to predict
    feature_count: Float[Array, "k d"]  # weighted
    class_count: Float[Array, "k"]  # sum of the weights
    feature_all: Float[Array, "d"]  # weighted, over all classes


def fit(
    x: Float[Array, "n d"],
    y: Int[Array, "n"],
    *,
    n_classes: int = 2,
    alpha: float | Float[Array, ""] | Float[Array, "d"] = 1.0,
    fit_prior: bool = True,
    class_prior: Float[Array, "k"] | None = None,
    norm: bool = False,
    sample_weight: Float[Array, "n"] | None = None,
) -> ComplementNB:
    """Fit the share of each event in the complement of each class.

    Args:
        x: counts, at least 0; fractions such as tf-idf will do.
        y: labels from 0 to `n_classes` - 1.
        n_classes: number of classes, at least 2.
        alpha: added to every count, at least 0, one number or one per feature.
        fit_prior: as in `multinomial_nb`; has no part in the prediction.
        class_prior: as in `multinomial_nb`; has no part in the prediction.
        norm: whether the weights of each class are scaled to sum to 1.
        sample_weight: how much each row counts; 0 is an absent row. Default: 1.

    Returns:
        The weights, those of `solve(stats(...))`.

    Raises:
        ValueError: if a shape is wrong or a number out of range.

    >>> x, y = jnp.array([[3.0, 0.0], [0.0, 1.0]]), jnp.array([0, 1])
    >>> predict(fit(x, y), x)
    Array([0, 1], dtype=int32)
    """
    check.at_least("alpha", alpha, 0)
    found = stats(x, y, n_classes=n_classes, sample_weight=sample_weight)
    return solve(
        found, alpha=alpha, fit_prior=fit_prior, class_prior=class_prior, norm=norm
    )


@partial(jax.jit, static_argnames=("fit_prior", "norm"))
def solve(
    stats: Stats,
    *,
    alpha: float | Float[Array, ""] | Float[Array, "d"] = 1.0,
    fit_prior: bool = True,
    class_prior: Float[Array, "k"] | None = None,
    norm: bool = False,
) -> ComplementNB:
    """The model of given statistics; arguments as in `fit`."""
    count, feature_count = stats
    alpha = jnp.asarray(alpha, count.dtype).reshape(1, -1)
    everywhere = feature_count.sum(0)
    elsewhere = everywhere[None] - feature_count + alpha
    logs = jnp.log(elsewhere) - jnp.log(elsewhere.sum(1, keepdims=True))
    weight = logs / logs.sum(1, keepdims=True) if norm else -logs
    prior = multinomial_nb.log_prior(count, fit_prior, class_prior)
    return ComplementNB(weight, prior, feature_count, count, everywhere)


@jax.jit
def predict_joint_log_proba(
    model: ComplementNB, x: Float[Array, "m d"]
) -> Float[Array, "m k"]:
    """How much each row speaks for each class."""
    return -multinomial_nb.product(x, -model.feature_log_prob)


@jax.jit
def predict_log_proba(
    model: ComplementNB, x: Float[Array, "m d"]
) -> Float[Array, "m k"]:
    """What is spoken for each class, as the log of a probability."""
    return jax.nn.log_softmax(predict_joint_log_proba(model, x))


@jax.jit
def predict_proba(model: ComplementNB, x: Float[Array, "m d"]) -> Float[Array, "m k"]:
    """What is spoken for each class, as a probability."""
    return jax.nn.softmax(predict_joint_log_proba(model, x))


@jax.jit
def predict(model: ComplementNB, x: Float[Array, "m d"]) -> Int[Array, "m"]:
    """The class for which most is spoken."""
    return predict_joint_log_proba(model, x).argmax(1)
