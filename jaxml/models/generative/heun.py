"""Heun's method of the second order on the probability-flow equation (EDM).

    plan = heun.plan(schedule, 20)            # 39 calls of the network
    x = sampling.run(heun, plan, predict, noise)

A step of alg. 1 calls the network twice; here each call is a row of the plan: a first
half, Euler's, and a second half that goes back and takes the mean of both slopes. The
last step, to σ = 0, is a first half alone.

References:
    Karras, Aittala, Aila and Laine, 2022. arXiv:2206.00364 (alg. 1).
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxml.models.generative import diffusion, euler, spacing
from jaxml.models.generative.diffusion import Schedule, Weights

__all__ = ["Plan", "State", "inputs", "plan", "start", "step"]


class Plan(NamedTuple):
    """Numbers of every call of the network; x = x_0 + σ ε."""

    timestep: Float[Array, " calls"]
    weights: Weights  # what the network's answer stands for
    sigma: Float[Array, " calls"]  # at which the network is called
    change: Float[Array, " calls"]  # σ' - σ of the whole step
    second: Bool[Array, " calls"]  # whether the call is the second half of a step
    largest: Float[Array, " calls"]  # deviation of the noise to begin with


class State(NamedTuple):
    """What a call hands on."""

    x: Float[Array, "b *shape"]
    before: Float[Array, "b *shape"]  # x at the start of the step
    slope: Float[Array, "b *shape"]  # of its first half


def plan(
    schedule: Schedule,
    steps: int,
    *,
    kind: str = "epsilon",
    spread: str = "linspace",
    offset: int = 0,
    ramp: str = "schedule",
) -> Plan:
    """Numbers of all calls of the network, 2 · steps - 1.

    Args:
        schedule: the noise that the network was trained with.
        steps: 1 to the length of the schedule.
        kind: what the network answers, one of `diffusion.TARGETS`.
        spread: one of `spacing.KINDS`.
        offset: added to the timesteps of "leading".
        ramp: "schedule" or "karras", see `spacing.levels`.

    Raises:
        ValueError: if a choice is unknown or the number of steps out of range.
    """
    times = spacing.timesteps(schedule.betas.shape[0], steps, spread, offset=offset)
    at, sigma = spacing.levels(schedule, times, ramp)
    twice = lambda values: jnp.repeat(values, 2)
    level = twice(sigma[:-1])[1:]
    return Plan(
        timestep=twice(at)[1:],
        weights=diffusion.weights(kind, 1 / (level**2 + 1)),
        sigma=level,
        change=twice(sigma[1:] - sigma[:-1])[:-1],
        second=jnp.arange(2 * steps - 1) % 2 == 1,
        largest=jnp.full_like(level, euler.first_deviation(sigma, spread)),
    )


def start(plan: Plan, noise: Float[Array, "b *shape"]) -> State:
    """State before the first call, from standard normal noise."""
    x = noise * plan.largest[0]
    return State(x, x, jnp.zeros_like(x))


def inputs(state: State, row: Plan) -> Float[Array, "b *shape"]:
    """What the network is given: x with variance 1."""
    return state.x / jnp.sqrt(row.sigma**2 + 1)


def step(
    state: State,
    output: Float[Array, "b *shape"],
    row: Plan,
    noise: Float[Array, "b *shape"] | None = None,
) -> State:
    """Half a step: x + (σ' - σ) dx/dσ, or the same from `before` with the mean slope.

    Args:
        state: x, and the start of the step.
        output: the network's answer for `inputs`.
        row: numbers of this call.
        noise: not used.
    """
    _, slope = diffusion.split(row.weights, output, inputs(state, row))
    before = jnp.where(row.second, state.before, state.x)
    slope = jnp.where(row.second, (state.slope + slope) / 2, slope)
    return State(before + row.change * slope, before, slope)
