"""Autoregressive moving-average forecasts, with differences and seasons.

    model = arima.fit(y, order=(1, 0, 0), seasonal_order=(0, 1, 1, 7))
    mean, deviation = arima.forecast(model, steps=14)

The likelihood is exact: a Kalman filter over the differenced series, which begins as
the stationary process does. AR, MA, ARMA and ARIMA are orders with zeros. `y` is
standardised inside, so its unit does not matter. Rows are steps of time: they can't be
reordered, and a weight of zero is a gap that the filter steps over.

Letters: n steps; p, d, q orders; P, D, Q orders of the season; r states; l lags that
the differences reach back; h steps ahead.

References:
    Box and Jenkins, 1970. Time series analysis: forecasting and control.
    Gardner, Harvey and Phillips, 1980. Algorithm AS 154. Applied Statistics 29(3).
    Harvey, 1989. Forecasting, structural time series models (sec. 3.3 to 3.5).
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxml.models.classical import arima_likelihood, arima_process, arima_start, kalman
from jaxml.ops import check
from jaxml.optim import lbfgs

__all__ = ["ARIMA", "Forecast", "fit", "forecast", "predict", "update"]

Order = tuple[int, int, int]
SeasonalOrder = tuple[int, int, int, int]


class ARIMA(NamedTuple):
    """φ(B) Φ(B^s) (δ(B) y - intercept) = θ(B) Θ(B^s) e, e ~ N(0, sigma2)."""

    ar: Float[Array, " p"]
    ma: Float[Array, " q"]
    seasonal_ar: Float[Array, " P"]
    seasonal_ma: Float[Array, " Q"]
    intercept: Float[Array, ""]  # mean of the differenced series
    sigma2: Float[Array, ""]
    loglike: Float[Array, ""]  # of the differenced series
    phi: Float[Array, " u"]  # both AR polynomials together
    theta: Float[Array, " v"]  # both MA polynomials together
    differencing: Float[Array, " l"]  # δ(B) y = y_t - Σ differencing_j y_{t-j}
    state: Float[Array, " r"]  # of the filter, before the next step
    covariance: Float[Array, "r r"]  # of the state, in units of sigma2
    last: Float[Array, " l"]  # values of y, newest first
    n_iter: Int[Array, ""]
    converged: Bool[Array, ""]


class Forecast(NamedTuple):
    """What is to come."""

    mean: Float[Array, " h"]
    deviation: Float[Array, " h"]  # standard deviation of the error


def fit(
    y: Float[Array, " n"],
    *,
    order: Order = (1, 0, 0),
    seasonal_order: SeasonalOrder = (0, 0, 0, 0),
    fit_intercept: bool | None = None,
    start: dict[str, Float[Array, " _"]] | None = None,
    sample_weight: Float[Array, " n"] | None = None,
    tol: float | Float[Array, ""] = 1e-5,
    max_iter: int = 200,
) -> ARIMA:
    """Fit by maximum likelihood.

    Args:
        y: observations at equal distances of time, oldest first.
        order: p, d, q.
        seasonal_order: P, D, Q, and the steps of a season.
        fit_intercept: whether the differenced series has a mean other than 0. Default:
            only where nothing is differenced.
        start: coefficients to begin from, by their field in `ARIMA`: "ar", "ma",
            "seasonal_ar", "seasonal_ma". Default: zeros.
        sample_weight: 0 for a value that is absent, whatever stands there. A value that
            is differenced with an absent one is absent too, and the last d + D s values
            must be there for a forecast.
        tol: bound on the gradient of the mean log-likelihood.
        max_iter: bound on the steps of L-BFGS.

    Returns:
        The model, ready to go on after the last value.

    Raises:
        ValueError: if an order is negative, the series too short, or a start is not
            stationary or not invertible.

    >>> e = jax.random.normal(jax.random.key(0), (2000,))
    >>> y = jax.lax.scan(lambda s, e: (0.8 * s + e,) * 2, 0.0, e)[1]
    >>> model = fit(y, order=(1, 0, 0))
    >>> bool(abs(model.ar[0] - 0.8) < 0.05)
    True
    """
    arima_start.check_orders(order, seasonal_order)
    (p, d, q), (season_p, season_d, season_q, period) = order, seasonal_order
    if y.ndim != 1 or not jnp.issubdtype(y.dtype, jnp.floating):
        raise ValueError(f"y must be floating-point [n]; got {y.dtype} {list(y.shape)}")
    check.size("max_iter", max_iter, 1)
    check.at_least("tol", tol, 0)
    if fit_intercept is None:
        fit_intercept = d + season_d == 0
    states = max(p + season_p * period, q + season_q * period + 1)
    needed = d + season_d * period + states + 1
    if len(y) < needed:
        raise ValueError(
            f"y must have at least {needed} values for {order} x {seasonal_order}; got "
            f"{len(y)}"
        )
    sizes = {"ar": p, "ma": q, "seasonal_ar": season_p, "seasonal_ma": season_q}
    begin = arima_start.free(start or {}, sizes, y.dtype)
    if sample_weight is None:
        sample_weight = jnp.ones_like(y)
    return _fit(
        y,
        sample_weight,
        begin,
        tol,
        order=order,
        seasonal_order=seasonal_order,
        fit_intercept=fit_intercept,
        max_iter=max_iter,
    )


@partial(
    jax.jit,
    static_argnames=("order", "seasonal_order", "fit_intercept", "max_iter"),
)
def _fit(y, weight, begin, tol, *, order, seasonal_order, fit_intercept, max_iter):
    period = seasonal_order[3]
    weights = arima_process.differencing(order[1], seasonal_order[1], period, y.dtype)
    seen = weight > 0
    w, observed = arima_likelihood.differenced(y, seen, weights)
    count = jnp.maximum(observed.sum(), 1)
    center = jnp.where(observed, w, 0).sum() / count if fit_intercept else 0
    spread = jnp.sqrt(jnp.where(observed, jnp.square(w - center), 0).sum() / count)
    spread = jnp.where(spread > 0, spread, 1)
    z = jnp.where(observed, (w - center) / spread, 0)

    def cost(free):
        _, phi, theta = arima_likelihood.coefficients(free, period)
        return (
            -arima_likelihood.concentrated(z - free["shift"], observed, phi, theta)[0]
            / count
        )

    zero = {"shift": jnp.zeros((), y.dtype)}
    begin = begin | zero if fit_intercept else begin
    n_iter, converged = jnp.zeros((), int), jnp.ones((), bool)
    if sum(leaf.size for leaf in begin.values()):
        # what nothing depends on stays out: it would leave the Hessian singular
        found = lbfgs.minimize(
            lambda free: cost(zero | free), begin, tol=tol, max_iter=max_iter
        )
        begin, n_iter, converged = found.value, found.info.n_iter, found.info.converged
    free = zero | begin
    plain, phi, theta = arima_likelihood.coefficients(free, period)
    value, sigma2, filtered = arima_likelihood.concentrated(
        z - free["shift"], observed, phi, theta
    )
    lags = len(weights)
    return ARIMA(
        **plain,
        intercept=center + spread * free["shift"],
        sigma2=sigma2 * jnp.square(spread),
        loglike=value - count * jnp.log(spread),
        phi=phi,
        theta=theta,
        differencing=weights,
        state=filtered.mean * spread,
        covariance=filtered.covariance,
        last=y[len(y) - lags :][::-1],
        n_iter=n_iter,
        converged=converged,
    )


@partial(jax.jit, static_argnames=("steps",))
def forecast(model: ARIMA, *, steps: int) -> Forecast:
    """The values to come, from the end of what the model has seen.

    Args:
        model: fitted, or brought up to date by `update`.
        steps: how far to go, at least 1.

    Raises:
        ValueError: if `steps` is below 1.
    """
    space = arima_process.integrated(model.phi, model.theta, model.differencing)
    lags = len(model.last)
    space = space._replace(
        mean=jnp.concatenate([model.state, jnp.zeros_like(model.last)]),
        covariance=jnp.pad(model.covariance, (0, lags)),
    )
    change, variance = kalman.forecast(space, steps=steps)

    def integrate(last, _):
        # what the level and the intercept add to a forecast that starts from zeros
        value = model.intercept + model.differencing @ last
        return jnp.concatenate([value[None], last])[:lags], value

    _, level = jax.lax.scan(integrate, model.last, length=steps)
    return Forecast(change + level, jnp.sqrt(model.sigma2 * variance))


@jax.jit
def predict(
    model: ARIMA,
    y: Float[Array, " n"],
    *,
    sample_weight: Float[Array, " n"] | None = None,
) -> Float[Array, " m"]:
    """Each value as it was predicted from those before it, with these coefficients.

    Args:
        model: fitted, maybe to another part of the series.
        y: observations, oldest first.
        sample_weight: 0 for a value that is absent.

    Returns:
        Predictions of all but the first d + D s values.
    """
    w, observed, filtered = _filtered(model, y, sample_weight)
    lags = len(model.differencing)
    known = y[lags:] - w
    # what is not observed is predicted by the state alone; the filter has it as 0
    return jnp.where(observed, known + w - filtered.innovation, jnp.nan)


@jax.jit
def update(
    model: ARIMA,
    y: Float[Array, " n"],
    *,
    sample_weight: Float[Array, " n"] | None = None,
) -> ARIMA:
    """The same coefficients at the end of another series, to forecast from there.

    Args:
        model: fitted.
        y: observations, oldest first.
        sample_weight: 0 for a value that is absent.
    """
    _, _, filtered = _filtered(model, y, sample_weight)
    lags = len(model.differencing)
    return model._replace(
        state=filtered.mean,
        covariance=filtered.covariance,
        last=y[len(y) - lags :][::-1],
        loglike=filtered.loglike,
    )


def _filtered(model, y, weight):
    """Differenced series, what of it was observed, and the filter over it."""
    seen = jnp.ones(y.shape, bool) if weight is None else weight > 0
    w, observed = arima_likelihood.differenced(y, seen, model.differencing)
    space = arima_process.state_space(model.phi, model.theta)
    scale = jnp.sqrt(model.sigma2)
    found = kalman.filter(space, (w - model.intercept) / scale, observed=observed)
    return (
        w,
        observed,
        found._replace(
            innovation=found.innovation * scale,
            mean=found.mean * scale,
            loglike=found.loglike - observed.sum() * jnp.log(scale),
        ),
    )
