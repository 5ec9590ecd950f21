"""AdaBoost for classes: each model looks most at the rows that those before got wrong.

    model = adaboost_classifier.fit(x, y, n_classes=3, n_estimators=50)
    labels = adaboost_classifier.predict(model, x_new)
    model = adaboost_classifier.fit(x, y, estimator=logistic, options={"C": 0.1})
    labels = adaboost_classifier.predict(model, x_new, estimator=logistic)

The models are trees of depth 1, or those of any module whose `fit` takes labels and
`sample_weight` and whose `predict` gives labels. All are fitted in one program.

Letters: n rows, m new rows, d features, t models, k classes.

References:
    Freund and Schapire, 1997. A decision-theoretic generalization of on-line learning
        and an application to boosting. J. of Computer and System Sciences 55(1).
    Zhu, Zou, Rosset and Hastie, 2009. Multi-class AdaBoost. Statistics and Its
        Interface 2. (SAMME)
"""

from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from jaxml.models.classical import adaboost
from jaxml.models.classical import estimator as inner
from jaxml.ops import check
from jaxml.ops import trees as tree_ops

__all__ = [
    "AdaBoostClassifier",
    "decision_function",
    "fit",
    "predict",
    "predict_proba",
    "staged_decision_function",
    "staged_predict",
    "staged_predict_proba",
]

LEAST = 2.3e-16  # weight that a row keeps at least


class AdaBoostClassifier(NamedTuple):
    """Models that vote."""

    models: PyTree  # every array has an axis of t models in front
    estimator_weights: Float[Array, "t"]  # of the votes; 0 from `n_estimators` on
    estimator_errors: Float[Array, "t"]  # weighted share of wrong labels; 1 from there
    n_estimators: Int[Array, ""]  # models that vote: a perfect one is the last, and one
    # no better than chance is the first that does not
    feature_importances: Float[Array, "d"] | Float[Array, "0"]  # of trees
    classes: Int[Array, "k"]  # 0 to k - 1


class _State(NamedTuple):
    """Between two models."""

    weight: Float[Array, "n"]
    active: Bool[Array, ""]


def fit(
    x: Float[Array, "n d"],
    y: Int[Array, "n"],
    *,
    estimator: ModuleType | Any | None = None,
    options: inner.Options = None,
    n_classes: int = 2,
    n_estimators: int = 50,
    learning_rate: float | Float[Array, ""] = 1.0,
    key: Key[Array, ""] | None = None,
    sample_weight: Float[Array, "n"] | None = None,
    max_bins: int = 255,
) -> AdaBoostClassifier:
    """Fit the models, one after another.

    Args:
        x: features.
        y: labels from 0 to `n_classes` - 1.
        estimator: module of the models. Default: trees.
        options: what its `fit` is given; arrays are traced. Of the default trees
            "max_depth" (1) and "max_leaf_nodes" may be set.
        n_classes: how many classes there are.
        n_estimators: how many models there are at most.
        learning_rate: factor of the weights of the models, above 0.
        key: random key, for an estimator that takes one.
        sample_weight: how much each row counts; 0 is an absent row. Default: 1.
        max_bins: in how many values a feature is split at most, by the default trees.

    >>> x, y = jnp.arange(4.0)[:, None], jnp.array([0, 1, 1, 0])
    >>> predict(fit(x, y, n_estimators=5), x)
    Array([0, 1, 1, 0], dtype=int32)

    Raises:
        ValueError: if the data do not fit together or a parameter is out of its range.
    """
    check.rows(x, y, sample_weight)
    check.labels(y, n_classes)
    check.size("n_estimators", n_estimators, 1)
    check.above("learning_rate", learning_rate, 0)
    adaboost.check_options(estimator, options, key)
    traced, static = inner.split(options)
    keys = jax.random.split(jax.random.key(0) if key is None else key, n_estimators)
    return _fit(
        x,
        y,
        sample_weight,
        learning_rate,
        keys,
        traced,
        estimator=estimator,
        static=static,
        n_classes=n_classes,
        max_bins=max_bins,
        **adaboost.choices(estimator, key),
    )


@partial(
    jax.jit,
    static_argnames=("estimator", "static", "n_classes", "max_bins", "kernel", "draws"),
)
def _fit(x, y, weight, rate, keys, traced, *, estimator, static, **sizes):
    k = sizes["n_classes"]
    rate = jnp.asarray(rate, x.dtype)
    options = inner.options(traced, static)
    fit, predict = adaboost.learner(estimator, x, weight, options, depth=1, **sizes)
    weight = jnp.ones(len(x), x.dtype) if weight is None else weight
    present = weight > 0

    def step(state, key):
        weight = jnp.where(present, jnp.maximum(state.weight, LEAST), 0)
        model = fit(y, weight, key)
        wrong = predict(model, x) != y
        error = jnp.where(wrong, weight, 0).sum() / weight.sum()
        perfect = error <= 0
        useless = ~(error < 1 - 1 / k)
        ratio = (1 - error) / jnp.where(perfect, 1, error)
        vote = rate * (jnp.log(ratio) + jnp.log(k - 1.0).astype(x.dtype))
        vote = jnp.where(useless, 0, jnp.where(perfect, 1, vote))
        weight = weight * jnp.where(wrong, jnp.exp(vote), 1)
        total = weight.sum()
        active = ~(perfect | useless) & (total > 0) & jnp.isfinite(total)
        numbers = (vote, jnp.where(useless, 1, error), ~useless)
        return _State(weight / total, active), (model, numbers)

    start = _State(weight / weight.sum(), jnp.array(True))
    _, (models, (votes, errors, kept)) = adaboost.run(step, start, keys)
    return AdaBoostClassifier(
        models,
        votes,
        jnp.where(kept, errors, 1),
        kept.sum().astype(jnp.int32),
        adaboost.importances(models, votes, x.shape[1]),
        jnp.arange(k, dtype=jnp.int32),
    )


