"""PNDM in its pseudo-linear multistep form (PLMS): four past noises to each step.

    plan = pndm.plan(schedule, 50)            # 51 calls of the network
    x = sampling.run(pndm, plan, predict, noise)

The first step is taken twice: once with its own noise, then from the same x with the
mean of that noise and of the one at its end. The order then grows to four.

References:
    Liu, Ren, Lin and Zhao, 2022. Pseudo numerical methods for diffusion models on
    manifolds. arXiv:2202.09778 (eq. 11 for the transfer, 12 for the weights).
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxml.models.generative import diffusion, spacing
from jaxml.models.generative.diffusion import Schedule, Weights

__all__ = ["Plan", "State", "inputs", "plan", "start", "step"]


class Plan(NamedTuple):
    """Numbers of every call of the network."""

    timestep: Float[Array, " calls"]
    weights: Weights  # what the network's answer stands for
    of_x: Float[Array, " calls"]
    of_noise: Float[Array, " calls"]
    blend: Float[Array, "calls 4"]  # weights of the noises, the newest first
    again: Bool[Array, " calls"]  # True in the call that takes the first step again


class State(NamedTuple):
    """What a call hands on."""

    x: Float[Array, "b *shape"]
    before: Float[Array, "b *shape"]  # x before the latest call
    past: Float[Array, "3 b *shape"]  # noises, the newest first


# Adams-Bashforth, after the two calls of the first step.
_BLENDS = np.array(
    [
        [1, 0, 0, 0],
        [1 / 2, 1 / 2, 0, 0],
        [3 / 2, -1 / 2, 0, 0],
        [23 / 12, -16 / 12, 5 / 12, 0],
        [55 / 24, -59 / 24, 37 / 24, -9 / 24],
    ]
)


def plan(
    schedule: Schedule,
    steps: int,
    *,
    kind: str = "epsilon",
    to_one: bool = False,
    offset: int = 0,
) -> Plan:
    """Numbers of all calls of the network, steps + 1.

    Args:
        schedule: the noise that the network was trained with.
        steps: 2 to the length of the schedule.
        kind: what the network answers, one of `diffusion.TARGETS`.
        to_one: whether the last step ends at ᾱ = 1, else at that of timestep 0.
        offset: added to the timesteps, multiples of the stride.

    Raises:
        ValueError: if a choice is unknown or the number of steps out of range.
    """
    total = schedule.betas.shape[0]
    if not 2 <= steps <= total:
        raise ValueError(
            f"steps must be from 2 to the length of the schedule {total}; got {steps}"
        )
    times = spacing.timesteps(total, steps, "leading", offset=offset).astype(int)
    stride = total // steps
    called = np.concatenate([times[:1], times[1:2], times[1:]])
    begin = np.concatenate([times[:1], times])
    every = schedule.alphas_cumprod
    left, after = every[begin], begin - stride
    last = jnp.ones_like(every[0]) if to_one else every[0]
    later = jnp.where(after >= 0, every[np.maximum(after, 0)], last)
    spread = left * jnp.sqrt(1 - later) + jnp.sqrt(left * (1 - left) * later)
    order = np.minimum(np.arange(steps + 1), 4)
    return Plan(
        timestep=jnp.asarray(called, left.dtype),
        weights=diffusion.weights(kind, every[called]),
        of_x=jnp.sqrt(later / left),
        of_noise=-(later - left) / spread,  # eq. 11
        blend=jnp.asarray(_BLENDS[order], left.dtype),
        again=jnp.arange(steps + 1) == 1,
    )


def start(plan: Plan, noise: Float[Array, "b *shape"]) -> State:
    """State before the first call, from standard normal noise."""
    return State(noise, noise, jnp.zeros((3, *noise.shape), noise.dtype))


def inputs(state: State, row: Plan) -> Float[Array, "b *shape"]:
    """What the network is given."""
    return state.x


def step(
    state: State,
    output: Float[Array, "b *shape"],
    row: Plan,
    noise: Float[Array, "b *shape"] | None = None,
) -> State:
    """One call: from x, or again from the x before, along the blend of noises.

    Args:
        state: x and the history.
        output: the network's answer for x.
        row: numbers of this call.
        noise: not used.
    """
    _, eps = diffusion.split(row.weights, output, state.x)
    known = jnp.concatenate([eps[None], state.past])
    blended = jnp.tensordot(row.blend, known, 1)
    x = jnp.where(row.again, state.before, state.x)
    # The noise at the end of the first step is not kept: the next call asks again.
    past = jnp.where(row.again, state.past, known[:3])
    return State(row.of_x * x + row.of_noise * blended, state.x, past)
