"""Data of n rows, from which a loader takes b at a time."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64, Shaped

from jaxml.data import check

__all__ = ["Arrays", "Batch", "Rows"]

Batch = dict[str, Shaped[np.ndarray, "b ..."]]


@runtime_checkable
class Rows(Protocol):
    """What a loader reads: arrays in memory, records in files, anything like them."""

    def __len__(self) -> int: ...

    def take(self, rows: Int64[np.ndarray, "b"]) -> Batch:
        """The given rows, stacked into new arrays."""


class Arrays:
    """Rows of arrays in memory, or mapped into it."""

    def __init__(self, arrays: Mapping[str, Any]):
        for name, array in arrays.items():
            if not (hasattr(array, "dtype") and hasattr(array, "shape")):
                raise ValueError(f"{name} must be an array; got {type(array).__name__}")
            if array.dtype.hasobject or array.dtype.names or array.dtype.kind in "SUMm":
                raise ValueError(f"{name} must hold numbers; got {array.dtype}")
        self._length = check.not_empty(arrays)
        if "weight" in arrays and arrays["weight"].ndim != 1:
            raise ValueError(
                f"weight must be one number a row; got {arrays['weight'].shape}"
            )
        self._arrays = {name: np.asarray(array) for name, array in arrays.items()}

    def __len__(self) -> int:
        return self._length

    def take(self, rows: Int64[np.ndarray, "b"]) -> Batch:
        return {name: _gather(array, rows) for name, array in self._arrays.items()}


def _gather(array, rows):
    if array.flags.c_contiguous and array.dtype.isnative:
        return array.take(rows, axis=0)
    # `take` would first copy the whole array into that form.
    return array[rows].astype(array.dtype.newbyteorder("="), copy=False)
