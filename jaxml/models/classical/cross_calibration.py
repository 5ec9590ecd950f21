"""Classifiers with calibrated probabilities, by cross-validation in one program.

    model = cross_calibration.fit(linear_svc, x, y, folds=folds, n_folds=5)
    proba = cross_calibration.predict_proba(linear_svc, model, x_new)

The module is the estimator (`jaxml.models.classical.estimator`): any with
`fit(x, y, n_classes=..., sample_weight=..., **options)`, and `decision_function` or
`predict_proba`. The maps to probabilities are those of `calibration`, which also serves
a classifier that is fitted already.

Letters: n rows, m new rows, d features, k classes, f folds.

References:
    Platt, 2000. Probabilities for SV machines. Advances in Large Margin Classifiers,
    section 2.1.
"""

from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, PyTree

from jaxml.models.classical import calibration
from jaxml.models.classical import estimator as inner
from jaxml.ops import check

__all__ = ["Calibrated", "fit", "predict", "predict_proba"]

SMALL = 1e-12  # added to a probability before its logarithm


class Calibrated(NamedTuple):
    """Classifiers, each with its calibrator: their probabilities are averaged."""

    models: PyTree  # every array has an axis of f models in front, or of 1
    calibrators: PyTree  # likewise


def fit(
    estimator: ModuleType | Any,
    x: Float[Array, "n d"],
    y: Int[Array, "n"],
    *,
    folds: Int[Array, "n"],
    n_folds: int,
    n_classes: int = 2,
    method: str = "sigmoid",
    ensemble: bool = True,
    options: inner.Options = None,
    decision_options: inner.Options = None,
    sample_weight: Float[Array, "n"] | None = None,
    key: Key[Array, ""] | None = None,
    batch_size: int = 1,
) -> Calibrated:
    """Fit a classifier and calibrate it, by cross-validation in one program.

    Args:
        estimator: the module of the classifier; its `fit` takes `sample_weight`, and it
            has `decision_function` or `predict_proba`.
        x: features.
        y: labels from 0 to `n_classes` - 1.
        folds: the fold of each row, from 0 to `n_folds` - 1.
        n_folds: how many folds there are, at least 2.
        n_classes: how many classes there are.
        method: as in `calibration.fit`.
        ensemble: True: a classifier for each fold, fitted without it and calibrated by
            it. False: one classifier of all rows, calibrated by what the classifiers of
            the folds say of the rows that they have not seen.
        options: what the `fit` of the classifier is given; arrays are traced.
        decision_options: what its `decision_function` or `predict_proba` is given.
        sample_weight: how much each row counts; 0 is an absent row. Default: 1.
        key: random key, for an estimator that takes one: each fit gets its own.
        batch_size: how many classifiers are fitted side by side, by vmap.

    Raises:
        ValueError: if the data do not fit together, or a choice is unknown.
    """
    check.rows(x, y, sample_weight)
    check.labels(y, n_classes)
    check.one_of("method", method, calibration.METHODS)
    check.size("n_folds", n_folds, 2)
    check.size("batch_size", batch_size, 1)
    if folds.shape != y.shape:
        raise ValueError(
            f"folds must be one number for each of the {len(y)} rows of x; "
            f"got shape {folds.shape}"
        )
    traced, static = inner.split(options)
    more_traced, more_static = inner.split(decision_options)
    return _fit(
        x,
        y,
        folds,
        sample_weight,
        key,
        (traced, more_traced),
        estimator=estimator,
        static=(static, more_static),
        n_folds=n_folds,
        n_classes=n_classes,
        method=method,
        ensemble=ensemble,
        batch_size=batch_size,
    )


def predict_proba(
    estimator: ModuleType | Any,
    model: Calibrated,
    x: Float[Array, "m d"],
    *,
    decision_options: inner.Options = None,
) -> Float[Array, "m k"]:
    """Probability of every class: the mean over the calibrated classifiers.

    Args:
        estimator: the module that fitted.
        model: what `fit` returned.
        x: features.
        decision_options: as in `fit`.
    """
    traced, static = inner.split(decision_options)
    return _predict(model, x, traced, estimator=estimator, static=static)


def predict(
    estimator: ModuleType | Any,
    model: Calibrated,
    x: Float[Array, "m d"],
    *,
    decision_options: inner.Options = None,
) -> Int[Array, "m"]:
    """Label every row with the class of the greatest calibrated probability."""
    proba = predict_proba(estimator, model, x, decision_options=decision_options)
    return jnp.argmax(proba, axis=1).astype(jnp.int32)


@partial(
    jax.jit,
    static_argnames=(
        "estimator",
        "static",
        "n_folds",
        "n_classes",
        "method",
        "ensemble",
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
    n_folds,
    n_classes,
    method,
    ensemble,
    batch_size,
):
    options, more = map(inner.options, traced, static)
    ones = jnp.ones(len(x), x.dtype) if weight is None else weight
    keys = None if key is None else jax.random.split(key, n_folds + 1)

    def calibrate(decision, y, weight):
        return calibration.fit(
            decision, y, n_classes=n_classes, method=method, sample_weight=weight
        )

    def classify(weight, key):
        return inner.fit(
            estimator,
            x,
            y,
            {"n_classes": n_classes} | options,
            sample_weight=weight,
            key=key,
        )

    def learn(item):
        fold, key = item
        model = classify(jnp.where(folds == fold, 0, ones), key)
        return model, _decide(estimator, model, x, more, method)

    def judge(item):
        fold, decision = item
        inside = jnp.where(folds == fold, ones, 0)
        return calibrate(decision, y, inside)

    each = (jnp.arange(n_folds), None if keys is None else keys[1:])
    models, decisions = inner.each(learn, each, batch_size)
    if ensemble:
        return Calibrated(models, jax.lax.map(judge, (each[0], decisions)))
    index = folds.reshape(1, -1, *[1] * (decisions.ndim - 2))
    seen = jnp.take_along_axis(decisions, index, axis=0)[0]
    model = classify(weight, None if keys is None else keys[0])
    calibrator = calibrate(seen, y, weight)
    return jax.tree.map(lambda leaf: leaf[None], Calibrated(model, calibrator))


@partial(jax.jit, static_argnames=("estimator", "static"))
def _predict(model, x, traced, *, estimator, static):
    options = inner.options(traced, static)
    by_temperature = isinstance(model.calibrators, calibration.Temperature)
    method = "temperature" if by_temperature else "sigmoid"

    def one(item):
        part, calibrator = item
        decision = _decide(estimator, part, x, options, method)
        return calibration.predict_proba(calibrator, decision)

    return jax.lax.map(one, tuple(model)).mean(0)


def _decide(estimator, model, x, options, method):
    """Decision values, or where there are none probabilities or their logarithms."""
    if hasattr(estimator, "decision_function"):
        return estimator.decision_function(model, x, **options)
    if not hasattr(estimator, "predict_proba"):
        return inner.decision(estimator, model, x, options)[0]  # which refuses
    proba = estimator.predict_proba(model, x, **options)
    if method == "temperature":
        return jnp.log(proba + SMALL)
    return proba[:, 1] if proba.shape[1] == 2 else proba
