"""Ancestral sampling of DDPM: each step draws from the posterior of its Gaussian.

    plan = ddpm.plan(schedule, 1000)
    x = sampling.run(ddpm, plan, predict, noise, key=key)

References:
    Ho, Jain and Abbeel, 2020. arXiv:2006.11239 (alg. 2, eq. 7).
    Nichol and Dhariwal, 2021. Improved DDPM. arXiv:2102.09672 (eq. 15: a variance
    between the two bounds, as the network says).
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxml.models.generative import diffusion, spacing
from jaxml.models.generative.diffusion import Schedule, Weights
from jaxml.nn import check

__all__ = ["VARIANCES", "Plan", "State", "inputs", "plan", "start", "step"]

VARIANCES = ("fixed_small", "fixed_large", "learned_range")


class Plan(NamedTuple):
    """Numbers of every step, from x_t to x_s, s being the next timestep.

    q is the posterior of x_s given x_t and x_0.
    """

    timestep: Float[Array, " steps"]
    weights: Weights  # what the network's answer stands for
    of_clean: Float[Array, " steps"]  # weight of x_0 in the mean of q
    of_noisy: Float[Array, " steps"]  # weight of x_t in it
    log_variance: Float[Array, " steps"]
    log_largest: Float[Array, " steps"] | None  # if the network tells the variance
    draw: Float[Array, " steps"]  # 1, and 0 in a step to x_0 from timestep 0
    clip: Float[Array, " steps"] | None  # bound of |x_0|


class State(NamedTuple):
    """What a step hands on."""

    x: Float[Array, "b *shape"]


def plan(
    schedule: Schedule,
    steps: int,
    *,
    kind: str = "epsilon",
    variance: str = "fixed_small",
    clip: float | None = 1.0,
    spread: str = "leading",
    offset: int = 0,
) -> Plan:
    """Numbers of all steps.

    Args:
        schedule: the noise that the network was trained with.
        steps: 1 to the length of the schedule.
        kind: what the network answers, one of `diffusion.TARGETS`.
        variance: "fixed_small", that of q; "fixed_large", β; "learned_range", the
            network's last axis is twice as long and its second half, from -1 to 1,
            goes from one to the other.
        clip: bound that x_0 is clipped to, none if None.
        spread: one of `spacing.KINDS`.
        offset: added to the timesteps of "leading".

    Raises:
        ValueError: if a choice is unknown or the number of steps out of range.
    """
    check.one_of(variance, VARIANCES, "variance of a DDPM step")
    total = schedule.betas.shape[0]
    times = np.round(spacing.timesteps(total, steps, spread, offset=offset)).astype(int)
    left = schedule.alphas_cumprod[times]
    after = times - total // steps
    later = jnp.where(after >= 0, schedule.alphas_cumprod[np.maximum(after, 0)], 1.0)
    alpha = left / later  # of the whole step, which may skip timesteps
    beta = 1 - alpha
    small = jnp.maximum((1 - later) / (1 - left) * beta, 1e-20)
    return Plan(
        timestep=jnp.asarray(times, left.dtype),
        weights=diffusion.weights(kind, left),
        of_clean=jnp.sqrt(later) * beta / (1 - left),
        of_noisy=jnp.sqrt(alpha) * (1 - later) / (1 - left),
        log_variance=jnp.log(beta if variance == "fixed_large" else small),
        log_largest=jnp.log(beta) if variance == "learned_range" else None,
        draw=jnp.asarray(times > 0, left.dtype),
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
    output: Float[Array, "b *out"],
    row: Plan,
    noise: Float[Array, "b *shape"] | None = None,
) -> State:
    """One step of alg. 2.

    Args:
        state: x_t.
        output: the network's answer for it.
        row: numbers of this step.
        noise: standard normal, of the shape of x.

    Raises:
        ValueError: without noise, or if the shape of the answer does not fit.
    """
    if noise is None:
        raise ValueError("ddpm draws at each step: give a key (or noise); got None")
    log_variance = row.log_variance
    if row.log_largest is not None:
        if output.shape[-1] != 2 * state.x.shape[-1]:
            raise ValueError(
                "with a learned variance the answer's last axis must be twice that of "
                f"x, {2 * state.x.shape[-1]}; got {output.shape[-1]}"
            )
        output, share = jnp.split(output, 2, axis=-1)
        share = (share + 1) / 2
        log_variance = share * row.log_largest + (1 - share) * log_variance  # eq. 15
    clean, _ = diffusion.split(row.weights, output, state.x)
    if row.clip is not None:
        clean = jnp.clip(clean, -row.clip, row.clip)
    mean = row.of_clean * clean + row.of_noisy * state.x  # eq. 7
    return State(mean + row.draw * jnp.exp(log_variance / 2) * noise)
