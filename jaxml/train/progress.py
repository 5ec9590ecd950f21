"""A progress bar that costs nothing: it has no thread and redraws twice a second.

    with progress.Bar(steps=1000, done=0) as bar:
        bar.show(loss=0.31)
        bar.tick(50)

It is drawn on stderr, if that is a terminal, by process 0.
"""

import sys
import time

import jax
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

__all__ = ["Bar"]

REDRAW = 0.5  # seconds; one drawing costs milliseconds, which is several small steps


class Bar:
    """Step, steps, rate, loss and time left, on one line of the terminal."""

    def __init__(
        self,
        steps: int,
        done: int = 0,
        *,
        visible: bool | None = None,
        console: Console | None = None,
    ):
        """Describe the bar; entering the context draws it.

        Args:
            steps: the number of the last step.
            done: the steps that were done before, from 0 to `steps`.
            visible: None shows the bar if stderr is a terminal.
            console: where to draw. Default: stderr.
        """
        if visible is None:
            visible = sys.stderr.isatty()
        self._visible = visible and jax.process_index() == 0
        self._next = 0.0
        self._loss = ""
        self._began = time.monotonic()
        self._from = self._done = done
        if self._visible:
            self._bar = Progress(
                TextColumn("step"),
                MofNCompleteColumn(),
                BarColumn(),
                TextColumn("{task.fields[rate]}"),
                TextColumn("{task.fields[loss]}"),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=console or Console(stderr=True),
                auto_refresh=False,
            )
            self._task = self._bar.add_task(
                "", total=steps, completed=done, rate="", loss=""
            )

    def __enter__(self) -> "Bar":
        if self._visible:
            self._bar.start()
        return self

    def __exit__(self, *exception) -> None:
        if self._visible:
            self._draw()
            self._bar.stop()

    def tick(self, done: int) -> None:
        """Say, as often as wanted, how many steps are done; it seldom draws."""
        self._done = done
        if self._visible and time.monotonic() >= self._next:
            self._draw()

    def show(self, loss: float) -> None:
        """Say what the loss is now; the next drawing shows it."""
        self._loss = f"loss {loss:.4g}"

    def _draw(self) -> None:
        now = time.monotonic()
        rate = (self._done - self._from) / max(now - self._began, 1e-9)
        self._bar.update(
            self._task, completed=self._done, rate=f"{rate:.4g} it/s", loss=self._loss
        )
        self._bar.refresh()
        self._next = now + REDRAW
