"""Classes by binary models: one against the rest, or one for each pair of classes.

    model = multiclass.fit_one_vs_rest(
        logistic, x, y, n_classes=4, options={"C": 10.0}
    )
    labels = multiclass.predict(logistic, model, x_new)

The module is the estimator (`jaxml.models.classical.estimator`): any with
`fit(x, y, **options)` for labels 0 and 1, and `decision_function` or `predict_proba`.
All models are fitted in one program; in that of a pair, other rows have weight 0.

Letters: n rows, m new rows, d features, k classes, p = k (k - 1) / 2 pairs.

References:
    Hastie and Tibshirani, 1998. Classification by pairwise coupling. Ann. Stat. 26(2).
"""

from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, PyTree

from jaxml.models.classical import estimator as inner
from jaxml.ops import check

__all__ = [
    "OneVsOne",
    "OneVsRest",
    "decision_function",
    "fit_one_vs_one",
    "fit_one_vs_rest",
    "predict",
    "predict_proba",
]


class OneVsRest(NamedTuple):
    """A model for each class; of two classes, one for the second."""

    models: PyTree  # every array has an axis of k models in front, or of 1


class OneVsOne(NamedTuple):
    """A model for each pair i < j of classes, (0, 1), (0, 2), ...; j is positive."""

    models: PyTree  # every array has an axis of p models in front


Model = OneVsRest | OneVsOne


def fit_one_vs_rest(
    estimator: ModuleType | Any,
    x: Float[Array, "n d"],
    y: Int[Array, "n"],
    *,
    n_classes: int = 2,
    options: inner.Options = None,
    sample_weight: Float[Array, "n"] | None = None,
    key: Key[Array, ""] | None = None,
    batch_size: int = 1,
) -> OneVsRest:
    """Fit a model of each class against all others.

    Args:
        estimator: the module of the binary model.
        x: features.
        y: labels from 0 to `n_classes` - 1.
        n_classes: how many classes there are.
        options: what the binary `fit` is given; arrays are traced.
        sample_weight: how much each row counts; 0 is an absent row. Default: 1.
        key: random key, for an estimator that takes one: each class gets its own.
        batch_size: how many models are fitted side by side, by vmap; 1 takes the least
            memory, the number of classes the fewest steps.

    >>> from jaxml.models.classical import dummy_classifier
    >>> x, y = jnp.zeros((4, 1)), jnp.array([0, 1, 2, 2])
    >>> model = fit_one_vs_rest(dummy_classifier, x, y, n_classes=3)
    >>> predict_proba(dummy_classifier, model, x[:1])
    Array([[0.25, 0.25, 0.5 ]], dtype=float32)

    Raises:
        ValueError: if the data do not fit together.
    """
    _door(x, y, n_classes, sample_weight, batch_size)
    traced, static = inner.split(options)
    sizes = {"n_classes": n_classes, "batch_size": batch_size}
    data = (x, y, sample_weight, key, traced)
    return OneVsRest(_rest(*data, estimator=estimator, static=static, **sizes))


def fit_one_vs_one(
    estimator: ModuleType | Any,
    x: Float[Array, "n d"],
    y: Int[Array, "n"],
    *,
    n_classes: int = 2,
    options: inner.Options = None,
    sample_weight: Float[Array, "n"] | None = None,
    key: Key[Array, ""] | None = None,
    batch_size: int = 1,
) -> OneVsOne:
    """Fit a model of each pair of classes.

    Args:
        estimator: the module of the binary model; its `fit` takes `sample_weight`.
        x: features.
        y: labels from 0 to `n_classes` - 1.
        n_classes: how many classes there are.
        options: what the binary `fit` is given; arrays are traced.
        sample_weight: how much each row counts; 0 is an absent row. Default: 1.
        key: random key, for an estimator that takes one: each pair gets its own.
        batch_size: how many models are fitted side by side, as in `fit_one_vs_rest`.

    Raises:
        ValueError: if the data do not fit together.
    """
    _door(x, y, n_classes, sample_weight, batch_size)
    traced, static = inner.split(options)
    sizes = {"n_classes": n_classes, "batch_size": batch_size}
    data = (x, y, sample_weight, key, traced)
    return OneVsOne(_pairs(*data, estimator=estimator, static=static, **sizes))


def decision_function(
    estimator: ModuleType | Any,
    model: Model,
    x: Float[Array, "m d"],
    *,
    options: inner.Options = None,
) -> Float[Array, "m"] | Float[Array, "m k"]:
    """Score every class: [m] for two classes, else [m, k].

    Args:
        estimator: the module that fitted.
        model: what it fitted.
        x: features.
        options: what the binary `decision_function` or `predict_proba` is given.

    Returns:
        Of one against the rest, the scores of the models. Of pairs, the number of pairs
        that vote for a class, plus less than 1/2 for their scores, which break ties.
    """
    traced, static = inner.split(options)
    scores = _scores(model, x, traced, estimator=estimator, static=static)[0]
    if isinstance(model, OneVsRest):
        return scores[:, 0] if scores.shape[1] == 1 else scores
    return scores[:, 1] if scores.shape[1] == 2 else scores


