"""Examples in array-record files, read in any order (extra `records`).

    records.write("train.array_record", {"image": image, "label": label})
    loader = Loader(records.files("train.array_record"), batch_size=128)

The loader orders records as it does arrays in memory: the batches are the same, and so
are its three integers of state. Files hold one example a record: 4 bytes of length, a
JSON header {name: [dtype, shape]}, then the bytes of the arrays, little-endian.
"""

import functools
import importlib
import json
import os
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Int64, Shaped

from jaxml.data.rows import Arrays, Batch

__all__ = ["Records", "dataset", "decode", "encode", "files", "write"]

Example = Mapping[str, Shaped[np.ndarray, "..."]]


class Records:
    """Rows of a loader that are read when they are asked for."""

    def __init__(self, length: int, read: Callable[[list[int]], Iterable[Example]]):
        """Rows 0 to length - 1; `read` gives the examples of some of them."""
        self._length, self._read = length, read

    def __len__(self) -> int:
        return self._length

    def take(self, rows: Int64[np.ndarray, "b"]) -> Batch:
        examples = list(self._read(rows.tolist()))
        batch = {}
        for name in examples[0]:
            values = [np.asarray(example[name]) for example in examples]
            shapes = {value.shape for value in values}
            if len(shapes) > 1:
                raise ValueError(
                    f"{name} must have one shape in all records; got {sorted(shapes)}"
                )
            batch[name] = np.stack(values)
        return batch


def files(paths: str | Path | Sequence[str | Path]) -> Records:
    """The records of files that `write` made, one file after the other.

    Args:
        paths: one file, or several, in an order that must stay.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if there is no file, or one is no sound array-record file.
        ImportError: without the extra `records`.
    """
    grain = _extra("grain")
    several = [paths] if isinstance(paths, str | Path) else paths
    names = [os.fspath(path) for path in several]
    if not names:
        raise ValueError("paths must name at least one file; got none")
    for name in names:
        if not os.path.exists(name):
            raise FileNotFoundError(f"there is no file of records {name}")
    try:
        source = grain.sources.ArrayRecordDataSource(names)
    except RuntimeError as error:
        raise ValueError(
            f"one of {names} is damaged or no array-record file: {error}"
        ) from error
    return Records(len(source), lambda rows: map(decode, source.__getitems__(rows)))


def dataset(source: Any) -> Records:
    """A dataset of grain as rows: its own sources, mappings and mixtures.

    Args:
        source: a `grain.MapDataset`, or whatever has a length and gives a dict of
            arrays for an index. Shuffling and batches are the loader's work.
    """

    def read(rows):
        for row in rows:
            if (example := source[row]) is None:
                raise ValueError(f"dataset must have every row; row {row} is filtered")
            yield example

    return Records(len(source), read)


def write(path: str | Path, arrays: Mapping[str, Any]) -> None:
    """Write one record for each row; the file appears when it is complete.

    Args:
        path: the file, replaced if it is there.
        arrays: arrays of n rows by name.

    Raises:
        ValueError: if there are no rows, or the arrays differ in length or hold no
            numbers.
        OSError: if the file cannot be written; what was there is left as it was.
        ImportError: without the extra `records`.
    """
    module = _extra("array_record.python.array_record_module")
    rows = Arrays(arrays)
    partial = f"{os.fspath(path)}.{os.getpid()}.partial"
    try:
        # One record a group: what is read at random is not read with its neighbors.
        writer = module.ArrayRecordWriter(partial, "group_size:1")
        for row in range(len(rows)):
            example = rows.take(np.array([row]))
            writer.write(encode({name: array[0] for name, array in example.items()}))
        writer.close()
        os.replace(partial, path)
    except RuntimeError as error:
        raise OSError(f"cannot write {path}: {error}") from error
    finally:
        Path(partial).unlink(missing_ok=True)


def encode(example: Mapping[str, Any]) -> bytes:
    """The bytes of one example, its arrays of any shape.

    >>> decode(encode({"x": np.arange(3.0), "label": np.int32(7)}))
    {'x': array([0., 1., 2.]), 'label': array(7, dtype=int32)}
    """
    arrays = {name: np.asarray(array) for name, array in example.items()}
    layout = {name: [a.dtype.name, a.shape] for name, a in arrays.items()}
    header = json.dumps(layout).encode()
    parts = [a.astype(a.dtype.newbyteorder("<")).tobytes() for a in arrays.values()]
    return b"".join([struct.pack("<I", len(header)), header, *parts])


def decode(record: bytes) -> dict[str, Shaped[np.ndarray, "..."]]:
    """The example of a record, in arrays that may only be read.

    Raises:
        ValueError: if the bytes are not those of `encode`.
    """
    try:
        start = 4 + struct.unpack_from("<I", record)[0]
        example = {}
        for name, dtype, shape, size in _layout(record[4:start]):
            array = np.frombuffer(record, dtype, size, start)
            example[name] = array.reshape(shape)
            start += array.nbytes
        if start != len(record):
            raise ValueError(f"the arrays end at byte {start} of {len(record)}")
    except (struct.error, AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"a record must be as `encode` writes it; got {record[:40]!r}: {error}"
        ) from error
    return example


@functools.lru_cache
def _layout(header):
    """Name, dtype, shape and size of each array; most often those of all records."""
    return [
        (name, jnp.dtype(dtype).newbyteorder("<"), tuple(shape), int(np.prod(shape)))
        for name, (dtype, shape) in json.loads(header).items()
    ]


def _extra(module):
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            "records need grain and array-record: pip install 'jaxml-learn[records]'"
        ) from error
