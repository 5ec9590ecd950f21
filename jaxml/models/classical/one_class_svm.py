"""The edge of a set of rows: novelty detection by a one-class support vector machine.

model = one_class_svm.fit(x, nu=0.1)
inside = one_class_svm.predict(model, x)  # 1 inside, -1 outside

Letters: n rows, d features, m new rows.

References:
    Schölkopf, Platt, Shawe-Taylor, Smola and Williamson, 2001. Estimating the support
    of a high-dimensional distribution. Neural Computation 13.
    Chang and Lin, 2011. LIBSVM: a library for support vector machines. ACM TIST 2(3).
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxml.models.classical import kernel_svm
from jaxml.models.classical.kernel_svm import (
    GRAM_LIMIT,
    Number,
    Regressor,
    compact,
)
from jaxml.ops import kernels
from jaxml.optim import smo

__all__ = [
    "Regressor",
    "compact",
    "decision_function",
    "fit",
    "predict",
    "score_samples",
]


def fit(
    x: Float[Array, "n d"],
    *,
    kernel: kernels.Kernel = "rbf",
    degree: int = 3,
    gamma: str | Number = "scale",
    coef0: Number = 0.0,
    tol: Number = 1e-3,
    nu: Number = 0.5,
    sample_weight: Float[Array, "n"] | None = None,
    max_iter: int = -1,
    gram_limit: int = GRAM_LIMIT,
) -> Regressor:
    """Fit min ½|w|² - ν ρ W + Σ w_i max(0, ρ - w·φ(x_i)), W the sum of the weights.

        >>> x = jnp.array([[-2.0], [-1.0], [1.0], [2.0]])
        >>> model = fit(x, gamma=0.1, nu=0.1)
        >>> predict(model, jnp.array([[0.0], [9.0]]))
        Array([ 1, -1], dtype=int32)

    Args:
        x: rows. Kernels mix the units of all features: scale them first. The square
            Gram matrix where `kernel` is "precomputed".
        kernel: "linear", "poly", "rbf", "sigmoid", "precomputed", or a function from
            [n, d] and [m, d] to [n, m].
        degree: power of "poly".
        gamma: factor of the kernel; "scale" is 1 / (d variance of x), weighted by
            `sample_weight`, and "auto" is 1 / d.
        coef0: what "poly" and "sigmoid" add.
        tol: greatest violation of the optimality conditions at which to stop.
        nu: at most this share of the rows is outside, and at least this share are
            support vectors; above 0 and at most 1.
        sample_weight: how much each row counts; 0 is an absent row.
        max_iter: bound on the steps; -1 is max(10⁷, 100 n).
        gram_limit: bytes up to which the Gram matrix is held whole. Rows that lie on
            several devices are not gathered for it: it is made row by row.

    Returns:
        The model, differentiable with respect to the data, ν and the kernel.

    Raises:
        ValueError: if shapes disagree, a choice is unknown or a number is senseless.
    """
    numbers = {"tol": tol, "gamma": gamma, "degree": degree, "nu": nu}
    kernel_svm.door(x, None, sample_weight, kernel, max_iter=max_iter, **numbers)
    return _fit(
        x,
        sample_weight,
        nu,
        kernel_svm.width(x, gamma, sample_weight),
        coef0,
        tol,
        kernel=kernel,
        degree=degree,
        max_iter=kernel_svm.iterations(max_iter, len(x)),
        limit=gram_limit,
        sharded=kernel_svm.sharded(x),
    )


@partial(jax.jit, static_argnames=("kernel", "degree", "max_iter", "limit", "sharded"))
def _fit(
    x,
    weight,
    nu,
    gamma,
    coef0,
    tol,
    *,
    kernel,
    degree,
    max_iter,
    limit,
    sharded,
):
    coef0 = jnp.asarray(coef0, x.dtype)
    matrix = kernel_svm.gram(
        x, kernel, gamma, degree, coef0, limit=limit, sharded=sharded
    )
    room = jnp.ones(len(x), x.dtype) if weight is None else weight.astype(x.dtype)
    room = room[None]
    solution = smo.minimize(
        matrix,
        jnp.zeros_like(room),
        jnp.zeros_like(room),
        room,
        start=smo.filled(room, jnp.asarray(nu, x.dtype) * room.sum()),
        tol=tol,
        max_iter=max_iter,
    )
    kind = kernel_svm.Kind(kernel, degree)
    beta, bias = solution.value
    return kernel_svm.regressor(x, beta, bias, solution.info, kind, gamma, coef0)


def decision_function(model: Regressor, x: Float[Array, "m d"]) -> Float[Array, "m"]:
    """Height of every row above the edge: positive inside."""
    return kernel_svm.predict(model, x)


@jax.jit
def score_samples(model: Regressor, x: Float[Array, "m d"]) -> Float[Array, "m"]:
    """The same without the intercept: w·φ(x)."""
    return kernel_svm.predict(model, x) - model.intercept[0]


@jax.jit
def predict(model: Regressor, x: Float[Array, "m d"]) -> Int[Array, "m"]:
    """Tell the rows inside (1) from those outside (-1)."""
    return jnp.where(kernel_svm.predict(model, x) >= 0, 1, -1).astype(jnp.int32)
