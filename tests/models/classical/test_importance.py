"""Importances against scikit-learn: of splits exactly, by shuffling in the mean."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import datasets, inspection, linear_model, tree

from jaxml.models.classical import importance, logistic, ridge
from jaxml.ops.trees import Trees

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def rows():
    x, y = datasets.load_diabetes(return_X_y=True)
    x, y = 20 * x[:120, 2:7], (y[:120] - y[:120].mean()) / y.std()
    return jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)


def arrays(theirs, m):
    """The tree of scikit-learn with room for m nodes."""
    size = theirs.node_count
    empty = {
        "children_left": -1,
        "children_right": -1,
        "feature": -2,
        "threshold": -2.0,
    }
    fields = {}
    for name in Trees._fields:
        if name in ("impurity", "weighted_n_node_samples", *empty):
            value = np.asarray(getattr(theirs, name))
            kind = np.float32 if value.dtype.kind == "f" else np.int32
            fields[name] = np.full(m, empty.get(name, 0), kind)
            fields[name][:size] = value
        else:
            fields[name] = np.zeros(m, bool)
    fields["node_count"] = np.asarray(size, np.int32)
    return Trees(**fields)


# Parity.


def test_splits_count_as_in_sklearn(rows):
    x, y = map(np.asarray, rows)
    models = [
        tree.DecisionTreeRegressor(max_depth=depth).fit(x, y) for depth in (1, 3, 5)
    ]
    constant = tree.DecisionTreeRegressor().fit(x, 0 * y)
    trees = [arrays(m.tree_, 63) for m in (*models, constant)]
    together = jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
    with np.errstate(all="raise"):
        shares = importance.of_trees(together, 5)
        gains = importance.gains(together, 5)
    for i, model in enumerate(models):
        np.testing.assert_allclose(
            shares[i], model.feature_importances_, rtol=1e-4, atol=1e-6
        )
        want = model.tree_.compute_feature_importances(normalize=False)
        np.testing.assert_allclose(gains[i], want, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(shares[3], 0)
    mean = np.mean([m.feature_importances_ for m in models], axis=0)
    np.testing.assert_allclose(importance.mean_of_trees(shares), mean, rtol=1e-4)
    np.testing.assert_array_equal(importance.mean_of_trees(shares[3:]), 0)


def test_shuffling_costs_what_it_costs_in_sklearn(rows):
    x, y = rows
    model = ridge.fit(x, y)
    found = importance.permutation(ridge.predict, model, x, y, key=KEY, n_repeats=40)
    peer = linear_model.Ridge().fit(x, y)
    want = inspection.permutation_importance(peer, x, y, n_repeats=40, random_state=0)
    error = 4 * (found.importances_std**2 + want.importances_std**2) ** 0.5 / 40**0.5
    assert (np.abs(found.importances_mean - want.importances_mean) < error + 1e-6).all()
    np.testing.assert_allclose(found.importances_std, want.importances_std, rtol=0.6)
    assert found.importances.shape == (5, 40)


def test_shuffling_loses_what_can_be_counted():
    # The label is the first feature; of its 4 values each shuffle moves some.
    x = jnp.array([[0.0, 5.0], [0.0, 6.0], [1.0, 7.0], [1.0, 8.0]])
    y = jnp.array([0, 0, 1, 1])
    first = lambda model, x: (x[:, 0] > model).astype(jnp.int32)
    found = importance.permutation(first, 0.5, x, y, key=KEY, n_repeats=600)
    np.testing.assert_array_equal(found.importances[1], 0)
    values, counts = np.unique(found.importances[0], return_counts=True)
    np.testing.assert_allclose(values, [0, 0.5, 1])
    # Of the 6 places of the two ones, 1 is right, 1 is wrong, 4 are half right.
    np.testing.assert_allclose(counts / 600, [1 / 6, 4 / 6, 1 / 6], atol=0.06)


# Properties.


def test_absent_rows_change_nothing(rows):
    x, y = rows
    model = ridge.fit(x, y)
    kept = jnp.arange(120) % 4 > 0
    weight = jnp.where(kept, 1.0, 0.0)
    wild = jnp.where(kept[:, None], x, 1e3)
    run = partial(importance.permutation, ridge.predict, model, key=KEY)
    with_weights = run(wild, y, sample_weight=weight)
    without = run(x[kept], y[kept])
    np.testing.assert_allclose(
        with_weights.importances, without.importances, rtol=1e-3, atol=1e-5
    )


def test_any_score_will_do(rows):
    x, y = rows
    label = (y > 0).astype(jnp.int32)
    model = logistic.fit(x, label)

    def loss(y, shares, weight):
        picked = jnp.take_along_axis(shares, y[:, None], 1)[:, 0]
        return (weight * jnp.log(picked)).sum() / weight.sum()

    run = partial(importance.permutation, model=model, x=x, y=label, key=KEY)
    found = run(logistic.predict_proba, score=loss)
    assert (found.importances_mean > 0).all()
    told = run(logistic.predict)
    share = lambda y, found, weight: (weight * (y == found)).sum() / weight.sum()
    by_hand = run(logistic.predict, score=share)
    np.testing.assert_array_equal(told.importances, by_hand.importances)
    assert float(told.importances_mean.max()) > 0.03


# Errors.


@pytest.mark.usefixtures("unchecked")
def test_rejects_what_is_out_of_range(rows):
    x, y = rows
    model = ridge.fit(x, y)
    with pytest.raises(ValueError, match="score must be one of"):
        importance.permutation(ridge.predict, model, x, y, key=KEY, score="f1")
    with pytest.raises(ValueError, match="n_repeats must be at least 1"):
        importance.permutation(ridge.predict, model, x, y, key=KEY, n_repeats=0)
    with pytest.raises(ValueError, match="each of the 120"):
        importance.permutation(ridge.predict, model, x, y[:-1], key=KEY)
