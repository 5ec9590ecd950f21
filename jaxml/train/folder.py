"""The folder of a run: what was run, with which versions, what came out.

    run = folder.create(name="digits", config=config)      # runs/digits/20250131-184502
    for state, metrics in loop.run(step, state, loader, steps=1000, folder=run):
        ...
    run.finish({"accuracy": 0.985})

    config.json     the configuration            checkpoints/   states of the run
    versions.json   Python, packages, devices    metrics.jsonl  one log a line
    scores.json     what `finish` was given      *.png          what `finish` drew

Every file appears whole or not at all. In several processes only process 0 writes.
"""

import dataclasses
import datetime
import enum
import importlib.metadata
import json
import logging
import platform
import time
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import Float, Integer, Shaped

from jaxml import __version__
from jaxml.train import log, plots
from jaxml.train.checkpoint import Checkpoints

__all__ = ["Run", "create", "differences", "versions"]

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Run:
    """One run on the disk; made by `create`."""

    path: Path
    config: Any  # the frozen dataclass the run was started with, or None
    resume: bool = False  # whether a loop goes on from the newest checkpoint
    tensorboard: bool = False

    @cached_property
    def checkpoints(self) -> Checkpoints:
        """Its saved states; the folder appears with the first of them."""
        return Checkpoints(self.path / "checkpoints")

    @cached_property
    def log(self) -> log.Log:
        """Its `metrics.jsonl`."""
        return log.Log(self.path, tensorboard=self.tensorboard)

    def finish(
        self,
        scores: dict[str, float],
        *,
        labels: Integer[np.ndarray, "n"] | None = None,
        probabilities: Float[np.ndarray, "n classes"] | None = None,
        images: Shaped[np.ndarray, "n h w c"] | None = None,
        classes: tuple[str, ...] = (),
    ) -> list[Path]:
        """Write `scores.json`, and draw what there is to see.

        Args:
            scores: what the run is worth, e.g. `{"accuracy": 0.98}`.
            labels: the true class of every test row.
            probabilities: of each class; with `labels` they give `confusion.png`.
            images: the test images; with both they give `mistakes.png`.
            classes: their names. Default: their numbers.

        Returns:
            The files written. Without matplotlib the plots are left out, which is
            said in the Python log: the run itself is done and stays good.

        Raises:
            OSError: if the folder cannot be written.
        """
        if jax.process_index() != 0:
            return []
        written = [self.path / "scores.json"]
        plain = {name: float(value) for name, value in scores.items()}
        log.replace(written[0], json.dumps(plain, indent=2) + "\n")
        try:
            written += plots.curves(self.log.records(), self.path / "curves.png")
            if labels is not None and probabilities is not None:
                written += plots.classifier(
                    self.path, labels, np.asarray(probabilities), images, classes
                )
        except ImportError as error:
            logger.warning("no plots: %s; pip install 'jaxml-learn[plots]'", error)
        return written


def create(
    path: str | Path | None = None,
    *,
    name: str = "run",
    config: Any = None,
    resume: bool = False,
    root: str | Path = "runs",
    tensorboard: bool = False,
) -> Run:
    """Make the folder of a new run, or open that of a broken one.

    Args:
        path: the folder. Default: `root/name/<date and time>`.
        name: of the kind of run.
        config: a dataclass of plain values (numbers, strings, tuples, dataclasses).
        resume: whether `path` is to be gone on with.
        root: where runs without a `path` are put.
        tensorboard: whether to write event files beside `metrics.jsonl`.

    Returns:
        The run, with `config.json` and `versions.json` on the disk.

    Raises:
        ValueError: if the folder holds something and `resume` is False; if there is
            nothing to resume, or it was started with another configuration.
        OSError: if the folder cannot be made or written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as home:
    ...     run = create(root=home, name="digits", config={"rate": 0.1})
    ...     sorted(file.name for file in run.path.iterdir())
    ['config.json', 'versions.json']
    """
    if resume and path is None:
        raise ValueError("resume needs the path of the run; got None")
    folder = _unused(Path(root) / name) if path is None else Path(path)
    run = Run(folder.absolute(), config, resume, tensorboard)
    _together(lambda: _reopen(run) if resume else _begin(run))
    return run


