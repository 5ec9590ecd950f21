"""What decision trees for classes and for numbers share.

`tree_classifier` and `tree_regressor` name the parameters.

Letters: n rows, r new rows, d features, m nodes, o targets, k numbers in a leaf.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from jaxml.models.classical import (
    cart,
    cart_prune,
    forest,
    forest_door,
    importance,
    tree_paths,
)
from jaxml.ops import bins
from jaxml.ops import trees as tree_ops
from jaxml.ops.trees import Trees

__all__ = ["DecisionTree", "apply", "decision_path", "fit", "pruning_path"]


class DecisionTree(NamedTuple):
    """One tree, with the field names of scikit-learn."""

    tree: Trees  # [m], value [m, k]
    feature_importances: Float[Array, "d"]  # shares of what the splits gain
    full: Bool[Array, ""]  # it had no room for all its nodes


def fit(
    x: Float[Array, "n d"],
    target: Int[Array, "n o"] | Float[Array, "n o"],
    weight: Float[Array, "n"] | None,
    ccp_alpha: float | Float[Array, ""],
    key: Key[Array, ""] | None,
    recipe: cart.Recipe,
    max_bins: int,
    options: dict[str, Any],
) -> DecisionTree:
    """Check how the tree grows, and grow it.

    Args:
        x: features.
        target: as `cart.grow` takes it.
        weight: of each row, or None for 1.
        ccp_alpha: complexity below which branches are pruned.
        key: of features and thresholds, where they are drawn, and of ties.
        recipe: criterion and sizes.
        max_bins: in how many values a feature is split at most.
        options: what is left for `forest_door.tree` to check.

    Raises:
        ValueError: if a parameter is out of its range, or `key` is missing.
    """
    recipe, limits = forest_door.tree(
        x, recipe, max_bins=max_bins, ccp_alpha=ccp_alpha, **options
    )
    random = recipe.splitter == "random" or recipe.max_features < x.shape[1]
    if random and key is None:
        raise ValueError(
            "key must be given where features or thresholds are drawn (splitter "
            "'random', or max_features below their number); got None"
        )
    recipe = recipe._replace(shuffle=key is not None)
    return _fit(
        x, target, weight, limits, ccp_alpha, key, recipe=recipe, n_bins=max_bins
    )


@partial(jax.jit, static_argnames=("recipe", "n_bins"))
def _fit(x, target, weight, limits, ccp_alpha, key, *, recipe, n_bins):
    limits = forest.counted(limits, x, weight)
    edges = bins.find(x, n_bins=n_bins, sample_weight=weight)
    codes = bins.codes(edges, x)
    weight = jnp.ones(len(x), x.dtype) if weight is None else weight
    seed = jnp.zeros(1, jnp.uint32)
    if key is not None:
        seed = jax.random.bits(key, (1,), jnp.uint32)
    grown = cart.grow(recipe, limits, codes, edges, target, weight[None], seed)
    tree, full = jax.tree.map(lambda leaf: leaf[0], tuple(grown))
    tree = cart.prune(tree, ccp_alpha)
    return DecisionTree(tree, importance.of_trees(tree, x.shape[1]), full)


@jax.jit
def apply(model: DecisionTree, x: Float[Array, "r d"]) -> Int[Array, "r"]:
    """Find the number of the leaf of every row."""
    return tree_ops.apply(model.tree, x)


@jax.jit
def decision_path(model: DecisionTree, x: Float[Array, "r d"]) -> Bool[Array, "r m"]:
    """Say which nodes every row passes, the root and its leaf included."""
    return tree_paths.decision_path(model.tree, x)


def pruning_path(model: DecisionTree) -> cart_prune.Path:
    """The subtrees that pruning leaves, for growing `ccp_alpha`.

    Fit with `ccp_alpha` of 0 before: then these are those of scikit-learn's
    `cost_complexity_pruning_path`.
    """
    return cart_prune.path(model.tree)
