"""What the two players of a GAN want, from the scores of real and made images.

    step = gan.make_step(generate, judge, gan_losses.hinge, tx, tx)

A score is a real number, higher for what looks real. Every pair of losses is one
`Losses`: a number for each image.

References:
    Goodfellow et al., 2014. arXiv:1406.2661 (eq. 1; non-saturating: section 3).
    Mao et al., 2017. Least squares GAN. arXiv:1611.04076 (eq. 9).
    Arjovsky, Chintala and Bottou, 2017. Wasserstein GAN. arXiv:1701.07875 (eq. 2).
    Lim and Ye, 2017. Geometric GAN. arXiv:1705.02894 (eq. 7: hinge).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

__all__ = ["Losses", "hinge", "least_squares", "non_saturating", "wasserstein"]


class Losses(NamedTuple):
    """What each player minimises, one number for each image."""

    discriminator: Callable  # (scores of real [b], scores of made [b]) -> [b]
    generator: Callable  # (scores of made [b]) -> [b]


# -log D(x) - log(1 - D(G(z))) and -log D(G(z)), D the sigmoid of the score.
non_saturating = Losses(
    lambda real, fake: jax.nn.softplus(-real) + jax.nn.softplus(fake),
    lambda fake: jax.nn.softplus(-fake),
)
least_squares = Losses(
    lambda real, fake: (jnp.square(real - 1) + jnp.square(fake)) / 2,
    lambda fake: jnp.square(fake - 1) / 2,
)
# Wants `gan_penalties.gradient_penalty` beside it, or it is no distance.
wasserstein = Losses(lambda real, fake: fake - real, lambda fake: -fake)
hinge = Losses(
    lambda real, fake: jax.nn.relu(1 - real) + jax.nn.relu(1 + fake),
    lambda fake: -fake,
)
