"""A regressor that does not look at the features: the score that any other must beat.

    model = dummy_regressor.fit(x, y, strategy="median")
    y_hat = dummy_regressor.predict(model, x_new)

Letters: n rows, m new rows, d features, t targets.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxml.ops import check

__all__ = ["DummyRegressor", "fit", "predict"]


class DummyRegressor(NamedTuple):
    """The value that is predicted for every row."""

    constant: Float[Array, "1 t"]


def fit(
    x: Float[Array, "n d"],
    y: Float[Array, "n"] | Float[Array, "n t"],
    *,
    strategy: str = "mean",
    constant: float | Float[Array, ""] | Float[Array, "t"] | None = None,
    quantile: float | Float[Array, ""] | None = None,
    sample_weight: Float[Array, "n"] | None = None,
) -> DummyRegressor:
    """Sum up the targets in one value.

    Args:
        x: features; only their number of rows matters.
        y: targets.
        strategy: "mean", "median", "quantile" or "constant".
        constant: what "constant" predicts.
        quantile: the share of the targets below what "quantile" predicts, from 0 to 1.
        sample_weight: how much each row counts; 0 is an absent row. Default: 1. With
            weights, a quantile is the first target at which the summed weights pass
            that share, and the mean of two where they meet it; so is the median, with
            or without. Without weights, a quantile is interpolated between two targets.

    >>> x, y = jnp.zeros((3, 1)), jnp.array([1.0, 2.0, 9.0])
    >>> predict(fit(x, y, strategy="median"), x[:1])
    Array([2.], dtype=float32)

    Raises:
        ValueError: if `strategy` is unknown, or lacks its number.
    """
    check.rows(x, y, sample_weight)
    check.one_of("strategy", strategy, ("mean", "median", "quantile", "constant"))
    if strategy == "constant" and constant is None:
        raise ValueError(
            "constant must be a value for the strategy 'constant'; got None"
        )
    if strategy == "quantile" and quantile is None:
        raise ValueError(
            "quantile must be from 0 to 1 for the strategy 'quantile'; got None"
        )
    if quantile is not None:
        check.between("quantile", quantile, 0, 1)
    y = y[:, None] if y.ndim == 1 else y
    if strategy == "constant":
        value = jnp.asarray(constant, y.dtype).reshape(1, -1)
        if value.shape[1] not in (1, y.shape[1]):
            raise ValueError(
                f"constant must be one number for each of {y.shape[1]} targets; "
                f"got {value.shape[1]}"
            )
        return DummyRegressor(jnp.broadcast_to(value, (1, y.shape[1])))
    return _fit(y, sample_weight, quantile, strategy=strategy)


@partial(jax.jit, static_argnames=("strategy",))
def _fit(y, weight, quantile, *, strategy):
    ones = jnp.ones(len(y), y.dtype)
    w = ones if weight is None else weight.astype(y.dtype)
    if strategy == "mean":
        kept = jnp.where(w[:, None] > 0, y, 0)
        return DummyRegressor(
            (jnp.matmul(w, kept, precision="highest") / w.sum())[None]
        )
    if strategy == "median":
        return DummyRegressor(_quantile(y, w, 0.5)[None])
    share = jnp.asarray(quantile, y.dtype)
    if weight is None:
        return DummyRegressor(jnp.quantile(y, share, axis=0)[None])
    return DummyRegressor(_quantile(y, w, share)[None])


@jax.jit
def predict(
    model: DummyRegressor, x: Float[Array, "m d"]
) -> Float[Array, "m"] | Float[Array, "m t"]:
    """Return the value for every row: [m] for one target, else [m, t]."""
    value = jnp.broadcast_to(model.constant, (len(x), model.constant.shape[1]))
    return value[:, 0] if value.shape[1] == 1 else value


def _quantile(y, weight, share):
    """The averaged inverse of the weighted distribution of each column."""
    broken = jnp.isnan(jnp.where(weight[:, None] > 0, y, 0)).any(0)
    y = jnp.where(weight[:, None] > 0, y, jnp.inf)
    by = jnp.argsort(y, axis=0)
    y = jnp.take_along_axis(y, by, axis=0)
    summed = jnp.cumsum(jnp.where(weight > 0, weight, 0)[by], axis=0)
    level = share * summed[-1:]
    # Within rounding of the level counts as on it.
    slack = summed[-1:] * (4 * jnp.finfo(y.dtype).eps)
    low = jnp.min(y, 0, initial=jnp.inf, where=(summed >= level - slack) & (summed > 0))
    high = jnp.min(y, 0, initial=jnp.inf, where=summed > level + slack)
    high = jnp.where(jnp.isinf(high), low, high)
    return jnp.where(broken | (summed[-1] <= 0), jnp.nan, low + (high - low) / 2)
