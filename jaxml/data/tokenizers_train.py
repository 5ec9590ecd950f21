"""Learn a vocabulary from texts: byte pairs, word pieces or a unigram model.

    tokenizer = bpe(lines, vocab_size=8000)                   # as GPT-2's: of bytes
    tokenizer = word_pieces(lines, vocab_size=8000)           # as BERT's
    tokenizer = unigram(lines, vocab_size=8000)               # as T5's
    tokenizer.save("tokenizer.json")

Byte pairs come out the same each time. Of word pieces and of a unigram model the
package breaks ties, and adds up chances, in no fixed order: train once and save.

References:
    Sennrich et al., 2015. Byte pair encoding. arXiv:1508.07909.
    Schuster and Nakajima, 2012. Japanese and Korean voice search (word pieces).
    Kudo, 2018. Subword regularization (unigram). arXiv:1804.10959.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from jaxml.data.tokenizers_files import SPACE, require

__all__ = ["bpe", "unigram", "word_pieces"]


def bpe(
    texts: Iterable[str],
    *,
    vocab_size: int,
    min_frequency: int = 2,
    special: Sequence[str] = ("<|endoftext|>",),
) -> Any:
    """Byte pair encoding of bytes: any text can be written and comes back unchanged.

    Args:
        texts: what to learn from, a line or a document at a time.
        vocab_size: tokens at most; at least 256 bytes and the special ones.
        min_frequency: how often a pair must occur to become a token.
        special: tokens that stand for no text; they get the first ids.

    Returns:
        A `tokenizers.Tokenizer`.

    Raises:
        ValueError: if `vocab_size` is too small.
        ImportError: without the extra `[text]`.
    """
    hf = require()
    _check(vocab_size, 256 + len(special), "256 bytes and the special tokens")
    tokenizer = hf.Tokenizer(hf.models.BPE())
    tokenizer.pre_tokenizer = hf.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = hf.decoders.ByteLevel()
    trainer = hf.trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=list(special),
        initial_alphabet=hf.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def word_pieces(
    texts: Iterable[str],
    *,
    vocab_size: int,
    min_frequency: int = 2,
    lowercase: bool = True,
    special: Sequence[str] = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
) -> Any:
    """Word pieces as BERT's: a text is put between [CLS] and [SEP].

    Args:
        texts: what to learn from, a line or a document at a time.
        vocab_size: tokens at most.
        min_frequency: how often a pair must occur to become a piece.
        lowercase: whether text is lowercased and accents are removed.
        special: tokens that stand for no text; they get the first ids, and [UNK],
            [CLS] and [SEP] must be among them.

    Returns:
        A `tokenizers.Tokenizer`.

    Raises:
        ValueError: if `vocab_size` is too small, or a special token is missing.
        ImportError: without the extra `[text]`.
    """
    hf = require()
    _check(vocab_size, len(special) + 1, "the special tokens and a letter")
    missing = {"[UNK]", "[CLS]", "[SEP]"} - set(special)
    if missing:
        raise ValueError(f"special must hold {sorted(missing)}; got {list(special)}")
    tokenizer = hf.Tokenizer(hf.models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = hf.normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = hf.pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = hf.decoders.WordPiece()
    trainer = hf.trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=list(special),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    ends = (("[SEP]", special.index("[SEP]")), ("[CLS]", special.index("[CLS]")))
    tokenizer.post_processor = hf.processors.BertProcessing(*ends)
    return tokenizer


def unigram(
    texts: Iterable[str],
    *,
    vocab_size: int,
    special: Sequence[str] = ("<pad>", "</s>", "<unk>"),
    unknown: str = "<unk>",
) -> Any:
    """A unigram model as T5's: the likeliest pieces, spaces being letters.

    Text is normalised by NFKC and its spaces are made single; texts come back so.

    Args:
        texts: what to learn from, a line or a document at a time.
        vocab_size: tokens, about.
        special: tokens that stand for no text; they get the first ids.
        unknown: the one among them for letters that were not seen.

    Returns:
        A `tokenizers.Tokenizer`.

    Raises:
        ValueError: if `vocab_size` is too small, or `unknown` is not special.
        ImportError: without the extra `[text]`.
    """
    hf = require()
    _check(vocab_size, len(special) + 1, "the special tokens and a letter")
    if unknown not in special:
        raise ValueError(f"special must hold {unknown!r}; got {list(special)}")
    tokenizer = hf.Tokenizer(hf.models.Unigram())
    tokenizer.normalizer = hf.normalizers.Sequence(
        [
            hf.normalizers.NFKC(),
            hf.normalizers.Replace(hf.Regex(r"\s+"), " "),
            hf.normalizers.Strip(),
        ]
    )
    tokenizer.pre_tokenizer = hf.pre_tokenizers.Metaspace(SPACE)
    tokenizer.decoder = hf.decoders.Metaspace(SPACE)
    trainer = hf.trainers.UnigramTrainer(
        vocab_size=vocab_size,
        special_tokens=list(special),
        unk_token=unknown,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _check(vocab_size, least, what):
    if vocab_size < least:
        raise ValueError(
            f"vocab_size must be at least {least} ({what}); got {vocab_size}"
        )
