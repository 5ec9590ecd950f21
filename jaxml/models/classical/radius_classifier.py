"""Classification by the vote of all rows within a radius.

    model = radius_classifier.fit(x, y, n_classes=3, radius=0.5)
    labels = radius_classifier.predict(model, x_new)
    shares = radius_classifier.predict_proba(model, x_new)

Letters: n stored rows, m queries, d features, k classes.

References:
    Fix and Hodges, 1951. Discriminatory analysis: nonparametric discrimination.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from jaxml.models.classical import gaussian_nb, neighborhood
from jaxml.ops import check, distance, nearest

__all__ = ["RadiusNeighborsClassifier", "fit", "predict", "predict_proba"]


class RadiusNeighborsClassifier(NamedTuple):
    """Stored rows that vote."""

    x: Float[Array, "n d"]
    y: Int[Array, "n"]
    sample_weight: Float[Array, "n"] | None  # 0: nobody's neighbour
    radius: Float[Array, ""]
    classes: Int[Array, "k"]  # 0 to k - 1
    outlier_label: Int[Array, ""] | None  # of a query that no row is near to
    rule: neighborhood.Rule


def fit(
    x: Float[Array, "n d"],
    y: Int[Array, "n"],
    *,
    n_classes: int = 2,
    radius: float | Float[Array, ""] = 1.0,
    weights: neighborhood.Weights = "uniform",
    metric: distance.Metric = "minkowski",
    p: float = 2.0,
    outlier_label: int | str | None = None,
    sample_weight: Float[Array, "n"] | None = None,
) -> RadiusNeighborsClassifier:
    """Store rows with their labels.

    Args:
        x: rows. Distances mix the units of all features: scale them first.
        y: labels from 0 to `n_classes` - 1.
        n_classes: number of classes, at least 2.
        radius: how near a row must be to vote, the border included; at least 0.
        weights: "uniform"; "distance", where a vote counts 1 / distance and rows at
            distance 0 overrule all others; or a function from distances [m, n] to votes
            of the same shape (those beyond the radius are then set to 0).
        metric: see `jaxml.ops.distance`.
        p: power of "minkowski", above 0.
        outlier_label: label of a query that no row is near to, or "most_frequent".
            Without one, `predict` says -1 and `predict_proba` NaN.
        sample_weight: how much each vote counts; 0 is an absent row. Default: 1.

    Returns:
        The rows and the choices.

    Raises:
        ValueError: if a shape is wrong, or a choice or number out of range.

    >>> x, y = jnp.array([[0.0], [1.0], [9.0]]), jnp.array([0, 0, 1])
    >>> predict(fit(x, y), jnp.array([[0.5], [8.5], [5.0]]))
    Array([ 0,  1, -1], dtype=int32)
    """
    check.rows(x, y, sample_weight)
    check.labels(y, n_classes)
    check.at_least("radius", radius, 0)
    choices = neighborhood.rule(len(x), metric=metric, p=p, weights=weights)
    label = None
    if isinstance(outlier_label, str):
        check.one_of("outlier_label", outlier_label, ("most_frequent",))
        count = gaussian_nb.members(y, n_classes, sample_weight, x.dtype).sum(1)
        label = count.argmax()
    elif outlier_label is not None:
        label = jnp.asarray(outlier_label)
    classes = jnp.arange(n_classes)
    radius = jnp.asarray(radius, x.dtype)
    return RadiusNeighborsClassifier(
        x, y, sample_weight, radius, classes, label, choices
    )


@jax.jit
def predict(
    model: RadiusNeighborsClassifier, x: Float[Array, "m d"]
) -> Int[Array, "m"]:
    """The class with the most votes; the outlier label, or -1, where nobody votes."""
    votes = _votes(model, x)
    label = -1 if model.outlier_label is None else model.outlier_label
    return jnp.where(votes.sum(1) > 0, votes.argmax(1), label)


@jax.jit
def predict_proba(
    model: RadiusNeighborsClassifier, x: Float[Array, "m d"]
) -> Float[Array, "m k"]:
    """The share of each class in the votes.

    Where nobody votes the outlier label has all (no class, if it is none of them); NaN
    if there is no such label.
    """
    votes = _votes(model, x)
    total = votes.sum(1, keepdims=True)
    if model.outlier_label is None:
        return votes / total
    outlier = (model.classes == model.outlier_label).astype(votes.dtype)
    return jnp.where(total > 0, votes / jnp.where(total > 0, total, 1), outlier[None])


def _votes(model, x):
    """Sum of the votes for each class [m, k]."""
    k = len(model.classes)
    member = gaussian_nb.members(model.y, k, model.sample_weight, model.x.dtype)

    def block(queries):
        found = neighborhood.reach(
            queries, model.x, model.sample_weight, model.rule, radius=model.radius
        )
        vote = neighborhood.influence(found, model.rule.weights)
        return jnp.matmul(vote, member.T, precision=lax.Precision.HIGHEST)

    return nearest.by_blocks(block, x, len(model.x))
