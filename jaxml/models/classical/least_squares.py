"""Linear regression by least squares: the coefficients that scikit-learn's SVD finds.

    model = least_squares.fit(x, y)
    y_hat = least_squares.predict(model, x_new)

Normal equations, refined with residuals of the rows; the solution of least norm where
the columns of `x` are collinear or more than its rows. What a fit needs of the rows are
sums (`stats`), which merge, subtract and shard:

    everything = least_squares.merge(stats_of_monday, stats_of_tuesday)
    model = least_squares.solve(everything)

Letters: n rows, d features, t targets.

References:
    Björck, 1996. Numerical Methods for Least Squares Problems, section 6.6.5.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxml.ops import check, linalg
from jaxml.ops.moments import Moments, merge, stats, subtract
from jaxml.optim import normal

__all__ = [
    "LeastSquares",
    "Moments",
    "fit",
    "merge",
    "predict",
    "solve",
    "stats",
    "subtract",
]


class LeastSquares(NamedTuple):
    """A fitted linear map."""

    coef: Float[Array, "*t d"]
    intercept: Float[Array, "*t"]
    rank: Int[Array, ""]  # of the centred, weighted x
    singular: Float[Array, "s"]  # its singular values, falling
    converged: Bool[Array, ""]  # False: the data are not finite, or have no weight


def fit(
    x: Float[Array, "n d"],
    y: Float[Array, "n *t"],
    *,
    fit_intercept: bool = True,
    sample_weight: Float[Array, "n"] | None = None,
) -> LeastSquares:
    """Minimise the weighted sum of squared residuals.

    Args:
        x: rows.
        y: targets, one [n] or several [n, t].
        fit_intercept: False: the map goes through the origin.
        sample_weight: what each row counts, at least 0; 0 is an absent row.

    Returns:
        The minimiser; where there are many, that of least norm of the coefficients.
        Derivatives are those of the implicit function, for `x` of full rank.

    Raises:
        ValueError: if the shapes do not fit.

    >>> x = jnp.array([[0.0], [1.0], [2.0]])
    >>> fit(x, jnp.array([1.0, 3.0, 5.0])).coef
    Array([2.], dtype=float32)
    """
    check.rows(x, y, sample_weight)
    return _fit(x, y, sample_weight, fit_intercept)


@partial(jax.jit, static_argnames="fit_intercept")
def _fit(x, y, sample_weight, fit_intercept):
    coef, intercept, spectrum = normal.fit(
        x, y.reshape(len(x), -1), 0.0, sample_weight, fit_intercept
    )
    return _shaped(coef, intercept, spectrum, y.shape[1:])


@partial(jax.jit, static_argnames="fit_intercept")
def solve(moments: Moments, *, fit_intercept: bool = True) -> LeastSquares:
    """The model of the rows that `moments` summed up.

    Without the rows nothing can be refined: in float32 the coefficients have about
    7 - 2 log10(condition of x) digits. Sum up in float64 where that is too few.

    Args:
        moments: from `stats`, `merge` or `subtract`.
        fit_intercept: as in `fit`.

    Returns:
        The model, its targets always [t].
    """
    coef, intercept, spectrum = normal.solve(moments, 0.0, fit_intercept)
    return _shaped(coef, intercept, spectrum, moments.mean_y.shape)


@jax.jit
def predict(model: LeastSquares, x: Float[Array, "m d"]) -> Float[Array, "m *t"]:
    """The linear map of every row of `x`."""
    return linalg.affine(x, model.coef, model.intercept)


def _shaped(coef, intercept, spectrum, targets):
    finite = jnp.isfinite(coef).all() & jnp.isfinite(intercept).all()
    return LeastSquares(
        coef.reshape(*targets, -1),
        intercept.reshape(targets),
        spectrum.rank,
        spectrum.singular,
        finite,
    )
