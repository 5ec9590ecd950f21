"""Safetensors files, read strictly over a memory map, and written.

    tensors = read("model.safetensors")              # Mapping: name -> read-only array
    weight = tensors["encoder.weight"]               # a view: nothing is copied
    write("copy.safetensors", tensors, metadata=tensors.metadata)

A file is 8 bytes, the length n of the header, little end first; n bytes of JSON; and
the data. Whatever the header says is checked against the size of the file before
anything is allocated: offsets that leave the file, overlap or leave holes, sizes that
are not shape times dtype, names that come twice, and headers that are too long.
"""

import json
import math
import os
import secrets
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxml.zoo.header import DTYPES, Entry, FormatError, length_of, parse

__all__ = ["DTYPES", "Entry", "FormatError", "Tensors", "read", "write"]

_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_ORDER = {name: place for place, name in enumerate(DTYPES)}


class Tensors(Mapping):
    """The tensors of one file, or of several; each is a view of a memory map."""

    def __init__(
        self,
        entries: Mapping[str, tuple[np.ndarray, Entry]],
        metadata: Mapping[str, str],
    ):
        self._entries = dict(entries)
        self.metadata = dict(metadata)

    def __getitem__(self, name: str) -> np.ndarray:
        data, entry = self._entries[name]
        return data[entry.begin : entry.end].view(entry.dtype).reshape(entry.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def entry(self, name: str) -> Entry:
        """What the header says of a tensor."""
        return self._entries[name][1]

    @classmethod
    def joined(cls, files: Sequence["Tensors"]) -> "Tensors":
        """The tensors of several files; of a name that comes twice the last."""
        entries: dict[str, tuple[np.ndarray, Entry]] = {}
        metadata: dict[str, str] = {}
        for file in files:
            entries |= file._entries
            metadata |= file.metadata
        return cls(entries, metadata)


def read(path: str | os.PathLike) -> Tensors:
    """Open a file; its tensors are views that keep the map open.

    Raises:
        FormatError: the file is no sound safetensors file; the message says why.
        OSError: it cannot be read.
    """
    path = Path(path)
    with open(path, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise FormatError(f"{path} must be a regular file")
        try:
            start = file.read(8)
            length = length_of(start, status.st_size)
            entries, metadata = parse(file.read(length), status.st_size)
        except FormatError as error:
            raise FormatError(f"{path}: {error}") from error
        data = np.memmap(file, np.uint8, mode="r", shape=(status.st_size,))
    plain = data.view(np.ndarray)
    return Tensors({name: (plain, entry) for name, entry in entries.items()}, metadata)


def write(
    path: str | os.PathLike,
    tensors: Mapping[str, Any],
    *,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a file that appears whole or not at all, byte for byte the reference's.

    Args:
        path: a file that is there is replaced.
        tensors: arrays; or anything with `shape`, `dtype` and `read()`, of which one at
            a time is in memory.
        metadata: texts by name.

    Raises:
        ValueError: a dtype that the format lacks, or metadata that is no text.
    """
    path = Path(path)
    order, text = _header_of(tensors, metadata)
    partial = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    try:
        with open(partial, "xb") as out:
            out.write(len(text).to_bytes(8, "little") + text)
            for name in order:
                tensor = tensors[name]
                array = tensor.read() if hasattr(tensor, "read") else np.asarray(tensor)
                out.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
            out.flush()
            os.fsync(out.fileno())
        os.replace(partial, path)
    finally:  # after the rename there is nothing to remove
        partial.unlink(missing_ok=True)


def _header_of(
    tensors: Mapping[str, Any], metadata: Mapping[str, str] | None
) -> tuple[list[str], bytes]:
    """The order of the tensors in the file, and its header."""
    kinds = {}
    for name, tensor in tensors.items():
        kind = _NAMES.get(np.dtype(tensor.dtype))
        if kind is None or name == "__metadata__":
            raise ValueError(
                f"a tensor must be one of {', '.join(DTYPES)} and not be named "
                f"__metadata__; got {name}: {tensor.dtype}"
            )
        kinds[name] = kind
    table: dict[str, Any] = {}
    if metadata:
        if not all(isinstance(x, str) for item in metadata.items() for x in item):
            raise ValueError(f"metadata must be texts by name; got {dict(metadata)}")
        table["__metadata__"] = dict(metadata)
    # the widest dtypes first, so that each tensor is aligned
    order = sorted(kinds, key=lambda name: (-_ORDER[kinds[name]], name))
    place = 0
    for name in order:
        shape = list(map(int, tensors[name].shape))
        end = place + math.prod(shape) * DTYPES[kinds[name]].itemsize
        table[name] = {
            "dtype": kinds[name],
            "shape": shape,
            "data_offsets": [place, end],
        }
        place = end
    text = json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode()
    return order, text + b" " * (-len(text) % 8)
