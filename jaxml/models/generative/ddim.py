"""DDIM: the path from noise to sample without, or with less, drawing.

    plan = ddim.plan(schedule, 50)
    x = sampling.run(ddim, plan, predict, noise)
    plan = ddim.plan(schedule, 50, eta=1.0)              # as random as DDPM

References:
    Song, Meng and Ermon, 2021. Denoising diffusion implicit models. arXiv:2010.02502
    (eq. 12 and 16).
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxml.models.generative import diffusion, spacing
from jaxml.models.generative.diffusion import Schedule, Weights

__all__ = ["Plan", "State", "inputs", "plan", "start", "step"]


class Plan(NamedTuple):
    """Numbers of every step, from x_t to x_s, s being the next timestep."""

    timestep: Float[Array, " steps"]
    weights: Weights  # what the network's answer stands for
    of_clean: Float[Array, " steps"]  # √ᾱ_s
    of_noise: Float[Array, " steps"]  # √(1 - ᾱ_s - deviation²)
    deviation: Float[Array, " steps"] | None  # of what is drawn, if anything is
    clip: Float[Array, " steps"] | None  # bound of |x_0|


class State(NamedTuple):
    """What a step hands on."""

    x: Float[Array, "b *shape"]


def plan(
    schedule: Schedule,
    steps: int,
    *,
    kind: str = "epsilon",
    eta: float | Float[Array, ""] = 0.0,
    clip: float | None = 1.0,
    to_one: bool = True,
    spread: str = "leading",
    offset: int = 0,
) -> Plan:
    """Numbers of all steps.

    Args:
        schedule: the noise that the network was trained with.
        steps: 1 to the length of the schedule.
        kind: what the network answers, one of `diffusion.TARGETS`.
        eta: deviation of what is drawn, as a part of DDPM's, 0 to 1.
        clip: bound that x_0 is clipped to, none if None.
        to_one: whether the last step ends at ᾱ = 1, else at that of timestep 0.
        spread: one of `spacing.KINDS`.
        offset: added to the timesteps of "leading".

    Raises:
        ValueError: if a choice is unknown or the number of steps out of range.
    """
    total = schedule.betas.shape[0]
    times = np.round(spacing.timesteps(total, steps, spread, offset=offset)).astype(int)
    every = schedule.alphas_cumprod
    left = every[times]
    after = times - total // steps
    last = jnp.ones_like(every[0]) if to_one else every[0]
    later = jnp.where(after >= 0, every[np.maximum(after, 0)], last)
    variance = (1 - later) / (1 - left) * (1 - left / later)
    deviation = eta * jnp.sqrt(jnp.maximum(variance, 0))  # eq. 16
    still = isinstance(eta, float | int) and eta == 0
    return Plan(
        timestep=jnp.asarray(times, left.dtype),
        weights=diffusion.weights(kind, left),
        of_clean=jnp.sqrt(later),
        of_noise=jnp.sqrt(jnp.maximum(1 - later - deviation**2, 0)),
        deviation=None if still else deviation,
        clip=None if clip is None else jnp.full_like(left, clip),
    )


def start(plan: Plan, noise: Float[Array, "b *shape"]) -> State:
    """State before the first step, from standard normal noise."""
    return State(noise)


def inputs(state: State, row: Plan) -> Float[Array, "b *shape"]:
    """What the network is given."""
    return state.x


def step(
    state: State,
    output: Float[Array, "b *shape"],
    row: Plan,
    noise: Float[Array, "b *shape"] | None = None,
) -> State:
    """One step of eq. 12.

    Args:
        state: x_t.
        output: the network's answer for it.
        row: numbers of this step.
        noise: standard normal; not used where eta is 0.

    Raises:
        ValueError: without noise, where eta is not 0.
    """
    clean, eps = diffusion.split(row.weights, output, state.x)
    if row.clip is not None:
        clean = jnp.clip(clean, -row.clip, row.clip)
    x = row.of_clean * clean + row.of_noise * eps
    if row.deviation is None:
        return State(x)
    if noise is None:
        raise ValueError("ddim with eta > 0 draws: give a key (or noise); got None")
    return State(x + row.deviation * noise)
