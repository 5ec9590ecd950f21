"""Windows and splits of series; ragged sequences in fixed shapes; vocabularies."""

import numpy as np
import pytest

from jaxml.data import sequences, windows

SERIES = np.arange(40.0).reshape(20, 2)


class TestWindows:
    def test_targets_follow_each_window(self):
        a = windows.windows(SERIES, 5, ahead=3, gap=2, stride=4, targets=[1])
        assert a["x"].shape == (3, 5, 2)
        assert a["y"].shape == (3, 3, 1)
        for n in range(3):
            np.testing.assert_array_equal(a["x"][n], SERIES[4 * n : 4 * n + 5])
            first = 4 * n + 5 + 2
            np.testing.assert_array_equal(a["y"][n], SERIES[first : first + 3, 1:])
        assert np.shares_memory(a["x"], SERIES)

    def test_targets_of_every_step_end_with_those_of_the_window(self):
        options = {"ahead": 3, "gap": 1, "stride": 2}
        whole = windows.windows(SERIES, 5, **options)
        steps = windows.windows(SERIES, 5, every_step=True, **options)
        assert steps["y"].shape == (len(whole["x"]), 5, 3, 2)
        np.testing.assert_array_equal(steps["y"][:, -1], whole["y"])
        for n in range(len(whole["x"])):
            for t in range(5):
                first = 2 * n + t + 2
                expected = SERIES[first : first + 3]
                np.testing.assert_array_equal(steps["y"][n, t], expected)

    def test_split_keeps_order_and_gives_context(self):
        first, second = windows.split(SERIES, (0.5, 0.25), context=4)
        np.testing.assert_array_equal(first, SERIES[:10])
        np.testing.assert_array_equal(second, SERIES[6:15])

    @pytest.mark.parametrize("lag", [1, 7])
    def test_differences_can_be_undone(self, lag):
        x = np.random.default_rng(0).normal(size=(20, 2))
        back = windows.undifference(windows.difference(x, lag), x[:lag])
        np.testing.assert_allclose(back, x[lag:], atol=1e-12)

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda: windows.windows(SERIES, 0), "length must be at least 1; got 0"),
            (lambda: windows.windows(SERIES, 1, gap=-1), "gap must be at least 0"),
            (lambda: windows.windows(SERIES, 20), "ahead = 21 steps; got 20"),
            (lambda: windows.windows(SERIES[:, 0], 3), r"for one feature series\[:, "),
            (lambda: windows.split(SERIES, (15, 6)), r"20 together; got \[15, 6\]"),
            (lambda: windows.split(SERIES, (15, 0)), "at least 1 step each"),
            (lambda: windows.difference(SERIES, 20), "lag must be from 1 to 19"),
        ],
    )
    def test_rejects(self, call, message):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.fixture
def ragged():
    rng = np.random.default_rng(0)
    return [rng.integers(1, 99, size) for size in rng.integers(1, 13, 40)]


class TestRagged:
    def test_padding_left_and_right(self):
        right = sequences.pad([[5, 6, 7], [8]], 2)
        np.testing.assert_array_equal(right["x"], [[5, 6], [8, 0]])
        np.testing.assert_array_equal(right["mask"], [[1, 1], [1, 0]])
        left = sequences.pad([[5, 6, 7], [8]], 2, left=True)
        np.testing.assert_array_equal(left["x"], [[6, 7], [0, 8]])
        np.testing.assert_array_equal(left["mask"], [[1, 1], [0, 1]])

    def test_buckets_hold_each_sequence_once_in_few_shapes(self, ragged):
        options = {"lengths": (4, 8, 12), "seed": 1}
        batches = list(sequences.buckets(ragged, 6, **options))
        assert {b["x"].shape for b in batches} == {(6, 4), (6, 8), (6, 12)}
        seen = []
        for b in batches:
            for row, x, mask, weight in zip(
                b["row"], b["x"], b["mask"], b["weight"], strict=True
            ):
                np.testing.assert_array_equal(x[mask], ragged[row])
                assert mask.sum() > b["x"].shape[1] - 4  # the smallest that fits
                seen += [row] * int(weight)
        assert sorted(seen) == list(range(40))
        again = sequences.buckets(ragged, 6, **options)
        for a, b in zip(batches, again, strict=True):
            np.testing.assert_array_equal(a["x"], b["x"])
        other = next(sequences.buckets(ragged, 6, epoch=1, **options))
        assert other["row"].tolist() != batches[0]["row"].tolist()

    def test_packed_rows_hold_each_sequence_once(self, ragged):
        packed = sequences.pack(ragged, 12)
        tokens = sum(map(len, ragged))
        assert (packed["segment"] > 0).sum() == tokens
        assert len(packed["x"]) <= 1.3 * np.ceil(tokens / 12)
        for n, sequence in enumerate(ragged):
            row, start = packed["row"][n], packed["start"][n]
            place = slice(start, start + len(sequence))
            np.testing.assert_array_equal(packed["x"][row, place], sequence)
            assert len(set(packed["segment"][row, place])) == 1
            np.testing.assert_array_equal(
                packed["position"][row, place], np.arange(len(sequence))
            )
        for row in packed["segment"]:
            real = row[row > 0]
            assert (np.diff(real) >= 0).all()
            assert set(real) == set(range(1, real.max() + 1))

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda: sequences.pad([]), "at least one; got none"),
            (lambda: sequences.pad([[1], []]), "row 1 is empty"),
            (lambda: sequences.pad([[1]], 0), "length must be at least 1; got 0"),
            (lambda: sequences.pack([[1, 2]], 1), "at least 2, .*row 0.*; got 1"),
            (
                lambda: next(sequences.buckets([[1, 2]], 1, lengths=(1,))),
                "last of lengths must be at least 2",
            ),
            (
                lambda: next(sequences.buckets([[1]], 1, lengths=(2, 1))),
                r"lengths must ascend .* got \[2, 1\]",
            ),
        ],
    )
    def test_rejects(self, call, message):
        with pytest.raises(ValueError, match=message):
            call()


class TestVocabulary:
    def test_characters_come_back(self):
        vocabulary = sequences.characters("to be or not")
        assert vocabulary.decode(vocabulary.encode("not to be")) == "not to be"
        assert len(vocabulary) == 1 + len(set("to be or not"))
        with pytest.raises(ValueError, match="no token 'z' in the vocabulary"):
            vocabulary.encode("z")

    def test_words_by_frequency_and_the_unknown_by_hash(self):
        vocabulary = sequences.words(
            ["The cat, the dog.", "the cat"], unknown=3, size=6
        )
        assert vocabulary.tokens == ("the", "cat")
        ids = vocabulary.encode("The cat sees a cow")
        assert ids[:2].tolist() == [4, 5]
        assert ((ids[2:] >= 1) & (ids[2:] <= 3)).all()
        assert vocabulary.decode([0, 4, 1, 0]) == "the �"
        # FNV-1a of "a" is 0xe40c292c
        assert ids[3] == 1 + 0xE40C292C % 3

    def test_rejects_a_size_without_room_and_doubles(self):
        with pytest.raises(ValueError, match="size must be at least 3; got 2"):
            sequences.words(["a"], size=2)
        with pytest.raises(ValueError, match="tokens must be different; twice: "):
            sequences.Vocabulary(("a", "a"))
