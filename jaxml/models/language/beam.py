"""Beam search: keep the likeliest few continuations of each prompt.

    beams = beam_search(model, variables, ids, mask, num_beams=4, max_new_tokens=64)
    best = beams.tokens[:, 0]                    # the beams of a row, best first

The definition is that of Hugging Face transformers: a sequence scores its summed
log-probability over its length (new tokens, with the one that ends it) to the power of
`length_penalty`; of the likeliest continuations of a row those among the first
`num_beams` may end; a row is settled when the best running beam, at the length it has
now, cannot beat its worst finished one.

Letters: b rows, k beams, n beams returned, r room for new tokens, t new tokens,
s encoder tokens.

References:
    Graves, 2012. Sequence transduction. arXiv:1211.3711 (section 2.5).
    Wu et al., 2016. Length normalisation. arXiv:1609.08144 (section 7).
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from jaxml.models.language import plan as plans
from jaxml.models.language import prompt as prompts
from jaxml.models.language.plan import Plan
from jaxml.models.language.prompt import Speaker
from jaxml.models.language.sampling import Sampling
from jaxml.nn import cache as caches

__all__ = ["Beams", "beam_search"]

NEVER = -1e9  # the score of what may not be chosen


class Beams(NamedTuple):
    """The best sequences of each row, without the prompt, best first."""

    tokens: Int[Array, "b n t"]  # the padding token after the end
    lengths: Int[Array, "b n"]
    scores: Float[Array, "b n"]  # log-probability / length ** length_penalty


class Search(NamedTuple):
    """A search on its way: beams that run, and those that have ended."""

    step: Int[Array, ""]
    cache: PyTree
    tokens: Int[Array, "b k r"]
    log_probs: Float[Array, "b k"]  # sums
    finished: Beams
    ended: Bool[Array, "b k"]  # which of `finished` are
    open: Bool[Array, "b"]  # whether a row may still improve
    stuck: Bool[Array, ""]  # whether all candidates have ended


def beam_search(
    model: nn.Module,
    variables: PyTree,
    input_ids: Int[Array, "b p"],
    mask: Bool[Array, "b p"] | Int[Array, "b p"] | None = None,
    *,
    num_beams: int,
    max_new_tokens: int,
    num_return: int = 1,
    length_penalty: float | Float[Array, ""] = 1.0,
    early_stopping: bool | str = False,
    eos_token_id: int | Sequence[int] | None = None,
    pad_token_id: int = 0,
    stop: Sequence[Sequence[int]] = (),
    decoder_start_token_id: int = 0,
    encoded: Float[Array, "b s d"] | None = None,
    encoded_mask: Bool[Array, "b s"] | Int[Array, "b s"] | None = None,
    bucket: int = 64,
    cache_dtype: Any = jnp.float32,
) -> Beams:
    """The likeliest continuations that `num_beams` beams find.

    A row does not depend on its neighbours. Arguments not told here are those of
    `generate`; `length_penalty` is traced.

    Args:
        num_beams: how many continuations of a row run on.
        num_return: how many of them to return, at most `num_beams`.
        length_penalty: power of the length that divides the log-probability; above 0
            favours long sequences, below 0 short ones.
        early_stopping: True: a row is settled as soon as `num_beams` sequences have
            ended; False: as soon as the best running one would lose if it ended now;
            "never": as soon as it would lose at whatever length.

    Raises:
        ValueError: if a setting is out of range.
    """
    if num_beams < 1 or not 1 <= num_return <= num_beams:
        raise ValueError(
            "num_return must be from 1 to num_beams; got "
            f"num_return={num_return}, num_beams={num_beams}"
        )
    if early_stopping not in (True, False, "never"):
        raise ValueError(
            f'early_stopping must be True, False or "never"; got {early_stopping!r}'
        )
    todo = plans.make(
        model,
        variables,
        input_ids,
        mask,
        Sampling(),
        key=None,
        max_new_tokens=max_new_tokens,
        ends=prompts.ends(eos_token_id, stop),
        pad_token_id=pad_token_id,
        decoder_start_token_id=decoder_start_token_id,
        encoded=encoded,
        encoded_mask=encoded_mask,
        bucket=bucket,
    )
    found = _beam_search(
        model,
        variables,
        todo,
        jnp.asarray(length_penalty, jnp.float32),
        beams=num_beams,
        early_stopping=early_stopping,
        room=prompts.round_up(max_new_tokens, bucket),
        dtype=cache_dtype,
    )
    best = Beams(*(x[:, :num_return] for x in found))
    return best._replace(tokens=best.tokens[:, :, :max_new_tokens])


@partial(jax.jit, static_argnames=("model", "beams", "early_stopping", "room", "dtype"))
def _beam_search(
    model, variables, todo, penalty, *, beams, early_stopping, room, dtype
):
    rows, length = todo.prompt.tokens.shape
    each = jnp.repeat(jnp.arange(rows), beams, total_repeat_length=rows * beams)
    once = Speaker(model, variables, todo.encoded, todo.encoded_mask).prepared()
    heard = jax.tree.map(lambda x: x[each], (todo.encoded, todo.encoded_mask))
    cache = caches.take(once.listen(todo.prompt, length + room, dtype), each)

    search = Search(
        step=jnp.zeros((), jnp.int32),
        cache=cache,
        tokens=jnp.full((rows, beams, room), todo.pad, jnp.int32),
        # The beams are still equal: only the first may be continued.
        log_probs=jnp.full((rows, beams), NEVER).at[:, 0].set(0.0),
        finished=Beams(
            jnp.full((rows, beams, room), todo.pad, jnp.int32),
            jnp.zeros((rows, beams), jnp.int32),
            jnp.full((rows, beams), NEVER),
        ),
        ended=jnp.zeros((rows, beams), bool),
        open=jnp.ones(rows, bool),
        stuck=jnp.zeros((), bool),
    )
    step = partial(
        _step,
        Speaker(model, variables, *heard).prepared(),
        todo,
        penalty=penalty,
        early_stopping=early_stopping,
    )

    def goes_on(search):
        full = search.ended.all() & (early_stopping is True)
        return search.open.any() & ~full & ~search.stuck

    return jax.lax.while_loop(goes_on, step, search).finished


def _step(
    speaker: Speaker, todo: Plan, search: Search, *, penalty, early_stopping
) -> Search:
    """Continue every beam by a token; sort out which run on and which have ended."""
    rows, beams, _ = search.tokens.shape
    parents, candidates, log_probs, cache = _candidates(speaker, todo, search)
    ended = _ended(todo.ends, candidates, search.step)
    ended = ended | (search.step + 1 >= todo.limit)
    finished, have_ended = _merge(
        search, candidates, log_probs, ended, penalty, early_stopping
    )

    running = jnp.where(ended, log_probs + NEVER, log_probs)
    running, chosen = jax.lax.top_k(running, beams)
    parents = _choose(parents, chosen) + beams * jnp.arange(rows)[:, None]

    length = search.step + 1
    if early_stopping == "never":
        # Where what runs will score best: for powers above 0 at the end.
        length = jnp.where(penalty > 0, todo.limit, length)
    hope = running[:, :1] / length.astype(jnp.float32) ** penalty
    worst = jnp.where(have_ended, finished.scores.min(-1, keepdims=True), NEVER)
    return Search(
        step=search.step + 1,
        cache=caches.take(cache, parents.reshape(-1)),
        tokens=_choose(candidates, chosen),
        log_probs=running,
        finished=finished,
        ended=have_ended,
        open=search.open & (hope > worst).any(-1) & (running[:, 0] > NEVER / 2),
        stuck=ended.all(),
    )


def _candidates(speaker, todo, search):
    """The likeliest continuations of each row: parent, tokens, log-probability."""
    rows, beams, _ = search.tokens.shape
    before = jnp.maximum(search.step - 1, 0)
    spoken = jax.lax.dynamic_index_in_dim(search.tokens, before, 2, keepdims=False)
    current = jnp.where(search.step == 0, todo.prompt.tokens[:, -1:], spoken)
    position = todo.prompt.positions[:, -1:] + search.step
    position = jnp.broadcast_to(position, (rows, beams))
    logits, cache = speaker.feed(
        current.reshape(-1, 1), position.reshape(-1, 1), search.cache
    )
    log_probs = jax.nn.log_softmax(logits[:, -1])
    size = log_probs.shape[-1]
    sums = search.log_probs[:, :, None] + log_probs.reshape(rows, beams, size)
    # Enough that `beams` of them run on, whatever ends.
    enders = len(todo.ends.tokens) + len(todo.ends.sequences)
    count = min(max(2, 1 + enders), size) * beams
    sums, place = jax.lax.top_k(sums.reshape(rows, beams * size), count)
    parents = place // size
    candidates = _choose(search.tokens, parents)
    candidates = candidates.at[:, :, search.step].set(place % size)
    return parents, candidates, sums, cache


def _ended(ends, candidates, step):
    """Which candidates have just ended, by their last tokens."""
    rows, count, _ = candidates.shape
    nothing = jnp.full((rows, count, ends.memory), -2, jnp.int32)
    known = jnp.concatenate([nothing, candidates], -1)
    recent = jax.lax.dynamic_slice_in_dim(known, step + 1, ends.memory, -1)
    return ends.reached(recent.reshape(-1, ends.memory)).reshape(rows, count)


def _merge(search, candidates, log_probs, ended, penalty, early_stopping):
    """The best finished sequences, old and new."""
    rows, beams, _ = search.tokens.shape
    count = candidates.shape[1]
    length = search.step + 1
    # What runs on for want of anything better may not end.
    may = ended & search.open[:, None] & (log_probs > NEVER / 2)
    may &= (jnp.arange(count) < beams)[None]
    if early_stopping is True:
        may &= ~search.ended.all(-1, keepdims=True)
    scores = log_probs / length.astype(jnp.float32) ** penalty
    old = search.finished
    scores = jnp.concatenate([old.scores, jnp.where(may, scores, NEVER)], 1)
    scores, best = jax.lax.top_k(scores, beams)
    lengths = jnp.broadcast_to(length, (rows, count))
    join = lambda a, b: _choose(jnp.concatenate([a, b], 1), best)
    finished = Beams(join(old.tokens, candidates), join(old.lengths, lengths), scores)
    return finished, join(search.ended, may)


def _choose(x, index):
    """Of each row the beams that `index` [b, k] names."""
    index = index.reshape(index.shape + (1,) * (x.ndim - 2))
    return jnp.take_along_axis(x, index, 1)
