"""Calibration against scikit-learn: from decisions, and by cross-validation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import calibration as sk
from sklearn import datasets, frozen, linear_model, metrics, naive_bayes

from jaxml.models.classical import (
    calibration,
    cross_calibration,
    gaussian_nb,
    logistic,
)

METHODS = ("sigmoid", "isotonic", "temperature")
OPTIONS = {"C": 0.1, "tol": 1e-6}


@pytest.fixture(scope="module")
def rows():
    """100 wines or so in 3 classes, with noise, weights and 3 folds."""
    x, y = datasets.load_wine(return_X_y=True)
    rng = np.random.default_rng(0)
    x = ((x - x.mean(0)) / x.std(0) + 1.5 * rng.normal(size=x.shape))[:, :4]
    order = rng.permutation(len(x))[:100]
    weight = rng.uniform(0.5, 2, 100)
    return (
        x[order].astype(np.float32),
        y[order].astype(np.int32),
        weight.astype(np.float32),
        (np.arange(100) % 3).astype(np.int32),
    )


def splits(folds):
    return [(np.flatnonzero(folds != f), np.flatnonzero(folds == f)) for f in range(3)]


def fit_cv(rows, estimator=logistic, classes=3, options=OPTIONS, **more):
    x, y, weight, folds = (jnp.asarray(a) for a in rows)
    return cross_calibration.fit(
        estimator,
        x,
        jnp.minimum(y, classes - 1),
        folds=folds,
        n_folds=3,
        n_classes=classes,
        options=options,
        **{"sample_weight": weight} | more,
    )


# Parity.


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("method", METHODS)
# A frozen classifier has no use for weights, and says so; the calibrator has.
@pytest.mark.filterwarnings("ignore:Since FrozenEstimator:UserWarning")
def test_matches_sklearn_from_decisions(rows, method, classes, weighted):
    x, y, weight, _ = rows
    y, weight = np.minimum(y, classes - 1), weight if weighted else None
    x = x.astype(np.float64)  # in float32 their search for the temperature is coarse
    base = linear_model.LogisticRegression(C=0.1).fit(x[:50], y[:50])
    theirs = sk.CalibratedClassifierCV(
        frozen.FrozenEstimator(base), method=method, cv=[(np.arange(100),) * 2]
    ).fit(x, y, sample_weight=weight)
    decision = jnp.asarray(base.decision_function(x).astype(np.float32))
    ours = calibration.fit(
        decision,
        jnp.asarray(y),
        n_classes=classes,
        method=method,
        sample_weight=None if weight is None else jnp.asarray(weight),
    )
    # L-BFGS there stops at a gradient of 1e-6 of a float32 sum
    np.testing.assert_allclose(
        calibration.predict_proba(ours, decision), theirs.predict_proba(x), atol=2e-4
    )


@pytest.mark.parametrize("ensemble", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_cross_validation_matches_sklearn(rows, method, ensemble):
    x, y, weight, folds = rows
    weight = None if ensemble is False else weight  # theirs lacks it in that case
    theirs = sk.CalibratedClassifierCV(
        linear_model.LogisticRegression(C=0.1, tol=1e-8),
        method=method,
        cv=splits(folds),
        ensemble=ensemble,
    ).fit(x, y, sample_weight=weight)
    weight = None if weight is None else jnp.asarray(weight)
    model = fit_cv(rows, method=method, ensemble=ensemble, sample_weight=weight)
    proba = cross_calibration.predict_proba(logistic, model, jnp.asarray(x))
    # a decision that is off by 1e-4 may fall on another step of a monotone function
    atol = 5e-2 if method == "isotonic" else 1e-3
    np.testing.assert_allclose(proba, theirs.predict_proba(x), atol=atol)
    np.testing.assert_array_equal(
        cross_calibration.predict(logistic, model, jnp.asarray(x)), proba.argmax(1)
    )


@pytest.mark.parametrize("method", METHODS)
def test_probabilities_serve_where_there_are_no_decisions(rows, method):
    class Bayes:
        fit = staticmethod(gaussian_nb.fit)
        predict_proba = staticmethod(gaussian_nb.predict_proba)

    x, y, _, folds = rows
    y = np.minimum(y, 1)
    theirs = sk.CalibratedClassifierCV(
        naive_bayes.GaussianNB(), method=method, cv=splits(folds)
    ).fit(x, y)
    model = fit_cv(rows, Bayes, 2, None, method=method, sample_weight=jnp.ones(100))
    np.testing.assert_allclose(
        cross_calibration.predict_proba(Bayes, model, jnp.asarray(x)),
        theirs.predict_proba(x),
        atol=1e-3,
    )


# Properties: true whatever the data.


@pytest.mark.parametrize("method", METHODS)
def test_every_method_mends_a_classifier_that_is_too_sure(rows, method):
    x, y, weight, _ = (jnp.asarray(a) for a in rows)
    decision = 9 * logistic.decision_function(
        logistic.fit(x, y, n_classes=3), x
    )  # far too sure
    model = calibration.fit(
        decision, y, n_classes=3, method=method, sample_weight=weight
    )
    proba = np.asarray(calibration.predict_proba(model, decision))
    np.testing.assert_allclose(proba.sum(1), 1, rtol=1e-5)
    score, before = (
        metrics.brier_score_loss(y, p, sample_weight=weight)
        for p in (proba, jax.nn.softmax(decision))
    )
    assert score < before


@pytest.mark.parametrize("method", METHODS)
def test_weight_zero_is_an_absent_row(rows, method):
    x, y, weight, _ = (jnp.asarray(a) for a in rows)
    kept = np.arange(100) % 4 > 0
    decision = x[:, 0]
    label = (y > 0).astype(jnp.int32)
    masked = calibration.fit(
        jnp.where(kept, decision, jnp.nan),
        label,
        method=method,
        sample_weight=jnp.where(kept, weight, 0),
    )
    dropped = calibration.fit(
        decision[kept], label[kept], method=method, sample_weight=weight[kept]
    )
    np.testing.assert_allclose(
        *(calibration.predict_proba(m, decision) for m in (masked, dropped)), atol=1e-5
    )


def test_unit_of_the_decision_does_not_matter(rows):
    x, y, _, _ = (jnp.asarray(a) for a in rows)
    label = (y > 0).astype(jnp.int32)
    for method in METHODS:
        one, other = (
            calibration.predict_proba(
                calibration.fit(-unit * x[:, 0], label, method=method), -unit * x[:, 0]
            )
            for unit in (1.0, 1000.0)
        )
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_separable_decisions_end():
    decision, y = jnp.array([-1.0, -2.0, 1.0, 3.0]), jnp.array([0, 0, 1, 1])
    model = calibration.fit(decision, y, method="temperature")
    # any beta from there on is 0 or 1 to float32
    sure = calibration.predict_proba(model, decision)[:, 1]
    np.testing.assert_allclose(sure, y, atol=1e-6)
    against = calibration.fit(decision, 1 - y, method="temperature")
    np.testing.assert_allclose(against.beta, np.exp(-10), rtol=1e-5)
    proba = calibration.predict_proba(calibration.fit(decision, y), decision)
    assert jnp.isfinite(proba).all()


def test_runs_under_vmap_of_weights(rows):
    x, y, weight, _ = (jnp.asarray(a) for a in rows)
    weights = jnp.stack([weight, jnp.ones(100)])
    for method in METHODS:
        run = lambda w, method=method: calibration.predict_proba(
            calibration.fit(x[:, :3], y, n_classes=3, method=method, sample_weight=w),
            x[:, :3],
        )
        np.testing.assert_allclose(jax.vmap(run)(weights)[0], run(weight), atol=1e-4)


@pytest.mark.parametrize("method", ["sigmoid", "temperature"])
def test_gradient_is_that_of_finite_differences(rows, method):
    with jax.enable_x64(True):
        x, _, weight, _ = (jnp.asarray(a) for a in rows)
        y, weight = jnp.asarray(rows[1]), weight.astype(jnp.float64)
        decision = -x.astype(jnp.float64)[:, 0]
        label = (y > 0).astype(jnp.int32)

        def score(decision, weight):
            model = calibration.fit(
                decision, label, method=method, sample_weight=weight
            )
            return (calibration.predict_proba(model, decision)[:, 1] ** 2).sum()

        way = jnp.asarray(np.random.default_rng(1).normal(size=100))
        slopes = jax.grad(score, argnums=(0, 1))(decision, weight)
        rtol = 1e-4 if method == "sigmoid" else 1e-5  # Platt's rule stops at 1e-5
        for slope, at in zip(slopes, ((1, 0), (0, 1)), strict=True):
            ends = [
                score(decision + s * at[0] * way, weight + s * at[1] * way)
                for s in (1e-5, -1e-5)
            ]
            np.testing.assert_allclose(
                slope @ way, (ends[0] - ends[1]) / 2e-5, rtol=rtol
            )


# Errors.


@pytest.mark.usefixtures("unchecked")
def test_rejects_what_does_not_fit(rows):
    x, y, _, folds = (jnp.asarray(a) for a in rows)
    with pytest.raises(ValueError, match="method must be one of"):
        calibration.fit(x[:, 0], jnp.minimum(y, 1), method="beta")
    with pytest.raises(ValueError, match=r"\[n, 3\]; got shape \(100, 4\)"):
        calibration.fit(x, y, n_classes=3)
    with pytest.raises(ValueError, match="two classes must be"):
        calibration.fit(x[:, :2], jnp.minimum(y, 1))
    with pytest.raises(ValueError, match="n_folds must be at least 2; got 1"):
        cross_calibration.fit(logistic, x, y, folds=folds, n_folds=1, n_classes=3)
    with pytest.raises(
        ValueError, match="folds must be one number for each of the 100"
    ):
        cross_calibration.fit(logistic, x, y, folds=folds[:9], n_folds=3, n_classes=3)
