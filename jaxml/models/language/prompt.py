"""What every way of generating starts from: prompts of few shapes, and a fed cache.

    prompt = bucketed(input_ids, mask, bucket=64)        # padded on the left
    speaker = Speaker(model, variables)
    logits, cache = speaker.feed(tokens, positions, cache)

`Speaker` lets causal models and the decoders of encoder-decoders be fed alike.

Letters: b rows, t tokens, p tokens of a padded prompt, v vocabulary, s encoder tokens.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

__all__ = [
    "Ends",
    "Prompt",
    "Speaker",
    "bucketed",
    "check_room",
    "ends",
    "round_up",
]


class Prompt(NamedTuple):
    """Prompts whose last tokens stand side by side."""

    tokens: Int[Array, "b p"]
    mask: Bool[Array, "b p"]  # False: padding, on the left

    @property
    def positions(self) -> Int[Array, "b p"]:
        """How many tokens of the row stand before each."""
        return jnp.maximum(self.mask.cumsum(-1, dtype=jnp.int32) - 1, 0)


class Ends(NamedTuple):
    """What ends a row: a token, or several in a row."""

    tokens: Int[Array, "e"]
    sequences: Int[Array, "q m"]  # -1 on the left where one is shorter than m

    def reached(self, recent: Int[Array, "b m"]) -> Bool[Array, "b"]:
        """Whether rows have just ended, by their last m new tokens (-2 where none)."""
        ended = (recent[:, -1:] == self.tokens[None]).any(-1)
        asked, got = self.sequences[None], recent[:, None]
        return ended | ((asked == got) | (asked == -1)).all(-1).any(-1)

    @property
    def memory(self) -> int:
        """How many recent tokens must be known."""
        return self.sequences.shape[-1]


class Speaker(NamedTuple):
    """A model with its parameters, and what it listens to."""

    model: nn.Module
    variables: PyTree
    encoded: PyTree = None  # of the encoder, or what the decoder keeps of it
    encoded_mask: Bool[Array, "b s"] | None = None

    def prepared(self) -> "Speaker":
        """The same, with what need not be computed anew for each token."""
        if self.encoded is None or not hasattr(self.model, "remember"):
            return self
        memory = self.model.apply(self.variables, self.encoded, method="remember")
        return self._replace(encoded=memory)

    def feed(
        self,
        tokens: Int[Array, "b t"],
        positions: Int[Array, "b t"],
        cache: PyTree,
        mask: Bool[Array, "b t"] | None = None,
    ) -> tuple[Float[Array, "b t v"], PyTree]:
        """Logits after each of the new tokens, and the cache that knows them."""
        output: Any
        if self.encoded is None:
            output = self.model.apply(
                self.variables, tokens, mask=mask, positions=positions, cache=cache
            )
        else:
            output = self.model.apply(
                self.variables,
                tokens,
                self.encoded,
                self.encoded_mask,
                cache=cache,
                method="decode",
            )
        return output.logits.astype(jnp.float32), output.cache

    def listen(self, prompt: Prompt, length: int, dtype: Any) -> PyTree:
        """A cache of `length` tokens that knows all of the prompt but its last token.

        That one is fed by the loop that follows: so the loop is uniform, and the
        logits of the prompt, which nobody reads, are not computed under jit.
        """
        cache = self.model.start_cache(prompt.tokens.shape[0], length, dtype)
        if prompt.tokens.shape[1] == 1:
            return cache
        mask = None if self.encoded is not None else prompt.mask[:, :-1]
        before = prompt.tokens[:, :-1], prompt.positions[:, :-1]
        return self.feed(*before, cache, mask)[1]

    def vocabulary(self, rows: int, cache: PyTree) -> int:
        """Number of logits, without computing any."""
        token = jnp.zeros((rows, 1), jnp.int32)
        return jax.eval_shape(self.feed, token, token, cache)[0].shape[-1]


def bucketed(
    input_ids: Int[Array, "b t"],
    mask: Bool[Array, "b t"] | Int[Array, "b t"] | None,
    *,
    bucket: int,
    longest: int | None = None,
    side: str = "left",
) -> Prompt:
    """Move the padding of each row to one side, and pad to a multiple of `bucket`.

    Padding may be on the left, on the right or between; the result is the same.

    Args:
        input_ids: prompts, one token a row at least.
        mask: False where a token is padding; all are real if None.
        bucket: lengths are rounded up to its multiples, so that few shapes compile.
        longest: lengths are rounded no further than to this, if given.
        side: "left" or "right": where the padding shall be.

    Raises:
        ValueError: if shapes or dtypes are off, or a row has no token.

    >>> ids = jnp.array([[7, 8, 0], [1, 2, 3]])
    >>> bucketed(ids, ids > 0, bucket=4).tokens
    Array([[0, 0, 7, 8],
           [0, 1, 2, 3]], dtype=int32)
    """
    if input_ids.ndim != 2 or not jnp.issubdtype(input_ids.dtype, jnp.integer):
        raise ValueError(
            "input_ids must be integers [batch, tokens]; got "
            f"{input_ids.dtype} {list(input_ids.shape)}"
        )
    if mask is not None and mask.shape != input_ids.shape:
        raise ValueError(
            f"mask must be {list(input_ids.shape)}, as input_ids; "
            f"got {list(mask.shape)}"
        )
    xp, input_ids, mask = _where_they_lie(input_ids, mask)
    if mask is None:
        mask = xp.ones(input_ids.shape, bool)
    mask = mask.astype(bool)
    if xp is np and not mask.any(-1).all():
        rows = np.flatnonzero(~mask.any(-1)).tolist()
        raise ValueError(f"every row needs a token; rows {rows} are all padding")
    sorted_rows = xp.argsort(mask if side == "left" else ~mask, axis=1, stable=True)
    tokens = xp.take_along_axis(xp.where(mask, input_ids, 0), sorted_rows, 1)
    mask = xp.take_along_axis(mask, sorted_rows, 1)
    size = input_ids.shape[1]
    width = round_up(size, bucket)
    if longest is not None:
        width = max(size, min(width, longest))
    more = (width - size, 0) if side == "left" else (0, width - size)
    padded = (xp.pad(x, ((0, 0), more)) for x in (tokens.astype(np.int32), mask))
    return Prompt(*map(jnp.asarray, padded))


def check_room(prompt: Prompt, new: int, longest: int) -> None:
    """Refuse to write past the last position, where prompts are known before tracing.

    Raises:
        ValueError: if the longest prompt and `new` tokens are more than `longest`.
    """
    xp, mask = _where_they_lie(prompt.mask)
    if xp is np and (size := int(mask.sum(-1).max())) + new > longest:
        raise ValueError(
            f"prompt and new tokens must be at most {longest} together; got "
            f"{size} + {new}"
        )


def round_up(size: int, bucket: int) -> int:
    """The least multiple of `bucket` that is at least `size`, and at least one bucket.

    >>> round_up(65, 64)
    128
    """
    if bucket < 1:
        raise ValueError(f"bucket must be at least 1; got {bucket}")
    return max(1, -(-size // bucket)) * bucket


def ends(
    eos_token_id: int | Sequence[int] | None, stop: Sequence[Sequence[int]]
) -> Ends:
    """The arrays of `Ends`.

    Raises:
        ValueError: if a stop sequence is empty, or an id negative.

    >>> ends(2, [(5, 6), (7,)]).sequences
    Array([[ 5,  6],
           [-1,  7]], dtype=int32)
    """
    if eos_token_id is None:
        eos_token_id = ()
    tokens = np.atleast_1d(np.asarray(eos_token_id, np.int32))
    if any(len(sequence) == 0 for sequence in stop):
        raise ValueError(f"a stop sequence must hold a token; got {list(stop)}")
    longest = max(map(len, stop), default=1)
    rows = np.full((len(stop), longest), -1, np.int32)
    for row, sequence in zip(rows, stop, strict=True):
        row[longest - len(sequence) :] = sequence
        if min(sequence) < 0:
            raise ValueError(f"ids must be at least 0; got {list(sequence)}")
    if (tokens < 0).any():
        raise ValueError(f"ids must be at least 0; got eos_token_id={eos_token_id}")
    return Ends(jnp.asarray(tokens), jnp.asarray(rows))


def _where_they_lie(*arrays):
    """numpy and its arrays, or jnp where values are traced or on other hosts."""
    try:
        return np, *(None if x is None else np.asarray(x) for x in arrays)
    except (jax.errors.TracerArrayConversionError, RuntimeError):
        return jnp, *arrays
