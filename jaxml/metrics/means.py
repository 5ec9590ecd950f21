"""A weighted mean that batches and shards can merge: what most metrics are.

    total = metrics.merge(metrics.mean(values_1, weight_1), metrics.mean(values_2))
    metrics.compute(total)                                 # the mean over both

A row of weight zero is an absent row, also when its values are NaN. Counts are float32:
exact up to 2^24.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

__all__ = ["Mean", "compute", "mean", "merge", "same_shape", "spread", "weighted"]


class Mean(NamedTuple):
    """A weighted mean that can still be merged with others."""

    total: Float[Array, "*batch"]  # sum of weight times value
    weight: Float[Array, "*batch"]  # sum of the weights


def mean(
    values: Shaped[Array, "*shape"], weight: Shaped[Array, "*lead"] | None = None
) -> Mean:
    """The mean of `values`, over all their axes.

    Args:
        values: what to average; booleans count as 0 and 1.
        weight: how much each value counts, 0 is an absent value. Its axes are the
            leading axes of `values`: a weight [b] counts for all the values [b, t] of
            its row.

    Returns:
        A `Mean`; `compute` turns it into the number.

    Raises:
        ValueError: if the axes of `weight` do not lead those of `values`.

    >>> compute(mean(jnp.array([1.0, 2.0, 9.0]), jnp.array([1.0, 1.0, 0.0])))
    Array(1.5, dtype=float32)
    """
    values = values.astype(jnp.promote_types(values.dtype, jnp.float32))
    if weight is None:
        return Mean(values.sum(), jnp.asarray(values.size, values.dtype))
    weight = spread(weight, values)
    return Mean(weighted(weight, values).sum(), weight.sum())


def merge(a: Mean, b: Mean) -> Mean:
    """The mean over the values of both."""
    return Mean(a.total + b.total, a.weight + b.weight)


def compute(mean: Mean) -> Float[Array, "*batch"]:
    """The number; NaN if nothing was counted."""
    return mean.total / mean.weight


def spread(weight, values):
    """`weight` in the shape of `values`, whose leading axes it has."""
    if weight.shape != values.shape[: weight.ndim]:
        raise ValueError(
            f"weight must have the leading axes of the values {values.shape}; "
            f"got {weight.shape}"
        )
    trailing = (1,) * (values.ndim - weight.ndim)
    weight = weight.astype(jnp.promote_types(weight.dtype, jnp.float32))
    return jnp.broadcast_to(weight.reshape(weight.shape + trailing), values.shape)


def weighted(weight, values):
    """Their product, 0 where the weight is 0, whatever the value."""
    return jnp.where(weight == 0, 0.0, weight * values)


def same_shape(prediction, target):
    """Refuse a column against a row: [b, 1] less [b] would be [b, b]."""
    if prediction.shape != target.shape:
        raise ValueError(
            f"prediction must have the shape of the target {target.shape}; "
            f"got {prediction.shape}"
        )
