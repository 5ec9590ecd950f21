import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.ensemble._hist_gradient_boosting.binning import _BinMapper

from jaxml import sharding
from jaxml.ops import bins, native

needs_kernel = pytest.mark.skipif(
    not native.enabled("bins"), reason=native.reason("bins")
)
FORMS = [
    pytest.param(True, marks=needs_kernel, id="kernel"),
    pytest.param(False, id="xla"),
]
forms = pytest.mark.parametrize("fast", FORMS)
N, B = 4000, 16


@functools.cache
def mixed():
    """Columns of all kinds, a tenth of them missing, and whole weights up to 3."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, 8)).astype(np.float32)
    x[:, 1] = rng.integers(0, 12, N)  # few values
    x[:, 2] = np.where(rng.random(N) < 0.5, 0, x[:, 2])  # half of them one value
    x[:, 3] = np.round(x[:, 3] * 9)  # many values, some common
    x[:, 4] *= 1e-30
    x[:, 5] = np.where(rng.random(N) < 0.3, np.inf, x[:, 5])
    x[rng.random(x.shape) < 0.1] = np.nan
    x[:, 6] = 7  # constant
    x[:, 7] = np.nan
    return x, rng.integers(0, 4, N).astype(np.float32)


def as_numpy(found):
    return bins.Bins(*map(np.asarray, found))


def by_definition(column, weight, size):
    """The bins of the rule that the module states, value by value, in double."""
    there = ~np.isnan(column) & (weight > 0)
    values, place = np.unique(column[there], return_inverse=True)
    weights = np.bincount(place, weight[there])
    if len(values) <= size:
        return values, values
    most = (size - 1) // 2
    heavy = weights * (most + 1) > weights.sum()
    light = np.where(heavy, 0, weights)
    parts = size - 2 * heavy.sum()
    twice = 2 * np.cumsum(light) - light  # twice the middle of the rank
    label = np.floor(np.round(twice * parts / (2 * light.sum()), 9))
    fresh = np.diff(label, prepend=-1) != 0
    fresh |= heavy | np.roll(heavy, 1)
    start = np.flatnonzero(fresh)
    return values[start], values[np.append(start[1:], len(values)) - 1]


class TestFind:
    @forms
    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("size", [B, 5, 2])
    def test_is_the_rule_of_the_module(self, fast, weighted, size):
        x, weight = mixed()
        if not weighted:
            weight = np.ones(N, np.float32)
        given = jnp.array(weight) if weighted else None
        found = as_numpy(bins.find(jnp.array(x), size, given, fast=fast))
        for j in range(x.shape[1]):
            low, high = by_definition(x[:, j], weight, size)
            used = int(found.used[j])
            assert used == len(low)
            np.testing.assert_array_equal(found.low[j, :used], low)
            np.testing.assert_array_equal(found.high[j, :used], high)
            assert np.isposinf(found.low[j, used:]).all()
            assert np.isposinf(found.high[j, used:]).all()

    @forms
    def test_whole_weights_are_repeated_rows(self, fast):
        x, weight = mixed()
        weighted = bins.find(jnp.array(x), B, jnp.array(weight), fast=fast)
        repeated = bins.find(jnp.array(x.repeat(weight.astype(int), 0)), B, fast=fast)
        for one, other in zip(weighted, repeated, strict=True):
            np.testing.assert_array_equal(one, other)

    @needs_kernel
    def test_both_forms_agree_where_no_weight_is_whole(self):
        x, _ = mixed()
        weight = jax.random.uniform(jax.random.key(0), (N,))
        one, other = (
            bins.find(jnp.array(x), B, weight, fast=fast) for fast in (True, False)
        )
        np.testing.assert_array_equal(one.used, other.used)
        same = np.asarray(one.low == other.low)
        assert same.mean() > 0.99  # a sum in single precision may shift a cut by a row

    @forms
    @pytest.mark.parametrize("load", [load_iris, load_breast_cancer])
    def test_few_values_have_a_bin_each(self, fast, load):
        x = load().data.astype(np.float32)
        n = len(x)
        found = as_numpy(bins.find(jnp.array(x), n, fast=fast))
        for j in range(x.shape[1]):
            values = np.unique(x[:, j])
            assert found.used[j] == len(values)
            np.testing.assert_array_equal(found.low[j, : len(values)], values)
            np.testing.assert_array_equal(found.high[j, : len(values)], values)

    @forms
    def test_as_even_as_scikit_learn(self, fast):
        x = mixed()[0][:, :5]
        codes = bins.codes(
            bins.find(jnp.array(x), B, fast=fast), jnp.array(x), fast=fast
        )
        peer = _BinMapper(n_bins=B + 1).fit(x.astype(np.float64))
        theirs = peer.transform(x.astype(np.float64))
        for j in range(5):
            ours, other = (
                np.bincount(part[:, j], minlength=B + 1)[:B]
                for part in (np.asarray(codes), theirs)
            )
            assert (ours > 0).sum() >= (other > 0).sum()
            # What a cut within bins could still tell apart: pairs of rows in one bin.
            assert (ours.astype(float) ** 2).sum() <= (
                other.astype(float) ** 2
            ).sum() * 1.01

    @forms
    def test_one_row_and_infinities(self, fast):
        x = jnp.array([[jnp.inf, -jnp.inf, 1.0, jnp.nan, -0.0]])
        found = bins.find(x, 3, fast=fast)
        assert found.used.tolist() == [1, 1, 1, 0, 1]
        assert found.low[:, 0].tolist() == [np.inf, -np.inf, 1.0, np.inf, 0.0]
        assert bins.codes(found, x, fast=fast).tolist() == [[0, 0, 0, 3, 0]]

    @forms
    def test_weights_of_zero_everywhere(self, fast):
        found = bins.find(jnp.ones((30, 2)), 3, jnp.zeros(30), fast=fast)
        assert found.used.tolist() == [0, 0]

    @forms
    def test_double_precision(self, fast):
        with jax.enable_x64(True):
            x = 1 + 1e-12 * np.random.default_rng(0).permutation(60)[:, None]
            found = bins.find(jnp.array(x), 64, fast=fast)
            assert found.low.dtype == jnp.float64
            assert found.used.tolist() == [60]
            found = bins.find(jnp.array(x), 6, jnp.ones(60), fast=fast)
            codes = bins.codes(found, jnp.array(x), fast=fast)
            assert np.bincount(codes[:, 0]).tolist() == [10] * 6

    @forms
    def test_vmap_over_weights(self, fast):
        x, weight = mixed()
        weights = jnp.stack([jnp.ones(N), jnp.array(weight)])
        find = functools.partial(bins.find, jnp.array(x), B, fast=fast)
        many = jax.vmap(lambda weight: find(sample_weight=weight))(weights)
        for i in range(2):
            for got, expected in zip(many, find(sample_weight=weights[i]), strict=True):
                np.testing.assert_array_equal(got[i], expected)

    def test_rejects(self):
        with pytest.raises(ValueError, match="from 2 to 65535; got 1"):
            bins.find(jnp.ones((3, 1)), 1)


class TestCodes:
    @forms
    @pytest.mark.parametrize("size", [B, 255, 300])
    def test_count_the_middles_below(self, fast, size):
        x, _ = mixed()
        found = bins.find(jnp.array(x), size, fast=fast)
        rng = np.random.default_rng(1)
        fresh = rng.normal(size=(999, 8)).astype(np.float32) * 3
        fresh[5], fresh[6], fresh[7] = np.nan, np.inf, -np.inf
        codes = np.asarray(bins.codes(found, jnp.array(fresh), fast=fast))
        assert codes.dtype == (np.uint8 if size < 256 else np.uint16)
        found = as_numpy(found)
        for j in range(8):
            used = max(int(found.used[j]), 1)
            low, high = np.asarray(found.low[j]), np.asarray(found.high[j])
            with np.errstate(over="ignore", invalid="ignore"):
                middle = low[1:used] * np.float32(0.5) + high[: used - 1] * np.float32(
                    0.5
                )
            middle = np.where(middle < low[1:used], middle, high[: used - 1])
            expected = np.searchsorted(middle, fresh[:, j])
            expected[np.isnan(fresh[:, j])] = size
            np.testing.assert_array_equal(codes[:, j], expected)

    @forms
    def test_rows_fall_into_the_bins_that_they_made(self, fast):
        x, _ = mixed()
        found = bins.find(jnp.array(x), B, fast=fast)
        codes = np.asarray(bins.codes(found, jnp.array(x), fast=fast))
        found = as_numpy(found)
        for j in range(8):
            there = ~np.isnan(x[:, j])
            assert (codes[~there, j] == B).all()
            assert (x[there, j] >= found.low[j][codes[there, j]]).all()
            assert (x[there, j] <= found.high[j][codes[there, j]]).all()

    def test_edges_lie_between_neighbours(self):
        ulp = np.nextafter(np.float32(1), np.float32(2))
        big = np.finfo(np.float32).max
        column = jnp.array([1.0, ulp, -jnp.inf, big, big / 2, jnp.inf])
        found = bins.find(column[:, None], 6)
        expected = [-np.inf, 1.0, 0.5 * ulp + big / 4, big * 0.75, big]
        np.testing.assert_array_equal(bins.edges(found)[0], np.float32(expected))

    def test_rejects_other_features(self):
        found = bins.find(jnp.ones((3, 2)), 4)
        with pytest.raises(ValueError, match="the 2 features of the bins; got 1"):
            bins.codes(found, jnp.ones((3, 1)))


class TestShardedRows:
    @pytest.mark.parametrize(
        ("sizes", "spec", "weighted"),
        [
            ({"data": 8}, "data", False),
            ({"data": 4, "model": 2}, "data", True),
            ({"data": 4, "model": 2}, ("data", "model"), True),
        ],
        ids=["the axis", "one axis of two", "two axes"],
    )
    def test_same_bins_and_no_row_moves(self, weighted, sizes, spec):
        x, weight = mixed()
        x = x.copy()
        x[:, 1] = np.arange(N) // (N // 10)  # a device sees few of the ten values
        x[: N // 8, 2] = np.random.default_rng(2).normal(size=N // 8)  # uneven shards
        arrays = (x, weight) if weighted else (x,)
        rows = NamedSharding(sharding.mesh(**sizes), jax.P(spec))
        spread = [jax.device_put(part, rows) for part in arrays]

        def both(x, weight=None):
            found = bins.find(x, B, weight)
            return found, bins.codes(found, x)

        program = jax.jit(both).lower(*spread).compile()
        found, codes = program(*spread)
        single = bins.find(jnp.array(x), B, *map(jnp.array, arrays[1:]))
        for one, other in zip(found, single, strict=True):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(codes, bins.codes(single, jnp.array(x)))
        assert codes.sharding.spec == jax.P(spec)
        text = program.as_text()
        assert "all-gather" not in text
        assert "all-to-all" not in text
