"""An interior point for sums of tilted absolute values: linear programs of quantiles.

solution = interior.pinball(a, y, quantile=0.5, bound=jnp.zeros(p))

Minimises Σ ρ(y - A b) + Σ bound |b|, where ρ(r) = quantile r for r > 0 and
(quantile - 1) r for r < 0. Each step solves p × p normal equations and sums over rows:
no pivots, so it shards. A penalty on a coefficient is one more row, of quantile ½, that
sees it alone.

Letters: n rows, p coefficients; e in [0, 1] the dual of each row, s = 1 - e, v and z
the positive and negative part of its residual, μ the barrier.

References:
    Portnoy and Koenker, 1997. The Gaussian hare and the Laplacian tortoise. Statistical
    Science 12(4), section 4.
    Mehrotra, 1992. On the implementation of a primal-dual interior point method. SIAM
    J. Optim. 2(4), section 2.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxml.ops import check
from jaxml.optim import implicit
from jaxml.optim.solution import Info, Solution, code

__all__ = ["pinball"]

NEAR = 0.9995  # share of the way to the boundary

Number = float | Float[Array, ""]


def pinball(
    a: Float[Array, "n p"],
    y: Float[Array, "n"],
    *,
    quantile: Number,
    bound: Float[Array, "p"],
    max_iter: int = 60,
    tol: Number = 1e-7,
) -> Solution:
    """Minimise Σ ρ(y - A b) + Σ bound |b|.

    Args:
        a: rows, best with columns of like size. A row of zeros is an absent row.
        y: targets, best of a size near 1.
        quantile: between 0 and 1, both excluded.
        bound: strengths of the penalties, at least 0.
        max_iter: bound on the steps.
        tol: on the duality gap, relative to the objective (to a thousandth of Σ|y|
            where that is more).

    Returns:
        b, on the central path where the gap ended; its derivatives are those of that
        path, which tend to those of the vertex that the interior point approaches.

    Raises:
        ValueError: if `quantile` is not between 0 and 1 or `max_iter` below 1.
    """
    check.above("quantile", quantile, 0)
    check.above("1 - quantile", 1 - quantile, 0)
    check.size("max_iter", max_iter, 1)
    # No dual is steeper than this: a higher bound says b = 0 too, but loses digits.
    steepest = jax.lax.stop_gradient(2 * jnp.abs(a).sum(0))
    bound = jnp.minimum(bound, steepest)
    program = _Program(a, y, jnp.asarray(quantile, y.dtype), 2 * bound)

    def residual(pair):
        # e as a function of the residual on the central path: ez = (1 - e)v = μ.
        b, barrier = pair[0], jax.lax.stop_gradient(pair[1])

        def dual(r):
            return 0.5 * (1 + r / (jnp.sqrt(r * r + 4 * barrier**2) + 2 * barrier))

        e = jax.tree.map(dual, program.residual(b))
        return program.pull(e) - program.target(), pair[1] - barrier

    def solve(_):
        return _solve(program, jnp.asarray(tol, y.dtype), max_iter)

    start = (jnp.zeros_like(a[0]), jnp.ones((), y.dtype))
    (value, _), (info, used) = implicit.root(residual, start, solve)
    return Solution(jnp.where(used, value, 0), info)


class _Program(NamedTuple):
    """The rows, and the penalties as rows of their own: pairs of [n] and [p]."""

    a: Array
    y: Array
    quantile: Array
    scale: Array

    def map(self, b):
        return _dot(self.a, b), self.scale * b

    def residual(self, b):
        rows, penalties = self.map(b)
        return self.y - rows, -penalties

    def pull(self, e):
        return _dot(e[0], self.a) + self.scale * e[1]

    def target(self):
        """What A'e is at e = 1 - quantile, where all multipliers are in balance."""
        return (1 - self.quantile) * self.a.sum(0) + 0.5 * self.scale

    def normal(self, q):
        gram = jnp.einsum(
            "ni,nj->ij", q[0][:, None] * self.a, self.a, precision="highest"
        )
        return gram + jnp.diag(self.scale**2 * q[1])

    def cost(self, b):
        r, penalty = self.residual(b)
        tilt = jnp.where(r > 0, self.quantile, self.quantile - 1)
        return (tilt * r).sum() + 0.5 * jnp.abs(penalty).sum()


class _State(NamedTuple):
    b: Array
    e: tuple
    s: tuple
    v: tuple
    z: tuple
    gap: Array
    n_iter: Array
    stuck: Array


