"""Regression by the mean of the k nearest rows.

    model = neighbors_regressor.fit(x, y, n_neighbors=5, weights="distance")
    y_hat = neighbors_regressor.predict(model, x_new)

Letters: n stored rows, m queries, d features, t targets.

References:
    Altman, 1992. An introduction to kernel and nearest-neighbor nonparametric
        regression. The American Statistician 46(3).
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxml.models.classical import neighborhood
from jaxml.ops import check, distance, nearest

__all__ = ["KNeighborsRegressor", "fit", "kneighbors", "predict"]


class KNeighborsRegressor(NamedTuple):
    """Stored rows with their targets."""

    x: Float[Array, "n d"]
    y: Float[Array, "n"] | Float[Array, "n t"]
    sample_weight: Float[Array, "n"] | None  # 0: nobody's neighbour
    rule: neighborhood.Rule


def fit(
    x: Float[Array, "n d"],
    y: Float[Array, "n"] | Float[Array, "n t"],
    *,
    n_neighbors: int = 5,
    weights: neighborhood.Weights = "uniform",
    metric: distance.Metric = "minkowski",
    p: float = 2.0,
    sample_weight: Float[Array, "n"] | None = None,
) -> KNeighborsRegressor:
    """Store rows with their targets.

    Args:
        x: rows. Distances mix the units of all features: scale them first.
        y: targets.
        n_neighbors: how many rows are averaged, from 1 to n.
        weights: "uniform"; "distance", where a row counts 1 / distance and rows at
            distance 0 overrule all others; or a function from distances
            [m, n_neighbors] to weights of the same shape.
        metric: see `jaxml.ops.distance`.
        p: power of "minkowski", above 0.
        sample_weight: multiplies the weight of a row; a row of weight 0 is nobody's
            neighbour. A weight of 2 is not a row stored twice, which would take two of
            the places.

    Returns:
        The rows and the choices.

    Raises:
        ValueError: if a size or a choice is out of range.

    >>> x, y = jnp.array([[0.0], [1.0], [9.0]]), jnp.array([0.0, 1.0, 9.0])
    >>> predict(fit(x, y, n_neighbors=2), jnp.array([[0.4], [8.0]]))
    Array([0.5, 5. ], dtype=float32)
    """
    check.rows(x, y, sample_weight)
    choices = neighborhood.rule(
        len(x), n_neighbors=n_neighbors, metric=metric, p=p, weights=weights
    )
    return KNeighborsRegressor(x, y, sample_weight, choices)


@jax.jit
def predict(
    model: KNeighborsRegressor, x: Float[Array, "m d"]
) -> Float[Array, "m"] | Float[Array, "m t"]:
    """The weighted mean of the targets of the nearest rows; NaN where there is none."""
    found = kneighbors(model, x)
    weight = neighborhood.influence(found.distances, model.rule.weights)
    if model.sample_weight is not None:
        weight = weight * model.sample_weight[found.indices]
    present = weight > 0
    weight = weight / weight.sum(1, keepdims=True)
    targets = model.y[found.indices]
    if targets.ndim == 3:
        weight, present = weight[:, :, None], present[:, :, None]
    # The target of an absent row may be NaN.
    return (weight * jnp.where(present, targets, 0)).sum(1)


@partial(jax.jit, static_argnames=("n_neighbors",))
def kneighbors(
    model: KNeighborsRegressor,
    x: Float[Array, "m d"],
    *,
    n_neighbors: int | None = None,
) -> nearest.Nearest:
    """Distances and indices of the nearest stored rows, nearest first.

    Args:
        model: stored rows.
        x: queries.
        n_neighbors: how many. Default: that of the fit.
    """
    return neighborhood.search(
        x, model.x, model.sample_weight, model.rule, n_neighbors=n_neighbors
    )
