"""Scalers and encoders against scikit-learn, and the laws of sufficient statistics."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.data import preprocess

skl = pytest.importorskip("sklearn.preprocessing")


@pytest.fixture
def x():
    """300 rows: a feature far from zero, a tiny one, a constant, one with gaps."""
    rng = np.random.default_rng(0)
    table = rng.normal(size=(300, 4)) * [1, 1e-6, 0, 5] + [1000, 0, 7.3, -2]
    table[::7, 3] = np.nan
    return table.astype(np.float32)


@pytest.fixture
def weight():
    return np.random.default_rng(1).integers(0, 4, 300).astype(np.float32)


# Parity with scikit-learn, which sums in float64.


@pytest.mark.parametrize("weighted", [False, True])
def test_fit_matches_sklearn(x, weight, weighted):
    weight = weight if weighted else None
    ours = preprocess.fit(x, sample_weight=weight)
    theirs = skl.StandardScaler().fit(x.astype(np.float64), sample_weight=weight)
    # one or two roundings of float32, of the mean or of the spread about it
    error = np.abs(ours.center - theirs.mean_)
    assert (error <= 2e-7 * (np.abs(theirs.mean_) + theirs.scale_)).all()
    np.testing.assert_allclose(ours.scale, theirs.scale_, rtol=1e-6)
    z = preprocess.transform(ours, x)
    np.testing.assert_allclose(z, theirs.transform(x), atol=1e-4)


def test_fit_range_matches_sklearn(x):
    ours = preprocess.fit_range(x, -1.0, 2.0)
    theirs = skl.MinMaxScaler((-1, 2)).fit(x.astype(np.float64))
    z = preprocess.transform(ours, x)
    # x near 1000 is rounded to 6e-5 and scaled by 3 / 6
    np.testing.assert_allclose(z, theirs.transform(x), atol=2e-4)
    plain = preprocess.transform(preprocess.fit_range(x), x)
    assert np.nanmin(plain) == 0
    assert np.nanmax(plain) == 1


def test_medians_match_numpy(x, weight):
    impute = pytest.importorskip("sklearn.impute")
    theirs = impute.SimpleImputer(strategy="median").fit(x)
    fill = preprocess.medians(x)
    np.testing.assert_allclose(fill, theirs.statistics_, rtol=2e-7)
    np.testing.assert_allclose(preprocess.impute(fill, x), theirs.transform(x))
    repeated = np.repeat(x, weight.astype(int), 0)
    ours = preprocess.medians(x, sample_weight=weight)
    np.testing.assert_allclose(ours, np.nanmedian(repeated, 0), rtol=2e-7)


def test_one_hot_matches_sklearn():
    words = np.array(["sea", "hill", "sea", "bay"])
    categories = ("bay", "hill", "sea")
    codes = preprocess.encode(words, categories)
    theirs = skl.OneHotEncoder(sparse_output=False).fit_transform(words[:, None])
    np.testing.assert_array_equal(preprocess.one_hot(codes, 3), theirs)
    np.testing.assert_array_equal(preprocess.one_hot(np.array([-1, 3]), 3), 0)


# Properties: true whatever the data.


def test_a_large_mean_costs_no_digits():
    rng = np.random.default_rng(0)
    x = (rng.normal(size=100_000) + 1e4).astype(np.float32)
    ours = preprocess.fit(x)
    np.testing.assert_allclose(ours.center, x.mean(dtype=np.float64), rtol=1e-7)
    np.testing.assert_allclose(ours.scale, x.std(dtype=np.float64), rtol=1e-6)


def test_merged_parts_equal_the_whole(x, weight):
    cuts = [0, 1, 50, 51, 200, 300]
    merged = preprocess.stats(x[:0], weight[:0])  # nothing yet
    for start, stop in pairwise(cuts):
        part = preprocess.stats(x[start:stop], weight[start:stop])
        merged = preprocess.merge(merged, part)
    whole = preprocess.stats(x, weight)
    for ours, theirs in zip(merged, whole, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-12)
    assert preprocess.solve(merged).scale[2] == 1


def test_weight_zero_is_an_absent_row(x, weight):
    x[weight == 0] = np.nan
    x[np.flatnonzero(weight == 0)[:2]] = np.inf
    kept = weight > 0
    for fit in (preprocess.fit, preprocess.fit_range, preprocess.medians):
        masked = fit(x, sample_weight=weight)
        dropped = fit(x[kept], sample_weight=weight[kept])
        for ours, theirs in zip(masked, dropped, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_inverse_undoes_transform(x):
    for scaler in (preprocess.fit(x), preprocess.fit_range(x, 2.0, 3.0)):
        back = preprocess.inverse(scaler, preprocess.transform(scaler, x))
        # a few roundings of the largest number on the way
        size = np.abs(x) + np.abs(scaler.center) + np.abs(scaler.scale)
        assert np.nanmax(np.abs(back - x) / size) < 1e-6


def test_constant_and_absent_features_keep_their_unit():
    x = np.array([[0.1, np.nan]] * 3, np.float32)
    for scaler in (preprocess.fit(x), preprocess.fit_range(x)):
        np.testing.assert_array_equal(scaler.scale, 1)
        np.testing.assert_allclose(scaler.center, [0.1, 0], rtol=1e-7)
    assert np.isnan(preprocess.medians(x)[1])


def test_scales_pictures_and_targets(x):
    picture = x.reshape(10, 5, 6, 4)
    ours = preprocess.fit(picture)
    theirs = preprocess.fit(x.reshape(10, -1))
    np.testing.assert_array_equal(ours.scale.ravel(), theirs.scale)
    assert preprocess.transform(ours, picture).shape == picture.shape


def test_folds_are_weights_under_vmap(x):
    folds = (np.arange(300) % 3 != np.arange(3)[:, None]).astype(np.float32)
    fits = jax.vmap(lambda fold: preprocess.fit(x, sample_weight=fold))(folds)
    for fold, center in zip(folds, fits.center, strict=True):
        np.testing.assert_allclose(
            center, preprocess.fit(x[fold > 0]).center, rtol=1e-6
        )


def test_sharded_rows_give_the_same_fit(x):
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.NamedSharding(mesh, jax.P("data"))
    sharded = jax.device_put(jnp.asarray(x), rows)
    ours, theirs = preprocess.fit(sharded), preprocess.fit(x)
    np.testing.assert_allclose(ours.scale, theirs.scale, rtol=1e-6)
    text = preprocess.fit.lower(sharded).compile().as_text()
    assert "all-reduce" in text
    assert "all-gather" not in text


def test_keeps_the_dtype(x):
    assert preprocess.fit(x).scale.dtype == jnp.float32
    with jax.enable_x64(True):
        assert preprocess.fit(x.astype(np.float64)).scale.dtype == jnp.float64


# Errors.


def test_rejects_an_unknown_word():
    with pytest.raises(ValueError, match=r"\('a', 'b'\); row 1 has 'c'"):
        preprocess.encode(np.array(["a", "c"]), ("a", "b"))
