"""Models made of models, for the contract test: the members are ours, and quick."""

from types import SimpleNamespace

import jax.numpy as jnp

from jaxml.models.classical import (
    bagging_classifier,
    bagging_regressor,
    dummy_regressor,
    gaussian_nb,
    linear_discriminant,
    ridge,
    stacking_classifier,
    voting_classifier,
    voting_regressor,
)
from tests.models.classical.case import Case

CLASSIFIERS = (gaussian_nb, linear_discriminant)
REGRESSORS = (ridge, dummy_regressor)


def _of(module, *members, names=("predict",), fit):
    """The functions of a module with its members bound."""
    bind = lambda function: lambda model, x: function(*members, model, x)
    return SimpleNamespace(
        fit=fit, **{name: bind(getattr(module, name)) for name in names}
    )


def _smooth(value):
    return {"var_smoothing": jnp.asarray(value)}


def _vote(x, y, *, var_smoothing=1e-3, **more):
    options = (_smooth(var_smoothing), None)
    return voting_classifier.fit(
        CLASSIFIERS, x, y, voting="soft", options=options, **more
    )


def _mean(x, y, *, alpha=1.0, first=1.0, **more):
    weights = jnp.stack([jnp.asarray(first, x.dtype), jnp.ones((), x.dtype)])
    options = ({"alpha": jnp.asarray(alpha)}, None)
    return voting_regressor.fit(
        REGRESSORS, x, y, weights=weights, options=options, **more
    )


def _bag(x, y, *, var_smoothing=1e-3, **more):
    options = _smooth(var_smoothing)
    return bagging_classifier.fit(gaussian_nb, x, y, options=options, **more)


def _bag_numbers(x, y, *, alpha=1.0, **more):
    options = {"alpha": jnp.asarray(alpha)}
    return bagging_regressor.fit(ridge, x, y, options=options, **more)


def _stack(x, y, *, var_smoothing=1e-3, sample_weight=None, **more):
    """Folds by the number of a row among those that are present."""
    present = jnp.ones(len(x)) if sample_weight is None else sample_weight > 0
    return stacking_classifier.fit(
        CLASSIFIERS,
        gaussian_nb,
        x,
        y,
        folds=(jnp.cumsum(present) % 3).astype(jnp.int32),
        n_folds=3,
        options=(_smooth(var_smoothing), None),
        sample_weight=sample_weight,
        **more,
    )


_PROBABILITIES = ("predict", "predict_proba")
_SMOOTHING = {"var_smoothing": (1e-3, 0.1, 1.0)}

CASES = {
    "voting_classifier": Case(
        _of(voting_classifier, CLASSIFIERS, names=_PROBABILITIES, fit=_vote),
        "classes3",
        traced=_SMOOTHING,
        outputs=_PROBABILITIES,
    ),
    "voting_regressor": Case(
        _of(voting_regressor, REGRESSORS, fit=_mean),
        "regression",
        traced={"alpha": (1.0, 0.1, 10.0), "first": (1.0, 0.0, 3.0)},
    ),
    "bagging_classifier": Case(
        _of(bagging_classifier, gaussian_nb, names=_PROBABILITIES, fit=_bag),
        "classes",
        {"n_estimators": 3, "max_samples": 40, "max_features": 2},
        traced=_SMOOTHING,
        key=True,
        outputs=_PROBABILITIES,
    ),
    "bagging_regressor": Case(
        _of(bagging_regressor, ridge, fit=_bag_numbers),
        "regression",
        {"n_estimators": 3, "oob_score": True},
        traced={"alpha": (1.0, 0.1, 10.0), "max_samples": (0.5, 0.7, 1.0)},
        key=True,
        repeats="a share is one of the rows, whatever they count",
    ),
    "stacking_classifier": Case(
        _of(
            stacking_classifier,
            CLASSIFIERS,
            gaussian_nb,
            names=_PROBABILITIES,
            fit=_stack,
        ),
        "classes",
        traced=_SMOOTHING,
        outputs=_PROBABILITIES,
        repeats="the folds are counted by row",
    ),
}
