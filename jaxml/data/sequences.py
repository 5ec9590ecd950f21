"""Ragged sequences as arrays of fixed shapes, and vocabularies of characters and words.

    vocabulary = sequences.words(texts, size=10_000)
    tokens = [vocabulary.encode(text) for text in texts]
    for batch in sequences.buckets(tokens, 64, lengths=(16, 32, 64), seed=0, epoch=0):
        batch["x"], batch["mask"], batch["weight"]        # one program for each length

`pad` makes one rectangle, `buckets` a few lengths, `pack` rows of several sequences
each. Token 0 is padding. Letters: n rows, t steps.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped

from jaxml.data import order

__all__ = ["Vocabulary", "buckets", "characters", "pack", "pad", "split_words", "words"]

Arrays = dict[str, Shaped[np.ndarray, "..."]]
Tokens = Sequence[Int[np.ndarray, "_"] | Sequence[int]]


def split_words(text: str) -> list[str]:
    """Lower-case words without punctuation; an apostrophe inside stays.

    >>> split_words("It's 5 o'clock, already!")
    ["it's", '5', "o'clock", 'already']
    """
    return re.findall(r"\w+(?:'\w+)*", text.lower())


@dataclass(frozen=True)
class Vocabulary:
    """Tokens and their numbers: 0 is padding, then those unknown, then `tokens`.

    Args:
        tokens: the most frequent first; all different.
        unknown: numbers that unknown tokens share, by a hash of their letters that is
            the same everywhere. 0: an unknown token is an error.
        parts: how a text is cut into tokens.
        joint: what stands between tokens when they become a text again.
    """

    tokens: tuple[str, ...]
    unknown: int = 1
    parts: Callable[[str], Sequence[str]] = split_words
    joint: str = " "
    numbers: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        if len(set(self.tokens)) < len(self.tokens):
            twice = [t for t, n in Counter(self.tokens).items() if n > 1]
            raise ValueError(f"tokens must be different; twice: {twice[:5]}")
        first = 1 + self.unknown
        numbers = {token: first + i for i, token in enumerate(self.tokens)}
        object.__setattr__(self, "numbers", numbers)

    def __len__(self):
        return 1 + self.unknown + len(self.tokens)

    def encode(self, text: str) -> Int[np.ndarray, "_"]:
        """Numbers of the tokens of a text, int32.

        Raises:
            ValueError: if a token is unknown and the vocabulary has no place for it.
        """
        parts = self.parts(text)
        return np.fromiter(map(self._number, parts), np.int32, count=len(parts))

    def decode(self, numbers: Iterable[Any]) -> str:
        """The text of some numbers; padding falls out, an unknown token is "�"."""
        first = 1 + self.unknown
        seen = (int(number) for number in numbers)
        return self.joint.join(
            self.tokens[n - first] if n >= first else "�" for n in seen if n
        )

    def _number(self, token):
        number = self.numbers.get(token)
        if number is not None:
            return number
        if not self.unknown:
            raise ValueError(f"no token {token!r} in the vocabulary")
        code = 2166136261  # FNV-1a: the same in every process, unlike hash()
        for byte in token.encode():
            code = (code ^ byte) * 16777619 % 2**32
        return 1 + code % self.unknown


def characters(text: str, *, unknown: int = 0) -> Vocabulary:
    """The characters of a text, in order of their code.

    >>> vocabulary = characters("hello")
    >>> vocabulary.encode("hole").tolist(), vocabulary.decode([2, 4, 3, 1])
    ([2, 4, 3, 1], 'hole')
    """
    return Vocabulary(tuple(sorted(set(text))), unknown, parts=list, joint="")


def words(
    texts: Iterable[str],
    *,
    size: int | None = None,
    unknown: int = 1,
    parts: Callable[[str], Sequence[str]] = split_words,
) -> Vocabulary:
    """The most frequent words of some texts.

    Args:
        texts: to count over.
        size: numbers there may be, padding and unknown ones included; all if None.
        unknown: numbers that the rest share.
        parts: how a text is cut into words.

    Raises:
        ValueError: if `size` leaves no room for a word.

    >>> words(["a b a", "a c"], size=3).encode("a b").tolist()
    [2, 1]
    """
    if size is not None and size < 2 + unknown:
        raise ValueError(f"size must be at least {2 + unknown}; got {size}")
    counts = Counter(word for text in texts for word in parts(text))
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    kept = ranked if size is None else ranked[: size - 1 - unknown]
    return Vocabulary(tuple(kept), unknown, parts)


def pad(sequences: Tokens, length: int | None = None, *, left: bool = False) -> Arrays:
    """One rectangle of all sequences.

    Args:
        sequences: integers, each at least one.
        length: steps of the rectangle; those of the longest if None. Of longer
            sequences the beginning is kept, with `left` the end.
        left: whether the padding stands before, as a generator needs it.

    Returns:
        `x` int32 [n, t] and `mask` bool [n, t], True for what is real.

    Raises:
        ValueError: if there is no sequence, one is empty, or `length` is below 1.

    >>> pad([[5, 6, 7], [8]])["x"].tolist()
    [[5, 6, 7], [8, 0, 0]]
    """
    sizes = _sizes(sequences)
    length = int(sizes.max()) if length is None else length
    if length < 1:
        raise ValueError(f"length must be at least 1; got {length}")
    x = np.zeros((len(sequences), length), np.int32)
    mask = np.zeros(x.shape, bool)
    for row, sequence in enumerate(sequences):
        kept = sequence[-length:] if left else sequence[:length]
        place = slice(length - len(kept), None) if left else slice(len(kept))
        x[row, place], mask[row, place] = kept, True
    return {"x": x, "mask": mask}


def buckets(
    sequences: Tokens,
    batch_size: int,
    *,
    lengths: Sequence[int],
    seed: int | None = None,
    epoch: int = 0,
) -> Iterator[Arrays]:
    """Batches of sequences of about the same length.

    Every batch has the shape [batch_size, one of `lengths`], so that there are as many
    compiled programs as lengths. The last batch of a length is filled up with rows of
    weight 0 that repeat real ones.

    Args:
        sequences: integers, each at least one.
        batch_size: rows of a batch.
        lengths: ascending; the last is at least that of the longest sequence.
        seed: of the order of rows and batches, with `epoch`; as given if None.
        epoch: number of the pass.

    Yields:
        `x`, `mask` (as of `pad`), `row` int32 [b] (place in `sequences`) and `weight`
        float32 [b].

    Raises:
        ValueError: if the lengths do not ascend or a sequence is longer than the last.
    """
    sizes = _sizes(sequences)
    if list(lengths) != sorted(set(lengths)) or batch_size < 1:
        raise ValueError(
            f"lengths must ascend and batch_size be at least 1; got {list(lengths)}, "
            f"{batch_size}"
        )
    if sizes.max() > lengths[-1]:
        raise ValueError(
            f"the last of lengths must be at least {sizes.max()}, the longest "
            f"sequence (row {sizes.argmax()}); got {lengths[-1]}"
        )
    shuffled = lambda n: (
        np.arange(n) if seed is None else order.permutation(n, seed=seed, epoch=epoch)
    )
    rows = shuffled(len(sequences))
    bucket = np.searchsorted(lengths, sizes[rows])
    batches = [
        (number, part[start : start + batch_size])
        for number in range(len(lengths))
        for part in [rows[bucket == number]]
        for start in range(0, len(part), batch_size)
    ]
    for place in shuffled(len(batches)):
        number, real = batches[place]
        chosen = np.resize(real, batch_size)
        made = pad([sequences[row] for row in chosen], lengths[number])
        weight = (np.arange(batch_size) < len(real)).astype(np.float32)
        yield made | {"row": chosen.astype(np.int32), "weight": weight}


def pack(sequences: Tokens, length: int) -> Arrays:
    """Rows of several sequences each, by the first row that has room.

    Args:
        sequences: integers, each from 1 to `length` long. The longest go first.
        length: steps of a row.

    Returns:
        `x` int32 [n, t]; `segment` int32, which sequence of its row a step belongs to,
        from 1, 0 for padding; `position` int32, its place in that sequence; `row` and
        `start` int32, where each sequence of the input went.

    Raises:
        ValueError: if a sequence is empty or longer than a row.

    >>> packed = pack([[1, 2], [3, 4, 5], [6]], 4)
    >>> packed["x"].tolist(), packed["segment"].tolist()
    ([[3, 4, 5, 6], [1, 2, 0, 0]], [[1, 1, 1, 2], [1, 1, 0, 0]])
    """
    sizes = _sizes(sequences)
    if sizes.max() > length:
        raise ValueError(
            f"length must be at least {sizes.max()}, the longest sequence (row "
            f"{sizes.argmax()}); got {length}"
        )
    filled: list[int] = []
    row, start = np.zeros((2, len(sequences)), np.int32)
    for number in np.argsort(-sizes, kind="stable"):
        size = sizes[number]
        room = (i for i, used in enumerate(filled) if used + size <= length)
        place = next(room, len(filled))
        if place == len(filled):
            filled.append(0)
        row[number], start[number] = place, filled[place]
        filled[place] += int(size)
    x, segment, position = np.zeros((3, len(filled), length), np.int32)
    for number in np.lexsort((start, row)):
        r, begin = row[number], start[number]
        part = slice(begin, begin + sizes[number])
        x[r, part] = sequences[number]
        segment[r, part] = segment[r].max() + 1
        position[r, part] = np.arange(sizes[number])
    return {
        "x": x,
        "segment": segment,
        "position": position,
        "row": row,
        "start": start,
    }


def _sizes(sequences):
    sizes = np.array([len(sequence) for sequence in sequences], int)
    if not len(sizes):
        raise ValueError("sequences must hold at least one; got none")
    if sizes.min() < 1:
        raise ValueError(f"a sequence must have a step; row {sizes.argmin()} is empty")
    return sizes
