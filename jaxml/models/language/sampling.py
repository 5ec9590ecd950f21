"""What is done to logits before a token is drawn, and the draw.

    settings = Sampling(temperature=0.8, top_p=0.95)
    scores = process(logits, settings)
    tokens = draw(keys, scores, settings)

The steps, their order and their definitions are those of Hugging Face transformers:
repetition penalty, temperature, top-k, top-p, min-p. A number may be a traced array,
one for all rows or one a row; a step that is None is not in the program.

Top-k and top-p do not sort. They look for the lowest score that stays, bit by bit among
the integers that compare as floats do: 32 sums over the vocabulary, several times
faster than XLA's sort on CPU. So equal scores stay or go together.

Letters: b rows, v tokens in the vocabulary.

References:
    Keskar et al., 2019. CTRL, repetition penalty. arXiv:1909.05858 (section 4.1).
    Holtzman et al., 2019. Nucleus sampling (top-p). arXiv:1904.09751.
    Nguyen et al., 2024. Min-p sampling. arXiv:2407.01082.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from jaxml.ops import histogram, order

__all__ = [
    "Number",
    "Sampling",
    "check",
    "draw",
    "min_p",
    "penalize",
    "probabilities",
    "process",
    "temper",
    "top_k",
    "top_p",
]

Number = float | int | Float[Array, ""] | Float[Array, "b"] | Int[Array, "*b"]


class Sampling(NamedTuple):
    """Settings of the draw, each a number or one a row; None: not at all."""

    temperature: Number | None = None  # 0: the likeliest token
    top_k: Number | None = None  # at least 1
    top_p: Number | None = None  # from 0 to 1
    min_p: Number | None = None  # from 0 to 1
    repetition_penalty: Number | None = None  # above 0; 1 changes nothing


def process(
    logits: Float[Array, "b v"],
    settings: Sampling,
    seen: Bool[Array, "b v"] | None = None,
) -> Float[Array, "b v"]:
    """All steps of `settings` in their order; removed tokens get minus infinity.

    Args:
        logits: as the model gives them.
        settings: which steps.
        seen: tokens that the repetition penalty is about; needed for that step alone.

    Raises:
        ValueError: if there is a repetition penalty and no `seen`.
    """
    scores = logits
    if settings.repetition_penalty is not None:
        if seen is None:
            raise ValueError("a repetition penalty needs `seen`, the tokens so far")
        scores = penalize(scores, seen, settings.repetition_penalty)
    steps = (
        (temper, settings.temperature),
        (top_k, settings.top_k),
        (top_p, settings.top_p),
        (min_p, settings.min_p),
    )
    for step, number in steps:
        if number is not None:
            scores = step(scores, number)
    return scores


def penalize(
    logits: Float[Array, "b v"], seen: Bool[Array, "b v"], penalty: Number
) -> Float[Array, "b v"]:
    """Make seen tokens less likely: divide what is positive, multiply what is not.

    >>> scores = jnp.array([[2.0, -2.0, 1.0]])
    >>> penalize(scores, jnp.array([[True, True, False]]), 2.0)
    Array([[ 1., -4.,  1.]], dtype=float32)
    """
    penalty = _column(penalty, logits)
    return jnp.where(
        seen, jnp.where(logits < 0, logits * penalty, logits / penalty), logits
    )


def temper(logits: Float[Array, "b v"], temperature: Number) -> Float[Array, "b v"]:
    """Divide by the temperature; one of 0 changes nothing here (see `draw`)."""
    temperature = _column(temperature, logits)
    return logits / jnp.where(temperature == 0, 1.0, temperature)


def top_k(logits: Float[Array, "b v"], k: Number) -> Float[Array, "b v"]:
    """Keep the k highest, and what equals the last of them.

    >>> top_k(jnp.array([[1.0, 3.0, 2.0]]), 2)
    Array([[-inf,   3.,   2.]], dtype=float32)
    """
    return _cut(logits, jnp.ones_like(logits), _column(k, logits))


def top_p(logits: Float[Array, "b v"], p: Number) -> Float[Array, "b v"]:
    """Keep the fewest likeliest tokens whose probabilities reach p; one at least.

    >>> top_p(jnp.log(jnp.array([[0.5, 0.3, 0.2]])), 0.7) > -jnp.inf
    Array([[ True,  True, False]], dtype=bool)
    """
    return _cut(logits, jax.nn.softmax(logits), _column(p, logits))


def min_p(logits: Float[Array, "b v"], p: Number) -> Float[Array, "b v"]:
    """Keep tokens at least p times as likely as the likeliest.

    >>> min_p(jnp.log(jnp.array([[0.5, 0.3, 0.2]])), 0.5) > -jnp.inf
    Array([[ True,  True, False]], dtype=bool)
    """
    floor = logits.max(-1, keepdims=True) + jnp.log(_column(p, logits))
    return jnp.where(logits < floor, -jnp.inf, logits)


def draw(
    keys: Key[Array, "b"], scores: Float[Array, "b v"], settings: Sampling
) -> Int[Array, " b"]:
    """One token a row from the softmax of processed scores.

    Args:
        keys: one a row, so that a row does not depend on its neighbours.
        scores: from `process`.
        settings: where their temperature is 0, the highest score is taken.
    """
    noise = jax.vmap(lambda key: jax.random.gumbel(key, scores.shape[-1:]))(keys)
    if settings.temperature is not None:
        noise = jnp.where(_column(settings.temperature, scores) == 0, 0.0, noise)
    return histogram.argmax(scores + noise)


def probabilities(
    logits: Float[Array, "b v"],
    settings: Sampling,
    seen: Bool[Array, "b v"] | None = None,
) -> Float[Array, "b v"]:
    """The distribution that `draw(keys, process(logits, ...), ...)` draws from."""
    scores = process(logits, settings, seen)
    chances = jax.nn.softmax(scores)
    if settings.temperature is None:
        return chances
    likeliest = jax.nn.one_hot(histogram.argmax(scores), scores.shape[-1])
    return jnp.where(_column(settings.temperature, scores) == 0, likeliest, chances)


def check(settings: Sampling) -> None:
    """Refuse numbers out of range, as far as they are known before tracing.

    Raises:
        ValueError: that says which number, its range and what came.
    """
    ranges = {
        "temperature": ("at least 0", lambda x: x >= 0),
        "top_k": ("at least 1", lambda x: x >= 1),
        "top_p": ("from 0 to 1", lambda x: (x >= 0) & (x <= 1)),
        "min_p": ("from 0 to 1", lambda x: (x >= 0) & (x <= 1)),
        "repetition_penalty": ("above 0", lambda x: x > 0),
    }
    for name, (words, holds) in ranges.items():
        number = getattr(settings, name)
        if number is None or isinstance(number, jax.Array):
            continue  # numbers of the device are not waited for
        if not np.all(holds(np.asarray(number))):
            raise ValueError(f"{name} must be {words}; got {number}")


def _column(number, logits):
    """One number a row, [b, 1], in the dtype of the logits."""
    number = jnp.asarray(number, logits.dtype)
    return jnp.broadcast_to(number, logits.shape[:1])[:, None]


def _cut(scores, weights, goal):
    """Keep the highest scores up to that at which their weights first sum to `goal`.

    The greatest integer at or above which the weights still reach the goal is the
    lowest score that stays; where none does (rounding), all stay.
    """
    keys = order.bits(scores)
    width = keys.dtype.itemsize * 8

    def settle(i, edge):
        bit = jnp.asarray(1, keys.dtype) << (width - 1 - i).astype(keys.dtype)
        probe = edge | bit
        reached = jnp.where(keys >= probe, weights, 0).sum(-1, keepdims=True) >= goal
        return jnp.where(reached, probe, edge)

    edge = jax.lax.fori_loop(0, width, settle, jnp.zeros_like(keys[:, :1]))
    edge = jnp.minimum(edge, keys.max(-1, keepdims=True))
    return jnp.where(keys >= edge, scores, -jnp.inf)
