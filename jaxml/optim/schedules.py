"""Learning-rate schedules: pure functions from the step, counted from 0, to the rate.

    schedule = schedules.linear_warmup(schedules.cosine(1e-3, steps=9_000), steps=1_000)
    tx = optimizers.adamw(schedule)
    rates = schedule(jnp.arange(10_000))                            # to draw it

The first argument is always the rate that the schedule starts from or peaks at; it may
be traced, so a run can be vmapped over rates. Counts of steps are static. A schedule
takes a step or an array of steps.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax.numpy as jnp

from jaxml.optim import names
from jaxml.optim.cycles import (
    Number,
    Scalar,
    Schedule,
    cosine_restarts,
    cyclic,
    half_cosine,
    interpolate,
    one_cycle,
    one_cycle_momentum,
    passed,
    positive,
    real,
    rising_like,
)

__all__ = [
    "NAMES",
    "Schedule",
    "by_name",
    "constant",
    "cosine",
    "cosine_restarts",
    "cyclic",
    "exponential",
    "interpolate",
    "inverse_sqrt",
    "linear",
    "linear_warmup",
    "one_cycle",
    "one_cycle_momentum",
    "over_run",
    "piecewise",
    "polynomial",
    "power",
    "staircase",
]


def by_name(name: str, rate: Scalar, **options: Any) -> Schedule:
    """The schedule called `name`, one of `NAMES`.

        >>> by_name("exponential", 0.1, steps=10, factor=0.5)(20).round(6)
        Array(0.025, dtype=float32)

    Args:
        name: the name of a function of this module.
        rate: its first argument.
        options: its other arguments.

    Raises:
        ValueError: on an unknown name or option; the message lists the right ones.
    """
    function = names.find("schedule", _SCHEDULES, name)
    names.check(f"schedule {name}", function, options)
    return function(rate, **options)


def over_run(name: str, rate: Scalar, steps: int) -> Schedule:
    """The schedule called `name` with settings that fit a run of `steps` steps.

    Cosine, linear and one_cycle end with the run; exponential falls to a hundredth;
    power and inverse_sqrt take a tenth of the run as their unit of time.

    Raises:
        ValueError: on a name without such settings.
    """
    return names.find("schedule", _OVER_RUN, name)(rate, steps)


def constant(rate: Scalar) -> Schedule:
    """The same rate at every step."""
    return lambda step: rate + 0.0 * real(step)


def power(rate: Scalar, steps: Number, exponent: Scalar = 1.0) -> Schedule:
    """Fall as a power of time: rate / (1 + step / steps) ** exponent.

    With exponent 1 the rate is a half after `steps` steps, a third after twice as many.
    """
    positive("steps", steps)
    return lambda step: rate / (1.0 + real(step) / steps) ** exponent


def exponential(rate: Scalar, steps: Number, factor: Scalar = 0.1) -> Schedule:
    """Multiply the rate by `factor` every `steps` steps, smoothly."""
    positive("steps", steps)
    return lambda step: rate * jnp.power(factor, real(step) / steps)


def staircase(rate: Scalar, steps: int, factor: Scalar = 0.1) -> Schedule:
    """Multiply the rate by `factor` every `steps` steps, at once."""
    positive("steps", steps)
    return lambda step: rate * jnp.power(factor, real(jnp.asarray(step) // steps))


def piecewise(
    rate: Scalar, boundaries: Sequence[int], factors: Sequence[Number]
) -> Schedule:
    """Constant pieces: `rate`, then rate * factors[i] from step boundaries[i] on.

        >>> piecewise(0.1, boundaries=[5, 20], factors=[0.1, 0.01])(5).round(6)
        Array(0.01, dtype=float32)

    Args:
        rate: the rate before the first boundary.
        boundaries: rising steps; the new rate is used at the boundary itself (Keras
            begins one step later).
        factors: one per boundary, each relative to `rate`.
    """
    rising_like("boundaries", boundaries, "factors", factors)
    values = jnp.asarray([1.0, *factors], dtype=float)

    def schedule(step):
        return rate * values[passed(step, boundaries)]

    return schedule


def polynomial(
    rate: Scalar, steps: int, end: Scalar = 0.0, exponent: Scalar = 1.0
) -> Schedule:
    """Fall from `rate` to `end` in `steps` steps as (1 - step / steps) ** exponent."""
    positive("steps", steps)
    return lambda step: end + (rate - end) * (1.0 - _along(step, steps)) ** exponent


def linear(rate: Scalar, steps: int, end: Scalar = 0.0) -> Schedule:
    """Fall from `rate` to `end` in `steps` steps, on a straight line."""
    return polynomial(rate, steps, end)


def cosine(rate: Scalar, steps: int, end: Scalar = 0.0) -> Schedule:
    """Fall from `rate` to `end` in `steps` steps, along half a cosine.

    References:
        Loshchilov and Hutter, arXiv:1608.03983, eq. 5 with one period.
    """
    positive("steps", steps)
    return lambda step: end + (rate - end) * half_cosine(_along(step, steps))


def inverse_sqrt(rate: Scalar, steps: Number) -> Schedule:
    """Fall as one over the square root of time: rate * sqrt(steps / (steps + step)).

    After a linear warm-up of as many `steps` it is the schedule of the transformer.

    References:
        Vaswani et al., arXiv:1706.03762, eq. 3.
    """
    positive("steps", steps)
    return lambda step: rate * jnp.sqrt(steps / (steps + real(step)))


def linear_warmup(schedule: Schedule, steps: int, start: Scalar = 0.0) -> Schedule:
    """Rise on a straight line to the first rate of `schedule`, then follow it.

        >>> linear_warmup(constant(0.8), steps=4)(jnp.arange(6))
        Array([0. , 0.2, 0.4, 0.6, 0.8, 0.8], dtype=float32)

    Args:
        schedule: what follows; its step 0 is step `steps` of the result.
        steps: of the rise; none gives `schedule` back.
        start: share of the first rate to begin from, in [0, 1].
    """
    if steps < 0:
        raise ValueError(f"steps must be at least 0; got {steps}")
    if steps == 0:
        return schedule

    def warm(step):
        rising = start + (1.0 - start) * real(step) / steps
        after = jnp.maximum(jnp.asarray(step) - steps, 0)
        return jnp.where(
            jnp.asarray(step) < steps, rising * schedule(0), schedule(after)
        )

    return warm


_SCHEDULES = {
    function.__name__: function
    for function in (
        constant,
        power,
        exponential,
        staircase,
        piecewise,
        interpolate,
        polynomial,
        linear,
        cosine,
        cosine_restarts,
        cyclic,
        inverse_sqrt,
        one_cycle,
    )
}

NAMES = tuple(_SCHEDULES)

_OVER_RUN: dict[str, Callable[[Scalar, int], Schedule]] = {
    "constant": lambda rate, steps: constant(rate),
    "linear": linear,
    "cosine": cosine,
    "one_cycle": one_cycle,
    "exponential": partial(exponential, factor=0.01),
    "power": lambda rate, steps: power(rate, steps / 10),
    "inverse_sqrt": lambda rate, steps: inverse_sqrt(rate, steps / 10),
}


def _along(step, steps: int):
    """The share of `steps` that is past, from 0 to 1."""
    return jnp.clip(real(step) / steps, 0.0, 1.0)
