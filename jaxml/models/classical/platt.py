"""Probabilities from margins: Platt's sigmoid of one pair, coupled over all pairs.

A, B = platt.sigmoid(margin, positive, weight)  # P = 1 / (1 + exp(A margin + B))
p = platt.couple(first, pairs)  # [m, k]

Letters: n margins, m rows, k classes, p pairs.

References:
    Lin, Lin and Weng, 2007. A note on Platt's probabilistic outputs for support vector
    machines. Machine Learning 68.
    Wu, Lin and Weng, 2004. Probability estimates for multi-class classification by
    pairwise coupling. JMLR 5, eq. 21.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxml.optim import implicit

__all__ = ["couple", "sigmoid"]


def sigmoid(
    margin: Float[Array, "n"], positive: Bool[Array, "n"], weight: Float[Array, "n"]
) -> Float[Array, "2"]:
    """Fit the sigmoid by Newton steps with halving, on targets shrunk to the priors.

    Args:
        margin: f of rows that the fit of f did not see.
        positive: whether the row is of the positive class.
        weight: how much each row counts.

    Returns:
        (A, B).
    """
    many = (weight * positive).sum(), (weight * ~positive).sum()
    # Targets are not 0 and 1 but what Laplace's rule leaves of them.
    high, low = (many[0] + 1) / (many[0] + 2), 1 / (many[1] + 2)
    target = jnp.where(positive, high, low)

    def loss(both):
        score = both[0] * margin + both[1]
        # -log P and -log (1 - P) without overflow
        return (weight * (target * score + jax.nn.softplus(-score))).sum()

    def step(carry):
        both, n_iter, _ = carry
        slope, curve = jax.grad(loss)(both), jax.hessian(loss)(both)
        curve = curve + 1e-12 * jnp.eye(2, dtype=both.dtype)
        move = -jnp.linalg.solve(curve, slope)
        value, descent = loss(both), slope @ move

        def too_long(size):
            return (loss(both + size * move) > value + 1e-4 * size * descent) & (
                size > 1e-10
            )

        size = jax.lax.while_loop(too_long, lambda s: s / 2, jnp.ones_like(value))
        end = (jnp.abs(slope).max() > 1e-5) & (size > 1e-10)
        return both + jnp.where(end, size, 0) * move, n_iter + 1, end

    def solve(both):
        carry = jax.lax.while_loop(
            lambda c: (c[1] < 100) & c[2], step, (both, 0, jnp.asarray(True))
        )
        return carry[0], ()

    start = jnp.stack([jnp.zeros_like(high), jnp.log((many[1] + 1) / (many[0] + 1))])
    return implicit.root(jax.grad(loss), start, solve)[0]


def couple(first: Float[Array, "m p"], pairs: np.ndarray) -> Float[Array, "m k"]:
    """Find the probabilities closest to those of the pairs.

    Args:
        first: probability of the first class of each pair, above 0 and below 1.
        pairs: the two classes of each pair, [p, 2].

    Returns:
        min Σ_ij (r_ji p_i - r_ij p_j)², with sum 1, by its linear equations.
    """
    i, j = pairs.T
    m, k = len(first), int(pairs.max()) + 1
    wins = jnp.zeros((m, k, k), first.dtype)
    wins = wins.at[:, i, j].set(first).at[:, j, i].set(1 - first)
    losses = wins.swapaxes(1, 2)
    matrix = jnp.eye(k, dtype=first.dtype)[None] * (losses**2).sum(2)[..., None]
    matrix = matrix - losses * wins
    # Where the pairs agree, matrix p = 0: the border makes it regular (eq. 21).
    matrix = jnp.pad(matrix, ((0, 0), (0, 1), (0, 1)), constant_values=1)
    matrix = matrix.at[:, k, k].set(0)
    right = jnp.zeros((m, k + 1, 1), first.dtype).at[:, k].set(1)
    p = jnp.maximum(jnp.linalg.solve(matrix, right)[:, :k, 0], 0)
    return p / p.sum(1, keepdims=True)
