"""L-BFGS: minimise a smooth function from its gradients.

    solution = lbfgs.minimize(lambda w: loss(w, x, y), start, tol=1e-5)
    w = solution.value

The search along a line accepts a point by its slope where rounding hides the values
(`jaxml.optim.descent`), so float32 reaches the optimum to its last digits.

References:
    Liu and Nocedal, 1989. On the limited memory BFGS method for large scale
    optimization. Mathematical Programming 45.
"""

from collections.abc import Callable

import jax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from jaxml.ops import check
from jaxml.optim import descent, implicit, newton
from jaxml.optim.solution import Solution

__all__ = ["minimize"]


def minimize(
    fun: Callable[[PyTree], Float[Array, ""]],
    start: PyTree,
    *,
    max_iter: int = 100,
    tol: float | Float[Array, ""] = 1e-5,
    memory_size: int = 10,
) -> Solution:
    """Minimise `fun` from `start`.

        >>> import jax.numpy as jnp
        >>> solution = minimize(lambda w: ((w - jnp.array([1.0, 2.0])) ** 2).sum(),
        ...                     jnp.zeros(2))
        >>> solution.value.round(4)
        Array([1., 2.], dtype=float32)

    Args:
        fun: smooth; every traced array that it closes over has a derivative through
            the optimum, provided its Hessian there is positive.
        start: where to start; any tree of floating arrays.
        max_iter: bound on the steps; each costs one or a few values and gradients.
        tol: stop when no component of the gradient is larger.
        memory_size: steps remembered.

    Returns:
        The point, and how it went: `Code.PRECISION` when no step makes progress in
        this dtype, `Code.NOT_FINITE` when the function is not.

    Raises:
        ValueError: if `max_iter` or `memory_size` is below 1, or `tol` below 0.
    """
    check.size("max_iter", max_iter, 1)
    check.size("memory_size", memory_size, 1)
    check.at_least("tol", tol, 0)
    flat, unravel = ravel_pytree(start)
    problem = descent.function(lambda vector: fun(unravel(vector)))

    def solve(vector):
        state = jax.lax.while_loop(
            lambda state: descent.going(state, tol, max_iter),
            lambda state: descent.step(problem, state),
            descent.start(
                problem, vector, memory_size=memory_size, patience=memory_size
            ),
        )
        return state.point, newton.info(state, tol)

    gradient = jax.grad(lambda vector: fun(unravel(vector)))
    value, info = implicit.root(gradient, flat, solve)
    return Solution(unravel(value), info)
