"""Exponential smoothing: simple, Holt's with a trend, Holt and Winters' with seasons.

    model = exponential_smoothing.fit(y, trend=True, seasonal="add", period=12)
    y_hat = exponential_smoothing.forecast(model, steps=24)

All numbers, those at the start included, are those of the least squared error of the
predictions one step ahead. `y` is scaled inside, so its unit does not matter. Letters:
n steps, s steps of a season, h steps ahead.

References:
    Holt, 1957. Forecasting seasonals and trends by exponentially weighted averages.
    Winters, 1960. Forecasting sales by exponentially weighted moving averages.
    Hyndman and Athanasopoulos, 2021. Forecasting: principles and practice (table 8.6).
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxml.ops import check
from jaxml.optim import lbfgs

__all__ = ["ExponentialSmoothing", "fit", "forecast", "predict"]


class ExponentialSmoothing(NamedTuple):
    """Rates of smoothing, and the components before and after the series."""

    alpha: Float[Array, ""]  # of the level
    beta: Float[Array, ""]  # of the trend, at most alpha; 0 without a trend
    gamma: Float[Array, ""]  # of the season, at most 1 - alpha; 0 without seasons
    phi: Float[Array, ""]  # damping of the trend; 1 where it is not damped
    initial_level: Float[Array, ""]
    initial_trend: Float[Array, ""]
    initial_season: Float[Array, " s"]  # of the first s steps
    level: Float[Array, ""]
    trend: Float[Array, ""]
    season: Float[Array, " s"]  # of the next s steps
    multiplies: Bool[Array, ""]  # whether the season is a factor
    sse: Float[Array, ""]  # sum of squared errors one step ahead
    n_iter: Int[Array, ""]
    converged: Bool[Array, ""]


def fit(
    y: Float[Array, " n"],
    *,
    trend: bool = False,
    damped: bool = False,
    seasonal: str | None = None,
    period: int = 1,
    tol: float | Float[Array, ""] = 1e-5,
    max_iter: int = 300,
) -> ExponentialSmoothing:
    """Fit by least squares.

    Args:
        y: observations at equal distances of time, oldest first; above 0 where the
            season is a factor.
        trend: whether the level has a slope.
        damped: whether the slope fades, by a factor from 0.8 to 1 a step.
        seasonal: "add", "mul" or None.
        period: steps of a season, at least 2 where there is one.
        tol: bound on the gradient of the mean squared error, `y` scaled to variance 1.
        max_iter: bound on the steps of L-BFGS.

    Raises:
        ValueError: if a choice is unknown, or the series has less than two seasons.

    >>> model = fit(jnp.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), trend=True)
    >>> forecast(model, steps=2).round(2)
    Array([7., 8.], dtype=float32)
    """
    check.one_of("seasonal", seasonal, (None, "add", "mul"))
    check.size("max_iter", max_iter, 1)
    check.at_least("tol", tol, 0)
    if damped and not trend:
        raise ValueError("damped needs trend=True")
    if seasonal is None:
        period = 1
    else:
        check.size("period", period, 2)
    if y.ndim != 1 or not jnp.issubdtype(y.dtype, jnp.floating):
        raise ValueError(f"y must be floating-point [n]; got {y.dtype} {list(y.shape)}")
    if len(y) < max(4, 2 * period):
        raise ValueError(
            f"y must have at least {max(4, 2 * period)} values for a season of "
            f"{period}; got {len(y)}"
        )
    return _fit(
        y,
        tol,
        trend=trend,
        damped=damped,
        seasonal=seasonal,
        period=period,
        max_iter=max_iter,
    )


@partial(jax.jit, static_argnames=("steps",))
def forecast(model: ExponentialSmoothing, *, steps: int) -> Float[Array, " h"]:
    """The values to come.

    Args:
        model: fitted.
        steps: how far to go, at least 1.

    Raises:
        ValueError: if `steps` is below 1.
    """
    check.size("steps", steps, 1)
    ahead = jnp.cumsum(model.phi ** jnp.arange(1, steps + 1))
    base = model.level + model.trend * ahead
    season = model.season[jnp.arange(steps) % len(model.season)]
    return jnp.where(model.multiplies, base * season, base + season)


@jax.jit
def predict(
    model: ExponentialSmoothing, y: Float[Array, " n"]
) -> tuple[Float[Array, " n"], ExponentialSmoothing]:
    """Each value as predicted from those before it, and the model after the last.

    Args:
        model: fitted; the series begins at its initial components.
        y: observations, oldest first.
    """
    rates = (model.alpha, model.beta, model.gamma, model.phi)
    start = (model.initial_level, model.initial_trend, model.initial_season)
    (level, trend, season), y_hat = _run(y, (rates, start), model.multiplies)
    return y_hat, model._replace(level=level, trend=trend, season=season)


@partial(jax.jit, static_argnames=("trend", "damped", "seasonal", "period", "max_iter"))
def _fit(y, tol, *, trend, damped, seasonal, period, max_iter):
    multiplies = jnp.asarray(seasonal == "mul")
    # a factor allows no shift of the unit; a sum does
    center = 0 if seasonal == "mul" else y.mean()
    spread = jnp.abs(y.mean()) if seasonal == "mul" else y.std()
    spread = jnp.where(spread > 0, spread, 1)
    z = (y - center) / spread

    first, second = z[:period].mean(), z[period : 2 * period].mean()
    zero, one = jnp.zeros((), y.dtype), jnp.ones((), y.dtype)
    begin = {"alpha": zero, "level": first}
    if trend:
        begin |= {"beta": -2 * one, "trend": (second - first) / period}
    if damped:
        begin["phi"] = 2 * one
    if seasonal:
        base = z[:period]
        base = base / first - 1 if seasonal == "mul" else base - first
        # the last of a season is minus the sum of the others: the level is apart
        begin |= {"gamma": -2 * one, "season": base[:-1]}

    def parts(free):
        alpha = jax.nn.sigmoid(free["alpha"])
        beta = alpha * jax.nn.sigmoid(free["beta"]) if trend else zero
        gamma = (1 - alpha) * jax.nn.sigmoid(free["gamma"]) if seasonal else zero
        phi = 0.8 + 0.2 * jax.nn.sigmoid(free["phi"]) if damped else one
        season = jnp.zeros(period, y.dtype)
        if seasonal:
            season = jnp.append(free["season"], -free["season"].sum())
        season = season + 1 if seasonal == "mul" else season
        start = (free["level"], free.get("trend", zero), season)
        return (alpha, beta, gamma, phi), start

    def cost(free):
        _, z_hat = _run(z, parts(free), multiplies)
        return jnp.square(z - z_hat).mean()

    found = lbfgs.minimize(cost, begin, tol=tol, max_iter=max_iter)
    rates, start = parts(found.value)
    end, _ = _run(z, (rates, start), multiplies)

    def unit(level, slope, season):
        season = season if seasonal == "mul" else season * spread
        return level * spread + center, slope * spread, season

    return ExponentialSmoothing._make(
        (
            *rates,
            *unit(*start),
            *unit(*end),
            multiplies,
            cost(found.value) * len(y) * jnp.square(spread),
            found.info.n_iter,
            found.info.converged,
        )
    )


def _run(y, parts, multiplies):
    """The components after the last step, and every prediction one step ahead."""
    (alpha, beta, gamma, phi), start = parts

    def step(carry, value):
        level, trend, season = carry
        now, base = season[0], level + phi * trend
        plain = jnp.where(
            multiplies, value / jnp.where(multiplies, now, 1), value - now
        )
        new = alpha * plain + (1 - alpha) * base
        slope = beta * (new - level) + (1 - beta) * phi * trend
        factor = jnp.where(
            multiplies, value / jnp.where(multiplies, base, 1), value - base
        )
        again = gamma * factor + (1 - gamma) * now
        y_hat = jnp.where(multiplies, base * now, base + now)
        season = jnp.append(season[1:], again)
        return (new, slope, season), y_hat

    return jax.lax.scan(step, start, y)
