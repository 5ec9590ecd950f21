"""What the linear support vector machines share: one objective, two solvers.

solution = linear_svm.minimize(x, sign, target, cost, squared=True, ...)
coef, intercept = linear_svm.split(solution.value, x)

    min  ½|w|² + ½ (b / scale)² + Σ_si cost_i max(0, target_si - sign_si f(x_i))^q

The intercept b is penalised, as in LIBLINEAR. With q = 2 the gradient is smooth enough
for Newton's method on the rows that count; with q = 1 an interior point is followed.

Letters: n rows, d features, s sides of the loss, m = d unknowns, or d + 1 with b.

References:
    Keerthi and DeCoste, 2005. A modified finite Newton method for fast solution of
    large scale linear SVMs. JMLR 6.
    Fan, Chang, Hsieh, Wang and Lin, 2008. LIBLINEAR. JMLR 9.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxml.optim import hinge, irls
from jaxml.optim.solution import Solution

__all__ = ["minimize", "split"]

Number = float | Float[Array, ""]


def minimize(
    x: Float[Array, "n d"],
    sign: Float[Array, "s n"],
    target: Float[Array, "s n"],
    cost: Float[Array, "n"],
    *,
    squared: bool,
    fit_intercept: bool,
    intercept_scaling: Number,
    tol: Number,
    max_iter: int,
) -> Solution:
    """Minimise the penalised losses.

    Args:
        x: rows.
        sign: factor of the score in each side of the loss.
        target: what the score should reach.
        cost: weight of the losses of each row; 0 is an absent row.
        squared: whether q is 2.
        fit_intercept: whether there is an intercept.
        intercept_scaling: how little it is penalised.
        tol: relative precision of the unknowns; that of the objective is its square.
        max_iter: bound on the steps.

    Returns:
        The unknowns [m], the intercept last.
    """
    d = x.shape[1]
    bias = 1 / jnp.asarray(intercept_scaling, x.dtype) ** 2
    ridge = jnp.ones(d, x.dtype)
    ridge = jnp.append(ridge, bias) if fit_intercept else ridge
    tol = jnp.asarray(tol, x.dtype)
    if not squared:
        return hinge.minimize(
            x, ridge, sign, target, cost, tol=tol**2, max_iter=max_iter
        )
    total = cost.sum()
    weight, ridge = cost / total, ridge / total

    def missing(values):
        return jnp.maximum(target - sign * values[None], 0)

    def loss(values):
        short = missing(values)
        value = (weight[None] * short**2).sum()
        return value, -2 * weight * (sign * short).sum(0)

    def curvature(values):
        return 2 * (missing(values) > 0).sum(0).astype(x.dtype)

    def objective(point):
        value, _ = loss(irls.scores(x, point))
        return value + 0.5 * (ridge * point**2).sum()

    return irls.minimize(
        x,
        jnp.zeros_like(ridge),
        loss,
        irls.by_rows(x, weight, curvature, ridge, level=False),
        ridge=ridge,
        residual=jax.grad(objective),
        max_iter=max_iter,
        tol=0.1 * tol,
    )


def split(
    value: Float[Array, "*k m"], x: Float[Array, "n d"]
) -> tuple[Float[Array, "*k d"], Float[Array, "*k"]]:
    """Coefficients and intercept (0 where there is none)."""
    d = x.shape[1]
    if value.shape[-1] == d:
        return value, jnp.zeros(value.shape[:-1], value.dtype)
    return value[..., :d], value[..., d]
