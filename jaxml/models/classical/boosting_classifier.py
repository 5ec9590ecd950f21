"""Gradient boosting of trees over binned features, for classes.

model = boosting_classifier.fit(x, y, learning_rate=0.1, max_leaf_nodes=31)
labels = boosting_classifier.predict(model, x)
chances = boosting_classifier.predict_proba(model, x)

Parameters, bins, growth and stopping are those of scikit-learn's
HistGradientBoostingClassifier, with the subsampling and the L1 penalty of XGBoost and
LightGBM. Missing values are NaN; both ways are tried for them. The trees are steps in
every number, so the fit has no derivative.

Letters: n rows, m new rows, d features, c classes, t iterations; k trees of an
iteration: 1 for two classes, else c.

References:
    Ke et al., 2017. LightGBM: a highly efficient gradient boosting decision tree.
    Chen and Guestrin, 2016. XGBoost: a scalable tree boosting system. arXiv:1603.02754.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxml.models.classical import boosting, boosting_door
from jaxml.models.classical.boosting import Boosting
from jaxml.models.classical.boosting_losses import Loss
from jaxml.ops import check

__all__ = [
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
    n_classes: int = 2,
    loss: Loss = "log_loss",
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
    class_weight: Float[Array, "c"] | None = None,
    sample_weight: Float[Array, "n"] | None = None,
) -> Boosting:
    """Fit trees to the gradients of the loss, one iteration after another.

    Args:
        x: rows, with NaN where a value is missing.
        y: labels from 0 to n_classes - 1.
        n_classes: number of classes.
        loss: "log_loss", or a function of a row's label and raw prediction (a number;
            [c] above two classes) that JAX can derive twice.
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
        class_weight: factor on the rows of each class. Default: 1.
        sample_weight: what each row counts; 0 is an absent row. Default: 1.

    Returns:
        The model.

        >>> x = jnp.arange(8.0)[:, None]
        >>> y = (x[:, 0] > 3).astype(jnp.int32)
        >>> model = fit(x, y, max_iter=20, min_samples_leaf=1)
        >>> predict(model, jnp.array([[1.0], [6.0]])).tolist()
        [0, 1]

    Raises:
        ValueError: if a keyword is out of its range, shapes do not match, a category
            has no bin, or a key is lacking.
    """
    check.rows(x, y, sample_weight)
    check.labels(y, n_classes)
    if not callable(loss):
        check.one_of("loss", loss, ("log_loss",))
    if class_weight is not None:
        if class_weight.shape != (n_classes,):
            raise ValueError(
                f"class_weight must be one number for each of the {n_classes} classes; "
                f"got {class_weight.shape}"
            )
        own = class_weight.astype(x.dtype)[y]
        sample_weight = own if sample_weight is None else own * sample_weight
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
    outputs = 1 if n_classes == 2 else n_classes
    ready = boosting_door.prepare(
        x, y, options, loss=loss, outputs=outputs, quantile=0.5
    )
    return boosting.fit(*ready.arrays, ready.numbers, plan=ready.plan)


@jax.jit
def decision_function(
    model: Boosting, x: Float[Array, "m d"]
) -> Float[Array, "m"] | Float[Array, "m c"]:
    """Raw predictions: log odds of the second class, or of each up to a shift."""
    return _squeezed(boosting.raw_predict(model, x))


@jax.jit
def predict_proba(model: Boosting, x: Float[Array, "m d"]) -> Float[Array, "m c"]:
    """Chance of each class."""
    return _chances(boosting.raw_predict(model, x))


@jax.jit
def predict(model: Boosting, x: Float[Array, "m d"]) -> Int[Array, "m"]:
    """The likeliest class."""
    return _labels(boosting.raw_predict(model, x))


@jax.jit
def staged_decision_function(
    model: Boosting, x: Float[Array, "m d"]
) -> Float[Array, "t m"] | Float[Array, "t m c"]:
    """`decision_function` after each iteration; from `n_iter` on the last one."""
    return _squeezed(boosting.staged_raw_predict(model, x))


@jax.jit
def staged_predict_proba(
    model: Boosting, x: Float[Array, "m d"]
) -> Float[Array, "t m c"]:
    """`predict_proba` after each iteration."""
    return _chances(boosting.staged_raw_predict(model, x))


@jax.jit
def staged_predict(model: Boosting, x: Float[Array, "m d"]) -> Int[Array, "t m"]:
    """`predict` after each iteration."""
    return _labels(boosting.staged_raw_predict(model, x))


def _squeezed(raw):
    return raw[..., 0] if raw.shape[-1] == 1 else raw


def _chances(raw):
    if raw.shape[-1] > 1:
        return jax.nn.softmax(raw, axis=-1)
    chance = jax.nn.sigmoid(raw)
    return jnp.concatenate([1 - chance, chance], -1)


def _labels(raw):
    if raw.shape[-1] > 1:
        return raw.argmax(-1).astype(jnp.int32)
    return (raw[..., 0] > 0).astype(jnp.int32)
