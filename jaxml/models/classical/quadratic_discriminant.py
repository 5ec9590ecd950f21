"""Quadratic discriminant analysis: normal classes, each with its own covariance.

    model = quadratic_discriminant.fit(x, y, n_classes=3, reg_param=0.1)
    labels = quadratic_discriminant.predict(model, x_new)
    model = quadratic_discriminant.solve(quadratic_discriminant.merge(part, other))

Letters: n rows, m queries, d features, k classes.

References:
    Hastie, Tibshirani and Friedman, 2009. The elements of statistical learning, 4.3,
        equation 4.12.
    Friedman, 1989. Regularized discriminant analysis. JASA 84(405).
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from jaxml.models.classical import class_scatter
from jaxml.models.classical.class_scatter import merge, subtract
from jaxml.models.classical.class_scatter import separate as stats
from jaxml.ops import check

__all__ = [
    "QuadraticDiscriminant",
    "decision_function",
    "fit",
    "merge",
    "predict",
    "predict_log_proba",
    "predict_proba",
    "solve",
    "stats",
    "subtract",
]


class QuadraticDiscriminant(NamedTuple):
    """A normal distribution for each class."""

    means: Float[Array, "k d"]
    priors: Float[Array, "k"]
    covariance: Float[Array, "k d d"]  # regularised
    rotations: Float[Array, "k d d"]  # eigenvectors of the covariance, as columns
    scalings: Float[Array, "k d"]  # its eigenvalues, largest first
    whitening: Float[Array, "k d d"]  # inverse of its Cholesky factor
    converged: Bool[Array, ""]  # False: a covariance is not of full rank


def fit(
    x: Float[Array, "n d"],
    y: Int[Array, "n"],
    *,
    n_classes: int = 2,
    solver: str = "svd",
    shrinkage: float | Float[Array, ""] | str | None = None,
    priors: Float[Array, "k"] | None = None,
    reg_param: float | Float[Array, ""] = 0.0,
    tol: float | Float[Array, ""] = 1e-4,
    sample_weight: Float[Array, "n"] | None = None,
) -> QuadraticDiscriminant:
    """Fit a normal distribution to each class.

    `rotations` and `scalings` are constants to a gradient; what predicts is not.

    Args:
        x: rows. A class needs more than d of them, or regularisation.
        y: labels from 0 to `n_classes` - 1. A class without rows is never predicted.
        n_classes: number of classes, at least 2.
        solver: "svd" regularises by `reg_param`, "eigen" by `shrinkage`: names of what
            scikit-learn computes, here both are a Cholesky factor.
        shrinkage: None, a number from 0 to 1, or "auto" (Ledoit-Wolf), with "eigen".
        priors: probability of each class. Default: its share of the weights.
        reg_param: from 0 to 1, how far each covariance is drawn towards the identity,
            with "svd".
        tol: `converged` asks for all variances (eigenvalues) above it.
        sample_weight: how much each row counts; 0 is an absent row. Default: 1.

    Raises:
        ValueError: if a shape is wrong, or a choice or number out of range.

    >>> x = jnp.array([[-1.0], [1.0], [-9.0], [9.0]])
    >>> predict(fit(x, jnp.array([0, 0, 1, 1])), jnp.array([[0.0], [5.0]]))
    Array([0, 1], dtype=int32)
    """
    check.rows(x, y, sample_weight)
    check.labels(y, n_classes)
    _check(solver, shrinkage)
    check.between("reg_param", reg_param, 0, 1)
    found = stats(x, y, n_classes=n_classes, sample_weight=sample_weight)
    covariance = None
    if isinstance(shrinkage, str):
        covariance = class_scatter.class_ledoit_wolf(x, y, n_classes, sample_weight)
        shrinkage = None
    return solve(
        found,
        solver=solver,
        shrinkage=shrinkage,
        priors=priors,
        reg_param=reg_param,
        tol=tol,
        covariance=covariance,
    )


def solve(
    stats: class_scatter.Scatter,
    *,
    solver: str = "svd",
    shrinkage: float | Float[Array, ""] | str | None = None,
    priors: Float[Array, "k"] | None = None,
    reg_param: float | Float[Array, ""] = 0.0,
    tol: float | Float[Array, ""] = 1e-4,
    covariance: Float[Array, "k d d"] | None = None,
) -> QuadraticDiscriminant:
    """The model of given statistics.

    Args:
        stats: of all rows, with a scatter matrix of each class.
        solver: as in `fit`.
        shrinkage: as in `fit`, but not "auto", which needs the rows.
        priors: as in `fit`.
        reg_param: as in `fit`.
        tol: as in `fit`.
        covariance: of each class, from an estimator of your own. Default: the scatter
            by the weights.

    Raises:
        ValueError: if a choice or number is out of range.
    """
    _check(solver, shrinkage)
    if isinstance(shrinkage, str):
        raise ValueError('shrinkage "auto" needs the rows: use fit')
    return _solve(stats, solver, shrinkage, priors, reg_param, tol, covariance)


@jax.jit
def decision_function(
    model: QuadraticDiscriminant, x: Float[Array, "m d"]
) -> Float[Array, "m"] | Float[Array, "m k"]:
    """Log odds of class 1 for two classes, else log posteriors up to a constant."""
    scores = _scores(model, x)
    return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores


@jax.jit
def predict(model: QuadraticDiscriminant, x: Float[Array, "m d"]) -> Int[Array, "m"]:
    """The most probable class."""
    return _scores(model, x).argmax(1)


@jax.jit
def predict_log_proba(
    model: QuadraticDiscriminant, x: Float[Array, "m d"]
) -> Float[Array, "m k"]:
    """Log probability of each class."""
    return jax.nn.log_softmax(_scores(model, x))


@jax.jit
def predict_proba(
    model: QuadraticDiscriminant, x: Float[Array, "m d"]
) -> Float[Array, "m k"]:
    """Probability of each class."""
    return jax.nn.softmax(_scores(model, x))


def _check(solver, shrinkage):
    check.one_of("solver", solver, ("svd", "eigen"))
    if shrinkage is None:
        return
    if solver == "svd":
        raise ValueError('shrinkage needs solver "eigen"; got "svd"')
    if isinstance(shrinkage, str):
        check.one_of("shrinkage", shrinkage, ("auto",))
    else:
        check.between("shrinkage", shrinkage, 0, 1)


@partial(jax.jit, static_argnames=("solver",))
def _solve(stats, solver, shrinkage, priors, reg_param, tol, covariance):
    count, means, scatter = stats
    dtype, d = means.dtype, means.shape[1]
    identity = jnp.eye(d, dtype=dtype)[None]
    empty = (count == 0)[:, None, None]
    if covariance is None:
        covariance = scatter / jnp.where(empty, 1, count[:, None, None])
    if shrinkage is not None:
        covariance = class_scatter.shrunk(covariance, jnp.asarray(shrinkage, dtype))
    if solver == "svd":
        covariance += jnp.asarray(reg_param, dtype) * (identity - covariance)
    covariance = jnp.where(empty, identity, covariance)  # of a class never predicted
    values, vectors = jnp.linalg.eigh(lax.stop_gradient(covariance))
    factor = jnp.linalg.cholesky(covariance)
    whitening = jax.scipy.linalg.solve_triangular(
        factor, jnp.broadcast_to(identity, covariance.shape), lower=True
    )
    prior = count if priors is None else priors.astype(dtype)
    # In float32 an eigenvalue of 0 comes out as some eps times the largest.
    floor = 10 * jnp.finfo(dtype).eps * values[:, -1:]
    full = (values > jnp.maximum(jnp.asarray(tol, dtype), floor)).all()
    return QuadraticDiscriminant(
        means,
        prior / prior.sum(),
        covariance,
        vectors[:, :, ::-1],
        values[:, ::-1],
        whitening,
        full,
    )


def _scores(model, x):
    """Log posteriors up to a constant [m, k], equation 4.12."""

    def score(mean, whitening):
        z = jnp.matmul(x - mean[None], whitening.T, precision=lax.Precision.HIGHEST)
        return jnp.log(jnp.diag(whitening)).sum() - (z**2).sum(1) / 2

    scores = jax.vmap(score)(model.means, model.whitening).T
    return scores + jnp.log(model.priors)[None]
