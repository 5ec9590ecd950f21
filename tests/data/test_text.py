import json
import struct
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.data import text
from jaxml.data import tokenizers_spm as spm

pytest.importorskip("tokenizers")

LINES = [
    "The lowest price is the newest price, and the newest is the lowest.",
    "We will see whether it's low: 3.14 and 42 are numbers, naïve café Größe.",
    "Lower, lower, slower, slowest; wide, wider, widest; new, newer, newest!",
] * 20


@pytest.mark.parametrize(
    ("case", "file"),
    [
        ("x_tok_gpt2_bpe", ""),
        ("x_tok_gpt2_bpe", "vocab.json"),
        ("x_tok_wordpiece", ""),
        ("x_tok_wordpiece", "vocab.txt"),
        ("x_tok_spm_unigram", ""),
    ],
)
def test_as_the_reference(parity_folder, case, file):
    tokenizer = text.load(parity_folder / "open" / case / file)
    about = json.loads((parity_folder / "open" / f"{case}.json").read_text())
    cases = about["cases"]
    batch = text.encode(tokenizer, [one["text"] for one in cases])
    for row, mask, one in zip(batch.ids, batch.mask, cases, strict=True):
        assert row[mask].tolist() == one["ids"]
        ids = np.array([one["ids"]], np.int32)
        assert text.decode(tokenizer, ids, special=True) == [one["decoded"]]


def test_a_pair_as_bert_reads_it(parity_folder):
    tokenizer = text.load(parity_folder / "open" / "x_tok_wordpiece")
    about = json.loads((parity_folder / "open" / "x_tok_wordpiece.json").read_text())
    pair = about["pair"]
    batch = text.encode(tokenizer, [tuple(pair["text"])], length=16)
    assert batch.ids[0].tolist() == pair["input_ids"]
    assert batch.mask[0].tolist() == [bool(x) for x in pair["attention_mask"]]
    assert batch.types[0].tolist() == pair["token_type_ids"]


def test_cut_texts_keep_their_ends():
    tokenizer = text.word_pieces(LINES, vocab_size=120)
    one = ["the lowest price is the newest"]
    full = text.encode(tokenizer, one).ids[0]
    cut = text.encode(tokenizer, one, length=5).ids[0]
    assert cut.tolist() == [*full[:4].tolist(), full[-1]]
    pair = text.encode(tokenizer, [(one[0], "new")], length=8)
    rest = text.encode(tokenizer, [("new")], special=False)
    assert (
        pair.ids[0, -2 : -2 - rest.ids.shape[1] : -1].tolist()
        == rest.ids[0][::-1].tolist()
    )
    assert pair.mask.all()
    assert tokenizer.truncation is None


def test_padding_on_both_sides_and_to_buckets():
    tokenizer = text.bpe(LINES, vocab_size=300, special=("<pad>",))
    texts = ["new", "the newest price"]
    right = text.encode(tokenizer, texts, bucket=8)
    left = text.encode(tokenizer, texts, bucket=8, side="left", pad_id=9)
    assert right.ids.shape[1] % 8 == 0
    for i in range(2):
        assert (
            right.ids[i][right.mask[i]].tolist() == left.ids[i][left.mask[i]].tolist()
        )
    assert not right.mask[0, -1]
    assert not left.mask[0, 0]
    assert left.ids[0, 0] == 9
    assert right.ids[0, -1] == 0
    assert text.decode(tokenizer, jnp.asarray(right.ids), right.mask) == texts


@pytest.mark.parametrize("kind", ["bpe", "word_pieces", "unigram"])
def test_trained_vocabularies_shorten_texts_and_come_back(kind, tmp_path):
    tokenizer = getattr(text, kind)(LINES, vocab_size=330 if kind == "bpe" else 110)
    batch = text.encode(tokenizer, LINES[:3], special=False)
    assert batch.mask.sum() < 0.7 * sum(map(len, LINES[:3]))
    back = text.decode(tokenizer, batch.ids, batch.mask)
    if kind == "word_pieces":  # which forgets accents, capitals and where spaces stood
        assert back[2].startswith("lower, lower, slower, slowest ; wide, wider,")
    else:
        assert back == LINES[:3]
    if kind == "bpe":
        strange = ["日本 🙂\n\t x", "  two  spaces "]
        odd = text.encode(tokenizer, strange)
        assert text.decode(tokenizer, odd.ids, odd.mask) == strange
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    again = text.encode(text.load(tmp_path), LINES[:3], special=False)
    np.testing.assert_array_equal(again.ids, batch.ids)


def test_byte_pairs_are_the_same_each_time():
    first, again = (text.bpe(LINES, vocab_size=330) for _ in range(2))
    assert first.get_vocab() == again.get_vocab()


def test_ends_around_texts(parity_folder):
    plain = text.load(parity_folder / "open" / "x_tok_spm_unigram" / "spm.model")
    tokenizer = text.with_ends(plain, end="</s>")
    end = plain.token_to_id("</s>")
    given = ["is </s> new.", "the lowest"]
    bare, ended = (text.encode(t, given) for t in (plain, tokenizer))
    for i in range(2):
        assert ended.ids[i][ended.mask[i]].tolist() == [*bare.ids[i][bare.mask[i]], end]
    assert end not in bare.ids[bare.mask]
    assert text.decode(tokenizer, ended.ids, ended.mask) == text.decode(
        plain, bare.ids, bare.mask
    )


