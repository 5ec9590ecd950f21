"""Guidance: samples of a class, from networks of diffusion.

    predict = partial(model.apply, variables)               # of (x, timestep, label)
    guided = guidance.classifier_free(predict, labels, null=10, scale=3.0)
    x = sampling.run(ddim, plan, guided, noise)

References:
    Ho and Salimans, 2022. Classifier-free diffusion guidance. arXiv:2207.12598 (eq. 6).
    Dhariwal and Nichol, 2021. Diffusion models beat GANs on image synthesis.
    arXiv:2105.05233 (eq. 14).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact, Int, Num

from jaxml.models.generative.diffusion import Schedule

__all__ = ["classifier_free", "classifier_guided"]


def classifier_free(
    predict: Callable[[Array, Array, Array], Array],
    labels: Int[Array, " b"],
    null: int,
    scale: float | Num[Array, ""],
) -> Callable[[Array, Array], Array]:
    """A network pushed away from what it answers without a class (eq. 6).

    Both answers come from one call with twice the batch.

    Args:
        predict: (x [b ...], timestep [b], label [b]) -> answer.
        labels: the class wanted of each sample.
        null: the label that stands for "no class".
        scale: 1 is the class alone, more is further from the rest. (The paper's w is
            this number less 1.)

    Returns:
        A function of (x, timestep).
    """

    def guided(x, timestep):
        both = jnp.concatenate([labels, jnp.full_like(labels, null)])
        twice = lambda value: jnp.concatenate([value, value])
        answer = predict(twice(x), twice(timestep), both)
        wanted, without = jnp.split(answer, 2)
        return without + scale * (wanted - without)

    return guided


def classifier_guided(
    predict: Callable[[Array, Array], Array],
    log_probability: Callable[[Array, Array], Array],
    schedule: Schedule,
    scale: float | Inexact[Array, ""],
) -> Callable[[Array, Array], Array]:
    """A network of ε pushed along a classifier's gradient (Dhariwal, eq. 14).

    Args:
        predict: (x [b ...], timestep [b]) -> noise.
        log_probability: (x [b ...], timestep [b]) -> log p(wanted class | x) [b].
        schedule: the noise that both were trained with.
        scale: strength of the push, 0 for none.

    Returns:
        A function of (x, timestep).
    """

    def guided(x, timestep):
        slope = jax.grad(lambda x: log_probability(x, timestep).sum())(x)
        index = timestep.astype(jnp.int32)
        spread = jnp.sqrt(1 - schedule.alphas_cumprod[index])
        spread = spread.reshape(-1, *(1,) * (x.ndim - 1))
        return predict(x, timestep) - scale * spread * slope

    return guided
