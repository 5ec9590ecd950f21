"""Support vector regression where ν bounds the share of rows outside of the tube.

model = nu_svr.fit(x, y, C=10.0, nu=0.2)
y_hat = nu_svr.predict(model, x)

Letters: n rows, d features, m new rows.

References:
    Schölkopf, Smola, Williamson and Bartlett, 2000. New support vector algorithms.
    Neural Computation 12.
    Chang and Lin, 2011. LIBSVM: a library for support vector machines. ACM TIST 2(3).
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxml.models.classical import kernel_svm
from jaxml.models.classical.kernel_svm import (
    GRAM_LIMIT,
    Number,
    Regressor,
    compact,
    predict,
)
from jaxml.ops import kernels
from jaxml.optim import smo

__all__ = ["Regressor", "compact", "fit", "predict"]


def fit(
    x: Float[Array, "n d"],
    y: Float[Array, "n"],
    *,
    kernel: kernels.Kernel = "rbf",
    degree: int = 3,
    gamma: str | Number = "scale",
    coef0: Number = 0.0,
    tol: Number = 1e-3,
    nu: Number = 0.5,
    C: Number = 1.0,  # noqa: N803
    sample_weight: Float[Array, "n"] | None = None,
    max_iter: int = -1,
    gram_limit: int = GRAM_LIMIT,
) -> Regressor:
    """Fit min ½|w|² + Σ C_i (ν ε + max(0, |y_i - f(x_i)| - ε)), over ε too.

        >>> x = jnp.array([[-2.0], [-1.0], [1.0], [2.0]])
        >>> model = fit(x, 3.0 * x[:, 0], kernel="linear", C=10.0)
        >>> predict(model, x).round(2)
        Array([-6., -3.,  3.,  6.], dtype=float32)

    Args:
        x: rows. Kernels mix the units of all features: scale them first. The square
            Gram matrix where `kernel` is "precomputed".
        y: targets.
        kernel: "linear", "poly", "rbf", "sigmoid", "precomputed", or a function from
            [n, d] and [m, d] to [n, m].
        degree: power of "poly".
        gamma: factor of the kernel; "scale" is 1 / (d variance of x), weighted by
            `sample_weight`, and "auto" is 1 / d.
        coef0: what "poly" and "sigmoid" add.
        tol: greatest violation of the optimality conditions at which to stop.
        C: weight of the losses, above 0.
        nu: at most this share of the rows is outside of the tube |y - f| ≤ ε, and at
            least this share are support vectors; above 0 and at most 1.
        sample_weight: factor of C for each row; 0 is an absent row.
        max_iter: bound on the steps; -1 is max(10⁷, 100 n).
        gram_limit: bytes up to which the Gram matrix is held whole. Rows that lie on
            several devices are not gathered for it: it is made row by row.

    Returns:
        The model, differentiable with respect to the data, ν, C and the kernel.

    Raises:
        ValueError: if shapes disagree, a choice is unknown or a number is senseless.
    """
    numbers = {"C": C, "tol": tol, "gamma": gamma, "degree": degree, "nu": nu}
    kernel_svm.door(x, y, sample_weight, kernel, max_iter=max_iter, **numbers)
    kernel_svm.one_target(y)
    return _fit(
        x,
        y,
        sample_weight,
        C,
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
    y,
    weight,
    cost,
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
    room = jnp.broadcast_to(jnp.asarray(cost, x.dtype), y.shape)
    room = (room if weight is None else room * weight.astype(x.dtype))[None]
    # Rows above and below the tube keep their sums: a side of the dual for each.
    high = jnp.concatenate([room, room])
    share = jnp.stack([jnp.ones((), x.dtype), -jnp.ones((), x.dtype)])[:, None]
    total = 0.5 * jnp.asarray(nu, x.dtype) * room.sum()
    solution = smo.minimize(
        matrix,
        -jnp.stack([y, y]).astype(x.dtype),
        jnp.where(share < 0, -high, 0),
        jnp.where(share > 0, high, 0),
        start=share * smo.filled(high, total),
        tol=tol,
        max_iter=max_iter,
    )
    kind = kernel_svm.Kind(kernel, degree)
    beta, bias = solution.value
    bias = bias.mean(keepdims=True)  # the tube is as wide above as below
    return kernel_svm.regressor(x, beta, bias, solution.info, kind, gamma, coef0)
