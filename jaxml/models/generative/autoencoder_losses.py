"""What autoencoders are trained for beside the reconstruction.

    values = square_error(reconstruction, x)                          # [batch]
    values += 1e-4 * l1(code)
    loss = values.mean() + 0.05 * kl_sparsity(code, target=0.1)
    values += 1e-4 * contraction(encode, x)

References:
    Ng, 2011. Sparse autoencoder. CS294A lecture notes (KL of the mean activation).
    Rifai et al., 2011. Contractive auto-encoders (eq. 4). ICML.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

__all__ = ["contraction", "kl_sparsity", "l1", "square_error"]


def square_error(
    reconstruction: Float[Array, "b *shape"], x: Float[Array, "b *shape"]
) -> Float[Array, " b"]:
    """Mean over each example of the squared difference."""
    return jnp.square(reconstruction - x).reshape(x.shape[0], -1).mean(-1)


def l1(code: Float[Array, "b *shape"]) -> Float[Array, " b"]:
    """Sum of the absolute values of each code."""
    return jnp.abs(code).reshape(code.shape[0], -1).sum(-1)


def kl_sparsity(
    code: Float[Array, "b k"], *, target: float | Float[Array, ""] = 0.1
) -> Float[Array, ""]:
    """Σ_j KL(ρ ‖ mean of unit j over the batch), for codes from 0 to 1.

    Args:
        code: activations from 0 to 1, such as those of a sigmoid.
        target: ρ, the mean that each unit should have, between 0 and 1.

    Returns:
        One number for the batch, 0 where every mean is the target.

    >>> float(kl_sparsity(jnp.full((4, 3), 0.25), target=0.25))
    0.0
    """
    tiny = jnp.finfo(code.dtype).eps  # a unit that never fires would give infinity
    mean = jnp.clip(code.mean(0), tiny, 1 - tiny)
    on = target * (jnp.log(target) - jnp.log(mean))
    off = (1 - target) * (jnp.log1p(-target) - jnp.log1p(-mean))
    return (on + off).sum()


def contraction(
    encode: Callable[[Float[Array, "1 *shape"]], Float[Array, "1 *code"]],
    x: Float[Array, "b *shape"],
) -> Float[Array, " b"]:
    """Squared Frobenius norm of the encoder's Jacobian at each example (eq. 4).

    It costs one backward pass for each unit of the code.

    Args:
        encode: the encoder, of a batch of any size.
        x: examples.
    """
    jacobian = jax.vmap(jax.jacrev(lambda row: encode(row[None])[0]))(x)
    return jnp.square(jacobian).reshape(x.shape[0], -1).sum(-1)
