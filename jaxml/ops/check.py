"""What a classical model checks at its door, before anything is traced.

check.rows(x, y, sample_weight)
check.one_of("penalty", penalty, ("l1", "l2"))
check.at_least("alpha", alpha, 0)

A number that is traced (under jit, vmap, grad) can't be looked at and passes; what it
does then shows in the result (`converged`, NaN).
"""

import math
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp

__all__ = ["above", "at_least", "between", "labels", "one_of", "rows", "size"]


def rows(x: Any, y: Any = None, sample_weight: Any = None) -> None:
    """Refuse what is not [n, d] floating-point rows with n targets and n weights.

    Raises:
        ValueError: if `x` is not a floating matrix with at least one row and one
        column,
            or `y` or `sample_weight` have another number of rows than `x`.
    """
    if x.ndim != 2 or not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"x must be floating-point [n, d]; got {_show(x)}")
    n, d = x.shape
    if n < 1 or d < 1:
        raise ValueError(f"x must have at least one row and one column; got {_show(x)}")
    if y is not None and (y.ndim < 1 or len(y) != n):
        raise ValueError(
            f"y must have one row for each of the {n} of x; got {_show(y)}"
        )
    if sample_weight is not None and sample_weight.shape != (n,):
        raise ValueError(
            f"sample_weight must be one number for each of the {n} rows of x; "
            f"got {_show(sample_weight)}"
        )


def labels(y: Any, n_classes: int) -> None:
    """Refuse what are not integer labels of at least two classes.

    Raises:
        ValueError: if `y` is not an integer vector or `n_classes` is below 2.
    """
    if y.ndim != 1 or not jnp.issubdtype(y.dtype, jnp.integer):
        raise ValueError(f"y must be integer labels [n]; got {_show(y)}")
    size("n_classes", n_classes, 2)


def size(name: str, value: int, low: int, high: int | None = None) -> None:
    """Refuse a static whole number outside `low` to `high`.

    Raises:
        ValueError: naming the range and the value.
    """
    if not low <= value <= (value if high is None else high):
        limit = f"at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"{name} must be {limit}; got {value}")


def one_of(name: str, value: Any, choices: Iterable[Any]) -> None:
    """Refuse a `value` that is none of the `choices`.

    Raises:
        ValueError: listing the choices.
    """
    choices = tuple(choices)
    if value not in choices:
        raise ValueError(f"{name} must be one of {choices}; got {value!r}")


def at_least(name: str, value: Any, low: int | float) -> None:
    """Refuse a number below `low`; a traced one passes.

    Raises:
        ValueError: naming the limit and the value.
    """
    number = _known(value)
    if number is not None and not number >= low:
        raise ValueError(f"{name} must be at least {low}; got {number}")


def above(name: str, value: Any, low: int | float) -> None:
    """Refuse a number that is not above `low`; a traced one passes.

    Raises:
        ValueError: naming the limit and the value.
    """
    number = _known(value)
    if number is not None and not number > low:
        raise ValueError(f"{name} must be above {low}; got {number}")


def between(name: str, value: Any, low: int | float, high: int | float) -> None:
    """Refuse a number outside `low` to `high`, both allowed; a traced one passes.

    Raises:
        ValueError: naming the limits and the value.
    """
    number = _known(value)
    if number is not None and not low <= number <= high:
        raise ValueError(f"{name} must be from {low} to {high}; got {number}")


def _known(value: Any) -> int | float | None:
    """The number, or None where it is traced or not a scalar."""
    if isinstance(value, int | float):
        return value
    if getattr(value, "shape", None) != ():
        return None
    try:
        number = float(value)
    except jax.errors.ConcretizationTypeError:
        return None
    return int(number) if math.isfinite(number) and number == int(number) else number


def _show(array: Any) -> str:
    """Dtype and shape, for a message."""
    return f"{array.dtype}{list(array.shape)}"
