"""Sequential minimal optimisation: the duals of support vector machines, pair by pair.

matrix = gram.dense(kernels.rbf(x, x, gamma=0.5))
solution = smo.minimize(matrix, linear, lower, upper, tol=1e-3)
beta, bias = solution.value

The problem, in coefficients with sign (β = yα of a classifier, α - α* of a regression):

    min  ½ β'Kβ + q'β + κ|β|₁   where  lower ≤ β ≤ upper,  Σβ as at the start.

With κ = 0, β may be [2, n]: two coefficients for each row, K acts on their sum, and the
sum of each of the two is kept. So are the ν forms written.

Letters: n rows, s = 1 or 2 sides, K the Gram matrix.

References:
    Fan, Chen and Lin, 2005. Working set selection using second order information for
    training support vector machines. JMLR 6, WSS 2.
    Chang and Lin, 2011. LIBSVM: a library for support vector machines. ACM TIST 2(3).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxml.optim import implicit
from jaxml.optim.gram import Gram
from jaxml.optim.solution import Code, Info, Solution, code

__all__ = ["Machine", "filled", "minimize"]

Number = float | Float[Array, ""]


class Machine(NamedTuple):
    """The solution."""

    beta: Float[Array, "s n"]
    bias: Float[Array, "s"]  # b of f(x) = K(x) β + b: minus the multiplier of Σβ


def minimize(
    gram: Gram,
    linear: Float[Array, "s n"],
    lower: Float[Array, "s n"],
    upper: Float[Array, "s n"],
    *,
    start: Float[Array, "s n"] | None = None,
    kink: Number | None = None,
    tol: Number = 1e-3,
    max_iter: int = 10_000_000,
) -> Solution:
    """Minimise the dual.

    Args:
        gram: the Gram matrix K.
        linear: q. Its shape says how many sides there are, 1 or 2.
        lower: least β. A row with lower = upper = 0 is absent.
        upper: greatest β.
        start: where to begin, within the bounds; its sums are kept. Default: 0.
        kink: κ, from 0; with one side only.
        tol: stop when the greatest violation of the optimality conditions by a pair
            (m(β) - M(β) of Fan et al.) is at most this.
        max_iter: bound on the pairs.

    Returns:
        The value is a `Machine`, differentiable with respect to K, q, κ and the bounds
        wherever no coefficient is about to reach or to leave a bound.

        >>> from jaxml.optim import gram
        >>> matrix = gram.dense(jnp.array([[1.0, -1.0], [-1.0, 1.0]]))  # rows 1 and -1
        >>> q = jnp.array([[-1.0, 1.0]])
        >>> room = jnp.array([[9.0, 0.0]])
        >>> minimize(matrix, q, room - 9, room).value.beta
        Array([[ 0.5, -0.5]], dtype=float32)

    Raises:
        ValueError: if there are more than two sides, or a kink with two.
    """
    sides, n = linear.shape
    if sides > 2 or (sides == 2 and kink is not None):
        raise ValueError(
            f"linear must be [1, n], or [2, n] without a kink; got {[sides, n]}"
            f" and kink={kink}"
        )
    dtype = linear.dtype
    begin = jnp.zeros_like(linear) if start is None else start
    tol = jnp.asarray(tol, dtype)
    problem = _Problem(
        gram, linear, lower, upper, None if kink is None else jnp.asarray(kink, dtype)
    )

    def solve(machine):
        product = jnp.zeros(n, dtype) if start is None else gram.product(begin.sum(0))
        beta, product, info = _solve(problem, machine.beta, product, tol, max_iter)
        return Machine(beta, _bias(problem, beta, product)), info

    def residual(machine):
        beta, bias = machine
        product = gram.product(beta.sum(0))
        slope, _ = _slopes(problem, beta, product)
        free = (beta > lower) & (beta < upper)
        bound = jnp.where(beta >= upper, upper, lower)
        if kink is not None:
            free, bound = free & (beta != 0), jnp.where(beta == 0, 0, bound)
        # Without a free coefficient the sum says nothing of the bias: the bounds do.
        sums = jnp.where(
            free.any(1),
            (beta - begin).sum(1),
            bias - _bias(problem, beta, product),
        )
        return Machine(jnp.where(free, slope + bias[:, None], beta - bound), sums)

    first = Machine(begin, jnp.zeros((sides,), dtype))
    return Solution(*implicit.root(residual, first, solve))


def filled(room: Float[Array, "s n"], total: Float[Array, ""]) -> Float[Array, "s n"]:
    """A start with given sums: fill the first rows of each side up to their `room`.

    Args:
        room: greatest coefficient of each row, at least 0.
        total: sum of each side; less is filled where the rooms hold less.

    Returns:
        Coefficients from 0 to `room`.
    """
    before = jnp.cumsum(room, 1) - room
    return jnp.clip(total - before, 0, room)


class _Problem(NamedTuple):
    gram: Gram
    linear: Array
    lower: Array
    upper: Array
    kink: Array | None


def _slopes(problem, beta, product):
    """Gradients for an increase and for a decrease; they differ at the kink."""
    slope, kink = product[None] + problem.linear, problem.kink
    if kink is None:
        return slope, slope
    rise = slope + jnp.where(beta >= 0, kink, -kink)
    return rise, slope + jnp.where(beta > 0, kink, -kink)


def _candidates(problem, beta, product):
    """Minus the gradient of what may rise, and of what may fall."""
    rise, fall = _slopes(problem, beta, product)
    up = jnp.where(beta < problem.upper, -rise, -jnp.inf)
    return up, jnp.where(beta > problem.lower, -fall, jnp.inf)


def _bias(problem, beta, product):
    """Minus the mean gradient of the free coefficients, or between what bounds it."""
    rise, fall = _slopes(problem, beta, product)
    free = (beta > problem.lower) & (beta < problem.upper) & (rise == fall)
    count = free.sum(1)
    mean = -jnp.where(free, rise, 0).sum(1) / jnp.maximum(count, 1)
    up, down = _candidates(problem, beta, product)
    low, high = up.max(1), down.min(1)
    # One of the two is infinite where all rows stand on the same side.
    low, high = (
        jnp.where(jnp.isfinite(low), low, high),
        jnp.where(jnp.isfinite(high), high, low),
    )
    middle = jnp.where(jnp.isfinite(low), (low + high) / 2, jnp.nan)
    return jnp.where(count > 0, mean, middle)


def _solve(problem, beta, product, tol, max_iter):
    """Rounds of pairs; after each, K β is taken anew, to shed its rounding."""
    gram, linear, lower, upper, kink = problem
    n = len(gram.diagonal)
    eps, huge = jnp.finfo(linear.dtype).eps, jnp.finfo(linear.dtype).max / 8
    pair = _pair_step(problem)

    def measure(beta, product, n_iter, before):
        whole = beta.sum(0)
        value = 0.5 * whole @ product + (linear * beta).sum()
        if kink is not None:
            value = value + kink * jnp.abs(beta).sum()
        up, down = _candidates(problem, beta, product)
        gap = (up.max(1) - down.min(1)).max()
        # What rounding leaves of K β can't be told from a violation.
        floor = eps * gram.diagonal.max() * jnp.sqrt((whole**2).sum())
        stuck = ~(value < before - 4 * eps * jnp.abs(before))
        return (beta, product, n_iter, gap, jnp.maximum(tol, floor), value, stuck)

    def unfinished(carry):
        _, _, n_iter, gap, goal, _, stuck = carry
        return (gap > goal) & (n_iter < max_iter) & ~stuck

    def round_of_pairs(carry):
        beta, product, n_iter, gap, goal, value, _ = carry
        end = jnp.minimum(n_iter + max(4 * n, 1000), max_iter)

        def going(inner):
            return (inner[3] > goal) & (inner[2] < end)

        beta, _, n_iter, _ = jax.lax.while_loop(
            going, lambda inner: pair(*inner, goal), (beta, product, n_iter, gap)
        )
        return measure(beta, gram.product(beta.sum(0)), n_iter, value)

    first = measure(beta, product, jnp.asarray(0), jnp.asarray(huge, linear.dtype))
    beta, product, n_iter, gap, goal, value, stuck = jax.lax.while_loop(
        unfinished, round_of_pairs, (*first[:-1], jnp.asarray(False))
    )
    # Where no row can rise or fall nothing violates, unless nothing is there at all.
    some = jnp.isfinite(value) & jnp.isfinite(goal) & (upper > lower).any()
    gap = jnp.where(jnp.isneginf(gap), 0, gap)
    error = jnp.where(some, jnp.maximum(gap, 0), jnp.nan)
    status = code(error, tol, stuck | (error <= goal))
    status = jnp.where(some, status, Code.NOT_FINITE).astype(jnp.int32)
    return beta, product, Info(n_iter, error, value, status)


def _pair_step(problem):
    """One pair: the steepest rise, and the fall that gains most with it."""
    gram, linear, lower, upper, kink = problem
    # where two rows are alike the curvature is 0, or below for a kernel that is not
    # positive; 1e-12 as in LIBSVM
    tau = max(1e-12, float(jnp.finfo(linear.dtype).eps))

    def step(beta, product, n_iter, _, goal):
        side, i, j, slope, row_i, gap = _choose(problem, beta, product, tau)
        row_j = gram.row(j)
        high, at_i = upper[side, i], beta[side, i]
        low, at_j = lower[side, j], beta[side, j]
        if kink is not None:  # a step ends at the kink
            high = jnp.where(at_i >= 0, high, jnp.minimum(high, 0))
            low = jnp.where(at_j <= 0, low, jnp.maximum(low, 0))
        curve = jnp.maximum(gram.diagonal[i] + gram.diagonal[j] - 2 * row_i[j], tau)
        going = gap > goal
        move = jnp.minimum(slope / curve, jnp.minimum(high - at_i, at_j - low))
        move = jnp.where(going, move, 0)
        # exactly at the bound where the bound ends the step
        new_i = jnp.where(going & (move >= high - at_i), high, at_i + move)
        new_j = jnp.where(going & (move >= at_j - low), low, at_j - move)
        # Too small a step to change anything would be chosen for ever.
        gap = jnp.where((new_i == at_i) & (new_j == at_j), -jnp.inf, gap)
        beta = beta.at[side, i].set(new_i).at[side, j].set(new_j)
        return beta, product + move * (row_i - row_j), n_iter + 1, gap

    return step


def _choose(problem, beta, product, tau):
    """The pair by second-order information: side, rows, slope, K[i], and the gap."""
    gram = problem.gram
    sides, n = beta.shape
    number = jnp.arange(n)
    up, down = _candidates(problem, beta, product)

    def where_equal(values, best):
        # Least index: min over where is 20 times faster than argmax on a processor.
        return jnp.where(values == best, number, n - 1).min()

    def best_of(side):
        top = up[side].max()
        i = where_equal(up[side], top)
        row = gram.row(i)
        gain = top - down[side]
        curve = gram.diagonal[i] + gram.diagonal - 2 * row
        score = jnp.where(gain > 0, gain**2 / jnp.maximum(curve, tau), -1)
        best = score.max()
        j = where_equal(score, best)
        return best, i, j, top - down[side, j], row, top - down[side].min()

    first = best_of(0)
    if sides == 1:
        return 0, *first[1:]
    other = best_of(1)
    second = other[0] > first[0]
    chosen = [jnp.where(second, b, a) for a, b in zip(first, other, strict=True)]
    gap = jnp.maximum(first[-1], other[-1])
    return second.astype(jnp.int32), *chosen[1:-1], gap
