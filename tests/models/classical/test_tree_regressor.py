"""Trees for numbers: scikit-learn's on real data, and data of all kinds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import datasets
from sklearn import tree as sktree

from jaxml.models.classical import tree_regressor
from tests.models.classical import tree_oracle

CRITERIA = ("squared_error", "poisson", "absolute_error")


@pytest.fixture(scope="module")
def diabetes():
    x, y = datasets.load_diabetes(return_X_y=True)
    return x[:300].astype(np.float32).astype(float), y[:300]


def fit(x, y, weight=None, **options):
    """Fit in float64, with bins enough for all values."""
    with jax.enable_x64(True):
        if weight is not None:
            options["sample_weight"] = jnp.asarray(weight)
        return tree_regressor.fit(
            jnp.asarray(x), jnp.asarray(y), max_bins=1023, **options
        )


@pytest.mark.parametrize("criterion", CRITERIA)
def test_splits_are_scikit_learns(diabetes, criterion):
    x, y = diabetes
    model = fit(x, y, criterion=criterion, min_samples_leaf=2.0)
    ties, splits = tree_oracle.audit(model.tree, x, y, leaf=2, criterion=criterion)
    assert splits > 100
    assert ties < 0.5 * splits


@pytest.mark.parametrize("criterion", CRITERIA)
def test_weighted_splits_are_scikit_learns(diabetes, criterion):
    x, y = diabetes
    weight = np.random.default_rng(0).integers(0, 4, len(x)).astype(float)
    model = fit(x, y, weight, criterion=criterion, max_depth=5)
    tree_oracle.audit(model.tree, x, y, weight, criterion=criterion)


@pytest.mark.parametrize("criterion", ["squared_error", "poisson"])
def test_missing_values_go_where_scikit_learn_sends_them(diabetes, criterion):
    x, y = diabetes
    x = np.where(np.random.default_rng(1).random(x.shape) < 0.15, np.nan, x)
    model = fit(x, y, criterion=criterion, max_depth=6)
    tree_oracle.audit(model.tree, x, y, criterion=criterion)
    with jax.enable_x64(True):
        mean = tree_regressor.predict(model, jnp.asarray(x))
        leaf = np.asarray(tree_regressor.apply(model, jnp.asarray(x)))
    for node in np.unique(leaf):
        np.testing.assert_allclose(mean[leaf == node], y[leaf == node].mean())


@pytest.mark.parametrize("criterion", CRITERIA)
def test_several_targets_share_a_tree(diabetes, criterion):
    x, y = diabetes
    both = np.stack([y, np.abs(x[:, 0] * 500) + 1], 1)
    model = fit(x, both, criterion=criterion, max_depth=4)
    tree_oracle.audit(model.tree, x, both, criterion=criterion)
    with jax.enable_x64(True):
        assert tree_regressor.predict(model, jnp.asarray(x)).shape == (len(x), 2)


@pytest.mark.parametrize(
    "options",
    [
        {"max_leaf_nodes": 12},
        {"max_leaf_nodes": 10, "criterion": "absolute_error"},
        {"min_samples_leaf": 10},
        {"max_depth": 3, "min_impurity_decrease": 40.0},
        {"max_depth": 6, "min_samples_leaf": 6, "ccp_alpha": 20.0},
    ],
)
def test_tree_is_scikit_learns_where_no_gains_tie(diabetes, options):
    x, y = diabetes
    theirs = sktree.DecisionTreeRegressor(random_state=0, **options).fit(x, y)
    options = {
        k: float(v) if k.startswith("min_samples") else v for k, v in options.items()
    }
    model = fit(x, y, **options)
    tree_oracle.assert_same_tree(model.tree, theirs.tree_)
    np.testing.assert_allclose(
        model.feature_importances, theirs.feature_importances_, atol=1e-6
    )
    with jax.enable_x64(True):
        mean = tree_regressor.predict(model, jnp.asarray(x))
    np.testing.assert_allclose(mean, theirs.predict(x), rtol=1e-9)


def test_few_bins_cut_at_quantiles(diabetes):
    x, y = (jnp.asarray(a, jnp.float32) for a in diabetes)
    errors = []
    for most in (4, 16, 255):
        model = tree_regressor.fit(x, y, max_bins=most, max_depth=4)
        errors.append(float(((tree_regressor.predict(model, x) - y) ** 2).mean()))
    assert errors[0] > errors[1] > errors[2]
    assert errors[1] < 1.1 * errors[2]


def test_shifted_targets_give_the_same_splits(diabetes):
    x, y = diabetes
    one = fit(x, y, max_depth=4)
    two = fit(x, y + 2.0**30, max_depth=4)
    np.testing.assert_array_equal(one.tree.feature, two.tree.feature)
    np.testing.assert_allclose(one.tree.impurity, two.tree.impurity, rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_scale_of_targets_does_not_matter(scale):
    with jax.enable_x64(True):
        x = jnp.arange(6.0)[:, None]
        y = jnp.array([1.0, 1.0, 2.0, 2.0, 5.0, 9.0])
        model = tree_regressor.fit(x, y * scale)
        mean = tree_regressor.predict(model, x)
        np.testing.assert_allclose(mean, y * scale, rtol=1e-12)
        assert model.tree.node_count == 7


def test_constant_targets_are_a_leaf():
    x, y = jnp.arange(4.0)[:, None], jnp.full(4, 0.1)
    for criterion in CRITERIA:
        model = tree_regressor.fit(x, y, criterion=criterion)
        assert model.tree.node_count == 1
        assert model.tree.impurity[0] == 0
        np.testing.assert_array_equal(tree_regressor.predict(model, x), y)
    np.testing.assert_array_equal(model.feature_importances, 0)


def test_no_answer_is_not_a_number():
    x = jnp.arange(4.0)[:, None]
    y = jnp.array([1.0, 2.0, 3.0, 4.0])
    for bad in (jnp.nan, jnp.inf):
        model = tree_regressor.fit(x, y.at[2].set(bad))
        assert model.tree.node_count == 1
        assert jnp.isnan(tree_regressor.predict(model, x)).all()
        absent = jnp.array([1.0, 1.0, 0.0, 1.0])
        model = tree_regressor.fit(x, y.at[2].set(bad), sample_weight=absent)
        np.testing.assert_array_equal(
            tree_regressor.predict(model, x)[jnp.array([0, 1, 3])], [1, 2, 4]
        )
    model = tree_regressor.fit(x, -y, criterion="poisson")
    assert jnp.isnan(tree_regressor.predict(model, x)).all()


def test_median_of_an_even_number_is_the_middle():
    x = jnp.zeros((4, 1))
    y = jnp.array([1.0, 2.0, 4.0, 100.0])
    model = tree_regressor.fit(x, y, criterion="absolute_error")
    assert model.tree.value[0, 0] == 3.0
    weight = jnp.array([1.0, 1.0, 1.0, 3.0])
    model = tree_regressor.fit(x, y, criterion="absolute_error", sample_weight=weight)
    assert model.tree.value[0, 0] == 52.0


def test_rejects_what_cannot_be():
    x, y = jnp.zeros((4, 2)), jnp.zeros(4)
    with pytest.raises(ValueError, match="criterion must be one of"):
        tree_regressor.fit(x, y, criterion="gini")
    with pytest.raises(ValueError, match=r"y must be \[n\] or \[n, o\]"):
        tree_regressor.fit(x, y.reshape(4, 1, 1))
    with pytest.raises(ValueError, match="key must be given"):
        tree_regressor.fit(x, y, max_features="sqrt")
