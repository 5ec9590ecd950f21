"""Gradient boosting for classes: trees on what the probabilities so far leave.

    model = gradient_boosting_classifier.fit(x, y, n_classes=3, learning_rate=0.05)
    shares = gradient_boosting_classifier.predict_proba(model, x_new)
    path = gradient_boosting_classifier.staged_predict(model, x_new)     # [t, m]

Letters: n rows, m new rows, d features, t stages, k classes, c = 1 of two classes,
else k.

References:
    Friedman, 2001. Greedy function approximation: a gradient boosting machine. Ann.
        Stat. 29(5).
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxml.models.classical import (
    cart,
    gradient_boosting,
    gradient_boosting_door,
    gradient_boosting_losses,
)
from jaxml.models.classical.gradient_boosting import GradientBoosting
from jaxml.ops import check

__all__ = [
    "GradientBoosting",
    "apply",
    "decision_function",
    "fit",
    "predict",
    "predict_proba",
    "staged_decision_function",
    "staged_predict",
    "staged_predict_proba",
]


def fit(
    x: Float[Array, "n d"],
    y: Int[Array, "n"],
    *,
    key: Key[Array, ""] | None = None,
    n_classes: int = 2,
    loss: str = "log_loss",
    learning_rate: float | Float[Array, ""] = 0.1,
    n_estimators: int = 100,
    subsample: float | Float[Array, ""] = 1.0,
    min_samples_split: float | Float[Array, ""] = 2.0,
    min_samples_leaf: float | Float[Array, ""] = 1.0,
    min_weight_fraction_leaf: float | Float[Array, ""] = 0.0,
    max_depth: int | None = 3,
    min_impurity_decrease: float | Float[Array, ""] = 0.0,
    init: str | None = None,
    max_features: int | float | str | None = None,
    max_leaf_nodes: int | None = None,
    validation_fraction: float | Float[Array, ""] = 0.1,
    n_iter_no_change: int | None = None,
    tol: float | Float[Array, ""] = 1e-4,
    ccp_alpha: float | Float[Array, ""] = 0.0,
    class_weight: Float[Array, "k"] | None = None,
    sample_weight: Float[Array, "n"] | None = None,
    max_bins: int = 255,
) -> GradientBoosting:
    """Fit the stages.

    Args:
        x: features; NaN is a missing value.
        y: labels from 0 to `n_classes` - 1.
        key: random key; needed with `subsample` below 1, `max_features` below d, and
            `n_iter_no_change`.
        n_classes: how many classes there are.
        loss: "log_loss", or of two classes "exponential".
        learning_rate: share of each tree that is added, above 0.
        n_estimators: how many stages there are.
        subsample: share of the rows that a stage sees, up to 1.
        min_samples_split: rows in a node that may be split; up to 1 a share of all.
        min_samples_leaf: rows in each leaf; below 1 a share of all.
        min_weight_fraction_leaf: share of the weight in each leaf, up to 0.5.
        max_depth: of each tree; None: until the leaves are pure.
        min_impurity_decrease: gain below which a node is left alone.
        init: "zero" to start from zero. Default: from the best constant.
        max_features: features that a split is searched in: their number, their share,
            "sqrt" or "log2" of it, or None for all.
        max_leaf_nodes: leaves of a tree, that grows where the gain is greatest.
        validation_fraction: share of the rows held out, with `n_iter_no_change`.
        n_iter_no_change: stages that may pass without a lower loss of the rows held
            out. Default: all stages are fitted.
        tol: what counts as a lower loss.
        ccp_alpha: complexity below which branches are pruned.
        class_weight: how much a row of each class counts, times `sample_weight`.
        sample_weight: how much each row counts; 0 is an absent row. Default: 1.
        max_bins: in how many values a feature is split at most; where it has no more,
            the splits are exact.

    >>> x, y = jnp.arange(4.0)[:, None], jnp.array([0, 1, 0, 0])
    >>> predict(fit(x, y, n_estimators=20), x)
    Array([0, 1, 0, 0], dtype=int32)

    Raises:
        ValueError: if the data do not fit together or a parameter is out of its range.
    """
    check.rows(x, y, sample_weight)
    check.labels(y, n_classes)
    check.one_of("loss", loss, gradient_boosting_losses.CLASSES)
    if loss == "exponential" and n_classes > 2:
        raise ValueError(
            f"loss must be 'log_loss' of {n_classes} classes; got {loss!r}"
        )
    if class_weight is not None:
        each = class_weight.astype(x.dtype)[y]
        sample_weight = each if sample_weight is None else each * sample_weight
    plan = gradient_boosting.Plan(
        loss,
        cart.Recipe(
            "squared_error", 0, max_depth=max_depth, max_leaf_nodes=max_leaf_nodes
        ),
        n_estimators,
        columns=1 if n_classes == 2 else n_classes,
        zero=init == "zero",
        patience=n_iter_no_change,
        max_bins=max_bins,
    )
    return gradient_boosting_door.fit(
        x,
        y,
        sample_weight,
        plan,
        key=key,
        init=init,
        learning_rate=learning_rate,
        alpha=0.9,
        subsample=subsample,
        validation_fraction=validation_fraction,
        tol=tol,
        ccp_alpha=ccp_alpha,
        max_features=max_features,
        min_samples_split=min_samples_split,
        min_samples_leaf=min_samples_leaf,
        min_weight_fraction_leaf=min_weight_fraction_leaf,
        min_impurity_decrease=min_impurity_decrease,
    )


def decision_function(
    model: GradientBoosting, x: Float[Array, "m d"]
) -> Float[Array, "m"] | Float[Array, "m k"]:
    """Raw prediction of every row: [m] for two classes, else [m, k]."""
    return _narrow(gradient_boosting.raw(model, x))


def predict(model: GradientBoosting, x: Float[Array, "m d"]) -> Int[Array, "m"]:
    """Label every row with the class of the greatest raw prediction."""
    return _labels(gradient_boosting.raw(model, x))


def predict_proba(
    model: GradientBoosting, x: Float[Array, "m d"], *, loss: str = "log_loss"
) -> Float[Array, "m k"]:
    """Probability of every class.

    Args:
        model: a fitted model.
        x: features.
        loss: that of the fit.
    """
    check.one_of("loss", loss, gradient_boosting_losses.CLASSES)
    return _shares(gradient_boosting.raw(model, x), loss)


def staged_decision_function(
    model: GradientBoosting, x: Float[Array, "m d"]
) -> Float[Array, "t m"] | Float[Array, "t m k"]:
    """Raw predictions of the stages up to each.

    The last ones come again from `n_estimators` on.
    """
    return _narrow(gradient_boosting.staged_raw(model, x))


def staged_predict(
    model: GradientBoosting, x: Float[Array, "m d"]
) -> Int[Array, "t m"]:
    """Label every row by the stages up to each."""
    return _labels(gradient_boosting.staged_raw(model, x))


def staged_predict_proba(
    model: GradientBoosting, x: Float[Array, "m d"], *, loss: str = "log_loss"
) -> Float[Array, "t m k"]:
    """Probability of every class by the stages up to each; see `predict_proba`."""
    check.one_of("loss", loss, gradient_boosting_losses.CLASSES)
    return _shares(gradient_boosting.staged_raw(model, x), loss)


def apply(model: GradientBoosting, x: Float[Array, "m d"]) -> Int[Array, "m t c"]:
    """Find the leaf of every row in the trees of every stage."""
    return gradient_boosting.leaves(model, x)


def _narrow(raw):
    return raw[..., 0] if raw.shape[-1] == 1 else raw


@jax.jit
def _labels(raw):
    if raw.shape[-1] == 1:
        return (raw[..., 0] >= 0).astype(jnp.int32)
    return jnp.argmax(raw, axis=-1).astype(jnp.int32)


@partial(jax.jit, static_argnames=("loss",))
def _shares(raw, loss):
    if raw.shape[-1] > 1:
        return jax.nn.softmax(raw, axis=-1)
    positive = jax.nn.sigmoid(raw * (2 if loss == "exponential" else 1))
    return jnp.concatenate([1 - positive, positive], axis=-1)
