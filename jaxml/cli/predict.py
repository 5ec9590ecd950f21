"""`jaxml predict RUN INPUT...`: what a run has learned, applied to files."""

import csv
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from jaxml import export
from jaxml import signature as signatures
from jaxml.cli import inputs, terminal
from jaxml.cli.terminal import USAGE, CommandError

__all__ = ["command"]

CHUNK = 256  # rows computed at once
MOST_ROWS, MOST_NUMBERS = 40, 8  # shown on a terminal
DESCRIPTION = """Apply the function that a finished run exported.

  INPUT   .npy, .npz (also FILE.npz:KEY), .csv (a row a line) or .png, in the shape and
          the type that the export takes: raw values, since it prepares them itself"""


def command(arguments: Sequence[str]) -> int:
    """Run `jaxml predict`; the exit code."""
    parser = terminal.Parser("predict", description=DESCRIPTION)
    parser.add_argument("run", metavar="RUN", type=Path, help="a run, or an export")
    parser.add_argument("inputs", metavar="INPUT", nargs="+")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write all to a .npy or .csv"
    )
    parser.add_argument(
        "--top", type=int, metavar="K", help="classes shown, most likely first (3)"
    )
    options = parser.parse_intermixed_args(arguments)
    if options.output and options.output.suffix not in (".npy", ".csv"):
        raise CommandError(
            f"--output must end in .npy or .csv; got {options.output}", USAGE
        )
    folder = _export(options.run)
    try:
        signature = signatures.read(folder)
        top = _top(options.top, signature)
        parts = [inputs.read(name, signature.input) for name in options.inputs]
        forward = export.load(folder)
        outputs = [
            _predict(forward, part, name)
            for part, name in zip(parts, options.inputs, strict=True)
        ]
    except ValueError as error:
        raise CommandError(str(error)) from error
    arrays = [np.concatenate(pieces) for pieces in zip(*outputs, strict=True)]
    names = [
        name if len(output[0]) == 1 else f"{name}[{row}]"
        for name, output in zip(options.inputs, outputs, strict=True)
        for row in range(len(output[0]))
    ]
    if options.output:
        _write(options.output, names, arrays, signature)
        terminal.say(f"{len(names)} rows in {terminal.short(options.output)}")
    elif signature.classes:
        _show_classes(names, arrays[0], signature.classes, top)
    else:
        _show_numbers(names, arrays, signature)
    return 0


def _export(run: Path) -> Path:
    """The folder of the export that `run` names."""
    for folder in (run, run / "export"):
        if (folder / signatures.FILE).is_file():
            return folder
    if not run.is_dir():
        raise CommandError(f"no folder {run}", USAGE)
    if (run / "config.json").is_file():
        raise CommandError(
            f"{run} is not finished: it has no export yet; go on with "
            f"jaxml run FILE --resume {run}"
        )
    raise CommandError(f"{run} is neither a run nor an export", USAGE)


def _top(asked: int | None, signature: signatures.Signature) -> int:
    most = len(signature.classes)
    if asked is None:
        return min(3, most)
    if not most:
        raise CommandError("--top needs a classifier; this run gives numbers", USAGE)
    if not 1 <= asked <= most:
        raise CommandError(f"--top must be from 1 to {most}; got {asked}", USAGE)
    return asked


def _predict(
    forward: export.Forward, part: dict[str, np.ndarray], name: str
) -> list[np.ndarray]:
    """The outputs for one file; of a classifier the probabilities."""
    sizes = {len(array) for array in part.values()}
    if len(sizes) != 1:
        raise ValueError(f"{name}: its arrays must agree in rows; got {sorted(sizes)}")
    rows = sizes.pop()
    outputs = []
    for start in range(0, max(rows, 1), CHUNK):
        chunk = {key: array[start : start + CHUNK] for key, array in part.items()}
        if start:  # a short end is filled up, so that it needs no program of its own
            chunk = {key: _fill(array) for key, array in chunk.items()}
        try:
            outputs.append(jax.tree.leaves(forward(chunk)))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    arrays = [np.concatenate(pieces)[:rows] for pieces in zip(*outputs, strict=True)]
    signature = forward.signature
    if signature.classes and not signature.probabilities:
        arrays = [np.asarray(jax.nn.softmax(arrays[0].astype(np.float32)))]
    return arrays


def _fill(array: np.ndarray) -> np.ndarray:
    missing = CHUNK - len(array)
    return np.concatenate([array, np.repeat(array[-1:], missing, 0)])


def _show_classes(names, values: np.ndarray, classes: Sequence[str], top: int) -> None:
    order = np.argsort(-values, axis=-1, kind="stable")[..., :top]
    rows = [
        [name, *(f"{classes[place]} {row[place]:.3f}" for place in places)]
        for name, row, places in zip(names, values, order, strict=True)
    ]
    _table(["input", *map(str, range(1, top + 1))], rows)


def _show_numbers(names, arrays, signature: signatures.Signature) -> None:
    columns, values = _columns(arrays, signature)
    shown = values[:, :MOST_NUMBERS].tolist()
    _table(
        ["input", *columns[:MOST_NUMBERS]],
        [[name, *row] for name, row in zip(names, shown, strict=True)],
    )
    if len(columns) > MOST_NUMBERS:
        terminal.say(f"{len(columns)} numbers a row; --output FILE writes all")


def _table(columns, rows) -> None:
    """A table; a terminal sees its head, a pipe all of it."""
    whole = len(rows) <= MOST_ROWS or not sys.stdout.isatty()
    terminal.table(columns, rows if whole else rows[:MOST_ROWS])
    if not whole:
        terminal.say(f"{len(rows)} rows; --output FILE writes all")


def _columns(arrays, signature: signatures.Signature) -> tuple[list[str], np.ndarray]:
    """All outputs side by side as [rows, columns], with a name for each column."""
    columns: list[str] = []
    for spec, array in zip(signature.output, arrays, strict=True):
        name = spec.name or "value"
        count = array[0].size
        if signature.classes:
            columns += signature.classes
        else:
            columns += [name] if count == 1 else [f"{name}[{i}]" for i in range(count)]
    flat = [array.reshape(len(array), -1) for array in arrays]
    return columns, np.concatenate(flat, axis=1)


def _write(path: Path, names, arrays, signature: signatures.Signature) -> None:
    """Write `path` whole or not at all."""
    buffer = io.BytesIO()
    if path.suffix == ".npy":
        if len(arrays) > 1:
            raise CommandError("several outputs need --output FILE.csv", USAGE)
        np.save(buffer, arrays[0])
    else:
        columns, values = _columns(arrays, signature)
        text = io.StringIO(newline="")
        lines = csv.writer(text)
        best = ["class"] if signature.classes else []
        lines.writerow(["input", *best, *columns])
        for name, row in zip(names, values, strict=True):
            best = [signature.classes[row.argmax()]] if signature.classes else []
            lines.writerow([name, *best, *row.tolist()])
        buffer.write(text.getvalue().encode())
    half = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        half.write_bytes(buffer.getbuffer())
        half.replace(path)
    except OSError as error:
        half.unlink(missing_ok=True)
        raise CommandError(f"cannot write {path}: {error.strerror}") from error
