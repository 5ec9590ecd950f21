"""Search along a line for a point that is lower and nearly flat.

    line = line_search.search(at, value, slope, first=jnp.ones(()), curvature=0.9)
    line.size, line.found

Slopes decide where values can't: next to the optimum two values differ by less than
their rounding, and a slope still has half of its digits.

References:
    Nocedal and Wright, 2006. Numerical optimization, algorithm 3.5.
    Hager and Zhang, 2005. A new conjugate gradient method with guaranteed descent and
    an efficient line search. SIAM J. Optim. 16(1), eq. 4.1 (approximate Wolfe).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

__all__ = ["Line", "grain", "search"]

EVALUATIONS = 25  # bound on the points tried along one line


class Line(NamedTuple):
    """A point on a line, and what is known of the line."""

    size: Float[Array, ""]
    value: Float[Array, ""]
    rest: Any
    found: Bool[Array, ""]
    low: Float[Array, ""]  # the size is above this ...
    low_slope: Float[Array, ""]
    high: Float[Array, ""]  # ... and below this
    n: Int[Array, ""]


def search(
    at: Callable,
    value: Float[Array, ""],
    slope: Float[Array, ""],
    *,
    first: Float[Array, ""],
    curvature: float,
) -> Line:
    """Find a size where the value is lower and the slope nearly flat.

    Args:
        at: from a size to the value, the slope, and anything else.
        value: at size 0.
        slope: at size 0, below 0.
        first: the size tried first.
        curvature: share of the first slope that ends the search.
    """
    zero, infinity = jnp.zeros_like(slope), jnp.full_like(slope, jnp.inf)
    rest = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(at, slope)[2]
    )
    floor = 16 * grain(value)

    def searching(line):
        return ~line.found & (line.n < EVALUATIONS)

    def narrow(line):
        size = line.size
        now, tilt, rest = at(size)
        high = ~(now <= value + 1e-4 * size * slope + floor)  # NaN is too high
        flat = jnp.abs(tilt) <= -curvature * slope
        found = ~high & flat & jnp.isfinite(tilt)
        over = high | ~(tilt < 0)
        top = jnp.where(over, size, line.high)
        secant = line.low + (size - line.low) * line.low_slope / (line.low_slope - tilt)
        secant = jnp.where(jnp.isfinite(secant), secant, (line.low + size) / 2)
        bottom = jnp.where(over, line.low, size)
        width = jnp.where(jnp.isfinite(top), top - bottom, 10 * size)
        shy = jnp.where(jnp.isfinite(top), 0.1, 0.05)
        following = jnp.clip(secant, bottom + shy * width, bottom + 0.9 * width)
        # A value that is too high under a falling slope: no convex line, so halve.
        following = jnp.where(high & ~(tilt > 0), bottom + 0.5 * width, following)
        outside = ~jnp.isfinite(now)  # of the domain: slopes there say nothing
        following = jnp.where(outside, bottom + 0.1 * width, following)
        return Line(
            jnp.where(found, size, following),
            now,
            rest,
            found,
            bottom,
            jnp.where(over, line.low_slope, tilt),
            top,
            line.n + 1,
        )

    line = Line(
        first, value, rest, jnp.asarray(False), zero, slope, infinity, jnp.asarray(0)
    )
    return jax.lax.while_loop(searching, narrow, line)


def grain(value: Float[Array, ""]) -> Float[Array, ""]:
    """One unit in the last place of a value."""
    return jnp.finfo(value.dtype).eps * jnp.abs(value)
