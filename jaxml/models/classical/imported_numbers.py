"""What a model file says, checked: numbers, lists of numbers, members of an object.

threshold = numbers(words, float, 30, "tree 3: threshold")

Every refusal names the place that the caller gives.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["member", "numbers", "whole"]


def numbers(values: Any, kind: type, count: int | None, where: str) -> np.ndarray:
    """Make a list of numbers, which may be written as words, an array.

    Args:
        values: list or array.
        kind: int or float.
        count: how many there must be. None: any number.
        where: place of the list, for the message.

    Returns:
        int64 or float64 [count].

    Raises:
        ValueError: if they are no numbers of that kind, or not as many.
    """
    if not isinstance(values, list | np.ndarray):
        raise ValueError(f"{where} must be an array; got {type(values).__name__}")
    wanted = np.int64 if kind is int else np.float64
    try:
        array = np.asarray(values)
        if array.dtype.kind == "U":
            array = array.astype(wanted)
        if array.size and array.dtype.kind not in ("iub" if kind is int else "iubf"):
            raise ValueError
        array = array.astype(wanted)
    except (ValueError, OverflowError, TypeError):
        found = ", ".join(str(value) for value in values[:9])[:60]
        name = "whole numbers" if kind is int else "numbers"
        raise ValueError(f"{where} must be {name}; got {found}") from None
    if array.ndim != 1 or (count is not None and len(array) != count):
        raise ValueError(
            f"{where} must have {count} numbers; got {len(array) if array.ndim else 0}"
        )
    return array


def whole(parent: Mapping[str, Any], key: str, where: str, default: Any = None) -> int:
    """Read a whole number.

    Args:
        parent: object that holds it.
        key: its name.
        where: name of the object, for the message.
        default: what it is where it is missing. None: it must not be.

    Returns:
        The number.

    Raises:
        ValueError: if it is missing or is no whole number.
    """
    value = parent.get(key, default)
    if value is None:
        raise ValueError(f"{where}: the key {key!r} is missing")
    return int(numbers([value], int, 1, f"{where}: {key}")[0])


def member(
    parent: Mapping[str, Any], key: str, kind: type, where: str, default: Any = None
) -> Any:
    """Read a member of an object.

    Args:
        parent: the object.
        key: its name.
        kind: dict, list or str.
        where: name of the object, for the message.
        default: what it is where it is missing. None: it must not be.

    Returns:
        The member; an array as a list, where a list is wanted.

    Raises:
        ValueError: if it is missing or of another kind.
    """
    if not isinstance(parent, Mapping):
        raise ValueError(f"{where} must be an object; got {type(parent).__name__}")
    value = parent.get(key, default)
    if value is None:
        raise ValueError(f"{where}: the key {key!r} is missing")
    if kind is list and isinstance(value, np.ndarray):
        value = list(value)
    if not isinstance(value, kind):
        raise ValueError(
            f"{where}: {key} must be {kind.__name__}; got {type(value).__name__}"
        )
    return value
