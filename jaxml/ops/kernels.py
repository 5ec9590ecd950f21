"""Gram matrices: the kernel of every row of one set with every row of another.

gram = kernels.rbf(x, z, gamma=0.5)  # [n, m]
gram = kernels.gram(x, z, kernel="poly", gamma=0.5, degree=3, coef0=1.0)
values = kernels.row(x, x[0], kernel="rbf", gamma=0.5)  # [n]

Letters: n and m rows, d features.

References:
    Schölkopf and Smola, 2002. Learning with kernels. MIT Press, section 2.3.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxml.ops import check

__all__ = [
    "KERNELS",
    "Kernel",
    "diagonal",
    "gram",
    "linear",
    "poly",
    "rbf",
    "row",
    "sigmoid",
]

KERNELS = ("linear", "poly", "rbf", "sigmoid")
Kernel = str | Callable[[Array, Array], Array]  # a name, or k([n, d], [m, d]) -> [n, m]
Number = float | Float[Array, ""]


def gram(
    x: Float[Array, "n d"],
    z: Float[Array, "m d"],
    *,
    kernel: Kernel = "rbf",
    gamma: Number = 1.0,
    degree: int = 3,
    coef0: Number = 0.0,
) -> Float[Array, "n m"]:
    """Compute the kernel of every row of `x` with every row of `z`.

    Args:
        x: rows.
        z: other rows; one row is `z[None]`.
        kernel: one of `KERNELS`, or a function of (x, z).
        gamma: factor of the inner product ("poly", "sigmoid") or of the squared
            distance ("rbf").
        degree: power of "poly", from 0.
        coef0: what "poly" and "sigmoid" add to the inner product.

    Returns:
        The Gram matrix.

        >>> x = jnp.array([[0.0], [2.0]])
        >>> gram(x, x, kernel="poly", degree=2, coef0=1.0)
        Array([[ 1.,  1.],
               [ 1., 25.]], dtype=float32)

    Raises:
        ValueError: if the kernel is unknown or `degree` is negative.
    """
    if callable(kernel):
        return kernel(x, z)
    check.one_of("kernel", kernel, KERNELS)
    if kernel == "linear":
        return linear(x, z)
    if kernel == "rbf":
        return rbf(x, z, gamma=gamma)
    if kernel == "sigmoid":
        return sigmoid(x, z, gamma=gamma, coef0=coef0)
    return poly(x, z, degree=degree, gamma=gamma, coef0=coef0)


def linear(x: Float[Array, "n d"], z: Float[Array, "m d"]) -> Float[Array, "n m"]:
    """Inner products x·z."""
    return jnp.matmul(x, z.T, precision=jax.lax.Precision.HIGHEST)


def poly(
    x: Float[Array, "n d"],
    z: Float[Array, "m d"],
    *,
    degree: int = 3,
    gamma: Number = 1.0,
    coef0: Number = 0.0,
) -> Float[Array, "n m"]:
    """Polynomials (γ x·z + c)^degree.

    Raises:
        ValueError: if `degree` is negative.
    """
    gamma, coef0 = jnp.asarray(gamma, x.dtype), jnp.asarray(coef0, x.dtype)
    return _of_inner(linear(x, z), "poly", gamma, degree, coef0)


def sigmoid(
    x: Float[Array, "n d"],
    z: Float[Array, "m d"],
    *,
    gamma: Number = 1.0,
    coef0: Number = 0.0,
) -> Float[Array, "n m"]:
    """Hyperbolic tangents tanh(γ x·z + c); not positive definite."""
    gamma, coef0 = jnp.asarray(gamma, x.dtype), jnp.asarray(coef0, x.dtype)
    return _of_inner(linear(x, z), "sigmoid", gamma, 0, coef0)


def rbf(
    x: Float[Array, "n d"], z: Float[Array, "m d"], *, gamma: Number = 1.0
) -> Float[Array, "n m"]:
    """Gaussians exp(-γ |x - z|²)."""
    # |x|² + |z|² - 2 x·z cancels where the rows lie far from the origin: subtract a
    # center first, which moves no distance. Rounding may still leave less than 0.
    center = jax.lax.stop_gradient(z.mean(0, keepdims=True))
    x, z = x - center, z - center
    squares = (x**2).sum(1)[:, None] + (z**2).sum(1)[None] - 2 * linear(x, z)
    return jnp.exp(-jnp.asarray(gamma, x.dtype) * jnp.maximum(squares, 0))


def row(
    x: Float[Array, "n d"],
    z: Float[Array, "d"],
    *,
    kernel: Kernel = "rbf",
    gamma: Number = 1.0,
    degree: int = 3,
    coef0: Number = 0.0,
    squares: Float[Array, "n"] | None = None,
) -> Float[Array, "n"]:
    """Compute the kernel of every row of `x` with the one row `z`.

    Args:
        x: rows.
        z: the row.
        kernel: as in `gram`.
        gamma: as in `gram`.
        degree: as in `gram`.
        coef0: as in `gram`.
        squares: |x|² of every row, for many calls with "rbf"; the rows should then be
            centered. Default: the differences are taken, which cancels nothing.

    Returns:
        One row of the Gram matrix.

    Raises:
        ValueError: if the kernel is unknown or `degree` is negative.
    """
    if callable(kernel):
        return kernel(x, z[None])[:, 0]
    check.one_of("kernel", kernel, KERNELS)
    gamma, coef0 = jnp.asarray(gamma, x.dtype), jnp.asarray(coef0, x.dtype)
    inner = jnp.matmul(x, z, precision=jax.lax.Precision.HIGHEST)
    if kernel == "rbf":
        if squares is None:
            apart = ((x - z[None]) ** 2).sum(1)
        else:
            apart = jnp.maximum(squares + (z**2).sum() - 2 * inner, 0)
        return jnp.exp(-gamma * apart)
    return _of_inner(inner, kernel, gamma, degree, coef0)


def diagonal(
    x: Float[Array, "n d"],
    *,
    kernel: Kernel = "rbf",
    gamma: Number = 1.0,
    degree: int = 3,
    coef0: Number = 0.0,
) -> Float[Array, "n"]:
    """Compute the kernel of every row with itself, without the matrix.

    Args:
        x: rows.
        kernel: as in `gram`; a function is called once for each row.
        gamma: as in `gram`.
        degree: as in `gram`.
        coef0: as in `gram`.

    Returns:
        The diagonal of the Gram matrix.

    Raises:
        ValueError: if the kernel is unknown or `degree` is negative.
    """
    if callable(kernel):
        return jax.vmap(lambda row: kernel(row[None], row[None])[0, 0])(x)
    check.one_of("kernel", kernel, KERNELS)
    if kernel == "rbf":
        return jnp.ones(len(x), x.dtype)
    gamma, coef0 = jnp.asarray(gamma, x.dtype), jnp.asarray(coef0, x.dtype)
    return _of_inner((x**2).sum(1), kernel, gamma, degree, coef0)


def _of_inner(inner, kernel, gamma, degree, coef0):
    """The kernels that are functions of the inner product."""
    if kernel == "linear":
        return inner
    if kernel == "sigmoid":
        return jnp.tanh(gamma * inner + coef0)
    check.size("degree", degree, 0)
    return jax.lax.integer_pow(gamma * inner + coef0, degree)
