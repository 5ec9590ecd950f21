"""Several targets by a chain: each model sees the targets before it as features.

    model = chain.fit(logistic, x, y, order=(2, 0, 1))   # y: [n, t], labels or numbers
    labels = chain.predict(logistic, model, x_new)       # [m, t]

The module is the estimator (`jaxml.models.classical.estimator`): any with
`fit(x, y, **options)` for one target [n]. The chain is one program; its models have
different numbers of features, so it is unrolled.

Letters: n rows, m new rows, d features, t targets.

References:
    Read, Pfahringer, Holmes and Frank, 2011. Classifier chains for multi-label
    classification. Machine Learning 85.
"""

import dataclasses
from collections.abc import Sequence
from functools import partial
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, PyTree, Shaped

from jaxml.models.classical import estimator as inner
from jaxml.ops import check

__all__ = ["Chain", "decision_function", "fit", "predict", "predict_proba"]

METHODS = ("predict", "predict_proba", "decision_function")


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["models"],
    meta_fields=["order", "chain_method"],
)
@dataclasses.dataclass(frozen=True)
class Chain:
    """The models, in the order of the chain."""

    models: tuple[PyTree, ...]
    order: tuple[int, ...]  # the column of y that each model predicts
    chain_method: str  # what the models hand on


def fit(
    estimator: ModuleType | Any,
    x: Float[Array, "n d"],
    y: Shaped[Array, "n t"],
    *,
    order: Sequence[int] | None = None,
    folds: Int[Array, "n"] | None = None,
    n_folds: int | None = None,
    chain_method: str = "predict",
    options: inner.Options = None,
    predict_options: inner.Options = None,
    sample_weight: Float[Array, "n"] | None = None,
    key: Key[Array, ""] | None = None,
    batch_size: int = 1,
) -> Chain:
    """Fit a model to each column of `y`, on the features and the columns before.

    Args:
        estimator: the module of the model of one target.
        x: features.
        y: targets, or labels 0 and 1.
        order: the columns of `y` in the order of the chain. Default: as they stand.
        folds: the fold of each row, from 0 to `n_folds` - 1. Then models learn from
            what others, fitted without the fold of a row, say of it. Default: they
            learn from the true columns.
        n_folds: how many folds there are.
        chain_method: what a model hands on: "predict"; the probability of class 1 of
            "predict_proba"; "decision_function". It shows at `predict`, and in `folds`.
        options: what each `fit` is given; arrays are traced.
        predict_options: what the `chain_method` of the module is given in `folds`.
        sample_weight: how much each row counts; 0 is an absent row. Default: 1.
        key: random key, for an estimator that takes one: each target gets its own.
        batch_size: how many folds are fitted side by side, by vmap.

    Raises:
        ValueError: if the data do not fit together, or a choice is unknown.
    """
    check.rows(x, y, sample_weight)
    check.one_of("chain_method", chain_method, METHODS)
    check.size("batch_size", batch_size, 1)
    if y.ndim != 2:
        raise ValueError(f"y must be [n, t]; got shape {y.shape}")
    t = y.shape[1]
    order = tuple(range(t)) if order is None else tuple(int(i) for i in order)
    if sorted(order) != list(range(t)):
        raise ValueError(f"order must hold each column from 0 to {t - 1}; got {order}")
    if (folds is None) != (n_folds is None):
        raise ValueError("folds and n_folds must be given together")
    if folds is not None and n_folds is not None:
        check.size("n_folds", n_folds, 2)
        if folds.shape != (len(x),):
            raise ValueError(
                f"folds must be one number for each of the {len(x)} rows of x; "
                f"got shape {folds.shape}"
            )
    traced, static = inner.split(options)
    more_traced, more_static = inner.split(predict_options)
    models = _fit(
        x,
        y,
        folds,
        sample_weight,
        key,
        (traced, more_traced),
        estimator=estimator,
        static=(static, more_static),
        order=order,
        n_folds=n_folds,
        chain_method=chain_method,
        batch_size=batch_size,
    )
    return Chain(models, order, chain_method)


def predict(
    estimator: ModuleType | Any,
    model: Chain,
    x: Float[Array, "m d"],
    *,
    options: inner.Options = None,
) -> Shaped[Array, "m t"]:
    """Predict every target, in the columns of `y`.

    Args:
        estimator: the module that fitted.
        model: what it fitted.
        x: features.
        options: what the functions of the module are given.
    """
    return _run(estimator, model, x, options, "predict")


def predict_proba(
    estimator: ModuleType | Any,
    model: Chain,
    x: Float[Array, "m d"],
    *,
    options: inner.Options = None,
) -> Float[Array, "m t"]:
    """Probability of class 1 of every target; see `predict`."""
    return _run(estimator, model, x, options, "predict_proba")


def decision_function(
    estimator: ModuleType | Any,
    model: Chain,
    x: Float[Array, "m d"],
    *,
    options: inner.Options = None,
) -> Float[Array, "m t"]:
    """Score of class 1 of every target; see `predict`."""
    return _run(estimator, model, x, options, "decision_function")


@partial(
    jax.jit,
    static_argnames=(
        "estimator",
        "static",
        "order",
        "n_folds",
        "chain_method",
        "batch_size",
    ),
)
def _fit(
    x,
    y,
    folds,
    weight,
    key,
    traced,
    *,
    estimator,
    static,
    order,
    n_folds,
    chain_method,
    batch_size,
):
    options, more = map(inner.options, traced, static)
    models = []
    for step, column in enumerate(order):
        own = None if key is None else jax.random.fold_in(key, step)
        target = y[:, column]

        def learn(weight, x=x, target=target, key=own):
            return inner.fit(
                estimator, x, target, options, sample_weight=weight, key=key
            )

        models.append(learn(weight))
        if step == len(order) - 1:
            break
        said = target
        if folds is not None:
            ones = jnp.ones(len(x), x.dtype) if weight is None else weight

            def judge(weight, x=x, learn=learn):
                return _response(estimator, learn(weight), x, more, chain_method)

            said = inner.held_out(judge, folds, n_folds, ones, batch_size)
        x = jnp.concatenate([x, said.astype(x.dtype)[:, None]], axis=1)
    return tuple(models)


def _run(estimator, model, x, options, output):
    traced, static = inner.split(options)
    return _respond(model, x, traced, estimator=estimator, static=static, output=output)


@partial(jax.jit, static_argnames=("estimator", "static", "output"))
def _respond(model, x, traced, *, estimator, static, output):
    options = inner.options(traced, static)
    results = []
    for part in model.models:
        results.append(_response(estimator, part, x, options, output))
        said = results[-1]
        if output != model.chain_method:
            said = _response(estimator, part, x, options, model.chain_method)
        x = jnp.concatenate([x, said.astype(x.dtype)[:, None]], axis=1)
    return jnp.stack([results[i] for i in np.argsort(model.order)], axis=1)


def _response(estimator, model, x, options, name):
    value = getattr(estimator, name)(model, x, **options)
    return value[:, 1] if name == "predict_proba" else value
