"""Kalman filter of a linear Gaussian model with one observation a step.

    filtered = kalman.filter(model, y, observed=~jnp.isnan(y))
    filtered.loglike, filtered.innovation / jnp.sqrt(filtered.variance)

State: s' = T s + w, w ~ N(0, Q). Observation: y = z·s + v, v ~ N(0, h). The first state
has mean m and covariance P before the first observation. A step that was not observed
changes nothing but time, so gaps and padding are exact. Letters: n steps, r states.

References:
    Durbin and Koopman, 2012. Time series analysis by state space methods (sec. 4.3).
    Anderson and Moore, 1979. Optimal filtering (sec. 6.7, doubling).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

__all__ = ["Filtered", "StateSpace", "filter", "forecast", "stationary"]


class StateSpace(NamedTuple):
    """A time-invariant model."""

    transition: Float[Array, "r r"]  # T
    process: Float[Array, "r r"]  # Q
    observation: Float[Array, " r"]  # z
    noise: Float[Array, ""]  # h
    mean: Float[Array, " r"]  # m
    covariance: Float[Array, "r r"]  # P


class Filtered(NamedTuple):
    """What the filter says of each step from those before, and of the next state."""

    innovation: Float[Array, " n"]  # observation minus prediction; 0 where not observed
    variance: Float[Array, " n"]  # of the innovation
    mean: Float[Array, " r"]  # of the state after the last step
    covariance: Float[Array, "r r"]
    loglike: Float[Array, ""]  # of all observations


def filter(
    model: StateSpace,
    y: Float[Array, " n"],
    *,
    observed: Bool[Array, " n"] | None = None,
) -> Filtered:
    """Run the filter; differentiable in `model` and `y`.

    Args:
        model: with a positive variance of every prediction.
        y: observations, oldest first; whatever stands where nothing was observed.
        observed: False for gaps and padding. Default: all are.

    >>> one = jnp.ones((1, 1))
    >>> model = StateSpace(one, one, one[0], jnp.ones(()), jnp.zeros(1), 4 * one)
    >>> filter(model, jnp.array([1.0, 2.0])).innovation
    Array([1. , 1.2], dtype=float32)
    """
    if observed is None:
        observed = jnp.ones(y.shape, bool)
    # a gap may be NaN, which would spoil the gradient even where it is not chosen
    y = jnp.where(observed, y, 0)

    def step(carry, now):
        mean, covariance = carry
        value, seen = now
        gain = covariance @ model.observation
        variance = model.observation @ gain + model.noise
        innovation = jnp.where(seen, value - model.observation @ mean, 0)
        share = jnp.where(seen, 1 / variance, 0)
        mean = mean + gain * innovation * share
        covariance = covariance - jnp.outer(gain, gain) * share
        return _ahead(model, mean, covariance), (innovation, variance)

    with jax.default_matmul_precision("highest"):
        last, (innovation, variance) = jax.lax.scan(
            step, (model.mean, model.covariance), (y, observed)
        )
    terms = jnp.log(2 * jnp.pi * variance) + jnp.square(innovation) / variance
    loglike = -0.5 * jnp.where(observed, terms, 0).sum()
    return Filtered(innovation, variance, *last, loglike)


def forecast(
    model: StateSpace, *, steps: int
) -> tuple[Float[Array, " s"], Float[Array, " s"]]:
    """Mean and variance of the observations to come.

    Args:
        model: whose `mean` and `covariance` are those of the next state.
        steps: how far to go, at least 1.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1; got {steps}")

    def step(carry, _):
        mean, covariance = carry
        value = model.observation @ mean
        spread = model.observation @ covariance @ model.observation + model.noise
        return _ahead(model, mean, covariance), (value, spread)

    with jax.default_matmul_precision("highest"):
        start = (model.mean, model.covariance)
        return jax.lax.scan(step, start, length=steps)[1]


def stationary(
    transition: Float[Array, "r r"], process: Float[Array, "r r"]
) -> Float[Array, "r r"]:
    """The covariance P = T P Tᵀ + Q that a stable model tends to, by doubling.

    Args:
        transition: all eigenvalues of modulus below 1; else the result is not finite
            or nothing.
        process: covariance of the disturbance.

    >>> stationary(jnp.array([[0.5]]), jnp.array([[3.0]]))
    Array([[4.]], dtype=float32)
    """

    def double(carry, _):
        power, total = carry
        total = total + power @ total @ power.T
        return (power @ power, total), None

    with jax.default_matmul_precision("highest"):
        # 2^20 terms: enough for a modulus of 1 - 1e-5
        (_, total), _ = jax.lax.scan(double, (transition, process), length=20)
    return total


def _ahead(model, mean, covariance):
    """The state one step on."""
    covariance = model.transition @ covariance @ model.transition.T + model.process
    # rounding would slowly make it lopsided
    return model.transition @ mean, 0.5 * (covariance + covariance.T)
