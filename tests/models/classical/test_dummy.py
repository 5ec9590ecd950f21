"""Dummies against scikit-learn, and what a baseline must keep."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import dummy as sk

from jaxml.models.classical import dummy_classifier, dummy_regressor


@pytest.fixture
def rows():
    """40 rows of 3 classes, targets and weights, a quarter of them 0."""
    rng = np.random.default_rng(0)
    weight = rng.uniform(0.2, 3, 40) * (np.arange(40) % 4 > 0)
    return (
        np.zeros((40, 2), np.float32),
        rng.choice(3, 40, p=[0.2, 0.5, 0.3]).astype(np.int32),
        rng.normal(size=(40, 2)).astype(np.float32),
        weight.astype(np.float32),
    )


def given(weight, weighted):
    return jnp.asarray(weight) if weighted else None


# Parity.


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("strategy", ["prior", "most_frequent", "uniform", "constant"])
def test_classifier_matches_sklearn(rows, strategy, weighted):
    x, y, _, weight = rows
    constant = 2 if strategy == "constant" else None
    theirs = sk.DummyClassifier(strategy=strategy, constant=constant)
    theirs.fit(x, y, sample_weight=weight if weighted else None)
    ours = dummy_classifier.fit(
        jnp.asarray(x),
        jnp.asarray(y),
        n_classes=3,
        strategy=strategy,
        constant=constant,
        sample_weight=given(weight, weighted),
    )
    np.testing.assert_allclose(ours.class_prior, theirs.class_prior_, rtol=1e-6)
    np.testing.assert_allclose(
        dummy_classifier.predict_proba(ours, jnp.asarray(x[:5])),
        theirs.predict_proba(x[:5]),
        rtol=1e-6,
    )
    if strategy != "uniform":
        labels = dummy_classifier.predict(ours, jnp.asarray(x))
        np.testing.assert_array_equal(labels, theirs.predict(x))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("targets", [1, 2])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"strategy": "median"},
        {"strategy": "quantile", "quantile": 0.0},
        {"strategy": "quantile", "quantile": 0.33},
        {"strategy": "quantile", "quantile": 1.0},
        {"strategy": "constant", "constant": 4.0},
    ],
)
def test_regressor_matches_sklearn(rows, options, targets, weighted):
    x, _, y, weight = rows
    y = y[:, 0] if targets == 1 else y
    constant = options.get("constant")
    if constant is not None and targets == 2:
        constant = np.array([4.0, 5.0], np.float32)
    theirs = sk.DummyRegressor(**options | {"constant": constant})
    theirs.fit(x, y, sample_weight=weight if weighted else None)
    ours = dummy_regressor.fit(
        jnp.asarray(x),
        jnp.asarray(y),
        **options
        | {"constant": jnp.asarray(constant) if np.ndim(constant) else constant},
        sample_weight=given(weight, weighted),
    )
    np.testing.assert_allclose(ours.constant, theirs.constant_, rtol=1e-5, atol=1e-7)
    predicted = dummy_regressor.predict(ours, jnp.asarray(x))
    np.testing.assert_allclose(predicted, theirs.predict(x), rtol=1e-5, atol=1e-7)


# Properties: true whatever the data.


def test_draws_follow_the_strategy(rows, key):
    x, y, _, weight = (jnp.asarray(a) for a in rows)
    many = jnp.zeros((20_000, 1))
    for strategy in ("stratified", "uniform"):
        model = dummy_classifier.fit(
            x, y, n_classes=3, strategy=strategy, sample_weight=weight
        )
        labels = dummy_classifier.predict(model, many, key=key)
        share = jnp.bincount(labels, length=3) / len(many)
        expected = model.class_prior if strategy == "stratified" else jnp.full(3, 1 / 3)
        # 4 standard deviations of a share of 20,000 draws
        np.testing.assert_allclose(share, expected, atol=4 * 0.5 / len(many) ** 0.5)
    sure = dummy_classifier.predict_proba(
        model := dummy_classifier.fit(x, y, n_classes=3, strategy="stratified"),
        many,
        key=key,
    )
    np.testing.assert_array_equal(
        sure.argmax(1), dummy_classifier.predict(model, many, key=key)
    )


@pytest.mark.parametrize("strategy", ["mean", "median"])
def test_regressor_counts_weights_as_repeats(rows, strategy):
    x, _, y, _ = (jnp.asarray(a) for a in rows)
    times = np.arange(40) % 3
    again = np.repeat(np.arange(40), times)
    short = dummy_regressor.fit(
        x, y, strategy=strategy, sample_weight=jnp.asarray(times, jnp.float32)
    )
    long = dummy_regressor.fit(x[again], y[again], strategy=strategy)
    np.testing.assert_allclose(short.constant, long.constant, rtol=1e-6)
    ones = dummy_regressor.fit(x, y, strategy=strategy, sample_weight=jnp.ones(40))
    none = dummy_regressor.fit(x, y, strategy=strategy)
    np.testing.assert_allclose(ones.constant, none.constant, rtol=1e-6)


def test_absent_rows_may_hold_anything(rows):
    x, _, y, weight = (jnp.asarray(a) for a in rows)
    broken = jnp.where(weight[:, None] > 0, y, jnp.nan)
    for strategy in ("mean", "median"):
        options = {"strategy": strategy, "sample_weight": weight}
        one, other = (dummy_regressor.fit(x, z, **options) for z in (y, broken))
        np.testing.assert_array_equal(one.constant, other.constant)


def test_classifier_runs_under_vmap_of_weights(rows):
    x, y, _, weight = (jnp.asarray(a) for a in rows)
    weights = jnp.stack([weight, jnp.ones(40)])
    fit = lambda w: dummy_classifier.fit(x, y, n_classes=3, sample_weight=w)
    together = jax.vmap(lambda w: dummy_classifier.predict_proba(fit(w), x))(weights)
    one = dummy_classifier.predict_proba(fit(weight), x)
    np.testing.assert_allclose(together[0], one, rtol=1e-6)


def test_class_weight_changes_the_winner():
    x, y = jnp.zeros((3, 1)), jnp.array([0, 0, 1])
    model = dummy_classifier.fit(x, y, class_weight=jnp.array([1.0, 3.0]))
    np.testing.assert_allclose(model.class_prior, [0.4, 0.6], rtol=1e-6)
    assert (dummy_classifier.predict(model, x) == 1).all()


@pytest.mark.parametrize("strategy", ["mean", "median"])
def test_no_rows_is_nan(strategy):
    x = jnp.zeros((3, 1))
    none = jnp.zeros(3)
    model = dummy_regressor.fit(x, x[:, 0], strategy=strategy, sample_weight=none)
    assert jnp.isnan(model.constant).all()
    prior = dummy_classifier.fit(
        x, jnp.array([0, 1, 1]), sample_weight=none
    ).class_prior
    assert jnp.isnan(prior).all()


# Errors.


def test_rejects_what_lacks_its_argument(rows):
    x, y, target, _ = (jnp.asarray(a) for a in rows)
    with pytest.raises(ValueError, match="constant must be a label"):
        dummy_classifier.fit(x, y, n_classes=3, strategy="constant")
    with pytest.raises(ValueError, match="strategy must be one of"):
        dummy_classifier.fit(x, y, n_classes=3, strategy="mean")
    model = dummy_classifier.fit(x, y, n_classes=3, strategy="uniform")
    with pytest.raises(ValueError, match="key must be a random key"):
        dummy_classifier.predict(model, x)
    with pytest.raises(ValueError, match="quantile must be from 0 to 1"):
        dummy_regressor.fit(x, target, strategy="quantile")
    with pytest.raises(ValueError, match="quantile must be from 0 to 1; got 2"):
        dummy_regressor.fit(x, target, strategy="quantile", quantile=2.0)


@pytest.mark.usefixtures("unchecked")
def test_rejects_constants_that_are_not_the_targets(rows):
    x, _, target, _ = (jnp.asarray(a) for a in rows)
    with pytest.raises(ValueError, match="each of 2 targets; got 3"):
        dummy_regressor.fit(x, target, strategy="constant", constant=jnp.ones(3))
