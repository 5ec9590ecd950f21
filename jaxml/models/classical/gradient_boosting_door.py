"""What gradient boosting checks before it fits, whatever the targets are.

    model = gradient_boosting_door.fit(x, y, sample_weight, plan, key=None, ...)

Letters: n rows, d features.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxml.models.classical import forest_door
from jaxml.models.classical.gradient_boosting import (
    GradientBoosting,
    Numbers,
    Plan,
    boost,
)
from jaxml.ops import check

__all__ = ["fit"]


def fit(
    x: Float[Array, "n d"],
    y: Float[Array, "n"] | Int[Array, "n"],
    weight: Float[Array, "n"] | None,
    plan: Plan,
    *,
    key: Key[Array, ""] | None,
    init: str | None,
    learning_rate: float | Float[Array, ""],
    alpha: float | Float[Array, ""],
    subsample: float | Float[Array, ""],
    validation_fraction: float | Float[Array, ""],
    tol: float | Float[Array, ""],
    ccp_alpha: float | Float[Array, ""],
    max_features: int | float | str | None,
    min_samples_split: float | Float[Array, ""],
    min_samples_leaf: float | Float[Array, ""],
    min_weight_fraction_leaf: float | Float[Array, ""],
    min_impurity_decrease: float | Float[Array, ""],
) -> GradientBoosting:
    """Check what both kinds of targets share, and fit; see the modules of the kinds.

    Raises:
        ValueError: saying what is right and what came.
    """
    check.size("n_estimators", plan.n_estimators, 1)
    check.one_of("init", init, (None, "zero"))
    check.above("learning_rate", learning_rate, 0)
    check.above("subsample", subsample, 0)
    check.between("subsample", subsample, 0, 1)
    check.between("validation_fraction", validation_fraction, 0, 1)
    check.at_least("tol", tol, 0)
    if plan.patience is not None:
        check.size("n_iter_no_change", plan.patience, 1)
    recipe, limits = forest_door.tree(
        x,
        plan.recipe,
        max_bins=plan.max_bins,
        max_features=max_features,
        max_nodes=None,
        min_samples_split=min_samples_split,
        min_samples_leaf=min_samples_leaf,
        min_weight_fraction_leaf=min_weight_fraction_leaf,
        min_impurity_decrease=min_impurity_decrease,
        ccp_alpha=ccp_alpha,
    )
    sampled = not (isinstance(subsample, int | float) and subsample == 1)
    drawn = {
        "subsample": sampled,
        "max_features": recipe.max_features < x.shape[1],
        "n_iter_no_change": plan.patience is not None,
    }
    if key is None and any(drawn.values()):
        asked = " and ".join(name for name, draws in drawn.items() if draws)
        raise ValueError(f"key must be a random key, for {asked}; got None")
    prunes = forest_door.prunes(ccp_alpha)
    plan = plan._replace(recipe=recipe, sampled=sampled, prunes=prunes)
    given = (learning_rate, alpha, subsample, validation_fraction, tol, ccp_alpha)
    numbers = Numbers(*(jnp.asarray(number, x.dtype) for number in given))
    key = jax.random.key(0) if key is None else key  # of which nothing is drawn
    return boost(x, y, weight, numbers, limits, key, plan=plan)
