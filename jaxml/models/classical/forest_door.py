"""What models of trees check before they grow, and the sizes that follow from the data.

    recipe, limits = forest_door.tree(x, recipe, max_features="sqrt", ...)
    forest_door.forest(plan, max_samples)

Letters: n rows, d features.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxml.models.classical import cart
from jaxml.models.classical.forest import Plan
from jaxml.ops import check, native

__all__ = ["capacity", "features", "forest", "prunes", "tree"]


def tree(
    x: Float[Array, "n d"],
    recipe: cart.Recipe,
    *,
    max_bins: int,
    max_features: int | float | str | None,
    max_nodes: int | None,
    min_samples_split: float | Float[Array, ""],
    min_samples_leaf: float | Float[Array, ""],
    min_weight_fraction_leaf: float | Float[Array, ""],
    min_impurity_decrease: float | Float[Array, ""],
    ccp_alpha: float | Float[Array, ""],
    distinct: int | None = None,
) -> tuple[cart.Recipe, cart.Limits]:
    """Check how the trees of a model grow, and fill in what the shape of `x` says.

    Args:
        x: features.
        recipe: without `max_features`, `max_nodes` and `native`.
        max_bins: of the features.
        max_features: as `features` takes it.
        max_nodes: room for the nodes of a tree, or None for enough.
        min_samples_split: of the limits.
        min_samples_leaf: of the limits.
        min_weight_fraction_leaf: of the limits.
        min_impurity_decrease: of the limits.
        ccp_alpha: of the pruning.
        distinct: how many rows a tree sees at most, if not n.

    Raises:
        ValueError: saying what is right and what came.
    """
    check.size("max_bins", max_bins, 2)
    if recipe.max_depth is not None:
        check.size("max_depth", recipe.max_depth, 0)
    if recipe.max_leaf_nodes is not None:
        check.size("max_leaf_nodes", recipe.max_leaf_nodes, 2)
    if max_nodes is not None:
        check.size("max_nodes", max_nodes, 1)
    check.above("min_samples_split", min_samples_split, 0)
    check.above("min_samples_leaf", min_samples_leaf, 0)
    check.between("min_weight_fraction_leaf", min_weight_fraction_leaf, 0, 0.5)
    check.at_least("min_impurity_decrease", min_impurity_decrease, 0)
    check.at_least("ccp_alpha", ccp_alpha, 0)
    n, d = x.shape
    recipe = recipe._replace(
        max_features=features(max_features, d),
        max_nodes=max_nodes or capacity(distinct or n, recipe),
        native=native.enabled("cart"),
    )
    numbers = (
        min_samples_split,
        min_samples_leaf,
        min_weight_fraction_leaf,
        min_impurity_decrease,
    )
    return recipe, cart.Limits(*(jnp.asarray(number, x.dtype) for number in numbers))


def forest(
    plan: Plan, n: int, max_samples: int | float | Float[Array, ""] | None
) -> int:
    """Check what is a forest's own.

    Args:
        plan: sizes and choices.
        n: number of rows.
        max_samples: draws of a bootstrap.

    Returns:
        How many rows a tree sees at most.

    Raises:
        ValueError: saying what is right and what came.
    """
    check.size("n_estimators", plan.n_estimators, 1)
    if max_samples is not None:
        check.above("max_samples", max_samples, 0)
    for name, asked in (
        ("oob_score", plan.oob),
        ("max_samples", max_samples is not None),
    ):
        if asked and not plan.bootstrap:
            raise ValueError(f"bootstrap must be True for {name}; got False")
    if plan.mesh is not None:
        axes = tuple(plan.mesh.shape)
        if plan.axis not in axes:
            raise ValueError(
                f"axis must be one of those of the mesh, {axes}; got {plan.axis!r}"
            )
        devices = plan.mesh.shape[plan.axis]
        if plan.n_estimators % devices:
            raise ValueError(
                f"n_estimators must be a multiple of the {devices} devices of the axis "
                f"{plan.axis!r}; got {plan.n_estimators}"
            )
    if plan.bootstrap and isinstance(max_samples, int):
        return min(n, max_samples)
    if plan.bootstrap and max_samples is None:
        # Ten standard deviations above the mean number of distinct rows.
        return min(n, math.ceil((1 - math.exp(-1)) * n + 3 * math.sqrt(n)))
    return n


def prunes(ccp_alpha: float | Float[Array, ""]) -> bool:
    """Whether branches may be pruned; the program without is quicker."""
    return not (isinstance(ccp_alpha, int | float) and ccp_alpha == 0)


def features(max_features: int | float | str | None, d: int) -> int:
    """How many features a node looks at.

    >>> features("sqrt", 9), features(0.5, 9), features(None, 9), features(2, 9)
    (3, 4, 9, 2)

    Raises:
        ValueError: if it is none of "sqrt", "log2", None, 1 to d, or a share to 1.0.
    """
    words = {"sqrt": math.sqrt, "log2": math.log2}
    if max_features is None:
        return d
    if isinstance(max_features, str) and max_features in words:
        return max(1, int(words[max_features](d)))
    if isinstance(max_features, int) and 1 <= max_features <= d:
        return max_features
    if isinstance(max_features, float) and 0 < max_features <= 1:
        return max(1, int(max_features * d))
    raise ValueError(
        f"max_features must be 'sqrt', 'log2', None, an int from 1 to {d}, or a share "
        f"above 0.0 up to 1.0; got {max_features!r}"
    )


def capacity(n: int, recipe: cart.Recipe) -> int:
    """Nodes that no tree over n rows needs more of."""
    nodes = 2 * n - 1
    if recipe.max_depth is not None and recipe.max_depth < 31:
        nodes = min(nodes, 2 ** (recipe.max_depth + 1) - 1)
    if recipe.max_leaf_nodes is not None:
        nodes = min(nodes, 2 * recipe.max_leaf_nodes - 1)
    return nodes
