"""jit with shardings, shard_map and pmap are one step: the same losses."""

import importlib.util
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxml.data import datasets
from jaxml.data.loader import Loader
from jaxml.train import folder

FILE = Path(__file__).parents[1] / "examples" / "three_ways.py"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("three_ways", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_three_ways_are_equal(example):
    """To rounding: only the order in which a sum is taken differs."""
    config = example.Config(hidden=(16,), rate=1e-2, steps=30)
    loader = Loader(datasets.load("digits").train, config.batch_size)
    ends, curves = {}, {}
    for name, way in example.WAYS.items():
        ends[name], curves[name] = example.train(config, way, loader)
    assert jax.device_count() == 8
    assert curves["jit"][-1] < 0.7 * curves["jit"][0]
    for name in ("shard_map", "pmap"):
        np.testing.assert_allclose(curves[name], curves["jit"], rtol=1e-5)
        for got, wanted in zip(
            jax.tree.leaves(ends[name]), jax.tree.leaves(ends["jit"]), strict=True
        ):
            np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


def test_rows_of_a_ragged_batch_count_once(example):
    """Padding falls on some devices only: the mean must be over all real rows."""
    rows = {k: v[:70] for k, v in datasets.load("digits").train.items()}
    config = example.Config(hidden=(8,), steps=4, batch_size=32)
    loader = Loader(rows, config.batch_size)
    assert loader.batch(0, 2)["weight"].sum() == 6
    curves = [example.train(config, way, loader)[1] for way in example.WAYS.values()]
    np.testing.assert_allclose(curves[1], curves[0], rtol=1e-5)
    np.testing.assert_allclose(curves[2], curves[0], rtol=1e-5)


def test_example_runs(example, tmp_path):
    run = folder.create(tmp_path / "run", config=example.SMOKE)
    scores = example.main(example.SMOKE, run)
    assert scores["difference"] < 1e-4
    assert 0 < scores["accuracy"] <= 1
