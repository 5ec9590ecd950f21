"""Data and peers of the tests of imported models."""

import importlib
import os

import numpy as np
import pytest

CATEGORY = 2  # the column of categories


def peer(name):
    """A library; without it tests are skipped, but not in CI."""
    if os.environ.get("CI"):
        return importlib.import_module(name)
    return pytest.importorskip(name)


def one_thread():
    """The peers' threads and ours would wait for each other on few cores."""
    return peer("threadpoolctl").threadpool_limits(1, user_api="openmp")


def rows(n, missing=True, seed=0):
    """float32 rows with zeros, -1/0/1, 40 categories, unknown ones and gaps."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 5))
    x[:, CATEGORY] = rng.integers(0, 40, n)
    x[:, 3] = rng.integers(-1, 2, n)
    x[rng.random(n) < 0.3, 4] = 0
    if missing:
        x[rng.random(x.shape) < 0.15] = np.nan
    return x.astype(np.float32)


def new_rows(n, missing=True):
    """As `rows`, with categories that no model has seen."""
    x = rows(n, missing, seed=1)
    x[: n // 10, CATEGORY] = np.resize([40.0, 63.0, 64.0, 5000.0], n // 10)
    return x


def signal(x):
    """A target for the rows."""
    filled = np.nan_to_num(x.astype(float))
    jump = (filled[:, 3] < 0) + 0.5 * (filled[:, 4] == 0)
    return filled[:, 0] + np.sin(filled[:, CATEGORY]) + jump


def assert_close(ours, theirs, rtol=1e-6):
    """Equal to float32: every figure against the largest one."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape
    assert np.isfinite(ours).all()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=rtol * np.abs(theirs).max())
