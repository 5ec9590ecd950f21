"""Weighted quantiles, for the metrics that are medians.

middle = quantiles.quantile(values, weight, 0.5)

Letters: n values.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxml.ops import order

__all__ = ["quantile"]


def quantile(
    values: Float[Array, "n"],
    weight: Float[Array, "n"],
    share: float | Float[Array, ""],
) -> Float[Array, ""]:
    """The value below which `share` of the weight lies; the mean of two that do.

    Args:
        values: what to rank. NaN, unless its weight is 0, makes the quantile NaN.
        weight: how much each value counts.
        share: from 0 to 1.

    >>> quantile(jnp.array([4.0, 1.0, 2.0, 3.0]), jnp.ones(4), 0.5)
    Array(2.5, dtype=float32)
    """
    present = weight > 0
    broken = (present & jnp.isnan(values)).any() | ~present.any()
    by = order.argsort(jnp.where(present, values, jnp.nan))
    values = jnp.where(present, values, jnp.inf)[by]
    below = jnp.cumsum(jnp.where(present, weight, 0)[by])
    level = share * below[-1]
    # Within rounding of the level counts as on it.
    slack = below[-1] * (4 * jnp.finfo(below.dtype).eps)
    last = present.sum() - 1
    low = jnp.minimum(jnp.argmax((below >= level - slack) & (below > 0)), last)
    above = below > level + slack
    high = jnp.minimum(jnp.where(above.any(), jnp.argmax(above), last), last)
    both = values[low] + (values[jnp.maximum(low, high)] - values[low]) / 2
    return jnp.where(broken, jnp.nan, both)
