"""Flow matching and rectified flow: straight ways from noise to data.

    loss = flow.loss(predict, images, key=key)                        # [batch]
    plan = flow.plan(50)
    x = sampling.run(flow, plan, predict, noise)
    noise, x = flow.couple(predict, noise, 50)          # pairs for a second round

Legend: x_0 noise at t = 0, x_1 data at t = 1, x_t = (1 - t) x_0 + t x_1; the network
answers the velocity x_1 - x_0. (Diffusion writes x_0 for the data.)

References:
    Lipman et al., 2023. Flow matching. arXiv:2210.02747 (eq. 23, with σ_min = 0).
    Liu, Gong and Liu, 2023. Rectified flow. arXiv:2209.03003 (eq. 1; reflow: alg. 1).
    Esser et al., 2024. arXiv:2403.03206 (eq. 19: timesteps of a logit-normal).
"""

import sys
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from jaxml.models.generative import pixels, sampling
from jaxml.nn import check

__all__ = [
    "Plan",
    "State",
    "between",
    "couple",
    "inputs",
    "loss",
    "plan",
    "start",
    "step",
]


class Plan(NamedTuple):
    """Numbers of every call of the network."""

    timestep: Float[Array, " calls"]  # t, 0 to 1
    change: Float[Array, " calls"]  # of t, from `before` on
    keep: Bool[Array, " calls"]  # whether the call begins a step
    mean: Float[Array, " calls"]  # weight of the slope before, in a second half


class State(NamedTuple):
    """What a call hands on."""

    x: Float[Array, "b *shape"]
    before: Float[Array, "b *shape"]  # x at the start of the step
    slope: Float[Array, "b *shape"]  # there


def between(
    noise: Float[Array, "b *shape"],
    data: Float[Array, "b *shape"],
    times: Float[Array, " b"],
) -> Float[Array, "b *shape"]:
    """The point x_t of each pair on its straight way, at its own time."""
    share = times.reshape(-1, *(1,) * (data.ndim - 1))
    return (1 - share) * noise + share * data


def loss(
    predict: Callable[[Array, Array], Array],
    data: Float[Array, "b *shape"],
    *,
    key: Key[Array, ""],
    noise: Float[Array, "b *shape"] | None = None,
    times: str = "uniform",
    distance: Callable[[Array, Array], Array] | None = None,
    bounded: bool = True,
) -> Float[Array, " b"]:
    """One number for each sample, at a time drawn for it (Lipman, eq. 23).

    Args:
        predict: the network, (x_t [b ...], t [b]) -> velocity [b ...].
        data: samples; images from -1 to 1.
        key: randomness of times and noise.
        noise: the partner of each sample, as `couple` gives it; drawn if None.
        times: "uniform", or "logit_normal", more of them in the middle.
        distance: of answer and velocity, value by value; squared difference if None.
        bounded: whether the data must be from -1 to 1; not so for latents and points.

    Raises:
        ValueError: if images are outside [-1, 1] (where their values are known), or
            there is no such distribution of times.
    """
    check.one_of(times, ("uniform", "logit_normal"), "distribution of times")
    if bounded:
        pixels.check_range(data)
    key_time, key_noise = jax.random.split(key)
    batch = data.shape[0]
    if noise is None:
        noise = jax.random.normal(key_noise, data.shape, data.dtype)
    if times == "uniform":
        drawn = jax.random.uniform(key_time, (batch,), data.dtype)
    else:
        drawn = jax.nn.sigmoid(jax.random.normal(key_time, (batch,), data.dtype))
    answer = predict(between(noise, data, drawn), drawn)
    distance = distance or (lambda a, b: jnp.square(a - b))
    return distance(answer, data - noise).reshape(batch, -1).mean(-1)


def plan(steps: int, *, method: str = "euler") -> Plan:
    """Numbers of all calls: equal steps from t = 0 to 1.

    Args:
        steps: at least 1.
        method: "euler", one call a step; "midpoint" or "heun", two and second order.

    Raises:
        ValueError: if `steps` is below 1 or there is no such method.

    >>> plan(2, method="midpoint").timestep.tolist()
    [0.0, 0.25, 0.5, 0.75]
    """
    check.one_of(method, ("euler", "midpoint", "heun"), "method")
    if steps < 1:
        raise ValueError(f"steps must be at least 1; got {steps}")
    begin = jnp.arange(steps) / steps
    size = jnp.full(steps, 1 / steps)
    first = jnp.ones(steps, bool)
    none = jnp.zeros(steps)
    if method == "euler":
        return Plan(begin, size, first, none)
    part = 0.5 if method == "midpoint" else 1.0
    mix = lambda a, b: jnp.stack([a, b], 1).ravel()
    return Plan(
        mix(begin, begin + part * size),
        mix(part * size, size),
        mix(first, ~first),
        mix(none, none if method == "midpoint" else none + 0.5),
    )


def start(plan: Plan, noise: Float[Array, "b *shape"]) -> State:
    """State before the first call, from standard normal noise."""
    return State(noise, noise, jnp.zeros_like(noise))


def inputs(state: State, row: Plan) -> Float[Array, "b *shape"]:
    """What the network is given."""
    return state.x


def step(
    state: State,
    output: Float[Array, "b *shape"],
    row: Plan,
    noise: Float[Array, "b *shape"] | None = None,
) -> State:
    """One call: from the start of its step along the velocity.

    Args:
        state: x, and the start of the step.
        output: the network's velocity at x.
        row: numbers of this call.
        noise: not used.
    """
    before = jnp.where(row.keep, state.x, state.before)
    slope = row.mean * state.slope + (1 - row.mean) * output
    return State(before + row.change * slope, before, output)


def couple(
    predict: Callable[[Array, Array], Array],
    noise: Float[Array, "b *shape"],
    steps: int,
    *,
    method: str = "euler",
) -> tuple[Float[Array, "b *shape"], Float[Array, "b *shape"]]:
    """Pairs of noise and the sample that flows from it, to train a straighter flow on.

    Args:
        predict: the network, (x [b ...], t [b]) -> velocity.
        noise: standard normal.
        steps: at least 1.
        method: as in `plan`.

    Returns:
        `noise` and its samples: the arguments `noise` and `data` of `loss`.
    """
    this = sys.modules[__name__]
    return noise, sampling.run(this, plan(steps, method=method), predict, noise)
