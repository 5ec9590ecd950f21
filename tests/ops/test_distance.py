"""Distances against scipy, and what every distance must keep."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial import distance as oracle

from jaxml.ops import distance

NAMES = [
    ("sqeuclidean", 2.0, {"metric": "sqeuclidean"}),
    ("euclidean", 2.0, {"metric": "euclidean"}),
    ("l2", 2.0, {"metric": "euclidean"}),
    ("manhattan", 2.0, {"metric": "cityblock"}),
    ("l1", 2.0, {"metric": "cityblock"}),
    ("cityblock", 2.0, {"metric": "cityblock"}),
    ("chebyshev", 2.0, {"metric": "chebyshev"}),
    ("minkowski", 1.0, {"metric": "cityblock"}),
    ("minkowski", 3.0, {"metric": "minkowski", "p": 3}),
    ("minkowski", 1.5, {"metric": "minkowski", "p": 1.5}),
    ("minkowski", np.inf, {"metric": "chebyshev"}),
    ("cosine", 2.0, {"metric": "cosine"}),
    ("hamming", 2.0, {"metric": "hamming"}),
]


@pytest.fixture
def points():
    rng = np.random.default_rng(0)
    # rounded, so that hamming sees equal numbers
    return rng.normal(size=(9, 5)).round(), rng.normal(size=(7, 5)).round()


# Parity


@pytest.mark.parametrize(("metric", "p", "reference"), NAMES)
def test_matches_scipy(points, metric, p, reference):
    x, y = points
    expected = oracle.cdist(x, y, **reference)
    x, y = jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)
    all_pairs = distance.pairwise(x, y, metric=metric, p=p)
    np.testing.assert_allclose(all_pairs, expected, rtol=2e-6, atol=2e-7)
    row_by_row = distance.paired(x[:, None], y[None], metric=metric, p=p)
    np.testing.assert_allclose(row_by_row, expected, rtol=2e-6, atol=2e-7)


def test_a_function_is_a_metric(points):
    x, y = (jnp.asarray(a, jnp.float32) for a in points)
    weighted = lambda a, b: (jnp.arange(1.0, 6.0) * jnp.abs(a - b)).sum()
    expected = oracle.cdist(x, y, metric="cityblock", w=np.arange(1.0, 6.0))
    found = distance.pairwise(x, y, metric=weighted)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    found = distance.paired(x[:, None], y[None], metric=weighted)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_squared_distances_far_from_the_origin(points):
    x, y = points[0] + 1000, points[1] + 1000
    found = distance.sq_distances(
        jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)
    )
    # Without the move of the origin the error would be about 5e6 * 6e-8 = 0.3.
    np.testing.assert_allclose(found, oracle.cdist(x, y, "sqeuclidean"), atol=1e-5)
    there = distance.sq_distances(
        jnp.asarray(points[0], jnp.float32),
        jnp.asarray(points[1], jnp.float32),
        center=False,
    )
    np.testing.assert_allclose(there, found, atol=1e-5)


# Properties


@pytest.mark.parametrize("metric", distance.METRICS)
def test_a_point_is_at_distance_zero_from_itself(metric):
    x = 100 + jax.random.normal(jax.random.key(1), (9, 5))
    found = distance.pairwise(x, x, metric=metric, p=3.0)
    assert (jnp.diag(found) == 0).all()
    assert ((found > 0) | jnp.eye(9, dtype=bool)).all()


def test_squared_distances_are_never_negative():
    x = 1e3 * jax.random.normal(jax.random.key(0), (64, 3)) + 1e4
    assert (distance.sq_distances(x, x) >= 0).all()


def test_zero_has_cosine_distance_one():
    x = jnp.array([[0.0, 0.0], [1e-30, 0.0], [0.0, 1e30]])
    expected = [[1, 1, 1], [1, 0, 1], [1, 1, 0]]
    np.testing.assert_allclose(distance.pairwise(x, x, metric="cosine"), expected)


@pytest.mark.parametrize("metric", ["euclidean", "minkowski", "cosine", "manhattan"])
def test_gradient_at_distance_zero_is_finite(metric):
    x = jnp.array([[1.0, 2.0], [1.0, 3.0]])
    total = lambda x: distance.pairwise(x, x, metric=metric, p=3.0).sum()
    assert jnp.isfinite(jax.grad(total)(x)).all()


@pytest.mark.parametrize("metric", distance.METRICS)
def test_nan_and_precision_pass_through(metric):
    with jax.enable_x64(True):
        x = jnp.array([[0.0, 1.0], [jnp.nan, 1.0]], jnp.float64)
        found = distance.pairwise(x, x, metric=metric, p=3.0)
        assert found.dtype == jnp.float64
        assert jnp.isnan(found[1]).all()
        assert jnp.isfinite(found[0, 0])


def test_the_origin_keeps_whole_numbers_exact():
    y = jnp.asarray(np.random.default_rng(0).integers(0, 17, (50, 64)), jnp.float32)
    expected = oracle.cdist(y, y, "sqeuclidean")
    np.testing.assert_array_equal(distance.sq_distances(y, y), expected)


# Errors


def test_rejects_an_unknown_metric():
    with pytest.raises(ValueError, match=r"metric must be one of .*; got 'taxi'"):
        distance.pairwise(jnp.ones((2, 2)), jnp.ones((2, 2)), metric="taxi")


def test_rejects_an_impossible_power():
    with pytest.raises(ValueError, match="p must be above 0; got 0"):
        distance.paired(jnp.ones((2, 2)), jnp.ones((2, 2)), metric="minkowski", p=0.0)
