"""Checkpoints: saved beside the running steps, whole or not there at all.

    checkpoints = Checkpoints("run/checkpoints", keep=3, keep_best=1, mode="min")
    checkpoints.save(step, state, loader=loader.state_at(step), score=loss)
    restored = checkpoints.restore(template)        # None, or the newest sound one
    checkpoints.close()                             # without it the last may be lost

A save copies the state and returns; a thread writes the copy through orbax into a
hidden folder, seals that with the checksum of every file, and renames it to the number
of the step. What was killed half-way keeps its hidden name. What was damaged later is
found by its checksums, and the one before is taken.

On several processes each calls the same methods in the same order; process 0 seals.
"""

import errno
import itertools
import json
import logging
import math
import re
import shutil
from concurrent import futures
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from jax.experimental import multihost_utils
from jaxtyping import PyTree
from orbax.checkpoint.multihost import get_barrier_sync_fn

from jaxml import __version__
from jaxml.train import commit, digest, leaves

__all__ = ["Checkpoints", "Restored", "SaveError"]

logger = logging.getLogger(__name__)
ARRAYS = "arrays"  # what orbax writes
BARRIER = 20 * 60 * 1000  # ms that a process waits for the others
_saves = itertools.count()  # the same on every process, so that the barriers meet


class SaveError(OSError):
    """A checkpoint could not be written; those before it are untouched."""


class Restored(NamedTuple):
    """What a checkpoint gives back."""

    state: PyTree
    step: int
    loader: tuple[int, int, int] | None  # seed, epoch, index of the next batch
    skipped: tuple[str, ...]  # damaged ones that came first, each with the reason
    score: float | None


