"""Shares of hits and losses of decisions against scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as sk

from jaxml import metrics


@pytest.fixture
def rows():
    """50 scores of 4 classes, labels, and weights, a third of them 0."""
    rng = np.random.default_rng(0)
    weight = rng.uniform(0.5, 2, 50) * (np.arange(50) % 3 > 0)
    return (
        rng.normal(size=(50, 4)).astype(np.float32),
        rng.integers(0, 4, 50).astype(np.int32),
        weight.astype(np.float32),
    )


def compare(ours, expected, rtol=1e-5):
    np.testing.assert_allclose(metrics.compute(ours), expected, rtol=rtol)


def given(weight, weighted):
    return (weight, jnp.asarray(weight)) if weighted else (None, None)


# Parity.


@pytest.mark.parametrize("weighted", [False, True])
def test_labels_match_sklearn(rows, weighted):
    scores, label, weight = rows
    weight, ours = given(weight, weighted)
    guess = scores.argmax(1).astype(np.int32)
    pair = jnp.asarray(guess), jnp.asarray(label)
    one = dict(sample_weight=weight)
    compare(metrics.exact_match(*pair, ours), sk.accuracy_score(label, guess, **one))
    compare(metrics.zero_one(*pair, ours), sk.zero_one_loss(label, guess, **one))
    compare(metrics.hamming(*pair, ours), sk.hamming_loss(label, guess, **one))
    many = scores > 0, np.roll(scores, 3, 0) > 0.3
    pair = [jnp.asarray(a) for a in many]
    one |= {"y_true": many[1], "y_pred": many[0]}
    compare(metrics.exact_match(*pair, ours), sk.accuracy_score(**one))
    compare(metrics.zero_one(*pair, ours), sk.zero_one_loss(**one))
    compare(metrics.hamming(*pair, ours), sk.hamming_loss(**one))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("classes", [2, 4])
def test_probabilities_match_sklearn(rows, classes, weighted):
    scores, label, weight = rows
    weight, ours = given(weight, weighted)
    label = np.minimum(label, classes - 1)
    proba = np.asarray(jax.nn.softmax(3 * scores[:, :classes])).astype(np.float64)
    proba = (proba / proba.sum(1, keepdims=True)).astype(np.float32)
    one = dict(sample_weight=weight, labels=range(classes))
    args = jnp.asarray(proba), jnp.asarray(label), ours
    compare(metrics.log_loss(*args), sk.log_loss(label, proba, **one))
    compare(metrics.brier(*args), sk.brier_score_loss(label, proba, **one))
    decision = scores[:, 1] - scores[:, 0] if classes == 2 else scores
    args = jnp.asarray(decision), *args[1:]
    compare(metrics.hinge(*args), sk.hinge_loss(label, decision, **one))
    if classes == 2:
        args = jnp.asarray(proba[:, 1]), *args[1:]
        # 1 - p of a sure row keeps few digits
        compare(metrics.log_loss(*args), sk.log_loss(label, proba, **one), rtol=1e-4)
        compare(metrics.brier(*args), sk.brier_score_loss(label, proba[:, 1], **one))


# Properties: true whatever the data.


def test_certain_and_wrong_is_finite():
    proba = jnp.array([[1.0, 0.0], [0.0, 1.0]])
    loss = metrics.compute(metrics.log_loss(proba, jnp.array([1, 1])))
    np.testing.assert_allclose(loss, -np.log(np.finfo(np.float32).eps) / 2, rtol=1e-4)


@pytest.mark.parametrize("name", ["log_loss", "brier", "hinge"])
def test_weight_zero_is_an_absent_row_whatever_it_holds(rows, name):
    function = getattr(metrics, name)
    scores, label, weight = map(jnp.asarray, rows)
    kept = rows[2] > 0
    proba = jax.nn.softmax(scores)
    broken = jnp.where(kept[:, None], proba, jnp.nan)
    wrong = jnp.where(kept, label, 9)
    np.testing.assert_allclose(
        function(broken, wrong, weight),
        function(proba[kept], label[kept], weight[kept]),
        rtol=1e-5,
    )
    assert jnp.isnan(metrics.compute(function(proba, wrong)))


@pytest.mark.parametrize("name", ["log_loss", "hinge"])
def test_merged_batches_are_the_whole(rows, name):
    function = getattr(metrics, name)
    scores, label, weight = map(jnp.asarray, rows)
    proba = jax.nn.softmax(scores)
    halves = [
        function(proba[p], label[p], weight[p]) for p in np.split(np.arange(50), 2)
    ]
    whole = metrics.compute(function(proba, label, weight))
    np.testing.assert_allclose(
        metrics.compute(metrics.merge(*halves)), whole, rtol=1e-5
    )


# Errors.


def test_rejects_labels_of_another_length():
    with pytest.raises(ValueError, match=r"each of the 4 rows; got shape \(3,\)"):
        metrics.log_loss.__wrapped__(jnp.ones((4, 2)), jnp.zeros(3, int))
