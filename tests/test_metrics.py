"""Metrics against scientific Python, and what any mean must keep."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P
from safetensors.numpy import load_file

from jaxml import metrics


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def scores(rng):
    """Logits [60, 5], labels and weights, a third of them 0."""
    weight = rng.uniform(0.5, 2, 60) * (np.arange(60) % 3 > 0)
    return tuple(
        jnp.asarray(x)
        for x in (
            rng.normal(size=(60, 5)).astype(np.float32),
            rng.integers(0, 5, 60).astype(np.int32),
            weight.astype(np.float32),
        )
    )


# Parity.


@pytest.mark.parametrize("weighted", [False, True])
def test_classification_matches_sklearn(scores, weighted):
    sk = pytest.importorskip("sklearn.metrics")
    logits, labels, weight = scores
    weight = weight if weighted else None
    guess = np.asarray(logits).argmax(1)
    one = dict(sample_weight=weight)
    expected = sk.accuracy_score(labels, guess, **one)
    ours = metrics.compute(metrics.accuracy(logits, labels, weight))
    np.testing.assert_allclose(ours, expected, rtol=1e-6)
    for k in (1, 2, 4):
        expected = sk.top_k_accuracy_score(labels, logits, k=k, **one)
        ours = metrics.compute(metrics.top_k(logits, labels, k, weight))
        np.testing.assert_allclose(ours, expected, rtol=1e-6)

    confusion = metrics.confusion_matrix(jnp.asarray(guess), labels, 5, weight)
    np.testing.assert_allclose(
        confusion, sk.confusion_matrix(labels, guess, **one), rtol=1e-5
    )
    table = sk.precision_recall_fscore_support(labels, guess, zero_division=0, **one)
    for function, expected in zip(
        (metrics.precision, metrics.recall, metrics.f1), table[:3], strict=True
    ):
        np.testing.assert_allclose(function(confusion), expected, rtol=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
def test_regression_matches_sklearn(rng, scores, weighted):
    sk = pytest.importorskip("sklearn.metrics")
    prediction, target = rng.normal(size=(2, 60)).astype(np.float32)
    weight = scores[2] if weighted else None
    for ours, theirs in [
        (metrics.squared_error, sk.mean_squared_error),
        (metrics.absolute_error, sk.mean_absolute_error),
    ]:
        np.testing.assert_allclose(
            metrics.compute(ours(jnp.asarray(prediction), jnp.asarray(target), weight)),
            theirs(target, prediction, sample_weight=weight),
            rtol=1e-5,
        )
    np.testing.assert_allclose(
        metrics.r2(jnp.asarray(prediction), jnp.asarray(target + 100), weight),
        sk.r2_score(target + 100, prediction, sample_weight=weight),
        rtol=1e-4,  # float32 around 100
    )


def test_matches_reference_vectors(parity_folder):
    folder = parity_folder / "open"
    x = {
        k: jnp.asarray(v)
        for k, v in load_file(folder / "x_metrics.safetensors").items()
    }
    expected = json.loads((folder / "x_metrics.json").read_text())["values"]
    confusion = metrics.confusion_matrix(x["P"].argmax(1), x["y"], 4)
    ours = {
        "accuracy": metrics.compute(metrics.accuracy(x["P"], x["y"])),
        "balanced_accuracy": metrics.recall(confusion).mean(),
        "f1_macro": metrics.f1(confusion).mean(),
        "precision_macro": metrics.precision(confusion).mean(),
        "recall_macro": metrics.recall(confusion).mean(),
        "mse": metrics.compute(metrics.squared_error(x["pred"], x["reg"])),
        "r2": metrics.r2(x["pred"], x["reg"]),
    }
    for name, value in ours.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-5, err_msg=name)


def test_binary_accuracy_matches_sklearn(rng):
    sk = pytest.importorskip("sklearn.metrics")
    logits, labels = rng.normal(size=50), rng.integers(0, 2, 50)
    ours = metrics.binary_accuracy(jnp.asarray(logits), jnp.asarray(labels))
    np.testing.assert_allclose(
        metrics.compute(ours), sk.accuracy_score(labels, logits > 0), rtol=1e-6
    )


# Properties: true whatever the data.


def test_weight_zero_is_an_absent_row_whatever_it_holds(scores):
    logits, labels, weight = scores
    real = np.asarray(weight) > 0
    broken = jnp.where(weight[:, None] > 0, logits, jnp.nan)
    wrong = jnp.where(weight > 0, labels, 99)
    np.testing.assert_array_equal(
        metrics.accuracy(broken, wrong, weight),
        metrics.accuracy(logits[real], labels[real], weight[real]),
    )
    guess = logits.argmax(1)
    np.testing.assert_allclose(
        metrics.confusion_matrix(guess, wrong, 5, weight),
        metrics.confusion_matrix(guess[real], labels[real], 5, weight[real]),
        rtol=1e-6,
    )


@pytest.mark.parametrize("size", [1, 7, 60])
def test_merged_batches_are_the_whole(scores, size):
    logits, labels, _ = scores
    total = metrics.Mean(jnp.zeros(()), jnp.zeros(()))
    for start in range(0, 60, size):
        part = slice(start, start + size)
        total = metrics.merge(total, metrics.accuracy(logits[part], labels[part]))
    # counts, so equal to the bit
    assert metrics.compute(total) == metrics.compute(metrics.accuracy(logits, labels))


def test_sharded_rows_give_the_same(scores):
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    put = lambda x: jax.device_put(x, jax.NamedSharding(mesh, P("data")))
    logits, labels, _ = scores
    for function in (
        metrics.accuracy,
        lambda x, y: metrics.confusion_matrix(x.argmax(1), y, 5),
    ):
        np.testing.assert_array_equal(
            jax.jit(function)(put(logits), put(labels)), function(logits, labels)
        )


def test_a_weight_of_rows_counts_for_all_values_of_the_row():
    mean = metrics.mean(jnp.array([[1.0, 2.0], [3.0, 5.0]]), jnp.array([1.0, 3.0]))
    assert metrics.compute(mean) == (1 + 2 + 9 + 15) / 8


def test_ties_go_to_the_lower_class_as_argmax_does():
    logits, labels = jnp.zeros((3, 3)), jnp.array([0, 1, 2])
    assert metrics.accuracy(logits, labels).total == 1
    assert metrics.top_k(logits, labels, 2).total == 2


def test_nan_logits_are_wrong_in_every_class():
    assert metrics.top_k(jnp.full((3, 3), jnp.nan), jnp.array([0, 1, 2]), 2).total == 0


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_out_of_range_is_never_silent(label):
    logits, labels = jnp.eye(3), jnp.array([0, label, 2])
    assert jnp.isnan(metrics.compute(metrics.accuracy(logits, labels)))
    assert jnp.isnan(metrics.confusion_matrix(labels, labels, 3)).sum() == 1


def test_nothing_counted_is_nan():
    assert jnp.isnan(metrics.compute(metrics.mean(jnp.ones(2), jnp.zeros(2))))


def test_float64_stays_float64():
    with jax.enable_x64():
        mean = metrics.squared_error(jnp.ones(3), jnp.zeros(3))
    assert mean.total.dtype == jnp.float64


# Errors.


@pytest.mark.parametrize("function", [metrics.squared_error, metrics.absolute_error])
def test_rejects_a_column_against_a_row(function):
    with pytest.raises(ValueError, match=r"shape of the target \(4,\); got \(4, 1\)"):
        function(jnp.ones((4, 1)), jnp.ones(4))


def test_rejects_foreign_weights():
    with pytest.raises(
        ValueError, match=r"leading axes of the values \(4,\); got \(3,\)"
    ):
        metrics.mean(jnp.ones(4), jnp.ones(3))


@pytest.mark.parametrize("k", [0, 4])
def test_rejects_impossible_k(k):
    with pytest.raises(ValueError, match=f"number of classes 3; got {k}"):
        metrics.top_k(jnp.ones((2, 3)), jnp.zeros(2, int), k)


def test_rejects_logits_without_classes():
    with pytest.raises(ValueError, match=r"shape of labels \(2,\)"):
        metrics.accuracy(jnp.ones((2, 4, 3)), jnp.zeros(2, int))
