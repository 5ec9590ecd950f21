"""A Gram matrix as a solver sees it: by rows and by products, whole in memory or not.

matrix = gram.dense(kernels.rbf(x, x, gamma=0.5))
matrix.row(i); matrix.product(vector); matrix.diagonal

Letters: n and m rows, d features.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

__all__ = ["Gram", "dense", "lazy"]

BLOCK = 256  # rows of a product with a matrix that is never whole


class Gram(NamedTuple):
    """A Gram matrix, by what is asked of it."""

    row: Callable[[Any], Array]  # i -> K[i]
    product: Callable[[Array], Array]  # v -> K v
    diagonal: Float[Array, "n"]


def dense(matrix: Float[Array, "n n"]) -> Gram:
    """Wrap a matrix that fits in memory."""
    highest = jax.lax.Precision.HIGHEST
    return Gram(
        row=lambda i: matrix[i],
        product=lambda vector: jnp.matmul(matrix, vector, precision=highest),
        diagonal=jnp.diagonal(matrix),
    )


def lazy(
    fetch: Callable[[Any], Array],
    row: Callable[[Array], Array],
    block: Callable[[Array], Array],
    diagonal: Float[Array, "n"],
) -> Gram:
    """Wrap a kernel whose rows are computed when they are asked for.

    Args:
        fetch: from row numbers [m] to the rows [m, d] of the data. Where these lie on
            several devices it should be a masked sum, not an index.
        row: from one row of the data to its row of the Gram matrix.
        block: from m rows of the data to [n, m] of the Gram matrix.
        diagonal: of the Gram matrix.

    Returns:
        The Gram matrix; a product with it costs all its entries again.
    """
    n = len(diagonal)

    def product(vector):
        @jax.checkpoint
        def add(total, start):
            # numbers past the end stand for rows that count nothing
            number = start + jnp.arange(BLOCK)
            part = jnp.where(number < n, vector[jnp.minimum(number, n - 1)], 0)
            known = block(fetch(jnp.minimum(number, n - 1)))
            return total + jnp.matmul(known, part, precision="highest"), None

        zero = jnp.zeros_like(diagonal * vector)
        return jax.lax.scan(add, zero, jnp.arange(0, n, BLOCK))[0]

    return Gram(lambda i: row(fetch(i[None])[0]), product, diagonal)
