"""Decision tree for classes (CART).

    model = tree_classifier.fit(x, y, n_classes=3, max_depth=5)
    labels = tree_classifier.predict(model, x_new)
    model.feature_importances                            # [d]

Letters: n rows, r new rows, d features, m nodes, c classes, o outputs.

References:
    Breiman, Friedman, Olshen and Stone, 1984. Classification and regression trees.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

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
    "predict_log_proba",
    "predict_proba",
    "pruning_path",
]


def fit(
    x: Float[Array, "n d"],
    y: Int[Array, "n"],
    *,
    n_classes: int = 2,
    criterion: str = "gini",
    splitter: str = "best",
    max_depth: int | None = None,
    min_samples_split: float | Float[Array, ""] = 2.0,
    min_samples_leaf: float | Float[Array, ""] = 1.0,
    min_weight_fraction_leaf: float | Float[Array, ""] = 0.0,
    max_features: int | float | str | None = None,
    max_leaf_nodes: int | None = None,
    min_impurity_decrease: float | Float[Array, ""] = 0.0,
    class_weight: Float[Array, "c"] | None = None,
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
        y: labels from 0 to `n_classes` - 1.
        n_classes: how many classes there are.
        criterion: what a split makes small, "gini", "entropy" or "log_loss".
        splitter: "best", or "random" for one random threshold a feature.
        max_depth: splits on the way to a leaf; None: until the leaves are pure.
        min_samples_split: rows in a node that may be split; up to 1 a share of all.
        min_samples_leaf: rows in each leaf; below 1 a share of all.
        min_weight_fraction_leaf: share of the weight in each leaf, up to 0.5.
        max_features: features that a split is searched in: their number, their share,
            "sqrt" or "log2" of it, or None for all.
        max_leaf_nodes: leaves of the tree, that grows where the gain is greatest.
        min_impurity_decrease: gain below which a node is left alone.
        class_weight: how much a row of each class counts, times `sample_weight`.
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
        row has a weight, or a weight is no number, it is one leaf of NaN.

    Raises:
        ValueError: if the data do not fit together or a parameter is out of its range.

    >>> x, y = jnp.array([[0.0], [1.0], [2.0], [3.0]]), jnp.array([0, 0, 1, 1])
    >>> model = fit(x, y)
    >>> model.tree.threshold[0], predict(model, x)
    (Array(1.5, dtype=float32), Array([0, 0, 1, 1], dtype=int32))
    """
    check.rows(x, y, sample_weight)
    check.labels(y, n_classes)
    check.one_of("criterion", criterion, cart.CLASSIFICATION)
    check.one_of("splitter", splitter, cart.SPLITTERS)
    recipe = cart.Recipe(
        criterion,
        max_features=0,
        n_classes=n_classes,
        splitter=splitter,
        max_depth=max_depth,
        max_leaf_nodes=max_leaf_nodes,
    )
    weight = sample_weight
    if class_weight is not None:
        each = class_weight.astype(x.dtype)[y]
        weight = each if weight is None else weight * each
    options = {
        "min_samples_split": min_samples_split,
        "min_samples_leaf": min_samples_leaf,
        "min_weight_fraction_leaf": min_weight_fraction_leaf,
        "min_impurity_decrease": min_impurity_decrease,
        "max_features": max_features,
        "max_nodes": max_nodes,
    }
    return tree_model.fit(
        x, y[:, None], weight, ccp_alpha, key, recipe, max_bins, options
    )


@jax.jit
def predict_proba(model: DecisionTree, x: Float[Array, "r d"]) -> Float[Array, "r c"]:
    """Shares of the classes, by weight, in the leaf of every row."""
    return model.tree.value[apply(model, x)]


@jax.jit
def predict_log_proba(
    model: DecisionTree, x: Float[Array, "r d"]
) -> Float[Array, "r c"]:
    """The logarithm of `predict_proba`; -inf for a class that is not in the leaf."""
    return jnp.log(predict_proba(model, x))


@jax.jit
def predict(model: DecisionTree, x: Float[Array, "r d"]) -> Int[Array, "r"]:
    """Label every row with the class of the greatest share; of equal ones the first."""
    return jnp.argmax(predict_proba(model, x), axis=1).astype(jnp.int32)
