"""Classification by the vote of different models.

    members = (logistic, svc, gaussian_nb)
    model = voting_classifier.fit(members, x, y, options=({"C": 10.0}, None, None))
    labels = voting_classifier.predict(members, model, x_new)

A member is a module that is an estimator (`jaxml.models.classical.estimator`). All are
fitted in one program; arrays among their options are traced, so they can be mapped and
differentiated.

Letters: n rows, m new rows, d features, k classes, c members.
"""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, PyTree

from jaxml.models.classical import voting as inner
from jaxml.ops import check

__all__ = ["Voting", "fit", "predict", "predict_proba", "transform"]

VOTES = ("hard", "soft")


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["models", "weights"],
    meta_fields=["voting", "n_classes"],
)
@dataclasses.dataclass(frozen=True)
class Voting:
    """The fitted members, and how their votes are counted."""

    models: tuple[PyTree, ...]
    weights: PyTree[Float[Array, "c"]]
    voting: str  # what `predict` counts
    n_classes: int


def fit(
    estimators: Sequence[Any],
    x: Float[Array, "n d"],
    y: Int[Array, "n"],
    *,
    n_classes: int = 2,
    voting: str = "hard",
    weights: Float[Array, "c"] | None = None,
    options: inner.OptionsOfEach = None,
    sample_weight: Float[Array, "n"] | None = None,
    key: Key[Array, ""] | None = None,
) -> Voting:
    """Fit every member to all rows.

    Args:
        estimators: the modules of the members.
        x: features.
        y: labels from 0 to `n_classes` - 1.
        n_classes: how many classes there are; each member is told.
        voting: "hard": the class that most members predict, of equal ones the lowest;
            "soft": the class of the greatest mean probability.
        weights: how much the vote of each member counts, at least 0. Default: 1.
        options: what the `fit` of each member is given, in their order; None for none.
            Arrays are traced.
        sample_weight: how much each row counts; 0 is an absent row. Default: 1.
        key: random key; each member that takes one gets its own.

    >>> from jaxml.models.classical import dummy_classifier, gaussian_nb
    >>> x, y = jnp.array([[-1.0], [-2.0], [1.0], [2.0], [3.0]]), jnp.arange(5) // 2
    >>> members = (gaussian_nb, dummy_classifier, gaussian_nb)
    >>> model = fit(members, x, jnp.minimum(y, 1))
    >>> predict(members, model, jnp.array([[-1.5], [2.5]]))
    Array([0, 1], dtype=int32)

    Raises:
        ValueError: if the data do not fit together, or a choice is unknown.
    """
    check.labels(y, n_classes)
    check.one_of("voting", voting, VOTES)
    estimators, traced, static = inner.split(estimators, options)
    inner.door(estimators, x, y, sample_weight)
    if weights is None:
        weights = jnp.ones(len(estimators), x.dtype)
    if weights.shape != (len(estimators),):
        raise ValueError(
            f"weights must be one number for each of the {len(estimators)} "
            f"estimators; got shape {weights.shape}"
        )
    models = _fit(
        x,
        y,
        sample_weight,
        key,
        traced,
        estimators=estimators,
        static=static,
        n_classes=n_classes,
    )
    return Voting(models, weights.astype(x.dtype), voting, n_classes)


def predict(
    estimators: Sequence[Any],
    model: Voting,
    x: Float[Array, "m d"],
    *,
    options: inner.OptionsOfEach = None,
) -> Int[Array, "m"]:
    """Label every row by the vote that `fit` was asked for.

    Args:
        estimators: the modules that fitted.
        model: what they fitted.
        x: features.
        options: what the `predict` or `predict_proba` of each member is given.
    """
    return _run(estimators, model, x, options, "predict")


def predict_proba(
    estimators: Sequence[Any],
    model: Voting,
    x: Float[Array, "m d"],
    *,
    options: inner.OptionsOfEach = None,
) -> Float[Array, "m k"]:
    """Probability of every class: of "soft" the weighted mean of the members'.

    Of "hard" it is the share of the votes.

    Args:
        estimators: the modules that fitted.
        model: what they fitted.
        x: features.
        options: what the `predict` or `predict_proba` of each member is given.
    """
    return _run(estimators, model, x, options, "predict_proba")


def transform(
    estimators: Sequence[Any],
    model: Voting,
    x: Float[Array, "m d"],
    *,
    options: inner.OptionsOfEach = None,
) -> Int[Array, "m c"] | Float[Array, "c m k"]:
    """What each member says: labels [m, c] of "hard", probabilities of "soft"."""
    return _run(estimators, model, x, options, "transform")


@partial(jax.jit, static_argnames=("estimators", "static", "n_classes"))
def _fit(x, y, weight, key, traced, *, estimators, static, n_classes):
    members = inner.members(estimators, traced, static)
    return inner.fit_each(
        members, x, y, sample_weight=weight, key=key, n_classes=n_classes
    )


def _run(estimators, model, x, options, output):
    estimators, traced, static = inner.split(estimators, options)
    return _respond(
        model, x, traced, estimators=estimators, static=static, output=output
    )


@partial(jax.jit, static_argnames=("estimators", "static", "output"))
def _respond(model, x, traced, *, estimators, static, output):
    members = inner.members(estimators, traced, static)
    soft = model.voting == "soft"
    name = "predict_proba" if soft else "predict"
    said = jnp.stack(inner.response(members, model.models, x, name))
    if output == "transform":
        return said if soft else said.T
    proba = said if soft else jax.nn.one_hot(said, model.n_classes, dtype=x.dtype)
    # Votes are summed before they are divided: whole ones tie exactly.
    total = jnp.einsum("c,cmk->mk", model.weights, proba, precision="highest")
    if output == "predict_proba":
        return total / model.weights.sum()
    return jnp.argmax(total, axis=1).astype(jnp.int32)
