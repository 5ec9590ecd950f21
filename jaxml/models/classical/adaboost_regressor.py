"""AdaBoost for numbers: each model learns from rows drawn where those before err most.

    model = adaboost_regressor.fit(x, y, key=key, loss="square")
    y_hat = adaboost_regressor.predict(model, x_new)
    model = adaboost_regressor.fit(x, y, key=key, estimator=ridge)
    y_hat = adaboost_regressor.predict(model, x_new, estimator=ridge)

The models are trees of depth 3, or those of any module whose `fit` takes numbers and
`sample_weight`. All are fitted in one program, and their weighted median is predicted.

Letters: n rows, m new rows, d features, t models.

References:
    Drucker, 1997. Improving regressors using boosting techniques. ICML. (AdaBoost.R2)
"""

from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from jaxml.models.classical import adaboost, forest_bootstrap
from jaxml.models.classical import estimator as inner
from jaxml.ops import check
from jaxml.ops import trees as tree_ops

__all__ = ["AdaBoostRegressor", "fit", "predict", "staged_predict"]

LOSSES = ("linear", "square", "exponential")


class AdaBoostRegressor(NamedTuple):
    """Models, of which the weighted median is predicted."""

    models: PyTree  # every array has an axis of t models in front
    estimator_weights: Float[Array, "t"]  # 0 from `n_estimators` on
    estimator_errors: Float[Array, "t"]  # weighted mean of the loss; 1 from there
    n_estimators: Int[Array, ""]  # models that count: one without error is the last,
    # one of an error of 1/2 or more is the first that does not, but for the very first
    feature_importances: Float[Array, "d"] | Float[Array, "0"]  # of trees


class _State(NamedTuple):
    """Between two models."""

    weight: Float[Array, "n"]
    first: Bool[Array, ""]
    active: Bool[Array, ""]


def fit(
    x: Float[Array, "n d"],
    y: Float[Array, "n"],
    *,
    key: Key[Array, ""],
    estimator: ModuleType | Any | None = None,
    options: inner.Options = None,
    n_estimators: int = 50,
    learning_rate: float | Float[Array, ""] = 1.0,
    loss: str = "linear",
    sample_weight: Float[Array, "n"] | None = None,
    max_bins: int = 255,
) -> AdaBoostRegressor:
    """Fit the models, one after another.

    Args:
        x: features.
        y: targets.
        key: random key, of the rows that are drawn for each model.
        estimator: module of the models. Default: trees.
        options: what its `fit` is given; arrays are traced. Of the default trees
            "max_depth" (3) and "max_leaf_nodes" may be set.
        n_estimators: how many models there are at most.
        learning_rate: factor of the weights of the models, above 0.
        loss: of an error, as a share of the largest: "linear", "square", "exponential".
        sample_weight: how much each row counts; 0 is an absent row. Default: 1.
        max_bins: in how many values a feature is split at most, by the default trees.

    >>> x = jnp.arange(8.0)[:, None]
    >>> y = jnp.where(x[:, 0] < 4, 1.0, 2.0)
    >>> predict(fit(x, y, key=jax.random.key(0)), x)
    Array([1., 1., 1., 1., 2., 2., 2., 2.], dtype=float32)

    Raises:
        ValueError: if the data do not fit together or a parameter is out of its range.
    """
    check.rows(x, y, sample_weight)
    if y.ndim != 1:
        raise ValueError(f"y must be one number a row, [n]; got shape {y.shape}")
    check.size("n_estimators", n_estimators, 1)
    check.above("learning_rate", learning_rate, 0)
    check.one_of("loss", loss, LOSSES)
    adaboost.check_options(estimator, options, key)
    traced, static = inner.split(options)
    return _fit(
        x,
        y,
        sample_weight,
        learning_rate,
        jax.random.split(key, n_estimators),
        traced,
        estimator=estimator,
        static=static,
        loss=loss,
        max_bins=max_bins,
        **adaboost.choices(estimator, key),
    )