def _solve(program, tol, max_iter):
    a, y, quantile, _ = program
    b = jnp.zeros_like(a[0])
    r = program.residual(b)
    count = len(y) + len(b)
    size = jnp.abs(y).sum()
    margin = jnp.where(size > 0, 0.1 * size / len(y), 1)
    v = jax.tree.map(lambda r: jnp.maximum(r, 0) + margin, r)
    z = jax.tree.map(lambda r: jnp.maximum(-r, 0) + margin, r)
    e = (jnp.full_like(y, 1 - quantile), jnp.full_like(b, 0.5))
    s = (jnp.full_like(y, quantile), jnp.full_like(b, 0.5))
    goal = program.target()

    def advance(state):
        b, e, s, v, z, gap, n_iter, _ = state
        r = program.residual(b)
        q = _map(lambda e, s, v, z: 1 / (v / s + z / e), e, s, v, z)
        solve = _inverse(program.normal(q))
        miss = goal - program.pull(e)

        def direction(low, high):
            """The Newton step to ez = low and sv = high."""
            drift = _map(
                lambda r, e, s, low, high: r - high / s + low / e, r, e, s, low, high
            )
            right = program.pull(_map(jnp.multiply, q, drift)) - miss
            step = solve(right)
            seen = program.map(step)
            de = _map(lambda q, drift, seen: q * (drift - seen), q, drift, seen)
            dz = _map(lambda low, e, z, de: (low - z * de) / e - z, low, e, z, de)
            dv = _map(lambda high, s, v, de: (high + v * de) / s - v, high, s, v, de)
            return step, de, dv, dz

        zero = jax.tree.map(jnp.zeros_like, e)
        _, de, dv, dz = direction(zero, zero)
        primal, dual = _lengths(e, s, v, z, de, dv, dz)
        after = _total(
            _map(
                lambda e, s, v, z, de, dv, dz: (
                    (e + primal * de) * (z + dual * dz)
                    + (s - primal * de) * (v + dual * dv)
                ),
                *(e, s, v, z, de, dv, dz),
            )
        )
        barrier = (after / gap) ** 3 * gap / (2 * count)
        low = _map(lambda de, dz: barrier - de * dz, de, dz)
        high = _map(lambda de, dv: barrier + de * dv, de, dv)
        step, de, dv, dz = direction(low, high)
        primal, dual = _lengths(e, s, v, z, de, dv, dz)
        moved = lambda x, dx, share: _map(lambda x, dx: x + share * dx, x, dx)
        e, s = moved(e, de, primal), moved(s, de, -primal)
        v, z = moved(v, dv, dual), moved(z, dz, dual)
        new = _gap(e, s, v, z)
        stuck = jnp.maximum(primal, dual) < 1e-3
        return _State(b + dual * step, e, s, v, z, new, n_iter + 1, stuck)

    def small(cost):
        """What the gap must come down to; where all rows fit, beside the targets."""
        floor = 1e-3 * jnp.maximum(size, jnp.finfo(y.dtype).eps * count)
        return tol * jnp.maximum(cost, floor)

    def unfinished(state):
        late = state.gap > small(program.cost(state.b))
        return late & ~state.stuck & (state.n_iter < max_iter)

    state = _State(b, e, s, v, z, _gap(e, s, v, z), jnp.array(0), jnp.array(False))
    state = jax.lax.while_loop(unfinished, advance, state)
    used = _used(program, state, tol)
    cost = program.cost(jnp.where(used, state.b, 0))
    barrier = state.gap / (2 * count)
    # Steps of no length are the floor of the precision near the minimum, elsewhere not.
    near = tol * state.gap <= jnp.finfo(y.dtype).eps ** 0.5 * small(cost)
    found = code(state.gap, small(cost), state.stuck & near)
    info = Info(state.n_iter, state.gap, cost, found)
    return (state.b, barrier), (info, used)


def _used(program, state, tol):
    """Which coefficients are not 0: an interior point only comes close to it."""
    inside = jnp.minimum(state.e[1], state.s[1]) > 1e-3
    small = inside & (jnp.abs(state.b) < 1e-4) & (program.scale > 0)
    rounded = program.cost(jnp.where(small, 0, state.b))
    return ~(small & (rounded <= (1 + tol) * program.cost(state.b)))


def _inverse(matrix):
    """Solves with the matrix, lifted a little where it is singular."""
    p, eps = len(matrix), jnp.finfo(matrix.dtype).eps
    diagonal = jnp.diagonal(matrix)
    scale = jax.lax.rsqrt(jnp.where(diagonal > 0, diagonal, 1))
    even = (
        scale[:, None] * matrix * scale[None]
    )  # unit diagonal: no size drowns another
    factor = jnp.linalg.cholesky(even + 10 * eps * jnp.eye(p, dtype=matrix.dtype))
    return lambda right: (
        scale * jax.scipy.linalg.cho_solve((factor, True), scale * right)
    )


def _lengths(e, s, v, z, de, dv, dz):
    """How far the primal and the dual may go: to just before a part turns negative."""

    def reach(x, dx):
        shrinks = dx < 0
        return jnp.where(shrinks, -x / jnp.where(shrinks, dx, -1), jnp.inf).min()

    def least(*pairs):
        found = [reach(x, dx) for pair in pairs for x, dx in zip(*pair, strict=True)]
        return jnp.minimum(NEAR * jnp.stack(found).min(), 1)

    minus = jax.tree.map(jnp.negative, de)
    return least((e, de), (s, minus)), least((v, dv), (z, dz))


def _gap(e, s, v, z):
    return _total(_map(lambda e, s, v, z: e * z + s * v, e, s, v, z))


def _map(function, *pairs):
    return jax.tree.map(function, *pairs)


def _total(pair):
    return pair[0].sum() + pair[1].sum()


def _dot(a, b):
    return jnp.dot(a, b, precision="highest")
