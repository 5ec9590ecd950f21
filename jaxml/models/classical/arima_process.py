"""The polynomials of ARMA processes: stable ones, products, and their state space.

    phi = arima_process.stable(free)              # any numbers -> a stationary AR
    model = arima_process.state_space(phi, theta)

Signs: y_t = φ₁ y_{t-1} + ... + e_t + θ₁ e_{t-1} + ... Letters: p, q orders; r states,
max(p, q + 1).

References:
    Monahan, 1984. A note on enforcing stationarity. Biometrika 71(2).
    Harvey, 1989. Forecasting, structural time series models (sec. 3.3).
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxml.models.classical import kalman

__all__ = [
    "differencing",
    "free",
    "integrated",
    "partial_of",
    "product",
    "stable",
    "state_space",
]


def stable(free: Float[Array, " p"]) -> Float[Array, " p"]:
    """Coefficients of a stationary AR from any numbers; minus them, invertible MA.

    >>> stable(jnp.array([0.75]))
    Array([0.6], dtype=float32)
    """
    # partial autocorrelations of modulus below 1, then Durbin and Levinson
    partials = free / jnp.sqrt(1 + jnp.square(free))
    phi = partials[:0]
    for k in range(len(free)):
        last = partials[k : k + 1]
        phi = jnp.concatenate([phi - last * phi[::-1], last])
    return phi


def partial_of(phi: Float[Array, " p"]) -> Float[Array, " p"]:
    """Partial autocorrelations; all of modulus below 1 if and only if stationary.

    >>> partial_of(jnp.array([0.5, 0.25])).round(4)
    Array([0.6667, 0.25  ], dtype=float32)
    """
    partials = phi
    for k in range(len(phi) - 1, 0, -1):
        last, rest = phi[k], phi[:k]
        phi = (rest + last * rest[::-1]) / (1 - jnp.square(last))
        partials = jnp.concatenate([phi, partials[k:]])
    return partials


def free(phi: Float[Array, " p"]) -> Float[Array, " p"]:
    """The numbers of which `stable` makes a stationary `phi`."""
    partials = partial_of(phi)
    return partials / jnp.sqrt(1 - jnp.square(partials))


def product(
    plain: Float[Array, " p"], seasonal: Float[Array, " m"], period: int, sign: int
) -> Float[Array, " _"]:
    """Coefficients of the product of a plain and a seasonal polynomial.

    Args:
        plain: of lags 1, 2, ...
        seasonal: of lags `period`, 2 `period`, ...
        period: steps of a season.
        sign: -1 for AR polynomials 1 - φ₁ B - ..., 1 for MA polynomials 1 + θ₁ B + ...

    >>> product(jnp.array([0.5]), jnp.array([0.2]), 3, sign=1).round(3)
    Array([0.5, 0. , 0.2, 0.1], dtype=float32)
    """
    one = jnp.ones(1, plain.dtype)
    wide = jnp.zeros((len(seasonal), max(period, 1)), plain.dtype)
    wide = wide.at[:, -1].set(seasonal).ravel()
    whole = jnp.convolve(
        jnp.concatenate([one, sign * plain]), jnp.concatenate([one, sign * wide])
    )
    return sign * whole[1:]


def differencing(d: int, seasonal_d: int, period: int, dtype) -> Float[Array, " _"]:
    """The weights c of (1 - B)^d (1 - B^period)^D y = y_t - Σ c_j y_{t-j}.

    >>> differencing(1, 1, 3, jnp.float32).astype(int)
    Array([ 1,  0,  1, -1], dtype=int32)
    """
    weights = jnp.zeros(0, dtype)
    one = jnp.ones(1, dtype)
    for _ in range(d):
        weights = product(weights, one, 1, sign=-1)
    for _ in range(seasonal_d):
        weights = product(weights, one, period, sign=-1)
    return weights


def state_space(
    phi: Float[Array, " p"], theta: Float[Array, " q"]
) -> kalman.StateSpace:
    """Harvey's form of an ARMA process with disturbances of variance 1.

    The first state is that of the stationary process.
    """
    r = max(len(phi), len(theta) + 1)
    loading = jnp.concatenate([jnp.ones(1, phi.dtype), theta])
    loading = jnp.pad(loading, (0, r - len(loading)))
    transition = jnp.eye(r, k=1, dtype=phi.dtype).at[: len(phi), 0].set(phi)
    process = jnp.outer(loading, loading)
    return kalman.StateSpace(
        transition,
        process,
        jnp.eye(r, dtype=phi.dtype)[0],
        jnp.zeros((), phi.dtype),
        jnp.zeros(r, phi.dtype),
        kalman.stationary(transition, process),
    )


def integrated(
    phi: Float[Array, " p"], theta: Float[Array, " q"], weights: Float[Array, " l"]
) -> kalman.StateSpace:
    """The series of which an ARMA process is the difference.

    The state is that of the process, then the last l values, newest first; where it
    begins is left to the caller.
    """
    inner = state_space(phi, theta)
    r, lags = len(inner.mean), len(weights)
    observation = jnp.concatenate([inner.observation, weights])
    transition = jnp.zeros((r + lags, r + lags), phi.dtype)
    transition = transition.at[:r, :r].set(inner.transition)
    if lags:
        transition = transition.at[r].set(observation)
        transition = transition.at[r + 1 :, r:-1].set(jnp.eye(lags - 1))
    return inner._replace(
        transition=transition,
        process=jnp.pad(inner.process, (0, lags)),
        observation=observation,
        mean=jnp.zeros(r + lags, phi.dtype),
        covariance=jnp.pad(inner.covariance, (0, lags)),
    )
