"""AdaBoost against scikit-learn: SAMME number by number, R2 by its own draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import datasets, ensemble, linear_model

from jaxml.models.classical import (
    adaboost_classifier,
    forest_bootstrap,
    gaussian_nb,
    random_forest_classifier,
    ridge,
)
from jaxml.models.classical import adaboost_regressor as r2

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def wine():
    """178 rows of 13 features, 3 classes, and weights of which a fifth are 0."""
    x, y = datasets.load_wine(return_X_y=True)
    weight = np.random.default_rng(0).uniform(0.5, 2, 178) * (np.arange(178) % 5 > 0)
    return x.astype(np.float32), y.astype(np.int32), weight.astype(np.float32)


@pytest.fixture(scope="module")
def diabetes():
    x, y = datasets.load_diabetes(return_X_y=True)
    return jnp.asarray(x[:120], jnp.float32), jnp.asarray(y[:120], jnp.float32)


# Parity.


@pytest.mark.parametrize("k", [2, 3])
def test_samme_is_that_of_sklearn(wine, k):
    x, y, weight = wine
    y = np.minimum(y, k - 1)
    theirs = ensemble.AdaBoostClassifier(
        n_estimators=8, learning_rate=0.8, random_state=0
    )
    with np.errstate(divide="ignore"):  # the logarithm of a weight of 0
        theirs.fit(x, y, sample_weight=weight)
    x_, y_, weight_ = map(jnp.asarray, (x, y, weight))
    model = adaboost_classifier.fit(
        x_,
        y_,
        n_classes=k,
        n_estimators=8,
        learning_rate=0.8,
        sample_weight=weight_,
    )
    for name in ("estimator_weights", "estimator_errors", "feature_importances"):
        want = getattr(theirs, name + "_")
        np.testing.assert_allclose(getattr(model, name), want, rtol=1e-5, atol=1e-6)
    for name in ("decision_function", "predict_proba", "predict"):
        got = getattr(adaboost_classifier, name)(model, x_)
        np.testing.assert_allclose(got, getattr(theirs, name)(x), atol=1e-5)
        got = getattr(adaboost_classifier, f"staged_{name}")(model, x_)
        want = np.stack(list(getattr(theirs, f"staged_{name}")(x)))
        np.testing.assert_allclose(got, want, atol=1e-5)


def test_any_model_that_takes_weights_is_boosted(wine):
    x, y, weight = wine
    x = (x / x.std(0))[:, :4]
    given = weight > 0  # scikit-learn's naive Bayes counts rows of weight 0 as classes
    peer = ensemble.AdaBoostClassifier(_Bayes(), n_estimators=5)
    theirs = peer.fit(x[given], y[given], sample_weight=weight[given])
    x, y, weight = map(jnp.asarray, (x, y, weight))
    model = adaboost_classifier.fit(
        x,
        y,
        estimator=gaussian_nb,
        options={"var_smoothing": jnp.array(1e-9)},
        n_classes=3,
        n_estimators=5,
        sample_weight=weight,
    )
    count = len(theirs.estimators_)
    assert int(model.n_estimators) == count
    np.testing.assert_allclose(
        model.estimator_errors, theirs.estimator_errors_, rtol=1e-3, atol=1e-5
    )
    assert model.feature_importances.shape == (0,)
    decision = adaboost_classifier.decision_function(model, x, estimator=gaussian_nb)
    want = theirs.decision_function(np.asarray(x))
    assert float((np.abs(decision - want) < 1e-3).mean()) > 0.97


class _Bayes(linear_model.LinearRegression):
    """Gaussian naive Bayes by ours, as an estimator of scikit-learn."""

    _estimator_type = "classifier"

    def fit(self, x, y, sample_weight=None):
        self.classes_ = np.unique(y)
        data = [jnp.asarray(a, jnp.float32) for a in (x, sample_weight)]
        y = jnp.asarray(y, jnp.int32)
        self.model_ = gaussian_nb.fit(data[0], y, n_classes=3, sample_weight=data[1])
        return self

    def predict(self, x):
        return np.asarray(gaussian_nb.predict(self.model_, jnp.asarray(x, jnp.float32)))


@pytest.mark.parametrize("loss", ["linear", "square", "exponential"])
def test_r2_is_drucker_s(diabetes, loss):
    x, y = diabetes
    x = 20 * x
    model = r2.fit(
        x,
        y,
        key=KEY,
        estimator=ridge,
        loss=loss,
        n_estimators=6,
        learning_rate=0.7,
    )
    rows, target = np.asarray(x), np.asarray(y, float)
    weight = np.full(120, 1 / 120)
    predictions, votes = [], []
    for i, key in enumerate(jax.random.split(KEY, 6)):
        key = jax.random.split(key)[0]
        given = jnp.asarray(weight, jnp.float32)
        drawn = forest_bootstrap.draw(key[None], 120, jnp.float32, given)[0]
        member = linear_model.Ridge().fit(rows, target, sample_weight=drawn)
        found = member.predict(rows)
        error = np.abs(found - target)
        share = error / error.max()
        if loss == "square":
            share = share**2
        elif loss == "exponential":
            share = 1 - np.exp(-share)
        mean = (weight * share).sum()
        np.testing.assert_allclose(model.estimator_errors[i], mean, rtol=1e-3)
        beta = mean / (1 - mean)
        votes.append(0.7 * np.log(1 / beta))
        predictions.append(found)
        weight = weight * beta ** ((1 - share) * 0.7)
        weight /= weight.sum()
    np.testing.assert_allclose(model.estimator_weights, votes, rtol=1e-3)
    staged = r2.staged_predict(model, x, estimator=ridge)
    for i in range(6):
        some = np.array(predictions[: i + 1]).T
        order = some.argsort(1)
        summed = np.array(votes)[order].cumsum(1)
        first = (summed >= 0.5 * summed[:, -1:]).argmax(1)
        want = np.take_along_axis(some, order, 1)[np.arange(120), first]
        np.testing.assert_allclose(staged[i], want, rtol=1e-3)
    np.testing.assert_array_equal(r2.predict(model, x, estimator=ridge), staged[-1])


def test_r2_scores_as_sklearn(diabetes):
    x, y = map(np.asarray, diabetes)
    fit = lambda seed: ensemble.AdaBoostRegressor(random_state=seed).fit(x, y)
    theirs = [fit(seed).score(x, y) for seed in range(4)]
    model = r2.fit(*diabetes, key=KEY)
    rest = y - r2.predict(model, diabetes[0])
    score = 1 - (rest**2).mean() / y.var()
    assert min(theirs) - 0.03 < score < max(theirs) + 0.03


def test_r2_boosts_other_models(diabetes):
    x, y = diabetes
    options = {"alpha": jnp.array(0.1)}
    model = r2.fit(x, y, key=KEY, estimator=ridge, options=options, n_estimators=6)
    rest = y - r2.predict(model, x, estimator=ridge)
    assert float(1 - (rest**2).mean() / y.var()) > 0.3


# When it ends early.


def test_a_perfect_model_is_the_last():
    x, y = jnp.arange(6.0)[:, None], jnp.array([0, 0, 0, 1, 1, 1])
    model = adaboost_classifier.fit(x, y, n_estimators=4)
    assert int(model.n_estimators) == 1
    np.testing.assert_array_equal(model.estimator_weights, [1, 0, 0, 0])
    np.testing.assert_array_equal(model.estimator_errors, [0, 1, 1, 1])
    np.testing.assert_array_equal(adaboost_classifier.predict(model, x), y)
    staged = adaboost_classifier.staged_predict(model, x)
    np.testing.assert_array_equal(staged, jnp.stack([y] * 4))
    numbers = r2.fit(x, jnp.ones(6), key=KEY, n_estimators=4)
    assert int(numbers.n_estimators) == 1
    np.testing.assert_array_equal(r2.predict(numbers, x), 1)


def test_a_model_as_bad_as_chance_does_not_vote():
    x, y = jnp.ones((6, 1)), jnp.array([0, 0, 0, 1, 1, 1])
    model = adaboost_classifier.fit(x, y, n_estimators=4)
    assert int(model.n_estimators) == 0
    assert jnp.isnan(adaboost_classifier.decision_function(model, x)).all()
    numbers = r2.fit(x, y.astype(x.dtype), key=KEY, n_estimators=4)
    # The first one stays, as in scikit-learn.
    assert int(numbers.n_estimators) == 1
    assert jnp.isfinite(r2.predict(numbers, x)).all()


# Properties.


def test_a_tree_of_another_depth(wine):
    x, y = map(jnp.asarray, wine[:2])
    options = {"n_classes": 3, "n_estimators": 3}
    deep = adaboost_classifier.fit(x, y, options={"max_depth": 2}, **options)
    assert deep.models.children_left.shape == (3, 7)
    stump = adaboost_classifier.fit(x, y, **options)
    assert float(deep.estimator_errors[0]) < float(stump.estimator_errors[0])


# Errors.


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"n_estimators": 0}, "n_estimators must be at least 1; got 0"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
        ({"options": {"depth": 2}}, r"max_depth or max_leaf_nodes.*got \['depth'\]"),
        ({"estimator": random_forest_classifier}, "key must be a random key"),
    ],
)
def test_rejects_what_is_out_of_range(wine, options, match):
    x, y = map(jnp.asarray, wine[:2])
    with pytest.raises(ValueError, match=match):
        adaboost_classifier.fit(x, y, n_classes=3, **options)


@pytest.mark.usefixtures("unchecked")
def test_rejects_targets_that_are_none(diabetes):
    x, y = diabetes
    with pytest.raises(ValueError, match="y must be one number a row"):
        r2.fit(x, y[:, None], key=KEY)
    with pytest.raises(ValueError, match="loss must be one of"):
        r2.fit(x, y, key=KEY, loss="huber")
    with pytest.raises(ValueError, match="y must be integer labels"):
        adaboost_classifier.fit(x, y)
