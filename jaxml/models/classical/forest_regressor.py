"""What the forests for numbers share, whatever their trees draw.

    model = forest_regressor.fit(x, y, splitter="best", key=key, ...)
    y_hat = forest_regressor.predict(model, x_new)

`random_forest_regressor` and `extra_trees_regressor` name the parameters.

Letters: n rows, m new rows, d features, t trees, o targets.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, Key

from jaxml.models.classical import cart, forest, forest_door, importance
from jaxml.ops import check
from jaxml.ops import trees as tree_ops
from jaxml.ops.trees import Trees

__all__ = ["ForestRegressor", "apply", "fit", "predict"]


class ForestRegressor(NamedTuple):
    """Trees whose mean is predicted."""

    trees: Trees  # [t, m], values [t, m, o]
    feature_importances: Float[Array, "d"]  # shares of what the splits gain
    oob_prediction: Float[Array, "r"] | Float[Array, "r o"]  # of r = n rows, or 0
    # without oob_score; NaN for a row that all trees have seen
    oob_score: Float[Array, ""]  # R2 of the other rows, a mean over targets, or NaN
    full: Bool[Array, "t"]  # a tree had no room for all its nodes


def fit(
    x: Float[Array, "n d"],
    y: Float[Array, "n"] | Float[Array, "n o"],
    *,
    splitter: str,
    key: Key[Array, ""],
    n_estimators: int,
    criterion: str,
    max_depth: int | None,
    min_samples_split: float | Float[Array, ""],
    min_samples_leaf: float | Float[Array, ""],
    min_weight_fraction_leaf: float | Float[Array, ""],
    max_features: int | float | str | None,
    max_leaf_nodes: int | None,
    min_impurity_decrease: float | Float[Array, ""],
    bootstrap: bool,
    oob_score: bool,
    ccp_alpha: float | Float[Array, ""],
    max_samples: int | float | Float[Array, ""] | None,
    sample_weight: Float[Array, "n"] | None,
    max_bins: int,
    max_nodes: int | None,
    mesh: Mesh | None,
    axis: str,
) -> ForestRegressor:
    """Grow the trees; see `random_forest_regressor.fit`.

    Raises:
        ValueError: if the data do not fit together or a parameter is out of its range.
    """
    check.rows(x, y, sample_weight)
    check.one_of("criterion", criterion, cart.REGRESSION)
    plan = forest.Plan(
        cart.Recipe(
            criterion,
            max_features=0,
            splitter=splitter,
            max_depth=max_depth,
            max_leaf_nodes=max_leaf_nodes,
            shuffle=True,
        ),
        n_estimators,
        bootstrap=bootstrap,
        oob=oob_score,
        max_bins=max_bins,
        mesh=mesh,
        axis=axis,
    )
    recipe, limits = forest_door.tree(
        x,
        plan.recipe,
        max_bins=max_bins,
        max_features=max_features,
        max_nodes=max_nodes,
        min_samples_split=min_samples_split,
        min_samples_leaf=min_samples_leaf,
        min_weight_fraction_leaf=min_weight_fraction_leaf,
        min_impurity_decrease=min_impurity_decrease,
        ccp_alpha=ccp_alpha,
        distinct=forest_door.forest(plan, len(x), max_samples),
    )
    plan = plan._replace(recipe=recipe, prunes=forest_door.prunes(ccp_alpha))
    numbers = (limits, ccp_alpha, max_samples)
    return _fit(x, y, sample_weight, numbers, key, plan=plan)


@partial(jax.jit, static_argnames=("plan",))
def _fit(x, y, weight, numbers, key, *, plan):
    target = y[:, None] if y.ndim == 1 else y
    grove = forest.grow(x, target, weight, *numbers, key, plan=plan)
    total, count = grove.oob_sum, grove.oob_count
    seen = (count == 0)[:, None]
    mean = jnp.where(
        seen, jnp.nan, total / jnp.maximum(count, 1).astype(x.dtype)[:, None]
    )
    score = jnp.asarray(jnp.nan, x.dtype)
    if plan.oob:
        score = importance.r2(target, mean, (count > 0).astype(x.dtype))
    mean = mean[:, 0] if mean.shape[1] == 1 else mean
    return ForestRegressor(
        grove.trees, grove.feature_importances, mean, score, grove.full
    )


@jax.jit
def predict(
    model: ForestRegressor, x: Float[Array, "m d"]
) -> Float[Array, "m"] | Float[Array, "m o"]:
    """Mean over the trees: [m] for one target, else [m, o]."""
    mean = tree_ops.sum_values(model.trees, x) / len(model.full)
    return mean[:, 0] if mean.shape[1] == 1 else mean


@jax.jit
def apply(model: ForestRegressor, x: Float[Array, "m d"]) -> Int[Array, "m t"]:
    """Find the leaf of every row in every tree."""
    return tree_ops.apply(model.trees, x)
