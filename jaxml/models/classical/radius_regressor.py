"""Regression by the mean of all rows within a radius.

    model = radius_regressor.fit(x, y, radius=0.5, weights="distance")
    y_hat = radius_regressor.predict(model, x_new)

Letters: n stored rows, m queries, d features, t targets.

References:
    Altman, 1992. An introduction to kernel and nearest-neighbor nonparametric
        regression. The American Statistician 46(3).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxml.models.classical import neighborhood
from jaxml.ops import check, distance, nearest

__all__ = ["RadiusNeighborsRegressor", "fit", "predict"]


class RadiusNeighborsRegressor(NamedTuple):
    """Stored rows with their targets."""

    x: Float[Array, "n d"]
    y: Float[Array, "n"] | Float[Array, "n t"]
    sample_weight: Float[Array, "n"] | None  # 0: nobody's neighbour
    radius: Float[Array, ""]
    rule: neighborhood.Rule


def fit(
    x: Float[Array, "n d"],
    y: Float[Array, "n"] | Float[Array, "n t"],
    *,
    radius: float | Float[Array, ""] = 1.0,
    weights: neighborhood.Weights = "uniform",
    metric: distance.Metric = "minkowski",
    p: float = 2.0,
    sample_weight: Float[Array, "n"] | None = None,
) -> RadiusNeighborsRegressor:
    """Store rows with their targets.

    Args:
        x: rows. Distances mix the units of all features: scale them first.
        y: targets.
        radius: how near a row must be to count, the border included; at least 0.
        weights: "uniform"; "distance", where a row counts 1 / distance and rows at
            distance 0 overrule all others; or a function from distances [m, n] to
            weights of the same shape (those beyond the radius are then set to 0).
        metric: see `jaxml.ops.distance`.
        p: power of "minkowski", above 0.
        sample_weight: how much each row counts; 0 is an absent row. Default: 1.

    Returns:
        The rows and the choices.

    Raises:
        ValueError: if a shape is wrong, or a choice or number out of range.

    >>> x, y = jnp.array([[0.0], [1.0], [9.0]]), jnp.array([0.0, 1.0, 9.0])
    >>> predict(fit(x, y), jnp.array([[0.5], [8.5], [5.0]]))
    Array([0.5, 9. , nan], dtype=float32)
    """
    check.rows(x, y, sample_weight)
    check.at_least("radius", radius, 0)
    choices = neighborhood.rule(len(x), metric=metric, p=p, weights=weights)
    radius = jnp.asarray(radius, x.dtype)
    return RadiusNeighborsRegressor(x, y, sample_weight, radius, choices)


@jax.jit
def predict(
    model: RadiusNeighborsRegressor, x: Float[Array, "m d"]
) -> Float[Array, "m"] | Float[Array, "m t"]:
    """The weighted mean of the targets within the radius; NaN where there is none."""
    targets = model.y.reshape(len(model.x), -1)
    if model.sample_weight is not None:
        # The target of an absent row may be NaN.
        targets = jnp.where((model.sample_weight > 0)[:, None], targets, 0)

    def block(queries):
        found = neighborhood.reach(
            queries, model.x, model.sample_weight, model.rule, radius=model.radius
        )
        weight = neighborhood.influence(found, model.rule.weights)
        if model.sample_weight is not None:
            weight = weight * model.sample_weight[None]
        total = jnp.matmul(weight, targets, precision=lax.Precision.HIGHEST)
        return total / weight.sum(1, keepdims=True)

    result = nearest.by_blocks(block, x, len(model.x))
    return result.reshape(len(x), *model.y.shape[1:])
