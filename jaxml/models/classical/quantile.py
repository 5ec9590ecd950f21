"""Quantile regression: a linear map to a quantile of the target, with an l1 penalty.

    median = quantile.fit(x, y, alpha=0.0)
    upper = quantile.fit(x, y, quantile=0.9, alpha=0.0)
    y_hat = quantile.predict(upper, x_new)
    band = jax.vmap(lambda q: quantile.fit(x, y, quantile=q, alpha=0.0))(quantiles)

Minimises Σ w ρ(y - x coef - intercept) / Σ w + alpha Σ|coef|, where the pinball loss is
ρ(r) = quantile max(r, 0) + (1 - quantile) max(-r, 0); a linear program, solved by an
interior point to the last digits.

Letters: n rows, d features.

References:
    Koenker and Bassett, 1978. Regression quantiles. Econometrica 46(1), eq. 3.1.
    Portnoy and Koenker, 1997. The Gaussian hare and the Laplacian tortoise. Statistical
    Science 12(4).
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxml.ops import check
from jaxml.optim import interior

__all__ = ["Quantile", "fit", "predict"]

Number = float | Float[Array, ""]


class Quantile(NamedTuple):
    """A fitted linear map."""

    coef: Float[Array, "d"]
    intercept: Float[Array, ""]
    dual_gap: Float[Array, ""]  # bound on the objective above its minimum
    n_iter: Int[Array, ""]  # steps of the interior point
    converged: Bool[Array, ""]


def fit(
    x: Float[Array, "n d"],
    y: Float[Array, "n"],
    *,
    quantile: Number = 0.5,
    alpha: Number = 1.0,
    fit_intercept: bool = True,
    max_iter: int = 60,
    tol: Number = 1e-7,
    sample_weight: Float[Array, "n"] | None = None,
) -> Quantile:
    """Minimise the mean pinball loss plus alpha Σ|coef|.

    Args:
        x: rows. The penalty mixes the units of the features: scale them first.
        y: targets.
        quantile: between 0 and 1, both excluded.
        alpha: strength of the penalty, at least 0.
        fit_intercept: False: the map goes through the origin. It is not penalised.
        max_iter: bound on the steps.
        tol: on the duality gap, relative to the objective.
        sample_weight: what each row counts, at least 0; 0 is an absent row.

    Returns:
        The minimiser; where there are many, one among them. Its derivatives are those
        of the vertex of the program that it is on.

    Raises:
        ValueError: if shapes do not fit or a number is out of its range.

    >>> x = jnp.arange(5.0)[:, None]
    >>> y = jnp.array([0.0, 1.0, 2.0, 3.0, 50.0])          # an outlier
    >>> fit(x, y, alpha=0.0).coef.round(3)
    Array([1.], dtype=float32)
    """
    check.rows(x, y, sample_weight)
    check.at_least("alpha", alpha, 0)
    check.above("quantile", quantile, 0)
    check.above("1 - quantile", 1 - quantile, 0)
    check.size("max_iter", max_iter, 1)
    return _fit(x, y, quantile, alpha, tol, sample_weight, fit_intercept, max_iter)


@partial(jax.jit, static_argnames=("fit_intercept", "max_iter"))
def _fit(x, y, quantile, alpha, tol, sample_weight, fit_intercept, max_iter):
    n, d = x.shape
    row = jnp.ones(n, x.dtype) if sample_weight is None else sample_weight
    total = row.sum()
    share = row / total
    # The interior point sees columns and targets of size 1, about 0.
    mean_x = row @ x / total if fit_intercept else jnp.zeros_like(x[0])
    mean_y = row @ y / total if fit_intercept else jnp.zeros_like(y[0])
    moved = x - mean_x[None]
    slip = share @ moved if fit_intercept else jnp.zeros_like(mean_x)
    size = jnp.sqrt(jnp.maximum(share @ (moved * moved) - slip * slip, 0))
    # A constant feature is no feature, whatever rounding left of it.
    noise = 10 * jnp.finfo(x.dtype).eps * jnp.abs(mean_x)
    size = jnp.where(size > noise, size, jnp.inf)
    unit = share @ jnp.abs(y - mean_y)
    unit = jnp.where(unit > 0, unit, 1)
    size, unit, mean_x, mean_y = jax.lax.stop_gradient((size, unit, mean_x, mean_y))
    rows = (x - mean_x[None]) / size[None]
    bound = n * jnp.asarray(alpha, x.dtype) / size
    if fit_intercept:
        rows = jnp.concatenate([rows, jnp.ones((n, 1), x.dtype)], 1)
        bound = jnp.append(bound, 0)
    weight = n * share
    solution = interior.pinball(
        weight[:, None] * rows,
        weight * (y - mean_y) / unit,
        quantile=jnp.asarray(quantile, x.dtype),
        bound=bound,
        max_iter=max_iter,
        tol=tol,
    )
    coef = unit * solution.value[:d] / size
    offset = jnp.dot(mean_x, coef, precision="highest")
    intercept = mean_y + unit * solution.value[-1] - offset
    if not fit_intercept:
        intercept = jnp.zeros_like(intercept)
    info = solution.info
    finite = jnp.isfinite(coef).all() & jnp.isfinite(intercept)
    gap = unit * info.error / n
    return Quantile(coef, intercept, gap, info.n_iter, info.converged & finite)


@jax.jit
def predict(model: Quantile, x: Float[Array, "m d"]) -> Float[Array, "m"]:
    """The quantile of the target that the linear map gives every row of `x`."""
    return jnp.dot(x, model.coef, precision="highest") + model.intercept
