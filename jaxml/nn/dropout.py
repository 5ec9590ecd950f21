"""Noise that regularises: alpha dropout, Gaussian noise, and Monte Carlo dropout.

    x = AlphaDropout(0.1)(x, deterministic=not train)
    mean, deviation = monte_carlo(forward, samples=100, key=key)

Plain dropout is `flax.linen.Dropout`. All draw from the rng "dropout".

References:
    Klambauer, Unterthiner, Mayr and Hochreiter, 2017. Self-normalizing networks.
    arXiv:1706.02515 (alpha dropout: section 3).
    Gal and Ghahramani, 2016. Dropout as a Bayesian approximation. arXiv:1506.02142.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

__all__ = ["AlphaDropout", "GaussianNoise", "monte_carlo"]

_SATURATION = -1.7580993408473766  # where SELU goes for x -> -∞: -scale · alpha


class AlphaDropout(nn.Module):
    """Dropout that keeps mean 0 and variance 1, for networks with SELU.

    Args:
        rate: chance of a value to be dropped, from 0 to below 1.
    """

    rate: float

    @nn.compact
    def __call__(
        self, x: Float[Array, "..."], *, deterministic: bool = True
    ) -> Float[Array, "..."]:
        """Drop values to SELU's saturation, then scale and shift; no-op if told."""
        if not 0 <= self.rate < 1:
            raise ValueError(f"rate must be from 0 to below 1; got {self.rate}")
        if deterministic or self.rate == 0:
            return x
        kept = 1 - self.rate
        factor = (kept + _SATURATION**2 * kept * self.rate) ** -0.5
        shift = -factor * self.rate * _SATURATION
        keep = jax.random.bernoulli(self.make_rng("dropout"), kept, x.shape)
        return factor * jnp.where(keep, x, _SATURATION) + shift


class GaussianNoise(nn.Module):
    """Add normal noise in training.

    Args:
        deviation: standard deviation of the noise, at least 0.
    """

    deviation: float

    @nn.compact
    def __call__(
        self, x: Float[Array, "..."], *, deterministic: bool = True
    ) -> Float[Array, "..."]:
        """Add the noise, or give `x` back if told."""
        if self.deviation < 0:
            raise ValueError(f"deviation must be at least 0; got {self.deviation}")
        if deterministic or self.deviation == 0:
            return x
        noise = jax.random.normal(self.make_rng("dropout"), x.shape, x.dtype)
        return x + self.deviation * noise


def monte_carlo(
    forward: Callable[[Key[Array, ""]], Float[Array, "*shape"]],
    *,
    samples: int,
    key: Key[Array, ""],
) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """Mean and deviation of a prediction over draws of its dropout.

    All samples run side by side, so memory grows with their number.

    Args:
        forward: prediction (a probability, not a logit) with the dropout of a key.
        samples: draws, at least 1.
        key: randomness of the draws.

    Returns:
        Mean, and standard deviation (of the population of draws).

    Raises:
        ValueError: if `samples` is below 1.

    >>> layer = nn.Dropout(0.5, deterministic=False)
    >>> forward = lambda key: layer.apply({}, jnp.ones(2), rngs={"dropout": key})
    >>> mean, deviation = monte_carlo(forward, samples=500, key=jax.random.key(0))
    >>> bool((abs(mean - 1) < 0.2).all() and (abs(deviation - 1) < 0.1).all())
    True
    """
    if samples < 1:
        raise ValueError(f"samples must be at least 1; got {samples}")
    draws = jax.vmap(forward)(jax.random.split(key, samples))
    return draws.mean(0), draws.std(0)
