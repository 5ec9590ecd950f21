"""Read the model file of SentencePiece, without SentencePiece.

    model = read("spm.model")
    model.pieces[0]                       # Piece(text="<unk>", score=0.0, kind=2)

The file is a message of protocol buffers; what is needed of it is read by hand here.
Letters and their normalisation come with it, as a table that `tokenizers` knows.

References:
    Kudo and Richardson, 2018. SentencePiece. arXiv:1808.06226.
    https://protobuf.dev/programming-guides/encoding (the wire format).
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

__all__ = [
    "BPE",
    "BYTE",
    "CONTROL",
    "NORMAL",
    "UNIGRAM",
    "UNKNOWN",
    "USER",
    "Piece",
    "Spm",
    "read",
]

NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
UNIGRAM, BPE = 1, 2


class Piece(NamedTuple):
    """An entry of the vocabulary; its place is its id."""

    text: str
    score: float
    kind: int  # NORMAL, UNKNOWN, CONTROL, USER, UNUSED or BYTE


class Spm(NamedTuple):
    """What a model file says."""

    pieces: tuple[Piece, ...]
    kind: int  # UNIGRAM or BPE
    charsmap: bytes  # how letters are normalised; empty: not at all
    dummy_prefix: bool  # whether a text starts with a space
    strip: bool  # whether spaces at its ends and doubled ones are removed
    unknown_text: str  # what an unknown piece is decoded to
    byte_fallback: bool  # whether unknown letters are spelled in bytes


def read(path: str | os.PathLike) -> Spm:
    """Read `spm.model`, `spiece.model` or `tokenizer.model`.

    Raises:
        ValueError: if the file is no model of SentencePiece.
    """
    data = Path(path).read_bytes()
    try:
        model = _model(data)
    except (IndexError, struct.error, UnicodeDecodeError, _WireError) as error:
        raise ValueError(f"{path} is no SentencePiece model: {error}") from error
    if not model.pieces:
        raise ValueError(f"{path} is no SentencePiece model: it has no pieces")
    return model


class _WireError(Exception):
    """The bytes are no message."""


def _model(data: bytes) -> Spm:
    pieces: list[Piece] = []
    trainer: dict[int, Any] = {}
    normalizer: dict[int, Any] = {}
    for field, value in _fields(data):
        if field == 1:
            entry = dict(_fields(value))
            score = struct.unpack("<f", entry.get(2, bytes(4)))[0]
            pieces.append(Piece(entry[1].decode(), score, entry.get(3, NORMAL)))
        elif field == 2:
            trainer = dict(_fields(value))
        elif field == 3:
            normalizer = dict(_fields(value))
    return Spm(
        tuple(pieces),
        trainer.get(3, UNIGRAM),
        normalizer.get(2, b""),
        bool(normalizer.get(3, True)),
        bool(normalizer.get(4, True)),
        trainer.get(44, " \u2047 ".encode()).decode(),
        bool(trainer.get(35, False)),
    )


def _fields(data: Any) -> Iterator[tuple[int, Any]]:
    """The fields of a message: whole numbers, or bytes."""
    if not isinstance(data, bytes):
        raise _WireError("a number stands where a message must be")
    at = 0
    while at < len(data):
        tag, at = _number(data, at)
        kind = tag & 7
        if kind == 0:
            value, at = _number(data, at)
            yield tag >> 3, value
            continue
        if kind == 2:
            size, at = _number(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise _WireError(f"no field is of kind {kind}")
        if at + size > len(data):
            raise _WireError("it ends within a field")
        yield tag >> 3, data[at : at + size]
        at += size


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, lowest first, and where the next field is."""
    number = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        number |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return number, at
    raise _WireError("a number is too long")
