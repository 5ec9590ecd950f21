"""What the loop writes down, and when: its plan, its log and its bar.

The log of a step is fetched while the next one runs, so that the device never waits for
it. Part of `jaxml.train.loop`.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from jaxml.train import nonfinite
from jaxml.train.best import Best
from jaxml.train.folder import Run
from jaxml.train.log import Record
from jaxml.train.progress import Bar
from jaxml.train.step import TrainState

__all__ = ["Book", "Evaluate", "Metrics", "Plan"]

Metrics = dict[str, Array]
Evaluate = Callable[[TrainState], dict[str, float]]


class Plan(NamedTuple):
    """What is due when; every number counts steps."""

    steps: int
    log_every: int
    save_every: int
    eval_every: int
    evaluate: Evaluate | None
    folder: Run | None
    best: Best | None
    epoch: int  # 0 if unknown

    def logs(self, done: int) -> bool:
        return done % self.log_every == 0 or done == self.steps

    def evaluates(self, done: int) -> bool:
        due = done % self.eval_every == 0 or done == self.steps
        return due and self.evaluate is not None

    def saves(self, done: int) -> bool:
        due = done % self.save_every == 0 or done == self.steps
        return due and self.folder is not None

    def waits(self, done: int) -> bool:
        """Whether the next step must wait until this one is looked at."""
        return self.evaluates(done) or self.saves(done) or done == self.steps


class _Late(NamedTuple):
    """A log that is due, and still on the device."""

    done: int
    metrics: Metrics
    first_bad: Int[Array, "2"]
    params: Any  # for their paths; the arrays may be gone


class Book:
    """Writes the log, shows the bar, and stops the run at what is not finite."""

    def __init__(self, plan: Plan, loader: Any, bar: Bar, done: int):
        """Begin at step `done`."""
        self._plan, self._loader, self._bar = plan, loader, bar
        self._late: _Late | None = None
        self.start(done)

    def start(self, done: int) -> None:
        """Take the time from here: speed is that of the steps alone."""
        self._since, self._done = time.perf_counter(), done

    def later(self, done: int, state: TrainState, metrics: Metrics) -> None:
        """Have the log of a step written by the next `flush`."""
        # The next step may be given the memory of the state.
        first_bad = _copy(state.first_bad)
        self._late = _Late(done, metrics, first_bad, state.params)

    def flush(self) -> None:
        """Write the log that is late, if there is one.

        Raises:
            NonFinite: if the run is not finite any more.
            OSError: if the log cannot be written.
        """
        late, self._late = self._late, None
        if late is not None:
            nonfinite.check(late.first_bad, late.params, self._loader)
            self.write(late.done, late.metrics, {})
            self.start(late.done)

    def close(self) -> None:
        """Write what is late, whatever it says: the run is being left."""
        late, self._late = self._late, None
        if late is not None:
            self.write(late.done, late.metrics, {})

    def write(self, done: int, metrics: Metrics, scores: dict[str, float]) -> None:
        """Write the log of a step now, if one is due or there are scores."""
        plan = self._plan
        record: Record = {"step": done}
        if plan.epoch:
            record["epoch"] = done / plan.epoch
        if plan.logs(done):
            record |= {name: _number(name, x) for name, x in metrics.items()}
            # Here the device has caught up, so the time is that of finished steps.
            seconds = time.perf_counter() - self._since
            record["steps_per_second"] = (done - self._done) / max(seconds, 1e-9)
            if "loss" in record:
                self._bar.show(record["loss"])
        record |= {"time": time.time()}
        record |= {f"validation/{name}": value for name, value in scores.items()}
        if plan.folder is not None and (plan.logs(done) or scores):
            plan.folder.log.write(record)


_copy = jax.jit(jnp.copy)


def _number(name: str, value: Array) -> float | int:
    if np.ndim(value):
        raise ValueError(
            f"metrics must be scalars; got {name!r} of shape {np.shape(value)}"
        )
    return np.asarray(value).item()
