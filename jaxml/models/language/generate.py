"""Continue prompts with a causal model or the decoder of an encoder-decoder.

    out = generate(model, variables, input_ids, mask, max_new_tokens=64, eos_token_id=2)
    out = generate(model, variables, input_ids, max_new_tokens=64, key=key, top_p=0.9)
    texts = [row[:n] for row, n in zip(out.tokens, out.lengths)]

An encoder-decoder (T5) reads `input_ids`, and its answer starts with one token. How
else it shall start, or what else was encoded, can be told:

    encoded = model.apply(variables, input_ids, mask, method="encode")
    out = generate(
        model, variables, start, encoded=encoded, encoded_mask=mask, max_new_tokens=64
    )

One jitted `lax.while_loop` over a cache of static shape, which ends when every row has.
Prompts and answers are padded to multiples of `bucket`: one compile for each batch and
bucket. Numbers (temperature, top_p, the limit, the ids that end) are traced.

Letters: b rows, t new tokens, r room for new tokens, v vocabulary, s encoder tokens.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from jaxml.models.language import plan as plans
from jaxml.models.language import prompt as prompts
from jaxml.models.language import sampling
from jaxml.models.language.plan import Plan
from jaxml.models.language.prompt import Speaker
from jaxml.models.language.sampling import Number, Sampling
from jaxml.ops import histogram

__all__ = ["Generated", "Run", "advance", "begin", "generate"]


class Generated(NamedTuple):
    """New tokens, without the prompt."""

    tokens: Int[Array, "b t"]  # the padding token after a row's end
    lengths: Int[Array, "b"]  # new tokens of each row, with the one that ended it
    log_probs: Float[Array, "b t"]  # of each token under the model itself, 0 after


class Run(NamedTuple):
    """A run on its way."""

    step: Int[Array, ""]
    current: Int[Array, "b"]  # the token to be fed next
    position: Int[Array, "b"]  # its position
    cache: PyTree
    seen: Bool[Array, "b v"] | None  # for the repetition penalty
    recent: Int[Array, "b m"]  # last new tokens, for stop sequences
    done: Bool[Array, "b"]
    out: Generated  # with room for r tokens


def generate(
    model: nn.Module,
    variables: PyTree,
    input_ids: Int[Array, "b p"],
    mask: Bool[Array, "b p"] | Int[Array, "b p"] | None = None,
    *,
    max_new_tokens: int,
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
) -> Generated:
    """Continue each prompt, greedily without a key and by drawing with one.

    A row does not depend on its neighbours nor on where its padding is.

    Args:
        model: causal model, or encoder-decoder (one with a method `encode`).
        variables: its parameters, on whatever mesh they are.
        input_ids: prompts, or what the encoder reads; with `encoded` how the decoder
            starts, without padding.
        mask: False or 0 where a token is padding, on any side.
        max_new_tokens: when to stop at the latest.
        eos_token_id: token or tokens that end a row.
        pad_token_id: what stands after the end of a row.
        stop: sequences of tokens that end a row as well, as soon as they are written
            among the new tokens; they stay in the result.
        key: draw tokens with it; one key for all rows, or one a row [b], which
            makes a draw the same in whatever batch. None: the likeliest token.
        temperature: divides the logits; 0 is the likeliest token. This and the four
            that follow may be numbers or arrays [b], and are described in `sampling`.
        top_k: keep the k likeliest tokens.
        top_p: keep the likeliest tokens that sum to p.
        min_p: keep tokens at least p times as likely as the likeliest.
        repetition_penalty: above 1 makes tokens of the prompt and of the answer less
            likely; padding does not count (in transformers it does).
        decoder_start_token_id: with what an encoder-decoder starts its answer.
        encoded: what the encoder made of its input, if that is done.
        encoded_mask: False or 0 where that is padding.
        bucket: lengths are rounded up to its multiples, so that few shapes compile.
        cache_dtype: of keys and values.

    Returns:
        Tokens, lengths and log-probabilities (under the model, before any step of
        `sampling`) of the new tokens.

    Raises:
        ValueError: if shapes are off, a number is out of range, or a number of the
            draw is given without a key.
    """
    numbers = Sampling(temperature, top_k, top_p, min_p, repetition_penalty)
    todo = plans.make(
        model,
        variables,
        input_ids,
        mask,
        numbers,
        key=key,
        max_new_tokens=max_new_tokens,
        ends=prompts.ends(eos_token_id, stop),
        pad_token_id=pad_token_id,
        decoder_start_token_id=decoder_start_token_id,
        encoded=encoded,
        encoded_mask=encoded_mask,
        bucket=bucket,
    )
    room = prompts.round_up(max_new_tokens, bucket)
    out = _generate(model, variables, todo, room=room, dtype=cache_dtype)
    return Generated(
        out.tokens[:, :max_new_tokens], out.lengths, out.log_probs[:, :max_new_tokens]
    )


def begin(
    model: nn.Module, variables: PyTree, todo: Plan, *, room: int, dtype: Any
) -> Run:
    """The run before its first new token, with room for `room` of them."""
    rows, length = todo.prompt.tokens.shape
    speaker = _speaker(model, variables, todo)
    cache = speaker.listen(todo.prompt, length + room, dtype)
    seen = None
    if todo.settings.repetition_penalty is not None:
        seen = jnp.zeros((rows, speaker.vocabulary(rows, cache)), bool)
        row = jnp.broadcast_to(jnp.arange(rows)[:, None], (rows, length))
        seen = seen.at[row, todo.prompt.tokens].max(todo.prompt.mask)
    return Run(
        step=jnp.zeros((), jnp.int32),
        current=todo.prompt.tokens[:, -1],
        position=todo.prompt.positions[:, -1],
        cache=cache,
        seen=seen,
        recent=jnp.full((rows, todo.ends.memory), -2, jnp.int32),
        done=jnp.zeros(rows, bool),
        out=Generated(
            jnp.full((rows, room), todo.pad, jnp.int32),
            jnp.zeros(rows, jnp.int32),
            jnp.zeros((rows, room), jnp.float32),
        ),
    )


def advance(
    model: nn.Module, variables: PyTree, todo: Plan, run: Run, *, steps: int
) -> Run:
    """At most `steps` more tokens; fewer if all rows end or the limit is reached."""
    last = jnp.minimum(run.step + steps, todo.limit)
    step = partial(_step, _speaker(model, variables, todo), todo)
    return jax.lax.while_loop(
        lambda run: (run.step < last) & ~run.done.all(), step, run
    )


@partial(jax.jit, static_argnames=("model", "room", "dtype"))
def _generate(model, variables, todo, *, room, dtype):
    run = begin(model, variables, todo, room=room, dtype=dtype)
    return advance(model, variables, todo, run, steps=room).out


def _speaker(model, variables, todo):
    return Speaker(model, variables, todo.encoded, todo.encoded_mask).prepared()


def _step(speaker: Speaker, todo: Plan, run: Run) -> Run:
    """Feed the current token, choose the next."""
    logits, cache = speaker.feed(run.current[:, None], run.position[:, None], run.cache)
    logits = logits[:, -1]
    scores = sampling.process(logits, todo.settings, run.seen)
    if todo.keys is None:
        token = histogram.argmax(scores)
    else:
        fold = jax.vmap(jax.random.fold_in, (0, None))
        token = sampling.draw(fold(todo.keys, run.step), scores, todo.settings)
    log_prob = jnp.take_along_axis(logits, token[:, None], 1)[:, 0]
    log_prob = log_prob - jax.nn.logsumexp(logits, -1)

    token = jnp.where(run.done, todo.pad, token)
    out = Generated(
        run.out.tokens.at[:, run.step].set(token),
        run.out.lengths + ~run.done,
        run.out.log_probs.at[:, run.step].set(jnp.where(run.done, 0.0, log_prob)),
    )
    recent = jnp.concatenate([run.recent[:, 1:], token[:, None]], 1)
    seen = run.seen
    if seen is not None:
        seen = seen.at[jnp.arange(len(token)), token].set(True)
    return Run(
        step=run.step + 1,
        current=token,
        position=run.position + 1,
        cache=cache,
        seen=seen,
        recent=recent,
        done=run.done | todo.ends.reached(recent),
        out=out,
    )
