"""The order of floats against numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.ops import order


@pytest.mark.parametrize("n", [1, 2, 3, 100, 70_000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_matches_numpy(n, dtype):
    rng = np.random.default_rng(n)
    x = np.round(rng.normal(size=n), 2).astype(dtype)
    special = [np.nan, -np.inf, np.inf, 0.0, -0.0, -np.nan]
    x[: min(n, 6)] = special[: min(n, 6)]
    with jax.enable_x64(True):
        ours = order.argsort(jnp.asarray(x))
    np.testing.assert_array_equal(ours, np.argsort(x, kind="stable"))


def test_runs_under_vmap():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 20)), jnp.float32)
    np.testing.assert_array_equal(jax.vmap(order.argsort)(x), np.argsort(x, axis=1))


@pytest.mark.parametrize(
    ("used", "size"),
    [(0, 40), (1, 40), (7, 40), (8, 40), (40, 40), (9, 2000), (1999, 2000)],
)
def test_count_up_to_is_searchsorted_of_the_used_part(used, size):
    rng = np.random.default_rng(used)
    edges = np.sort(rng.integers(0, 20, size)).astype(np.float32)
    x = rng.integers(-1, 21, 50).astype(np.float32)
    found = order.count_up_to(jnp.asarray(edges), jnp.asarray(x), jnp.asarray(used))
    np.testing.assert_array_equal(found, np.searchsorted(edges[:used], x, "right"))
