"""Generalized linear models: Poisson, gamma, and all of Tweedie's family.

    model = glm.fit(x, counts, power=1.0, alpha=0.1)     # Poisson
    mean = glm.predict(model, x_new)
    loss = glm.deviance(y_new, mean, power=1.0).mean()

The variance of a target is proportional to its mean to the `power`: 0 normal, 1
Poisson, between them and 2 a Poisson sum of gammas (zeros, else positive), 2 gamma,
3 inverse Gaussian. Minimises the mean deviance / 2, plus alpha |w|² / 2.

Letters: n rows, d features; η the linear score, μ the mean, p the power.

References:
    McCullagh and Nelder, 1989. Generalized linear models, sections 2.3 and 2.5.
    Jørgensen, 1987. Exponential dispersion models. J. R. Stat. Soc. B 49(2).
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxml.ops import check
from jaxml.optim import irls

__all__ = ["GLM", "deviance", "fit", "predict"]

Number = float | Float[Array, ""]
LINKS = ("auto", "log", "identity")


class GLM(NamedTuple):
    """A mean that is a function, the inverse link, of a linear score."""

    coef: Float[Array, "d"]
    intercept: Float[Array, ""]
    log_link: Bool[Array, ""]  # the score is the logarithm of the mean, else the mean
    n_iter: Int[Array, ""]
    converged: Bool[Array, ""]


def fit(
    x: Float[Array, "n d"],
    y: Float[Array, "n"],
    *,
    power: Number = 0.0,
    alpha: Number = 1.0,
    link: str = "auto",
    fit_intercept: bool = True,
    tol: Number = 1e-4,
    max_iter: int = 100,
    sample_weight: Float[Array, "n"] | None = None,
) -> GLM:
    """Fit the coefficients.

        >>> x = jnp.array([[0.0], [1.0], [2.0], [3.0]])
        >>> model = fit(x, jnp.array([1.0, 2.0, 4.0, 8.0]), power=1.0, alpha=0.0)
        >>> jnp.exp(model.coef).round(3), predict(model, x).round(3)
        (Array([2.], dtype=float32), Array([1., 2., 4., 8.], dtype=float32))

    Args:
        x: rows. The penalty mixes the units of the features: scale them first.
        y: targets: any for power 0; at least 0 from 1 up to (not) 2; else above 0.
            Data can't be refused under jit: a target out of range gives a model that
            means nothing.
        power: p; not between 0 and 1, where there is no such distribution. A number 0,
            1 or 2 that is known before tracing has a program of its own.
        alpha: strength of the penalty on the squares of the coefficients, at least 0;
            the intercept is free.
        link: the score is the mean ("identity") or its logarithm ("log"). "auto":
            identity for p ≤ 0, else log; then p must be known before tracing. With the
            identity and p ≠ 0 the means of all rows stay above 0.
        fit_intercept: whether there is an intercept.
        tol: stop when no component of the gradient of the objective is larger.
        max_iter: bound on the steps.
        sample_weight: how much each row counts; 0 is an absent row. Default: 1.

    Returns:
        The model; differentiable by the data, the weights, `alpha` and `power`.

    Raises:
        ValueError: if a shape or a number is out of range, or `link` is unknown.
    """
    check.rows(x, y, sample_weight)
    if y.ndim != 1:
        raise ValueError(f"y must be one number for each row; got {list(y.shape)}")
    check.at_least("alpha", alpha, 0)
    check.at_least("tol", tol, 0)
    check.size("max_iter", max_iter, 1)
    check.one_of("link", link, LINKS)
    known = _known(power)
    if known is not None and 0 < known < 1:
        raise ValueError(f"power must not be between 0 and 1; got {known}")
    if link == "auto":
        if known is None:
            raise ValueError(
                'link must be "log" or "identity" where power is traced; got "auto"'
            )
        link = "identity" if known <= 0 else "log"
    family = {0: "normal", 1: "poisson", 2: "gamma"}.get(known, "tweedie")
    return _fit(
        x,
        y.astype(x.dtype),
        power,
        alpha,
        tol,
        sample_weight,
        losses=(link, family),
        fit_intercept=fit_intercept,
        max_iter=max_iter,
    )


@jax.jit
def predict(model: GLM, x: Float[Array, "n d"]) -> Float[Array, "n"]:
    """Mean of the target of every row."""
    values = irls.scores(x, jnp.append(model.coef, model.intercept))
    # Within exp too, or the branch not taken could make a derivative NaN.
    power = jnp.exp(jnp.where(model.log_link, values, 0))
    return jnp.where(model.log_link, power, values)


@jax.jit
def deviance(
    y: Float[Array, "*n"], mean: Float[Array, "*n"], power: Number = 0.0
) -> Float[Array, "*n"]:
    """Twice the log-likelihood that each target loses by `mean` against itself.

        >>> deviance(jnp.array([1.0, 0.0]), jnp.array([2.0, 0.5]), power=1.0)
        Array([0.61370564, 1.        ], dtype=float32)

    Args:
        y: targets, in the range that `fit` names.
        mean: means; above 0, but for power 0.
        power: p.
    """
    p = jnp.asarray(power, y.dtype)
    to, own = jnp.log(mean), jnp.log(jnp.maximum(y, 0))
    # The integral of (t - y) / t^p from y to the mean.
    first = _box_cox(to, 2 - p) - _box_cox(own, 2 - p)
    second = jnp.where(y == 0, 0, y * (_box_cox(to, 1 - p) - _box_cox(own, 1 - p)))
    return jnp.where(p == 0, (y - mean) ** 2, 2 * (first - second))


class _Loss(NamedTuple):
    """Half the deviance as a function of the score, up to a constant."""

    value: Callable  # (η, y, p) -> value
    slope: Callable  # (η, y, p) -> derivative
    curvature: Callable  # (η, p) -> its second derivative, expected over y


_LOSSES = {
    ("log", "tweedie"): _Loss(
        lambda s, y, p: _box_cox(s, 2 - p) - y * _box_cox(s, 1 - p),
        lambda s, y, p: jnp.exp((1 - p) * s) * (jnp.exp(s) - y),
        lambda s, p: jnp.exp((2 - p) * s),
    ),
    ("log", "normal"): _Loss(
        lambda s, y, p: 0.5 * (jnp.exp(s) - y) ** 2,
        lambda s, y, p: jnp.exp(s) * (jnp.exp(s) - y),
        lambda s, p: jnp.exp(2 * s),
    ),
    ("log", "poisson"): _Loss(
        lambda s, y, p: jnp.exp(s) - y * s,
        lambda s, y, p: jnp.exp(s) - y,
        lambda s, p: jnp.exp(s),
    ),
    ("log", "gamma"): _Loss(
        lambda s, y, p: s + y * jnp.exp(-s),
        lambda s, y, p: 1 - y * jnp.exp(-s),
        lambda s, p: jnp.ones_like(s),
    ),
    ("identity", "normal"): _Loss(
        lambda s, y, p: 0.5 * (s - y) ** 2,
        lambda s, y, p: s - y,
        lambda s, p: jnp.ones_like(s),
    ),
    ("identity", "poisson"): _Loss(
        lambda s, y, p: s - y * jnp.log(s),
        lambda s, y, p: 1 - y / s,
        lambda s, p: 1 / s,
    ),
    ("identity", "gamma"): _Loss(
        lambda s, y, p: jnp.log(s) + y / s,
        lambda s, y, p: (s - y) / s**2,
        lambda s, p: 1 / s**2,
    ),
    ("identity", "tweedie"): _Loss(
        lambda s, y, p: _box_cox(jnp.log(s), 2 - p) - y * _box_cox(jnp.log(s), 1 - p),
        lambda s, y, p: (s - y) * s**-p,
        lambda s, p: s**-p,
    ),
}


@partial(jax.jit, static_argnames=("losses", "fit_intercept", "max_iter"))
def _fit(x, y, power, alpha, tol, sample_weight, *, losses, fit_intercept, max_iter):
    link, _ = losses
    terms = _LOSSES[losses]
    d = x.shape[1]
    p = jnp.asarray(power, x.dtype)
    weight, _ = irls.shares(x, sample_weight)
    ridge = jnp.full(d, jnp.asarray(alpha, x.dtype))
    start = jnp.zeros(d, x.dtype)
    if fit_intercept:
        mean = (weight * y).sum()
        ridge = jnp.append(ridge, jnp.zeros((), x.dtype))
        start = jnp.append(start, jnp.log(mean) if link == "log" else mean)

    def loss(values):
        total = (weight * terms.value(values, y, p)).sum()
        return total, weight * terms.slope(values, y, p)

    def objective(point):
        values = terms.value(irls.scores(x, point), y, p)
        return (weight * values).sum() + 0.5 * (ridge * point**2).sum()

    value, info = irls.minimize(
        x,
        start,
        loss,
        irls.by_rows(x, weight, lambda s: terms.curvature(s, p), ridge, level=True),
        ridge=ridge,
        residual=jax.grad(objective),
        max_iter=max_iter,
        tol=tol,
    )
    intercept = value[d] if fit_intercept else jnp.zeros((), x.dtype)
    log_link = jnp.asarray(link == "log")
    return GLM(value[:d], intercept, log_link, info.n_iter, info.converged)


def _box_cox(logarithm, q):
    """(t^q - 1) / q of t = exp(logarithm); the logarithm itself at q = 0."""
    small = jnp.abs(q) < jnp.finfo(q.dtype).eps ** 0.5
    safe = jnp.where(small, 1, q)
    # The series also has the right derivative by q, which a plain limit has not.
    series = logarithm * (1 + 0.5 * q * logarithm)
    return jnp.where(small, series, jnp.expm1(safe * logarithm) / safe)


def _known(power):
    """The power, or None where it is traced."""
    try:
        return float(power)
    except jax.errors.ConcretizationTypeError:
        return None