def decision_function(
    model: AdaBoostClassifier,
    x: Float[Array, "m d"],
    *,
    estimator: ModuleType | Any | None = None,
    options: inner.Options = None,
) -> Float[Array, "m"] | Float[Array, "m k"]:
    """Mean vote for every class: [m] for two classes, else [m, k].

    Args:
        model: a fitted model.
        x: features.
        estimator: that of the fit.
        options: what its `predict` is given.
    """
    return _narrow(_votes(model, x, estimator, options, False))


def predict(
    model: AdaBoostClassifier,
    x: Float[Array, "m d"],
    *,
    estimator: ModuleType | Any | None = None,
    options: inner.Options = None,
) -> Int[Array, "m"]:
    """Label every row; see `decision_function`."""
    return _labels(_votes(model, x, estimator, options, False))


def predict_proba(
    model: AdaBoostClassifier,
    x: Float[Array, "m d"],
    *,
    estimator: ModuleType | Any | None = None,
    options: inner.Options = None,
) -> Float[Array, "m k"]:
    """Probability of every class, a softmax of the votes; see `decision_function`."""
    return _shares(_votes(model, x, estimator, options, False))


def staged_decision_function(
    model: AdaBoostClassifier,
    x: Float[Array, "m d"],
    *,
    estimator: ModuleType | Any | None = None,
    options: inner.Options = None,
) -> Float[Array, "t m"] | Float[Array, "t m k"]:
    """Mean vote of the models up to each; see `decision_function`."""
    return _narrow(_votes(model, x, estimator, options, True))


def staged_predict(
    model: AdaBoostClassifier,
    x: Float[Array, "m d"],
    *,
    estimator: ModuleType | Any | None = None,
    options: inner.Options = None,
) -> Int[Array, "t m"]:
    """Label every row by the models up to each; see `decision_function`."""
    return _labels(_votes(model, x, estimator, options, True))


def staged_predict_proba(
    model: AdaBoostClassifier,
    x: Float[Array, "m d"],
    *,
    estimator: ModuleType | Any | None = None,
    options: inner.Options = None,
) -> Float[Array, "t m k"]:
    """Probabilities by the models up to each; see `decision_function`."""
    return _shares(_votes(model, x, estimator, options, True))


def _votes(model, x, estimator, options, staged):
    """Mean votes [m, k], or [t, m, k] of the models up to each."""
    traced, static = inner.split(options)
    if estimator is None and not staged:
        return _tree_votes(model, x)
    return _sum(model, x, traced, estimator=estimator, static=static, staged=staged)


@jax.jit
def _tree_votes(model, x):
    """Those of trees, all at once: in each leaf the vote of its class."""
    k, weights = len(model.classes), model.estimator_weights
    value = model.models.value
    first = jnp.argmax(value, axis=-1, keepdims=True) == model.classes[None, None]
    votes = jnp.where(first, 1, -1 / (k - 1)).astype(value.dtype)
    votes = votes * (weights / weights.sum())[:, None, None]
    return tree_ops.sum_values(model.models._replace(value=votes), x)


@partial(jax.jit, static_argnames=("estimator", "static", "staged"))
def _sum(model, x, traced, *, estimator, static, staged):
    k, weights = len(model.classes), model.estimator_weights
    predict = adaboost.predictor(estimator, k)
    options = inner.options(traced, static)

    def add(sums, item):
        part, vote = item
        right = predict(part, x, **options)[:, None] == model.classes[None]
        votes = sums[0] + jnp.where(right, vote, -vote / (k - 1))
        sums = (votes, sums[1] + vote)
        return sums, sums[0] / sums[1] if staged else None

    start = (jnp.zeros((len(x), k), weights.dtype), jnp.zeros((), weights.dtype))
    sums, stages = jax.lax.scan(add, start, (model.models, weights))
    return stages if staged else sums[0] / sums[1]


def _narrow(votes):
    """Of two classes the difference, as scikit-learn."""
    return votes[..., 1] - votes[..., 0] if votes.shape[-1] == 2 else votes


def _labels(votes):
    if votes.shape[-1] == 2:
        return (votes[..., 1] > votes[..., 0]).astype(jnp.int32)
    return jnp.argmax(votes, axis=-1).astype(jnp.int32)


def _shares(votes):
    k = votes.shape[-1]
    return jax.nn.softmax(votes / (k - 1), axis=-1)
