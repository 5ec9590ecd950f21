"""One model for each target, over our models, against scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import datasets, linear_model
from sklearn import multioutput as sk

from jaxml.models.classical import gaussian_nb, logistic, multioutput, ridge


@pytest.fixture(scope="module")
def rows():
    """80 rows of 4 features, 3 targets, weights of which a fourth are 0."""
    x, _ = datasets.load_diabetes(return_X_y=True)
    x = 20 * x[:80]
    rng = np.random.default_rng(0)
    weight = rng.uniform(0.5, 2, 80) * (np.arange(80) % 4 > 0)
    y = x[:, 4:7] + 0.5 * rng.normal(size=(80, 3))
    return [a.astype(np.float32) for a in (x[:, :4], y, weight)]


# Parity.


@pytest.mark.parametrize("weighted", [False, True])
def test_regression_matches_sklearn(rows, weighted):
    x, y, weight = rows
    theirs = sk.MultiOutputRegressor(linear_model.Ridge(alpha=2.0))
    theirs.fit(x, y, sample_weight=weight if weighted else None)
    x, y, weight = map(jnp.asarray, rows)
    model = multioutput.fit(
        ridge,
        x,
        y,
        options={"alpha": 2.0},
        sample_weight=weight if weighted else None,
    )
    predicted = multioutput.predict(ridge, model, x)
    np.testing.assert_allclose(predicted, theirs.predict(rows[0]), atol=1e-4)


def test_classification_matches_sklearn(rows):
    x, y, weight = rows
    label = (y > 0).astype(np.int32)
    theirs = sk.MultiOutputClassifier(linear_model.LogisticRegression(tol=1e-8))
    wide = x.astype(np.float64)  # in float32 their L-BFGS stops early
    theirs.fit(wide, label, sample_weight=weight)
    model = multioutput.fit(
        logistic,
        jnp.asarray(x),
        jnp.asarray(label),
        options={"tol": 1e-6},
        sample_weight=jnp.asarray(weight),
    )
    x = jnp.asarray(x)
    proba = multioutput.predict_proba(logistic, model, x)
    np.testing.assert_allclose(proba, theirs.predict_proba(wide), atol=1e-4)
    predicted = multioutput.predict(logistic, model, x)
    np.testing.assert_array_equal(predicted, theirs.predict(wide))


# Properties: true whatever the data.


def test_targets_may_have_more_classes(rows):
    x, y, _ = map(jnp.asarray, rows)
    label = jnp.digitize(y, jnp.array([-0.5, 0.5])).astype(jnp.int32)
    options = {"n_classes": 3}
    model = multioutput.fit(gaussian_nb, x, label, options=options)
    one = gaussian_nb.fit(x, label[:, 1], n_classes=3)
    np.testing.assert_allclose(
        multioutput.predict_proba(gaussian_nb, model, x)[1],
        gaussian_nb.predict_proba(one, x),
        rtol=1e-5,
    )


@pytest.mark.parametrize("size", [2, 3])
def test_side_by_side_is_one_after_another(rows, size):
    x, y, weight = map(jnp.asarray, rows)
    one = multioutput.fit(ridge, x, y, sample_weight=weight)
    other = multioutput.fit(ridge, x, y, sample_weight=weight, batch_size=size)
    np.testing.assert_allclose(one.models.coef, other.models.coef, rtol=1e-4)


def test_weight_zero_is_an_absent_row(rows):
    x, y, weight = map(jnp.asarray, rows)
    kept = rows[2] > 0
    wild = jnp.where(kept[:, None], y, 1e3)
    masked = multioutput.fit(ridge, x, wild, sample_weight=weight)
    dropped = multioutput.fit(ridge, x[kept], y[kept], sample_weight=weight[kept])
    np.testing.assert_allclose(
        *(multioutput.predict(ridge, model, x) for model in (masked, dropped)),
        atol=1e-4,
    )


def test_options_that_are_arrays_are_mapped_and_differentiated(rows):
    x, y, _ = map(jnp.asarray, rows)
    alphas = jnp.array([0.5, 2.0])

    def score(alpha):
        model = multioutput.fit(ridge, x, y, options={"alpha": alpha})
        return (multioutput.predict(ridge, model, x) ** 2).mean()

    together = jax.vmap(score)(alphas)
    np.testing.assert_allclose(together[1], score(alphas[1]), rtol=1e-4)
    slope = jax.grad(score)(alphas[1])
    ends = [score(alphas[1] + s) for s in (0.1, -0.1)]
    np.testing.assert_allclose(slope, (ends[0] - ends[1]) / 0.2, rtol=1e-2)


# Errors.


@pytest.mark.usefixtures("unchecked")
def test_rejects_one_target(rows):
    x, y, _ = map(jnp.asarray, rows)
    with pytest.raises(ValueError, match=r"y must be \[n, t\]; got shape \(80,\)"):
        multioutput.fit(ridge, x, y[:, 0])
    with pytest.raises(ValueError, match="each of the 80"):
        multioutput.fit(ridge, x, y[:9])