def differences(old: Any, new: Any, prefix: str = "") -> list[str]:
    """What differs between two JSON values, one line each.

    >>> differences({"epochs": 3, "model": {"width": 8}}, {"epochs": 5, "model": {}})
    ['epochs: 3 before, 5 now', 'model.width: 8 before, absent now']
    """
    if not (isinstance(old, dict) and isinstance(new, dict)):
        say = ["absent" if v is _ABSENT else json.dumps(v) for v in (old, new)]
        return [] if old == new else [f"{prefix}: {say[0]} before, {say[1]} now"]
    names = old | new  # in the order of both
    return [
        line
        for each in names
        for line in differences(
            old.get(each, _ABSENT),
            new.get(each, _ABSENT),
            f"{prefix}.{each}" if prefix else each,
        )
    ]


def versions() -> dict[str, str]:
    """What decides, beside the configuration, which bits come out."""
    devices = jax.devices()
    return {
        "jaxml": __version__,
        "python": platform.python_version(),
        **{each: importlib.metadata.version(each) for each in PACKAGES},
        "platform": platform.platform(),
        "devices": f"{len(devices)} x {devices[0].device_kind}",
        "processes": str(jax.process_count()),
    }


_ABSENT = object()


def _begin(run: Run) -> None:
    if run.path.exists() and (not run.path.is_dir() or any(run.path.iterdir())):
        raise ValueError(
            f"the folder of a new run must be empty, and {run.path} is not: go on with "
            f"that run by --resume {run.path}, or choose another --folder"
        )
    config = _json(run.config)
    try:
        run.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            error.errno, f"cannot make the run folder {run.path}: {error.strerror}"
        ) from error
    log.replace(run.path / "versions.json", json.dumps(versions(), indent=2) + "\n")
    # Last, since a folder with a configuration counts as a run.
    log.replace(run.path / "config.json", json.dumps(config, indent=2) + "\n")


def _reopen(run: Run) -> None:
    if not (run.path / "config.json").is_file():
        raise ValueError(f"no run to resume: {run.path} has no config.json")
    before = json.loads((run.path / "config.json").read_text())
    changed = differences(before, _json(run.config))
    if changed:
        raise ValueError(
            f"a run is resumed with the configuration it was started with; {run.path} "
            "has another: " + "; ".join(changed)
        )
    file = run.path / "versions.json"
    old = json.loads(file.read_text()) if file.is_file() else {}
    changed = differences(old, versions())
    if changed:
        logger.warning(
            "%s goes on with other versions, so not bit for bit: %s",
            run.path,
            "; ".join(changed),
        )


def _json(config: Any) -> Any:
    """`config` as it reads from its JSON file (tuples are lists, keys are strings)."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        config = dataclasses.asdict(config)
    try:
        return json.loads(json.dumps(config, default=_text))
    except TypeError as error:
        raise ValueError(f"the configuration must be plain values: {error}") from error


def _text(value: Any) -> str:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, enum.Enum):
        return value.name
    raise TypeError(f"got {value!r} of type {type(value).__name__}")


def _unused(home: Path) -> Path:
    """A folder named by date and time, the same in all processes."""
    now = int(time.time())
    while (home / _stamp(now)).exists():  # a run that began in the same second
        now += 1
    if jax.process_count() > 1:
        now = int(multihost_utils.broadcast_one_to_all(np.uint32(now)))
    return home / _stamp(now)


def _stamp(seconds: int) -> str:
    return datetime.datetime.fromtimestamp(seconds).strftime("%Y%m%d-%H%M%S")


def _together(act) -> None:
    """Do it in process 0; all go on, or all stop."""
    error = None
    if jax.process_index() == 0:
        try:
            act()
        except (OSError, ValueError) as caught:
            error = caught
    failed = error is not None
    if jax.process_count() > 1:
        failed = bool(multihost_utils.broadcast_one_to_all(np.bool_(failed)))
    if error is not None:
        raise error
    if failed:
        raise ValueError("process 0 could not open the run folder; see its message")
