"""Ridge regression: least squares with a penalty on the squared coefficients.

    model = ridge.fit(x, y, alpha=1.0)
    y_hat = ridge.predict(model, x_new)
    models = ridge.path(x, y, alphas=jnp.logspace(-3, 3, 100))    # one factorisation

Normal equations by Cholesky, refined with residuals of the rows; with more columns than
rows, their dual. What a fit needs of the rows are sums (`stats`), which merge, subtract
and shard, so k folds are one pass over the rows:

    rest = ridge.subtract(everything, fold)
    model = ridge.solve(rest, alpha=1.0)

Letters: n rows, d features, t targets, a values of alpha.

References:
    Hoerl and Kennard, 1970. Ridge regression. Technometrics 12(1), eq. 2.1.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxml.ops import check, linalg
from jaxml.ops.moments import Moments, merge, stats, subtract
from jaxml.optim import normal

__all__ = [
    "Moments",
    "Ridge",
    "fit",
    "merge",
    "path",
    "predict",
    "solve",
    "solve_path",
    "stats",
    "subtract",
]


class Ridge(NamedTuple):
    """A fitted linear map."""

    coef: Float[Array, "*t d"]
    intercept: Float[Array, "*t"]
    converged: Bool[Array, "*a"]  # False: data not finite, or without weight


def fit(
    x: Float[Array, "n d"],
    y: Float[Array, "n *t"],
    *,
    alpha: float | Float[Array, "*t"] = 1.0,
    fit_intercept: bool = True,
    sample_weight: Float[Array, "n"] | None = None,
) -> Ridge:
    """Minimise the weighted sum of squared residuals plus alpha |coef|².

    Args:
        x: rows. The penalty mixes the units of the features: scale them first.
        y: targets, one [n] or several [n, t].
        alpha: strength of the penalty, at least 0, one for all targets or one for each.
        fit_intercept: False: the map goes through the origin. It is not penalised.
        sample_weight: what each row counts, at least 0; 0 is an absent row.

    Returns:
        The minimiser, differentiable in `alpha`, `x`, `y` and the weights.

    Raises:
        ValueError: if the shapes do not fit or alpha is negative.

    >>> x = jnp.array([[-1.0], [0.0], [1.0]])
    >>> fit(x, jnp.array([-3.0, 0.0, 3.0]), alpha=1.0).coef
    Array([2.], dtype=float32)
    """
    check.rows(x, y, sample_weight)
    check.at_least("alpha", alpha, 0)
    if jnp.shape(alpha) not in ((), y.shape[1:]):
        raise ValueError(
            f"alpha must be one number, or one for each target {list(y.shape[1:])}; "
            f"got {list(jnp.shape(alpha))}"
        )
    return _fit(x, y, alpha, sample_weight, fit_intercept)


@partial(jax.jit, static_argnames="fit_intercept")
def _fit(x, y, alpha, sample_weight, fit_intercept):
    alpha = jnp.asarray(alpha, x.dtype)
    columns = y.reshape(len(x), -1)
    if alpha.ndim:  # one inverse for each target
        one = lambda column, alpha: normal.fit(
            x, column[:, None], alpha, sample_weight, fit_intercept
        )
        coef, intercept, _ = jax.vmap(one, in_axes=(1, 0))(columns, alpha)
    else:
        coef, intercept, _ = normal.fit(x, columns, alpha, sample_weight, fit_intercept)
    return _shaped(coef, intercept, y.shape[1:])


def path(
    x: Float[Array, "n d"],
    y: Float[Array, "n *t"],
    *,
    alphas: Float[Array, "a"],
    fit_intercept: bool = True,
    sample_weight: Float[Array, "n"] | None = None,
) -> Ridge:
    """The models of many values of alpha, from one factorisation.

    Args:
        x: rows.
        y: targets, one [n] or several [n, t].
        alphas: strengths of the penalty, above 0.
        fit_intercept: as in `fit`.
        sample_weight: as in `fit`.

    Returns:
        The models, stacked along a first axis [a].

    Raises:
        ValueError: if the shapes do not fit.
    """
    check.rows(x, y, sample_weight)
    return _path(x, y, alphas, sample_weight, fit_intercept)


@partial(jax.jit, static_argnames="fit_intercept")
def _path(x, y, alphas, sample_weight, fit_intercept):
    columns = y.reshape(len(x), -1)
    coef, intercept = normal.path(
        x, columns, alphas.astype(x.dtype), sample_weight, fit_intercept
    )
    return jax.vmap(lambda c, i: _shaped(c, i, y.shape[1:]))(coef, intercept)


@partial(jax.jit, static_argnames="fit_intercept")
def solve(
    moments: Moments,
    *,
    alpha: float | Float[Array, ""] = 1.0,
    fit_intercept: bool = True,
) -> Ridge:
    """The model of the rows that `moments` summed up.

    Args:
        moments: from `stats`, `merge` or `subtract`.
        alpha: strength of the penalty, at least 0.
        fit_intercept: as in `fit`.

    Returns:
        The model, its targets always [t]; not refined, see `least_squares.solve`.
    """
    coef, intercept, _ = normal.solve(moments, alpha, fit_intercept)
    return _shaped(coef, intercept, moments.mean_y.shape)


@partial(jax.jit, static_argnames="fit_intercept")
def solve_path(
    moments: Moments, *, alphas: Float[Array, "a"], fit_intercept: bool = True
) -> Ridge:
    """The models of many values of alpha, from sums over the rows.

    Args:
        moments: from `stats`, `merge` or `subtract`.
        alphas: strengths of the penalty, above 0.
        fit_intercept: as in `fit`.

    Returns:
        The models, stacked along a first axis [a], their targets always [t].
    """
    coef, intercept = normal.solve_path(
        moments, alphas.astype(moments.gram.dtype), fit_intercept
    )
    return jax.vmap(lambda c, i: _shaped(c, i, moments.mean_y.shape))(coef, intercept)


@jax.jit
def predict(model: Ridge, x: Float[Array, "m d"]) -> Float[Array, "m *t"]:
    """The linear map of every row of `x`."""
    return linalg.affine(x, model.coef, model.intercept)


def _shaped(coef, intercept, targets):
    finite = jnp.isfinite(coef).all() & jnp.isfinite(intercept).all()
    return Ridge(coef.reshape(*targets, -1), intercept.reshape(targets), finite)
