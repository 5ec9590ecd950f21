"""A model of what other models say of rows that were held out from all of them.

    held = blending.hold_out(key, x, hold_out=0.2)
    members = (logistic, svc, gaussian_nb)
    model = blending.fit_classifier(members, logistic, x, y, held=held)
    labels = blending.predict(members, logistic, model, x_new)

Blending is stacking (`stacking_classifier`, `stacking_regressor`) with one part in the
place of folds: each member is fitted once, and never sees the rows of the last model.
The state and its functions are those of stacking.

Letters: n rows, m new rows, d features, k classes, c members, s columns.

References:
    Wolpert, 1992. Stacked generalization. Neural Networks 5(2).
    Toscher, Jahrer and Bell, 2009. The BigChaos solution to the Netflix grand prize.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, Shaped

from jaxml.models.classical import bagging, stacking, voting
from jaxml.models.classical import estimator as inner
from jaxml.models.classical.stacking import Stacking, transform
from jaxml.models.classical.stacking_classifier import (
    decision_function,
    predict_proba,
)
from jaxml.ops import check

__all__ = [
    "Stacking",
    "decision_function",
    "fit_classifier",
    "fit_regressor",
    "hold_out",
    "predict",
    "predict_proba",
    "transform",
]


def hold_out(
    key: Key[Array, ""],
    x: Float[Array, "n d"],
    *,
    hold_out: float | Float[Array, ""] = 0.2,
    sample_weight: Float[Array, "n"] | None = None,
) -> Bool[Array, "n"]:
    """Draw the rows that the last model shall learn from.

    Args:
        key: random key.
        x: features; only their number is used.
        hold_out: share of the rows that have a weight, above 0 and at most 1.
        sample_weight: a row of weight 0 is absent, and draws nothing.

    >>> import jax
    >>> int(hold_out(jax.random.key(0), jnp.zeros((10, 2)), hold_out=0.3).sum())
    3

    Raises:
        ValueError: if the share is none.
    """
    check.rows(x, None, sample_weight)
    check.above("hold_out", hold_out, 0)
    check.between("hold_out", hold_out, 0, 1)
    present = None if sample_weight is None else (sample_weight > 0).astype(x.dtype)
    draws = bagging.Draws(None, x.shape[1], False, False, False)
    share = jnp.asarray(hold_out, x.dtype)
    rows = bagging.draw_rows(key, present, share, draws, len(x))
    return jnp.zeros(len(x), bool).at[rows].set(True, mode="drop")


def fit_classifier(
    estimators: Sequence[Any],
    final_estimator: Any,
    x: Float[Array, "n d"],
    y: Int[Array, "n"],
    *,
    held: Bool[Array, "n"],
    n_classes: int = 2,
    stack_method: str = "auto",
    passthrough: bool = False,
    options: voting.OptionsOfEach = None,
    predict_options: voting.OptionsOfEach = None,
    final_options: inner.Options = None,
    sample_weight: Float[Array, "n"] | None = None,
    key: Key[Array, ""] | None = None,
) -> Stacking:
    """Fit members to the rows that are not held out, a last model to those that are.

    Args:
        estimators: the modules of the members.
        final_estimator: the module of the model of what they say.
        x: features.
        y: labels from 0 to `n_classes` - 1.
        held: which rows are held out; see `hold_out`.
        n_classes: how many classes there are; every model is told.
        stack_method: as in `stacking_classifier.fit`.
        passthrough: whether the last model also sees the features.
        options: what the `fit` of each member is given, in their order; None for none.
            Arrays are traced.
        predict_options: what the function of each member that is heard is given.
        final_options: what the `fit` of the last model is given.
        sample_weight: how much each row counts; 0 is an absent row. Default: 1.
        key: random key; each model that takes one gets its own.

    >>> from jaxml.models.classical import gaussian_nb, logistic
    >>> x, y = jnp.arange(8.0)[:, None], jnp.arange(8) // 4
    >>> held = jnp.arange(8) % 2 == 1
    >>> model = fit_classifier((gaussian_nb, logistic), logistic, x, y, held=held)
    >>> predict((gaussian_nb, logistic), logistic, model, jnp.array([[0.0], [7.0]]))
    Array([0, 1], dtype=int32)

    Raises:
        ValueError: if the data do not fit together, or a choice is unknown.
    """
    check.labels(y, n_classes)
    plan, traced = stacking.door(
        estimators,
        final_estimator,
        x,
        y,
        sample_weight,
        weighs_final=True,
        stack_method=stack_method,
        passthrough=passthrough,
        n_classes=n_classes,
        options=options,
        predict_options=predict_options,
        final_options=final_options,
    )
    _check_held(held, len(x))
    return stacking.blend(x, y, held, sample_weight, key, traced, plan=plan)


def fit_regressor(
    estimators: Sequence[Any],
    final_estimator: Any,
    x: Float[Array, "n d"],
    y: Float[Array, "n"],
    *,
    held: Bool[Array, "n"],
    passthrough: bool = False,
    options: voting.OptionsOfEach = None,
    predict_options: voting.OptionsOfEach = None,
    final_options: inner.Options = None,
    sample_weight: Float[Array, "n"] | None = None,
    key: Key[Array, ""] | None = None,
) -> Stacking:
    """Fit members to the rows that are not held out, a last model to those that are.

    Args:
        estimators: the modules of the members.
        final_estimator: the module of the model of what they say.
        x: features.
        y: targets.
        held: which rows are held out; see `hold_out`.
        passthrough: whether the last model also sees the features.
        options: what the `fit` of each member is given, in their order; None for none.
            Arrays are traced.
        predict_options: what the `predict` of each member is given.
        final_options: what the `fit` of the last model is given.
        sample_weight: how much each row counts; 0 is an absent row. Default: 1.
        key: random key; each model that takes one gets its own.

    Raises:
        ValueError: if the data do not fit together.
    """
    plan, traced = stacking.door(
        estimators,
        final_estimator,
        x,
        y,
        sample_weight,
        weighs_final=True,
        stack_method="predict",
        passthrough=passthrough,
        n_classes=None,
        options=options,
        predict_options=predict_options,
        final_options=final_options,
    )
    _check_held(held, len(x))
    return stacking.blend(x, y, held, sample_weight, key, traced, plan=plan)


def predict(
    estimators: Sequence[Any],
    final_estimator: Any,
    model: Stacking,
    x: Float[Array, "m d"],
    *,
    options: voting.OptionsOfEach = None,
    final_options: inner.Options = None,
) -> Shaped[Array, "m"]:
    """Predict the label, or the target, of every row.

    Args:
        estimators: the modules of the members.
        final_estimator: the module of the last model.
        model: what they fitted.
        x: features.
        options: what the function of each member that is heard is given.
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


def _check_held(held, n):
    if held.shape != (n,):
        raise ValueError(
            f"held must be one truth value for each of the {n} rows of x; "
            f"got shape {held.shape}"
        )
