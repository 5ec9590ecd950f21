"""Newton's method for linear models: a sum of losses of the scores x @ w + b.

    metric = irls.by_rows(x, weight, curvature, ridge, bias=True)
    solution = irls.minimize(x, start, loss, metric, ridge=ridge, ...)

The Hessian costs n d² and the gradient n d. So one Hessian is factored, several
quasi-Newton steps are taken in that metric, and another one is factored only when they
no longer gain ten times: of about seven Hessians, one or two remain. With the expected
curvature this is iteratively reweighted least squares.

Letters: n rows, d features, k scores of a row (none for one), m unknowns of a score:
d, or d + 1 with the intercept last.

References:
    McCullagh and Nelder, 1989. Generalized linear models, section 2.5.
    Nocedal and Wright, 2006. Numerical optimization, section 7.2.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxml.optim import descent, implicit, newton
from jaxml.optim.solution import Info, Solution

__all__ = ["by_rows", "gram", "minimize", "pull", "run", "scores", "shares"]

HIGHEST = jax.lax.Precision.HIGHEST
MEMORY = 8  # steps in the metric of one Hessian
SETTLED = 0.1  # times tol: what share of the value the last step may have gained
BLUNT = 4  # steps that may pass without gaining ten times


def minimize(
    x: Float[Array, "n d"],
    start: Float[Array, "..."],
    loss: Callable[[Array], tuple[Float[Array, ""], Array]],
    metric: Callable[[Array, Array], Callable],
    *,
    ridge: Float[Array, "m"],
    residual: Callable[[Array], Array],
    max_iter: int,
    tol: float | Float[Array, ""],
) -> Solution:
    """Minimise loss(x @ w + b) + ridge . w² / 2 over w, and b where `start` has it.

    Args:
        x: rows.
        start: weights [m] or [k, m]; m = d, or d + 1 with the intercept last.
        loss: from the scores ([n] or [n, k]) to the value and its derivative by each
            score; weighted, so that it is a mean over the rows.
        metric: from the scores, and whether they are those of the start, to a function
            that divides an array like `start` by the Hessian there, or by something
            near it that is positive.
        ridge: penalty of each unknown, 0 for the intercept.
        residual: the gradient as a function of the weights that JAX can differentiate,
            for the derivatives of the optimum.
        max_iter: bound on the steps.
        tol: stop when no component of the gradient is larger, and the last step
            lowered the value by no larger share of it.
    """
    penalty = jnp.broadcast_to(ridge, start.shape)

    def gradient(slopes, point):
        return pull(x, slopes, start.shape[-1]) + penalty * point

    def evaluate(point, lifted):
        value, slopes = loss(lifted)
        return value + 0.5 * (penalty * point**2).sum(), slopes

    problem = descent.Problem(
        lift=lambda point: scores(x, point),
        evaluate=evaluate,
        slope=lambda slopes, point, along, lifted: (
            jnp.vdot(slopes, lifted) + (penalty * point * along).sum()
        ),
        gradient=gradient,
    )

    def solve(point):
        return run(problem, point, metric, max_iter=max_iter, tol=tol)

    return Solution(*implicit.root(residual, start, solve))


def run(
    problem: descent.Problem,
    start: Float[Array, "..."],
    metric: Callable[[Any, Array], Callable],
    *,
    max_iter: int,
    tol: float | Float[Array, ""],
) -> tuple[Float[Array, "..."], Info]:
    """Descend in the metric of one Hessian after another.

    Args:
        problem: what is minimised.
        start: where to start.
        metric: as in `minimize`, from what `problem` lifts.
        max_iter: as in `minimize`.
        tol: as in `minimize`.
    """

    def going(state):
        return descent.going(state, tol, max_iter, settled=SETTLED * tol)

    state = jax.lax.while_loop(
        going,
        lambda state: _in_metric(problem, state, metric, going),
        descent.start(problem, start, memory_size=MEMORY, patience=3),
    )
    return state.point, newton.info(state, tol)


def by_rows(
    x: Float[Array, "n d"],
    weight: Float[Array, "n"] | Float[Array, ""],
    curvature: Callable[[Array], Array],
    ridge: Float[Array, "m"],
    *,
    level: bool,
) -> Callable[[Array, Array], Callable]:
    """The metric of `minimize` for one score a row.

    Args:
        x: rows.
        weight: of the rows; one number if all are equal.
        curvature: from scores to the second derivative of the loss, at least 0.
        ridge: penalty of each unknown.
        level: whether all rows have the same score at the start; they then curve
            alike, and no scaled copy of `x` is made for the first Hessian.
    """
    bias = len(ridge) > x.shape[1]

    def hessian(values):
        return gram(x, weight * curvature(values), bias)

    def first(values):
        return gram(x, weight * curvature(values.max()), bias)

    def metric(values, at_start):
        if level and not weight.ndim:
            matrix = jax.lax.cond(at_start, first, hessian, values)
        else:
            matrix = hessian(values)
        return newton.cholesky_solver(matrix + jnp.diag(ridge))

    return metric


def shares(
    x: Float[Array, "n d"], sample_weight: Float[Array, "n"] | None
) -> tuple[Float[Array, "n"] | Float[Array, ""], Float[Array, ""]]:
    """Weight of each row over their sum (one number if all are equal), and the sum."""
    if sample_weight is None:
        return jnp.asarray(1 / len(x), x.dtype), jnp.asarray(len(x), x.dtype)
    total = sample_weight.sum().astype(x.dtype)
    return sample_weight.astype(x.dtype) / total, total


def scores(x: Float[Array, "n d"], point: Float[Array, "..."]) -> Float[Array, "..."]:
    """Scores of the rows, [n] or [n, k], of weights [m] or [k, m] (see `linear`)."""
    d = x.shape[1]
    values = jnp.matmul(x, point[..., :d].T, precision=HIGHEST)
    if point.shape[-1] == d:
        return values
    bias = point[..., d]
    return values + (bias[None] if bias.ndim else bias)


def pull(
    x: Float[Array, "n d"], slopes: Float[Array, "..."], m: int
) -> Float[Array, "..."]:
    """The transpose of `scores`: from slopes [n] or [n, k] to weights [m] or [k, m]."""
    pulled = jnp.matmul(slopes.T, x, precision=HIGHEST)
    if m == x.shape[1]:
        return pulled
    return jnp.concatenate([pulled, slopes.sum(0)[..., None]], -1)


def gram(
    x: Float[Array, "n d"], curvature: Float[Array, "n"] | Float[Array, ""], bias: bool
) -> Float[Array, "m m"]:
    """Sum over rows of curvature times the outer product of the row with itself.

    Args:
        x: rows.
        curvature: of each row, or one for all (which saves a copy of `x`).
        bias: whether each row is followed by a 1.
    """
    one = curvature.ndim == 0
    scaled = x if one else x * curvature[:, None]
    square = jnp.matmul(x.T, scaled, precision=HIGHEST)
    if bias:
        each = jnp.ones(len(x), x.dtype) if one else curvature
        edge = jnp.matmul(each, x, precision=HIGHEST)
        square = jnp.block(
            [[square, edge[:, None]], [edge[None], each.sum()[None, None]]]
        )
    return square * curvature if one else square


def _in_metric(problem, state, metric, going):
    """Factor one Hessian, and step in its metric while the error falls."""
    solve = metric(state.lifted, state.n_iter == 0)

    def falling(carry):
        state, _, left = carry
        return going(state) & (left > 0)

    def step(carry):
        state, target, left = carry
        state = descent.step(problem, state, solve, curvature=0.3)
        gained = state.error <= target
        target = jnp.where(gained, 0.1 * state.error, target)
        return state, target, jnp.where(gained, BLUNT, left - 1)

    empty = jax.tree.map(jnp.zeros_like, state.memory)
    carry = (state._replace(memory=empty), 0.1 * state.error, jnp.asarray(BLUNT))
    return jax.lax.while_loop(falling, step, carry)[0]
