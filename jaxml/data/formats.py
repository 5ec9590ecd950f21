"""Readers of the files that datasets come in: IDX, CIFAR-10's binary form, npz, text.

    images = formats.read_idx("train-images-idx3-ubyte.gz")

A damaged file is a ValueError that names the file, what was expected and what came.
Nothing is unpickled and no archive is unpacked to disk.

References:
    The IDX format: http://yann.lecun.com/exdb/mnist/ (kept by web archives).
    CIFAR-10, binary version: https://www.cs.toronto.edu/~kriz/cifar.html
    Pace and Barry, 1997. Sparse spatial autoregressions. Stat. Probab. Lett. 33(3).
"""

import contextlib
import csv
import gzip
import io
import os
import tarfile
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path

import numpy as np
from jaxtyping import Float, Shaped, UInt8

__all__ = [
    "read_california",
    "read_cifar10",
    "read_csv",
    "read_idx",
    "read_npz",
]

_IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_DAMAGE = (gzip.BadGzipFile, tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError)
_CIFAR_RECORD = 1 + 3 * 32 * 32  # a label, then the red, green and blue planes


def read_idx(path: str | os.PathLike) -> Shaped[np.ndarray, "*shape"]:
    """Read an array in the IDX format of MNIST, plain or gzipped.

    Args:
        path: the file. Whether it is gzipped is seen from its first bytes.

    Returns:
        The array, in the dtype of the file and native byte order.

    Raises:
        ValueError: if the header is not IDX, or its shape does not fit the bytes.
    """
    data = Path(path).read_bytes()
    if data.startswith(b"\x1f\x8b"):
        with _reading(path):
            data = gzip.decompress(data)
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in _IDX_TYPES:
        raise ValueError(
            f"{path}: an IDX file begins with 00 00, a type from 08 to 0e and the "
            f"number of dimensions; got {data[:4].hex(' ') or 'an empty file'}"
        )
    dtype = np.dtype(_IDX_TYPES[data[2]])
    start = 4 + 4 * data[3]
    if len(data) < start:
        raise ValueError(
            f"{path}: the header of {data[3]} dimensions takes {start} bytes; "
            f"the file has {len(data)}: it is truncated"
        )
    shape = tuple(map(int, np.frombuffer(data, ">u4", data[3], 4)))
    expected = start + dtype.itemsize * int(np.prod(shape, dtype=object))
    if len(data) != expected:
        fault = "truncated" if len(data) < expected else "too long"
        raise ValueError(
            f"{path}: shape {shape} takes {expected} bytes; "
            f"the file has {len(data)}: it is {fault}"
        )
    return np.frombuffer(data, dtype, -1, start).reshape(shape).astype(dtype.type)


def read_cifar10(path: str | os.PathLike) -> tuple[UInt8[np.ndarray, "..."], ...]:
    """Read CIFAR-10's `cifar-10-binary.tar.gz`, or an npz file of its arrays.

    Args:
        path: the archive; or a `.npz` of `x_train`, `y_train`, `x_test`, `y_test`.

    Returns:
        Pictures [n, 32, 32, 3] and labels [n] for training, and the same for testing.

    Raises:
        ValueError: if the file is damaged, or a batch or an array is missing.
    """
    if Path(path).suffix == ".npz":
        arrays = read_npz(path, ("x_train", "y_train", "x_test", "y_test"))
        return tuple(arrays.values())
    wanted = [f"data_batch_{number}.bin" for number in range(1, 6)] + ["test_batch.bin"]
    with _reading(path):
        members = _members(path, wanted)
        parts = [_cifar_batch(name, members[name]) for name in wanted]
    images, labels = zip(*parts[:5], strict=True)
    return np.concatenate(images), np.concatenate(labels), *parts[5]


def read_npz(
    path: str | os.PathLike, names: Collection[str] | None = None
) -> dict[str, Shaped[np.ndarray, "..."]]:
    """Read arrays of an npz file; arrays of Python objects are refused.

    Args:
        path: the file.
        names: which arrays, in what order. Default: all.

    Raises:
        ValueError: if the file is damaged or holds objects, or an array is missing.
    """
    # opened here, since numpy leaves a damaged file open
    with _reading(path), open(path, "rb") as stream:
        file = np.load(stream, allow_pickle=False)
        if isinstance(file, np.ndarray):
            raise ValueError("must be an npz archive; got a single array")
        with file:
            names = file.files if names is None else names
            if absent := sorted(set(names) - set(file.files)):
                raise ValueError(f"must hold {', '.join(absent)}; got {file.files}")
            return {name: file[name] for name in names}


