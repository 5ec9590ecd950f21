"""Least squares with an l1 and an l2 penalty, from rows or from their moments.

problem = sparse.from_rows(x, y, sample_weight)
solution = problem.solve(l1=0.1, l2=0.0, tol=1e-4)      # a value for each target
intercept = problem.intercept(solution.value)

Minimises Σ w (y - x b - intercept)² / (2 Σ w) + l1 Σ|b| + ½ l2 Σ b² for each target.
Long data come down to their moments (a d × d matrix); wide data stay rows.

Letters: n rows, d features, t targets.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxml.ops import moments as sums
from jaxml.optim import coordinate
from jaxml.optim.solution import Solution

__all__ = ["Problem", "from_moments", "from_rows", "grid"]


class Problem(NamedTuple):
    """A family of problems that share the data."""

    targets: int
    solve: Callable[..., Solution]  # (l1, l2, tol, start [t, d] or None)
    intercept: Callable  # coefficients [t, d] -> [t]


def from_moments(
    moments: sums.Moments,
    fit_intercept: bool = True,
    *,
    positive: bool = False,
    max_iter: int = 1000,
    slope: Callable | None = None,
) -> Problem:
    """The problem of the rows that `moments` summed up.

    Args:
        moments: of the rows.
        fit_intercept: False: no intercept, moments about the origin.
        positive: only coefficients of at least 0.
        max_iter: bound on the sweeps.
        slope: from (b [d], its target's number) to the true slope, see
            `coordinate.quadratic`.
    """
    weight, mean_x, mean_y, gram, cross, spread = moments
    gram, cross, spread = gram / weight, cross / weight, spread / weight
    moving = jnp.ones(mean_x.shape, bool)
    if fit_intercept:
        moving = _moving(jnp.diagonal(gram), mean_x)
        gram = jnp.where(moving[:, None] & moving[None], gram, 0)
        cross = jnp.where(jnp.broadcast_to(moving, cross.shape), cross, 0)
    else:
        gram = gram + jnp.outer(mean_x, mean_x)
        cross = cross + jnp.outer(mean_y, mean_x)
        spread = spread + mean_y**2

    def solve(l1, l2, tol, start=None):
        def one(start, cross, spread, target):
            exact = None if slope is None else partial(_some, slope, moving, target)
            return coordinate.quadratic(
                gram,
                cross,
                spread,
                l1=l1,
                l2=l2,
                start=start,
                slope=exact,
                positive=positive,
                max_iter=max_iter,
                tol=tol,
            )

        start = jnp.zeros_like(cross) if start is None else start
        return _each(one, start, cross, spread, jnp.arange(len(cross)))

    def intercept(coef):
        if not fit_intercept:
            return jnp.zeros(len(coef), coef.dtype)
        return mean_y - jnp.matmul(coef, mean_x, precision="highest")

    return Problem(len(cross), solve, intercept)


def from_rows(
    x: Float[Array, "n d"],
    y: Float[Array, "n t"],
    sample_weight: Float[Array, "n"] | None = None,
    fit_intercept: bool = True,
    *,
    positive: bool = False,
    max_iter: int = 1000,
    precompute: bool = True,
    refine: bool = True,
) -> Problem:
    """The problem of these rows.

    Args:
        x: rows.
        y: targets.
        sample_weight: at least 0; all 1 if None.
        fit_intercept: False: no intercept.
        positive: only coefficients of at least 0.
        max_iter: bound on the sweeps.
        precompute: through the moments; False: from a centred, weighted copy of `x`.
        refine: give back, with one more pass, the digits that the moments lost.
    """
    taste: dict[str, Any] = {"positive": positive, "max_iter": max_iter}
    if not precompute:
        return _from_copy(x, y, sample_weight, fit_intercept, taste)
    moments = sums.stats(x, y, sample_weight)
    if not refine:
        return from_moments(moments, fit_intercept, **taste)

    def slope(b, target):
        return _slope(moments, x, y[:, target], sample_weight, b, fit_intercept)

    return from_moments(moments, fit_intercept, slope=slope, **taste)


@partial(jax.jit, static_argnames=("fit_intercept", "count", "positive"))
def grid(
    x: Float[Array, "n d"],
    y: Float[Array, "n t"],
    l1_ratio: float | Float[Array, ""],
    eps: float | Float[Array, ""],
    sample_weight: Float[Array, "n"] | None,
    fit_intercept: bool,
    count: int,
    positive: bool,
) -> Float[Array, "a"]:
    """Strengths from the least that makes all coefficients 0, down to eps times it.

    Args:
        x: rows.
        y: targets; the norm over them counts.
        l1_ratio: share of l1 in the strength, above 0.
        eps: the last, as a share of the first.
        sample_weight: as in `from_rows`.
        fit_intercept: as in `from_rows`.
        count: how many, evenly spaced in the logarithm.
        positive: as in `from_rows`.
    """
    row = jnp.ones(len(x), x.dtype) if sample_weight is None else sample_weight
    share = row / row.sum()
    mean_y = share @ y if fit_intercept else jnp.zeros_like(y[0])
    left = share[:, None] * (y - mean_y[None])
    pull = jnp.einsum("nt,nd->td", left, x, precision="highest")
    if fit_intercept:
        pull = pull - jnp.outer(left.sum(0), share @ x)
    largest = pull.max() if positive else jnp.sqrt((pull**2).sum(0).max())
    # scikit-learn's floor, for a target that no feature explains.
    top = jnp.maximum(largest / l1_ratio, 1e-15)
    ratio = jnp.asarray(eps, x.dtype) ** jnp.linspace(0, 1, count, dtype=x.dtype)
    return jnp.where(top > 1e-15, top * ratio, top)


def _from_copy(x, y, sample_weight, fit_intercept, taste):
    row = jnp.ones(len(x), x.dtype) if sample_weight is None else sample_weight
    share = row / row.sum()
    mean_x, mean_y = row @ x / row.sum(), row @ y / row.sum()
    if fit_intercept:
        x, y = x - mean_x[None], y - mean_y[None]
    root = jnp.sqrt(share)[:, None]
    x, y = root * x, root * y
    if fit_intercept:
        slip = root[:, 0] @ x  # what rounding left in the mean
        moving = _moving((x * x).sum(0) - slip * slip, mean_x)
        x = jnp.where(jnp.broadcast_to(moving, x.shape), x, 0)

    def solve(l1, l2, tol, start=None):
        def one(start, y):
            return coordinate.rows(x, y, l1=l1, l2=l2, start=start, tol=tol, **taste)

        start = jnp.zeros((y.shape[1], x.shape[1]), x.dtype) if start is None else start
        return _each(one, start, y.T)

    def intercept(coef):
        if not fit_intercept:
            return jnp.zeros(len(coef), coef.dtype)
        return mean_y - _dot(coef, mean_x)

    return Problem(y.shape[1], solve, intercept)


def _slope(moments, x, y, sample_weight, b, fit_intercept):
    """Σ w (y - x b - intercept)(x - mean) / Σ w, from the rows; y, b of one target."""

    def pull(x, y, centre):
        left = y - _dot(x, b) + _dot(centre, b)
        left = left if sample_weight is None else sample_weight * left
        return (_dot(left, x) - left.sum() * centre) / moments.weight

    mean = moments.mean_x
    if not fit_intercept:
        return pull(x, y, jnp.zeros_like(mean))
    y = y - (y if sample_weight is None else sample_weight * y).sum() / moments.weight
    # Means far above the spread cancel in x b: then a centred copy is worth it.
    far = (moments.weight * mean**2 > 100 * jnp.diagonal(moments.gram)).any()
    return jax.lax.cond(
        far,
        lambda _: pull(x - mean[None], y, jnp.zeros_like(mean)),
        lambda _: pull(x, y, mean),
        None,
    )


def _some(slope, moving, target, b):
    return jnp.where(moving, slope(b, target), 0)


def _moving(variance, mean):
    """Which features are more than rounding about their mean."""
    return variance > (10 * jnp.finfo(mean.dtype).eps * mean) ** 2


def _each(one, *targets):
    """The solution of every target; a lone one without the cost of a batch."""
    if len(targets[0]) > 1:
        return jax.vmap(one)(*targets)
    alone = one(*(target[0] for target in targets))
    return jax.tree.map(lambda leaf: leaf[None], alone)


def _dot(a, b):
    return jnp.dot(a, b, precision="highest")
