"""Speculative decoding: a small model proposes, the large one judges many at once.

    out = speculate(
        model, variables, draft, draft_variables, input_ids, max_new_tokens=64,
        draft_tokens=4, key=key, temperature=0.8,
    )

Whatever the draft says, the tokens are distributed as those of `generate` with the same
settings; greedily they are the same tokens, up to the rounding of logits. Each row goes
at its own pace: the caches remember a length for each.

Letters: b rows, k proposals of a round, v vocabulary, t new tokens, m recent tokens.

References:
    Leviathan, Kalman and Matias, 2022. Speculative decoding. arXiv:2211.17192 (alg. 1).
    Chen et al., 2023. Speculative sampling. arXiv:2302.01318.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, cast

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
from jaxml.nn.cache import Cache
from jaxml.ops import histogram

__all__ = ["Speculated", "acceptance", "leftover", "speculate"]


class Speculated(NamedTuple):
    """New tokens, without the prompt, and how well the draft guessed."""

    tokens: Int[Array, "b t"]  # the padding token after a row's end
    lengths: Int[Array, "b"]
    rounds: Int[Array, "b"]  # how often the large model was asked
    accepted: Int[Array, "b"]  # proposals it took, of `draft_tokens` a round


class Race(NamedTuple):
    """A run on its way."""

    round: Int[Array, ""]
    current: Int[Array, "b"]  # the token to be fed next
    position: Int[Array, "b"]  # its position
    caches: tuple[PyTree, PyTree]  # of the model, of the draft
    recent: Int[Array, "b m"]
    done: Bool[Array, "b"]
    out: Speculated  # with room for a round past the limit


def speculate(
    model: nn.Module,
    variables: PyTree,
    draft: nn.Module,
    draft_variables: PyTree,
    input_ids: Int[Array, "b p"],
    mask: Bool[Array, "b p"] | Int[Array, "b p"] | None = None,
    *,
    max_new_tokens: int,
    draft_tokens: int = 4,
    eos_token_id: int | Sequence[int] | None = None,
    pad_token_id: int = 0,
    stop: Sequence[Sequence[int]] = (),
    key: Key[Array, "*b"] | None = None,
    temperature: Number | None = None,
    top_k: Number | None = None,
    top_p: Number | None = None,
    min_p: Number | None = None,
    bucket: int = 64,
    cache_dtype: Any = jnp.float32,
) -> Speculated:
    """Continue each prompt as `generate` does, asking the large model less often.

    Arguments not told here are those of `generate`.

    Args:
        model: causal model whose distribution counts.
        variables: its parameters.
        draft: causal model that proposes; of the same vocabulary.
        draft_variables: its parameters.
        draft_tokens: proposals of a round, at least 1. Many pay where the draft is
            right often.

    Raises:
        ValueError: as `generate`, or if `draft_tokens` is below 1 or not below a
            window of the attention, or if the vocabularies differ.
    """
    if draft_tokens < 1:
        raise ValueError(f"draft_tokens must be at least 1; got {draft_tokens}")
    settings = Sampling(temperature, top_k, top_p, min_p)
    todo = plans.make(
        model,
        variables,
        input_ids,
        mask,
        settings,
        key=key,
        max_new_tokens=max_new_tokens,
        ends=prompts.ends(eos_token_id, stop),
        pad_token_id=pad_token_id,
        decoder_start_token_id=0,
        encoded=None,
        encoded_mask=None,
        bucket=bucket,
    )
    if key is None:  # the likeliest token is a draw at temperature zero
        keys = jax.random.split(jax.random.key(0), input_ids.shape[0])
        todo = todo._replace(keys=keys, settings=Sampling(temperature=0.0))
    out = _speculate(
        (model, draft),
        (variables, draft_variables),
        todo,
        ahead=draft_tokens,
        room=prompts.round_up(max_new_tokens, bucket),
        dtype=cache_dtype,
    )
    return out._replace(tokens=out.tokens[:, :max_new_tokens])


def acceptance(
    p: Float[Array, "*n v"], q: Float[Array, "*n v"], proposed: Int[Array, "*n"]
) -> Float[Array, "*n"]:
    """The chance to take each proposal: min(1, p / q) at the proposed token.

    Args:
        p: distribution of the model.
        q: distribution that the proposal was drawn from.
        proposed: tokens.
    """
    at = lambda x: jnp.take_along_axis(x, proposed[..., None], -1)[..., 0]
    return jnp.minimum(1.0, at(p) / jnp.maximum(at(q), jnp.finfo(q.dtype).tiny))


def leftover(p: Float[Array, "*n v"], q: Float[Array, "*n v"]) -> Float[Array, "*n v"]:
    """What to draw from after a refusal: max(p - q, 0), summing to one."""
    rest = jnp.maximum(p - q, 0.0)
    total = rest.sum(-1, keepdims=True)
    # Equal distributions refuse nothing but by rounding.
    return jnp.where(total > 0, rest / jnp.where(total > 0, total, 1.0), p)


@partial(jax.jit, static_argnames=("models", "ahead", "room", "dtype"))
def _speculate(models, variables, todo, *, ahead, room, dtype):
    rows, length = todo.prompt.tokens.shape
    length += room + ahead + 1
    speakers = [Speaker(m, v) for m, v in zip(models, variables, strict=True)]
    caches = tuple(speaker.listen(todo.prompt, length, dtype) for speaker in speakers)
    sizes = [s.vocabulary(rows, c) for s, c in zip(speakers, caches, strict=True)]
    if sizes[0] != sizes[1]:
        raise ValueError(f"the draft must have {sizes[0]} tokens; got {sizes[1]}")
    is_cache = lambda x: isinstance(x, Cache)
    slots = [c.position.shape[-1] for c in jax.tree.leaves(caches, is_leaf=is_cache)]
    if min(slots) <= ahead:
        raise ValueError(
            f"draft_tokens must be below the window of {min(slots)}; got {ahead}"
        )
    zeros = jnp.zeros(rows, jnp.int32)
    race = Race(
        round=jnp.zeros((), jnp.int32),
        current=todo.prompt.tokens[:, -1],
        position=todo.prompt.positions[:, -1],
        caches=caches,
        recent=jnp.full((rows, todo.ends.memory), -2, jnp.int32),
        done=jnp.zeros(rows, bool),
        out=Speculated(
            jnp.full((rows, room + ahead + 1), todo.pad), zeros, zeros, zeros
        ),
    )
    body = partial(_round, speakers, todo, ahead=ahead, length=length)
    out = jax.lax.while_loop(lambda race: ~race.done.all(), body, race).out
    places = jnp.arange(out.tokens.shape[1])[None]
    tokens = jnp.where(places < out.lengths[:, None], out.tokens, todo.pad)
    return out._replace(tokens=tokens)


def _round(speakers, todo: Plan, race: Race, *, ahead: int, length: int) -> Race:
    """The draft proposes `ahead` tokens; the model takes some and adds one."""
    speaker, drafter = speakers
    own = cast(Key[Array, "b"], todo.keys)  # `speculate` sees to it that there are some
    keys = jax.vmap(jax.random.fold_in, (0, None))(own, race.round)
    key_draft, key_judge, key_add = jax.vmap(jax.random.split, (0, None), 1)(keys, 3)
    proposed, q, draft_cache = _propose(drafter, todo, race, key_draft, ahead)
    fed = jnp.concatenate([race.current[:, None], proposed], 1)
    places = race.position[:, None] + jnp.arange(ahead + 1)[None]
    logits, cache = speaker.feed(fed, places, race.caches[0])
    p = jax.vmap(
        lambda x: sampling.probabilities(x, todo.settings), in_axes=1, out_axes=1
    )(logits)

    uniform = jax.vmap(lambda key: jax.random.uniform(key, (ahead,)))(key_judge)
    taken = uniform < acceptance(p[:, :-1], q, proposed)
    count = taken.cumprod(1).sum(1)  # proposals before the first refusal
    q = jnp.pad(q, ((0, 0), (0, 1), (0, 0)))  # after the last one p itself is left
    rest = jnp.take_along_axis(leftover(p, q), count[:, None, None], 1)[:, 0]
    noise = jax.vmap(lambda key: jax.random.gumbel(key, rest.shape[1:]))(key_add)
    added = histogram.argmax(jnp.where(rest > 0, jnp.log(rest) + noise, -jnp.inf))
    index = jnp.arange(ahead + 1)[None]
    said = jnp.where(
        index < count[:, None], jnp.pad(proposed, ((0, 0), (0, 1))), added[:, None]
    )

    kept = jnp.where(race.done, 0, count + 1)
    caches = tuple(
        _rewind(old, new, kept, race.position, length)
        for old, new in zip(race.caches, (cache, draft_cache), strict=True)
    )
    return _write(todo, race, said, count, added, kept, caches)


def _propose(drafter, todo, race, keys, ahead):
    """Draw from the draft, token by token: proposals, their distributions, its cache.

    It reads its last proposal too, so that both caches know the same tokens.
    """

    def step(carry, i):
        token, cache = carry
        position = race.position + i
        logits, cache = drafter.feed(token[:, None], position[:, None], cache)
        logits = logits[:, -1]
        scores = sampling.process(logits, todo.settings)
        fold = jax.vmap(jax.random.fold_in, (0, None))
        token = sampling.draw(fold(keys, i), scores, todo.settings)
        return (token, cache), (token, sampling.probabilities(logits, todo.settings))

    start = race.current, race.caches[1]
    (_, cache), (tokens, q) = jax.lax.scan(step, start, jnp.arange(ahead + 1))
    return tokens[:-1].T, q[:-1].swapaxes(0, 1), cache


def _write(todo, race, said, count, added, kept, caches):
    """Note down what was said, up to the end of each row."""
    rows, size = said.shape
    memory = todo.ends.memory
    known = jnp.concatenate([race.recent, said], 1)
    ends = jnp.stack(
        [todo.ends.reached(known[:, i + 1 : i + 1 + memory]) for i in range(size)], 1
    )
    ends &= jnp.arange(size)[None] < kept[:, None]
    first = jnp.where(ends.any(1), ends.argmax(1) + 1, kept)
    out = race.out
    lengths = jnp.minimum(out.lengths + jnp.where(race.done, 0, first), todo.limit)
    place = out.lengths[:, None] + jnp.arange(size)[None]
    place = jnp.where(race.done[:, None], out.tokens.shape[1], place)
    row = jnp.broadcast_to(jnp.arange(rows)[:, None], place.shape)
    on = (~race.done).astype(jnp.int32)
    recent = kept[:, None] + jnp.arange(memory)[None]
    return Race(
        round=race.round + 1,
        current=jnp.where(race.done, race.current, added),
        position=race.position + kept,
        caches=caches,
        recent=jnp.take_along_axis(known, recent, 1),
        done=race.done | ends.any(1) | (lengths >= todo.limit),
        out=Speculated(
            out.tokens.at[row, place].set(said, mode="drop"),
            lengths,
            out.rounds + on,
            out.accepted + on * count,
        ),
    )


def _rewind(old: PyTree, new: PyTree, kept, position, length):
    """The caches with only the first `kept` of the tokens just fed."""

    def rewind(old, new):
        layers = (1,) * (new.length.ndim - 1)
        read = old.length + kept.reshape(*layers, -1)
        refused = new.position >= (position + kept).reshape(*layers, -1, 1)
        if new.position.shape[-1] >= length:
            forgotten = jnp.where(refused, -1, new.position)
            return new._replace(position=forgotten, length=read)

        # In a ring they have taken the place of old tokens, which come back.
        def choose(a, b):
            by_head = a.ndim > refused.ndim  # [b g s d] beside [b s]
            return jnp.where(refused[..., None, :, None] if by_head else refused, a, b)

        return Cache(
            choose(old.key, new.key),
            choose(old.value, new.value),
            choose(old.position, new.position),
            read,
        )

    return jax.tree.map(rewind, old, new, is_leaf=lambda x: isinstance(x, Cache))