def read_california(
    path: str | os.PathLike,
) -> tuple[Float[np.ndarray, "n 8"], Float[np.ndarray, "n"]]:
    """Read California housing in scikit-learn's form, from any of its three files.

    Args:
        path: `cal_housing.tgz`, the `cal_housing.data` within, or an npz of `X`, `y`.

    Returns:
        Float64: the features MedInc (10,000 USD), HouseAge (years), AveRooms,
        AveBedrms, Population, AveOccup, Latitude, Longitude (degrees); and the
        median house value (100,000 USD).

    Raises:
        ValueError: if the file is damaged or a row has not nine numbers.
    """
    if Path(path).suffix == ".npz":
        arrays = read_npz(path, ("X", "y"))
        return arrays["X"], arrays["y"]
    with _reading(path):
        if Path(path).suffix == ".data":
            text = Path(path).read_bytes()
        else:
            text = _members(path, ["cal_housing.data"])["cal_housing.data"]
        if not text.strip():
            raise ValueError("must hold lines of 9 numbers; got none")
        table = np.loadtxt(io.BytesIO(text), delimiter=",", ndmin=2)
        if table.shape[1] != 9:
            raise ValueError(f"must hold 9 numbers a line; got {table.shape[1]}")
    longitude, latitude, age, rooms, bedrooms, people, homes, income, value = table.T
    x = [income, age, rooms / homes, bedrooms / homes, people, people / homes]
    return np.stack([*x, latitude, longitude], 1), value / 100_000


def read_csv(
    path: str | os.PathLike, *, text: Collection[str] = ()
) -> dict[str, Shaped[np.ndarray, "n"]]:
    """Read the columns of a comma-separated table whose first line names them.

    Args:
        path: the file, UTF-8.
        text: columns that hold words. All others hold numbers; an empty cell is NaN.

    Returns:
        Float64 arrays (of strings for `text`) by name, in the order of the file.

    Raises:
        ValueError: if the file is empty, a column of `text` is absent, a name comes
            twice, a row has too few or too many cells, or a number is none.
    """
    with open(path, encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file)
        header = next(lines, [])
        # csv gives [] for a blank line: a stray one at the end is no row
        rows = [(lines.line_num, row) for row in lines if row]
    if not header or not rows:
        raise ValueError(f"{path}: a table has a line of names and rows; got none")
    if repeated := {name for name in header if header.count(name) > 1}:
        raise ValueError(f"{path}: column names must differ; {sorted(repeated)} repeat")
    if absent := set(text) - set(header):
        raise ValueError(f"{path}: no column {sorted(absent)}; the file has {header}")
    for number, row in rows:
        if len(row) != len(header):
            raise ValueError(
                f"{path}: line {number} must have {len(header)} cells; got {len(row)}"
            )
    return {
        name: np.array([row[place] for _, row in rows])
        if name in text
        else np.array([_number(row[place], path, line, name) for line, row in rows])
        for place, name in enumerate(header)
    }


@contextlib.contextmanager
def _reading(path: str | os.PathLike):
    """Turn what readers raise on bad data into a ValueError that names the file."""
    try:
        yield
    except _DAMAGE as error:
        raise ValueError(f"{path}: damaged or truncated ({error})") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _members(path, wanted):
    """The bytes of the files called `wanted`, in whatever folder of the archive."""
    found = {}
    with tarfile.open(path, "r:gz") as archive:
        for member in archive:  # in the order of the file: gzip cannot step back
            name = Path(member.name).name
            if name in wanted and (stream := archive.extractfile(member)):
                found[name] = stream.read()
    if absent := sorted(set(wanted) - set(found)):
        raise ValueError(f"the archive lacks {', '.join(absent)}")
    return found


def _cifar_batch(
    name: str, data: bytes
) -> tuple[UInt8[np.ndarray, "n 32 32 3"], UInt8[np.ndarray, "n"]]:
    if not data or len(data) % _CIFAR_RECORD:
        raise ValueError(
            f"{name} must be a multiple of {_CIFAR_RECORD} bytes; got {len(data)}"
        )
    record = np.frombuffer(data, np.uint8).reshape(-1, _CIFAR_RECORD)
    planes = record[:, 1:].reshape(-1, 3, 32, 32)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), record[:, 0].copy()


def _number(cell, path, line, name):
    try:
        return float(cell) if cell else np.nan
    except ValueError:
        raise ValueError(
            f"{path}: line {line}, column {name!r} must be a number; got {cell!r}"
        ) from None
