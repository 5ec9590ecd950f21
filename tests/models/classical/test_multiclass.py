"""One against the rest and pairs of classes, over our models, against scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import datasets, linear_model, naive_bayes
from sklearn import multiclass as sk

from jaxml.models.classical import gaussian_nb, logistic, multiclass

OPTIONS = {"C": 0.5, "tol": 1e-6}


class Logistic:
    """An estimator that is no module, and has probabilities alone."""

    fit = staticmethod(logistic.fit)
    predict_proba = staticmethod(logistic.predict_proba)


@pytest.fixture(scope="module")
def rows():
    """90 flowers of 3 classes, and weights, a third of them 0."""
    x, y = datasets.load_iris(return_X_y=True)
    x, y = x[::5].repeat(3, 0), y[::5].repeat(3)
    rng = np.random.default_rng(0)
    x = (x - x.mean(0)) / x.std(0) + 0.3 * rng.normal(size=x.shape)
    weight = rng.uniform(0.5, 2, 90) * (np.arange(90) % 3 > 0)
    return x.astype(np.float32), y.astype(np.int32), weight.astype(np.float32)


@pytest.fixture(scope="module")
def theirs():
    return linear_model.LogisticRegression(C=0.5, tol=1e-8)


def fit(kind, rows, estimator=logistic, classes=3, options=OPTIONS, **more):
    x, y, weight = (jnp.asarray(a) for a in rows)
    function = getattr(multiclass, f"fit_{kind}")
    return function(
        estimator,
        x,
        jnp.minimum(y, classes - 1),
        n_classes=classes,
        options=options,
        sample_weight=weight,
        **more,
    )


def reference(kind, rows, estimator, classes=3):
    """scikit-learn's; its meta-estimators take no weights, so rows are dropped."""
    x, y, weight = rows
    which = {"one_vs_rest": sk.OneVsRestClassifier, "one_vs_one": sk.OneVsOneClassifier}
    return which[kind](estimator).fit(
        x[weight > 0], np.minimum(y, classes - 1)[weight > 0]
    )


# Parity.


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("kind", ["one_vs_rest", "one_vs_one"])
def test_matches_sklearn(rows, theirs, kind, classes):
    x, y, weight = rows
    rows = (x, y, (weight > 0).astype(np.float32))
    model = fit(kind, rows, classes=classes)
    reference_ = reference(kind, rows, theirs, classes)
    x = jnp.asarray(x)
    np.testing.assert_allclose(
        multiclass.decision_function(logistic, model, x),
        reference_.decision_function(rows[0]),
        rtol=1e-3,
        atol=1e-3,
    )
    np.testing.assert_array_equal(
        multiclass.predict(logistic, model, x), reference_.predict(rows[0])
    )
    if kind == "one_vs_rest":
        np.testing.assert_allclose(
            multiclass.predict_proba(logistic, model, x),
            reference_.predict_proba(rows[0]),
            atol=1e-4,
        )


def test_models_are_those_of_single_fits_with_weights(rows):
    x, y, weight = (jnp.asarray(a) for a in rows)
    rest, pairs = fit("one_vs_rest", rows), fit("one_vs_one", rows)
    one = logistic.fit(x, (y == 2).astype(jnp.int32), sample_weight=weight, **OPTIONS)
    np.testing.assert_allclose(rest.models.coef[2], one.coef, rtol=1e-3, atol=1e-4)
    kept = np.asarray((y == 0) | (y == 2))
    one = logistic.fit(
        x[kept],
        (y[kept] == 2).astype(jnp.int32),
        sample_weight=weight[kept],
        **OPTIONS,
    )
    np.testing.assert_allclose(pairs.models.coef[1], one.coef, rtol=1e-3, atol=1e-4)


