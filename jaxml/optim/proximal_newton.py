"""Proximal Newton: a smooth loss of x @ w + b, plus absolute values of the weights.

    solution = proximal_newton.minimize(x, start, loss, hessian, l1=l1, ridge=l2, ...)

Each step minimises the quadratic model with the absolute values by coordinate descent,
then searches along the line to that minimum. The model lives in the d x d Hessian, so a
sweep costs no product with the data.

Letters: n rows, d features, k scores of a row (none for one), m unknowns of a score:
d, or d + 1 with the intercept last; M = m, or k m where the Hessian couples the scores.

References:
    Lee, Sun and Saunders, 2014. Proximal Newton-type methods for minimizing composite
    functions. SIAM J. Optim. 24(3), algorithm 1.
    Friedman, Hastie and Tibshirani, 2010. Regularization paths for generalized linear
    models via coordinate descent. J. Stat. Softw. 33(1), section 3.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxml.optim import implicit, irls, prox
from jaxml.optim.solution import Info, Solution, code

__all__ = ["minimize"]

SWEEPS = 100  # bound on the sweeps over the coordinates of one model
HALVINGS = 20  # bound on the shortening of one step
PATIENCE = 2  # steps in turn without progress after which the dtype has no more to give


class _State(NamedTuple):
    """Where the descent is."""

    point: Float[Array, "*point"]
    scores: Float[Array, "*scores"]
    value: Float[Array, ""]  # with the absolute values
    gradient: Float[Array, "*point"]  # of the smooth part
    error: Float[Array, ""]
    n_iter: Int[Array, ""]
    idle: Int[Array, ""]  # steps in turn without progress


def minimize(
    x: Float[Array, "n d"],
    start: Float[Array, "..."],
    loss: Callable[[Array], tuple[Float[Array, ""], Array]],
    hessian: Callable[[Array], Float[Array, "M M"]],
    *,
    l1: Float[Array, "m"],
    ridge: Float[Array, "m"],
    smooth_gradient: Callable[[Array], Array],
    max_iter: int,
    tol: float | Float[Array, ""],
) -> Solution:
    """Minimise loss(x @ w + b) + l1 . |w| + ridge . w² / 2.

    Args:
        x: rows.
        start: weights [m] or [k, m].
        loss: as in `irls.minimize`.
        hessian: from the scores to the second derivative of the loss by the weights of
            all scores together, or one matrix for the weights of each.
        l1: strength of the absolute value of each unknown, 0 for the intercept.
        ridge: strength of the square of each unknown, 0 for the intercept.
        smooth_gradient: the gradient of all but the absolute values, as a function of
            the weights that JAX can differentiate.
        max_iter: bound on the steps.
        tol: stop when no component of the least subgradient is larger.
    """
    weights = jnp.broadcast_to(l1, start.shape)
    squares = jnp.broadcast_to(ridge, start.shape)

    def smooth(point, scores):
        value, slopes = loss(scores)
        value = value + 0.5 * (squares * point**2).sum()
        return value + (weights * jnp.abs(point)).sum(), slopes

    def gradient(point, slopes):
        return irls.pull(x, slopes, point.shape[-1]) + squares * point

    def arrived(point, scores, value, slopes, n_iter, idle):
        slope = gradient(point, slopes)
        error = _error(point, slope, weights)
        return _State(point, scores, value, slope, error, n_iter, idle)

    def going(state):
        finite = jnp.isfinite(state.error) & jnp.isfinite(state.value)
        left = (state.error > tol) & (state.idle < PATIENCE)
        return finite & left & (state.n_iter < max_iter)

    def step(state):
        matrix = hessian(state.scores)
        shape = (-1, len(matrix))
        aim = _model_minimum(
            matrix,
            squares.reshape(shape)[0],
            state.gradient.reshape(shape),
            state.point.reshape(shape),
            weights.reshape(shape)[0],
            0.05 * state.error,
        ).reshape(state.point.shape)
        along = aim - state.point
        ahead = irls.scores(x, along)
        bend = weights * (jnp.abs(aim) - jnp.abs(state.point))
        promise = (state.gradient * along + bend).sum()

        def at(size):
            scores = state.scores + size * ahead
            # The whole step ends where the model does: at exact zeros.
            point = jnp.where(size == 1, aim, state.point + size * along)
            value, slopes = smooth(point, scores)
            return point, scores, value, slopes

        floor = 16 * jnp.finfo(state.value.dtype).eps * jnp.abs(state.value)

        def too_long(carry):
            size, halvings = carry
            value = at(size)[2]
            fine = value <= state.value + 1e-4 * size * promise + floor
            return ~fine & (halvings < HALVINGS)

        size, halvings = jax.lax.while_loop(
            too_long,
            lambda carry: (carry[0] / 2, carry[1] + 1),
            (jnp.ones_like(state.value), jnp.asarray(0)),
        )
        moved = halvings < HALVINGS
        point, scores, value, slopes = at(size)
        new = arrived(point, scores, value, slopes, state.n_iter + 1, state.idle)
        old = state._replace(n_iter=state.n_iter + 1)
        lower = new.value < state.value - 0.25 * floor
        progress = moved & (lower | (new.error < 0.9 * state.error))
        state = jax.tree.map(lambda a, b: jnp.where(moved, a, b), new, old)
        idle = jnp.where(progress, 0, state.idle + jnp.where(moved, 1, PATIENCE))
        return state._replace(idle=idle)

    def solve(point):
        scores = irls.scores(x, point)
        zero = jnp.asarray(0)
        value, slopes = smooth(point, scores)
        first = arrived(point, scores, value, slopes, zero, zero)
        state = jax.lax.while_loop(going, step, first)
        ended = code(state.error, tol, state.idle >= PATIENCE)
        return state.point, Info(state.n_iter, state.error, state.value, ended)

    def residual(point):
        return point - prox.l1(point - smooth_gradient(point), weights)

    return Solution(*implicit.root(residual, start, solve))


def _error(point, gradient, l1):
    """Largest component of the least subgradient; 0 at the minimum."""
    there = jnp.abs(gradient + l1 * jnp.sign(point))
    none = jnp.maximum(jnp.abs(gradient) - l1, 0)
    return jnp.where(point == 0, none, there).max()


def _model_minimum(matrix, ridge, gradient, point, l1, tol):
    """Minimise the quadratic model by sweeps over the coordinates.

    `gradient` and `point` are [b, M]: blocks that share one matrix and are independent,
    so one coordinate of all of them moves together.
    """
    size = len(matrix)
    scale = jnp.diagonal(matrix) + ridge
    live = scale > 0
    safe = jnp.where(live, scale, 1)

    def coordinate(j, carry):
        aim, change = carry
        # The row of a symmetric matrix is its column, and lies in one piece.
        pull = gradient[:, j] + jnp.matmul(
            aim - point, matrix[j], precision=irls.HIGHEST
        )
        pull = pull + ridge[j] * (aim[:, j] - point[:, j])
        best = prox.l1(aim[:, j] - pull / safe[j], l1[j] / safe[j])
        best = jnp.where(live[j], best, aim[:, j])
        moved = jnp.abs(best - aim[:, j]).max() * safe[j]
        column = jax.lax.dynamic_update_slice(aim, best[:, None], (0, j))
        return column, jnp.maximum(change, moved)

    def sweep(carry):
        aim, _, n = carry
        start = (aim, jnp.zeros((), aim.dtype))
        aim, change = jax.lax.fori_loop(0, size, coordinate, start)
        return aim, change, n + 1

    def moving(carry) -> Bool[Array, ""]:
        _, change, n = carry
        return (change > tol) & (n < SWEEPS)

    carry = (point, jnp.asarray(jnp.inf, point.dtype), jnp.asarray(0))
    return jax.lax.while_loop(moving, sweep, carry)[0]
