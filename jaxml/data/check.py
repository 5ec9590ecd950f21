"""Host checks of data, each with an error that says where the fault lies.

check.same_length({"image": image, "label": label})
check.labels(label, num_classes=10)
check.finite(x, "x")
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import ArrayLike

__all__ = ["finite", "labels", "not_empty", "same_length"]


def same_length(arrays: Mapping[str, ArrayLike]) -> int:
    """Return the number of rows that all `arrays` share.

    Args:
        arrays: arrays by name, rows along the leading axis.

    Raises:
        ValueError: if there is no array, one has no axis, or the lengths differ.
    """
    if not arrays:
        raise ValueError("arrays must hold at least one array; got none")
    lengths = {}
    for name, array in arrays.items():
        if not np.shape(array):
            raise ValueError(f"{name} must have a leading axis of rows; got a scalar")
        lengths[name] = np.shape(array)[0]
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ValueError(f"arrays must have the same number of rows; got {found}")
    return next(iter(lengths.values()))


def not_empty(arrays: Mapping[str, ArrayLike]) -> int:
    """Return the number of rows that all `arrays` share, at least one.

    Args:
        arrays: arrays by name, rows along the leading axis.

    Raises:
        ValueError: if there are no rows; and as `same_length`.
    """
    rows = same_length(arrays)
    if not rows:
        raise ValueError(f"{', '.join(arrays)} must have at least one row; got 0")
    return rows


def labels(label: ArrayLike, num_classes: int) -> None:
    """Refuse class labels outside 0 to `num_classes` - 1.

    Args:
        label: class of each row.
        num_classes: number of classes.

    Raises:
        ValueError: if a label is not an integer or out of range; names the first one.
    """
    label = np.asarray(label)
    if not np.issubdtype(label.dtype, np.integer):
        raise ValueError(f"labels must be integers; got {label.dtype}")
    wrong = np.argwhere((label < 0) | (label >= num_classes))
    if len(wrong):
        raise ValueError(
            f"labels must be from 0 to {num_classes - 1}; {len(wrong)} of {label.size} "
            f"are not, the first at {_place(wrong[0])}: {label[tuple(wrong[0])]}"
        )


def finite(x: ArrayLike, name: str = "x") -> None:
    """Refuse NaN and infinity.

    Args:
        x: numbers, rows along the leading axis. Integers always pass.
        name: what the error calls them.

    Raises:
        ValueError: if a value is not finite; says how many and where the first is.
    """
    x = np.asarray(x)
    wrong = np.argwhere(~np.isfinite(x))
    if len(wrong):
        raise ValueError(
            f"{name} must be finite; {len(wrong)} of {x.size} values are not, "
            f"the first at {_place(wrong[0])}: {x[tuple(wrong[0])]}"
        )


def _place(index: np.ndarray) -> str:
    """Spell an index: "row 3, column 1" for tables."""
    if len(index) == 2:
        return f"row {index[0]}, column {index[1]}"
    rest = f", index {tuple(map(int, index[1:]))}" if len(index) > 1 else ""
    return f"row {index[0]}{rest}"
