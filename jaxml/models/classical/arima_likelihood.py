"""The exact likelihood of ARMA processes over a series that is differenced first.

    arima_likelihood.loglike(y, ar=phi, seasonal_ma=theta, seasonal_d=1, period=7)

References:
    Gardner, Harvey and Phillips, 1980. Algorithm AS 154. Applied Statistics 29(3).
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxml.models.classical import arima_process, kalman

__all__ = ["coefficients", "concentrated", "differenced", "loglike"]


def loglike(
    y: Float[Array, " n"],
    *,
    ar: Float[Array, " p"] | None = None,
    ma: Float[Array, " q"] | None = None,
    seasonal_ar: Float[Array, " P"] | None = None,
    seasonal_ma: Float[Array, " Q"] | None = None,
    intercept: float | Float[Array, ""] = 0.0,
    sigma2: float | Float[Array, ""] = 1.0,
    d: int = 0,
    seasonal_d: int = 0,
    period: int = 0,
) -> Float[Array, ""]:
    """Log-likelihood of a series under given coefficients; differentiable in them.

    Args:
        y: observations, oldest first.
        ar: coefficients of lags 1, 2, ..., of a stationary process.
        ma: the same of the moving average.
        seasonal_ar: of lags `period`, 2 `period`, ...
        seasonal_ma: the same of the moving average.
        intercept: mean of the differenced series.
        sigma2: variance of the disturbances, above 0.
        d: how often the series is differenced.
        seasonal_d: how often it is differenced by `period`.
        period: steps of a season.

    Returns:
        That of the differenced series, as with statsmodels' `simple_differencing`.

    >>> y = jnp.array([1.0, -1.0])
    >>> loglike(y, ar=jnp.array([0.5])).round(4)
    Array(-3.4817, dtype=float32)
    """
    none = jnp.zeros(0, y.dtype)
    pick = lambda value: none if value is None else jnp.asarray(value, y.dtype)
    phi = arima_process.product(pick(ar), pick(seasonal_ar), period, sign=-1)
    theta = arima_process.product(pick(ma), pick(seasonal_ma), period, sign=1)
    weights = arima_process.differencing(d, seasonal_d, period, y.dtype)
    w, observed = differenced(y, jnp.ones(y.shape, bool), weights)
    space = arima_process.state_space(phi, theta)
    scale = jnp.sqrt(sigma2)
    found = kalman.filter(space, (w - intercept) / scale, observed=observed)
    return found.loglike - len(w) * jnp.log(scale)


def differenced(y, seen, weights):
    """δ(B) y, and where all that goes into a value was observed."""
    lags = len(weights)
    y = jnp.where(seen, y, 0)
    n = len(y) - lags
    w, observed = y[lags:], seen[lags:]
    for lag in range(1, lags + 1):
        before = slice(lags - lag, lags - lag + n)
        w = w - weights[lag - 1] * y[before]
        observed &= seen[before] | (weights[lag - 1] == 0)
    return w, observed


def coefficients(free, period):
    """The four sets of coefficients by name, and the two products of polynomials."""
    plain = {
        name: (1 if name.endswith("ar") else -1) * arima_process.stable(free[name])
        for name in ("ar", "ma", "seasonal_ar", "seasonal_ma")
    }
    phi = arima_process.product(plain["ar"], plain["seasonal_ar"], period, sign=-1)
    theta = arima_process.product(plain["ma"], plain["seasonal_ma"], period, sign=1)
    return plain, phi, theta


def concentrated(z, observed, phi, theta):
    """Log-likelihood at the best variance, that variance, and the filter."""
    filtered = kalman.filter(
        arima_process.state_space(phi, theta), z, observed=observed
    )
    count = jnp.maximum(observed.sum(), 1)
    square = jnp.square(filtered.innovation) / filtered.variance
    sigma2 = jnp.where(observed, square, 0).sum() / count
    wide = jnp.where(observed, jnp.log(filtered.variance), 0).sum()
    value = -0.5 * (count * (jnp.log(2 * jnp.pi * sigma2) + 1) + wide)
    return value, sigma2, filtered
