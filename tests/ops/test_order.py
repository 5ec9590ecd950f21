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
