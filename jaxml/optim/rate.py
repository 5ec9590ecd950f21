"""The rate of an optimizer: a number, a traced number or a schedule, seen in its state.

tx = rate.descend(optax.scale_by_adam(), 1e-3, weight_decay=0.01)
opt_state[-1].learning_rate                      # what the last update used
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from jaxml.optim.cycles import Scalar, Schedule
from jaxml.optim.regularize import Mask, decay_mask

__all__ = ["Rate", "RateState", "Transformation", "descend", "scale_by_rate"]

Rate = ArrayLike | Schedule
Transformation = optax.GradientTransformationExtraArgs


class RateState(NamedTuple):
    """State of `scale_by_rate`."""

    step: Int[Array, ""]  # updates done
    learning_rate: Float[Array, ""]  # of the last update; before it, of the first


def scale_by_rate(rate: Rate) -> Transformation:
    """Multiply the direction by minus the rate, and show the rate in the state.

    Args:
        rate: a number, a traced number, or a schedule of the updates done.

    Raises:
        ValueError: on a negative number or an array that is not a single number.
    """
    if not callable(rate) and jnp.shape(rate) != ():
        raise ValueError(
            f"rate must be one number or a schedule; got shape {jnp.shape(rate)}"
        )
    if isinstance(rate, int | float) and not rate >= 0:
        raise ValueError(f"rate must be at least 0; got {rate}")

    def at(count):  # a copy: a donated state must not take the caller's array with it
        return jnp.array(rate(count) if callable(rate) else rate, float)

    def init(params):
        del params
        count = jnp.zeros((), jnp.int32)
        return RateState(count, at(count))

    def update(updates, state, params=None, *, rate_scale: Scalar = 1.0, **extra):
        del params, extra
        now = at(state.step) * rate_scale
        updates = jax.tree.map(lambda u: (-now * u).astype(u.dtype), updates)
        return updates, RateState(optax.safe_increment(state.step), now)

    return optax.GradientTransformationExtraArgs(init, update)


def descend(
    direction: optax.GradientTransformation,
    rate: Rate,
    weight_decay: Scalar = 0.0,
    mask: Mask = decay_mask,
) -> Transformation:
    """An optimizer from a direction; those of `jaxml.optim.optimizers` are so made.

    Args:
        direction: gradients to steps uphill, such as `optax.scale_by_adam()`.
        rate: a number, a traced number or a schedule.
        weight_decay: as in `jaxml.optim.optimizers`.
        mask: as in `jaxml.optim.optimizers`.
    """
    parts = [direction]
    if not (isinstance(weight_decay, int | float) and weight_decay == 0):
        parts.append(optax.add_decayed_weights(weight_decay, mask))
    return optax.chain(*parts, scale_by_rate(rate))
