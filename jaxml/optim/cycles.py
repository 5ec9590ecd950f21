"""Schedules that go up and down: one cycle, restarts, triangles, any knots.

    schedule = cycles.one_cycle(0.4, steps=10_000)
    tx = optimizers.momentum(schedule, momentum=cycles.one_cycle_momentum(10_000))

All are found in `jaxml.optim.schedules` too, beside those that only fall.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

__all__ = [
    "Number",
    "Scalar",
    "Schedule",
    "cosine_restarts",
    "cyclic",
    "half_cosine",
    "interpolate",
    "one_cycle",
    "one_cycle_momentum",
    "passed",
    "positive",
    "real",
    "rising_like",
]

Number = int | float  # static
Scalar = int | float | Float[Array, ""]  # it may be traced
Schedule = Callable[[ArrayLike], Float[Array, "..."]]


def one_cycle(
    rate: Scalar,
    steps: int,
    rise: Number = 0.3,
    phases: int = 2,
    div_factor: Number = 25.0,
    final_div_factor: Number = 1e4,
    shape: str = "cosine",
) -> Schedule:
    """Rise to `rate`, fall far below the start (1cycle); torch's names and defaults.

    Args:
        rate: the peak.
        steps: of the whole run, more than 1 / rise.
        rise: share of the run that rises, in (0, 1); below 1/2 for 3 phases.
        phases: 2: up, down to the final rate; 3: up, down to the start, then to the
            final rate.
        div_factor: the start is rate / div_factor.
        final_div_factor: the final rate is the start over this.
        shape: of each phase.

    References:
        Smith, arXiv:1803.09820.
    """
    start = 1.0 / div_factor
    factors = [start, 1.0, start / final_div_factor]
    if phases == 3:
        factors.insert(2, start)
    return interpolate(rate, _cycle(steps, rise, phases), factors, shape)


def one_cycle_momentum(
    steps: int,
    high: Number = 0.95,
    low: Number = 0.85,
    rise: Number = 0.3,
    phases: int = 2,
    shape: str = "cosine",
) -> Schedule:
    """The momentum that goes with `one_cycle`: it falls while the rate rises.

    Args:
        steps: of the whole run; this, `rise`, `phases` and `shape` as for `one_cycle`.
        high: the momentum at the start and at the end, in [0, 1).
        low: the momentum at the peak of the rate, in [0, 1).
        rise: share of the run that falls.
        phases: 2 or 3.
        shape: of each phase.
    """
    factors = [high, low, high, high][: phases + 1]
    return interpolate(1.0, _cycle(steps, rise, phases), factors, shape)


def cosine_restarts(
    rate: Scalar,
    period: Number,
    multiplier: Number = 1.0,
    end: Scalar = 0.0,
    decay: Scalar = 1.0,
) -> Schedule:
    """Cosines from `rate` to `end`, one after the other (SGDR).

    Args:
        rate: the rate at the first restart.
        period: steps of the first cosine.
        multiplier: how much longer each cosine is than the one before, from 1.
        end: the rate at the end of each.
        decay: what the height of each is multiplied by, from the second on.

    References:
        Loshchilov and Hutter, arXiv:1608.03983, eq. 5.
    """
    positive("period", period)
    if multiplier < 1:
        raise ValueError(f"multiplier must be at least 1; got {multiplier}")

    starts, length = [0.0], float(period)
    while multiplier > 1 and starts[-1] < 2**31:  # the largest step there can be
        starts.append(starts[-1] + length)
        length *= multiplier
    table = jnp.asarray(starts, dtype=float)

    def schedule(step):
        step = real(step)
        nearly = step + 1e-3  # a start that is no whole number may round up past it
        if multiplier > 1:
            cycle = jnp.searchsorted(table, nearly, side="right") - 1
            begin = table[cycle]
        else:
            cycle = jnp.floor(nearly / period)
            begin = cycle * period
        along = jnp.clip((step - begin) / (period * multiplier ** real(cycle)), 0, 1)
        return end + (rate * decay ** real(cycle) - end) * half_cosine(along)

    return schedule


def cyclic(
    rate: Scalar,
    up: int,
    down: int | None = None,
    low: Scalar = 0.0,
    decay: Scalar = 1.0,
) -> Schedule:
    """Triangles: from `low` to `rate` in `up` steps and back in `down` steps.

    Args:
        rate: the top of the first triangle.
        up: steps of the rise.
        down: steps of the fall, as many as `up` unless given.
        low: the rate between two triangles.
        decay: what the height of each is multiplied by, from the second on.

    References:
        Smith, arXiv:1506.01186.
    """
    down = up if down is None else down
    positive("up", up)
    positive("down", down)

    def schedule(step):
        cycle = jnp.asarray(step) // (up + down)
        step = real(jnp.asarray(step) - cycle * (up + down))
        height = jnp.minimum(step / up, (up + down - step) / down)
        return low + (rate - low) * height * decay ** real(cycle)

    return schedule


def interpolate(
    rate: Scalar,
    knots: Sequence[Number],
    factors: Sequence[Number],
    shape: str = "linear",
) -> Schedule:
    """Pass through rate * factors[i] at step knots[i]; constant outside the knots.

    Args:
        rate: what the factors multiply.
        knots: rising steps, not always whole numbers.
        factors: one per knot.
        shape: of the way between two knots: a straight line or half a cosine.
    """
    rising_like("knots", knots, "factors", factors)
    if shape not in ("cosine", "linear"):
        raise ValueError(f"shape must be cosine or linear; got {shape!r}")
    if len(knots) < 2:
        raise ValueError(f"knots must be at least 2; got {len(knots)}")
    places, values = jnp.asarray(knots, dtype=float), jnp.asarray(factors, dtype=float)

    def schedule(step):
        step = real(step)
        left = jnp.clip(passed(step, knots) - 1, 0, len(knots) - 2)
        width = places[left + 1] - places[left]
        along = jnp.clip((step - places[left]) / width, 0.0, 1.0)
        remains = half_cosine(along) if shape == "cosine" else 1.0 - along
        return rate * (values[left + 1] + (values[left] - values[left + 1]) * remains)

    return schedule


def real(step: ArrayLike) -> Float[Array, "..."]:
    """A step as a floating-point number."""
    return jnp.asarray(step, dtype=float)


def half_cosine(along: Float[Array, "..."]) -> Float[Array, "..."]:
    """From 1 at 0 to 0 at 1: (1 + cos(pi x)) / 2 without its cancellation near 1."""
    return jnp.square(jnp.sin(jnp.pi / 2 * (1.0 - along)))


def passed(step: ArrayLike, places: Sequence[Number]) -> Int[Array, "..."]:
    """How many of the rising `places` are at or before `step`."""
    return jnp.searchsorted(jnp.asarray(places, dtype=float), real(step), side="right")


def positive(name: str, value: Number) -> None:
    """Refuse what is not positive."""
    if not value > 0:
        raise ValueError(f"{name} must be positive; got {value}")


def rising_like(
    name: str, places: Sequence[Number], other: str, values: Sequence
) -> None:
    """Refuse places that do not rise, or are not as many as the values."""
    if list(places) != sorted(set(places)) or len(places) != len(values):
        raise ValueError(
            f"{name} must rise and be as many as {other} ({len(values)}); "
            f"got {list(places)}"
        )


def _cycle(steps: int, rise: Number, phases: int) -> list[float]:
    """The knots of 1cycle; as torch counts, the last one is the last step."""
    if phases not in (2, 3):
        raise ValueError(f"phases must be 2 or 3; got {phases}")
    top = rise * steps - 1
    knots = [0.0, top, steps - 1.0] if phases == 2 else [0.0, top, 2 * top, steps - 1.0]
    if not all(a < b for a, b in pairwise(knots)):
        raise ValueError(
            f"rise must be above 1 / steps and below {1 / (phases - 1)} for {phases} "
            f"phases; got rise={rise} and steps={steps}"
        )
    return knots
