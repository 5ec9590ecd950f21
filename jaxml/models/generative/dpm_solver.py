"""DPM-Solver++(2M): two-step solver of the second order on the predicted x_0.

    plan = dpm_solver.plan(schedule, 20)
    x = sampling.run(dpm_solver, plan, predict, noise)

Legend: α = √ᾱ, λ = log(α / √(1 - ᾱ)), h the growth of λ over a step.

References:
    Lu et al., 2022. DPM-Solver++. arXiv:2211.01095 (alg. 2, with the midpoint form of
    its second order: x_t = (σ_t / σ_s) x_s - α_t (e^{-h} - 1) D,
    D = x_0 + (x_0 - x_0') / (2 r), r = h' / h, a prime for the step before).
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxml.models.generative import diffusion, spacing
from jaxml.models.generative.diffusion import Schedule, Weights
from jaxml.nn import check

__all__ = ["Plan", "State", "inputs", "plan", "start", "step"]


class Plan(NamedTuple):
    """Numbers of every step."""

    timestep: Float[Array, " steps"]
    weights: Weights  # what the network's answer stands for
    of_x: Float[Array, " steps"]  # σ_t / σ_s
    of_clean: Float[Array, " steps"]  # -α_t (e^{-h} - 1)
    of_change: Float[Array, " steps"]  # 1 / (2 r), 0 in a step of the first order


class State(NamedTuple):
    """What a step hands on."""

    x: Float[Array, "b *shape"]
    clean: Float[Array, "b *shape"]  # x_0 predicted in the step before


def plan(
    schedule: Schedule,
    steps: int,
    *,
    kind: str = "epsilon",
    spread: str = "linspace",
    offset: int = 0,
    ramp: str = "schedule",
) -> Plan:
    """Numbers of all steps; the first and the last are of the first order.

    Args:
        schedule: the noise that the network was trained with.
        steps: 1 to below the length of the schedule.
        kind: what the network answers, one of `diffusion.TARGETS`.
        spread: one of `spacing.KINDS`; the visited timesteps are the first `steps` of
            one more, so that the last step is no shorter than the others.
        offset: added to the timesteps of "leading".
        ramp: "schedule" or "karras", see `spacing.levels`.

    Raises:
        ValueError: if a choice is unknown or the number of steps out of range.
    """
    check.one_of(spread, spacing.KINDS, "spacing of timesteps")
    total = schedule.betas.shape[0]
    if not 1 <= steps < total:
        raise ValueError(
            f"steps must be from 1 to below the length of the schedule {total}; "
            f"got {steps}"
        )
    if spread == "trailing":
        times = spacing.timesteps(total, steps, spread)
    else:
        times = spacing.timesteps(total, steps + 1, spread, offset=offset)[:-1]
    at, sigma = spacing.levels(schedule, np.round(times), ramp)
    left = 1 / (sigma**2 + 1)  # ᾱ, 1 at the end
    alpha, spread_of = jnp.sqrt(left), sigma * jnp.sqrt(left)
    # λ is infinite at the end, where only e^{-h} = 0 is needed.
    shrink = (alpha[:-1] / alpha[1:]) * (spread_of[1:] / spread_of[:-1])  # e^{-h}
    growth = -jnp.log(shrink[:-1])  # h of every step but the last
    ratio = growth[1:] / (2 * growth[:-1])
    none = jnp.zeros(1, ratio.dtype)
    change = jnp.concatenate([none, ratio, none]) if steps > 1 else none
    return Plan(
        timestep=jnp.round(at),
        weights=diffusion.weights(kind, left[:-1]),
        of_x=spread_of[1:] / spread_of[:-1],
        of_clean=-alpha[1:] * (shrink - 1),
        of_change=change,
    )


def start(plan: Plan, noise: Float[Array, "b *shape"]) -> State:
    """State before the first step, from standard normal noise."""
    return State(noise, jnp.zeros_like(noise))


def inputs(state: State, row: Plan) -> Float[Array, "b *shape"]:
    """What the network is given."""
    return state.x


def step(
    state: State,
    output: Float[Array, "b *shape"],
    row: Plan,
    noise: Float[Array, "b *shape"] | None = None,
) -> State:
    """One step of alg. 2.

    Args:
        state: x and the x_0 of the step before.
        output: the network's answer for x.
        row: numbers of this step.
        noise: not used.
    """
    clean, _ = diffusion.split(row.weights, output, state.x)
    ahead = clean + row.of_change * (clean - state.clean)
    return State(row.of_x * state.x + row.of_clean * ahead, clean)
