import sys

import numpy as np
import pytest

from jaxml.train import plots

pytest.importorskip("matplotlib")
from matplotlib.image import imread

WHITE = 0.999


def ink(path):
    """The share of the picture that is not white."""
    picture = imread(path)[..., :3]
    return float((picture < WHITE).any(-1).mean())


def records(count=40):
    for index in range(1, count + 1):
        step = 50 * index
        record = {"step": step, "loss": 2.0 / index, "rate": 1e-3, "time": 1.0}
        if index % 10 == 0:
            record["validation/loss"] = 2.1 / index
            record["validation/accuracy"] = 1 - 1 / index
        yield record


def test_curves(tmp_path):
    path = tmp_path / "curves.png"
    assert plots.curves(list(records()), path) == [path]
    assert ink(path) > 0.01
    assert [file.name for file in tmp_path.iterdir()] == ["curves.png"]


def test_curves_of_numbers_that_are_not_finite(tmp_path):
    rows = list(records())
    for row in rows[::3]:
        row["loss"] = np.nan
    rows[1]["loss"] = np.inf
    assert plots.curves(rows, tmp_path / "curves.png")
    assert plots.curves([{"step": 1, "loss": np.nan}], tmp_path / "nan.png")


def test_curves_of_nothing(tmp_path):
    assert plots.curves([], tmp_path / "curves.png") == []
    assert plots.curves([{"step": 1}], tmp_path / "curves.png") == []


def test_smoothing_keeps_a_line_and_a_mean():
    line = np.linspace(3.0, 1.0, 200)
    np.testing.assert_allclose(plots._smooth(line)[20:-20], line[20:-20], atol=1e-12)
    noisy = 1 + 0.5 * np.random.default_rng(0).standard_normal(400)
    smooth = plots._smooth(noisy)
    assert smooth.std() < 0.3 * noisy.std()
    np.testing.assert_allclose(smooth.mean(), noisy.mean(), atol=0.02)
    gap = np.where(np.arange(200) == 100, np.nan, line)
    assert np.isnan(plots._smooth(gap)).sum() == 1


@pytest.mark.parametrize("number", [2, 10, 40])
def test_confusion(tmp_path, number):
    matrix = np.eye(number, dtype=np.int64) * 90 + 1
    matrix[1] = 0  # a class without rows
    path = tmp_path / "confusion.png"
    names = [f"class {index}" for index in range(number)]
    assert plots.confusion(matrix, names, path) == [path]
    assert ink(path) > 0.2


def test_confusion_needs_all_names(tmp_path):
    with pytest.raises(ValueError, match="one name for each of the 3 rows; got 2"):
        plots.confusion(np.eye(3, dtype=np.int64), ["a", "b"], tmp_path / "c.png")


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("wrong", [0, 1, 7, 60])
def test_mistakes(tmp_path, wrong, channels):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 80)
    probabilities = np.eye(4)[labels]
    probabilities[:wrong] = np.eye(4)[(labels[:wrong] + 1) % 4] * 0.9
    images = rng.normal(size=(80, 8, 8, channels))
    path = tmp_path / "mistakes.png"
    assert plots.mistakes(images, labels, probabilities, "abcd", path) == [path]
    assert ink(path) > 0.01


def test_mistakes_rejects_two_channels(tmp_path):
    with pytest.raises(ValueError, match="1 or 3 channels; got 2"):
        plots.mistakes(
            np.zeros((1, 4, 4, 2)), np.zeros(1, int), np.ones((1, 1)), "a", tmp_path
        )


def test_classifier_counts_what_was_taken_for_what(tmp_path, monkeypatch):
    seen = {}

    def keep(matrix, names, path):
        seen.update(m=matrix, n=names)
        return []

    monkeypatch.setattr(plots, "confusion", keep)
    labels = np.array([0, 0, 1, 2])
    probabilities = np.eye(3)[[0, 1, 1, 0]]
    plots.classifier(tmp_path, labels, probabilities, None, ())
    np.testing.assert_array_equal(seen["m"], [[1, 1, 0], [0, 1, 0], [1, 0, 0]])
    assert seen["n"] == ["0", "1", "2"]


def test_without_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError):
        plots.curves(list(records()), tmp_path / "curves.png")
