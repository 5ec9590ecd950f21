"""Datasets against scikit-learn and known counts; splits and their laws."""

import gzip
import hashlib
import struct

import numpy as np
import pytest

from jaxml.data import datasets, sources


def idx(array):
    shape = struct.pack(f">{array.ndim}I", *array.shape)
    return gzip.compress(bytes([0, 0, 8, array.ndim]) + shape + array.tobytes())


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No folder named, an empty cache, no network."""
    monkeypatch.delenv("JAXML_DATA", raising=False)
    monkeypatch.setenv("JAXML_CACHE", str(tmp_path))

    def unreachable(*_, **__):
        raise OSError("no network in tests")

    monkeypatch.setattr(sources.urllib.request, "urlopen", unreachable)


# Parity.


def test_digits_are_those_of_sklearn(offline):
    theirs = pytest.importorskip("sklearn.datasets").load_digits()
    ours = datasets.rows("digits")
    np.testing.assert_array_equal(ours["image"][..., 0], theirs.images)
    np.testing.assert_array_equal(ours["label"], theirs.target)
    assert (ours["image"].dtype, ours["label"].dtype) == (np.uint8, np.int32)


def test_digits_hold_out_a_fixed_fifth(offline):
    data = datasets.load("digits")
    assert data.classes == tuple("0123456789")
    for part, low, high in ((data.train, 139, 147), (data.test, 34, 37)):
        counts = np.bincount(part["label"])  # 174 to 183 in all
        assert low <= counts.min() <= counts.max() <= high
    # the hold-out of this release is that of every release
    digest = hashlib.sha256(data.test["image"].tobytes()).hexdigest()
    assert digest.startswith("28aa8f3b3579cd98")


def test_fashion_mnist(data_folder):
    data = datasets.load("fashion_mnist", data_folder)
    assert data.train["image"].shape == (60_000, 28, 28, 1)
    assert data.test["image"].shape == (10_000, 28, 28, 1)
    np.testing.assert_array_equal(np.bincount(data.train["label"]), [6000] * 10)
    assert data.classes[data.train["label"][0]] == "Ankle boot"
    # published mean and deviation of the training pixels: 0.2860 and 0.3530
    pixels = data.train["image"].reshape(-1).astype(np.float32) / 255
    np.testing.assert_allclose(pixels.mean(dtype=np.float64), 0.2860, atol=5e-5)
    np.testing.assert_allclose(pixels.std(dtype=np.float64), 0.3530, atol=5e-5)
    train, valid = datasets.split(data.train, (55_000, 5_000), seed=None)
    np.testing.assert_array_equal(train["label"], data.train["label"][:55_000])
    np.testing.assert_array_equal(valid["label"], data.train["label"][-5_000:])


def test_cifar10_at_hand_says_that_it_is_a_subset(data_folder):
    data = datasets.load("cifar10", data_folder)
    assert data.train["image"].shape == (4000, 32, 32, 3)
    np.testing.assert_array_equal(np.bincount(data.test["label"]), [100] * 10)
    assert "subset" in datasets.describe("cifar10", data_folder).note
    assert len(datasets.rows("cifar10", data_folder)["label"]) == 5000


def test_california_housing_takes_given_splits(data_folder):
    path = data_folder / "fixtures" / "sklearn_fixtures.npz"
    with np.load(path, allow_pickle=False) as fixtures:
        cut = fixtures["cal_full_rs42_a"], fixtures["cal_full_rs42_b"]
    rows = datasets.rows("california_housing", data_folder)
    train, test = datasets.split(rows, cut, seed=None)
    assert train["x"].shape == (15_480, 8)
    np.testing.assert_array_equal(test["y"], rows["y"][cut[1]])
    data = datasets.load("california_housing", data_folder)
    assert data.features[0] == "MedInc"
    assert data.classes == ()
    assert (data.train["x"].dtype, data.train["y"].dtype) == (np.float32, np.float32)
    assert len(data.train["y"]) + len(data.test["y"]) == 20_640


def test_housing_keeps_what_is_missing(data_folder):
    data = datasets.load("housing", data_folder)
    rows = datasets.rows("housing", data_folder)
    missing = np.isnan(rows["x"]).sum(0)
    assert dict(zip(data.features, missing, strict=True))["total_bedrooms"] == 207
    assert missing.sum() == 207
    counts = np.bincount(rows["ocean_proximity"])  # as its publisher lists them
    assert dict(zip(data.categories["ocean_proximity"], counts, strict=True)) == {
        "<1H OCEAN": 9136,
        "INLAND": 6551,
        "ISLAND": 5,
        "NEAR BAY": 2290,
        "NEAR OCEAN": 2658,
    }


def test_mnist_is_read_as_its_publisher_packs_it(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    forms = []
    for item, rows in zip(sources.FILES["mnist"][0], (6, 6, 3, 3), strict=True):
        shape = (rows, 28, 28) if "images" in item.name else (rows,)
        data = idx(rng.integers(0, 10, shape, np.uint8))
        (tmp_path / "mnist").mkdir(exist_ok=True)
        (tmp_path / "mnist" / item.name).write_bytes(data)
        version = len(data), hashlib.sha256(data).hexdigest()
        forms.append(item._replace(versions=(version,)))
    monkeypatch.setitem(sources.FILES, "mnist", (tuple(forms),))
    data = datasets.load("mnist", tmp_path)
    assert data.train["image"].shape == (6, 28, 28, 1)
    assert data.test["label"].shape == (3,)


# Properties.


def test_describes_every_dataset(offline):
    for name in datasets.NAMES:
        about = datasets.describe(name)
        assert about.licence
        assert about.source.startswith("http")
        assert bool(about.paths) == (name == "digits")
        assert bool(about.classes) != bool(about.features)
    assert datasets.download("digits") == datasets.describe("digits").paths


@pytest.mark.parametrize("seed", [None, 0])
def test_parts_share_no_row(seed):
    arrays = {"x": np.arange(100), "y": np.arange(200).reshape(100, 2)}
    parts = datasets.split(arrays, (0.7, 0.1, 0.2), seed=seed)
    assert [len(part["x"]) for part in parts] == [70, 10, 20]
    together = np.concatenate([part["x"] for part in parts])
    np.testing.assert_array_equal(np.sort(together), np.arange(100))
    for part in parts:
        np.testing.assert_array_equal(part["y"][:, 0], 2 * part["x"])


def test_fractions_lose_no_row():
    for n in range(10, 40):
        parts = datasets.split({"x": np.arange(n)}, (0.1,) * 10, seed=1)
        assert sum(len(part["x"]) for part in parts) == n


def test_a_split_depends_on_the_seed_alone():
    arrays = {"x": np.arange(50)}
    first, again, other = (
        datasets.split(arrays, (40, 10), seed=seed)[0]["x"] for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("seed", [None, 3])
def test_stratified_parts_hold_their_share(seed):
    label = np.repeat([3, 7, 9], [501, 90, 10])
    arrays = {"label": label}
    sizes = (0.5, 0.3, 0.2)
    parts = datasets.split(arrays, sizes, seed=seed, stratify=label)
    for part, share in zip(parts, sizes, strict=True):
        for value, count in ((3, 501), (7, 90), (9, 10)):
            assert abs((part["label"] == value).sum() - share * count) <= 1


# Errors.


def test_rejects_an_unknown_name():
    for ask in (datasets.load, datasets.rows, datasets.describe, datasets.download):
        with pytest.raises(
            ValueError, match=r"'fashon_mnist'; did you mean fashion_mn"
        ):
            ask("fashon_mnist")


def test_says_what_to_do_without_a_network(offline):
    with pytest.raises(
        sources.DataError, match=r"mnist: cannot .*no network in tests.*"
    ):
        datasets.load("mnist")


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((8, 3), "at most the 10 there are"),
        ((0.8, 0.3), "at most the 10 there are"),
        ((0, 5), "each part must have a row"),
        ((0.99, 0.01), "each part must have a row"),
        ((5, 0.5), "counts, fractions or rows; got"),
        ((), "at least one part"),
        ((np.array([0, 1]), np.array([1])), "share no row"),
        ((np.array([0, 10]),), "rows must be from 0 to 9; got 10"),
        ((np.array([-1]),), "rows must be from 0 to 9; got -1"),
    ],
)
def test_rejects_an_impossible_split(sizes, message):
    with pytest.raises(ValueError, match=message):
        datasets.split({"x": np.arange(10)}, sizes, seed=0)


def test_rejects_classes_that_do_not_fit():
    with pytest.raises(ValueError, match="same number of rows; got x 3, stratify 2"):
        datasets.split({"x": np.arange(3)}, (2,), seed=0, stratify=np.arange(2))
