"""Extremely randomized trees for numbers: thresholds drawn, the best taken.

    model = extra_trees_regressor.fit(x, y, key=key)
    y_hat = extra_trees_regressor.predict(model, x_new)
    model.feature_importances                            # [d]

Letters: n rows, m new rows, d features, t trees, o targets.

References:
    Geurts, Ernst and Wehenkel, 2006. Extremely randomized trees. Machine
        Learning 63.
"""

from jax.sharding import Mesh
from jaxtyping import Array, Float, Key

from jaxml.models.classical import forest_regressor
from jaxml.models.classical.forest_regressor import ForestRegressor, apply, predict

__all__ = ["ForestRegressor", "apply", "fit", "predict"]


def fit(
    x: Float[Array, "n d"],
    y: Float[Array, "n"] | Float[Array, "n o"],
    *,
    key: Key[Array, ""],
    n_estimators: int = 100,
    criterion: str = "squared_error",
    max_depth: int | None = None,
    min_samples_split: float | Float[Array, ""] = 2.0,
    min_samples_leaf: float | Float[Array, ""] = 1.0,
    min_weight_fraction_leaf: float | Float[Array, ""] = 0.0,
    max_features: int | float | str | None = 1.0,
    max_leaf_nodes: int | None = None,
    min_impurity_decrease: float | Float[Array, ""] = 0.0,
    bootstrap: bool = False,
    oob_score: bool = False,
    ccp_alpha: float | Float[Array, ""] = 0.0,
    max_samples: int | float | Float[Array, ""] | None = None,
    sample_weight: Float[Array, "n"] | None = None,
    max_bins: int = 255,
    max_nodes: int | None = None,
    mesh: Mesh | None = None,
    axis: str = "data",
) -> ForestRegressor:
    """Grow the trees.

    Args:
        x: features; NaN is a missing value.
        y: targets, one or o of them a row.
        key: random key, of the thresholds and of the features looked at.
        n_estimators: how many trees there are.
        criterion: what a split makes small: "squared_error", "absolute_error",
            "friedman_mse" or "poisson".
        max_depth: of each tree; None: until the leaves are pure.
        min_samples_split: rows in a node that may be split; up to 1 a share of all.
        min_samples_leaf: rows in each leaf; below 1 a share of all.
        min_weight_fraction_leaf: share of the weight in each leaf, up to 0.5.
        max_features: features that a split is searched in: their number, their share,
            "sqrt" or "log2" of it, or None for all.
        max_leaf_nodes: leaves of a tree, that grows where the gain is greatest.
        min_impurity_decrease: gain below which a node is left alone.
        bootstrap: whether each tree sees rows drawn with replacement, in proportion to
            their weights; else all rows.
        oob_score: whether each row is judged by the trees that did not see it.
        ccp_alpha: complexity below which branches are pruned.
        max_samples: how many rows are drawn for a tree; a float is a share.
        sample_weight: how much each row counts; 0 is an absent row. Default: 1.
        max_bins: in how many values a feature is split at most; where it has no more,
            the splits are exact.
        max_nodes: room for the nodes of a tree; a tree that fills it up is marked in
            `full`. Default: enough.
        mesh: devices over which the trees are spread, each with all rows. The forest is
            the same.
        axis: axis of the mesh.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> x, y = jnp.array([[0.0], [1.0], [2.0], [3.0]]), jnp.array([0.0, 0.0, 1.0, 1.0])
    >>> model = fit(x, y, key=jax.random.key(0), n_estimators=8)
    >>> predict(model, x).round()
    Array([0., 0., 1., 1.], dtype=float32)

    Raises:
        ValueError: if the data do not fit together or a parameter is out of its range.
    """
    return forest_regressor.fit(
        x,
        y,
        splitter="random",
        key=key,
        n_estimators=n_estimators,
        criterion=criterion,
        max_depth=max_depth,
        min_samples_split=min_samples_split,
        min_samples_leaf=min_samples_leaf,
        min_weight_fraction_leaf=min_weight_fraction_leaf,
        max_features=max_features,
        max_leaf_nodes=max_leaf_nodes,
        min_impurity_decrease=min_impurity_decrease,
        bootstrap=bootstrap,
        oob_score=oob_score,
        ccp_alpha=ccp_alpha,
        max_samples=max_samples,
        sample_weight=sample_weight,
        max_bins=max_bins,
        max_nodes=max_nodes,
        mesh=mesh,
        axis=axis,
    )
