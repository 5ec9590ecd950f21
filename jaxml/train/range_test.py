"""Learning-rate range test: raise the rate at every step until the loss breaks away.

    result = range_test.range_test(loss_fn, params, batches, key=key, optimizer=adamw)
    range_test.plot(result, "rates.png")
    rate = result.suggestion

References:
    Smith, arXiv:1506.01186, section 3.3.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from jaxtyping import Float, Key, PyTree

from jaxml.train import step as train_step

__all__ = ["RangeTest", "plot", "range_test"]

BROKEN = 3.0  # times its best above its best, a loss will not come back


class RangeTest(NamedTuple):
    """What each rate did, up to the one at which the loss broke away."""

    rates: Float[np.ndarray, "steps"]
    losses: Float[np.ndarray, "steps"]
    smoothed: Float[np.ndarray, "steps"]
    suggestion: float  # NaN where the loss never fell
    diverged: bool  # before the highest rate was reached


def range_test(
    loss_fn: train_step.LossFn,
    params: PyTree,
    batches: Iterable[Any],
    *,
    key: Key[jax.Array, ""],
    optimizer: Callable[[optax.Schedule], optax.GradientTransformation] = optax.adam,
    low: float = 1e-6,
    high: float = 10.0,
    steps: int = 200,
    extra: PyTree = None,
    smoothing: float = 0.9,
) -> RangeTest:
    """Train once with a rate that rises from `low` to `high`, by equal factors.

    The arrays of the caller are left as they are.

    Args:
        loss_fn: as `make_step` takes it.
        params: where to start from.
        batches: of the training set; begun again where they end, so a list will do.
        key: for the randomness of `loss_fn`.
        optimizer: makes the optimizer from the schedule of its rate.
        low: the first rate.
        high: the last rate.
        steps: how many rates.
        extra: variables that are not trained.
        smoothing: share of the past in the running average of the loss, in [0, 1).

    Returns:
        The rates tried and their losses. The suggestion is a tenth of the rate at which
        the smoothed loss was lowest, that is, about to climb.

    Raises:
        ValueError: on rates that do not rise from above 0, fewer than 2 steps, a
            smoothing outside [0, 1), or batches that end and cannot begin again.
    """
    _check(low, high, steps, smoothing)
    tx = optimizer(lambda count: low * (high / low) ** (count / (steps - 1)))
    state = train_step.init(params, tx, key=key, extra=extra)
    take = jax.jit(train_step.make_step(loss_fn, tx))
    losses: list[float] = []
    smoothed: list[float] = []
    average = 0.0
    broken = False
    for batch in itertools.islice(_again(batches), steps):
        state, metrics = take(state, batch)
        loss = float(metrics["loss"])
        average = smoothing * average + (1.0 - smoothing) * loss
        level = average / (1.0 - smoothing ** (len(losses) + 1))
        broken = not math.isfinite(loss) or _far_above(level, smoothed)
        if broken:
            break
        losses.append(loss)
        smoothed.append(level)
    rates = low * (high / low) ** (np.arange(len(losses)) / (steps - 1))
    best = int(np.argmin(smoothed)) if smoothed else 0
    return RangeTest(
        rates=rates,
        losses=np.array(losses, dtype=float),
        smoothed=np.array(smoothed, dtype=float),
        suggestion=float(rates[best] / 10) if best > 0 else math.nan,
        diverged=broken,
    )


def plot(result: RangeTest, path: str | Path) -> None:
    """Draw the loss over the rate as a PNG file, the suggestion marked.

    Args:
        result: of `range_test`.
        path: of the file, whose folder exists.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(result.rates, result.losses, color="0.75", linewidth=1, label="loss")
    axes.plot(result.rates, result.smoothed, color="C0", label="smoothed loss")
    if math.isfinite(result.suggestion):
        axes.axvline(
            result.suggestion,
            color="C3",
            linestyle="--",
            label=f"suggestion {result.suggestion:.1e}",
        )
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("training loss")
    if result.losses.size:
        # The last losses are on their way to infinity and would hide the valley.
        start, floor = result.smoothed[0], result.smoothed.min()
        room = 0.1 * (start - floor) or 0.1
        axes.set_ylim(floor - 2 * room, start + 5 * room)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=150, format="png")


def _far_above(level: float, smoothed: list[float]) -> bool:
    """Whether the smoothed loss is above its start and far above its best."""
    if not smoothed:
        return False
    best = min(smoothed)
    return level > max(smoothed[0], best + BROKEN * abs(best))


def _again(batches: Iterable[Any]) -> Iterator[Any]:
    """The batches over and over."""
    for done in itertools.count():
        number = -1
        for number, batch in enumerate(batches):
            yield batch
        if number < 0:
            raise ValueError(
                "batches must hold at least one batch and, if they are fewer than "
                f"steps, begin again like a list; got none in round {done + 1}"
            )


def _check(low: float, high: float, steps: int, smoothing: float) -> None:
    if not 0 < low < high:
        raise ValueError(f"low and high must be 0 < low < high; got {low} and {high}")
    if steps < 2:
        raise ValueError(f"steps must be at least 2; got {steps}")
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing must be from 0 to below 1; got {smoothing}")