def test_as_sentencepiece_where_it_is_installed(tmp_path):
    reference = pytest.importorskip("sentencepiece")
    source = tmp_path / "lines.txt"
    source.write_text("\n".join(LINES))
    texts = [
        *LINES[:3],
        "  two  spaces ",
        "<s> x </s> <0x41>",
        "日本 🙂 ﬁ Ⅳ",
        "",
        "y<cut>z",
    ]
    for kind, spelled in (("bpe", True), ("bpe", False), ("unigram", True)):
        reference.SentencePieceTrainer.train(
            input=str(source),
            model_prefix=str(tmp_path / kind),
            vocab_size=350,
            hard_vocab_limit=False,
            model_type=kind,
            byte_fallback=spelled,
            user_defined_symbols=["<cut>"],
            minloglevel=2,
        )
        file = tmp_path / f"{kind}.model"
        theirs, ours = (
            reference.SentencePieceProcessor(model_file=str(file)),
            text.load(file),
        )
        for line in texts:
            ids = theirs.encode(line)
            assert ours.encode(line).ids == ids
            assert ours.decode(ids) == theirs.decode(ids)


def field(number, value):
    if isinstance(value, int):
        return bytes([number << 3, value])
    if isinstance(value, float):
        return bytes([number << 3 | 5]) + struct.pack("<f", value)
    return bytes([number << 3 | 2, len(value)]) + value


def test_a_model_written_by_hand(tmp_path):
    # Scores decide: "▁ab" as "▁a" + "b" (-1 - 1), not "▁" + "ab" (-3 - 1).
    pieces = [("<unk>", 0.0, 2), ("\u2581", -3.0, 1), ("\u2581a", -1.0, 1)]
    pieces += [("b", -1.0, 1), ("ab", -1.0, 1)]
    data = b""
    for name, score, kind in pieces:
        piece = field(1, name.encode()) + field(2, score) + field(3, kind)
        data += field(1, piece)
    file = tmp_path / "spm.model"
    file.write_bytes(data)
    assert [piece.text for piece in spm.read(file).pieces] == [p[0] for p in pieces]
    batch = text.encode(text.load(file), ["ab", "ab? b"])
    assert batch.ids[0][batch.mask[0]].tolist() == [2, 3]
    assert batch.ids[1][batch.mask[1]].tolist() == [2, 3, 0, 1, 3]


@pytest.mark.parametrize("data", [b"", b"\x0a\x05ab", b"\x08", b"<html>", b"\xff" * 12])
def test_rejects_what_is_no_model(tmp_path, data):
    file = tmp_path / "spm.model"
    file.write_bytes(data)
    with pytest.raises(ValueError, match="no SentencePiece model"):
        text.load(file)


def test_rejects_files_that_are_not_what_they_say(tmp_path):
    with pytest.raises(FileNotFoundError, match="must hold one of"):
        text.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="no vocabulary at"):
        text.load(tmp_path / "tokenizer.json")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match=r"is no tokenizer.json"):
        text.load(tmp_path)
    (tmp_path / "vocab.txt").write_text("a\nb\n")
    with pytest.raises(ValueError, match=r"must hold \[CLS\], \[SEP\], \[UNK\]"):
        text.load(tmp_path / "vocab.txt")
    (tmp_path / "vocab.json").write_text('{"a</w>": 0}')
    (tmp_path / "merges.txt").write_text("")
    with pytest.raises(ValueError, match="words end in </w>"):
        text.load(tmp_path / "vocab.json")
    (tmp_path / "vocab.json").write_text('{"a": 0}')
    (tmp_path / "merges.txt").write_text("a b c\n")
    with pytest.raises(ValueError, match="a line must be two tokens; got a b c"):
        text.load(tmp_path / "vocab.json")
    (tmp_path / "words.bin").write_text("")
    with pytest.raises(ValueError, match=r"got words\.bin"):
        text.load(tmp_path / "words.bin")


def test_rejects_settings():
    tokenizer = text.word_pieces(LINES, vocab_size=100)
    with pytest.raises(ValueError, match="length must be above 2; got 2"):
        text.encode(tokenizer, ["new"], length=2)
    with pytest.raises(ValueError, match='side must be "left" or "right"'):
        text.encode(tokenizer, ["new"], side="up")
    with pytest.raises(ValueError, match="at most 1 ids; got 2"):
        text.pad([[1, 2]], length=1)
    with pytest.raises(ValueError, match="vocab_size must be at least 257"):
        text.bpe(LINES, vocab_size=100)
    with pytest.raises(ValueError, match=r"special must hold \['\[SEP\]'\]"):
        text.word_pieces(LINES, vocab_size=100, special=["[UNK]", "[CLS]"])
    with pytest.raises(ValueError, match="special must hold '<unk>'"):
        text.unigram(LINES, vocab_size=100, special=["<pad>"])
    with pytest.raises(ValueError, match="the vocabulary must hold </x>"):
        text.with_ends(tokenizer, end="</x>")


def test_says_how_to_install_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ImportError, match=r"pip install 'jaxml-learn\[text\]'"):
        text.load(tmp_path)
    with pytest.raises(ImportError, match=r"pip install 'jaxml-learn\[text\]'"):
        text.bpe(LINES, vocab_size=300)
