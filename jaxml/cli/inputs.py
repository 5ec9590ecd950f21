"""Files as the rows an export takes: npy, npz, csv and png.

    x = read(Path("digits.npz:image"), signature.input)

Nothing is scaled, cropped or guessed: an error says what fits.
"""

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxml.signature import Spec

__all__ = ["SUFFIXES", "read"]

SUFFIXES = (".npy", ".npz", ".csv", ".png")


def read(name: str, specs: Sequence[Spec]) -> dict[str, np.ndarray]:
    """The arrays of the file `name`, by the names in `specs`.

    Args:
        name: a path; of an npz also path:key.
        specs: what the export takes. Several arrays come from one npz alone.

    Raises:
        ValueError: if the file cannot be read, or does not fit.
    """
    path, _, key = name.partition(".npz:")
    file = Path(f"{path}.npz" if key else name)
    if not file.is_file():
        raise ValueError(f"no file {file}")
    suffix = file.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{file} must end in one of {', '.join(SUFFIXES)}")
    if suffix != ".npz" and len(specs) > 1:
        names = ", ".join(spec.name for spec in specs)
        raise ValueError(f"the inputs {names} must come from one .npz; got {file}")
    try:
        if suffix == ".npz":
            arrays = _npz(file, key, specs)
        else:
            reader = {".npy": _npy, ".csv": _csv, ".png": _png}[suffix]
            arrays = {specs[0].name: reader(file, specs[0])}
    except Exception as error:  # of damage numpy, zipfile, pillow raise many kinds
        reason = "it holds Python objects" if "pickle" in str(error) else error
        raise ValueError(f"{file} cannot be read: {reason}") from error
    # A row alone gets its axis of rows.
    return {
        spec.name: x[None] if x.shape == spec.row else np.atleast_1d(x)
        for spec in specs
        for x in [arrays[spec.name]]
    }


def _npy(file: Path, spec: Spec) -> np.ndarray:
    return np.load(file)


def _npz(file: Path, key: str, specs: Sequence[Spec]) -> dict[str, np.ndarray]:
    # numpy leaves a file open that is no archive
    with open(file, "rb") as stream, np.load(stream) as arrays:
        holds = f"it holds {', '.join(arrays) or 'nothing'}"
        if not key and len(specs) == 1 and specs[0].name not in arrays:
            if len(arrays) != 1:
                raise ValueError(f"name one array as {file}:KEY; {holds}")
            key = next(iter(arrays))
        wanted = {spec.name: key or spec.name for spec in specs}
        absent = [name for name in wanted.values() if name not in arrays]
        if absent:
            raise ValueError(f"it has no {', '.join(absent)}; {holds}")
        return {name: arrays[key] for name, key in wanted.items()}


def _csv(file: Path, spec: Spec) -> np.ndarray:
    """One line a row, its numbers in the order of the array; a first line of names."""
    width = math.prod(spec.row)
    rows = []
    with open(file, encoding="utf-8-sig", newline="") as text:
        lines = csv.reader(text)
        for cells in lines:
            place = f"line {lines.line_num}"
            if not cells or (lines.line_num == 1 and not _number(cells[0])):
                continue
            if len(cells) != width:
                raise ValueError(f"{place} must have {width} numbers; got {len(cells)}")
            bad = next((cell for cell in cells if not _number(cell)), None)
            if bad is not None:
                raise ValueError(f'{place} has "{bad}" for a number')
            rows.append([float(cell) for cell in cells])
    if not rows:
        raise ValueError("it has no row of numbers")
    x = np.array(rows).reshape(len(rows), *spec.row)
    if "int" not in spec.dtype:
        return x
    if not np.isfinite(x).all() or (x != np.rint(x)).any():
        raise ValueError(f"it must hold whole numbers, for {spec.dtype}")
    return x.astype(np.int64)


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _png(file: Path, spec: Spec) -> np.ndarray:
    """The pixels, grey or RGB as the export takes them; never resized."""
    try:
        from PIL import Image
    except ImportError:
        raise ValueError("pip install 'jaxml-learn[plots]' for pictures") from None
    shape = spec.row
    modes = {(): "L", (1,): "L", (3,): "RGB"}  # by the axes after height and width
    mode = modes.get(shape[2:]) if len(shape) > 1 else None
    if spec.dtype != "uint8" or mode is None:
        raise ValueError(f"the export takes {spec.dtype} rows of {shape}, no pictures")
    with Image.open(file) as picture:
        width, height = picture.size
        if (height, width) != shape[:2]:
            raise ValueError(
                f"it must be {shape[1]} x {shape[0]} pixels; got {width} x {height}"
            )
        if picture.mode not in ("1", "L", "LA", "P", "RGB", "RGBA"):
            raise ValueError(f"its pixels must have 8 bits; got {picture.mode}")
        if np.asarray(picture.convert("RGBA"))[..., 3].min() < 255:
            raise ValueError("it is transparent: put it on a background")
        return np.asarray(picture.convert(mode)).reshape(shape)
