"""Nearest neighbours among stored rows, without targets, by exact brute force.

    model = neighbors.fit(x, n_neighbors=5)
    distances, indices = neighbors.kneighbors(model, x_new)
    close = neighbors.radius_neighbors(model, x_new, radius=0.5, max_neighbors=32)

Letters: n stored rows, m queries, d features, k neighbours.

References:
    Fix and Hodges, 1951. Discriminatory analysis: nonparametric discrimination.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxml.models.classical import neighborhood
from jaxml.ops import check, distance, nearest

__all__ = [
    "NearestNeighbors",
    "Within",
    "fit",
    "kneighbors",
    "kneighbors_graph",
    "radius_mask",
    "radius_neighbors",
]


class NearestNeighbors(NamedTuple):
    """Stored rows to search among."""

    x: Float[Array, "n d"]
    sample_weight: Float[Array, "n"] | None  # 0: nobody's neighbour
    radius: Float[Array, ""]
    rule: neighborhood.Rule


class Within(NamedTuple):
    """The stored rows within a radius of each query."""

    distances: Float[Array, "m k"]  # ascending; infinite where there are fewer than k
    indices: Int[Array, "m k"]  # meaningless where the distance is infinite
    counts: Int[Array, "m"]  # of all rows within the radius, also beyond k


def fit(
    x: Float[Array, "n d"],
    *,
    n_neighbors: int = 5,
    radius: float | Float[Array, ""] = 1.0,
    metric: distance.Metric = "minkowski",
    p: float = 2.0,
    sample_weight: Float[Array, "n"] | None = None,
) -> NearestNeighbors:
    """Store rows to search among.

    Args:
        x: rows. Distances mix the units of all features: scale them first.
        n_neighbors: default number of neighbours of `kneighbors`, from 1 to n.
        radius: default of `radius_neighbors`, at least 0.
        metric: see `jaxml.ops.distance`.
        p: power of "minkowski", above 0.
        sample_weight: 0 for an absent row; other values have no effect here.

    Returns:
        The rows and the choices.

    Raises:
        ValueError: if `n_neighbors` is not from 1 to n, `radius` is negative, or the
            metric is unknown.

    >>> model = fit(jnp.array([[0.0], [1.0], [5.0]]), n_neighbors=2)
    >>> kneighbors(model, jnp.array([[4.0]])).indices
    Array([[2, 1]], dtype=int32)
    """
    check.rows(x, None, sample_weight)
    check.at_least("radius", radius, 0)
    choices = neighborhood.rule(len(x), n_neighbors=n_neighbors, metric=metric, p=p)
    return NearestNeighbors(x, sample_weight, jnp.asarray(radius, x.dtype), choices)


@partial(jax.jit, static_argnames=("n_neighbors",))
def kneighbors(
    model: NearestNeighbors,
    x: Float[Array, "m d"] | None = None,
    *,
    n_neighbors: int | None = None,
) -> nearest.Nearest:
    """Find the nearest stored rows of each query.

    Args:
        model: stored rows.
        x: queries. Default: the stored rows, none of which is its own neighbour.
        n_neighbors: how many. Default: that of the fit.

    Returns:
        Distances and indices, nearest first; infinite distances where fewer than k
        rows are present.

    Raises:
        ValueError: if `n_neighbors` is not from 1 to n (n - 1 without queries).
    """
    k = model.rule.n_neighbors if n_neighbors is None else n_neighbors
    if x is not None:
        return neighborhood.search(
            x, model.x, model.sample_weight, model.rule, n_neighbors=k
        )
    n = len(model.x)
    check.size("n_neighbors", k, 1, n - 1)
    found = neighborhood.search(
        model.x, model.x, model.sample_weight, model.rule, n_neighbors=k + 1
    )
    own = found.indices == jnp.arange(n, dtype=found.indices.dtype)[:, None]
    # Among many copies a row may not be on its own list: then the last one goes.
    own = own.at[:, -1].set(own[:, -1] | ~own.any(1))
    column = jnp.arange(k)[None] + jnp.cumsum(own, 1)[:, :k]
    return nearest.Nearest(*(jnp.take_along_axis(a, column, 1) for a in found))


@partial(jax.jit, static_argnames=("n_neighbors", "mode"))
def kneighbors_graph(
    model: NearestNeighbors,
    x: Float[Array, "m d"] | None = None,
    *,
    n_neighbors: int | None = None,
    mode: str = "connectivity",
) -> Float[Array, "m n"]:
    """The graph from each query to its neighbours, as a dense matrix.

    Args:
        model: stored rows.
        x: as in `kneighbors`.
        n_neighbors: as in `kneighbors`.
        mode: "connectivity" (1 at each neighbour) or "distance".

    Raises:
        ValueError: if the mode is unknown, or as `kneighbors`.
    """
    check.one_of("mode", mode, ("connectivity", "distance"))
    found = kneighbors(model, x, n_neighbors=n_neighbors)
    reached = jnp.isfinite(found.distances)
    value = found.distances if mode == "distance" else jnp.ones_like(found.distances)
    m, n = len(found.indices), len(model.x)
    rows = jnp.arange(m)[:, None] + jnp.zeros_like(found.indices)
    empty = jnp.zeros((m, n), model.x.dtype)
    return empty.at[rows, found.indices].add(jnp.where(reached, value, 0))


@jax.jit
def radius_mask(
    model: NearestNeighbors,
    x: Float[Array, "m d"],
    *,
    radius: float | Float[Array, ""] | None = None,
) -> Bool[Array, "m n"]:
    """Which stored rows lie within the radius of each query, the border included.

    Args:
        model: stored rows.
        x: queries.
        radius: default: that of the fit.
    """
    radius = model.radius if radius is None else jnp.asarray(radius, model.x.dtype)

    def mask(queries):
        rule = model.rule
        return jnp.isfinite(
            neighborhood.reach(
                queries, model.x, model.sample_weight, rule, radius=radius
            )
        )

    return nearest.by_blocks(mask, x, len(model.x))


@partial(jax.jit, static_argnames=("max_neighbors",))
def radius_neighbors(
    model: NearestNeighbors,
    x: Float[Array, "m d"],
    *,
    max_neighbors: int,
    radius: float | Float[Array, ""] | None = None,
) -> Within:
    """Find the stored rows within a radius of each query, nearest first.

    Args:
        model: stored rows.
        x: queries.
        max_neighbors: columns of the result, from 1 to n. Where `counts` is larger,
            the farthest are left out.
        radius: default: that of the fit.

    Raises:
        ValueError: if `max_neighbors` is not from 1 to n.
    """
    radius = model.radius if radius is None else jnp.asarray(radius, model.x.dtype)
    found = neighborhood.search(
        x, model.x, model.sample_weight, model.rule, n_neighbors=max_neighbors
    )
    close = found.distances <= radius
    counts = radius_mask(model, x, radius=radius).sum(1)
    return Within(jnp.where(close, found.distances, jnp.inf), found.indices, counts)
