"""Euler's method on the probability-flow equation, with x on the scale of σ.

    plan = euler.plan(schedule, 30)
    x = sampling.run(euler, plan, predict, noise)

References:
    Karras, Aittala, Aila and Laine, 2022. arXiv:2206.00364 (alg. 1 without its second
    order; eq. 4 with s = 1, σ(t) = t).
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxml.models.generative import diffusion, spacing
from jaxml.models.generative.diffusion import Schedule, Weights

__all__ = ["Plan", "State", "inputs", "plan", "start", "step"]


class Plan(NamedTuple):
    """Numbers of every step; x = x_0 + σ ε."""

    timestep: Float[Array, " steps"]
    weights: Weights  # what the network's answer stands for
    sigma: Float[Array, " steps"]
    sigma_next: Float[Array, " steps"]
    largest: Float[Array, " steps"]  # deviation of the noise to begin with


class State(NamedTuple):
    """What a step hands on."""

    x: Float[Array, "b *shape"]


def plan(
    schedule: Schedule,
    steps: int,
    *,
    kind: str = "epsilon",
    spread: str = "linspace",
    offset: int = 0,
    ramp: str = "schedule",
) -> Plan:
    """Numbers of all steps.

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
    return Plan(
        timestep=at,
        weights=diffusion.weights(kind, 1 / (sigma[:-1] ** 2 + 1)),
        sigma=sigma[:-1],
        sigma_next=sigma[1:],
        largest=jnp.full_like(at, first_deviation(sigma, spread)),
    )


def first_deviation(sigma: Float[Array, " s"], spread: str) -> Float[Array, ""]:
    """Deviation of the first x: with "leading" some signal is left, of variance 1."""
    if spread == "leading":
        return jnp.sqrt(sigma.max() ** 2 + 1)
    return sigma.max()


def start(plan: Plan, noise: Float[Array, "b *shape"]) -> State:
    """State before the first step, from standard normal noise."""
    return State(noise * plan.largest[0])


def inputs(state: State, row: Plan) -> Float[Array, "b *shape"]:
    """What the network is given: x with variance 1."""
    return state.x / jnp.sqrt(row.sigma**2 + 1)


def step(
    state: State,
    output: Float[Array, "b *shape"],
    row: Plan,
    noise: Float[Array, "b *shape"] | None = None,
) -> State:
    """x + (σ' - σ) dx/dσ, where dx/dσ is the noise that the network sees.

    Args:
        state: x.
        output: the network's answer for `inputs`.
        row: numbers of this step.
        noise: not used.
    """
    _, slope = diffusion.split(row.weights, output, inputs(state, row))
    return State(state.x + (row.sigma_next - row.sigma) * slope)
