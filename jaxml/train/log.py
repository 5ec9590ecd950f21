"""The log of a run: one JSON object a line, and TensorBoard where asked.

    with log.Log(folder) as lines:                 # appends to folder/metrics.jsonl
        lines.write({"step": 50, "loss": 0.31})
    log.read(folder / "metrics.jsonl")             # [{"step": 50, "loss": 0.31}]

Every line is strict JSON: a number that is not finite is the string "nan", "inf" or
"-inf", and `read` makes it a number again. Only process 0 writes.
"""

import json
import math
import os
import time
from pathlib import Path
from typing import Any

import jax

__all__ = ["Log", "Record", "read", "replace"]

Record = dict[str, Any]  # of JSON types

NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class Log:
    """Appends records to `metrics.jsonl`, one whole line at a time.

    The file is opened by the first `write`, and again by a `write` after `close`.
    """

    def __init__(self, folder: str | Path, *, tensorboard: bool = False):
        """Name the files; nothing is opened yet.

        Args:
            folder: where `metrics.jsonl` lies, and the folder `tensorboard`.
            tensorboard: whether to write event files too; they show what the lines say.

        Raises:
            ValueError: if TensorBoard is asked for and tensorboardX is not installed.
        """
        self.path = Path(folder) / "metrics.jsonl"
        self._file: int | None = None
        self._events: Any = None
        self._first_step = 0
        self._tensorboard = tensorboard
        if tensorboard:
            _summary_writer()

    def write(self, record: Record) -> None:
        """Append one record; it is in the file when this returns.

        Raises:
            OSError: if the file cannot be written, e.g. because the disk is full.
        """
        if jax.process_index() != 0:
            return
        line = json.dumps({key: _plain(value) for key, value in record.items()})
        try:
            if self._file is None:
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
                self._file = os.open(self.path, flags, 0o644)
            # One unbuffered call: after a kill the file ends with a whole line, or
            # with one torn line that `read` leaves out.
            _write_all(self._file, line.encode() + b"\n")
        except OSError as error:
            raise OSError(
                error.errno, f"cannot write the log {self.path}: {error.strerror}"
            ) from error
        if self._tensorboard:
            self._write_events(record)

    def cut(self, step: int) -> None:
        """Drop, in one atomic replacement, every record after `step`.

        A run that goes on from `step` then writes the log of a run never broken.
        """
        self.close()
        self._first_step = step + 1
        if jax.process_index() == 0 and self.path.exists():
            kept = [r for r in read(self.path) if r.get("step", 0) <= step]
            lines = [json.dumps({k: _plain(v) for k, v in r.items()}) for r in kept]
            replace(self.path, "".join(line + "\n" for line in lines))

    def records(self) -> list[Record]:
        """What was written up to now."""
        return read(self.path) if self.path.exists() else []

    def close(self) -> None:
        """Close the files. May be called twice."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        if self._events is not None:
            self._events.close()
            self._events = None

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def _write_events(self, record) -> None:
        if self._events is None:
            # Steps from `purge_step` on that an earlier, killed run wrote are hidden.
            self._events = _summary_writer()(
                str(self.path.parent / "tensorboard"),
                purge_step=self._first_step,
                flush_secs=5,
                # Names go by the second: one opened sooner would overwrite the last.
                filename_suffix=f".{time.time_ns()}",
            )
        for name, value in record.items():
            if name not in ("step", "time") and not isinstance(value, str):
                self._events.add_scalar(name, value, record["step"])


def read(path: str | Path) -> list[Record]:
    """The records of a `metrics.jsonl`, without a last line that a kill has torn.

    Raises:
        ValueError: if another line is not a JSON object.
    """
    lines = Path(path).read_bytes().split(b"\n")
    records = []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
        except ValueError as error:
            if number == len(lines):  # no newline follows: torn, or empty
                break
            raise ValueError(f"line {number} of {path} is not JSON: {error}") from error
        if not isinstance(record, dict):
            raise ValueError(f"line {number} of {path} must be an object; got {line!r}")
        records.append({key: _number(value) for key, value in record.items()})
    return records


def replace(path: str | Path, text: str) -> None:
    """Write a whole file so that a reader finds the old text or the new, never half.

    Raises:
        OSError: if it cannot be written; the old file is then untouched.
    """
    path = Path(path)
    half = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(half, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())  # or a power cut may leave the name on no bytes
        os.replace(half, path)
    except OSError as error:
        raise OSError(error.errno, f"cannot write {path}: {error.strerror}") from error
    finally:
        half.unlink(missing_ok=True)


def _plain(value):
    """`value` as strict JSON has it."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _number(value):
    return NOT_FINITE.get(value, value) if isinstance(value, str) else value


def _write_all(file: int, line: bytes) -> None:
    while line:
        line = line[os.write(file, line) :]


def _summary_writer():
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise ValueError(
            "TensorBoard logs need tensorboardX: pip install 'jaxml-learn[tensorboard]'"
        ) from error
    return SummaryWriter
