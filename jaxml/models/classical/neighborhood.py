"""How a neighbour model searches and votes: its choices, reach and weights.

    choices = neighborhood.rule(len(x), n_neighbors=5, weights="distance")
    found = neighborhood.search(queries, x, sample_weight, choices)
    votes = neighborhood.influence(found.distances, choices.weights)

Letters: n stored rows, m queries, d features, k neighbours.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxml.ops import check, distance, nearest

__all__ = ["Rule", "Weights", "influence", "reach", "rule", "search"]

Weights: TypeAlias = str | Callable


@jax.tree_util.register_static
@dataclass(frozen=True)
class Rule:
    """The choices of a neighbour model: static, so part of the shape of its state."""

    n_neighbors: int = 5
    metric: distance.Metric = "minkowski"
    p: float = 2.0  # power of "minkowski"
    weights: Weights = "uniform"


def rule(
    n: int,
    *,
    n_neighbors: int = 1,
    metric: distance.Metric = "minkowski",
    p: float = 2.0,
    weights: Weights = "uniform",
) -> Rule:
    """Check the choices for `n` stored rows.

    Raises:
        ValueError: if `n_neighbors` is not from 1 to n, or the metric or the weights
            are unknown.
    """
    check.size("n_neighbors", n_neighbors, 1, n)
    distance.resolve(metric, p)
    if not callable(weights):
        check.one_of("weights", weights, ("uniform", "distance"))
    return Rule(n_neighbors, metric, p, weights)


@partial(jax.jit, static_argnames=("n_neighbors",))
def search(
    queries: Float[Array, "m d"],
    x: Float[Array, "n d"],
    sample_weight: Float[Array, "n"] | None,
    choices: Rule,
    *,
    n_neighbors: int | None = None,
) -> nearest.Nearest:
    """The nearest rows of `x` that are not absent, by a rule."""
    _check_columns(queries, x)
    return nearest.k_nearest(
        queries,
        x,
        k=choices.n_neighbors if n_neighbors is None else n_neighbors,
        metric=choices.metric,
        p=choices.p,
        present=None if sample_weight is None else sample_weight > 0,
    )


def reach(
    queries: Float[Array, "m d"],
    x: Float[Array, "n d"],
    sample_weight: Float[Array, "n"] | None,
    choices: Rule,
    *,
    radius: Float[Array, ""],
) -> Float[Array, "m n"]:
    """Distances to the rows of `x`, infinite beyond the radius and where absent."""
    _check_columns(queries, x)
    found = distance.pairwise(queries, x, metric=choices.metric, p=choices.p)
    close = found <= radius
    if sample_weight is not None:
        close = close & (sample_weight > 0)[None]
    return jnp.where(close, found, jnp.inf)


def influence(distances: Float[Array, "*s"], weights: Weights) -> Float[Array, "*s"]:
    """How much each neighbour counts, by its distance along the last axis.

    With "distance" it is 1 / distance; but neighbours at distance 0, where there are
    some, count 1 and all others nothing, as in scikit-learn. Infinitely far, it is 0.

    >>> influence(jnp.array([[0.5, 2.0], [0.0, 2.0]]), "distance")
    Array([[2. , 0.5],
           [1. , 0. ]], dtype=float32)
    """
    reached = jnp.isfinite(distances)
    safe = jnp.where(reached, distances, 1)
    if callable(weights):
        result = weights(safe)
    elif weights == "uniform":
        result = jnp.ones_like(safe)
    else:
        zero = safe == 0
        inverse = 1 / jnp.where(zero, 1, safe)
        result = jnp.where(zero.any(-1, keepdims=True), zero, inverse)
    return jnp.where(reached, result, 0).astype(distances.dtype)


def _check_columns(queries: Array, x: Array) -> None:
    if queries.ndim != 2 or queries.shape[1] != x.shape[1]:
        raise ValueError(
            f"x must have the {x.shape[1]} columns of the fit; got {queries.shape}"
        )
