"""Rows on their way to the device: precision, weights, padding."""

import contextlib
import copy
import dataclasses
import numbers
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from sklearn import utils

__all__ = ["bucket", "check_weight", "moved", "padded", "precision"]

LARGEST_PADDED = 1024  # rows; beyond it, compiling is small beside computing


def precision(dtype: Any) -> contextlib.AbstractContextManager:
    """Where arrays of `dtype` may live: JAX has float64 only where it is asked for."""
    return jax.enable_x64(True) if dtype == np.float64 else contextlib.nullcontext()


def bucket(n: int) -> int:
    """The length that `n` rows are padded to: 32, 64, 128, 256, 384, 512, 768, 1024.

    >>> bucket(1), bucket(33), bucket(300), bucket(2000)
    (32, 64, 384, 2000)
    """
    if n > LARGEST_PADDED:
        return n
    power = max(32, 1 << (n - 1).bit_length())
    half = power // 4 * 3
    return half if 256 < n <= half else power


def padded(array: np.ndarray, length: int, value: Any = None) -> np.ndarray:
    """`array` with more rows: copies of its last, or `value`.

    A copy of a row is always a possible row, where a zero may have no logarithm.
    """
    n = len(array)
    if n == length:
        return array
    out = np.empty((length, *array.shape[1:]), array.dtype)
    out[:n] = array
    out[n:] = array[-1] if value is None else value
    return out


def moved(tree: Any, kind: type, change: Callable[[Any], Any]) -> Any:
    """The state of a model with every array of a `kind` changed.

    Unlike a map over the leaves it calls no constructor of a dataclass, so the arrays
    of a state that is on its way to a file need not be of JAX.
    """
    if isinstance(tree, kind):
        return change(tree)
    if isinstance(tree, tuple):
        parts = [moved(part, kind, change) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
    if dataclasses.is_dataclass(tree):
        result = copy.copy(tree)
        for name, value in vars(tree).items():
            object.__setattr__(result, name, moved(value, kind, change))
        return result
    return tree


def check_weight(weight: Any, x: np.ndarray) -> np.ndarray:
    """Weights as numbers of the precision of `x`, one a row, not all zero.

    Raises:
        ValueError: if they are not.
    """
    n = len(x)
    if isinstance(weight, numbers.Number):
        weight = np.full(n, weight, x.dtype)
    weight = utils.check_array(
        weight, ensure_2d=False, dtype=x.dtype, input_name="sample_weight"
    )
    if weight.ndim != 1:
        raise ValueError(
            f"Sample weights must be 1D array or scalar: one number for each of the "
            f"{n} rows; got {list(weight.shape)}"
        )
    if len(weight) != n:
        raise ValueError(
            f"sample_weight.shape == {weight.shape}, expected {(n,)}: one number a row"
        )
    if weight.min() < 0:
        raise ValueError("Negative values in data passed to `sample_weight`")
    if not weight.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return weight
