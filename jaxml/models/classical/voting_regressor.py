"""Regression by the mean of different models.

    members = (ridge, svr, tree_regressor)
    model = voting_regressor.fit(members, x, y, options=({"alpha": 0.1}, None, None))
    y_hat = voting_regressor.predict(members, model, x_new)

A member is a module that is an estimator (`jaxml.models.classical.estimator`). All are
fitted in one program; arrays among their options are traced, so they can be mapped and
differentiated.

Letters: n rows, m new rows, d features, c members.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from jaxml.models.classical import voting as inner

__all__ = ["VotingRegressor", "fit", "predict", "transform"]


class VotingRegressor(NamedTuple):
    """The fitted members, and what each counts in their mean."""

    models: tuple[PyTree, ...]
    weights: Float[Array, "c"]


def fit(
    estimators: Sequence[Any],
    x: Float[Array, "n d"],
    y: Float[Array, "n"],
    *,
    weights: Float[Array, "c"] | None = None,
    options: inner.OptionsOfEach = None,
    sample_weight: Float[Array, "n"] | None = None,
    key: Key[Array, ""] | None = None,
) -> VotingRegressor:
    """Fit every member to all rows.

    Args:
        estimators: the modules of the members.
        x: features.
        y: targets.
        weights: how much each member counts, at least 0. Default: 1.
        options: what the `fit` of each member is given, in their order; None for none.
            Arrays are traced.
        sample_weight: how much each row counts; 0 is an absent row. Default: 1.
        key: random key; each member that takes one gets its own.

    >>> from jaxml.models.classical import dummy_regressor, least_squares
    >>> members = (least_squares, dummy_regressor)
    >>> x = jnp.array([[0.0], [1.0], [2.0]])
    >>> model = fit(members, x, 2 * x[:, 0])
    >>> predict(members, model, x)
    Array([1., 2., 3.], dtype=float32)

    Raises:
        ValueError: if the data do not fit together.
    """
    estimators, traced, static = inner.split(estimators, options)
    inner.door(estimators, x, y, sample_weight)
    if weights is None:
        weights = jnp.ones(len(estimators), x.dtype)
    if weights.shape != (len(estimators),):
        raise ValueError(
            f"weights must be one number for each of the {len(estimators)} "
            f"estimators; got shape {weights.shape}"
        )
    data = (x, y, sample_weight, key, traced)
    models = _fit(*data, estimators=estimators, static=static)
    return VotingRegressor(models, weights.astype(x.dtype))


def predict(
    estimators: Sequence[Any],
    model: VotingRegressor,
    x: Float[Array, "m d"],
    *,
    options: inner.OptionsOfEach = None,
) -> Float[Array, "m"]:
    """Predict the weighted mean of the members.

    Args:
        estimators: the modules that fitted.
        model: what they fitted.
        x: features.
        options: what the `predict` of each member is given.
    """
    said = transform(estimators, model, x, options=options)
    weights = model.weights / model.weights.sum()
    return jnp.matmul(said, weights, precision="highest")


def transform(
    estimators: Sequence[Any],
    model: VotingRegressor,
    x: Float[Array, "m d"],
    *,
    options: inner.OptionsOfEach = None,
) -> Float[Array, "m c"]:
    """What each member predicts; see `predict`."""
    estimators, traced, static = inner.split(estimators, options)
    return _respond(model, x, traced, estimators=estimators, static=static)


@partial(jax.jit, static_argnames=("estimators", "static"))
def _fit(x, y, weight, key, traced, *, estimators, static):
    members = inner.members(estimators, traced, static)
    return inner.fit_each(members, x, y, sample_weight=weight, key=key)


@partial(jax.jit, static_argnames=("estimators", "static"))
def _respond(model, x, traced, *, estimators, static):
    members = inner.members(estimators, traced, static)
    return jnp.stack(inner.response(members, model.models, x, "predict"), axis=1)
