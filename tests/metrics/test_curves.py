"""Curves, areas and thresholds against scikit-learn, with ties and weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as sk

from jaxml import metrics
from jaxml.ops import order


@pytest.fixture
def rows():
    """80 scores with ties, labels, and weights, a fourth of them 0."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 80).astype(np.int32)
    scores = np.round(rng.normal(size=80) + label, 1).astype(np.float32)
    weight = rng.uniform(0.5, 2, 80) * (np.arange(80) % 4 > 0)
    return scores, label, weight.astype(np.float32)


@pytest.fixture
def classes():
    """60 probabilities of 3 classes, labels, weights."""
    rng = np.random.default_rng(1)
    label = rng.integers(0, 3, 60).astype(np.int32)
    logits = rng.normal(size=(60, 3)) + np.eye(3)[label]
    proba = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return proba.astype(np.float32), label, rng.uniform(0.5, 2, 60).astype(np.float32)


def given(rows, weighted):
    """Arrays for ours; scores, labels and weights without absent rows for theirs."""
    if not weighted:
        return [jnp.asarray(a) for a in rows[:2]], (*rows[:2], None)
    return [jnp.asarray(a) for a in rows], tuple(a[rows[2] > 0] for a in rows)


# Parity.


@pytest.mark.parametrize("weighted", [False, True])
def test_curves_match_sklearn(rows, weighted):
    ours, (scores, label, weight) = given(rows, weighted)
    one = dict(sample_weight=weight, drop_intermediate=False)
    curve = metrics.roc_curve(*ours)
    expected = sk.roc_curve(label, scores, **one)
    for mine, theirs in zip(curve[:3], expected, strict=True):
        np.testing.assert_allclose(
            mine[np.asarray(curve.distinct)], theirs, rtol=1e-5, atol=1e-7
        )
    curve = metrics.precision_recall_curve(*ours)
    kept = np.asarray(curve.distinct)
    precision, recall, thresholds = sk.precision_recall_curve(label, scores, **one)
    np.testing.assert_allclose(curve.precision[kept], precision, rtol=1e-5)
    np.testing.assert_allclose(curve.recall[kept], recall, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(curve.thresholds[kept[:-1]], thresholds)
    curve = metrics.det_curve(*ours)
    expected = sk.det_curve(label, scores, **one)
    for mine, theirs in zip(curve[:3], expected, strict=True):
        np.testing.assert_allclose(
            mine[np.asarray(curve.distinct)], theirs, rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize("weighted", [False, True])
def test_areas_match_sklearn(rows, weighted):
    ours, (scores, label, weight) = given(rows, weighted)
    one = dict(sample_weight=weight)
    expected = sk.roc_auc_score(label, scores, **one)
    np.testing.assert_allclose(metrics.roc_auc(*ours), expected, rtol=1e-5)
    expected = sk.average_precision_score(label, scores, **one)
    np.testing.assert_allclose(metrics.average_precision(*ours), expected, rtol=1e-5)
    curve = metrics.roc_curve(*ours)
    area = metrics.auc(curve.fpr, curve.tpr)
    np.testing.assert_allclose(area, metrics.roc_auc(*ours), rtol=1e-6)
    falling = metrics.auc(curve.fpr[::-1], curve.tpr[::-1])
    np.testing.assert_allclose(falling, area, rtol=1e-6)


@pytest.mark.parametrize("average", ["macro", "weighted"])
def test_areas_of_classes_match_sklearn(classes, average):
    ours, (proba, label, weight) = given(classes, True)
    proba = proba.astype(float) / proba.astype(float).sum(1, keepdims=True)
    expected = sk.roc_auc_score(
        label, proba, multi_class="ovr", average=average, sample_weight=weight
    )
    value = metrics.roc_auc(*ours, average=average)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    expected = sk.roc_auc_score(label, proba, multi_class="ovo", average=average)
    value = metrics.roc_auc(*ours[:2], multi_class="ovo", average=average)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    expected = sk.average_precision_score(
        label, proba, average=average, sample_weight=weight
    )
    value = metrics.average_precision(*ours, average=average)
    np.testing.assert_allclose(value, expected, rtol=1e-5)


@pytest.mark.parametrize("average", ["macro", "weighted", None])
def test_areas_of_labels_match_sklearn(classes, average):
    proba, _, weight = classes
    target = (np.roll(proba, 7, 0) > 0.3).astype(np.int32)
    one = dict(average=average, sample_weight=weight)
    ours = [jnp.asarray(a) for a in (proba, target, weight)]
    np.testing.assert_allclose(
        metrics.roc_auc(*ours, average=average),
        sk.roc_auc_score(target, proba, **one),
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        metrics.average_precision(*ours, average=average),
        sk.average_precision_score(target, proba, **one),
        rtol=1e-5,
    )


@pytest.mark.parametrize("target", [0.5, 0.7, 0.9])
def test_threshold_is_the_first_of_enough_precision(rows, target):
    ours, (scores, label, weight) = given(rows, True)
    precision, _, thresholds = sk.precision_recall_curve(
        label, scores, sample_weight=weight
    )
    expected = thresholds[(precision >= target).argmax()]
    found = metrics.threshold_at_precision(*ours[:2], target, ours[2])
    assert found == expected
    said = scores >= found
    assert sk.precision_score(label, said, sample_weight=weight) >= target


# Properties: true whatever the data.


def test_area_is_the_share_of_pairs_in_order(rows):
    scores, label, _ = rows
    one, zero = scores[label == 1][:, None], scores[label == 0][None]
    share = ((one > zero) + 0.5 * (one == zero)).mean()
    ours = metrics.roc_auc(jnp.asarray(scores), jnp.asarray(label))
    np.testing.assert_allclose(ours, share, rtol=1e-6)


def test_weight_zero_is_an_absent_row_whatever_it_holds(rows):
    scores, label, weight = map(jnp.asarray, rows)
    kept = rows[2] > 0
    broken = jnp.where(kept, scores, jnp.nan)
    for function in (metrics.roc_auc, metrics.average_precision):
        np.testing.assert_allclose(
            function(broken, label, weight),
            function(scores[kept], label[kept], weight[kept]),
            rtol=1e-6,
        )
        assert jnp.isnan(function(broken, label))


def test_runs_under_jit_and_vmap_of_weights(rows):
    scores, label, weight = map(jnp.asarray, rows)
    weights = jnp.stack([weight, jnp.ones(80)])
    run = lambda w: metrics.roc_auc(scores, label, w)
    np.testing.assert_allclose(
        jax.jit(jax.vmap(run))(weights), [run(w) for w in weights], rtol=1e-5
    )


def test_one_class_has_no_area():
    scores, label = jnp.array([0.1, 0.5]), jnp.array([1, 1])
    assert jnp.isnan(metrics.roc_auc(scores, label))
    assert metrics.average_precision(scores, label) == 1
    assert metrics.average_precision(scores, 1 - label) == 0
    assert metrics.threshold_at_precision(scores, 1 - label, 0.5) == jnp.inf


@pytest.mark.parametrize("n", [1, 2, 100])
def test_order_is_that_of_numpy(n):
    rng = np.random.default_rng(n)
    x = np.round(rng.normal(size=n), 1).astype(np.float32)
    special = [np.nan, -np.inf, np.inf, 0.0, -0.0, np.nan]
    x[: min(n, 6)] = special[: min(n, 6)]
    np.testing.assert_array_equal(
        order.argsort(jnp.asarray(x)), np.argsort(x, kind="stable")
    )
    with jax.enable_x64(True):
        wide = rng.normal(size=n)
        np.testing.assert_array_equal(
            order.argsort(jnp.asarray(wide)), np.argsort(wide, kind="stable")
        )


# Errors.


def test_rejects_unknown_choices(classes):
    ours = [jnp.asarray(a) for a in classes]
    with pytest.raises(ValueError, match="multi_class must be one of"):
        metrics.roc_auc(*ours, multi_class="all")
    with pytest.raises(ValueError, match="average must be one of"):
        metrics.roc_auc(*ours, average="micro")
    with pytest.raises(ValueError, match="for 'ovo'; got None"):
        metrics.roc_auc(*ours, multi_class="ovo", average=None)
