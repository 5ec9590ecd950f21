"""Confusion matrices and their scores against scikit-learn."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as sk

from jaxml import metrics

SCORES = {
    "precision": (metrics.precision, sk.precision_score),
    "recall": (metrics.recall, sk.recall_score),
    "f1": (metrics.f1, sk.f1_score),
    "f2": (
        functools.partial(metrics.f_beta, beta=2.0),
        functools.partial(sk.fbeta_score, beta=2.0),
    ),
    "jaccard": (metrics.jaccard, sk.jaccard_score),
}


@pytest.fixture
def rows():
    """70 predictions and labels of 5 classes of which one never occurs, and weights."""
    rng = np.random.default_rng(0)
    label = rng.choice([0, 1, 2, 4], 70).astype(np.int32)
    prediction = np.where(rng.random(70) < 0.6, label, rng.choice([0, 1, 2], 70))
    weight = rng.uniform(0.5, 2, 70) * (np.arange(70) % 3 > 0)
    return prediction.astype(np.int32), label, weight.astype(np.float32)


@pytest.fixture
def labels():
    """40 examples with up to 4 labels, and weights."""
    rng = np.random.default_rng(1)
    target = rng.integers(0, 2, (40, 4)).astype(np.int32)
    prediction = np.where(rng.random((40, 4)) < 0.7, target, 1 - target)
    return prediction.astype(np.int32), target, rng.uniform(0.5, 2, 40).astype("f4")


def table(rows, weighted, classes=5):
    prediction, label, weight = rows
    return metrics.confusion_matrix(
        jnp.asarray(np.minimum(prediction, classes - 1)),
        jnp.asarray(np.minimum(label, classes - 1)),
        classes,
        jnp.asarray(weight) if weighted else None,
    )


# Parity.


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("normalize", [None, "true", "pred", "all"])
def test_matrix_matches_sklearn(rows, normalize, weighted):
    prediction, label, weight = rows
    ours = metrics.confusion_matrix(
        jnp.asarray(prediction),
        jnp.asarray(label),
        5,
        jnp.asarray(weight) if weighted else None,
        normalize=normalize,
    )
    expected = sk.confusion_matrix(
        label,
        prediction,
        labels=range(5),
        sample_weight=weight if weighted else None,
        normalize=normalize,
    )
    np.testing.assert_allclose(ours, expected, rtol=1e-5)


def test_errors_alone_are_a_weight(rows):
    prediction, label, _ = map(jnp.asarray, rows)
    errors = metrics.confusion_matrix(prediction, label, 5, prediction != label)
    full = metrics.confusion_matrix(prediction, label, 5)
    np.testing.assert_array_equal(errors, full - jnp.diag(jnp.diagonal(full)))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("average", [None, "macro", "micro", "weighted"])
@pytest.mark.parametrize("name", SCORES)
def test_score_matches_sklearn(rows, name, average, weighted):
    ours, theirs = SCORES[name]
    prediction, label, weight = rows
    expected = theirs(
        label,
        prediction,
        average=average,
        labels=range(5) if average is None else None,
        sample_weight=weight if weighted else None,
        zero_division=0,
    )
    value = ours(table(rows, weighted), average=average)
    np.testing.assert_allclose(value, expected, rtol=1e-5)


@pytest.mark.parametrize("name", SCORES)
def test_binary_score_matches_sklearn(rows, name):
    ours, theirs = SCORES[name]
    prediction, label, weight = rows
    value = ours(table(rows, True, 2), average="binary")
    expected = theirs(
        np.minimum(label, 1), np.minimum(prediction, 1), sample_weight=weight
    )
    np.testing.assert_allclose(value, expected, rtol=1e-5)


@pytest.mark.parametrize("average", [None, "macro", "micro", "weighted", "samples"])
@pytest.mark.parametrize("name", SCORES)
def test_multilabel_score_matches_sklearn(labels, name, average):
    ours, theirs = SCORES[name]
    prediction, target, weight = labels
    expected = theirs(
        target, prediction, average=average, sample_weight=weight, zero_division=0
    )
    samples = average == "samples"
    tables = metrics.multilabel_confusion(*map(jnp.asarray, labels), samplewise=samples)
    np.testing.assert_allclose(
        tables,
        sk.multilabel_confusion_matrix(
            target, prediction, sample_weight=weight, samplewise=samples
        ),
        rtol=1e-5,
    )
    if samples:
        value = metrics.compute(metrics.mean(ours(tables), jnp.asarray(weight)))
    else:
        value = ours(tables, average=average)
    np.testing.assert_allclose(value, expected, rtol=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
def test_agreement_matches_sklearn(rows, weighted):
    prediction, label, weight = rows
    one = dict(sample_weight=weight if weighted else None)
    ours = table(rows, weighted)
    expected = sk.matthews_corrcoef(label, prediction, **one)
    np.testing.assert_allclose(metrics.matthews(ours), expected, rtol=1e-5)
    for kind in (None, "linear", "quadratic"):
        expected = sk.cohen_kappa_score(
            label, prediction, weights=kind, labels=range(5), **one
        )
        value = metrics.cohen_kappa(ours, weights=kind)
        np.testing.assert_allclose(value, expected, rtol=1e-5)
    for adjusted in (False, True):
        expected = sk.balanced_accuracy_score(
            label, prediction, adjusted=adjusted, **one
        )
        value = metrics.balanced_accuracy(ours, adjusted=adjusted)
        np.testing.assert_allclose(value, expected, rtol=1e-5)


# Properties: true whatever the data.


def test_matrices_of_batches_add_up(rows):
    parts = [[a[i:] if i else a[:30] for a in rows] for i in (0, 30)]
    total = sum(table(part, True) for part in parts)
    np.testing.assert_allclose(
        metrics.f1(total, average="macro"),
        metrics.f1(table(rows, True), average="macro"),
        rtol=1e-5,
    )


def test_scores_run_under_jit_and_vmap(rows):
    tables = jnp.stack([table(rows, True), table(rows, False)])
    for function in (metrics.matthews, metrics.cohen_kappa, metrics.balanced_accuracy):
        together = jax.jit(jax.vmap(function))(tables)
        np.testing.assert_allclose(together[1], function(tables[1]), rtol=1e-6)


def test_constant_predictions_correlate_with_nothing():
    confusion = jnp.array([[3.0, 0.0], [5.0, 0.0]])
    assert metrics.matthews(confusion) == 0
    assert metrics.precision(confusion, average="binary") == 0


def test_weight_zero_is_an_absent_row(labels):
    prediction, target, weight = map(jnp.asarray, labels)
    kept = np.arange(40) % 2 > 0
    masked = metrics.multilabel_confusion(
        prediction, target, jnp.where(kept, weight, 0)
    )
    dropped = metrics.multilabel_confusion(prediction[kept], target[kept], weight[kept])
    np.testing.assert_allclose(masked, dropped, rtol=1e-5)


# Errors.


def test_rejects_unknown_choices(rows):
    confusion = table(rows, False)
    with pytest.raises(ValueError, match=r"average must be one of .* got 'samples'"):
        metrics.f1(confusion, average="samples")
    with pytest.raises(ValueError, match=r"two classes \[2, 2\]; got shape \(5, 5\)"):
        metrics.f1(confusion, average="binary")
    with pytest.raises(ValueError, match="weights must be one of"):
        metrics.cohen_kappa(confusion, weights="cubic")
    with pytest.raises(ValueError, match="normalize must be one of"):
        metrics.confusion_matrix(*map(jnp.asarray, rows[:2]), 5, normalize="row")
