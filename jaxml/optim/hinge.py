"""Interior point for a ridge penalty and losses with a kink: linear support vectors.

solution = hinge.minimize(x, ridge, sign, target, cost)
weights = solution.value

    min  ½ Σ_j ridge_j p_j² + Σ_si cost_i max(0, target_si - sign_si f_i),  f = x w + b

and its dual over 0 ≤ a ≤ cost are solved together. A step costs one m x m system and
n m², as a step of Newton's method; some 15 steps reach the last digits, whatever the
data. With one side (sign = ±1, target = 1) this is the hinge; with two, (1, -1) and
(y - ε, -y - ε), the ε-insensitive loss.

Letters: n rows, d features, s sides, m = d unknowns, or d + 1 with the intercept last.

References:
    Ferris and Munson, 2002. Interior-point methods for massive support vector machines.
    SIAM J. Optim. 13(3).
    Mehrotra, 1992. On the implementation of a primal-dual interior point method. SIAM
    J. Optim. 2(4).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxml.optim import implicit, irls, newton
from jaxml.optim.solution import Info, Solution, code

__all__ = ["minimize"]

Number = float | Float[Array, ""]
SHORT = 0.995  # share of the way to the nearest bound
NEAR = 1e-3  # gap below which rounding may end the way


class _Problem(NamedTuple):
    x: Array
    ridge: Array
    sign: Array
    target: Array
    cost: Array


class _State(NamedTuple):
    p: Array  # [m]
    a: Array  # [s, n] dual of the rows, strictly inside its bounds
    room: Array  # [s, n] cost - a, which a difference would lose near the bound
    low: Array  # [s, n] multiplier of a ≥ 0
    high: Array  # [s, n] multiplier of a ≤ cost
    n_iter: Array
    gap: Array  # relative
    value: Array
    stuck: Array


def minimize(
    x: Float[Array, "n d"],
    ridge: Float[Array, "m"],
    sign: Float[Array, "s n"],
    target: Float[Array, "s n"],
    cost: Float[Array, "n"],
    *,
    tol: Number = 1e-8,
    max_iter: int = 100,
) -> Solution:
    """Minimise the penalised loss.

    Args:
        x: rows.
        ridge: penalty of each unknown, above 0. One more than features: an intercept.
        sign: factor of the score in each side of the loss, 1 or -1.
        target: what the score should reach.
        cost: weight of the loss of each row; 0 is an absent row.
        tol: stop when the gap between the primal and the dual objective is at most
            this share of the primal one, or the last digits are reached.
        max_iter: bound on the steps.

    Returns:
        The unknowns [m], differentiable with respect to all arrays.
    """
    problem = jax.lax.stop_gradient(_Problem(x, ridge, sign, target, cost))
    tol = jnp.asarray(tol, x.dtype)
    goal = jnp.maximum(tol, 8 * jnp.finfo(x.dtype).eps)

    def unfinished(state):
        return (state.gap > goal) & (state.n_iter < max_iter) & ~state.stuck

    state = jax.lax.stop_gradient(
        jax.lax.while_loop(
            unfinished, lambda state: _step(problem, state), _start(problem)
        )
    )
    full, free = _sides(problem, state)
    # Free rows hold their slack at 0. A finite stiffness keeps the unknowns few: its
    # square root of the precision is lost on both sides, as in a finite difference.
    stiff = jnp.finfo(x.dtype).eps ** -0.5 / ((problem.x**2).sum(1).mean() + 1)
    held = _slack(problem, state.p)
    now = _Problem(x, ridge, sign, target, cost)

    def residual(p):
        a = state.a + jnp.where(full, (cost - problem.cost)[None], 0)
        a = a + jnp.where(free, stiff * (held - _slack(now, p)), 0)
        return ridge * p - _pull(now, a)

    p, _ = implicit.root(residual, state.p, lambda p: (p, ()))
    ended = (state.gap <= goal) | (state.stuck & (state.gap <= NEAR))
    status = code(state.gap, tol, ended)
    return Solution(p, Info(state.n_iter, state.gap, state.value, status))


def _pull(problem, a):
    """Sum of the rows by their duals: the weights they make, times ridge."""
    values = (problem.sign * a).sum(0)
    pulled = jnp.matmul(values, problem.x, precision=jax.lax.Precision.HIGHEST)
    bias = len(problem.ridge) > problem.x.shape[1]
    return jnp.append(pulled, values.sum()) if bias else pulled


def _slack(problem, p):
    return problem.sign * irls.scores(problem.x, p)[None] - problem.target


def _sides(problem, state):
    """Which duals are at their upper bound, and which at none."""
    tiny, cost = jnp.finfo(problem.cost.dtype).tiny, problem.cost
    unit = jnp.maximum(jnp.abs(problem.target).mean(), tiny)  # of a slack
    share = jnp.maximum(cost, tiny)[None] / unit
    full = state.room < state.high * share
    return full, ~full & (state.a >= state.low * share) & (cost > 0)[None]


def _gap(problem, p, a):
    """Primal objective, and its relative distance from the dual one."""
    _, ridge, _, target, cost = problem
    loss = (cost[None] * jnp.maximum(-_slack(problem, p), 0)).sum()
    primal = 0.5 * (ridge * p**2).sum() + loss
    dual = (target * a).sum() - 0.5 * (_pull(problem, a) ** 2 / ridge).sum()
    # An objective of 0 has no relative precision: what the losses of f = 0 leave of it.
    least = jnp.finfo(p.dtype).eps ** 0.5 * (cost[None] * jnp.abs(target)).sum()
    least = jnp.maximum(least, jnp.finfo(p.dtype).tiny)
    return primal, jnp.abs(primal - dual) / jnp.maximum(primal, least)


def _start(problem):
    """Duals in the middle of their bounds, weights on their ray, equal multipliers."""
    _, ridge, sign, target, cost = problem
    here = (cost > 0)[None]
    half = jnp.where(here, cost[None] / 2, 0) * jnp.ones_like(sign)
    p = _pull(problem, half) / ridge
    # the best dual along its ray from 0: where rows abound, far shorter than half
    square = jnp.maximum((ridge * p**2).sum(), jnp.finfo(p.dtype).tiny)
    p = jnp.clip((target * half).sum() / square, 0, 1) * p
    slack = _slack(problem, p)
    spread = jnp.where(here, jnp.abs(slack), 0).sum() / (slack.size * 2) + 1e-3
    low, high = jnp.maximum(slack, 0) + spread, jnp.maximum(-slack, 0) + spread
    value, gap = _gap(problem, p, half)
    zero = jnp.asarray(0)
    return _State(p, half, half, low, high, zero, gap, value, jnp.asarray(False))


def _step(problem, state):
    """One step of Mehrotra's predictor and corrector."""
    x, ridge, sign, _, cost = problem
    p, a, room, low, high = state[:5]
    here = (cost > 0)[None]
    a, room = jnp.where(here, a, 1), jnp.where(here, room, 1)
    give = jnp.where(here, 1 / (low / a + high / room), 0)
    matrix = irls.gram(x, give.sum(0), len(ridge) > x.shape[1]) + jnp.diag(ridge)
    divide = newton.cholesky_solver(matrix)
    off_primal = ridge * p - _pull(problem, jnp.where(here, a, 0))
    off_dual = _slack(problem, p) - low + high

    def direction(to_low, to_high):
        """Where the products of duals and multipliers shall change by these."""
        right = -off_dual + to_low / a - to_high / room
        move_p = divide(_pull(problem, give * right) - off_primal)
        move = give * (right - sign * irls.scores(x, move_p)[None])
        return move_p, (
            move,
            -move,
            (to_low - low * move) / a,
            (to_high + high * move) / room,
        )

    def reach(moves):
        ends = [
            jnp.where(
                here & (move < 0), -value / jnp.minimum(move, -tiny), jnp.inf
            ).min()
            for value, move in zip((a, room, low, high), moves, strict=True)
        ]
        return jnp.minimum(1, SHORT * jnp.stack(ends).min())

    def products(size, moves):
        """Sum of the products of duals and multipliers."""
        new = [v + size * m for v, m in zip((a, room, low, high), moves, strict=True)]
        return jnp.where(here, new[0] * new[2] + new[1] * new[3], 0).sum()

    tiny = jnp.finfo(x.dtype).tiny
    now = products(0, (a, room, low, high))
    _, guess = direction(-low * a, -high * room)
    ahead = products(reach(guess), guess)
    count = 2 * len(sign) * jnp.maximum(here.sum(), 1)
    center = now / count * (ahead / now) ** 3
    move_p, moves = direction(
        center - low * a - guess[0] * guess[2],
        center - high * room - guess[1] * guess[3],
    )
    size = reach(moves)
    p = p + size * move_p
    a, room, low, high = (
        v + size * m for v, m in zip((a, room, low, high), moves, strict=True)
    )
    a, room = jnp.where(here, a, 0), jnp.where(here, room, 0)
    value, gap = _gap(problem, p, a)
    n_iter = state.n_iter + 1
    new = _State(p, a, room, low, high, n_iter, gap, value, size < 1e-4)
    # Near the end, a step that rounding spoils is not taken, and is the last.
    worse = ~jnp.isfinite(gap) | ((gap > 0.9 * state.gap) & (state.gap < NEAR))
    kept = state._replace(n_iter=n_iter, stuck=jnp.asarray(True))
    return jax.tree.map(lambda old, new: jnp.where(worse, old, new), kept, new)
