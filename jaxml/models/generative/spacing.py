"""Which timesteps, and which levels of noise, a sampler visits.

    times = spacing.timesteps(1000, 50, "leading")        # [951, ..., 20, 0]
    times, sigmas = spacing.levels(schedule, 50, "linspace")

The names are those of the diffusers library. σ_t = √((1 - ᾱ_t) / ᾱ_t) is the noise
beside a signal of variance one (EDM).

References:
    Lin, Liu, Li and Yang, 2023. Common diffusion noise schedules and sample steps are
    flawed. arXiv:2305.08891 (table 2: leading, linspace, trailing).
    Karras, Aittala, Aila and Laine, 2022. Elucidating the design space of
    diffusion-based generative models. arXiv:2206.00364 (eq. 5).
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxml.models.generative.diffusion import Schedule
from jaxml.nn import check

__all__ = ["KINDS", "karras", "levels", "sigmas", "timesteps"]

KINDS = ("leading", "linspace", "trailing")


def timesteps(total: int, steps: int, kind: str, *, offset: int = 0) -> np.ndarray:
    """Timesteps from noisy to clean, float64 [steps].

    Args:
        total: length of the schedule that the network was trained with.
        steps: how many to visit, 1 to `total`.
        kind: "leading", multiples of total // steps from 0; "linspace", from 0 to
            total - 1 with both ends, not rounded; "trailing", from total - 1 down.
        offset: added to each, in "leading" only (1 in Stable Diffusion).

    Raises:
        ValueError: if `steps` is out of range or there is no such kind.

    >>> timesteps(1000, 4, "leading").tolist()
    [750.0, 500.0, 250.0, 0.0]
    >>> timesteps(1000, 4, "trailing").tolist()
    [999.0, 749.0, 499.0, 249.0]
    """
    check.one_of(kind, KINDS, "spacing of timesteps")
    if not 1 <= steps <= total:
        raise ValueError(
            f"steps must be from 1 to the length of the schedule {total}; got {steps}"
        )
    if kind == "leading":
        return (np.arange(steps) * (total // steps))[::-1] + float(offset)
    if kind == "linspace":
        return np.linspace(0, total - 1, steps)[::-1].copy()
    return np.round(np.arange(total, 0, -total / steps)) - 1


def sigmas(schedule: Schedule) -> Float[Array, " t"]:
    """σ of every timestep."""
    return jnp.sqrt((1 - schedule.alphas_cumprod) / schedule.alphas_cumprod)


def karras(
    low: Float[Array, ""], high: Float[Array, ""], steps: int, *, rho: float = 7.0
) -> Float[Array, " steps"]:
    """σ from `high` to `low`, denser where there is little noise (EDM, eq. 5)."""
    ramp = jnp.linspace(0, 1, steps, dtype=jnp.result_type(low))
    ends = [jnp.asarray(s) ** (1 / rho) for s in (high, low)]
    return (ends[0] + ramp * (ends[1] - ends[0])) ** rho


def levels(
    schedule: Schedule, times: np.ndarray, ramp: str = "schedule"
) -> tuple[Float[Array, " steps"], Float[Array, " steps+1"]]:
    """Timesteps and σ of a sampler that works on σ; the last σ is 0.

    Args:
        schedule: how fast the signal fades.
        times: timesteps to visit, from noisy to clean; between two of the schedule's,
            σ is interpolated.
        ramp: "schedule", σ at those timesteps; "karras", as many σ by `karras`,
            over all of the schedule, and the timesteps that belong to them.

    Raises:
        ValueError: if there is no such ramp.
    """
    check.one_of(ramp, ("schedule", "karras"), "ramp of noise levels")
    every = sigmas(schedule)
    grid = jnp.arange(every.shape[0], dtype=every.dtype)
    at = jnp.asarray(times, every.dtype)
    level = jnp.interp(at, grid, every)
    if ramp == "karras":
        level = karras(every[0], every[-1], len(times))
        at = jnp.interp(jnp.log(level), jnp.log(every), grid)
    return at, jnp.concatenate([level, jnp.zeros(1, level.dtype)])
