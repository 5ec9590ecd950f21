"""An iterator over batches that a thread makes ahead of time.

The consumer sends the thread the positions that it will want and takes the batches in
the same order. Both queues are `SimpleQueue`s: they may be touched from a finalizer.
"""

import contextlib
import threading
import weakref
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

import jax

__all__ = ["Stream"]

State = TypeVar("State")


class Stream(Iterator[dict[str, jax.Array]], Generic[State]):
    """Batches in order, some of them made ahead. Close it, or just drop it.

    An error while a batch is made is raised when the turn of that batch comes, with
    the traceback of the thread, and ends the stream.
    """

    def __init__(
        self,
        load: Callable[[State], dict[str, jax.Array]],
        state_at: Callable[[int], State],
        *,
        start: int = 0,
        stop: int | None = None,
        prefetch: int = 2,
    ):
        """Begin to make batches.

        Args:
            load: makes the batch of a state.
            state_at: the state of the batch number `step`.
            start: number of the first batch.
            stop: number of the batch to end before. Default: endless.
            prefetch: how many batches to keep ready; 0 makes each when asked, in the
                caller's thread.
        """
        self._load, self._state_at = load, state_at
        self._step, self._asked, self._stop = start, start, stop
        self._wanted: SimpleQueue[Any] = SimpleQueue()
        self._ready: SimpleQueue[Any] = SimpleQueue()
        self._thread: threading.Thread | None = None
        if prefetch:
            # The thread must not know the stream, or nobody could drop it.
            # A `jax.default_device` block holds in the thread of the caller only.
            device = jax.config.jax_default_device  # type: ignore[attr-defined]
            work = (load, device, self._wanted, self._ready)
            self._thread = threading.Thread(
                target=_work, args=work, daemon=True, name="jaxml-loader"
            )
            self._thread.start()
            weakref.finalize(self, _end, self._thread, self._wanted)
        for _ in range(prefetch):
            self._ask()

    @property
    def state(self) -> State:
        """The state of the next batch to be handed out, whatever was made ahead."""
        return self._state_at(self._step)

    def __next__(self) -> dict[str, jax.Array]:
        if self._step == self._stop:
            self.close()
            raise StopIteration
        try:
            batch = self._load(self.state) if self._thread is None else self._take()
        except BaseException:  # an interrupt too, or the queues would be out of step
            self.close()
            raise
        self._step += 1
        return batch

    def close(self) -> None:
        """End the stream and its thread. What was made ahead is dropped."""
        self._stop = self._step
        if self._thread is not None:
            _end(self._thread, self._wanted)

    def _ask(self):
        if self._asked != self._stop:
            self._wanted.put(self._state_at(self._asked))
            self._asked += 1

    def _take(self):
        batch, error = self._ready.get()
        if error is not None:
            raise error
        self._ask()
        return batch


def _work(load, device, wanted, ready):
    """What the thread does: the batch of every state it is sent, until None comes."""
    with jax.default_device(device):
        for state in iter(wanted.get, None):
            try:
                ready.put((load(state), None))
            except BaseException as error:  # whatever it is, the consumer must see it
                ready.put((None, error))
                return


def _end(thread, wanted):
    """Take back what is not begun, and wait for what is."""
    with contextlib.suppress(Empty):
        while True:
            wanted.get_nowait()
    wanted.put(None)
    if thread is not threading.current_thread():  # the collector may run in it
        # A bound, since the collector may also run where a lock is held that the
        # batch in the making waits for.
        thread.join(timeout=5)
