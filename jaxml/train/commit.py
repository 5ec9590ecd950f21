"""Folders named by the step they are of, put in place and taken away at once.

    path = commit.partial(folder, 500)   # .500.partial, to be made and filled
    commit.finish(path)                  # 500
    commit.found(folder)                 # {500: .../500}
    commit.remove(folder, 500)

A rename happens or does not. So what is being filled, replaced or removed has a hidden
name, and a process that is killed leaves nothing that is taken for whole.
"""

import re
import shutil
from pathlib import Path

__all__ = ["clear", "finish", "found", "partial", "remove"]

_STEP = re.compile(r"0|[1-9]\d*")
_HIDDEN = re.compile(r"\.(\d+)\.(partial|old|gone)")


def partial(folder: Path, step: int) -> Path:
    """The path to fill for `step`."""
    return folder / f".{step}.partial"


def finish(filled: Path) -> None:
    """Give a filled folder its name; one that has it is replaced."""
    step = filled.name.split(".")[1]
    final, old = filled.with_name(step), filled.with_name(f".{step}.old")
    if final.exists():
        final.rename(old)
    filled.rename(final)
    shutil.rmtree(old, ignore_errors=True)


def remove(folder: Path, step: int) -> None:
    """Take the folder of `step` away."""
    gone = (folder / str(step)).rename(folder / f".{step}.gone")
    shutil.rmtree(gone)


def found(folder: Path) -> dict[int, Path]:
    """The folder of each step; where only the replaced one is there, that."""
    steps: dict[int, Path] = {}
    for path in folder.iterdir():
        hidden = _HIDDEN.fullmatch(path.name)
        if hidden and hidden[2] == "old":
            steps.setdefault(int(hidden[1]), path)
        elif _STEP.fullmatch(path.name):
            steps[int(path.name)] = path
    return steps


def clear(folder: Path) -> None:
    """Remove what a killed process left half-way, and name what it had replaced."""
    for step, path in found(folder).items():
        if path.name != str(step):
            path.rename(folder / str(step))
    for path in folder.iterdir():
        if _HIDDEN.fullmatch(path.name):
            shutil.rmtree(path)
