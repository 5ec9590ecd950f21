"""Texts as arrays of ids, and back.

    tokenizer = text.load("bert-base-uncased")               # its vocabulary files
    batch = text.encode(tokenizer, ["a text", "a longer text"], length=128)
    logits = model.apply(variables, jnp.asarray(batch.ids), jnp.asarray(batch.mask))
    texts = text.decode(tokenizer, out.tokens)

Tokenizers are those of Hugging Face's package `tokenizers` (extra `[text]`); they are
loaded by `load` and learnt by `tokenizers_train`. No function here changes one.

Letters: n texts, t tokens.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from jaxml.data.tokenizers_files import load, require
from jaxml.data.tokenizers_train import bpe, unigram, word_pieces

__all__ = [
    "Encoded",
    "bpe",
    "decode",
    "encode",
    "load",
    "pad",
    "unigram",
    "with_ends",
    "word_pieces",
]

PADS = ("[PAD]", "<pad>", "<|pad|>", "<|endoftext|>", "</s>")


class Encoded(NamedTuple):
    """Texts of one length."""

    ids: Int[np.ndarray, "n t"]
    mask: Bool[np.ndarray, "n t"]  # False: padding
    types: Int[np.ndarray, "n t"]  # 1 in the second text of a pair, else 0


def encode(
    tokenizer: Any,
    texts: Sequence[str] | Sequence[tuple[str, str]],
    *,
    length: int | None = None,
    bucket: int = 1,
    side: str = "right",
    pad_id: int | None = None,
    special: bool = True,
) -> Encoded:
    """Ids of each text, padded to one length.

    Args:
        tokenizer: a `tokenizers.Tokenizer`.
        texts: texts, or pairs of them.
        length: of the result; longer texts lose their end, but not the special tokens
            there; of a pair the longer one gives first. None: that of the longest.
        bucket: without `length`: round that up to its multiples, for fewer shapes.
        side: "left" or "right": where padding stands; to generate, either will do.
        pad_id: what stands there; None: the tokenizer's own token for it, else 0.
        special: whether to add what the tokenizer puts around texts.

    Raises:
        ValueError: if a setting is out of range.
    """
    room = tokenizer.num_special_tokens_to_add
    pairs = [text if isinstance(text, tuple) else (text, None) for text in texts]
    firsts = tokenizer.encode_batch([a for a, _ in pairs], add_special_tokens=False)
    seconds = iter(
        tokenizer.encode_batch(
            [b for _, b in pairs if b is not None], add_special_tokens=False
        )
    )
    rows = []
    for first, (_, text) in zip(firsts, pairs, strict=True):
        second = None if text is None else next(seconds)
        if length is not None:
            added = room(second is not None) if special else 0
            if length <= added:
                raise ValueError(f"length must be above {added}; got {length}")
            _cut(first, second, length - added)
        rows.append(tokenizer.post_process(first, second, special))
    if pad_id is None:
        pad_id = next((i for i in map(tokenizer.token_to_id, PADS) if i is not None), 0)
    ids, mask = pad(
        [row.ids for row in rows],
        length=length,
        bucket=bucket,
        side=side,
        pad_id=pad_id,
    )
    kinds = [row.type_ids for row in rows]
    types, _ = pad(kinds, length=ids.shape[1], side=side)
    return Encoded(ids, mask, types)


def pad(
    rows: Sequence[Sequence[int]],
    *,
    length: int | None = None,
    bucket: int = 1,
    side: str = "right",
    pad_id: int = 0,
) -> tuple[Int[np.ndarray, "n t"], Bool[np.ndarray, "n t"]]:
    """Rows of ids as one array, and a mask that is False where it is padding.

    Args:
        rows: ids, one row a text.
        length: of the result; None: of the longest row, rounded up to `bucket`.
        bucket: see `length`.
        side: "left" or "right": where padding stands.
        pad_id: what stands there.

    Raises:
        ValueError: if a row is longer than `length`, or a setting is out of range.

    >>> pad([[5, 6], [7]], side="left")[0]
    array([[5, 6],
           [0, 7]], dtype=int32)
    """
    if side not in ("left", "right"):
        raise ValueError(f'side must be "left" or "right"; got {side!r}')
    if bucket < 1:
        raise ValueError(f"bucket must be at least 1; got {bucket}")
    longest = max(map(len, rows), default=0)
    if length is None:
        length = -(-longest // bucket) * bucket
    if longest > length:
        raise ValueError(f"rows must have at most {length} ids; got {longest}")
    ids = np.full((len(rows), length), pad_id, np.int32)
    mask = np.zeros((len(rows), length), bool)
    for i, row in enumerate(rows):
        place = slice(len(row)) if side == "right" else slice(length - len(row), length)
        ids[i, place], mask[i, place] = row, True
    return ids, mask


def decode(
    tokenizer: Any,
    ids: Int[Any, "n t"],
    mask: Bool[Any, "n t"] | None = None,
    *,
    special: bool = False,
) -> list[str]:
    """The text of each row of ids.

    Args:
        tokenizer: a `tokenizers.Tokenizer`.
        ids: tokens, arrays of NumPy or JAX.
        mask: False where a token is left out.
        special: whether special tokens are written.
    """
    ids = np.asarray(ids)
    keep = np.ones(ids.shape, bool) if mask is None else np.asarray(mask, bool)
    rows = [row[kept].tolist() for row, kept in zip(ids, keep, strict=True)]
    return tokenizer.decode_batch(rows, skip_special_tokens=not special)


def with_ends(
    tokenizer: Any, *, start: str | None = None, end: str | None = None
) -> Any:
    """A copy that puts a token before and one after each text.

    T5's model file, for one, does not say that its texts end with "</s>".

    Args:
        tokenizer: a `tokenizers.Tokenizer`.
        start: token before a text, if any.
        end: token after a text (after each of a pair), if any.

    Raises:
        ValueError: if the vocabulary has no such token.
    """
    hf = require()
    tokens = [token for token in (start, end) if token is not None]
    ids = {token: tokenizer.token_to_id(token) for token in tokens}
    missing = [token for token, place in ids.items() if place is None]
    if missing:
        raise ValueError(f"the vocabulary must hold {', '.join(missing)}")
    before, after = ([start] if start else []), ([end] if end else [])
    copy = hf.Tokenizer.from_str(tokenizer.to_str())
    copy.encode_special_tokens = tokenizer.encode_special_tokens
    copy.post_processor = hf.processors.TemplateProcessing(
        single=[*before, "$A", *after],
        pair=[*before, "$A", *after, "$B:1", *(f"{token}:1" for token in after)],
        special_tokens=list(ids.items()),
    )
    return copy


def _cut(first, second, size):
    """Shorten a text, or the longer of a pair until both fit."""
    if second is None:
        first.truncate(min(size, len(first)))
        return
    total = len(first) + len(second) - size
    if total <= 0:
        return
    lengths = [len(first), len(second)]
    for _ in range(total):
        lengths[lengths[0] <= lengths[1]] -= 1
    first.truncate(lengths[0])
    second.truncate(lengths[1])
