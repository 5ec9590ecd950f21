"""Scale, impute and encode features: fit on the training rows, transform the others.

    scaler = preprocess.fit(x, sample_weight=weight)
    z = preprocess.transform(scaler, x_new)

Data too large for one array: `solve(merge(stats(a), stats(b)))` equals the fit of both.
NaN is a missing value: fits leave it out, transforms keep it. A row of weight zero is
absent. Letters: n rows; d features, one axis or several.

References:
    Chan, Golub and LeVeque, 1983. Algorithms for computing the sample variance:
    analysis and recommendations. Am. Stat. 37(3).
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

__all__ = [
    "Moments",
    "Scaler",
    "encode",
    "fit",
    "fit_range",
    "impute",
    "inverse",
    "medians",
    "merge",
    "one_hot",
    "solve",
    "solve_range",
    "stats",
    "transform",
]

AnyArray = Array | np.ndarray


class Moments(NamedTuple):
    """What scalers need to know of the rows, feature by feature."""

    weight: Float[Array, "*d"]  # sum of the weights of the values that are not NaN
    mean: Float[Array, "*d"]
    square: Float[Array, "*d"]  # weighted sum of squared distances to the mean
    low: Float[Array, "*d"]  # least value; +inf where there is none
    high: Float[Array, "*d"]  # greatest value; -inf where there is none


class Scaler(NamedTuple):
    """A feature x becomes (x - center) / scale."""

    center: Float[Array, "*d"]
    scale: Float[Array, "*d"]


@jax.jit
def fit(
    x: Float[AnyArray, "n *d"], *, sample_weight: Float[AnyArray, "n"] | None = None
) -> Scaler:
    """Fit a scaler to mean 0 and variance 1.

    Args:
        x: rows.
        sample_weight: how much each row counts. Default: 1.

    Returns:
        The scaler. A constant feature keeps its unit: scale 1.

    >>> scaler = fit(jnp.array([[1.0, 5.0], [3.0, 5.0]]))
    >>> transform(scaler, jnp.array([[3.0, 6.0]]))
    Array([[1., 1.]], dtype=float32)
    """
    return solve(stats(x, sample_weight))


@jax.jit
def fit_range(
    x: Float[AnyArray, "n *d"],
    low: float | Float[AnyArray, ""] = 0.0,
    high: float | Float[AnyArray, ""] = 1.0,
    *,
    sample_weight: Float[AnyArray, "n"] | None = None,
) -> Scaler:
    """Fit a scaler that maps each feature onto `low` to `high`.

    Args:
        x: rows.
        low: image of the least value.
        high: image of the greatest, more than `low`.
        sample_weight: a row of weight zero is absent; else it makes no difference.
    """
    return solve_range(stats(x, sample_weight), low, high)


@jax.jit
def stats(
    x: Float[AnyArray, "n *d"], weight: Float[AnyArray, "n"] | None = None
) -> Moments:
    """Sum up the rows of `x` in what `solve` and `solve_range` need.

    Args:
        x: rows.
        weight: how much each row counts. Default: 1.
    """
    x = jnp.asarray(x)
    if weight is None:
        w = jnp.ones_like(x)
    else:
        w = jnp.broadcast_to(
            jnp.asarray(weight, x.dtype).reshape(-1, *[1] * (x.ndim - 1)), x.shape
        )
    present = (w > 0) & ~jnp.isnan(x)
    w = jnp.where(present, w, 0)
    x = jnp.where(present, x, 0)
    total = w.sum(0)
    safe = jnp.where(total > 0, total, 1)
    mean = (w * x).sum(0) / safe
    # The mean is rounded; the mean of the distances to it is what it lacks.
    distance = jnp.where(present, x - mean[None], 0)
    rest = (w * distance).sum(0) / safe
    square = (w * distance**2).sum(0) - total * rest**2
    low = jnp.min(x, 0, initial=jnp.inf, where=present)
    high = jnp.max(x, 0, initial=-jnp.inf, where=present)
    return Moments(total, mean + rest, jnp.maximum(square, 0), low, high)


@jax.jit
def merge(a: Moments, b: Moments) -> Moments:
    """Return the moments of the rows of both.

    Args:
        a: moments of some rows.
        b: moments of other rows.
    """
    total = a.weight + b.weight
    share = b.weight / jnp.where(total > 0, total, 1)
    gap = b.mean - a.mean
    return Moments(
        total,
        a.mean + gap * share,
        a.square + b.square + gap**2 * a.weight * share,  # Chan, eq. 2.1b
        jnp.minimum(a.low, b.low),
        jnp.maximum(a.high, b.high),
    )


@jax.jit
def solve(moments: Moments) -> Scaler:
    """Return the scaler to mean 0 and variance 1 (of the population, not the sample).

    Args:
        moments: of the rows.
    """
    # low and high are exact, a variance is not: they tell what is constant
    varies = moments.high > moments.low
    variance = moments.square / jnp.where(varies, moments.weight, 1)
    return Scaler(moments.mean, jnp.sqrt(jnp.where(varies, variance, 1)))


@jax.jit
def solve_range(
    moments: Moments,
    low: float | Float[AnyArray, ""] = 0.0,
    high: float | Float[AnyArray, ""] = 1.0,
) -> Scaler:
    """Return the scaler that maps each feature onto `low` to `high`.

    Args:
        moments: of the rows.
        low: image of the least value.
        high: image of the greatest, more than `low`.
    """
    seen = moments.weight > 0
    least = jnp.where(seen, moments.low, 0)
    span = jnp.where(moments.high > moments.low, moments.high - least, 1)
    scale = span / (high - low)
    return Scaler(least - low * scale, scale)


@jax.jit
def transform(scaler: Scaler, x: Float[AnyArray, "n *d"]) -> Float[Array, "n *d"]:
    """Scale the rows of `x`."""
    return (jnp.asarray(x) - scaler.center[None]) / scaler.scale[None]


@jax.jit
def inverse(scaler: Scaler, z: Float[AnyArray, "n *d"]) -> Float[Array, "n *d"]:
    """Undo `transform`."""
    return jnp.asarray(z) * scaler.scale[None] + scaler.center[None]


@jax.jit
def medians(
    x: Float[AnyArray, "n d"], *, sample_weight: Float[AnyArray, "n"] | None = None
) -> Float[Array, "d"]:
    """Return the weighted median of each feature, NaN left out.

    Args:
        x: rows.
        sample_weight: how much each row counts. Default: 1.

    Returns:
        The values that halve the weight (the middle of two); NaN where none is present.

    >>> medians(jnp.array([[1.0], [jnp.nan], [3.0], [9.0]]))
    Array([3.], dtype=float32)
    """
    x = jnp.asarray(x)
    weight = jnp.ones(len(x), x.dtype) if sample_weight is None else sample_weight
    weight = jnp.broadcast_to(jnp.asarray(weight, x.dtype)[:, None], x.shape)
    present = (weight > 0) & ~jnp.isnan(x)
    order = jnp.argsort(jnp.where(present, x, jnp.inf), axis=0)
    x = jnp.take_along_axis(x, order, 0)
    up_to = jnp.take_along_axis(jnp.where(present, weight, 0), order, 0).cumsum(0)
    half = up_to[-1:] / 2
    lower = jnp.take_along_axis(x, (up_to >= half).argmax(0)[None], 0)[0]
    upper = jnp.take_along_axis(x, (up_to > half).argmax(0)[None], 0)[0]
    return jnp.where(present.any(0), lower + (upper - lower) / 2, jnp.nan)


@jax.jit
def impute(
    fill: Float[AnyArray, "d"], x: Float[AnyArray, "n d"]
) -> Float[Array, "n d"]:
    """Replace each NaN in `x` by the value of its feature in `fill`.

    Args:
        fill: a value for each feature, as of `medians`.
        x: rows.
    """
    return jnp.where(jnp.isnan(x), fill[None], x)


def encode(
    words: Shaped[np.ndarray, "n"], categories: Sequence[str]
) -> Int[np.ndarray, "n"]:
    """Return the place of each word in `categories`, on the host.

    Args:
        words: strings.
        categories: all that may come.

    Raises:
        ValueError: if a word is none of them; names the first.

    >>> encode(np.array(["b", "a", "b"]), ("a", "b"))
    array([1, 0, 1], dtype=int32)
    """
    codes = np.full(len(words), -1, np.int32)
    for code, category in enumerate(categories):
        codes[words == category] = code
    if (codes < 0).any():
        row = int(np.argmax(codes < 0))
        raise ValueError(
            f"words must be of {tuple(categories)}; row {row} has {str(words[row])!r}"
        )
    return codes


@partial(jax.jit, static_argnames=("num_categories",))
def one_hot(
    codes: Int[AnyArray, "n"], num_categories: int
) -> Float[Array, "n num_categories"]:
    """Return a column for each category: 1 where the code is its number, else 0.

    Args:
        codes: from 0 to `num_categories` - 1. Any other is a row of zeros.
        num_categories: number of columns.

    >>> one_hot(jnp.array([1, 0]), 3)
    Array([[0., 1., 0.],
           [1., 0., 0.]], dtype=float32)
    """
    return jax.nn.one_hot(codes, num_categories)
