"""Lasso: least squares with an l1 penalty, by coordinate descent.

    model = lasso.fit(x, y, alpha=0.1)
    y_hat = lasso.predict(model, x_new)
    models = lasso.path(x, y, alphas=lasso.alpha_grid(x, y))    # one pass over the rows

Minimises Σ w (y - x coef - intercept)² / (2 Σ w) + alpha Σ|coef|: the elastic net whose
penalty is all l1.

Letters: n rows, d features, t targets, a values of alpha.

References:
    Tibshirani, 1996. Regression shrinkage and selection via the lasso. J. R. Stat. Soc.
    B 58(1), eq. 1.
    Friedman, Hastie and Tibshirani, 2010. Regularization paths for generalized linear
    models via coordinate descent. J. Stat. Softw. 33(1).
"""

from typing import NamedTuple

import jax
from jaxtyping import Array, Bool, Float, Int

from jaxml.models.classical import elastic_net
from jaxml.models.classical.elastic_net import Moments, merge, stats, subtract
from jaxml.ops import linalg

__all__ = [
    "Lasso",
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

Number = float | Float[Array, ""]


class Lasso(NamedTuple):
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
    fit_intercept: bool = True,
    precompute: bool | str = "auto",
    max_iter: int = 1000,
    tol: Number = 1e-4,
    positive: bool = False,
    sample_weight: Float[Array, "n"] | None = None,
) -> Lasso:
    """Minimise the mean of squared residuals plus alpha Σ|coef|.

    Args:
        x: rows. The penalty mixes the units of the features: scale them first.
        y: targets, one [n] or several [n, t], each fitted alone.
        alpha: strength of the penalty, at least 0.
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

    >>> import jax.numpy as jnp
    >>> x = jnp.array([[-1.0], [0.0], [1.0]])
    >>> fit(x, 3 * x[:, 0], alpha=1.0).coef.round(4)
    Array([1.5], dtype=float32)
    """
    model = elastic_net.fit(
        x,
        y,
        alpha=alpha,
        l1_ratio=1.0,
        fit_intercept=fit_intercept,
        precompute=precompute,
        max_iter=max_iter,
        tol=tol,
        positive=positive,
        sample_weight=sample_weight,
    )
    return Lasso(*model)


def path(
    x: Float[Array, "n d"],
    y: Float[Array, "n *t"],
    *,
    alphas: Float[Array, "a"],
    fit_intercept: bool = True,
    precompute: bool | str = "auto",
    max_iter: int = 1000,
    tol: Number = 1e-4,
    positive: bool = False,
    sample_weight: Float[Array, "n"] | None = None,
) -> Lasso:
    """The models of many values of alpha, as in `elastic_net.path`.

    Args:
        x: rows.
        y: targets, one [n] or several [n, t].
        alphas: strengths of the penalty, best from large to small; see `alpha_grid`.
        fit_intercept: as in `fit`, as are those that follow.
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
    models = elastic_net.path(
        x,
        y,
        alphas=alphas,
        l1_ratio=1.0,
        fit_intercept=fit_intercept,
        precompute=precompute,
        max_iter=max_iter,
        tol=tol,
        positive=positive,
        sample_weight=sample_weight,
    )
    return Lasso(*models)


def solve(
    moments: Moments,
    *,
    alpha: Number = 1.0,
    fit_intercept: bool = True,
    max_iter: int = 1000,
    tol: Number = 1e-4,
    positive: bool = False,
) -> Lasso:
    """The model of the rows that `moments` summed up, as in `elastic_net.solve`.

    Args:
        moments: from `stats`, `merge` or `subtract`.
        alpha: as in `fit`, as are those that follow.
        fit_intercept: as in `fit`.
        max_iter: as in `fit`.
        tol: as in `fit`.
        positive: as in `fit`.

    Returns:
        The model, its targets always [t].

    Raises:
        ValueError: if a number is out of its range.
    """
    model = elastic_net.solve(
        moments,
        alpha=alpha,
        l1_ratio=1.0,
        fit_intercept=fit_intercept,
        max_iter=max_iter,
        tol=tol,
        positive=positive,
    )
    return Lasso(*model)


def alpha_grid(
    x: Float[Array, "n d"],
    y: Float[Array, "n *t"],
    *,
    fit_intercept: bool = True,
    eps: Number = 1e-3,
    n_alphas: int = 100,
    positive: bool = False,
    sample_weight: Float[Array, "n"] | None = None,
) -> Float[Array, "a"]:
    """Values of alpha from the least that makes all coefficients 0, falling.

    The arguments are those of `elastic_net.alpha_grid`.

    Raises:
        ValueError: if shapes do not fit or a number is out of its range.
    """
    return elastic_net.alpha_grid(
        x,
        y,
        l1_ratio=1.0,
        fit_intercept=fit_intercept,
        eps=eps,
        n_alphas=n_alphas,
        positive=positive,
        sample_weight=sample_weight,
    )


@jax.jit
def predict(model: Lasso, x: Float[Array, "m d"]) -> Float[Array, "m *t"]:
    """The linear map of every row of `x`."""
    return linalg.affine(x, model.coef, model.intercept)
