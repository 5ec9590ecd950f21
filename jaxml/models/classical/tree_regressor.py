"""Decision tree for numbers (CART), one or several for each row.

    model = tree_regressor.fit(x, y, max_depth=5)
    y_hat = tree_regressor.predict(model, x_new)
    model.feature_importances                            # [d]

Letters: n rows, r new rows, d features, m nodes, o targets.

References:
    Breiman, Friedman, Olshen and Stone, 1984. Classification and regression trees.
"""

import jax
from jaxtyping import Array, Float, Key

from jaxml.models.classical import cart, tree_model
from jaxml.models.classical.tree_model import (
    DecisionTree,
    apply,
    decision_path,
    pruning_path,
)
from jaxml.ops import check

__all__ = [
    "DecisionTree",
    "apply",
    "decision_path",
    "fit",
    "predict",
    "pruning_path",
]


def fit(
    x: Float[Array, "n d"],
    y: Float[Array, "n *o"],
    *,
    criterion: str = "squared_error",
    splitter: str = "best",
    max_depth: int | None = None,
    min_samples_split: float | Float[Array, ""] = 2.0,
    min_samples_leaf: float | Float[Array, ""] = 1.0,
    min_weight_fraction_leaf: float | Float[Array, ""] = 0.0,
    max_features: int | float | str | None = None,
    max_leaf_nodes: int | None = None,
    min_impurity_decrease: float | Float[Array, ""] = 0.0,
    ccp_alpha: float | Float[Array, ""] = 0.0,
    sample_weight: Float[Array, "n"] | None = None,
    key: Key[Array, ""] | None = None,
    max_bins: int = 255,
    max_nodes: int | None = None,
) -> DecisionTree:
    """Grow the tree.

    Of splits that gain the same (to 1e-7 of it) the one by the lowest feature is taken;
    of those the one that sends missing values right, and then the lowest threshold.

    Args:
        x: features; NaN is a missing value, and goes where the gain is greater.
        y: targets; several for each row share one tree.
        criterion: what a split makes small: "squared_error" (and "friedman_mse", the
            same), "absolute_error" around medians, or "poisson", half of the deviance
            of counts, for which no target may be below 0.
        splitter: "best", or "random" for one random threshold a feature.
        max_depth: splits on the way to a leaf; None: until the leaves are pure.
        min_samples_split: rows in a node that may be split; up to 1 a share of all.
        min_samples_leaf: rows in each leaf; below 1 a share of all.
        min_weight_fraction_leaf: share of the weight in each leaf, up to 0.5.
        max_features: features that a split is searched in: their number, their share,
            "sqrt" or "log2" of it, or None for all.
        max_leaf_nodes: leaves of the tree, that grows where the gain is greatest.
        min_impurity_decrease: gain below which a node is left alone.
        ccp_alpha: complexity below which branches are pruned.
        sample_weight: how much each row counts; 0 is an absent row. Default: 1.
        key: random key; needed with "random" or fewer than all features. With a key a
            drawn one of the features that tie splits, without one the lowest.
        max_bins: in how many values a feature is split at most; where it has no more,
            the splits are exact.
        max_nodes: room for the nodes; if it is not enough, `full` is True. Default:
            enough.

    Returns:
        The tree. Its arrays have room for more nodes than `tree.node_count`. Where no
        row has a weight, or a target or a weight is no number, or a count is below 0,
        it is one leaf of NaN.

    Raises:
        ValueError: if the data do not fit together or a parameter is out of its range.

    >>> import jax.numpy as jnp
    >>> x, y = jnp.array([[0.0], [1.0], [2.0], [3.0]]), jnp.array([1.0, 1.0, 5.0, 7.0])
    >>> model = fit(x, y, max_depth=1)
    >>> model.tree.threshold[0], predict(model, x)
    (Array(1.5, dtype=float32), Array([1., 1., 6., 6.], dtype=float32))
    """
    check.rows(x, y, sample_weight)
    if y.ndim > 2:
        raise ValueError(f"y must be [n] or [n, o]; got {list(y.shape)}")
    check.one_of("criterion", criterion, cart.REGRESSION)
    check.one_of("splitter", splitter, cart.SPLITTERS)
    recipe = cart.Recipe(
        criterion,
        max_features=0,
        splitter=splitter,
        max_depth=max_depth,
        max_leaf_nodes=max_leaf_nodes,
    )
    options = {
        "min_samples_split": min_samples_split,
        "min_samples_leaf": min_samples_leaf,
        "min_weight_fraction_leaf": min_weight_fraction_leaf,
        "min_impurity_decrease": min_impurity_decrease,
        "max_features": max_features,
        "max_nodes": max_nodes,
    }
    target = y.reshape(len(y), -1)
    return tree_model.fit(
        x, target, sample_weight, ccp_alpha, key, recipe, max_bins, options
    )


@jax.jit
def predict(model: DecisionTree, x: Float[Array, "r d"]) -> Float[Array, "r *o"]:
    """The mean target (median, for absolute errors) in the leaf of every row."""
    value = model.tree.value[apply(model, x)]
    return value[:, 0] if value.shape[1] == 1 else value