def test_takes_an_estimator_with_probabilities_alone(rows, theirs):
    x = jnp.asarray(rows[0])
    model = fit("one_vs_one", rows, estimator=Logistic)
    usual = fit("one_vs_one", rows)
    np.testing.assert_array_equal(
        multiclass.predict(Logistic, model, x), multiclass.predict(logistic, usual, x)
    )
    rest = fit("one_vs_rest", rows, estimator=Logistic, classes=2)
    np.testing.assert_array_equal(
        multiclass.predict(Logistic, rest, x),
        multiclass.predict_proba(Logistic, rest, x)[:, 1] > 0.5,
    )


def test_matches_sklearn_over_naive_bayes(rows):
    x, y, weight = rows
    rows = (x, y, (weight > 0).astype(np.float32))
    model = fit("one_vs_rest", rows, estimator=gaussian_nb, options=None)
    reference_ = reference("one_vs_rest", rows, naive_bayes.GaussianNB())
    np.testing.assert_allclose(
        multiclass.predict_proba(gaussian_nb, model, jnp.asarray(x)),
        reference_.predict_proba(x),
        atol=1e-4,
    )


# Properties: true whatever the data.


@pytest.mark.parametrize("kind", ["one_vs_rest", "one_vs_one"])
def test_side_by_side_is_one_after_another(rows, kind):
    one, two, all_ = (fit(kind, rows, batch_size=size) for size in (1, 2, 3))
    for other in (two, all_):
        np.testing.assert_allclose(
            one.models.coef, other.models.coef, rtol=1e-3, atol=1e-4
        )


def test_options_that_are_arrays_are_traced(rows):
    x = jnp.asarray(rows[0])
    path = jnp.array([0.1, 0.5])

    def decide(c):
        model = fit("one_vs_rest", rows, options={"C": c, "tol": 1e-6})
        return multiclass.decision_function(logistic, model, x)

    together = jax.vmap(decide)(path)
    np.testing.assert_allclose(together[1], decide(path[1]), rtol=1e-3, atol=1e-3)
    slope = jax.grad(lambda c: (decide(c) ** 2).mean())(path[1])
    ends = [(decide(path[1] + s) ** 2).mean() for s in (0.02, -0.02)]
    # float32 differences
    np.testing.assert_allclose(slope, (ends[0] - ends[1]) / 0.04, rtol=2e-2)


def test_second_call_does_not_compile(rows, caplog):
    fit("one_vs_rest", rows)
    x, y, weight = rows
    with jax.log_compiles(), caplog.at_level("WARNING"):
        fit("one_vs_rest", (x + 1, y, weight))
    assert not [r for r in caplog.records if "Finished XLA compil" in r.message]


def test_each_class_gets_its_own_key(rows, key):
    class Random:
        @staticmethod
        def fit(x, y, *, key, sample_weight=None):
            return jax.random.uniform(key)

    model = fit("one_vs_rest", rows, estimator=Random, options=None, key=key)
    assert len(np.unique(model.models)) == 3


# Errors.


def test_rejects_what_cannot_score(rows):
    class Silent:
        fit = staticmethod(logistic.fit)

    model = fit("one_vs_rest", rows, estimator=Silent)
    with pytest.raises(ValueError, match=r"decision_function or predict_proba.*Silent"):
        multiclass.predict(Silent, model, jnp.asarray(rows[0]))


@pytest.mark.usefixtures("unchecked")
def test_rejects_probabilities_of_pairs(rows):
    model = fit("one_vs_one", rows)
    with pytest.raises(ValueError, match="must be OneVsRest"):
        multiclass.predict_proba(logistic, model, jnp.asarray(rows[0]))


def test_rejects_impossible_sizes(rows):
    with pytest.raises(ValueError, match="batch_size must be at least 1; got 0"):
        fit("one_vs_rest", rows, batch_size=0)
    x, y, _ = (jnp.asarray(a) for a in rows)
    with pytest.raises(ValueError, match="n_classes must be at least 2; got 1"):
        multiclass.fit_one_vs_rest(logistic, x, y, n_classes=1)
