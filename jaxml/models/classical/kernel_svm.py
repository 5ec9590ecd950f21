"""What all support vector machines with kernels share: the Gram matrix and f(x).

width = kernel_svm.width(x, "scale")  # gamma
matrix = kernel_svm.gram(x, "rbf", width, 3, 0.0, limit=GRAM_LIMIT, sharded=False)
values = kernel_svm.values(model, x)  # [m, t], before the intercepts

Letters: n rows, m new rows, d features, t columns of coefficients.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxml.ops import check, kernels
from jaxml.optim import gram as grams

__all__ = [
    "GRAM_LIMIT",
    "Kind",
    "Regressor",
    "compact",
    "door",
    "gram",
    "iterations",
    "one_target",
    "predict",
    "regressor",
    "sharded",
    "values",
    "width",
]

GRAM_LIMIT = 2_500_000_000  # bytes of a Gram matrix that may be held whole
BLOCK_BYTES = 2**28  # of the kernel between new rows and a block of the fitted ones
Number = float | Float[Array, ""]


@jax.tree_util.register_static
@dataclass(frozen=True)
class Kind:
    """The kernel of a fitted machine: what of it is no array."""

    name: kernels.Kernel
    degree: int = 3


class Regressor(NamedTuple):
    """One function of the rows: of a regression, or the edge of one class.

    Rows that are no support vectors have zero coefficients.
    """

    support_vectors: Float[Array, "n d"]  # all rows of the fit (none: precomputed)
    dual_coef: Float[Array, "1 n"]
    intercept: Float[Array, "1"]
    support: Int[Array, "n"]  # row number in the fit, -1: no support vector
    n_support: Int[Array, "1"]
    gamma: Float[Array, ""]
    coef0: Float[Array, ""]
    n_iter: Int[Array, ""]
    converged: Bool[Array, ""]
    kernel: Kind  # no array


def door(x: Any, y: Any, sample_weight: Any, kernel: kernels.Kernel, **numbers) -> None:
    """Refuse what no machine can fit.

    Raises:
        ValueError: if shapes disagree, the kernel is unknown or a number is senseless.
    """
    check.rows(x, y, sample_weight)
    if not callable(kernel):
        check.one_of("kernel", kernel, (*kernels.KERNELS, "precomputed"))
    if kernel == "precomputed" and x.shape[0] != x.shape[1]:
        raise ValueError(
            f"x must be the square Gram matrix for kernel='precomputed'; "
            f"got {list(x.shape)}"
        )
    gamma = numbers.pop("gamma")
    if isinstance(gamma, str):
        check.one_of("gamma", gamma, ("scale", "auto"))
    else:
        check.at_least("gamma", gamma, 0)
    check.size("degree", numbers.pop("degree"), 0)
    check.size("max_iter", numbers.pop("max_iter"), -1)
    if "nu" in numbers:
        check.between("nu", numbers["nu"], 0, 1)
    for name, number in numbers.items():
        (check.at_least if name == "epsilon" else check.above)(name, number, 0)


def one_target(y: Any) -> None:
    """Refuse targets that are not one number for each row.

    Raises:
        ValueError: if `y` is no floating vector.
    """
    if y.ndim != 1 or not jnp.issubdtype(y.dtype, jnp.floating):
        raise ValueError(
            f"y must be one floating number for each row; got {y.dtype}{list(y.shape)}"
        )


def iterations(max_iter: int, n: int) -> int:
    """The bound on the pairs: -1 is that of LIBSVM, max(10⁷, 100 n)."""
    return max_iter if max_iter >= 0 else max(10_000_000, 100 * n)


def width(
    x: Float[Array, "n d"],
    gamma: str | Number,
    sample_weight: Float[Array, "n"] | None = None,
) -> Float[Array, ""]:
    """Resolve `gamma`: "scale" is 1 / (d variance of x), "auto" 1 / d.

    Args:
        x: rows.
        gamma: a rule or the number itself.
        sample_weight: how much each row counts in the variance.

    Returns:
        The factor of the kernel.
    """
    if not isinstance(gamma, str):
        return jnp.asarray(gamma, x.dtype)
    if gamma == "auto":
        return jnp.asarray(1 / x.shape[1], x.dtype)
    return _scale(x, sample_weight)


@jax.jit
def _scale(x, weight):
    weight = jnp.ones(len(x), x.dtype) if weight is None else weight
    share = weight / weight.sum()
    mean = (share @ x).mean()
    variance = (share @ (x - mean) ** 2).mean()
    return jnp.where(variance > 0, 1 / (x.shape[1] * variance), 1)


def sharded(x: Any) -> bool:
    """Whether `x` is known to lie on several devices."""
    try:
        return len(x.devices()) > 1
    except (AttributeError, jax.errors.ConcretizationTypeError):
        return False


def gram(
    x: Float[Array, "n d"],
    kernel: kernels.Kernel,
    gamma: Number,
    degree: int,
    coef0: Number,
    *,
    limit: int,
    sharded: bool,
) -> grams.Gram:
    """Wrap the Gram matrix of `x`, whole if it takes at most `limit` bytes.

    Rows on several devices are never gathered: the matrix is then made row by row.
    """
    n = len(x)
    if kernel == "precomputed":
        return grams.dense(x)
    options: dict[str, Any] = {
        "kernel": kernel,
        "gamma": gamma,
        "degree": degree,
        "coef0": coef0,
    }
    if not sharded and n * n * x.dtype.itemsize <= limit:
        return grams.dense(kernels.gram(x, x, **options))
    if kernel == "rbf":  # a shift moves no distance and keeps them exact
        x = x - x.mean(0, keepdims=True)
    squares = (x**2).sum(1)

    def fetch(number):
        if not sharded:
            return x[number]
        return jnp.matmul(
            jax.nn.one_hot(number, n, dtype=x.dtype), x, precision="highest"
        )

    return grams.lazy(
        fetch,
        lambda z: kernels.row(x, z, squares=squares, **options),
        lambda z: kernels.gram(x, z, **options),
        kernels.diagonal(x, **options),
    )


def values(model: Any, x: Float[Array, "m d"], coef: Float[Array, "n t"]) -> Array:
    """K(x, rows) coef, by blocks of the fitted rows where the kernel is large.

    Args:
        model: with `support_vectors`, `support`, `kernel`, `gamma` and `coef0`.
        x: new rows; for a precomputed kernel, their kernel with all rows of the fit.
        coef: coefficients of the fitted rows.

    Returns:
        [m, t].

    Raises:
        ValueError: if `x` has another number of columns than the rows of the fit.
    """
    product = partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
    if model.kernel.name == "precomputed":
        return product(x[:, jnp.maximum(model.support, 0)], coef)
    rows = model.support_vectors
    if x.shape[1] != rows.shape[1]:
        raise ValueError(
            f"x must have the {rows.shape[1]} columns of the fit; got {list(x.shape)}"
        )
    of = partial(
        kernels.gram,
        kernel=model.kernel.name,
        gamma=model.gamma,
        degree=model.kernel.degree,
        coef0=model.coef0,
    )
    n, m = len(rows), len(x)
    block = max(1, BLOCK_BYTES // (m * x.dtype.itemsize))
    if n <= block:
        return product(of(x, rows), coef)
    pad = -n % block
    rows = jnp.pad(rows, ((0, pad), (0, 0))).reshape(-1, block, rows.shape[1])
    parts = jnp.pad(coef, ((0, pad), (0, 0))).reshape(-1, block, coef.shape[1])

    def add(total, part):
        return total + product(of(x, part[0]), part[1]), None

    zero = jnp.zeros((m, coef.shape[1]), x.dtype)
    return jax.lax.scan(add, zero, (rows, parts))[0]


def numbering(coef: Float[Array, "t n"]) -> Array:
    """Row numbers of the support vectors, -1 for the other rows."""
    n = coef.shape[1]
    return jnp.where((coef != 0).any(0), jnp.arange(n, dtype=jnp.int32), -1)


def keep(model: Any, order: np.ndarray) -> dict[str, Any]:
    """The fields of `model` that have one entry for each row, at the rows `order`."""
    return {
        "support_vectors": model.support_vectors[order],
        "dual_coef": model.dual_coef[:, order],
        "support": model.support[order],
    }


def regressor(x, beta, bias, info, kind, gamma, coef0) -> Regressor:
    """The state, from the solution of one dual."""
    coef = beta.sum(0)[None]
    support = numbering(coef)
    return Regressor(
        support_vectors=x[:, :0] if kind.name == "precomputed" else x,
        dual_coef=coef,
        intercept=bias,
        support=support,
        n_support=(support >= 0).sum(keepdims=True).astype(jnp.int32),
        gamma=gamma,
        coef0=coef0,
        n_iter=info.n_iter,
        converged=info.converged,
        kernel=kind,
    )


def compact(model: Regressor) -> Regressor:
    """Drop the rows that are no support vectors.

    The fields are then those of scikit-learn. It looks at the values: not under jit.
    """
    return model._replace(**keep(model, np.flatnonzero(np.asarray(model.support) >= 0)))


@jax.jit
def predict(model: Regressor, x: Float[Array, "m d"]) -> Float[Array, "m"]:
    """Compute the function for every row of `x`.

    Args:
        model: a fitted regressor.
        x: rows; for a precomputed kernel, their kernel with all rows of the fit.

    Returns:
        One value for each row.
    """
    return values(model, x, model.dual_coef.T)[:, 0] + model.intercept[0]
