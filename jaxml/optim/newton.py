"""Newton's method with a dense Hessian, damped by a search along the line.

    solution = newton.minimize(lambda w: loss(w, x, y), start)
    w = solution.value

For a sum of losses of x @ w + b see `jaxml.optim.irls`, which needs few Hessians.

References:
    Nocedal and Wright, 2006. Numerical optimization, section 3.4.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from jaxml.ops import check
from jaxml.optim import descent, implicit
from jaxml.optim.solution import Info, Solution, code

__all__ = ["cholesky_solver", "info", "minimize"]


def minimize(
    fun: Callable[[PyTree], Float[Array, ""]],
    start: PyTree,
    *,
    max_iter: int = 50,
    tol: float | Float[Array, ""] = 1e-6,
) -> Solution:
    """Minimise `fun` from `start` by Newton steps with its dense Hessian.

        >>> minimize(lambda w: jnp.cosh(w - 2.0).sum(), jnp.zeros(3)).value.round(4)
        Array([2., 2., 2.], dtype=float32)

    Args:
        fun: twice differentiable, of few (some hundreds of) unknowns; every traced
            array that it closes over has a derivative through the optimum.
        start: where to start; any tree of floating arrays.
        max_iter: bound on the steps.
        tol: stop when no component of the gradient is larger.

    Returns:
        The point, and how it went. Where the Hessian is not positive it is shifted, so
        that every step goes down.

    Raises:
        ValueError: if `max_iter` is below 1 or `tol` below 0.
    """
    check.size("max_iter", max_iter, 1)
    check.at_least("tol", tol, 0)
    flat, unravel = ravel_pytree(start)

    def flat_fun(vector):
        return fun(unravel(vector))

    problem = descent.function(flat_fun)

    def step(state):
        solve = cholesky_solver(jax.hessian(flat_fun)(state.point))
        return descent.step(problem, state, solve)

    def solve(vector):
        state = jax.lax.while_loop(
            lambda state: descent.going(state, tol, max_iter),
            step,
            descent.start(problem, vector, memory_size=0, patience=2),
        )
        return state.point, info(state, tol)

    value, ended = implicit.root(jax.grad(flat_fun), flat, solve)
    return Solution(unravel(value), ended)


def cholesky_solver(matrix: Float[Array, "m m"]) -> Callable[[Any], Any]:
    """A function that divides by a symmetric matrix, shifted until it is positive.

    The unknowns are first scaled so that the diagonal is 1: features in any units.
    The function takes an array whose elements, or whose last axis, are the unknowns.
    """
    m = len(matrix)
    diagonal = jnp.abs(jnp.diagonal(matrix))
    tiny = jnp.finfo(matrix.dtype).tiny
    scale = jax.lax.rsqrt(jnp.where(diagonal > tiny, diagonal, 1))
    scaled = matrix * scale[:, None] * scale[None]
    eye = jnp.eye(m, dtype=matrix.dtype)
    least = jnp.finfo(matrix.dtype).eps * m

    def failed(carry):
        factor, shift = carry
        return ~jnp.isfinite(factor[-1, -1]) & (shift < 4 * m)

    def shifted(carry):
        shift = carry[1] * 8
        return jnp.linalg.cholesky(scaled + shift * eye), shift

    first = jnp.linalg.cholesky(scaled + least * eye)
    start = (first, jnp.asarray(least, matrix.dtype))
    factor, _ = jax.lax.while_loop(failed, shifted, start)

    def solve(vector):
        columns = vector.reshape(-1, m) * scale[None]
        solved = jax.scipy.linalg.cho_solve((factor, True), columns.T).T
        return (solved * scale[None]).reshape(vector.shape)

    return solve


def info(state: descent.State, tol: float | Float[Array, ""]) -> Info:
    """How a descent ended."""
    ended = code(state.error, tol, state.stuck)
    return Info(state.n_iter, state.error, state.value, ended)
