"""Coordinate descent on ½|y - x b|² + l1 Σ|b| + ½ l2 Σ b², whatever holds the data.

value, info = sweep.descend(problem, terms, start, max_iter, tol)

Sweeps of soft thresholds over the coordinates that move; every few sweeps, a Newton
step in those in use and the duality gap. `jaxml.optim.coordinate` has the two forms of
the problem.

Letters: d coordinates; G = xᵀx, c = xᵀy, g = c - G b = xᵀ(y - x b).

References:
    Friedman, Hastie and Tibshirani, 2010. Regularization paths for generalized linear
    models via coordinate descent. J. Stat. Softw. 33(1), eq. 5-8 and section 2.2.
    Fercoq, Gramfort and Salmon, 2015. Mind the duality gap. arXiv:1505.03410, eq. 4-6.
    Dünner et al., 2016. Primal-dual rates and certificates. arXiv:1602.05205, eq. 10.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxml.optim.solution import Info, code

__all__ = ["Problem", "Terms", "descend", "gap", "polish", "threshold"]

BURST = 10  # sweeps between two looks at the duality gap
DIRECT = 256  # coordinates in use up to which their linear system is factored


class Problem(NamedTuple):
    """What the two forms of the problem do their own way.

    The state is kept up to date beside b: the gradient, or the residuals.
    """

    state: Callable  # b -> state, afresh
    gradient: Callable  # state -> g
    residual: Callable  # (b, state) -> |y - x b|²
    pull: Callable  # (j, state) -> g_j
    moved: Callable  # (j, change of b_j, state) -> state
    part: Callable  # indices [k] -> their G [k, k]


class Terms(NamedTuple):
    """What both forms share."""

    scale: Float[Array, "d"]  # diagonal of G
    spread: Float[Array, ""]
    l1: float | Float[Array, ""]
    l2: float | Float[Array, ""]
    positive: bool


def descend(
    problem: Problem,
    terms: Terms,
    start: Float[Array, "d"],
    max_iter: int,
    tol: float | Float[Array, ""],
) -> tuple[Float[Array, "d"], Info]:
    """Bursts of sweeps until the duality gap is below `tol` times the spread."""
    eps = jnp.finfo(start.dtype).eps
    bound = tol * terms.spread

    def going(carry):
        _, _, moved, size, n_iter, n = carry
        return (moved > tol * size) & (n < BURST) & (n_iter < max_iter)

    def again(carry):
        b, state, _, _, n_iter, n = carry
        return *_sweep(problem, terms, b, state, b != 0), n_iter + 1, n + 1

    def burst(carry):
        b, _, _, n_iter, _ = carry
        state = problem.state(b)
        # The first sweep sees all that would move, those after it what is in use.
        pull = problem.gradient(state) + terms.scale * b
        moves = threshold(pull, terms.scale, terms) != b
        first = _sweep(problem, terms, b, state, (b != 0) | moves)
        b, _, moved, size, n_iter, _ = jax.lax.while_loop(
            going, again, (*first, n_iter + 1, 1)
        )
        b, value, taken = polish(problem, terms, b, problem.gradient(problem.state(b)))
        settled = taken | (moved <= tol * size)
        return b, value, settled, n_iter, moved <= eps * size

    def unfinished(carry):
        _, value, settled, n_iter, stuck = carry
        done = ((value <= bound) & settled) | stuck | jnp.isnan(value)
        return ~done & (n_iter < max_iter)

    # At least one burst: a start within tol is polished too.
    first = (start, jnp.full_like(bound, jnp.inf), False, 0, False)
    b, value, _, n_iter, stuck = jax.lax.while_loop(
        unfinished, burst, jax.tree.map(jnp.asarray, first)
    )
    residual = problem.residual(b, problem.state(b))
    penalty = terms.l1 * jnp.abs(b).sum() + 0.5 * terms.l2 * (b * b).sum()
    return b, Info(n_iter, value, 0.5 * residual + penalty, code(value, bound, stuck))


def _sweep(problem, terms, b, state, listed):
    """Each listed coordinate in turn to its minimum; the largest change and size."""
    d = len(b)
    if d > DIRECT:
        order, count = jnp.nonzero(listed, size=d, fill_value=0)[0], listed.sum()
    else:  # the list would cost more than it saves
        order, count = None, d

    def visit(k, carry):
        b, state = carry
        j = k if order is None else order[k]
        pull = problem.pull(j, state) + terms.scale[j] * b[j]
        new = threshold(pull, terms.scale[j], terms)
        state = problem.moved(j, new - b[j], state)
        return jax.lax.dynamic_update_index_in_dim(b, new, j, 0), state

    swept, state = jax.lax.fori_loop(0, count, visit, (b, state))
    return swept, state, jnp.abs(swept - b).max(), jnp.abs(swept).max()


def polish(
    problem: Problem, terms: Terms, b: Float[Array, "d"], g: Float[Array, "d"]
) -> tuple[Float[Array, "d"], Float[Array, ""], Bool[Array, ""]]:
    """A Newton step from b in the coordinates in use, as far as it helps.

    Args:
        problem: the problem.
        terms: its numbers.
        b: where to step from; its signs are taken for those of the minimum.
        g: the gradient xᵀ(y - x b), which may be better than what the problem says.

    Returns:
        The better b, its duality gap, and whether the whole step was taken.
    """
    step = _newton(problem, terms, b, g)
    crossed = (b + step) * b < 0
    whole = jnp.where(crossed, 0, b + step)
    # As far as the first coordinate that changes sign: that lowers the objective.
    share = jnp.where(crossed, b / jnp.where(crossed, -step, 1), 1)
    least = share.min()
    short = jnp.where(crossed & (share <= least), 0, b + least * step)
    base = problem.gradient(problem.state(b))

    def weigh(new):
        """The change of the objective and the gap, through differences to b."""
        state = problem.state(new)
        there = g + (problem.gradient(state) - base)
        change = jnp.abs(new) - jnp.abs(b), new * new - b * b
        penalty = (terms.l1 * change[0] + 0.5 * terms.l2 * change[1]).sum()
        lower = penalty - 0.5 * _dot(new - b, g + there)
        return lower, gap(new, there, problem.residual(new, state), terms)

    candidates = jnp.stack([b, short, whole])
    lower, gaps = jax.vmap(weigh)(candidates)
    shorter = (lower[1] < 0) | (gaps[1] < gaps[0])
    best = jnp.where(shorter, 1, 0)
    better = (lower[2] < jnp.where(shorter, lower[1], 0)) | (gaps[2] < gaps[best])
    best = jnp.where(better, 2, best)
    return candidates[best], gaps[best], better & ~crossed.any()


def _newton(problem, terms, b, g):
    """To the minimum with the signs of b; 0 where too many coordinates are in use."""
    k = min(len(b), DIRECT)
    order, used = jnp.arange(k), b[:k] != 0
    if len(b) > k:
        order = jnp.nonzero(b, size=k, fill_value=0)[0]
        used = jnp.arange(k) < (b != 0).sum()

    def step(b):
        both = used[:, None] & used[None]
        system = jnp.where(both, problem.part(order), 0)
        system = system + jnp.diag(jnp.where(used, terms.l2, 1))
        factor = jnp.linalg.cholesky(system)
        slope = jnp.where(used, (g - terms.l1 * jnp.sign(b) - terms.l2 * b)[order], 0)
        solved = jax.scipy.linalg.cho_solve((factor, True), slope)
        return jnp.zeros_like(b).at[order].add(solved)

    if len(b) <= k:
        return step(b)
    return jax.lax.cond((b != 0).sum() <= k, step, jnp.zeros_like, b)


def threshold(pull, scale, terms):
    """The minimum along a coordinate (Friedman, eq. 5); 0 where it has no influence."""
    if terms.positive:
        shrunk = jnp.maximum(pull - terms.l1, 0)
    else:
        shrunk = pull - jnp.clip(pull, -terms.l1, terms.l1)
    total = scale + terms.l2
    some = total > 0
    return jnp.where(some, shrunk / jnp.where(some, total, 1), 0)


def gap(b, g, residual, terms):
    """The duality gap, written so that |y|² cancels on paper and not in the computer.

    With h = g - l2 b and the dual point s (y - x b), s = min(1, l1 / max|h|):
    gap = ½ (1 - s)² (|y - x b|² + l2 |b|²) + Σ (l1 |b| - s b h).
    """
    scale, _, l1, l2, positive = terms
    h = g - l2 * b
    largest = (h if positive else jnp.abs(h)).max()
    s = jnp.where(largest > l1, l1 / jnp.where(largest > l1, largest, 1), 1)
    s = s + 0 * largest  # NaN stays NaN
    lasso = 0.5 * (1 - s) ** 2 * (residual + l2 * (b * b).sum())
    lasso = lasso + (l1 * jnp.abs(b) - s * b * h).sum()
    # Without l1 the dual is unconstrained (Dünner, eq. 10); without either there is
    # none, and what each coordinate alone could gain takes its place.
    pull = jnp.where((g < 0) & (b == 0), 0, h) if positive else h
    weight = jnp.where(l2 > 0, 2 * l2, scale)
    smooth = (pull * pull / jnp.where(weight > 0, weight, jnp.inf)).sum()
    return jnp.where(l1 > 0, lasso, smooth)


def _dot(a, b):
    return jnp.dot(a, b, precision="highest")
