"""What a recurrent encoder-decoder says by itself, as one program.

made = greedy(model, variables, source, start=1, end=2, steps=50, source_mask=mask)
made.tokens, made.lengths                                        # [b, 50], [b]
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PyTree

from jaxml.models.sequence.seq2seq import Seq2Seq

__all__ = ["Generated", "greedy"]


class Generated(NamedTuple):
    """What a decoder made by itself."""

    tokens: Int[Array, "b t"]  # after the end token: 0
    lengths: Int[Array, " b"]  # with the end token


@partial(jax.jit, static_argnames=("model", "steps", "end"))
def greedy(
    model: Seq2Seq,
    variables: PyTree,
    source: Int[Array, "b s"],
    *,
    start: int | Int[Array, ""],
    end: int | None,
    steps: int,
    source_mask: Bool[Array, "b s"] | None = None,
) -> Generated:
    """Translate, each time by the likeliest token.

    Args:
        model: hashable, as all frozen modules are.
        variables: of the model.
        source: tokens to be translated.
        start: token that the decoder is fed first.
        end: token after which a row is done; None lets all rows go on to `steps`.
        steps: most tokens of a row, at least 1. The loop ends when all rows are done.
        source_mask: False for padding of the source.

    Raises:
        ValueError: if `steps` is below 1.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1; got {steps}")
    memory: Any = model.apply(
        variables, source, source_mask=source_mask, method=Seq2Seq.encode
    )
    rows = len(source)
    decode = partial(model.apply, variables, method=Seq2Seq.decode)
    first = jnp.full((rows, 1), start, source.dtype)
    shape = jax.eval_shape(decode, first, memory)[1]
    hidden = jax.tree.leaves(memory.carry)[0]
    carry = jax.tree.map(
        lambda leaf, like: leaf.astype(like.dtype),
        (memory.carry, jnp.zeros_like(hidden)),
        shape,
    )

    def going(loop):
        step, _, _, _, done = loop
        return (step < steps) & ~done.all()

    def once(loop):
        step, last, carry, tokens, done = loop
        logits, carry = decode(last[:, None], memory, carry)
        last = jnp.where(done, 0, logits[:, 0].argmax(-1).astype(last.dtype))
        tokens = tokens.at[:, step].set(last)
        done |= last == end if end is not None else False
        return step + 1, last, carry, tokens, done

    done = jnp.zeros(rows, bool)
    tokens = jnp.zeros((rows, steps), source.dtype)
    _, _, _, tokens, _ = jax.lax.while_loop(
        going, once, (0, first[:, 0], carry, tokens, done)
    )
    ended = (tokens == end) if end is not None else jnp.zeros_like(tokens, bool)
    lengths = jnp.where(ended.any(1), ended.argmax(1) + 1, steps)
    return Generated(tokens, lengths)
