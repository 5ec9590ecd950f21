"""What every solver of a classical fit returns: the value, and how it went.

solution = lbfgs.minimize(fun, start, tol=1e-4)
solution.value; solution.info.converged; Code(int(solution.info.code)).name

Under jit nothing can be raised, so failure is a value (optimistix does the same). A
solver never loops for ever: `max_iter` bounds every loop, and a NaN stops it.
"""

import enum
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

__all__ = ["Code", "Info", "Solution", "code"]


class Code(enum.IntEnum):
    """Why a solver stopped."""

    CONVERGED = 0  # the error is at most tol
    PRECISION = 1  # no step improves the objective in this dtype: the floor
    MAX_ITER = 2  # the bound on the iterations
    NOT_FINITE = 3  # NaN or infinity in the data, or a problem without a minimum


class Info(NamedTuple):
    """How a solver ended."""

    n_iter: Int[Array, ""]
    error: Float[Array, ""]  # the measure of optimality that `tol` bounds
    objective: Float[Array, ""]  # at the value
    code: Int[Array, ""]  # a `Code`

    @property
    def converged(self) -> Bool[Array, ""]:
        """Whether the value is the optimum, to `tol` or to the last digits."""
        return self.code <= Code.PRECISION


class Solution(NamedTuple):
    """What a solver found."""

    value: PyTree  # like the start
    info: Info


def code(error: Any, tol: Any, stuck: Any = False) -> Int[Array, ""]:
    """The code of a solver that stopped with `error`.

    Args:
        error: the measure of optimality.
        tol: its bound.
        stuck: whether it stopped since no step improved.

    >>> int(code(jnp.array(0.1), 1.0)), int(code(jnp.array(2.0), 1.0))
    (0, 2)
    """
    late = jnp.where(stuck, Code.PRECISION, Code.MAX_ITER)
    reached = jnp.where(error <= tol, Code.CONVERGED, late)
    found = jnp.where(jnp.isfinite(error), reached, Code.NOT_FINITE)
    return jax.lax.stop_gradient(found.astype(jnp.int32))
