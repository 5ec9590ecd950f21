"""Dynamic loss scaling: float16 gradients that neither vanish nor overflow.

    state = step.init(params, tx, key=key, scaling=scaling.init())

float16 ends at 6e-8: small gradients are lost unless the loss is scaled up first. The
scale is halved whenever a gradient overflows (that step is skipped), and doubled after
`interval` steps without. bfloat16 has the range of float32 and needs none of this.

References:
    Micikevicius et al., 2017. Mixed precision training. arXiv:1710.03740, section 3.2.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

__all__ = ["Scaling", "at_floor", "init", "update"]


class Scaling(NamedTuple):
    """What the loss is multiplied by, and what moves it."""

    scale: Float[Array, ""]
    good_steps: Int[Array, ""]  # finite steps since the scale moved
    interval: Int[Array, ""]  # finite steps until it is doubled
    floor: Float[Array, ""]  # it is never halved below this


def init(
    scale: float = 2.0**15, *, interval: int = 2000, floor: float = 1.0
) -> Scaling:
    """The scaling before the first step.

    Args:
        scale: the first factor of the loss; a power of two costs no rounding.
        interval: finite steps after which the scale is doubled, at least 1.
        floor: the least scale, above 0. A gradient that is not finite there is no
            overflow of float16, but a fault of the run.

    Raises:
        ValueError: if a number is out of its range.
    """
    if interval < 1:
        raise ValueError(f"interval must be at least 1; got {interval}")
    if not 0 < floor <= scale < float("inf"):
        raise ValueError(
            "scale must be finite and at least floor, and floor above 0; got "
            f"scale {scale} and floor {floor}"
        )
    return Scaling(
        jnp.asarray(scale, jnp.float32),
        jnp.zeros((), jnp.int32),
        jnp.asarray(interval, jnp.int32),
        jnp.asarray(floor, jnp.float32),
    )


def update(scaling: Scaling, finite: Bool[Array, ""]) -> Scaling:
    """The scaling after a step whose loss and gradients were `finite`, or were not.

    >>> scaling = init(4.0, interval=2)
    >>> float(update(scaling, jnp.array(False)).scale)
    2.0
    >>> float(update(update(scaling, jnp.array(True)), jnp.array(True)).scale)
    8.0
    """
    scale, good_steps, interval, floor = scaling
    good_steps = jnp.where(finite, good_steps + 1, 0)
    grown = good_steps >= interval
    doubled = jnp.where(jnp.isfinite(2 * scale), 2 * scale, scale)
    halved = jnp.maximum(scale / 2, floor)
    scale = jnp.where(finite, jnp.where(grown, doubled, scale), halved)
    return Scaling(scale, jnp.where(grown, 0, good_steps), interval, floor)


def at_floor(scaling: Scaling) -> Bool[Array, ""]:
    """Whether the scale cannot be halved any more."""
    return scaling.scale <= scaling.floor
