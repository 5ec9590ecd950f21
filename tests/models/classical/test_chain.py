"""Chains of classifiers and regressors, over our models, against scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import datasets, linear_model
from sklearn import multioutput as sk

from jaxml.models.classical import chain, logistic, ridge

LOGISTIC = {"tol": 1e-6}


@pytest.fixture(scope="module")
def rows():
    """80 rows of 4 features, 3 targets that depend on each other, weights, 4 folds."""
    x, _ = datasets.load_diabetes(return_X_y=True)
    x = 20 * x[:80, :4]
    rng = np.random.default_rng(0)
    first = x[:, 0] + 0.5 * rng.normal(size=80)
    second = first - x[:, 1] + 0.5 * rng.normal(size=80)
    third = second * 0.5 + first + 0.5 * rng.normal(size=80)
    y = np.stack([first, second, third], 1)
    weight = rng.uniform(0.5, 2, 80) * (np.arange(80) % 4 > 0)
    folds = (np.arange(80) % 4).astype(np.int32)
    return *(a.astype(np.float32) for a in (x, y, weight)), folds


def splits(folds):
    return [(np.flatnonzero(folds != f), np.flatnonzero(folds == f)) for f in range(4)]


# Parity.


@pytest.mark.parametrize("order", [None, (2, 0, 1)])
@pytest.mark.parametrize("crossed", [False, True])
def test_regressor_matches_sklearn(rows, order, crossed):
    x, y, _, folds = rows
    theirs = sk.RegressorChain(
        linear_model.Ridge(alpha=2.0),
        order=None if order is None else list(order),
        cv=splits(folds) if crossed else None,
    ).fit(x, y)
    more = {"folds": jnp.asarray(folds), "n_folds": 4} if crossed else {}
    model = chain.fit(
        ridge,
        jnp.asarray(x),
        jnp.asarray(y),
        order=order,
        options={"alpha": 2.0},
        **more,
    )
    predicted = chain.predict(ridge, model, jnp.asarray(x))
    np.testing.assert_allclose(predicted, theirs.predict(x), atol=1e-4)


@pytest.mark.parametrize("crossed", [False, True])
@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function"])
def test_classifier_matches_sklearn(rows, method, crossed):
    x, y, _, folds = rows
    label = (y > 0).astype(np.int32)
    theirs = sk.ClassifierChain(
        linear_model.LogisticRegression(tol=1e-8),
        order=[1, 2, 0],
        cv=splits(folds) if crossed else None,
        chain_method=method,
    ).fit(x, label)
    more = {"folds": jnp.asarray(folds), "n_folds": 4} if crossed else {}
    model = chain.fit(
        logistic,
        jnp.asarray(x),
        jnp.asarray(label),
        order=(1, 2, 0),
        chain_method=method,
        options=LOGISTIC,
        **more,
    )
    new = jnp.asarray(x)
    # L-BFGS there and Newton here stop at different points of a flat optimum
    np.testing.assert_allclose(
        chain.predict_proba(logistic, model, new), theirs.predict_proba(x), atol=1e-3
    )
    np.testing.assert_allclose(
        chain.decision_function(logistic, model, new),
        theirs.decision_function(x),
        atol=1e-2,
    )
    np.testing.assert_array_equal(
        chain.predict(logistic, model, new), theirs.predict(x)
    )


# Properties: true whatever the data.


@pytest.mark.parametrize("crossed", [False, True])
def test_weight_zero_is_an_absent_row(rows, crossed):
    x, y, weight, folds = map(jnp.asarray, rows)
    kept = rows[2] > 0
    # fold 0 has no rows left; of the others each keeps its own
    fit = lambda x, y, w, f: chain.fit(
        ridge,
        x,
        y,
        sample_weight=w,
        **({"folds": f, "n_folds": 4} if crossed else {}),
    )
    wild = jnp.where(kept[:, None], y, 1e3)
    masked = fit(x, wild, weight, folds)
    dropped = fit(x[kept], y[kept], weight[kept], folds[kept])
    np.testing.assert_allclose(
        *(chain.predict(ridge, model, x) for model in (masked, dropped)), atol=1e-3
    )


def test_runs_under_vmap_of_weights(rows):
    x, y, weight, _ = map(jnp.asarray, rows)
    weights = jnp.stack([weight, jnp.ones(80)])
    run = lambda w: chain.predict(ridge, chain.fit(ridge, x, y, sample_weight=w), x)
    np.testing.assert_allclose(jax.vmap(run)(weights)[0], run(weight), atol=1e-4)


def test_state_is_a_tree_of_arrays_that_knows_its_order(rows):
    x, y, _, _ = map(jnp.asarray, rows)
    model = chain.fit(ridge, x, y, order=(2, 1, 0))
    leaves, shape = jax.tree.flatten(model)
    assert all(isinstance(leaf, jax.Array) for leaf in leaves)
    assert jax.tree.unflatten(shape, leaves).order == (2, 1, 0)
    assert [part.coef.shape for part in model.models] == [(4,), (5,), (6,)]


# Errors.


def test_rejects_what_does_not_fit(rows):
    x, y, _, folds = map(jnp.asarray, rows)
    with pytest.raises(ValueError, match=r"each column from 0 to 2; got \(0, 1\)"):
        chain.fit(ridge, x, y, order=(0, 1))
    with pytest.raises(ValueError, match="given together"):
        chain.fit(ridge, x, y, folds=folds)
    with pytest.raises(ValueError, match="n_folds must be at least 2; got 1"):
        chain.fit(ridge, x, y, folds=folds, n_folds=1)
    with pytest.raises(ValueError, match="chain_method must be one of"):
        chain.fit(ridge, x, y, chain_method="transform")
