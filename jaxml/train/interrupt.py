"""Signals that end a run between two steps, never within one.

    with interrupt.Watch() as watch:
        while not watch.signal:
            ...                      # the step that is running is finished

The first SIGINT (Ctrl-C) or SIGTERM only sets a flag; a second SIGINT interrupts at
once.
"""

import signal
import threading
from types import FrameType
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

__all__ = ["Interrupted", "Watch"]

WATCHED = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A signal ended the run after a whole step, and its state is saved.

    By custom a process then exits with the code 128 + `signal`.
    """

    def __init__(self, step: int, signal: int, saved: bool = False):
        kept = "; its state is saved" if saved else ""
        super().__init__(f"signal {signal} ended the run after step {step}{kept}")
        self.step = step
        self.signal = signal


class Watch:
    """A context that turns SIGINT and SIGTERM into the flag `signal`.

    The handlers of before come back on leaving. Outside the main thread, where Python
    forbids handlers, it watches nothing. A signal that nobody took note of (`heed`)
    is raised again on leaving, so that none is lost.
    """

    def __init__(self):
        self.signal: int = 0  # number of the signal that came, 0: none
        self._many = jax.process_count() > 1
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Watch":
        if threading.current_thread() is threading.main_thread():
            self._before = {each: signal.signal(each, self._note) for each in WATCHED}
        return self

    def __exit__(self, *exception) -> None:
        came = self.heed() if self._before else 0
        self._restore()
        if came:
            signal.raise_signal(came)

    def heed(self) -> int:
        """The number of the signal that came, which is hereby taken note of."""
        came, self.signal = self.signal, 0
        return came

    def due(self, boundary: bool) -> bool:
        """Whether to end now.

        Args:
            boundary: whether this is one of the steps at which several processes agree
                (a collective, so all must say the same). One process does not wait.
        """
        if self._many:
            if not boundary:
                return False
            flags = multihost_utils.process_allgather(np.int32(self.signal))
            self.signal = int(np.max(flags))
        return self.signal != 0

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal and number == signal.SIGINT:
            self.signal = 0
            self._restore()  # a loop left by this may be closed much later
            raise KeyboardInterrupt
        self.signal = number

    def _restore(self) -> None:
        # A generator may be closed by the collector, in whatever thread that runs.
        if threading.current_thread() is threading.main_thread():
            for each, handler in self._before.items():
                # None stands for a handler that was not set from Python.
                signal.signal(each, signal.SIG_DFL if handler is None else handler)
            self._before = {}