def predict(
    estimator: ModuleType | Any,
    model: Model,
    x: Float[Array, "m d"],
    *,
    options: inner.Options = None,
) -> Int[Array, "m"]:
    """Label every row with the class of the greatest score; see `decision_function`."""
    traced, static = inner.split(options)
    scores, threshold = _scores(model, x, traced, estimator=estimator, static=static)
    if scores.shape[1] == 1:
        return (scores[:, 0] > threshold).astype(jnp.int32)
    return jnp.argmax(scores, axis=1).astype(jnp.int32)


def predict_proba(
    estimator: ModuleType | Any,
    model: OneVsRest,
    x: Float[Array, "m d"],
    *,
    options: inner.Options = None,
) -> Float[Array, "m k"]:
    """Probability of each class: those of the models, divided by their sum.

    Args:
        estimator: the module that fitted; it has `predict_proba`.
        model: classes against the rest.
        x: features.
        options: what the binary `predict_proba` is given.

    Raises:
        ValueError: if the model is of pairs.
    """
    if not isinstance(model, OneVsRest):
        raise ValueError("model must be OneVsRest: pairs have no probabilities")
    traced, static = inner.split(options)
    return _probabilities(model, x, traced, estimator=estimator, static=static)


_STATIC = ("estimator", "static", "n_classes", "batch_size")


@partial(jax.jit, static_argnames=_STATIC)
def _rest(x, y, weight, key, traced, *, estimator, static, n_classes, batch_size):
    classes = jnp.arange(n_classes) if n_classes > 2 else jnp.array([1])

    def one(item):
        label, key = item
        return inner.fit(
            estimator,
            x,
            (y == label).astype(jnp.int32),
            inner.options(traced, static),
            sample_weight=weight,
            key=key,
        )

    return inner.each(one, (classes, _keys(key, len(classes))), batch_size)


@partial(jax.jit, static_argnames=_STATIC)
def _pairs(x, y, weight, key, traced, *, estimator, static, n_classes, batch_size):
    weight = jnp.ones(len(x), x.dtype) if weight is None else weight
    first, second = np.triu_indices(n_classes, 1)

    def one(item):
        low, high, key = item
        return inner.fit(
            estimator,
            x,
            (y == high).astype(jnp.int32),
            inner.options(traced, static),
            sample_weight=jnp.where((y == low) | (y == high), weight, 0),
            key=key,
        )

    items = (jnp.asarray(first), jnp.asarray(second), _keys(key, len(first)))
    return inner.each(one, items, batch_size)


@partial(jax.jit, static_argnames=("estimator", "static"))
def _scores(model, x, traced, *, estimator, static):
    """Scores [m, k], or [m, 1] of two classes against the rest; and their threshold."""
    options = inner.options(traced, static)
    limit = []

    def one(part):
        score, threshold = inner.decision(estimator, part, x, options)
        limit.append(threshold)
        return score

    scores = jax.lax.map(one, model.models)
    if isinstance(model, OneVsOne):
        return _votes(scores, limit[0]), limit[0]
    return scores.T, limit[0]


def _votes(scores, threshold):
    """Votes of the pairs [p, m], and what they are sure of, squeezed below 1/3."""
    p = len(scores)
    k = (1 + int(np.sqrt(1 + 8 * p))) // 2
    first, second = np.triu_indices(k, 1)
    for_first, for_second = (np.eye(k, dtype=bool)[side] for side in (first, second))
    sign = jnp.asarray(for_second * 1.0 - for_first, scores.dtype)
    sums = jnp.matmul(scores.T, sign, precision="highest")
    high = (scores > threshold)[..., None]  # [p, m, 1]
    votes = jnp.where(high, for_second[:, None], for_first[:, None]).sum(0)
    return votes + sums / (3 * (jnp.abs(sums) + 1))


@partial(jax.jit, static_argnames=("estimator", "static"))
def _probabilities(model, x, traced, *, estimator, static):
    options = inner.options(traced, static)
    one = lambda part: estimator.predict_proba(part, x, **options)[:, 1]
    positive = jax.lax.map(one, model.models).T
    if positive.shape[1] == 1:
        return jnp.concatenate([1 - positive, positive], axis=1)
    total = positive.sum(1, keepdims=True)
    k = positive.shape[1]
    return jnp.where(total > 0, positive / jnp.where(total > 0, total, 1), 1 / k)


def _keys(key, count):
    return None if key is None else jax.random.split(key, count)


def _door(x, y, n_classes, sample_weight, batch_size):
    check.rows(x, y, sample_weight)
    check.labels(y, n_classes)
    check.size("batch_size", batch_size, 1)
