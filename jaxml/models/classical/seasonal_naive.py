"""The forecast that every other must beat: what was one season ago.

    model = seasonal_naive.fit(y, period=7)
    y_hat = seasonal_naive.forecast(model, steps=14)

A season of 1 is the naive forecast: the last value. Letters: n steps, s steps of a
season, h steps ahead.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxml.ops import check

__all__ = ["SeasonalNaive", "fit", "forecast", "predict"]


class SeasonalNaive(NamedTuple):
    """What is repeated."""

    season: Float[Array, "s *k"]  # the last season, oldest first


def fit(y: Float[Array, "n *k"], *, period: int) -> SeasonalNaive:
    """Keep the last season.

    Args:
        y: observations, oldest first; one series or several.
        period: steps of a season, from 1 to n.

    Raises:
        ValueError: if there is no whole season.

    >>> model = fit(jnp.arange(5.0), period=2)
    >>> forecast(model, steps=3)
    Array([3., 4., 3.], dtype=float32)
    """
    check.size("period", period, 1, len(y))
    return SeasonalNaive(y[len(y) - period :])


def forecast(model: SeasonalNaive, *, steps: int) -> Float[Array, "h *k"]:
    """The season again and again.

    Args:
        model: fitted.
        steps: how far to go, at least 1.

    Raises:
        ValueError: if `steps` is below 1.
    """
    check.size("steps", steps, 1)
    return model.season[jnp.arange(steps) % len(model.season)]


def predict(model: SeasonalNaive, y: Float[Array, "n *k"]) -> Float[Array, "n *k"]:
    """What is said of each value of a series that goes on after the fit.

    Args:
        model: fitted to what came before.
        y: observations after it, oldest first.
    """
    return jnp.concatenate([model.season, y])[: len(y)]
