"""Diffusion: noise schedules, what a network predicts, and its loss.

    schedule = diffusion.linear(1000)
    noisy = diffusion.add_noise(schedule, images, noise, timesteps)
    loss = diffusion.loss(predict, schedule, images, key=key)         # [batch]

Images are from -1 to 1. A network is any function `predict(x, timestep)` of a noisy
batch [b ...] and one timestep for each of its rows [b]. The samplers are files beside
this one (`ddpm`, `ddim`, `euler`, `heun`, `dpm_solver`, `pndm`); `sampling.run` drives
any of them.

Legend: x_t the noisy sample, x_0 the clean one, ε the noise, ᾱ (`alphas_cumprod`) the
part of the variance that is still signal: x_t = √ᾱ_t x_0 + √(1 - ᾱ_t) ε.

References:
    Ho, Jain and Abbeel, 2020. Denoising diffusion probabilistic models.
    arXiv:2006.11239 (eq. 4, 14).
    Nichol and Dhariwal, 2021. Improved DDPM. arXiv:2102.09672 (eq. 17).
    Salimans and Ho, 2022. Progressive distillation. arXiv:2202.00512 (appendix D).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxml.models.generative import pixels
from jaxml.nn import check

__all__ = [
    "SCHEDULES",
    "TARGETS",
    "Schedule",
    "Weights",
    "add_noise",
    "by_name",
    "cosine",
    "from_betas",
    "linear",
    "loss",
    "scaled_linear",
    "split",
    "target",
    "weights",
]

TARGETS = ("epsilon", "x0", "v")


class Schedule(NamedTuple):
    """How fast the signal fades; one value for each timestep."""

    betas: Float[Array, " t"]  # variance of the noise that a step adds
    alphas_cumprod: Float[Array, " t"]  # variance of what is left of the data


class Weights(NamedTuple):
    """x_0 = clean_x · x_t + clean_output · answer, and ε likewise."""

    clean_x: Float[Array, "..."]
    clean_output: Float[Array, "..."]
    noise_x: Float[Array, "..."]
    noise_output: Float[Array, "..."]


def from_betas(betas: np.ndarray) -> Schedule:
    """Schedule of given betas [t], each from above 0 to below 1.

    The product over a thousand steps is taken in float64 on the host.

    Raises:
        ValueError: if there are none, or one is not between 0 and 1.
    """
    betas = np.asarray(betas, np.float64)
    if betas.ndim != 1 or not betas.size or not ((betas > 0) & (betas < 1)).all():
        raise ValueError(
            f"betas must be [steps >= 1], each between 0 and 1; got {betas}"
        )
    float_dtype = jnp.zeros(()).dtype
    return Schedule(
        jnp.asarray(betas, float_dtype),
        jnp.asarray(np.cumprod(1 - betas), float_dtype),
    )


def linear(steps: int = 1000, *, start: float = 1e-4, end: float = 0.02) -> Schedule:
    """Betas on a line, as in DDPM (section 4).

    Args:
        steps: number of timesteps, at least 1.
        start: first beta.
        end: last beta.
    """
    return from_betas(np.linspace(start, end, _positive(steps)))


def scaled_linear(
    steps: int = 1000, *, start: float = 0.00085, end: float = 0.012
) -> Schedule:
    """Betas whose roots are on a line, as in latent diffusion.

    Args:
        steps: number of timesteps, at least 1.
        start: first beta.
        end: last beta.
    """
    return from_betas(np.linspace(start**0.5, end**0.5, _positive(steps)) ** 2)


def cosine(
    steps: int = 1000, *, offset: float = 0.008, max_beta: float = 0.999
) -> Schedule:
    """ᾱ(t) = cos²((t / T + s) / (1 + s) · π / 2) (Improved DDPM, eq. 17).

    Args:
        steps: number of timesteps, at least 1.
        offset: s, which keeps the first betas from being too small.
        max_beta: upper bound of beta, near the end.

    >>> [round(float(a), 4) for a in cosine(4).alphas_cumprod]
    [0.847, 0.4938, 0.1443, 0.0001]
    """
    times = np.linspace(0, 1, _positive(steps) + 1)
    left = np.cos((times + offset) / (1 + offset) * np.pi / 2) ** 2
    return from_betas(np.minimum(1 - left[1:] / left[:-1], max_beta))


SCHEDULES: dict[str, Callable[..., Schedule]] = {
    "linear": linear,
    "scaled_linear": scaled_linear,
    "cosine": cosine,
}


def by_name(name: str, steps: int = 1000) -> Schedule:
    """The schedule of that name, with its usual numbers.

    Args:
        name: one of `SCHEDULES`.
        steps: number of timesteps, at least 1.

    Raises:
        ValueError: if there is none; the message tells the nearest.
    """
    return SCHEDULES[check.one_of(name, SCHEDULES, "noise schedule")](steps)


def add_noise(
    schedule: Schedule,
    x0: Float[Array, "b *shape"],
    noise: Float[Array, "b *shape"],
    timesteps: Int[Array, " b"],
) -> Float[Array, "b *shape"]:
    """x_t of DDPM's eq. 4.

    Args:
        schedule: how fast the signal fades.
        x0: clean samples.
        noise: standard normal.
        timesteps: of each sample, from 0 to below the length of the schedule.
    """
    left = _rows(schedule.alphas_cumprod[timesteps], x0)
    return jnp.sqrt(left) * x0 + jnp.sqrt(1 - left) * noise


def target(
    kind: str,
    x0: Float[Array, "b *shape"],
    noise: Float[Array, "b *shape"],
    left: Float[Array, " b"],
) -> Float[Array, "b *shape"]:
    """What the network should answer.

    Args:
        kind: "epsilon", the noise; "x0", the clean sample; "v", √ᾱ ε - √(1 - ᾱ) x_0.
        x0: clean samples.
        noise: what was added.
        left: ᾱ of each sample.

    Raises:
        ValueError: if there is no such kind.
    """
    check.one_of(kind, TARGETS, "target of diffusion")
    if kind == "epsilon":
        return noise
    if kind == "x0":
        return x0
    left = _rows(left, x0)
    return jnp.sqrt(left) * noise - jnp.sqrt(1 - left) * x0


def weights(kind: str, left: Float[Array, "..."]) -> Weights:
    """How x_0 and ε follow from x_t and the network's answer, which is linear.

    Args:
        kind: what the network answers, one of `TARGETS`.
        left: ᾱ_t, one or many.

    Raises:
        ValueError: if there is no such kind.
    """
    check.one_of(kind, TARGETS, "target of diffusion")
    signal, spread = jnp.sqrt(left), jnp.sqrt(1 - left)
    zero, one = jnp.zeros_like(left), jnp.ones_like(left)
    if kind == "epsilon":
        return Weights(1 / signal, -spread / signal, zero, one)
    if kind == "x0":
        return Weights(zero, one, 1 / spread, -signal / spread)
    return Weights(signal, -spread, spread, signal)


def split(
    weights: Weights, output: Float[Array, "*shape"], x: Float[Array, "*shape"]
) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """The clean sample and the noise that the network's answer stands for.

    Args:
        weights: of one timestep, or of one for each row of the batch.
        output: the network's answer.
        x: noisy sample x_t.

    Returns:
        x_0 and ε, with x_t = √ᾱ x_0 + √(1 - ᾱ) ε.

    >>> x, x0 = jnp.array([1.4]), jnp.array([1.0])
    >>> [round(float(p[0]), 4) for p in split(weights("x0", jnp.array(0.36)), x0, x)]
    [1.0, 1.0]
    """
    clean_x, clean_output, noise_x, noise_output = (_rows(w, x) for w in weights)
    return clean_x * x + clean_output * output, noise_x * x + noise_output * output


def loss(
    predict: Callable[[Array, Array], Array],
    schedule: Schedule,
    x0: Float[Array, "b *shape"],
    *,
    key: Key[Array, ""],
    kind: str = "epsilon",
    distance: Callable[[Array, Array], Array] | None = None,
    bounded: bool = True,
) -> Float[Array, " b"]:
    """One number for each sample, at a timestep drawn for it (DDPM, eq. 14).

    Args:
        predict: the network, (x_t [b ...], timestep [b]) -> answer [b ...].
        schedule: how fast the signal fades.
        x0: clean samples; images from -1 to 1.
        key: randomness of timesteps and noise.
        kind: what the network answers, one of `TARGETS`.
        distance: of answer and target, value by value; the square of the difference
            if None (`optax.losses.huber_loss` is another choice).
        bounded: whether the data must be from -1 to 1; not so for latents and points.

    Raises:
        ValueError: if images are outside [-1, 1] (where their values are known, that
            is outside jit), or there is no such kind.
    """
    check.one_of(kind, TARGETS, "target of diffusion")
    if bounded:
        pixels.check_range(x0)
    key_time, key_noise = jax.random.split(key)
    batch = x0.shape[0]
    timesteps = jax.random.randint(key_time, (batch,), 0, schedule.betas.shape[0])
    noise = jax.random.normal(key_noise, x0.shape, x0.dtype)
    answer = predict(add_noise(schedule, x0, noise, timesteps), timesteps)
    right = target(kind, x0, noise, schedule.alphas_cumprod[timesteps])
    distance = distance or (lambda a, b: jnp.square(a - b))
    return distance(answer, right).reshape(batch, -1).mean(-1)


def _rows(values, x):
    """`values` (one number, or one a row) in the rank of `x`."""
    values = jnp.asarray(values, x.dtype)
    return values.reshape(values.shape + (1,) * (x.ndim - values.ndim))


def _positive(steps):
    if steps < 1:
        raise ValueError(f"steps must be at least 1; got {steps}")
    return steps
