"""Universal Binary JSON, as far as XGBoost writes it.

document = imported_ubjson.parse(open("model.ubj", "rb").read())

Typed arrays become numpy arrays; all else is what `json` would give.

References:
    Universal Binary JSON specification, draft 12. https://ubjson.org
"""

from typing import Any

import numpy as np

__all__ = ["parse"]

NUMBERS = {
    b"i": ">i1",
    b"U": ">u1",
    b"I": ">i2",
    b"l": ">i4",
    b"L": ">i8",
    b"d": ">f4",
    b"D": ">f8",
}
WORDS = {b"Z": None, b"T": True, b"F": False}
DEEPEST = 64


def parse(data: bytes) -> Any:
    """Read one document.

    Args:
        data: its bytes.

    Returns:
        Nested dicts, lists, numpy arrays, strings and numbers.

    Raises:
        ValueError: if the bytes are truncated or no such document; with the place.
    """
    value, end = _value(data, 0, 0)
    if data[end:].strip(b"\0"):
        raise ValueError(f"UBJSON: bytes are left behind the document, at byte {end}")
    return value


def _take(data: bytes, at: int, count: int) -> bytes:
    if count < 0 or at + count > len(data):
        raise ValueError(
            f"UBJSON: truncated: byte {at} asks for {count} bytes; {len(data) - at} "
            f"are left"
        )
    return data[at : at + count]


def _value(data: bytes, at: int, depth: int, kind: bytes = b"") -> tuple[Any, int]:
    """The value at `at`, and where the next begins; its type comes first, or `kind`."""
    if depth > DEEPEST:
        raise ValueError(f"UBJSON: deeper than {DEEPEST} levels at byte {at}")
    if not kind:
        kind, at = _take(data, at, 1), at + 1
    if kind in NUMBERS:
        dtype = np.dtype(NUMBERS[kind])
        piece = _take(data, at, dtype.itemsize)
        return np.frombuffer(piece, dtype)[0].item(), at + dtype.itemsize
    if kind in WORDS:
        return WORDS[kind], at
    if kind == b"C":
        return _decode(_take(data, at, 1), at), at + 1
    if kind == b"S":
        return _string(data, at)
    if kind == b"[":
        return _array(data, at, depth)
    if kind == b"{":
        return _object(data, at, depth)
    raise ValueError(f"UBJSON: {kind!r} at byte {at - 1} is no type")


def _decode(piece: bytes, at: int) -> str:
    try:
        return piece.decode()
    except UnicodeDecodeError:
        raise ValueError(f"UBJSON: the string at byte {at} is not UTF-8") from None


def _string(data: bytes, at: int) -> tuple[str, int]:
    length, at = _count(data, at)
    return _decode(_take(data, at, length), at), at + length


def _count(data: bytes, at: int) -> tuple[int, int]:
    kind = _take(data, at, 1)
    if kind not in NUMBERS or kind in b"dD":
        raise ValueError(f"UBJSON: {kind!r} at byte {at} is no type of a length")
    return _value(data, at, 0)


def _head(data: bytes, at: int) -> tuple[bytes, int | None, int]:
    """Type and number of the members, where they are given."""
    kind = b""
    if _take(data, at, 1) == b"$":
        kind, at = _take(data, at + 1, 1), at + 2
        if _take(data, at, 1) != b"#":
            raise ValueError(f"UBJSON: a type without a number at byte {at}")
    if _take(data, at, 1) == b"#":
        number, at = _count(data, at + 1)
        if not 0 <= number <= len(data):
            raise ValueError(f"UBJSON: {number} members at byte {at} are impossible")
        return kind, number, at
    return kind, None, at


def _array(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    kind, number, at = _head(data, at)
    if number is not None and kind in NUMBERS:
        dtype = np.dtype(NUMBERS[kind])
        piece = _take(data, at, number * dtype.itemsize)
        return np.frombuffer(piece, dtype), at + len(piece)
    items: list[Any] = []
    while number is None or len(items) < number:
        if number is None and _take(data, at, 1) == b"]":
            return items, at + 1
        item, at = _value(data, at, depth + 1, kind)
        items.append(item)
    return items, at


def _object(data: bytes, at: int, depth: int) -> tuple[dict[str, Any], int]:
    kind, number, at = _head(data, at)
    members: dict[str, Any] = {}
    seen = 0
    while number is None or seen < number:
        if number is None and _take(data, at, 1) == b"}":
            return members, at + 1
        name, at = _string(data, at)
        if name in members:
            raise ValueError(f"UBJSON: the key {name!r} comes twice at byte {at}")
        members[name], at = _value(data, at, depth + 1, kind)
        seen += 1
    return members, at
