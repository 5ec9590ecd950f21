"""Proximal gradient descent, accelerated: a smooth function plus a simple one.

    ball = lambda v, step: prox.l2_ball(v, 1.0)                  # a constraint
    lasso = lambda v, step: prox.l1(v, step * 0.1)               # a penalty
    solution = proximal.minimize(loss, start, lasso, tol=1e-4)

Minimises fun(v) + g(v), where `prox(v, step)` is the proximal operator of step · g (see
`jaxml.optim.prox`): v ← prox(v - step ∇fun(v), step), with momentum that starts again
when it points uphill, and steps found by backtracking. The solution is differentiable
in all that `fun` and `prox` close over, as a root of v - prox(v - step ∇fun(v)).

Letters: z the new point, y the point it was made from, s the step.

References:
    Beck and Teboulle, 2009. A fast iterative shrinkage-thresholding algorithm. SIAM J.
    Imaging Sci. 2(1), eq. 4.1-4.3.
    O'Donoghue and Candès, 2015. Adaptive restart for accelerated gradient schemes.
    arXiv:1204.3982, eq. 13.
    Scheinberg, Goldfarb and Bai, 2014. Fast first-order methods for composite convex
    optimization with backtracking. Found. Comput. Math. 14(3), algorithm 3.
    Becker, Candès and Grant, 2011. Templates for convex cone problems. arXiv:1009.2065,
    section 5.3.
    Blondel et al., 2022. arXiv:2105.15183, eq. 9.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from jaxml.ops import check
from jaxml.optim import implicit
from jaxml.optim.solution import Info, Solution, code

__all__ = ["minimize"]

GROW, SHRINK = 1.25, 0.5  # of the step, from one iteration to the next and in a search
TRIALS = 30  # of a search: down to a billionth of the step


def minimize(
    fun: Callable[[PyTree], Float[Array, ""]],
    start: PyTree,
    prox: Callable[[PyTree, Float[Array, ""]], PyTree],
    *,
    step: float | Float[Array, ""] | None = None,
    acceleration: bool = True,
    max_iter: int = 500,
    tol: float | Float[Array, ""] = 1e-4,
    linear: str = "auto",
) -> Solution:
    """Minimise fun(v) + g(v).

    Args:
        fun: smooth; convex, or the result is a stationary point.
        start: where to start, a tree of arrays of one dtype.
        prox: from (v, step) to the proximal operator of step · g. A projection ignores
            the step.
        step: a fixed step, at most one over the largest curvature of `fun`; None: found
            by backtracking.
        acceleration: momentum. Without it, plain proximal gradient.
        max_iter: bound on the iterations.
        tol: stop when |v - prox(v - step ∇fun(v), step)|₂ / step, which is the norm of
            the gradient where there is no g, is at most this.
        linear: how the derivative solves its linear system, see `implicit.root`.

    Returns:
        v; `info.objective` is fun(v), without g.

    Raises:
        ValueError: if `step` is not above 0 or `max_iter` below 1.

    >>> from jaxml.optim import prox
    >>> target = jnp.array([1.0, 0.5, -0.25])
    >>> far = lambda v: ((v - target) ** 2).sum()
    >>> solution = minimize(far, jnp.zeros(3), lambda v, step: prox.simplex(v))
    >>> jnp.allclose(solution.value, jnp.array([0.75, 0.25, 0.0]), atol=1e-6)
    Array(True, dtype=bool)
    """
    check.size("max_iter", max_iter, 1)
    if step is not None:
        check.above("step", step, 0)
    flat, unravel = ravel_pytree(start)

    def flat_fun(v):
        return fun(unravel(v))

    def flat_prox(v, s):
        return ravel_pytree(prox(unravel(v), s))[0]

    def solve(pair):
        v = jax.lax.stop_gradient(pair[0])
        return _solve(flat_fun, flat_prox, v, step, acceleration, max_iter, tol)

    def residual(pair):
        # The step is an unknown only to carry it from the solver to here: every step
        # has the same root, this one makes the Jacobian well conditioned.
        v, s = pair[0], jax.lax.stop_gradient(pair[1])
        return v - flat_prox(v - s * jax.grad(flat_fun)(v), s), pair[1] - s

    first = (flat, jnp.ones((), flat.dtype))
    (value, _), info = implicit.root(residual, first, solve, linear=linear)
    return Solution(unravel(value), info)


class _State(NamedTuple):
    value: Array  # z, the last point
    ahead: Array  # y, where the next gradient is taken
    momentum: Array  # t of eq. 4.2
    step: Array
    error: Array
    objective: Array
    n_iter: Array
    stuck: Array


def _solve(fun, prox, start, step, acceleration, max_iter, tol):
    slope = jax.value_and_grad(fun)
    dtype, eps = start.dtype, jnp.finfo(start.dtype).eps
    tol = jnp.asarray(tol, dtype)
    searching = step is None
    first_step = _first_step(slope, start) if searching else jnp.asarray(step, dtype)

    def unfinished(state):
        going = (state.error > tol) & ~state.stuck & (state.n_iter < max_iter)
        return going | (state.n_iter == 0)

    def advance(state):
        y = state.ahead
        height, down = slope(y)
        if searching:
            s, z = _search(slope, prox, y, height, down, state.step)
        else:
            s = state.step
            z = prox(y - s * down, s)
        objective, gradient = slope(z)
        left = jnp.linalg.norm(z - prox(z - s * gradient, s))
        grown = s * GROW if searching else s
        t, ahead = jnp.ones_like(s), z
        if acceleration:
            uphill = jnp.vdot(y - z, z - state.value) > 0
            # The momentum of steps that change (Scheinberg, algorithm 3).
            t = (1 + jnp.sqrt(1 + 4 * s / grown * state.momentum**2)) / 2
            share = jnp.where(uphill, 0, (state.momentum - 1) / t)
            t = jnp.where(uphill, 1, t)
            ahead = z + share * (z - state.value)
        stuck = left <= 2 * eps * jnp.linalg.norm(z)  # rounding of z itself
        n_iter = state.n_iter + 1
        return _State(z, ahead, t, grown, left / s, objective, n_iter, stuck)

    zero = jnp.zeros((), dtype)
    state = _State(
        start, start, zero + 1, first_step, zero, zero, jnp.array(0), jnp.array(False)
    )
    state = jax.lax.while_loop(unfinished, advance, state)
    info = Info(
        state.n_iter, state.error, state.objective, code(state.error, tol, state.stuck)
    )
    used = state.step / GROW if searching else state.step
    return (state.value, used), info


def _search(slope, prox, y, height, down, s):
    """Shrink the step until fun lies below the parabola of that step (eq. 3.3)."""
    eps = jnp.finfo(y.dtype).eps

    def trial(s):
        z = prox(y - s * down, s)
        objective, gradient = slope(z)
        move = z - y
        above = objective - height - jnp.vdot(down, move)
        # Where the values differ by rounding only, the gradients still tell (Becker).
        blurred = jnp.abs(objective - height) < 1e4 * eps * jnp.abs(height)
        above = jnp.where(blurred, jnp.vdot(gradient - down, move) / 2, above)
        return z, 2 * s * above <= jnp.vdot(move, move) * (1 + 10 * eps)

    def rejected(carry):
        _, _, fits, n = carry
        return ~fits & (n < TRIALS)

    def shrink(carry):
        s, _, _, n = carry
        return s * SHRINK, *trial(s * SHRINK), n + 1

    s, z, _, _ = jax.lax.while_loop(rejected, shrink, (s, *trial(s), 0))
    return s, z


def _first_step(slope, start):
    """One over the curvature of fun along its gradient; 1 where that says nothing."""
    eps = jnp.finfo(start.dtype).eps
    _, down = slope(start)
    norm = jnp.linalg.norm(down)
    # A move that is long beside the rounding of the start, short beside its size.
    move = down * (eps**0.33 * (1 + jnp.linalg.norm(start)) / norm)
    _, after = slope(start - move)
    ratio = jnp.vdot(move, move) / jnp.vdot(down - after, move)
    return jnp.where(jnp.isfinite(ratio) & (ratio > 0), ratio, 1)
