"""Huber's robust regression, with the scale of the noise estimated beside it.

    model = huber.fit(x, y, epsilon=1.35)
    y_hat, odd = huber.predict(model, x), model.outliers

Minimises Σ weight (σ + H((y - x w - b) / σ) σ) + alpha |w|² over w, b and σ > 0, where
H(z) is z² up to `epsilon` and 2 epsilon |z| - epsilon² beyond: jointly convex. The best
σ of given errors is found exactly; a step is then a least-squares fit of the rows
within, improved by the memory of the last steps.

Letters: n rows, d features; σ the scale.

References:
    Huber and Ronchetti, 2009. Robust statistics, section 7.7.
    Owen, 2007. A robust hybrid of lasso and ridge regression. Contemp. Math. 443.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxml.ops import check
from jaxml.optim import irls

__all__ = ["Huber", "fit", "predict"]

Number = float | Float[Array, ""]
SCALES = 50  # bound on the steps to the best scale of given errors


class Huber(NamedTuple):
    """A linear function, and how far the targets spread around it."""

    coef: Float[Array, "d"]
    intercept: Float[Array, ""]
    scale: Float[Array, ""]  # σ
    outliers: Bool[Array, "n"]  # rows of the fit beyond epsilon scales
    n_iter: Int[Array, ""]
    converged: Bool[Array, ""]


def fit(
    x: Float[Array, "n d"],
    y: Float[Array, "n"],
    *,
    epsilon: Number = 1.35,
    alpha: Number = 0.0001,
    fit_intercept: bool = True,
    tol: Number = 1e-5,
    max_iter: int = 100,
    sample_weight: Float[Array, "n"] | None = None,
) -> Huber:
    """Fit the coefficients and the scale.

        >>> x = jnp.arange(8.0)[:, None]
        >>> y = 2 * x[:, 0] + jnp.array([0.1, -0.1] * 4)
        >>> model = fit(x, y.at[6].set(-50.0))
        >>> model.coef.round(1), bool(model.outliers[6])
        (Array([2.], dtype=float32), True)

    Args:
        x: rows. The penalty mixes the units of the features: scale them first.
        y: targets.
        epsilon: errors up to so many scales count as squares, those beyond as absolute
            values; at least 1. The smaller, the more robust.
        alpha: strength of the penalty on the squares of the coefficients, at least 0.
        fit_intercept: whether there is an intercept, which is never penalised.
        tol: stop when no component of the gradient of the objective over the sum of
            the weights is larger.
        max_iter: bound on the steps.
        sample_weight: how much each row counts; 0 is an absent row. Default: 1.

    Returns:
        The model; differentiable by the data, the weights, `epsilon` and `alpha`.

    Raises:
        ValueError: if a shape or a number is out of range.
    """
    check.rows(x, y, sample_weight)
    if y.ndim != 1:
        raise ValueError(f"y must be one number for each row; got {list(y.shape)}")
    check.at_least("epsilon", epsilon, 1)
    check.at_least("alpha", alpha, 0)
    check.at_least("tol", tol, 0)
    check.size("max_iter", max_iter, 1)
    return _fit(
        x,
        y.astype(x.dtype),
        epsilon,
        alpha,
        tol,
        sample_weight,
        fit_intercept=fit_intercept,
        max_iter=max_iter,
    )


@jax.jit
def predict(model: Huber, x: Float[Array, "n d"]) -> Float[Array, "n"]:
    """The linear function at every row."""
    return irls.scores(x, jnp.append(model.coef, model.intercept))


@partial(jax.jit, static_argnames=("fit_intercept", "max_iter"))
def _fit(x, y, epsilon, alpha, tol, sample_weight, *, fit_intercept, max_iter):
    d = x.shape[1]
    weight, total = irls.shares(x, sample_weight)
    epsilon = jnp.asarray(epsilon, x.dtype)
    ridge = jnp.full(d, 2 * jnp.asarray(alpha, x.dtype) / total)
    start = jnp.zeros(d, x.dtype)
    if fit_intercept:
        ridge = jnp.append(ridge, jnp.zeros((), x.dtype))
        start = jnp.append(start, (weight * y).sum())

    def loss(values):
        error = y - values
        scale = _scale(error, weight, epsilon)
        size = jnp.abs(error)
        inside = size <= epsilon * scale
        beyond = 2 * epsilon * size - epsilon**2 * scale
        value = (weight * jnp.where(inside, error**2 / scale, beyond)).sum()
        return scale + value, _slopes(error, scale, weight, epsilon)

    def curvature(values):
        error = y - values
        scale = _scale(error, weight, epsilon)
        return jnp.where(jnp.abs(error) <= epsilon * scale, 2 / scale, 0)

    def residual(point):
        error = y - irls.scores(x, point)
        slopes = _slopes(error, _scale(error, weight, epsilon), weight, epsilon)
        return irls.pull(x, slopes, len(point)) + ridge * point

    point, info = irls.minimize(
        x,
        start,
        loss,
        irls.by_rows(x, weight, curvature, ridge, level=False),
        ridge=ridge,
        residual=residual,
        max_iter=max_iter,
        tol=tol,
    )
    error = y - irls.scores(x, point)
    scale = _scale(error, weight, epsilon)
    outliers = jnp.abs(error) > epsilon * scale
    intercept = point[d] if fit_intercept else jnp.zeros((), x.dtype)
    return Huber(point[:d], intercept, scale, outliers, info.n_iter, info.converged)


def _slopes(error, scale, weight, epsilon):
    """Derivative of the loss by each score, at the best scale."""
    return -2 * weight * jnp.clip(error / scale, -epsilon, epsilon)


def _scale(error, weight, epsilon):
    """The best scale: where the mean of min((error / σ)², epsilon²) is 1.

    In 1 / σ² that mean is concave and made of lines. From the largest σ possible,
    Newton's method goes down without overshooting, and ends after a few steps.
    """
    size = jax.lax.stop_gradient(jnp.abs(error))
    share = jax.lax.stop_gradient(weight)
    grain = jnp.finfo(error.dtype).eps
    most = jnp.sqrt((share * size**2).sum())
    least = 10 * grain * most

    def newton(error, weight, inside):
        square = (weight * jnp.where(inside, error**2, 0)).sum()
        return square / (1 - epsilon**2 * (weight * jnp.where(inside, 0, 1)).sum())

    def moving(carry):
        scale, before, n = carry
        return (scale < before * (1 - 4 * grain)) & (scale > least) & (n < SCALES)

    def move(carry):
        scale, _, n = carry
        inside = size <= epsilon * scale
        return jnp.sqrt(jnp.maximum(newton(size, share, inside), 0)), scale, n + 1

    carry = (most, jnp.full_like(most, jnp.inf), jnp.asarray(0))
    scale, before, _ = jax.lax.while_loop(moving, move, carry)
    fallen = ~(scale > least)
    inside = size <= epsilon * jnp.where(fallen, before, scale)
    square = newton(error, weight, inside)  # again: this one has derivatives
    exact = fallen | ~(square > 0)
    found = jnp.sqrt(jnp.where(exact, 1, square))
    return jnp.where(exact, jnp.maximum(least, jnp.finfo(error.dtype).tiny), found)
