"""Singular values of rows, and least squares by them, from Gram matrices alone.

coef, singular = spectrum.least(rows, targets, rows.T @ rows, alpha)

The Gram matrix has the squared condition of the rows: its small eigenvalues are noise.
So the rows are rotated to its eigenvectors and scaled, after which a second Gram matrix
tells the small singular values apart (Cholesky QR, twice). All reduces over the rows.

Letters: n rows, d features, t targets, s = min(n, d).

References:
    Yamamoto et al., 2015. Roundoff error analysis of the CholeskyQR2 algorithm. ETNA.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

__all__ = ["Spectrum", "gain", "least", "noise", "rank"]


class Spectrum(NamedTuple):
    """Singular values of the centred, weighted rows."""

    singular: Float[Array, "s"]  # falling
    rank: Int[Array, ""]  # how many are above rounding


def least(
    rows: Float[Array, "n d"],
    targets: Float[Array, "n t"],
    gram: Float[Array, "d d"],
    alpha: float | Float[Array, ""],
) -> tuple[Float[Array, "t d"], Float[Array, "d"]]:
    """Minimise |targets - rows coefᵀ|² + alpha |coef|², that of least norm.

    Args:
        rows: at least as many as columns.
        targets: one column for each target.
        gram: of the rows.
        alpha: at least 0.

    Returns:
        Coefficients, and the singular values of the rows, falling.
    """
    d, eps = len(gram), jnp.finfo(gram.dtype).eps
    with jax.default_matmul_precision("highest"):
        values, vectors = jnp.linalg.eigh(gram)
        floor = jnp.maximum(d * eps * values[-1], jnp.finfo(gram.dtype).tiny)
        stretch = jnp.sqrt(jnp.maximum(values, floor))
        even = rows @ (vectors / stretch[None])
        values, turns = jnp.linalg.eigh(jnp.einsum("ni,nj->ij", even, even))
        root = jnp.sqrt(jnp.maximum(values, 0))[:, None] * turns.T * stretch[None]
        _, singular, axes = jnp.linalg.svd(root @ vectors.T)
        gains = gain(singular, alpha)
        divisor = jnp.where(singular > noise(singular), singular, jnp.inf)
        left = rows @ (axes.T / divisor[None])  # orthonormal columns, or 0

        def step(coef):  # its error grows with the condition, not with its square
            rest = targets - rows @ coef.T
            pull = jnp.einsum("nt,nk->tk", rest, left) * singular[None]
            return ((pull - alpha * (coef @ axes.T)) * gains[None]) @ axes

        coef = step(jnp.zeros((targets.shape[1], d), rows.dtype))
        coef = coef + step(coef)
        return coef + step(coef), singular


def noise(singular: Float[Array, "s"]) -> Float[Array, ""]:
    """What rounding may make of a singular value of 0."""
    return 20 * jnp.finfo(singular.dtype).eps * singular[0]


def rank(singular: Float[Array, "s"]) -> Int[Array, ""]:
    """How many singular values are above rounding."""
    return (singular > noise(singular)).sum().astype(jnp.int32)


def gain(
    singular: Float[Array, "s"], alpha: float | Float[Array, ""]
) -> Float[Array, "s"]:
    """1 / (s² + α); 0 for a direction that neither the rows nor alpha determine."""
    least_seen = noise(singular)
    known = (singular > least_seen) | (alpha > least_seen**2)
    return jnp.where(known, 1 / jnp.where(known, singular**2 + alpha, 1), 0)
