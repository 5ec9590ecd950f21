"""Vocabulary files of other libraries as a `tokenizers.Tokenizer`.

    tokenizer = load("bert-base-uncased")        # a folder
    tokenizer = load("spm.model")                # or a file

Read are `tokenizer.json`; `vocab.json` with `merges.txt` (GPT-2's letters are bytes);
`vocab.txt` (BERT's word pieces); the models of SentencePiece. The result is an object
of Hugging Face's `tokenizers`: whatever that can do, it can.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

from jaxml.data import tokenizers_spm as spm

__all__ = ["load", "require"]

SPM_NAMES = ("spm.model", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model")
SPACE = "\u2581"  # how SentencePiece writes a space
SPECIAL = ("<s>", "</s>", "<pad>", "<unk>", "<mask>", "<|endoftext|>")


def require() -> Any:
    """The package `tokenizers`.

    Raises:
        ImportError: if it is missing, with the line that installs it.
    """
    try:
        import tokenizers
    except ImportError as error:
        raise ImportError(
            "text needs tokenizers: pip install 'jaxml-learn[text]'"
        ) from error
    return tokenizers


def load(path: str | os.PathLike, *, lowercase: bool | None = None) -> Any:
    """The tokenizer of a folder or file.

    Args:
        path: a folder, where `tokenizer.json` comes before the older files, or one
            file; of `vocab.json` and `merges.txt` either, beside the other.
        lowercase: for `vocab.txt` alone: whether text is lowercased and accents are
            removed; None: what `tokenizer_config.json` beside it says, else yes.

    Returns:
        A `tokenizers.Tokenizer` that neither pads nor cuts.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a file is not what its name says.
        ImportError: without the extra `[text]`.
    """
    require()
    path = Path(path)
    if path.is_dir():
        path = _of_folder(path)
    elif not path.exists():
        raise FileNotFoundError(f"no vocabulary at {path}")
    if path.name in ("vocab.json", "merges.txt"):
        return _bytes(path.parent)
    if path.suffix == ".json":
        return _whole(path)
    if path.suffix == ".txt":
        return _word_pieces(path, lowercase)
    if path.suffix == ".model":
        return _sentence_pieces(path)
    raise ValueError(
        "a vocabulary must be tokenizer.json, vocab.json, vocab.txt or *.model; "
        f"got {path.name}"
    )


def _of_folder(folder: Path) -> Path:
    names = ("tokenizer.json", "vocab.json", "vocab.txt", *SPM_NAMES)
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise FileNotFoundError(f"{folder} must hold one of {', '.join(names)}")


def _whole(path):
    try:
        tokenizer = require().Tokenizer.from_file(str(path))
    except Exception as error:  # what it raises is a bare Exception
        raise ValueError(f"{path} is no tokenizer.json: {error}") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _bytes(folder):
    """GPT-2 and RoBERTa."""
    hf = require()
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    if any(token.endswith("</w>") for token in vocabulary):
        raise ValueError(
            f"{folder}: words end in </w>, so letters are not GPT-2's; "
            "give its tokenizer.json"
        )
    lines = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()
    lines = [line for line in lines if line and not line.startswith("#version")]
    merges = [tuple(line.split(" ")) for line in lines]
    for line, pair in zip(lines, merges, strict=True):
        if len(pair) != 2:
            raise ValueError(
                f"{folder}/merges.txt: a line must be two tokens; got {line}"
            )
    tokenizer = hf.Tokenizer(hf.models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = hf.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = hf.decoders.ByteLevel()
    special = [token for token in SPECIAL if token in vocabulary]
    tokenizer.add_special_tokens(special)
    if {"<s>", "</s>"} <= set(special):
        tokenizer.post_processor = hf.processors.RobertaProcessing(
            ("</s>", vocabulary["</s>"]),
            ("<s>", vocabulary["<s>"]),
            add_prefix_space=False,
        )
    return tokenizer


def _word_pieces(path, lowercase):
    """BERT."""
    hf = require()
    lines = path.read_text(encoding="utf-8").splitlines()
    vocabulary = {line: place for place, line in enumerate(lines)}
    missing = {"[CLS]", "[SEP]", "[UNK]"} - set(vocabulary)
    if missing:
        raise ValueError(f"{path} must hold {', '.join(sorted(missing))}, as BERT's do")
    settings = path.with_name("tokenizer_config.json")
    if lowercase is None:
        known = json.loads(settings.read_text()) if settings.exists() else {}
        lowercase = known.get("do_lower_case", True)
    model = hf.models.WordPiece(vocabulary, unk_token="[UNK]")
    tokenizer = hf.Tokenizer(model)
    tokenizer.normalizer = hf.normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = hf.pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = hf.decoders.WordPiece()
    bert = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    tokenizer.add_special_tokens([token for token in bert if token in vocabulary])
    tokenizer.post_processor = hf.processors.BertProcessing(
        ("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"])
    )
    return tokenizer


def _sentence_pieces(path):
    """T5, ALBERT, Llama and others: pieces of a sentence whose spaces are letters."""
    hf = require()
    model, veils = _veiled(spm.read(path))
    unknown = [i for i, piece in enumerate(model.pieces) if piece.kind == spm.UNKNOWN]
    if not unknown:
        raise ValueError(f"{path} must have a piece for what is unknown")
    build = _unigram if model.kind == spm.UNIGRAM else _merged
    tokenizer = hf.Tokenizer(build(hf, model, unknown[0]))
    tokenizer.normalizer = _spm_normalizer(hf, model, veils)
    own = [re.escape(p.text) for p in model.pieces if p.kind == spm.USER]
    if own and model.kind == spm.BPE:
        # Symbols of the user are whole wherever they stand; no merges make them.
        pattern = hf.Regex("|".join(sorted(own, key=len, reverse=True)))
        tokenizer.pre_tokenizer = hf.pre_tokenizers.Split(pattern, "isolated")
        tokenizer.model.ignore_merges = True
    replaced = {model.pieces[unknown[0]].text: model.unknown_text, SPACE: " "}
    replaced |= {veil: letter for letter, veil in veils.items()}
    parts = [hf.decoders.Replace(*pair) for pair in replaced.items()]
    if model.byte_fallback:
        parts.append(hf.decoders.ByteFallback())
    parts.append(hf.decoders.Fuse())
    if model.dummy_prefix:
        parts.append(hf.decoders.Strip(" ", 1, 0))
    tokenizer.decoder = hf.decoders.Sequence(parts)
    control = [piece.text for piece in model.pieces if piece.kind == spm.CONTROL]
    tokenizer.add_special_tokens(control)
    # SentencePiece finds no control piece in a text, whatever the text holds.
    tokenizer.encode_special_tokens = True
    return tokenizer


def _veiled(model):
    """The model with other letters where a text could spell a control piece.

    The first letter of each control piece becomes a letter that no text has, in texts
    and in all other pieces: so texts are cut as before, and never into "</s>".
    """
    hidden = (spm.CONTROL, spm.UNKNOWN)
    first = sorted({piece.text[:1] for piece in model.pieces if piece.kind in hidden})
    veils = {letter: chr(0xE000 + i) for i, letter in enumerate(first) if letter}
    table = str.maketrans(veils)
    # A letter that is spelled as a byte must not become the bytes of its veil.
    texts = {piece.text for piece in model.pieces}
    bare = {f"<0x{ord(x):02X}>": veil for x, veil in veils.items() if x not in texts}
    lowest = min(piece.score for piece in model.pieces) - 10  # as unknown letters
    pieces = []
    for piece in model.pieces:
        if piece.kind == spm.BYTE and piece.text in bare:
            piece = spm.Piece(bare[piece.text], lowest, spm.NORMAL)
        elif piece.kind not in (*hidden, spm.BYTE):
            piece = piece._replace(text=piece.text.translate(table))
        pieces.append(piece)
    return model._replace(pieces=tuple(pieces)), veils


def _unigram(hf, model, unknown):
    pieces = [(piece.text, piece.score) for piece in model.pieces]
    return hf.models.Unigram(pieces, unk_id=unknown, byte_fallback=model.byte_fallback)


def _merged(hf, model, unknown):
    """Byte pair encoding, whose merges follow from the scores of the pieces."""
    place = {piece.text: i for i, piece in enumerate(model.pieces)}
    merges = []
    for piece in model.pieces:
        if piece.kind != spm.NORMAL:
            continue
        halves = [(piece.text[:i], piece.text[i:]) for i in range(1, len(piece.text))]
        known = [pair for pair in halves if pair[0] in place and pair[1] in place]
        known.sort(key=lambda pair: (place[pair[0]], place[pair[1]]))
        merges += [(-piece.score, pair) for pair in known]
    merges.sort(key=lambda merge: merge[0])  # stable: pieces of one score keep order
    return hf.models.BPE(
        place,
        [pair for _, pair in merges],
        unk_token=model.pieces[unknown].text,
        fuse_unk=True,
        byte_fallback=model.byte_fallback,
    )


def _spm_normalizer(hf, model, veils):
    steps = []
    if model.charsmap:
        steps.append(hf.normalizers.Precompiled(model.charsmap))
    if model.strip:
        steps.append(hf.normalizers.Strip())
        steps.append(hf.normalizers.Replace(hf.Regex(" {2,}"), " "))
    if model.dummy_prefix:
        steps.append(hf.normalizers.Prepend(SPACE))
    steps.append(hf.normalizers.Replace(" ", SPACE))
    steps += [hf.normalizers.Replace(*pair) for pair in veils.items()]
    return hf.normalizers.Sequence(steps)
