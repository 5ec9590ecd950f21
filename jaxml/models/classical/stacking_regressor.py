"""Regression by a model of what other models say of rows they have not seen.

    members = (ridge, svr, tree_regressor)
    model = stacking_regressor.fit(members, ridge, x, y, folds=folds, n_folds=5)
    y_hat = stacking_regressor.predict(members, ridge, model, x_new)

A member is a module that is an estimator (`jaxml.models.classical.estimator`) whose fit
takes `sample_weight`: a fold is held out by weights of 0. All fits are one program;
arrays among the options are traced, so they can be mapped and differentiated.

Letters: n rows, m new rows, d features, c members, s columns.

References:
    Wolpert, 1992. Stacked generalization. Neural Networks 5(2).
    Breiman, 1996. Stacked regressions. Machine Learning 24.
"""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Array, Float, Int, Key

from jaxml.models.classical import estimator as inner
from jaxml.models.classical import stacking, voting
from jaxml.models.classical.stacking import Stacking, transform
from jaxml.ops import check

__all__ = ["Stacking", "fit", "predict", "transform"]


def fit(
    estimators: Sequence[Any],
    final_estimator: Any,
    x: Float[Array, "n d"],
    y: Float[Array, "n"],
    *,
    folds: Int[Array, "n"],
    n_folds: int,
    passthrough: bool = False,
    options: voting.OptionsOfEach = None,
    predict_options: voting.OptionsOfEach = None,
    final_options: inner.Options = None,
    sample_weight: Float[Array, "n"] | None = None,
    key: Key[Array, ""] | None = None,
    batch_size: int = 1,
) -> Stacking:
    """Fit the members, and a model of what they say of rows they have not seen.

    Args:
        estimators: the modules of the members.
        final_estimator: the module of the model of what they say.
        x: features.
        y: targets.
        folds: the fold of each row, from 0 to `n_folds` - 1.
        n_folds: how many folds there are, at least 2.
        passthrough: whether the last model also sees the features.
        options: what the `fit` of each member is given, in their order; None for none.
            Arrays are traced.
        predict_options: what the `predict` of each member is given.
        final_options: what the `fit` of the last model is given.
        sample_weight: how much each row counts; 0 is an absent row. Default: 1.
        key: random key; each model that takes one gets its own.
        batch_size: how many folds are fitted side by side, by vmap.

    >>> import jax.numpy as jnp
    >>> from jaxml.models.classical import dummy_regressor, least_squares
    >>> x, folds = jnp.arange(8.0)[:, None], jnp.arange(8) % 2
    >>> members = (least_squares, dummy_regressor)
    >>> data = (x, 3 * x[:, 0])
    >>> model = fit(members, least_squares, *data, folds=folds, n_folds=2)
    >>> new = jnp.array([[2.5]])
    >>> round(float(predict(members, least_squares, model, new)[0]), 3)
    7.5

    Raises:
        ValueError: if the data do not fit together.
    """
    plan, traced = stacking.door(
        estimators,
        final_estimator,
        x,
        y,
        sample_weight,
        weighs_final=sample_weight is not None,
        stack_method="predict",
        passthrough=passthrough,
        n_classes=None,
        options=options,
        predict_options=predict_options,
        final_options=final_options,
    )
    stacking.check_folds(folds, n_folds, len(x))
    check.size("batch_size", batch_size, 1)
    data = (x, y, folds, sample_weight, key, traced)
    return stacking.stack(*data, plan=plan, n_folds=n_folds, batch_size=batch_size)


def predict(
    estimators: Sequence[Any],
    final_estimator: Any,
    model: Stacking,
    x: Float[Array, "m d"],
    *,
    options: voting.OptionsOfEach = None,
    final_options: inner.Options = None,
) -> Float[Array, "m"]:
    """Predict the target of every row.

    Args:
        estimators: the modules of the members.
        final_estimator: the module of the last model.
        model: what they fitted.
        x: features.
        options: what the `predict` of each member is given.
        final_options: what the `predict` of the last model is given.
    """
    return stacking.respond(
        estimators,
        final_estimator,
        model,
        x,
        options=options,
        final_options=final_options,
        output="predict",
    )
