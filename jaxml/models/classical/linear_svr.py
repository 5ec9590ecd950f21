"""Linear support vector regression: losses that forgive small errors.

model = linear_svr.fit(x, y, epsilon=0.1)
y_hat = linear_svr.predict(model, x)

Letters: n rows, d features.

References:
    Ho and Lin, 2012. Large-scale linear support vector regression. JMLR 13.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxml.models.classical import linear_svm
from jaxml.models.classical.linear_svm import Number
from jaxml.ops import check

__all__ = ["LinearSVR", "fit", "predict"]


class LinearSVR(NamedTuple):
    """A prediction that is linear in the features."""

    coef: Float[Array, "d"]
    intercept: Float[Array, "1"]
    n_iter: Int[Array, ""]
    converged: Bool[Array, ""]


def fit(
    x: Float[Array, "n d"],
    y: Float[Array, "n"],
    *,
    epsilon: Number = 0.0,
    loss: str = "epsilon_insensitive",
    C: Number = 1.0,  # noqa: N803
    fit_intercept: bool = True,
    intercept_scaling: Number = 1.0,
    tol: Number = 1e-4,
    max_iter: int = 1000,
    sample_weight: Float[Array, "n"] | None = None,
) -> LinearSVR:
    """Fit min ½|w|² + ½ (b / scale)² + Σ C_i max(0, |y_i - f(x_i)| - ε), or squared.

        >>> x = jnp.array([[-2.0], [-1.0], [1.0], [2.0]])
        >>> model = fit(x, 3.0 * x[:, 0], C=10.0)
        >>> model.coef.round(2)
        Array([3.], dtype=float32)

    Args:
        x: rows. The penalty mixes the units of all features: scale them first.
        y: targets.
        epsilon: error that costs nothing, in units of `y`, from 0.
        loss: "epsilon_insensitive", or "squared_epsilon_insensitive".
        C: weight of the losses against the penalty, above 0.
        fit_intercept: whether there is an intercept.
        intercept_scaling: how little the intercept is penalised, above 0.
        tol: relative precision of the coefficients; that of the objective is its
            square, or the last digits.
        max_iter: bound on the steps, of which some 10 to 30 are needed.
        sample_weight: factor of C for each row; 0 is an absent row.

    Returns:
        The model; differentiable with respect to the data, the weights, ε and C.

    Raises:
        ValueError: if shapes disagree, the loss is unknown or a number is senseless.
    """
    check.rows(x, y, sample_weight)
    if y.ndim != 1:
        raise ValueError(f"y must be one target for each row; got {list(y.shape)}")
    names = ("epsilon_insensitive", "squared_epsilon_insensitive")
    check.one_of("loss", loss, names)
    check.at_least("epsilon", epsilon, 0)
    check.above("C", C, 0)
    check.above("intercept_scaling", intercept_scaling, 0)
    check.at_least("tol", tol, 0)
    check.size("max_iter", max_iter, 1)
    return _fit(
        x,
        y,
        epsilon,
        C,
        intercept_scaling,
        tol,
        sample_weight,
        squared=loss == names[1],
        fit_intercept=fit_intercept,
        max_iter=max_iter,
    )


@partial(jax.jit, static_argnames=("squared", "fit_intercept", "max_iter"))
def _fit(
    x,
    y,
    epsilon,
    cost,
    intercept_scaling,
    tol,
    weight,
    *,
    squared,
    fit_intercept,
    max_iter,
):
    y, epsilon = y.astype(x.dtype), jnp.asarray(epsilon, x.dtype)
    costs = jnp.broadcast_to(jnp.asarray(cost, x.dtype), y.shape)
    if weight is not None:
        costs = costs * weight.astype(x.dtype)
    one = jnp.ones_like(y)
    solution = linear_svm.minimize(
        x,
        jnp.stack([one, -one]),  # too low, too high
        jnp.stack([y - epsilon, -y - epsilon]),
        costs,
        squared=squared,
        fit_intercept=fit_intercept,
        intercept_scaling=intercept_scaling,
        tol=tol,
        max_iter=max_iter,
    )
    coef, intercept = linear_svm.split(solution.value, x)
    info = solution.info
    return LinearSVR(coef, intercept[None], info.n_iter, info.converged)


@jax.jit
def predict(model: LinearSVR, x: Float[Array, "m d"]) -> Float[Array, "m"]:
    """Predict the target of every row."""
    product = jnp.matmul(x, model.coef, precision=jax.lax.Precision.HIGHEST)
    return product + model.intercept[0]
