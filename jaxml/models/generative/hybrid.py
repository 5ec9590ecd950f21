"""Loss of a diffusion network that learns its variance too: L_simple + λ L_vlb.

    loss = hybrid.loss(predict, schedule, images, key=key)            # [batch]

The network's last axis is twice that of the data: the noise, then how far the log
variance goes from the posterior's (-1) to log β (1). Sample with
`ddpm.plan(..., variance="learned_range")`.

References:
    Nichol and Dhariwal, 2021. Improved DDPM. arXiv:2102.09672 (eq. 15 and 16).
    Ho, Jain and Abbeel, 2020. arXiv:2006.11239 (eq. 5, 7 and 13).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxml.models.generative import diffusion, pixels
from jaxml.models.generative.diffusion import Schedule

__all__ = ["Posterior", "bound", "loss", "normal_kl", "posterior"]


class Posterior(NamedTuple):
    """q(x_{t-1} | x_t, x_0) at every timestep (DDPM, eq. 7)."""

    of_clean: Float[Array, " t"]
    of_noisy: Float[Array, " t"]
    log_variance: Float[Array, " t"]  # at timestep 0, where it is 0, that of 1


def posterior(schedule: Schedule) -> Posterior:
    """The Gaussian that undoes one timestep, given where the data was."""
    left, betas = schedule.alphas_cumprod, schedule.betas
    before = jnp.concatenate([jnp.ones(1, left.dtype), left[:-1]])
    variance = betas * (1 - before) / (1 - left)
    floor = variance[1] if len(betas) > 1 else betas[0]
    return Posterior(
        jnp.sqrt(before) * betas / (1 - left),
        jnp.sqrt(1 - betas) * (1 - before) / (1 - left),
        jnp.log(variance.at[0].set(floor)),
    )


def normal_kl(
    mean: Float[Array, "*shape"],
    log_variance: Float[Array, "*shape"],
    other_mean: Float[Array, "*shape"],
    other_log_variance: Float[Array, "*shape"],
) -> Float[Array, "*shape"]:
    """KL divergence of one normal distribution from another, in nats.

    >>> float(normal_kl(*(jnp.array(v) for v in (1.0, 0.0, 0.0, 0.0))))
    0.5
    """
    apart = log_variance - other_log_variance
    far = jnp.square(mean - other_mean) * jnp.exp(-other_log_variance)
    return (jnp.exp(apart) - 1 - apart + far) / 2


def bound(
    output: Float[Array, "b *out"],
    schedule: Schedule,
    x0: Float[Array, "b *shape"],
    x: Float[Array, "b *shape"],
    timesteps: Int[Array, " b"],
) -> Float[Array, " b"]:
    """One term of the variational bound, bits a value (DDPM, eq. 5).

    Args:
        output: the network's answer, noise and variance.
        schedule: how fast the signal fades.
        x0: images of 256 levels, from -1 to 1.
        x: noisy images x_t.
        timesteps: of each.
    """
    rows = lambda values: values[timesteps].reshape(-1, *(1,) * (x.ndim - 1))
    eps, share = jnp.split(output, 2, axis=-1)
    share = (share + 1) / 2
    q = posterior(schedule)
    log_variance = share * rows(jnp.log(schedule.betas))
    log_variance += (1 - share) * rows(q.log_variance)  # eq. 15
    left = rows(schedule.alphas_cumprod)
    clean, _ = diffusion.split(diffusion.weights("epsilon", left), eps, x)
    mean = rows(q.of_clean) * clean + rows(q.of_noisy) * x
    true = rows(q.of_clean) * x0 + rows(q.of_noisy) * x
    wide = jnp.broadcast_to(rows(q.log_variance), x.shape)
    gap = normal_kl(true, wide, mean, log_variance)
    first = rows(jnp.arange(schedule.betas.shape[0])) == 0
    nats = jnp.where(first, -_log_bin(x0, mean, log_variance), gap)
    return nats.reshape(x.shape[0], -1).mean(-1) / jnp.log(2.0)


def loss(
    predict: Callable[[Array, Array], Array],
    schedule: Schedule,
    x0: Float[Array, "b *shape"],
    *,
    key: Key[Array, ""],
    weight: float = 1e-3,
    bounded: bool = True,
) -> Float[Array, " b"]:
    """One number for each image (Improved DDPM, eq. 16).

    The bound teaches the variance alone: no gradient goes through the mean.

    Args:
        predict: the network, (x_t [b ...], timestep [b]) -> noise and variance.
        schedule: how fast the signal fades.
        x0: images from -1 to 1.
        key: randomness of timesteps and noise.
        weight: λ; the term is multiplied by the number of timesteps too, which makes
            it an estimate of the whole bound.
        bounded: whether the data must be from -1 to 1; not so for latents and points.

    Raises:
        ValueError: if images are outside [-1, 1] (where their values are known), or
            the answer's last axis is not twice theirs.
    """
    if bounded:
        pixels.check_range(x0)
    total = schedule.betas.shape[0]
    key_time, key_noise = jax.random.split(key)
    timesteps = jax.random.randint(key_time, x0.shape[:1], 0, total)
    noise = jax.random.normal(key_noise, x0.shape, x0.dtype)
    x = diffusion.add_noise(schedule, x0, noise, timesteps)
    output = predict(x, timesteps)
    if output.shape != (*x.shape[:-1], 2 * x.shape[-1]):
        raise ValueError(
            "a network that learns its variance must answer "
            f"{[*x.shape[:-1], 2 * x.shape[-1]]}; got {list(output.shape)}"
        )
    eps, share = jnp.split(output, 2, axis=-1)
    simple = jnp.square(eps - noise).reshape(x.shape[0], -1).mean(-1)
    held = jnp.concatenate([jax.lax.stop_gradient(eps), share], -1)
    return simple + weight * total * bound(held, schedule, x0, x, timesteps)


def _log_bin(x, mean, log_variance):
    """Log probability of one of 256 levels from -1 to 1 (DDPM, eq. 13)."""
    deviation = jnp.exp(log_variance / 2)
    above = jax.scipy.special.log_ndtr((x + 1 / 255 - mean) / deviation)
    below = jax.scipy.special.log_ndtr((x - 1 / 255 - mean) / deviation)
    # log(Φ(a) - Φ(b)) = log Φ(a) + log(1 - Φ(b) / Φ(a)), without cancellation below.
    inside = above + jnp.log(-jnp.expm1(jnp.minimum(below - above, -1e-7)))
    tail = jax.scipy.special.log_ndtr(-(x - 1 / 255 - mean) / deviation)
    return jnp.where(x < -0.999, above, jnp.where(x > 0.999, tail, inside))
