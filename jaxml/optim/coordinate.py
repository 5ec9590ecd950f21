"""Coordinate descent for least squares with an l1 and an l2 penalty.

    solution = coordinate.quadratic(gram, cross, spread, l1=0.1)     # from sums of rows
    solution = coordinate.rows(x, y, l1=0.1)                         # few rows, wide
    solution.value, solution.info.converged

Both minimise ½|y - x b|² + l1 Σ|b| + ½ l2 Σ b². One coordinate after the other goes to
its own minimum, a soft threshold; once the signs settle, the linear system of the
coordinates in use gives all of them at once. Both are differentiable in all arrays and
numbers, by the implicit function theorem on the coordinates in use.

Letters: n rows, d features; G = xᵀx, c = xᵀy, g = c - G b = xᵀ(y - x b).

References:
    Friedman, Hastie and Tibshirani, 2010. Regularization paths for generalized linear
    models via coordinate descent. J. Stat. Softw. 33(1), section 2.2: covariance and
    naive updates.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxml.ops import check
from jaxml.optim import implicit, sweep
from jaxml.optim.solution import Code, Solution, code

__all__ = ["quadratic", "rows"]

Number = float | Float[Array, ""]


def quadratic(
    gram: Float[Array, "d d"],
    cross: Float[Array, "d"],
    spread: Float[Array, ""],
    *,
    l1: Number,
    l2: Number = 0.0,
    start: Float[Array, "d"] | None = None,
    slope: Callable[[Float[Array, "d"]], Float[Array, "d"]] | None = None,
    positive: bool = False,
    max_iter: int = 1000,
    tol: Number = 1e-4,
) -> Solution:
    """Minimise ½ bᵀG b - cᵀb + ½ spread + l1 Σ|b| + ½ l2 Σ b².

    Args:
        gram: G, positive semidefinite. A coordinate with 0 on the diagonal and
            l2 = 0 has no influence and gets 0.
        cross: c.
        spread: yᵀy; it scales `tol` and completes the objective.
        l1: strength of Σ|b|, at least 0.
        l2: strength of ½ Σ b², at least 0.
        start: where to start; 0 if None.
        slope: from b to xᵀ(y - x b), where the rows are at hand: asked once, it gives
            back the digits that `gram` and `cross` have lost.
        positive: only b ≥ 0.
        max_iter: bound on the sweeps over all coordinates.
        tol: stop when the largest change of a sweep is below `tol` times the largest
            coordinate and the duality gap below `tol` times `spread`.

    Returns:
        b, with the duality gap as error and sweeps as iterations.

    Raises:
        ValueError: if shapes do not fit or a strength is negative.

    >>> quadratic(jnp.eye(2), jnp.array([3.0, 0.5]), jnp.array(9.25), l1=1.0).value
    Array([2., 0.], dtype=float32)
    """
    d = len(cross)
    if gram.shape != (d, d):
        raise ValueError(f"gram must be [{d}, {d}] as cross; got {list(gram.shape)}")
    l1, l2, tol, start = _numbers(cross, l1, l2, tol, start, max_iter)
    terms = sweep.Terms(jnp.diagonal(gram), spread, l1, l2, positive)
    problem = sweep.Problem(
        state=lambda b: cross - _dot(gram, b),
        gradient=lambda g: g,
        residual=lambda b, g: jnp.maximum(spread - _dot(b, cross + g), 0),
        pull=lambda j, g: g[j],
        moved=lambda j, change, g: g - change * gram[j],
        part=lambda used: gram[used][:, used],
    )

    def solve(start):
        b, info = sweep.descend(problem, terms, start, max_iter, tol)
        if slope is not None:
            b, error, _ = sweep.polish(problem, terms, b, slope(b))
            stuck = info.code == Code.PRECISION
            info = info._replace(error=error, code=code(error, tol * spread, stuck))
        return b, info

    return _root(problem, terms, start, solve)


def rows(
    x: Float[Array, "n d"],
    y: Float[Array, "n"],
    *,
    l1: Number,
    l2: Number = 0.0,
    start: Float[Array, "d"] | None = None,
    positive: bool = False,
    max_iter: int = 1000,
    tol: Number = 1e-4,
) -> Solution:
    """Minimise ½|y - x b|² + l1 Σ|b| + ½ l2 Σ b² without the d × d matrix G.

    For wide `x`, of thousands of columns: a sweep costs n d, and no memory but a
    copy of `x`. The arguments are those of `quadratic`.

    Returns:
        b, with the duality gap as error and sweeps as iterations.

    Raises:
        ValueError: if shapes do not fit or a strength is negative.
    """
    check.rows(x, y)
    l1, l2, tol, start = _numbers(x[0], l1, l2, tol, start, max_iter)
    terms = sweep.Terms((x * x).sum(0), (y * y).sum(), l1, l2, positive)
    columns = x.T  # a coordinate's numbers side by side
    problem = sweep.Problem(
        state=lambda b: y - _dot(x, b),
        gradient=lambda left: _dot(left, x),
        residual=lambda b, left: (left * left).sum(),
        pull=lambda j, left: _dot(columns[j], left),
        moved=lambda j, change, left: left - change * columns[j],
        part=lambda used: _dot(columns[used], columns[used].T),
    )
    solve = lambda start: sweep.descend(problem, terms, start, max_iter, tol)
    return _root(problem, terms, start, solve)


def _numbers(like, l1, l2, tol, start, max_iter):
    check.at_least("l1", l1, 0)
    check.at_least("l2", l2, 0)
    check.size("max_iter", max_iter, 1)
    if start is None:
        start = jnp.zeros_like(like)
    elif start.shape != like.shape:
        raise ValueError(f"start must be {list(like.shape)}; got {list(start.shape)}")
    return *(jnp.asarray(number, like.dtype) for number in (l1, l2, tol)), start


def _root(problem, terms, start, solve):
    """The solution, with the derivatives of b = the minimum along each coordinate."""

    def residual(b):
        pull = problem.gradient(problem.state(b)) + terms.scale * b
        return b - sweep.threshold(pull, terms.scale, terms)

    return Solution(*implicit.root(residual, start, solve))


def _dot(a, b):
    return jnp.dot(a, b, precision="highest")
