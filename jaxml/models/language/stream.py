"""Tokens as they come, a few at a time.

    for chunk in stream(model, variables, input_ids, max_new_tokens=256, chunk=8):
        print(tokenizer.decode(chunk.tokens[0, : chunk.lengths[0]]), end="")

The device works on the next chunk while the caller reads this one. Together the chunks
are what `generate` gives for the same arguments, its draws included.

Letters: b rows, t tokens of a chunk.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from jaxml.models.language import generate as generation
from jaxml.models.language import plan as plans
from jaxml.models.language import prompt as prompts
from jaxml.models.language.generate import Generated
from jaxml.models.language.sampling import Number, Sampling

__all__ = ["stream"]


def stream(
    model: nn.Module,
    variables: PyTree,
    input_ids: Int[Array, "b p"],
    mask: Bool[Array, "b p"] | Int[Array, "b p"] | None = None,
    *,
    max_new_tokens: int,
    chunk: int = 8,
    eos_token_id: int | Sequence[int] | None = None,
    pad_token_id: int = 0,
    stop: Sequence[Sequence[int]] = (),
    key: Key[Array, "*b"] | None = None,
    temperature: Number | None = None,
    top_k: Number | None = None,
    top_p: Number | None = None,
    min_p: Number | None = None,
    repetition_penalty: Number | None = None,
    decoder_start_token_id: int = 0,
    encoded: Float[Array, "b s d"] | None = None,
    encoded_mask: Bool[Array, "b s"] | Int[Array, "b s"] | None = None,
    bucket: int = 64,
    cache_dtype: Any = jnp.float32,
) -> Iterator[Generated]:
    """Generate in chunks; all but `chunk` is as in `generate`.

    Args:
        chunk: tokens that are yielded together, at least 1; few are soon there, many
            cost less.

    Yields:
        `Generated` of numpy arrays: the tokens of a chunk (fewer in the last), how many
        of them belong to each row (0 once it has ended), their log-probabilities.

    Raises:
        ValueError: as `generate`, at the call; or if `chunk` is below 1.
    """
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1; got {chunk}")
    todo = plans.make(
        model,
        variables,
        input_ids,
        mask,
        Sampling(temperature, top_k, top_p, min_p, repetition_penalty),
        key=key,
        max_new_tokens=max_new_tokens,
        ends=prompts.ends(eos_token_id, stop),
        pad_token_id=pad_token_id,
        decoder_start_token_id=decoder_start_token_id,
        encoded=encoded,
        encoded_mask=encoded_mask,
        bucket=bucket,
    )
    room = prompts.round_up(prompts.round_up(max_new_tokens, bucket), chunk)
    run = _begin(model, variables, todo, room=room, dtype=cache_dtype)
    return _chunks(model, variables, todo, run, max_new_tokens, chunk)


def _chunks(model, variables, todo, run, limit, chunk):
    """The generator; the checks above run before its first `next`."""
    next_chunk = partial(_next_chunk, model, variables, todo, chunk=chunk)
    run, ready, over = next_chunk(run)
    for start in range(0, limit, chunk):
        # Nothing runs in this one if all rows have ended: it costs but its call.
        run, coming, over_then = next_chunk(run)
        size = min(chunk, limit - start)
        tokens, lengths, log_probs = jax.device_get(ready)
        yield Generated(tokens[:, :size], lengths, log_probs[:, :size])
        if over:
            return
        ready, over = coming, over_then


_begin = jax.jit(generation.begin, static_argnames=("model", "room", "dtype"))


@partial(jax.jit, static_argnames=("model", "chunk"), donate_argnames=("run",))
def _next_chunk(model, variables, todo, run, *, chunk):
    """The run `chunk` tokens on, those tokens, and whether there are no more."""
    start, before = run.step, run.out.lengths
    run = generation.advance(model, variables, todo, run, steps=chunk)
    cut = partial(
        jax.lax.dynamic_slice_in_dim, start_index=start, slice_size=chunk, axis=1
    )
    made = Generated(
        cut(run.out.tokens), run.out.lengths - before, cut(run.out.log_probs)
    )
    return run, made, run.done.all() | (run.step >= todo.limit)