@partial(
    jax.jit,
    static_argnames=("estimator", "static", "loss", "max_bins", "kernel", "draws"),
)
def _fit(x, y, weight, rate, keys, traced, *, estimator, static, loss, **sizes):
    rate = jnp.asarray(rate, x.dtype)
    options = inner.options(traced, static)
    fit, predict = adaboost.learner(
        estimator, x, weight, options, n_classes=0, depth=3, **sizes
    )
    weight = jnp.ones(len(x), x.dtype) if weight is None else weight
    present = weight > 0

    def step(state, key):
        key_rows, key_model = jax.random.split(key)
        weight = state.weight
        drawn = forest_bootstrap.draw(key_rows[None], len(x), x.dtype, weight)[0]
        model = fit(y, drawn, key_model)
        error = jnp.where(present, jnp.abs(predict(model, x) - y), 0)
        largest = error.max()
        share = error / jnp.where(largest > 0, largest, 1)
        if loss == "square":
            share = share**2
        elif loss == "exponential":
            share = -jnp.expm1(-share)
        mean = (weight * share).sum()
        perfect = mean <= 0
        useless = ~(mean < 0.5)
        beta = mean / (1 - mean)
        vote = jnp.where(perfect, 1, -rate * jnp.log(jnp.where(perfect, 1, beta)))
        vote = jnp.where(useless, 0, vote)
        kept = ~useless | state.first
        weight = weight * jnp.where(present, beta ** ((1 - share) * rate), 0)
        total = weight.sum()
        active = ~(perfect | useless) & (total > 0) & jnp.isfinite(total)
        numbers = (vote, jnp.where(useless, 1, mean), kept)
        return _State(weight / total, jnp.array(False), active), (model, numbers)

    start = _State(weight / weight.sum(), jnp.array(True), jnp.array(True))
    _, (models, (votes, errors, kept)) = adaboost.run(step, start, keys)
    return AdaBoostRegressor(
        models,
        votes,
        jnp.where(kept, errors, 1),
        kept.sum().astype(jnp.int32),
        adaboost.importances(models, votes, x.shape[1]),
    )


def predict(
    model: AdaBoostRegressor,
    x: Float[Array, "m d"],
    *,
    estimator: ModuleType | Any | None = None,
    options: inner.Options = None,
) -> Float[Array, "m"]:
    """Predict the weighted median of the models.

    Args:
        model: a fitted model.
        x: features.
        estimator: that of the fit.
        options: what its `predict` is given.
    """
    return _median(_sorted(model, x, estimator, options), model.estimator_weights)


def staged_predict(
    model: AdaBoostRegressor,
    x: Float[Array, "m d"],
    *,
    estimator: ModuleType | Any | None = None,
    options: inner.Options = None,
) -> Float[Array, "t m"]:
    """Predict the weighted median of the models up to each; see `predict`."""
    return _medians(_sorted(model, x, estimator, options), model.estimator_weights)


def _sorted(model, x, estimator, options):
    traced, static = inner.split(options)
    return _ordered(model, x, traced, estimator=estimator, static=static)


@partial(jax.jit, static_argnames=("estimator", "static"))
def _ordered(model, x, traced, *, estimator, static):
    """Predictions [m, t] in ascending order, and whose they are."""
    options = inner.options(traced, static)
    if estimator is None:
        trees = model.models
        leaf = tree_ops.apply(trees, x)
        found = jax.vmap(lambda value, at: value[at, 0], (0, 1), 1)(trees.value, leaf)
    else:
        one = lambda part: estimator.predict(part, x, **options)
        found = jax.lax.map(one, model.models).T
    t = found.shape[1]
    counted = jnp.arange(t) < model.n_estimators
    found = jnp.where(counted[None], found, jnp.inf)
    place = jnp.broadcast_to(jnp.arange(t, dtype=jnp.int32)[None], found.shape)
    return jax.lax.sort((found, place), dimension=1, num_keys=1)


@jax.jit
def _median(ordered, weights):
    found, place = ordered
    summed = jnp.cumsum(weights[place], axis=1)
    enough = summed >= 0.5 * summed[:, -1:]
    first = jnp.argmax(enough, axis=1)
    return jnp.take_along_axis(found, first[:, None], axis=1)[:, 0]


@jax.jit
def _medians(ordered, weights):
    """Those of the models up to each."""
    number = jnp.arange(len(weights))
    upto = lambda last: _upto(ordered, weights, number <= last)
    return jax.lax.map(upto, number)


def _upto(ordered, weights, counted):
    found, place = ordered
    # A model that does not count yet weighs nothing, but may not come first.
    some = jnp.where(counted, weights, 0)
    summed = jnp.cumsum(some[place], axis=1)
    enough = (summed >= 0.5 * summed[:, -1:]) & counted[place]
    first = jnp.argmax(enough, axis=1)
    return jnp.take_along_axis(found, first[:, None], axis=1)[:, 0]
