"""The k nearest rows against a full sort."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy.spatial.distance import cdist

from jaxml.ops import distance, native, nearest


def brute(queries, x, k, metric="euclidean", **options):
    """Distances and indices by a stable full sort in float64."""
    full = cdist(np.float64(queries), np.float64(x), metric, **options)
    index = np.argsort(full, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(full, index, 1), index


@pytest.fixture
def cloud():
    rng = np.random.default_rng(0)
    return (
        jnp.asarray(rng.normal(size=(70, 12)), jnp.float32),
        jnp.asarray(rng.normal(size=(300, 12)), jnp.float32),
    )


@pytest.fixture(params=["kernel", "xla"])
def form(request, monkeypatch):
    """Both forms of the search."""
    if request.param == "xla":
        monkeypatch.setenv("JAXML_NATIVE", "0")
    elif not native.enabled("select"):
        pytest.skip(native.reason("select"))
    return request.param


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("k", [1, 5, 300])
@pytest.mark.parametrize("block", [16, None])
def test_matches_a_full_sort(cloud, k, block):
    queries, x = cloud
    found = nearest.k_nearest(queries, x, k=k, block=block)
    distances, index = brute(queries, x, k)
    np.testing.assert_array_equal(found.indices, index)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-6)


@pytest.mark.parametrize(
    ("metric", "p", "reference"),
    [
        ("sqeuclidean", 2.0, {"metric": "sqeuclidean"}),
        ("manhattan", 2.0, {"metric": "cityblock"}),
        ("chebyshev", 2.0, {"metric": "chebyshev"}),
        ("minkowski", 3.0, {"metric": "minkowski", "p": 3}),
        ("cosine", 2.0, {"metric": "cosine"}),
    ],
)
def test_matches_a_full_sort_in_every_metric(cloud, metric, p, reference):
    queries, x = cloud
    found = nearest.k_nearest(queries, x, k=6, metric=metric, p=p)
    distances, index = brute(queries, x, 6, **reference)
    np.testing.assert_array_equal(found.indices, index)
    np.testing.assert_allclose(found.distances, distances, rtol=3e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_kernel_selects_as_top_k(dtype):
    if not native.enabled("select"):
        pytest.skip(native.reason("select"))
    rng = np.random.default_rng(5)
    with jax.enable_x64(dtype == np.float64):
        values = rng.integers(0, 30, (40, 517)).astype(dtype)
        values[3, ::5] = np.inf
        values[4] = np.inf
        values[5, 400] = -np.inf
        values[6, 77] = np.nan
        for k in (1, 7, 32, 517):
            found = np.asarray(nearest._select(jnp.asarray(values), k))
            keys = np.where(np.isnan(values), -np.inf, values)
            by = np.argsort(keys, axis=1, kind="stable")[:, :k]
            np.testing.assert_array_equal(found, by)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("d", [2, 30])
def test_groups_and_blocks_are_exact_with_ties(d):
    # Whole numbers: most distances tie, and must go to the lower row.
    rng = np.random.default_rng(1)
    x = jnp.asarray(rng.integers(0, 3, (2500, d)), jnp.float32)
    queries = jnp.asarray(rng.integers(0, 3, (40, d)), jnp.float32)
    found = nearest.k_nearest(queries, x, k=7, block=16)
    distances, index = brute(queries, x, 7)
    np.testing.assert_array_equal(found.indices, index)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-6)


def test_k_smallest_of_groups_is_the_head_of_a_stable_sort():
    values = np.random.default_rng(2).integers(0, 1000, (5, 3001)).astype(np.float32)
    found = nearest.k_smallest(jnp.asarray(values), 20)
    expected = np.argsort(values, axis=1, kind="stable")[:, :20]
    np.testing.assert_array_equal(found, expected)


def test_close_pairs_far_from_the_origin():
    # Copies moved by 1e-3 in a cloud at 100: the matmul alone has errors of 1e-2.
    rng = np.random.default_rng(3)
    x = 100 + rng.normal(size=(200, 16))
    x = jnp.asarray(np.concatenate([x, x + 1e-3]), jnp.float32)
    found = nearest.k_nearest(x, x, k=2)
    np.testing.assert_array_equal(found.indices[:, 0], np.arange(400))
    np.testing.assert_array_equal(found.indices[:, 1], (np.arange(400) + 200) % 400)
    assert (found.distances[:, 0] == 0).all()
    np.testing.assert_allclose(found.distances, brute(x, x, 2)[0], rtol=1e-5)


def test_clusters_much_further_apart_than_neighbours():
    # The matmul errs by 0.02 where neighbours differ by 0.01: only the distances from
    # differences, of more candidates than k, tell which of the seven are nearest.
    rng = np.random.default_rng(5)
    x = (
        np.repeat(rng.choice([-100, 100], (20, 12)), 7, 0)
        + rng.normal(size=(140, 12)) / 20
    )
    x = jnp.asarray(x, jnp.float32)
    distances, index = brute(x, x, 3)
    found = nearest.k_nearest(x, x, k=3)
    np.testing.assert_array_equal(found.indices, index)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-5)


@pytest.mark.parametrize("d", [2, 12])
def test_an_absent_row_is_never_a_neighbour(d):
    rng = np.random.default_rng(4)
    x = rng.normal(size=(60, d)).astype(np.float32)
    present = rng.random(60) < 0.5
    dirty = np.where(present[:, None], x, np.nan).astype(np.float32)
    found = nearest.k_nearest(
        jnp.asarray(x), jnp.asarray(dirty), k=4, present=jnp.asarray(present)
    )
    distances, index = brute(x, x[present], 4)
    np.testing.assert_array_equal(found.indices, np.flatnonzero(present)[index])
    np.testing.assert_allclose(found.distances, distances, rtol=1e-5)


def test_too_few_present_rows_leave_infinite_distances():
    x = jnp.arange(6.0)[:, None]
    present = jnp.array([True, False, False, False, False, True])
    found = nearest.k_nearest(x, x, k=3, present=present)
    np.testing.assert_array_equal(found.distances[0], [0, 5, jnp.inf])


def test_gradient_of_a_distance(cloud):
    queries, x = cloud
    with jax.enable_x64(True):
        queries, x = jnp.float64(queries[:3]), jnp.float64(x)
        total = lambda q, x: nearest.k_nearest(q, x, k=3).distances.sum()
        check_grads(jax.jit(total), (queries, x), order=1, modes=["rev"])


def test_runs_under_vmap(cloud):
    queries, x = cloud
    present = jnp.arange(300)[None] % 3 != jnp.arange(3)[:, None]
    search = lambda keep: nearest.k_nearest(queries, x, k=3, present=keep, block=16)
    together = jax.vmap(search)(present)
    for i in range(3):
        alone = search(present[i])
        np.testing.assert_array_equal(together.indices[i], alone.indices)


@pytest.mark.usefixtures("form")
def test_memory_is_bounded_by_the_block():
    queries, x = jnp.zeros((4096, 16)), jnp.zeros((8192, 16))
    search = jax.jit(partial(nearest.k_nearest, k=5, block=16))
    compiled = search.lower(queries, x).compile()
    full = 4 * len(queries) * len(x)
    assert compiled.memory_analysis().temp_size_in_bytes < full / 10


@pytest.mark.parametrize("k", [0, 301])
def test_rejects_an_impossible_k(cloud, k):
    with pytest.raises(ValueError, match=f"k must be from 1 to 300; got {k}"):
        nearest.k_nearest(*cloud, k=k)


def test_rejects_an_unknown_metric(cloud):
    with pytest.raises(ValueError, match="metric must be one of"):
        nearest.k_nearest(*cloud, k=1, metric="taxi")


def test_by_blocks_joins_several_results(cloud):
    queries, x = cloud
    count, largest = nearest.by_blocks(
        lambda q: ((distance.pairwise(q, x) < 4).sum(1), q.max(1)),
        queries,
        300,
        block=16,
    )
    np.testing.assert_array_equal(count, (cdist(queries, x) < 4).sum(1))
    np.testing.assert_array_equal(largest, queries.max(1))
