"""Gradient boosting of trees over binned features, for targets that are numbers.

model = boosting_regressor.fit(x, y, loss="poisson", learning_rate=0.1)
y_hat = boosting_regressor.predict(model, x_new, loss="poisson")
model = boosting_regressor.fit(x, y, loss=lambda y, raw: jnp.cosh(raw - y))

Parameters, bins, growth and stopping are those of scikit-learn's
HistGradientBoostingRegressor, with the subsampling and the L1 penalty of XGBoost and
LightGBM. Missing values are NaN; both ways are tried for them. The trees are steps in
every number, so the fit has no derivative.

Letters: n rows, m new rows, d features, t iterations.

References:
    Ke et al., 2017. LightGBM: a highly efficient gradient boosting decision tree.
    Chen and Guestrin, 2016. XGBoost: a scalable tree boosting system. arXiv:1603.02754.
"""

from collections.abc import Sequence
from functools import partial

import jax
from jaxtyping import Array, Float, Int, Key

from jaxml.models.classical import boosting, boosting_door, boosting_losses
from jaxml.models.classical.boosting import Boosting
from jaxml.models.classical.boosting_losses import Loss
from jaxml.ops import check

__all__ = ["fit", "predict", "staged_predict"]


def fit(
    x: Float[Array, "n d"],
    y: Float[Array, "n"],
    *,
    loss: Loss = "squared_error",
    quantile: float | Float[Array, ""] = 0.5,
    learning_rate: float | Float[Array, ""] = 0.1,
    max_iter: int = 100,
    max_leaf_nodes: int | None = 31,
    max_depth: int | None = None,
    min_samples_leaf: int | Float[Array, ""] = 20,
    l2_regularization: float | Float[Array, ""] = 0.0,
    l1_regularization: float | Float[Array, ""] = 0.0,
    max_features: float | Float[Array, ""] = 1.0,
    max_bins: int = 255,
    categorical_features: Sequence[int] | None = None,
    monotonic_cst: Sequence[int] | None = None,
    interaction_cst: Sequence[Sequence[int]] | str | None = None,
    early_stopping: bool | str = "auto",
    validation_fraction: float | Float[Array, ""] | None = 0.1,
    n_iter_no_change: int | Int[Array, ""] = 10,
    tol: float | Float[Array, ""] = 1e-7,
    subsample: float | Float[Array, ""] = 1.0,
    colsample: float | Float[Array, ""] = 1.0,
    min_child_weight: float | Float[Array, ""] = 1e-3,
    min_gain: float | Float[Array, ""] = 0.0,
    max_step: float | Float[Array, ""] = float("inf"),
    cat_smooth: float | Float[Array, ""] = 10.0,
    validation: tuple | None = None,
    initial: Boosting | None = None,
    key: Key[Array, ""] | None = None,
    sample_weight: Float[Array, "n"] | None = None,
) -> Boosting:
    """Fit trees to the gradients of the loss, one iteration after another.

    Args:
        x: rows, with NaN where a value is missing.
        y: targets; at least 0 for "poisson", above 0 for "gamma".
        loss: "squared_error", "absolute_error", "quantile", "poisson", "gamma", or a
            function of a row's target and raw prediction that JAX can derive twice.
        quantile: of the loss "quantile", from 0 to 1.
        learning_rate: factor on the values of the trees, above 0.
        max_iter: bound on the iterations.
        max_leaf_nodes: bound on the leaves of a tree; None: no other than by depth and
            by `min_samples_leaf`.
        max_depth: bound on the splits on a path.
        min_samples_leaf: fewest rows of positive weight in a leaf.
        l2_regularization: added to the sum of hessians of a leaf.
        l1_regularization: taken from the size of the sum of gradients of a leaf.
        max_features: share of the features that a node looks at, drawn anew for each.
        max_bins: most bins of a feature, from 2 to 255, besides one for missing values.
        categorical_features: features whose values are categories: integers below
            max_bins. A negative one is missing; one not seen goes where missing goes.
        monotonic_cst: for each feature 1 if the raw prediction may not fall where it
            rises, -1 if it may not rise, 0 if it is free.
        interaction_cst: groups of features that may meet on a path, "pairwise" or
            "no_interactions"; features in no group make one more.
        early_stopping: whether to stop where the score no longer rises; "auto": with
            more than 10,000 rows.
        validation_fraction: share of the rows that are drawn to be scored; None: score
            the rows that are learned from.
        n_iter_no_change: iterations without a better score that end the fit.
        tol: a score is better where it is higher by more than this.
        subsample: share of the rows that are drawn for the trees of an iteration.
        colsample: share of the features that are drawn for them.
        min_child_weight: least sum of hessians in a leaf.
        min_gain: a split must gain more.
        max_step: largest size of a leaf's value, before the learning rate.
        cat_smooth: smoothing of the slopes of categories, and fewest rows of one.
        validation: (x, y) or (x, y, sample_weight) to be scored, in place of a share.
        initial: a model of fewer iterations to go on from.
        key: random key; needed where rows or features are drawn.
        sample_weight: what each row counts; 0 is an absent row. Default: 1.

    Returns:
        The model.

        >>> import jax.numpy as jnp
        >>> x = jnp.arange(8.0)[:, None]
        >>> model = fit(x, 2 * x[:, 0], max_iter=200, min_samples_leaf=1)
        >>> predict(model, jnp.array([[2.0]])).round(1).tolist()
        [4.0]

    Raises:
        ValueError: if a keyword is out of its range, shapes do not match, a category
            has no bin, or a key is lacking.
    """
    check.rows(x, y, sample_weight)
    if y.ndim != 1:
        raise ValueError(f"y must be one target for each row; got {y.shape}")
    if not callable(loss):
        check.one_of("loss", loss, boosting_losses.REGRESSION)
    options = boosting_door.Options(
        learning_rate=learning_rate,
        max_iter=max_iter,
        max_leaf_nodes=max_leaf_nodes,
        max_depth=max_depth,
        min_samples_leaf=min_samples_leaf,
        l2_regularization=l2_regularization,
        l1_regularization=l1_regularization,
        max_features=max_features,
        max_bins=max_bins,
        categorical_features=categorical_features,
        monotonic_cst=monotonic_cst,
        interaction_cst=interaction_cst,
        early_stopping=early_stopping,
        validation_fraction=validation_fraction,
        n_iter_no_change=n_iter_no_change,
        tol=tol,
        subsample=subsample,
        colsample=colsample,
        min_child_weight=min_child_weight,
        min_gain=min_gain,
        max_step=max_step,
        cat_smooth=cat_smooth,
        validation=validation,
        initial=initial,
        key=key,
        sample_weight=sample_weight,
    )
    ready = boosting_door.prepare(
        x, y.astype(x.dtype), options, loss=loss, outputs=1, quantile=quantile
    )
    return boosting.fit(*ready.arrays, ready.numbers, plan=ready.plan)


@partial(jax.jit, static_argnames=("loss",))
def predict(
    model: Boosting, x: Float[Array, "m d"], *, loss: Loss = "squared_error"
) -> Float[Array, "m"]:
    """Predict the target.

    Args:
        model: the model.
        x: rows.
        loss: as in `fit`: the logarithm is predicted for "poisson" and "gamma".
    """
    return boosting_losses.inverse_link(loss, boosting.raw_predict(model, x)[:, 0])


@partial(jax.jit, static_argnames=("loss",))
def staged_predict(
    model: Boosting, x: Float[Array, "m d"], *, loss: Loss = "squared_error"
) -> Float[Array, "t m"]:
    """`predict` after each iteration; from `n_iter` on the last one."""
    raw = boosting.staged_raw_predict(model, x)[..., 0]
    return boosting_losses.inverse_link(loss, raw)
