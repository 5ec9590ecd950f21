"""Elastic net: least squares with l1 and l2 penalties, by coordinate descent.

    model = elastic_net.fit(x, y, alpha=0.1, l1_ratio=0.5)
    y_hat = elastic_net.predict(model, x_new)
    models = elastic_net.path(x, y, alphas=elastic_net.alpha_grid(x, y, l1_ratio=0.5))

Minimises Σ w (y - x coef - intercept)² / (2 Σ w) + alpha l1_ratio Σ|coef|
+ ½ alpha (1 - l1_ratio) Σ coef². Long data enter as moments (`stats`), which merge,
subtract and shard; data with more columns than rows as they are.

Letters: n rows, d features, t targets, a values of alpha.

References:
    Zou and Hastie, 2005. Regularization and variable selection via the elastic net.
    J. R. Stat. Soc. B 67(2), eq. 3.
    Friedman, Hastie and Tibshirani, 2010. Regularization paths for generalized linear
    models via coordinate descent. J. Stat. Softw. 33(1).
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxml.ops import check, linalg
from jaxml.ops.moments import Moments, merge, stats, subtract
from jaxml.optim import sparse
from jaxml.optim.solution import Code

__all__ = [
    "ElasticNet",
    "Moments",
    "alpha_grid",
    "fit",
    "merge",
    "path",
    "predict",
    "solve",
    "stats",
    "subtract",
]

WIDE = 1024  # features from which the d x d matrix costs more than it saves

STATIC = ("precompute", "max_iter", "positive")

Number = float | Float[Array, ""]


class ElasticNet(NamedTuple):
    """A fitted sparse linear map."""

    coef: Float[Array, "*t d"]
    intercept: Float[Array, "*t"]
    dual_gap: Float[Array, "*t"]  # bound on the objective above its minimum
    n_iter: Int[Array, "*t"]  # sweeps over the coordinates
    converged: Bool[Array, "*t"]


def fit(
    x: Float[Array, "n d"],
    y: Float[Array, "n *t"],
    *,
    alpha: Number = 1.0,
    l1_ratio: Number = 0.5,
    fit_intercept: bool = True,
    precompute: bool | str = "auto",
    max_iter: int = 1000,
    tol: Number = 1e-4,
    positive: bool = False,
    sample_weight: Float[Array, "n"] | None = None,
) -> ElasticNet:
    """Minimise the penalised mean of squared residuals.

    Args:
        x: rows. The penalty mixes the units of the features: scale them first.
        y: targets, one [n] or several [n, t], each fitted alone.
        alpha: strength of the penalty, at least 0.
        l1_ratio: share of the l1 penalty, from 0 to 1.
        fit_intercept: False: the map goes through the origin.
        precompute: True: from the d × d matrix of second moments; False: from the rows.
            "auto": from the moments unless columns are more than rows or than 1,024.
        max_iter: bound on the sweeps.
        tol: on the duality gap, relative to the mean square of the centred target.
        positive: only coefficients of at least 0.
        sample_weight: what each row counts, at least 0; 0 is an absent row.

    Returns:
        The minimiser, differentiable where its signs are stable.

    Raises:
        ValueError: if shapes do not fit or a number is out of its range.

    >>> x = jnp.array([[-1.0], [0.0], [1.0]])
    >>> fit(x, 3 * x[:, 0], alpha=1.0, l1_ratio=1.0).coef.round(4)
    Array([1.5], dtype=float32)
    """
    check.rows(x, y, sample_weight)
    _check_numbers(alpha, l1_ratio, max_iter)
    return _fit(
        x,
        y,
        alpha,
        l1_ratio,
        tol,
        sample_weight,
        fit_intercept,
        precompute=_precompute(precompute, x),
        max_iter=max_iter,
        positive=positive,
    )


@partial(jax.jit, static_argnames=("fit_intercept", *STATIC))
def _fit(x, y, alpha, l1_ratio, tol, sample_weight, fit_intercept, **choices):
    columns = y.reshape(len(x), -1)
    problem = sparse.from_rows(x, columns, sample_weight, fit_intercept, **choices)
    found = problem.solve(*_penalties(x.dtype, alpha, l1_ratio, tol))
    return _model(found, problem, y.shape[1:])


def path(
    x: Float[Array, "n d"],
    y: Float[Array, "n *t"],
    *,
    alphas: Float[Array, "a"],
    l1_ratio: Number = 0.5,
    fit_intercept: bool = True,
    precompute: bool | str = "auto",
    max_iter: int = 1000,
    tol: Number = 1e-4,
    positive: bool = False,
    sample_weight: Float[Array, "n"] | None = None,
) -> ElasticNet:
    """The models of many values of alpha, each started from the one before.

    Through the moments of a centred copy of `x`, not refined with the rows as `fit` is:
    in float32, about 7 - 2 log10(condition of the centred x) digits are good.

    Args:
        x: rows.
        y: targets, one [n] or several [n, t].
        alphas: strengths of the penalty, best from large to small; see `alpha_grid`.
        l1_ratio: as in `fit`, as are those that follow.
        fit_intercept: scikit-learn's path expects centred data in its place.
        precompute: as in `fit`.
        max_iter: for each alpha.
        tol: as in `fit`.
        positive: as in `fit`.
        sample_weight: as in `fit`.

    Returns:
        The models, stacked along a first axis [a].

    Raises:
        ValueError: if shapes do not fit or a number is out of its range.
    """
    check.rows(x, y, sample_weight)
    _check_numbers(0.0, l1_ratio, max_iter)
    return _path(
        x,
        y,
        alphas,
        l1_ratio,
        tol,
        sample_weight,
        fit_intercept,
        precompute=_precompute(precompute, x),
        max_iter=max_iter,
        positive=positive,
    )


@partial(jax.jit, static_argnames=("fit_intercept", *STATIC))
def _path(x, y, alphas, l1_ratio, tol, sample_weight, fit_intercept, **choices):
    columns = y.reshape(len(x), -1)
    row = jnp.ones(len(x), x.dtype) if sample_weight is None else sample_weight
    # One centred copy keeps the digits for all alphas, where `fit` asks the rows again.
    mean = row @ x / row.sum() if fit_intercept else jnp.zeros_like(x[0])
    problem = sparse.from_rows(
        x - mean[None], columns, sample_weight, fit_intercept, refine=False, **choices
    )

    def step(start, alpha):
        found = problem.solve(*_penalties(x.dtype, alpha, l1_ratio, tol), start)
        return found.value, _model(found, problem, y.shape[1:])

    start = jnp.zeros((problem.targets, x.shape[1]), x.dtype)
    models = jax.lax.scan(step, start, alphas.astype(x.dtype))[1]
    offset = jnp.matmul(models.coef, mean, precision="highest")
    return models._replace(intercept=models.intercept - offset)


def solve(
    moments: Moments,
    *,
    alpha: Number = 1.0,
    l1_ratio: Number = 0.5,
    fit_intercept: bool = True,
    max_iter: int = 1000,
    tol: Number = 1e-4,
    positive: bool = False,
) -> ElasticNet:
    """The model of the rows that `moments` summed up.

    Args:
        moments: from `stats`, `merge` or `subtract`.
        alpha: as in `fit`, as are those that follow.
        l1_ratio: as in `fit`.
        fit_intercept: as in `fit`.
        max_iter: as in `fit`.
        tol: as in `fit`.
        positive: as in `fit`.

    Returns:
        The model, its targets always [t].

    Raises:
        ValueError: if a number is out of its range.
    """
    _check_numbers(alpha, l1_ratio, max_iter)
    return _solve(moments, alpha, l1_ratio, tol, fit_intercept, max_iter, positive)


@partial(jax.jit, static_argnames=("fit_intercept", "max_iter", "positive"))
def _solve(moments, alpha, l1_ratio, tol, fit_intercept, max_iter, positive):
    problem = sparse.from_moments(
        moments, fit_intercept, max_iter=max_iter, positive=positive
    )
    found = problem.solve(*_penalties(moments.gram.dtype, alpha, l1_ratio, tol))
    return _model(found, problem, moments.mean_y.shape)


def alpha_grid(
    x: Float[Array, "n d"],
    y: Float[Array, "n *t"],
    *,
    l1_ratio: Number = 0.5,
    fit_intercept: bool = True,
    eps: Number = 1e-3,
    n_alphas: int = 100,
    positive: bool = False,
    sample_weight: Float[Array, "n"] | None = None,
) -> Float[Array, "a"]:
    """Values of alpha from the least that makes all coefficients 0, falling.

    Args:
        x: rows.
        y: targets, one [n] or several [n, t] (the norm over them counts).
        l1_ratio: above 0, at most 1.
        fit_intercept: as in `fit`.
        eps: the smallest alpha, as a share of the largest.
        n_alphas: how many, evenly spaced in the logarithm.
        positive: as in `fit`.
        sample_weight: as in `fit`.

    Raises:
        ValueError: if shapes do not fit or a number is out of its range.
    """
    check.rows(x, y, sample_weight)
    check.above("l1_ratio", l1_ratio, 0)
    check.between("l1_ratio", l1_ratio, 0, 1)
    check.above("eps", eps, 0)
    check.size("n_alphas", n_alphas, 1)
    columns = y.reshape(len(x), -1)
    choices = (fit_intercept, n_alphas, positive)
    return sparse.grid(x, columns, l1_ratio, eps, sample_weight, *choices)


@jax.jit
def predict(model: ElasticNet, x: Float[Array, "m d"]) -> Float[Array, "m *t"]:
    """The linear map of every row of `x`."""
    return linalg.affine(x, model.coef, model.intercept)


def _penalties(dtype, alpha, l1_ratio, tol):
    """The l1 and the l2 strength, and the tolerance."""
    alpha, ratio = jnp.asarray(alpha, dtype), jnp.asarray(l1_ratio, dtype)
    return alpha * ratio, alpha * (1 - ratio), jnp.asarray(tol, dtype)


def _model(found, problem, targets):
    shaped = lambda leaf: leaf.reshape(*targets, *leaf.shape[1:])
    info = found.info
    intercept = problem.intercept(found.value)
    finite = jnp.isfinite(found.value).all(-1) & jnp.isfinite(intercept)
    converged = (info.code <= Code.PRECISION) & finite
    leaves = (found.value, intercept, info.error, info.n_iter, converged)
    return ElasticNet(*map(shaped, leaves))


def _precompute(choice, x):
    check.one_of("precompute", choice, (True, False, "auto"))
    n, d = x.shape
    return d <= min(n, WIDE) if choice == "auto" else choice


def _check_numbers(alpha, l1_ratio, max_iter):
    check.at_least("alpha", alpha, 0)
    check.between("l1_ratio", l1_ratio, 0, 1)
    check.size("max_iter", max_iter, 1)
