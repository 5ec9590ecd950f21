"""Classification by the vote of the k nearest rows.

    model = neighbors_classifier.fit(x, y, n_classes=3, n_neighbors=5)
    labels = neighbors_classifier.predict(model, x_new)
    shares = neighbors_classifier.predict_proba(model, x_new)

Letters: n stored rows, m queries, d features, k classes.

References:
    Cover and Hart, 1967. Nearest neighbor pattern classification. IEEE Trans. Inf.
        Theory 13(1).
    Dudani, 1976. The distance-weighted k-nearest-neighbor rule. IEEE Trans. SMC 6(4).
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxml.models.classical import neighborhood
from jaxml.ops import check, distance, nearest

__all__ = ["KNeighborsClassifier", "fit", "kneighbors", "predict", "predict_proba"]


class KNeighborsClassifier(NamedTuple):
    """Stored rows that vote."""

    x: Float[Array, "n d"]
    y: Int[Array, "n"]
    sample_weight: Float[Array, "n"] | None  # 0: nobody's neighbour
    classes: Int[Array, "k"]  # 0 to k - 1
    rule: neighborhood.Rule


def fit(
    x: Float[Array, "n d"],
    y: Int[Array, "n"],
    *,
    n_classes: int = 2,
    n_neighbors: int = 5,
    weights: neighborhood.Weights = "uniform",
    metric: distance.Metric = "minkowski",
    p: float = 2.0,
    sample_weight: Float[Array, "n"] | None = None,
) -> KNeighborsClassifier:
    """Store rows with their labels.

    Args:
        x: rows. Distances mix the units of all features: scale them first.
        y: labels from 0 to `n_classes` - 1.
        n_classes: number of classes, at least 2.
        n_neighbors: how many rows vote, from 1 to n.
        weights: "uniform"; "distance", where a vote counts 1 / distance and rows at
            distance 0 overrule all others; or a function from distances
            [m, n_neighbors] to votes of the same shape.
        metric: see `jaxml.ops.distance`.
        p: power of "minkowski", above 0.
        sample_weight: multiplies the vote of a row; a row of weight 0 is nobody's
            neighbour. A weight of 2 is not a row stored twice, which would take two of
            the places.

    Returns:
        The rows and the choices.

    Raises:
        ValueError: if a size or a choice is out of range.

    >>> x, y = jnp.array([[0.0], [1.0], [9.0]]), jnp.array([0, 0, 1])
    >>> predict_proba(fit(x, y, n_neighbors=2), jnp.array([[0.4], [8.0]]))
    Array([[1. , 0. ],
           [0.5, 0.5]], dtype=float32)
    """
    check.rows(x, y, sample_weight)
    check.labels(y, n_classes)
    choices = neighborhood.rule(
        len(x), n_neighbors=n_neighbors, metric=metric, p=p, weights=weights
    )
    return KNeighborsClassifier(x, y, sample_weight, jnp.arange(n_classes), choices)


@jax.jit
def predict(model: KNeighborsClassifier, x: Float[Array, "m d"]) -> Int[Array, "m"]:
    """The class with the most votes; ties go to the lower one."""
    return _votes(model, x).argmax(1)


@jax.jit
def predict_proba(
    model: KNeighborsClassifier, x: Float[Array, "m d"]
) -> Float[Array, "m k"]:
    """The share of each class in the votes; NaN where no stored row is present."""
    votes = _votes(model, x)
    return votes / votes.sum(1, keepdims=True)


@partial(jax.jit, static_argnames=("n_neighbors",))
def kneighbors(
    model: KNeighborsClassifier,
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


def _votes(model: KNeighborsClassifier, x: Array) -> Array:
    """Sum of the votes for each class [m, k]."""
    found = kneighbors(model, x)
    vote = neighborhood.influence(found.distances, model.rule.weights)
    if model.sample_weight is not None:
        vote = vote * model.sample_weight[found.indices]
    for_class = model.y[found.indices][:, :, None] == model.classes[None, None]
    return jnp.where(for_class, vote[:, :, None], 0).sum(1)
