"""Gradient boosting for numbers: each tree is fitted to what the trees before left.

    model = gradient_boosting_regressor.fit(x, y, loss="huber", learning_rate=0.05)
    y_hat = gradient_boosting_regressor.predict(model, x_new)
    path = gradient_boosting_regressor.staged_predict(model, x_new)      # [t, m]

Letters: n rows, m new rows, d features, t stages.

References:
    Friedman, 2001. Greedy function approximation: a gradient boosting machine. Ann.
        Stat. 29(5).
"""

import jax
from jaxtyping import Array, Float, Int, Key

from jaxml.models.classical import (
    cart,
    gradient_boosting,
    gradient_boosting_door,
    gradient_boosting_losses,
)
from jaxml.models.classical.gradient_boosting import GradientBoosting
from jaxml.ops import check

__all__ = ["GradientBoosting", "apply", "fit", "predict", "staged_predict"]


def fit(
    x: Float[Array, "n d"],
    y: Float[Array, "n"],
    *,
    key: Key[Array, ""] | None = None,
    loss: str = "squared_error",
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
    alpha: float | Float[Array, ""] = 0.9,
    max_leaf_nodes: int | None = None,
    validation_fraction: float | Float[Array, ""] = 0.1,
    n_iter_no_change: int | None = None,
    tol: float | Float[Array, ""] = 1e-4,
    ccp_alpha: float | Float[Array, ""] = 0.0,
    sample_weight: Float[Array, "n"] | None = None,
    max_bins: int = 255,
) -> GradientBoosting:
    """Fit the stages.

    Args:
        x: features; NaN is a missing value.
        y: targets.
        key: random key; needed with `subsample` below 1, `max_features` below d, and
            `n_iter_no_change`.
        loss: "squared_error", "absolute_error", "huber" or "quantile".
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
        alpha: the quantile of "quantile", and the share of errors that "huber" squares.
        max_leaf_nodes: leaves of a tree, that grows where the gain is greatest.
        validation_fraction: share of the rows held out, with `n_iter_no_change`.
        n_iter_no_change: stages that may pass without a lower loss of the rows held
            out. Default: all stages are fitted.
        tol: what counts as a lower loss.
        ccp_alpha: complexity below which branches are pruned.
        sample_weight: how much each row counts; 0 is an absent row. Default: 1.
        max_bins: in how many values a feature is split at most; where it has no more,
            the splits are exact.

    >>> import jax.numpy as jnp
    >>> x, y = jnp.arange(4.0)[:, None], jnp.array([0.0, 0.0, 1.0, 3.0])
    >>> predict(fit(x, y, learning_rate=1.0, n_estimators=2), x)
    Array([0., 0., 1., 3.], dtype=float32)

    Raises:
        ValueError: if the data do not fit together or a parameter is out of its range.
    """
    check.rows(x, y, sample_weight)
    check.one_of("loss", loss, gradient_boosting_losses.NUMBERS)
    if y.ndim != 1:
        raise ValueError(f"y must be one number a row, [n]; got shape {y.shape}")
    check.between("alpha", alpha, 0, 1)
    plan = gradient_boosting.Plan(
        loss,
        cart.Recipe(
            "squared_error", 0, max_depth=max_depth, max_leaf_nodes=max_leaf_nodes
        ),
        n_estimators,
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
        alpha=alpha,
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


@jax.jit
def predict(model: GradientBoosting, x: Float[Array, "m d"]) -> Float[Array, "m"]:
    """Predict the target of every row."""
    return gradient_boosting.raw(model, x)[:, 0]


@jax.jit
def staged_predict(
    model: GradientBoosting, x: Float[Array, "m d"]
) -> Float[Array, "t m"]:
    """Predict with the stages up to each; the last again from `n_estimators` on."""
    return gradient_boosting.staged_raw(model, x)[..., 0]


@jax.jit
def apply(model: GradientBoosting, x: Float[Array, "m d"]) -> Int[Array, "m t"]:
    """Find the leaf of every row in the tree of every stage."""
    return gradient_boosting.leaves(model, x)[..., 0]
