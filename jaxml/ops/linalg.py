"""Affine maps, and the inverse of a small positive definite matrix without LAPACK.

values = linalg.affine(x, coef, intercept)
matrix, pivots = linalg.inverse(gram)              # the pivots are all above 0

On a CPU, XLA hands factorisations to LAPACK, whose threads go on spinning for some tens
of milliseconds after a call and take the cores from the products that follow: a fit of
200,000 x 100 rows takes twice as long. Below a few hundred columns a loop of rank-one
updates costs no more than LAPACK does.

Letters: m rows, d columns, t targets.

References:
    Goodnight, 1979. A tutorial on the SWEEP operator. The American Statistician 33(3).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

__all__ = ["affine", "inverse"]


def affine(
    x: Float[Array, "m d"], coef: Float[Array, "*t d"], intercept: Float[Array, "*t"]
) -> Float[Array, "m *t"]:
    """x coefᵀ + intercept, for one target or several.

    >>> affine(jnp.array([[1.0, 2.0]]), jnp.array([3.0, 4.0]), jnp.array(5.0))
    Array([16.], dtype=float32)
    """
    product = jnp.matmul(x, coef.T, precision="highest")
    return product + jnp.broadcast_to(intercept, product.shape)


def inverse(
    matrix: Float[Array, "d d"],
) -> tuple[Float[Array, "d d"], Float[Array, "d"]]:
    """Sweep every column in turn, without pivoting.

    Args:
        matrix: symmetric and positive definite, of diagonal about 1 so that rounding
            is even.

    Returns:
        The inverse, and the pivots (squares of the diagonal of the Cholesky factor).
        Where a pivot is not above 0 the matrix is not definite, and the inverse is
        nothing.

    >>> inverse(jnp.array([[2.0, 1.0], [1.0, 1.0]]))[0].tolist()
    [[1.0, -1.0], [-1.0, 2.0]]
    """
    d = len(matrix)

    def sweep(k, carry):
        matrix, pivots = carry
        row, pivot = matrix[k], matrix[k, k]
        here = jnp.arange(d) == k
        scaled = jnp.where(here, 1, row) / pivot
        column = jnp.where(here, 0, matrix[:, k])
        rest = matrix - column[:, None] * scaled[None]
        rest = jnp.where(here[None], -(column / pivot)[:, None], rest)
        return jnp.where(here[:, None], scaled[None], rest), pivots.at[k].set(pivot)

    return jax.lax.fori_loop(0, d, sweep, (matrix, jnp.zeros_like(matrix[0])))
