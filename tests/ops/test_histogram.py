import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding

from jaxml import sharding
from jaxml.ops import histogram, native

needs_kernel = pytest.mark.skipif(
    not native.enabled("histogram"), reason=native.reason("histogram")
)
FORMS = [
    pytest.param(True, marks=needs_kernel, id="kernel"),
    pytest.param(False, id="xla"),
]
forms = pytest.mark.parametrize("fast", FORMS)
N, D, NODES, BINS = 400, 5, 3, 20


@functools.cache
def data(c=2, kind=np.uint8):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, BINS, (N, D)).astype(kind)
    codes[:9] = np.iinfo(kind).max  # out of range: not counted
    codes[9:20] = BINS
    node = rng.integers(-1, NODES + 1, N)  # some rows are in no node
    node[30:40] = [-7, 10**6] * 5
    values = rng.normal(size=(N, c)).astype(np.float32)
    return codes, values, node.astype(np.int32)


def by_numpy(codes, values, node, nodes=NODES, size=BINS):
    """In double precision, a value and a feature at a time."""
    out = np.zeros((nodes, codes.shape[1], size, values.shape[1]))
    for j in range(codes.shape[1]):
        there = (node >= 0) & (node < nodes) & (codes[:, j] < size)
        place = node[there] * size + codes[there, j].astype(int)
        for k in range(values.shape[1]):
            total = np.bincount(place, values[there, k], nodes * size)
            out[:, j, :, k] = total.reshape(nodes, size)
    return out


def run(codes, values, node, nodes=NODES, size=BINS, **options):
    arrays = (jnp.array(codes), jnp.array(values), jnp.array(node))
    return histogram.histogram(*arrays, n_nodes=nodes, n_bins=size, **options)


class TestHistogram:
    @forms
    @pytest.mark.parametrize(
        ("c", "kind"), [(1, np.uint8), (2, np.uint8), (5, np.uint8), (2, np.uint16)]
    )
    def test_sums(self, fast, c, kind):
        arrays = data(c, kind)
        result = run(*arrays, fast=fast)
        assert result.dtype == jnp.float32
        np.testing.assert_allclose(result, by_numpy(*arrays), rtol=1e-5, atol=2e-6)

    @forms
    def test_all_codes_of_a_byte(self, fast):
        codes = np.arange(512).reshape(256, 2).astype(np.uint8)
        arrays = codes, np.ones((256, 1), np.float32), np.zeros(256, np.int32)
        result = run(*arrays, nodes=1, size=256, fast=fast)
        np.testing.assert_array_equal(result, by_numpy(*arrays, nodes=1, size=256))

    @forms
    def test_double_precision(self, fast):
        with jax.enable_x64(True):
            codes, values, node = data()
            values = values.astype(np.float64)
            result = run(codes, values, node, fast=fast)
            expected = by_numpy(codes, values, node)
            np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-13)

    @needs_kernel
    def test_kernel_sums_in_double_precision(self):
        values = np.full((40_000, 1), 1e-4, np.float32)
        values[0] = 1e4
        codes, node = np.zeros((40_000, 1), np.uint8), np.zeros(40_000, np.int32)
        total = run(codes, values, node, nodes=1, size=1, fast=True).item()
        assert total == np.float32(values.astype(np.float64).sum())

    @forms
    def test_a_value_that_is_not_a_number_shows(self, fast):
        codes, values, node = data()
        values = values.copy()
        values[50, 1] = np.nan
        node = node.copy()
        node[50] = 1
        result = np.isnan(run(codes, values, node, fast=fast))
        assert result.sum() == D
        assert all(result[1, j, codes[50, j], 1] for j in range(D))

    @forms
    def test_vmap(self, fast):
        codes, values, node = data()
        many = jnp.stack([jnp.array(values), 2 * jnp.array(values)])
        one = run(codes, values, node, fast=fast)
        both = jax.vmap(lambda values: run(codes, values, node, fast=fast))(many)
        np.testing.assert_allclose(both[0], one, rtol=1e-6)
        np.testing.assert_allclose(both[1], 2 * one, rtol=1e-6)

    @forms
    def test_sharded_rows(self, fast):
        arrays = data()
        rows = NamedSharding(sharding.mesh(data=8), jax.P("data"))
        spread = [jax.device_put(part, rows) for part in arrays]
        total = functools.partial(
            histogram.histogram, n_nodes=NODES, n_bins=BINS, fast=fast
        )
        program = jax.jit(total).lower(*spread).compile()
        expected = by_numpy(*arrays)
        # Again and again: eight devices in the kernel at once, on fewer threads.
        for _ in range(20):
            result = program(*spread)
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=2e-6)
        assert "all-gather" not in program.as_text()

    def test_rejects(self):
        codes, values, node = data()
        with pytest.raises(ValueError, match="uint8 or uint16; got uint32"):
            run(codes.astype(np.uint32), values, node)
        with pytest.raises(ValueError, match="n_nodes must be at least 1; got 0"):
            run(codes, values, node, nodes=0)


class TestPrefix:
    @pytest.mark.parametrize("shape", [(3, 256, 2), (2, 4, 37, 3), (5, 1)])
    def test_is_a_cumulative_sum(self, key, shape):
        x = jax.random.normal(key, shape)
        expected = np.cumsum(np.asarray(x, np.float64), -2)
        np.testing.assert_allclose(histogram.prefix(x), expected, rtol=1e-5, atol=1e-5)


class TestArgmax:
    def test_is_that_of_numpy(self, key):
        x = jnp.round(jax.random.normal(key, (6, 50)) * 2)
        np.testing.assert_array_equal(histogram.argmax(x), np.argmax(x, -1))

    def test_infinities_and_not_a_number(self):
        x = jnp.array([[-jnp.inf, -jnp.inf], [0, jnp.inf], [0, jnp.nan]])
        assert histogram.argmax(x).tolist() == [0, 1, 0]
