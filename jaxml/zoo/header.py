"""The header of a safetensors file, checked against the size of the file.

    length = length_of(first_8_bytes, size)
    entries, metadata = parse(text, size)

Nothing is allocated that the size of the file does not account for: what is refused are
offsets that leave the file, overlap or leave holes, sizes that are not shape times
dtype, names that come twice, and headers that are too long.
"""

import json
import math
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

__all__ = ["DTYPES", "Entry", "FormatError", "length_of", "parse"]

LONGEST_HEADER = 100_000_000  # bytes; the limit of the reference implementation
_MOST_DIMENSIONS = 32
_LARGEST = 2**63 - 1

# In the order in which the reference implementation writes them, from the last.
DTYPES = {
    name: np.dtype(dtype)
    for name, dtype in {
        "BOOL": np.bool_,
        "U8": np.uint8,
        "I8": np.int8,
        "F8_E5M2": ml_dtypes.float8_e5m2,
        "F8_E4M3": ml_dtypes.float8_e4m3fn,
        "F8_E8M0": ml_dtypes.float8_e8m0fnu,
        "F8_E4M3FNUZ": ml_dtypes.float8_e4m3fnuz,
        "F8_E5M2FNUZ": ml_dtypes.float8_e5m2fnuz,
        "I16": np.int16,
        "U16": np.uint16,
        "F16": np.float16,
        "BF16": ml_dtypes.bfloat16,
        "I32": np.int32,
        "U32": np.uint32,
        "F32": np.float32,
        "C64": np.complex64,
        "F64": np.float64,
        "I64": np.int64,
        "U64": np.uint64,
    }.items()
}


class FormatError(ValueError):
    """A file that is damaged, cut short, hostile or of another format."""


class Entry(NamedTuple):
    """Where a tensor lies."""

    dtype: np.dtype
    shape: tuple[int, ...]
    begin: int  # bytes from the start of the file
    end: int


def length_of(start: bytes, size: int) -> int:
    """The length of the header, from the first 8 bytes of a file of `size`."""
    if len(start) < 8:
        raise FormatError(f"a file has at least 8 bytes; this one has {size}")
    length = int.from_bytes(start, "little")
    if length > min(LONGEST_HEADER, size - 8):
        # a zip archive or a bare pickle; as a length their first bytes are huge
        if start[:2] in (b"PK", *(b"\x80%c" % protocol for protocol in range(2, 6))):
            raise FormatError("this is a pickle of PyTorch, not a safetensors file")
        raise FormatError(
            f"the header must end within the file of {size} bytes and have at most "
            f"{LONGEST_HEADER}; it claims {length}"
        )
    return length


def parse(text: bytes, size: int) -> tuple[dict[str, Entry], dict[str, str]]:
    """Read and check the header of a file of `size` bytes.

    Args:
        text: the JSON, padded.
        size: of the whole file.

    Returns:
        The entries by name and the metadata.

    Raises:
        FormatError: a word of it is not as it must be.
    """
    try:
        table = json.loads(
            text, object_pairs_hook=_once, parse_constant=_no_constant
        )  # fmt: skip
    except FormatError:
        raise
    except (ValueError, RecursionError) as error:
        raise FormatError(f"the header is no JSON ({error})") from error
    if not isinstance(table, dict) or text[:1] != b"{":
        raise FormatError("the header must be a JSON object")
    metadata = table.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(
        isinstance(value, str) for value in metadata.values()
    ):
        raise FormatError("__metadata__ must hold texts by name")
    first = 8 + len(text)
    entries = {name: _entry(name, raw, first) for name, raw in table.items()}
    place = first
    by_place = sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end))
    for name, entry in by_place:
        if entry.begin != place:
            fault = (
                "overlaps the one before"
                if entry.begin < place
                else "has a hole before"
            )
            raise FormatError(f"tensor {_short(name)} {fault} it, at {entry.begin}")
        place = entry.end
        if place > size:
            raise FormatError(
                f"tensor {_short(name)} ends at {place}, outside the {size} of the file"
            )
    if place != size:
        raise FormatError(f"the tensors end at {place}, the file at {size}")
    return entries, metadata


def _entry(name: str, raw: Any, first: int) -> Entry:
    fault = f"tensor {_short(name)}"
    if not isinstance(raw, dict) or set(raw) != {"dtype", "shape", "data_offsets"}:
        raise FormatError(f"{fault} must have dtype, shape and data_offsets, no more")
    shape, offsets = raw["shape"], raw["data_offsets"]
    dtype = DTYPES.get(raw["dtype"]) if isinstance(raw["dtype"], str) else None
    if dtype is None:
        raise FormatError(
            f"{fault} must be one of {', '.join(DTYPES)}; got {_short(raw['dtype'])}"
        )
    if not _are_sizes(shape) or len(shape) > _MOST_DIMENSIONS:
        raise FormatError(
            f"{fault} must have a shape of at most {_MOST_DIMENSIONS} sizes; got "
            f"{_short(shape)}"
        )
    if not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise FormatError(
            f"{fault} must have data_offsets [begin, end]; got {_short(offsets)}"
        )
    if math.prod(n for n in shape if n) * dtype.itemsize > _LARGEST:
        raise FormatError(f"{fault} is too large: {_short(shape)}")
    begin, end = offsets
    bytes_needed = math.prod(shape) * dtype.itemsize
    if end - begin != bytes_needed:
        raise FormatError(
            f"{fault}, {raw['dtype']} {_short(shape)}, has {bytes_needed} bytes; its "
            f"offsets span {end - begin}"
        )
    return Entry(dtype, tuple(shape), first + begin, first + end)


def _are_sizes(values: Any) -> bool:
    return isinstance(values, list) and all(
        type(n) is int and 0 <= n <= _LARGEST for n in values
    )


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise FormatError(f"the name {_short(twice)} comes twice in the header")
    return found


def _no_constant(word: str) -> None:
    raise FormatError(f"{word} is no JSON")


def _short(value: Any) -> str:
    """A value from a file in an error: never long, never with control characters."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
