"""Where the fit of an ARIMA model begins, and what orders it has.

free = arima_start.free({"ar": phi}, {"ar": 1, "ma": 0}, y.dtype)
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxml.models.classical import arima_process

__all__ = ["check_orders", "free"]


def check_orders(
    order: tuple[int, int, int], seasonal_order: tuple[int, int, int, int]
) -> None:
    """Refuse orders below 0, and a season of fewer than 2 steps.

    Raises:
        ValueError: naming them.
    """
    if min(*order, *seasonal_order) < 0:
        raise ValueError(f"orders must be at least 0; got {order}, {seasonal_order}")
    if any(seasonal_order[:3]) and seasonal_order[3] < 2:
        raise ValueError(
            f"a seasonal order needs a season of at least 2 steps; got {seasonal_order}"
        )


def free(
    start: Mapping[str, Float[Array, " _"]], sizes: Mapping[str, int], dtype: Any
) -> dict[str, Float[Array, " _"]]:
    """The free numbers of the coefficients to begin from; zeros where not given.

    Args:
        start: coefficients by name.
        sizes: how many each name has.
        dtype: of the numbers.

    Raises:
        ValueError: if a name is unknown, a size is off, or coefficients that are not
            traced are not stationary or not invertible.
    """
    unknown = set(start) - set(sizes)
    if unknown:
        raise ValueError(
            f"start must name some of {list(sizes)}; got {sorted(unknown)}"
        )
    begin = {}
    for name, size in sizes.items():
        given = jnp.asarray(start.get(name, jnp.zeros(size)), dtype)
        if given.shape != (size,):
            raise ValueError(
                f"start of {name} must have {size} numbers; got {list(given.shape)}"
            )
        phi = given if name.endswith("ar") else -given
        if size and not _below_one(arima_process.partial_of(phi)):
            word = "stationary" if name.endswith("ar") else "invertible"
            raise ValueError(
                f"start of {name} must be {word} (roots of its polynomial outside the "
                f"unit circle); got {given.tolist()}"
            )
        begin[name] = arima_process.free(phi)
    return begin


def _below_one(partials):
    """Whether all are of modulus below 1; traced ones pass."""
    try:
        return float(jnp.abs(partials).max()) < 1
    except jax.errors.ConcretizationTypeError:
        return True
