"""Random forests and extra trees against scikit-learn, tree by tree and as a whole."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from sklearn import datasets, ensemble, tree

from jaxml import sharding
from jaxml.models.classical import (
    extra_trees_classifier,
    extra_trees_regressor,
    forest_bootstrap,
    random_forest_classifier,
    random_forest_regressor,
)
from jaxml.ops import trees as tree_ops

KEY = jax.random.key(1)
CLASSIFIERS = (random_forest_classifier, extra_trees_classifier)
SIZES = {"n_estimators": 8, "max_depth": 2}


@pytest.fixture(scope="module")
def wine():
    """178 rows of 13 features, 3 classes: so few rows that the bins are exact."""
    x, y = datasets.load_wine(return_X_y=True)
    return jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.int32)


@pytest.fixture(scope="module")
def diabetes():
    x, y = datasets.load_diabetes(return_X_y=True)
    return jnp.asarray(x[:178], jnp.float32), jnp.asarray(y[:178], jnp.float32)


@pytest.fixture(scope="module")
def grown(wine):
    """A forest whose trees look at all features, and what each tree has drawn."""
    options = {"max_features": None, "oob_score": True, "n_classes": 3}
    model = random_forest_classifier.fit(*wine, key=KEY, **SIZES, **options)
    return model, drawn(178)


def drawn(n, weight=None, trees=8):
    """The bootstraps of the trees that grow from KEY."""
    keys = jax.random.split(jax.random.split(KEY)[1], trees)
    return np.asarray(forest_bootstrap.draw(keys, n, jnp.float32, weight))


def tree_of(trees, i):
    return jax.tree.map(lambda leaf: leaf[i : i + 1], trees)


# Parity.


def check_trees(model, counts, make, x, y):
    """The trees split as those of scikit-learn that are given the same rows.

    Where the last splits tie, either may be taken: the leaves are as pure.
    """
    for i, count in enumerate(counts):
        theirs = make(max_depth=2, random_state=0).fit(x, y, sample_weight=count).tree_
        ours = jax.tree.map(lambda leaf, i=i: np.asarray(leaf[i]), model.trees)
        assert ours.feature[0] == theirs.feature[0]
        np.testing.assert_allclose(ours.threshold[0], theirs.threshold[0], rtol=1e-6)
        np.testing.assert_allclose(ours.value[0], theirs.value[0].ravel(), rtol=1e-5)
        left = [
            (t.weighted_n_node_samples * t.impurity)[: int(t.node_count)][
                t.children_left[: int(t.node_count)] < 0
            ].sum()
            for t in (ours, theirs)
        ]
        np.testing.assert_allclose(*left, rtol=1e-4, atol=1e-4)


def test_trees_are_those_of_sklearn_on_the_bootstraps(wine, grown):
    x, y = map(np.asarray, wine)
    check_trees(*grown, tree.DecisionTreeClassifier, x, y)
    np.testing.assert_allclose(grown[0].feature_importances.sum(), 1, rtol=1e-5)


def test_regression_trees_are_those_of_sklearn(diabetes):
    x, y = diabetes
    targets = jnp.stack([y, -2 * y + x[:, 0]], axis=1)
    model = random_forest_regressor.fit(x, targets, key=KEY, **SIZES)
    check_trees(model, drawn(178), tree.DecisionTreeRegressor, x, targets)
    assert random_forest_regressor.apply(model, x).shape == (178, 8)
    values = [tree_ops.sum_values(tree_of(model.trees, i), x) for i in range(8)]
    got = random_forest_regressor.predict(model, x)
    np.testing.assert_allclose(got, sum(values) / 8, rtol=1e-5)


def test_rows_are_judged_by_the_trees_that_did_not_draw_them(wine, grown):
    x, y = wine
    model, counts = grown
    total = np.zeros((178, 3))
    for i, count in enumerate(counts):
        out = np.flatnonzero(count == 0)
        total[out] += tree_ops.sum_values(tree_of(model.trees, i), x)[out]
    times = (counts == 0).sum(0)
    judged = times > 0
    got = np.asarray(model.oob_decision_function)
    np.testing.assert_allclose(
        got[judged], total[judged] / times[judged, None], rtol=1e-5
    )
    assert np.isnan(got[~judged]).all()
    right = total.argmax(1)[judged] == np.asarray(y)[judged]
    np.testing.assert_allclose(model.oob_score, right.mean(), rtol=1e-6)


@pytest.mark.parametrize("module", CLASSIFIERS)
def test_scores_as_sklearn(module, wine):
    x, y = wine
    options = {"n_estimators": 40, "bootstrap": True, "oob_score": True}
    model = module.fit(x, y, key=KEY, n_classes=3, **options)
    names = {
        random_forest_classifier: "RandomForestClassifier",
        extra_trees_classifier: "ExtraTreesClassifier",
    }
    theirs = getattr(ensemble, names[module])(random_state=0, **options).fit(x, y)
    # Standard error of a share near 0.98 of 178 rows: 0.01.
    assert abs(float(model.oob_score) - theirs.oob_score_) < 0.03
    far = np.abs(model.feature_importances - theirs.feature_importances_)
    assert far.max() < 0.1
    assert not model.full.any()


@pytest.mark.parametrize(
    ("module", "peer"),
    [
        (random_forest_regressor, ensemble.RandomForestRegressor),
        (extra_trees_regressor, ensemble.ExtraTreesRegressor),
    ],
)
def test_regression_scores_as_sklearn(module, peer, diabetes):
    x, y = diabetes
    options = {"n_estimators": 40, "bootstrap": True, "oob_score": True}
    options |= {"max_features": 0.4, "max_depth": 5}
    model = module.fit(x, y, key=KEY, **options)
    theirs = [peer(random_state=r, **options).fit(x, y).oob_score_ for r in range(3)]
    assert min(theirs) - 0.04 < float(model.oob_score) < max(theirs) + 0.04
    judged = np.isfinite(model.oob_prediction)
    rest = (y - model.oob_prediction)[judged]
    spread = y[judged] - y[judged].mean()
    want = 1 - (rest**2).sum() / (spread**2).sum()
    np.testing.assert_allclose(model.oob_score, want, rtol=1e-4)


def test_extra_trees_draw_features_and_thresholds(wine):
    x, y = wine
    options = {"n_classes": 3, "criterion": "entropy", **SIZES}
    one = extra_trees_classifier.fit(x, y, key=KEY, max_features=1, **options)
    two = extra_trees_classifier.fit(x, y, key=jax.random.key(2), **options)
    shares = extra_trees_classifier.predict_proba
    assert float(jnp.abs(shares(one, x) - shares(two, x)).max()) > 0.1
    root = one.trees.feature[:, 0]
    assert len(np.unique(root)) > 2  # the feature is drawn
    same = one.trees.feature[0, 0] == two.trees.feature[:, 0]
    thresholds = np.unique(two.trees.threshold[same, 0])
    assert len(thresholds) == int(same.sum())  # so is the threshold


# Bootstraps.


def test_rows_are_drawn_in_proportion_to_their_weights():
    rng = np.random.default_rng(0)
    weight = rng.uniform(1, 3, 40) * (np.arange(40) % 4 > 0)
    keys = jax.random.split(KEY, 3000)
    counts = forest_bootstrap.draw(
        keys, 40, jnp.float32, jnp.asarray(weight, "float32")
    )
    np.testing.assert_array_equal(counts.sum(1), 30)
    want = 30 * weight / weight.sum()
    # Five standard errors of a mean of 3000 counts of about 1.
    np.testing.assert_allclose(counts.mean(0), want, atol=5 * (1.5 / 3000) ** 0.5)
    spread = np.asarray(counts).var(0)[weight > 0]
    share = (weight / weight.sum())[weight > 0]
    np.testing.assert_allclose(spread, 30 * share * (1 - share), rtol=0.2)


def test_equal_weights_draw_what_no_weights_draw():
    keys = jax.random.split(KEY, 5)
    plain = forest_bootstrap.draw(keys, 30, jnp.float32)
    kept = np.arange(40) % 4 > 0
    weight = jnp.asarray(np.where(kept, 2.5, 0), jnp.float32)
    among = forest_bootstrap.draw(keys, 40, jnp.float32, weight)
    np.testing.assert_array_equal(among[:, kept], plain)
    assert not among[:, ~kept].any()


@pytest.mark.parametrize(("max_samples", "total"), [(7, 7), (100, 100), (0.5, 30)])
def test_as_many_rows_are_drawn_as_asked_for(max_samples, total):
    weight = jnp.full(30, 2.0)
    keys = jax.random.split(KEY, 3)
    counts = forest_bootstrap.draw(keys, 30, jnp.float32, weight, max_samples)
    np.testing.assert_array_equal(counts.sum(1), total)


def test_a_share_is_drawn_from_each_stratum():
    strata = jnp.arange(60) % 3
    weight = jnp.where(jnp.arange(60) < 45, 1.0, 0.0)
    share = jnp.array(0.4)
    chosen = forest_bootstrap.sample(KEY, weight, share, strata, 3, nearest=True)
    assert not chosen[45:].any()
    np.testing.assert_array_equal(jnp.bincount(strata[chosen], length=3), 6)
    some = forest_bootstrap.sample(
        KEY, weight[:45], share, strata[:45], 3, nearest=True
    )
    np.testing.assert_array_equal(some, chosen[:45])
    other = forest_bootstrap.sample(jax.random.key(9), weight, share, strata, 3, True)
    assert (other != chosen).any()


# Properties.


def test_class_weights_are_weights(wine):
    x, y = wine
    each = jnp.array([1.0, 4.0, 0.5])
    options = {"key": KEY, "n_classes": 3, **SIZES}
    one = extra_trees_classifier.fit(x, y, class_weight=each, **options)
    two = extra_trees_classifier.fit(x, y, sample_weight=each[y], **options)
    jax.tree.map(np.testing.assert_array_equal, one, two)


def test_balanced_bootstraps_weigh_the_classes_the_same(wine):
    x, y = wine
    options = {"class_weight": "balanced_subsample", "n_classes": 3, **SIZES}
    model = random_forest_classifier.fit(x, y, key=KEY, **options)
    np.testing.assert_allclose(model.trees.value[:, 0], 1 / 3, rtol=1e-5)
    np.testing.assert_allclose(
        model.trees.weighted_n_node_samples[:, 0], 178, rtol=1e-5
    )


def test_shares_of_the_rows_are_numbers_of_rows(wine):
    x, y = wine
    options = {"key": KEY, "n_classes": 3, **SIZES}
    one = extra_trees_classifier.fit(x, y, min_samples_leaf=0.1, **options)
    two = extra_trees_classifier.fit(x, y, min_samples_leaf=18.0, **options)
    jax.tree.map(np.testing.assert_array_equal, one, two)
    leaves = two.trees.children_left < 0
    used = jnp.arange(leaves.shape[1])[None] < two.trees.node_count[:, None]
    assert int(two.trees.n_node_samples[leaves & used].min()) >= 18


def test_trees_without_room_are_marked(wine):
    x, y = wine
    options = {"key": KEY, "n_classes": 3, "n_estimators": 8}
    model = random_forest_classifier.fit(x, y, max_nodes=7, **options)
    assert model.full.all()
    assert int(model.trees.node_count.max()) <= 7
    pruned = random_forest_classifier.fit(x, y, ccp_alpha=0.1, **options)
    assert int(pruned.trees.node_count.max()) <= 7
    assert not pruned.full.any()


def test_trees_spread_over_devices_are_the_same_forest(wine):
    x, y = wine
    mesh = sharding.mesh(data=8)
    options = {"n_estimators": 16, "max_depth": 3, "n_classes": 3, "oob_score": True}
    program = jax.jit(
        lambda x, y: random_forest_classifier.fit(x, y, key=KEY, mesh=mesh, **options)
    )
    whole = NamedSharding(mesh, P())
    rows = [jax.device_put(part, whole) for part in (x, y)]
    compiled = program.lower(*rows).compile()
    spread = compiled(*rows)
    one = random_forest_classifier.fit(x, y, key=KEY, **options)
    jax.tree.map(np.testing.assert_array_equal, spread.trees, one.trees)
    np.testing.assert_allclose(spread.oob_score, one.oob_score, rtol=1e-6)
    np.testing.assert_allclose(
        spread.feature_importances, one.feature_importances, rtol=1e-5
    )
    assert spread.trees.threshold.sharding.spec == P("data")
    text = compiled.as_text()
    for moved in ("all-gather", "all-to-all", "collective-permute"):
        assert moved not in text
    np.testing.assert_allclose(
        random_forest_classifier.predict_proba(spread, rows[0]),
        random_forest_classifier.predict_proba(one, x),
        rtol=1e-5,
    )


# Degenerate data.


def test_nothing_to_split():
    x = jnp.ones((12, 2))
    y = jnp.arange(12) % 2
    options = {"key": KEY, "n_estimators": 4}
    model = extra_trees_classifier.fit(x, y, **options)
    np.testing.assert_array_equal(model.trees.node_count, 1)
    np.testing.assert_allclose(extra_trees_classifier.predict_proba(model, x), 0.5)
    np.testing.assert_array_equal(model.feature_importances, 0)
    one = random_forest_classifier.fit(x, jnp.ones_like(y), **options)
    np.testing.assert_array_equal(random_forest_classifier.predict(one, x), 1)
    alone = random_forest_regressor.fit(x[:1], jnp.array([3.0]), **options)
    np.testing.assert_allclose(random_forest_regressor.predict(alone, x), 3.0)


def test_no_weight_at_all_is_nan():
    x, y = jnp.arange(24.0).reshape(12, 2), jnp.arange(12.0)
    model = random_forest_regressor.fit(
        x, y, key=KEY, n_estimators=4, sample_weight=jnp.zeros(12)
    )
    assert jnp.isnan(random_forest_regressor.predict(model, x)).all()


def test_missing_values_go_their_way(wine):
    x, y = wine
    hole = x.at[::3, 6].set(jnp.nan).at[:, 2].set(jnp.nan)
    model = random_forest_classifier.fit(hole, y, key=KEY, n_classes=3, **SIZES)
    right = random_forest_classifier.predict(model, hole) == y
    assert float(right.mean()) > 0.9
    assert model.feature_importances[2] == 0


# Errors.


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"n_estimators": 0}, "n_estimators must be at least 1; got 0"),
        ({"criterion": "mse"}, "criterion must be one of"),
        ({"max_features": 14}, "an int from 1 to 13, or a share"),
        ({"max_features": "all"}, "got 'all'"),
        ({"max_depth": -1}, "max_depth must be at least 0"),
        ({"max_leaf_nodes": 1}, "max_leaf_nodes must be at least 2; got 1"),
        ({"max_bins": 1}, "max_bins must be at least 2"),
        ({"max_nodes": 0}, "max_nodes must be at least 1"),
        ({"min_samples_leaf": 0.0}, "min_samples_leaf must be above 0"),
        ({"min_weight_fraction_leaf": 0.6}, "from 0 to 0.5; got 0.6"),
        ({"ccp_alpha": -1.0}, "ccp_alpha must be at least 0"),
        ({"bootstrap": False, "oob_score": True}, "must be True for oob_score"),
        ({"bootstrap": False, "max_samples": 3}, "must be True for max_samples"),
        ({"max_samples": 0}, "max_samples must be above 0"),
        ({"class_weight": "balanced"}, "class_weight must be one of"),
        ({"mesh": 8}, "multiple of the 8 devices of the axis 'data'; got 12"),
        ({"mesh": 8, "axis": "model"}, "axis must be one of those of the mesh"),
    ],
)
def test_rejects_what_is_out_of_range(wine, options, match):
    if "mesh" in options:
        options = {"n_estimators": 12, **options, "mesh": sharding.mesh(data=8)}
    with pytest.raises(ValueError, match=match):
        random_forest_classifier.fit(*wine, key=KEY, n_classes=3, **options)


@pytest.mark.usefixtures("unchecked")
def test_rejects_a_criterion_of_the_other_kind(diabetes):
    with pytest.raises(ValueError, match="criterion must be one of"):
        random_forest_regressor.fit(*diabetes, key=KEY, criterion="gini")