class Checkpoints:
    """The checkpoints in one folder.

    Args:
        folder: made where it is missing.
        keep: how many of the last are kept, from 1.
        keep_best: how many of those with the best score are kept besides, from 0.
        mode: whether the best score is the smallest ("min") or the largest ("max").

    Raises:
        ValueError: `keep`, `keep_best` or `mode` is not one of these.
        OSError: the folder cannot be made.

    >>> import jax.numpy as jnp, tempfile
    >>> with Checkpoints(tempfile.mkdtemp()) as checkpoints:
    ...     checkpoints.save(500, {"weight": jnp.arange(3.0)}, score=0.25)
    ...     restored = checkpoints.restore({"weight": jnp.zeros(3)})
    >>> restored.step, restored.state["weight"].tolist()
    (500, [0.0, 1.0, 2.0])
    """

    def __init__(
        self,
        folder: str | Path,
        keep: int = 3,
        keep_best: int = 1,
        mode: str = "min",
    ):
        if keep < 1 or keep_best < 0:
            wanted = "keep must be from 1 and keep_best from 0"
            raise ValueError(f"{wanted}; got {keep} and {keep_best}")
        if mode not in ("min", "max"):
            raise ValueError(f'mode must be "min" or "max"; got {mode!r}')
        self.folder = Path(folder).absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._keep, self._keep_best = keep, keep_best
        self._sign = 1 if mode == "min" else -1
        # Neither OCDBT nor compression: half the CPU time a save takes from the steps.
        self._handler = ocp.PyTreeCheckpointHandler(
            use_ocdbt=False, use_compression=False
        )
        self._thread = futures.ThreadPoolExecutor(1, "jaxml-checkpoint")
        self._running: futures.Future[None] | None = None
        self._scores: dict[int, float | None] = {}
        self._damaged: set[int] = set()
        self._cleared = False

    def save(
        self,
        step: int,
        state: PyTree,
        *,
        loader: tuple[int, int, int] | None = None,
        score: float | None = None,
        wait: bool = False,
    ) -> None:
        """Copy `state` and write the copy in the background.

        The state may be donated as soon as this returns. A save that still runs is
        waited for first.

        Args:
            step: the number of steps done, from 0; the same step again replaces it.
            state: a tree of arrays, random keys and numbers.
            loader: seed, epoch and index of the next batch.
            score: what `best` goes by; NaN is never the best.
            wait: return only when it is written.

        Raises:
            SaveError: the save before (with `wait`: this one) failed.
        """
        if step < 0:
            raise ValueError(f"step must be from 0; got {step}")
        self.wait()
        score = None if score is None or math.isnan(score) else float(score)
        about = {
            "jaxml": __version__,
            "step": int(step),
            "loader": None if loader is None else [int(number) for number in loader],
            "score": score,
        }
        copies = leaves.snapshot(state)
        number = next(_saves)
        self._running = self._thread.submit(self._write, copies, about, number)
        if wait:
            self.wait()

    def wait(self) -> None:
        """Return when nothing is being written; raise SaveError if that failed."""
        if self._running is not None:
            futures.wait([self._running])  # an interrupt here loses no error
            running, self._running = self._running, None
            running.result()

    def close(self) -> None:
        """Wait for the last save and end the thread."""
        try:
            self.wait()
        finally:
            self._thread.shutdown()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def steps(self) -> list[int]:
        """The steps that have a checkpoint, in order; they are not checked."""
        return sorted(commit.found(self.folder))

    def restore(self, template: PyTree) -> Restored | None:
        """The newest sound checkpoint as `template`, None where there is none.

        Args:
            template: arrays or `jax.ShapeDtypeStruct`s that give the structure, shapes,
                dtypes and devices of the result. The devices may be others than those
                the state was saved from.

        Raises:
            ValueError: the checkpoint is of another state; the paths are listed.
            DamagedError: there are checkpoints, and none is sound.
        """
        self.wait()
        return self._first_sound(self.steps()[::-1], template)

    def best(self, template: PyTree) -> Restored | None:
        """The sound checkpoint with the best score, as `restore` returns it."""
        self.wait()
        return self._first_sound(self._ranked(), template)

    def _first_sound(self, steps: list[int], template: PyTree) -> Restored | None:
        chosen = _share(self._search(steps) if jax.process_index() == 0 else {})
        about, skipped = chosen["about"], tuple(chosen["skipped"])
        if about is None:
            if skipped:
                head = f"no checkpoint in {self.folder} is sound: "
                raise digest.DamagedError(head + "; ".join(skipped))
            return None
        step = about["step"]
        entries = [leaves.Entry(*entry) for entry in about["leaves"]]
        if lines := leaves.differences(entries, template):
            head = f"the checkpoint {self.folder / str(step)} is of another state:"
            raise ValueError("\n  ".join([head, *lines]))
        stored = {}
        if args := leaves.restore_args(entries, template):
            stored = self._handler.restore(
                epath.Path(commit.found(self.folder)[step] / ARRAYS),
                args=ocp.args.PyTreeRestore(restore_args=args),
            )
        state = leaves.unpack(entries, stored, template)
        loader = about["loader"] and tuple(about["loader"])
        return Restored(state, step, loader, skipped, about["score"])

    def _search(self, steps: list[int]) -> dict[str, Any]:
        """The index of the first sound one, and what is wrong with those before it."""
        found, skipped = commit.found(self.folder), []
        for step in steps:
            try:
                about = digest.check(found[step])
            except digest.DamagedError as damage:
                skipped.append(f"step {step}: {damage}")
                self._damaged.add(step)  # goes when the next save is whole
            else:
                return {"about": about, "skipped": skipped}
        return {"about": None, "skipped": skipped}

    def _write(self, copies: leaves.Leaves, about: dict[str, Any], number: int) -> None:
        """Write, seal, rename, thin out; in the thread."""
        step = about["step"]
        partial, first = commit.partial(self.folder, step), jax.process_index() == 0
        try:
            if first:
                if not self._cleared:
                    commit.clear(self.folder)
                    self._cleared = True
                (partial / ARRAYS).mkdir(parents=True)
            self._meet(f"{number}/made")
            entries, arrays = leaves.pack(copies)
            if arrays:
                place = epath.Path(partial / ARRAYS)
                self._handler.save(place, args=ocp.args.PyTreeSave(arrays))
            self._meet(f"{number}/written")
            if first:
                digest.seal(partial, about | {"leaves": entries})
                commit.finish(partial)
                self._scores[step] = about["score"]
                self._damaged.discard(step)
                self._thin(step)
            self._meet(f"{number}/sealed")
        except Exception as error:
            if first:
                shutil.rmtree(partial, ignore_errors=True)
            failure = self._failure(step, error)
            # At once: it is raised by the next save, if there is one.
            logger.error("%s", failure)
            raise failure from error

    def _failure(self, step: int, error: Exception) -> SaveError:
        # TensorStore has the number of the system's error in its text alone.
        told = re.search(r"OS error (\d+)", str(error))
        number = getattr(error, "errno", None) or int(told[1] if told else errno.EIO)
        reason = getattr(error, "strerror", None) or str(error)
        text = f"cannot save step {step}; earlier checkpoints are untouched. {reason}"
        return SaveError(number, text, str(self.folder))

    def _thin(self, step: int) -> None:
        """Remove what is neither among the last nor among the best."""
        steps = [other for other in self.steps() if other not in self._damaged]
        ranked = [other for other in self._ranked() if other in steps]
        kept = {step, *steps[-self._keep :], *ranked[: self._keep_best]}
        for other in set(self.steps()) - kept:
            commit.remove(self.folder, other)
        self._damaged.clear()

    def _ranked(self) -> list[int]:
        """The steps that have a score, the best first, of equals the earliest."""
        found = commit.found(self.folder)
        for step in found.keys() - self._scores.keys():
            try:
                index = json.loads((found[step] / digest.INDEX).read_bytes())
                self._scores[step] = index["content"]["score"]
            except (OSError, ValueError, KeyError, TypeError):
                self._scores[step] = None  # damaged
        scores = {step: self._scores[step] for step in found}
        ranks = [(self._sign * s, step) for step, s in scores.items() if s is not None]
        return [step for _, step in sorted(ranks)]

    def _meet(self, name: str) -> None:
        """Wait until every process is here; nothing to do for one."""
        get_barrier_sync_fn()(key=f"jaxml/checkpoint/{name}", timeout_ms=BARRIER)


def _share(content: dict[str, Any]) -> dict[str, Any]:
    """What process 0 found, on every process."""
    if jax.process_count() == 1:
        return content
    text = np.frombuffer(json.dumps(content).encode(), np.uint8)
    size = int(multihost_utils.broadcast_one_to_all(np.int32(text.size)))
    text = np.resize(text, size)
    return json.loads(bytes(multihost_utils.broadcast_one_to_all(text)))
