"""Penalties on the slope of a discriminator.

    penalty = partial(gan_penalties.gradient_penalty, weight=10.0)
    losses = gan_losses.wasserstein
    step = gan.make_step(generate, judge, losses, tx, tx, penalty=penalty, rounds=5)

The discriminator must treat each image on its own: no batch norm beside them.

References:
    Gulrajani et al., 2017. Improved training of Wasserstein GANs. arXiv:1704.00028
    (eq. 3).
    Mescheder, Geiger and Nowozin, 2018. Which training methods for GANs do actually
    converge? arXiv:1801.04406 (eq. 9: R1).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

__all__ = ["gradient_penalty", "r1"]


def gradient_penalty(
    score: Callable[[Array], Array],
    real: Float[Array, "b *shape"],
    fake: Float[Array, "b *shape"],
    key: Key[Array, ""],
    *,
    weight: float = 10.0,
) -> Float[Array, " b"]:
    """weight · (|slope| - 1)² at a point between each real and each made image.

    Args:
        score: (images) -> [b].
        real: images of the data.
        fake: as many images of the generator.
        key: where between the two.
        weight: λ.
    """
    rows = (real.shape[0], *(1,) * (real.ndim - 1))
    share = jax.random.uniform(key, rows, real.dtype)
    slope = _slope(score, share * real + (1 - share) * fake)
    # The root has no slope at 0.
    length = jnp.sqrt(jnp.square(slope).sum(-1) + 1e-12)
    return weight * jnp.square(length - 1)


def r1(
    score: Callable[[Array], Array],
    real: Float[Array, "b *shape"],
    fake: Float[Array, "b *shape"] | None = None,
    key: Key[Array, ""] | None = None,
    *,
    weight: float = 10.0,
) -> Float[Array, " b"]:
    """weight / 2 · |slope|² at each real image.

    Args:
        score: (images) -> [b].
        real: images of the data.
        fake: not used.
        key: not used.
        weight: γ.
    """
    return weight / 2 * jnp.square(_slope(score, real)).sum(-1)


def _slope(score, images):
    slope = jax.grad(lambda x: score(x).sum())(images)
    return slope.reshape(images.shape[0], -1)
