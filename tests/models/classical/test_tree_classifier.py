"""Trees for classes: scikit-learn's on real data, and data of all kinds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import datasets
from sklearn import tree as sktree

from jaxml.models.classical import cart_prune, tree_classifier
from tests.models.classical import tree_oracle

LOADERS = ("iris", "wine", "breast_cancer", "digits")


@pytest.fixture(scope="module")
def tables():
    """Real data, in the float32 values that scikit-learn's trees work on."""
    found = {}
    for name in LOADERS:
        x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
        x, y = x[:600].astype(np.float32).astype(float), y[:600].astype(np.int32)
        found[name] = x, y
    return found


def holes(x, seed=0):
    rng = np.random.default_rng(seed)
    return np.where(rng.random(x.shape) < 0.1, np.nan, x)


def fit(x, y, weight=None, **options):
    """Fit in float64, with bins enough for all values."""
    with jax.enable_x64(True):
        if weight is not None:
            options["sample_weight"] = jnp.asarray(weight)
        y = jnp.asarray(y)
        return tree_classifier.fit(
            jnp.asarray(x), y, n_classes=int(y.max()) + 1, max_bins=1023, **options
        )


@pytest.mark.parametrize("criterion", ["gini", "entropy"])
@pytest.mark.parametrize("name", LOADERS)
def test_splits_are_scikit_learns(tables, name, criterion):
    x, y = tables[name]
    model = fit(x, y, criterion=criterion)
    assert not model.full
    ties, splits = tree_oracle.audit(
        model.tree, x, y, classes=True, criterion=criterion
    )
    assert splits > 0
    assert ties < 0.7 * splits  # small nodes of many features have many equal splits
    with jax.enable_x64(True):
        assert (tree_classifier.predict(model, jnp.asarray(x)) == y).all()


@pytest.mark.parametrize("name", ["wine", "breast_cancer"])
def test_splits_with_weights_missing_values_and_limits_are_scikit_learns(tables, name):
    x, y = tables[name]
    x = holes(x)
    rng = np.random.default_rng(1)
    weight = rng.random(len(x)) * (rng.random(len(x)) > 0.2)
    model = fit(x, y, weight, min_samples_leaf=3.0)
    tree_oracle.audit(model.tree, x, y, weight, classes=True, leaf=3)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("wine", {"max_leaf_nodes": 9}),
        ("digits", {"max_leaf_nodes": 14, "criterion": "entropy"}),
        (
            "digits",
            {"max_depth": 4, "criterion": "entropy", "min_weight_fraction_leaf": 0.1},
        ),
        ("breast_cancer", {"max_depth": 2, "criterion": "entropy"}),
        ("breast_cancer", {"min_impurity_decrease": 0.01}),
    ],
)
def test_tree_is_scikit_learns_where_no_gains_tie(tables, name, options):
    x, y = tables[name]
    theirs = sktree.DecisionTreeClassifier(random_state=0, **options).fit(x, y)
    as_float = {k: v for k, v in options.items() if not k.startswith("min_samples")}
    as_float |= {k: float(v) for k, v in options.items() if k not in as_float}
    model = fit(x, y, **as_float)
    tree_oracle.assert_same_tree(model.tree, theirs.tree_)
    np.testing.assert_allclose(
        model.feature_importances, theirs.feature_importances_, atol=1e-6
    )
    with jax.enable_x64(True):
        rows = jnp.asarray(x)
        shares = tree_classifier.predict_proba(model, rows)
        np.testing.assert_allclose(shares, theirs.predict_proba(x), atol=1e-9)
        logs = tree_classifier.predict_log_proba(model, rows)
        np.testing.assert_array_equal(logs, jnp.log(shares))
        path = tree_classifier.decision_path(model, rows)
        assert path.sum() == theirs.decision_path(x).sum()
        leaf = np.asarray(tree_classifier.apply(model, rows))
        assert (np.asarray(model.tree.children_left)[leaf] == -1).all()


def test_equal_splits_the_first_feature_then_missing_right_then_low_threshold():
    column = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    y = np.array([0, 1, 0, 1, 0, 1])  # a split after 0 gains as one after 4 does
    x = np.stack([column, 5 - column, column], 1)
    tree = tree_oracle.arrays(fit(x, y, max_depth=1).tree)
    assert tree["feature"][0] == 0
    assert tree["threshold"][0] == 0.5
    x = np.array([[0.0], [np.nan], [1.0], [np.nan]])
    tree = tree_oracle.arrays(fit(x, np.array([0, 1, 0, 1]), max_depth=1).tree)
    assert tree["threshold"][0] == np.inf
    assert not tree["missing_go_to_left"][0]


def test_pruning_is_scikit_learns(tables):
    x, y = tables["breast_cancer"]
    model = fit(x, y)
    peer = sktree.DecisionTreeClassifier(random_state=0)
    expected = peer.cost_complexity_pruning_path(x, y)
    with jax.enable_x64(True):
        path = tree_classifier.pruning_path(model)
    path = cart_prune.Path(*map(np.asarray, path))
    count = int(path.n_steps)
    np.testing.assert_allclose(path.ccp_alphas[:count], expected.ccp_alphas, atol=1e-9)
    np.testing.assert_allclose(path.impurities[:count], expected.impurities, atol=1e-9)
    assert np.isinf(path.ccp_alphas[count:]).all()
    for alpha in (*expected.ccp_alphas[[2, 5, -1]], 0.004, 0.02):
        theirs = peer.set_params(ccp_alpha=alpha).fit(x, y).tree_
        with jax.enable_x64(True):
            pruned = cart_prune.prune(model.tree, float(alpha))
        assert pruned.node_count == theirs.node_count, alpha
        unused = np.asarray(pruned.children_left)[theirs.node_count :]
        assert (unused == -1).all()
        if theirs.node_count < 10:  # above are splits of equal gain
            tree_oracle.assert_same_tree(pruned, theirs)


def test_random_trees_are_scikit_learns_in_distribution(tables):
    x, y = tables["wine"]
    sizes, roots = [], []
    for seed in range(60):
        key = jax.random.key(seed)
        model = fit(x, y, splitter="random", max_features=3, key=key)
        sizes.append(int(model.tree.node_count))
        roots.append(int(model.tree.feature[0]))
    theirs = [
        sktree.ExtraTreeClassifier(max_features=3, random_state=seed).fit(x, y).tree_
        for seed in range(200)
    ]
    expected = [t.node_count for t in theirs]
    error = np.std(sizes) / np.sqrt(60) + np.std(expected) / np.sqrt(200)
    assert abs(np.mean(sizes) - np.mean(expected)) < 4 * error
    share = np.bincount(roots, minlength=13) / 60
    other = np.bincount([t.feature[0] for t in theirs], minlength=13) / 200
    assert np.abs(share - other).max() < 0.25


def test_class_weights_are_weights(tables):
    x, y = tables["iris"]
    each = np.array([1.0, 2.0, 0.0])
    with jax.enable_x64(True):
        one = fit(x, y, class_weight=jnp.asarray(each), max_depth=4)
    two = fit(x, y, each[y], max_depth=4)
    jax.tree.map(np.testing.assert_array_equal, one, two)


def degenerate(x, y, **options):
    x = jnp.asarray(x, jnp.float32)
    model = tree_classifier.fit(x, jnp.asarray(y, jnp.int32), **options)
    return model.tree, tree_classifier.predict_proba(model, x)


def test_what_cannot_be_split_is_a_leaf():
    one = np.zeros(4, int)
    for x, y in (
        (np.ones((4, 2)), [0, 1, 0, 1]),  # constant
        (np.full((4, 2), np.nan), [0, 1, 0, 1]),  # all missing
        (np.arange(8).reshape(4, 2), one),  # one class
    ):
        tree, shares = degenerate(x, y)
        assert tree.node_count == 1
        assert shares[0, 0] == 1 - np.mean(y)
    tree, shares = degenerate([[3.0]], [1])
    assert tree.node_count == 1
    assert shares.tolist() == [[0.0, 1.0]]
    tree, _ = degenerate(np.arange(4.0)[:, None], [0, 1, 0, 1], max_depth=0)
    assert tree.node_count == 1


def test_a_column_that_is_missing_is_no_obstacle():
    x = np.stack([np.full(4, np.nan), np.arange(4.0), np.ones(4)], 1)
    tree, shares = degenerate(x, [0, 0, 1, 1])
    assert tree.feature[0] == 1
    assert shares.tolist() == [[1, 0], [1, 0], [0, 1], [0, 1]]


@pytest.mark.parametrize("scale", [1e30, 1e-30, 3e38])
def test_scales_do_not_matter(scale):
    x = np.array([[0.25], [0.5], [0.75], [1.0]]) * scale
    tree, shares = degenerate(x, [0, 1, 1, 0])
    assert shares.tolist() == [[1, 0], [0, 1], [0, 1], [1, 0]]
    assert 0.25 * scale <= tree.threshold[0] < 0.75 * scale


def test_neighbouring_floats_are_told_apart():
    low = np.float32(1.0)
    high = np.nextafter(low, np.float32(2))
    tree, shares = degenerate([[low], [high]], [0, 1])
    assert tree.threshold[0] == low
    assert shares.tolist() == [[1, 0], [0, 1]]


def test_rows_that_are_equal_share_a_leaf():
    tree, shares = degenerate([[1.0], [1.0], [2.0]], [0, 1, 1])
    assert tree.node_count == 3
    assert shares.tolist() == [[0.5, 0.5], [0.5, 0.5], [0, 1]]


def test_no_answer_is_not_a_number():
    x, y = np.arange(4.0)[:, None], np.array([0, 0, 1, 1])
    for weight in ([0, 0, 0, 0], [1, 1, 1, np.nan], [1, 1, 1, -1], [1, 1, 1, np.inf]):
        weight = jnp.asarray(weight, jnp.float32)
        tree, shares = degenerate(x, y, sample_weight=weight)
        assert tree.node_count == 1
        assert jnp.isnan(shares).all()
    for label in (-1, 2):
        _, shares = degenerate(x, [0, 1, 1, label])
        assert jnp.isnan(shares).all()


def test_full_says_that_there_was_no_room():
    x, y = np.arange(8.0)[:, None], [0, 1] * 4
    kwargs = {"x": jnp.asarray(x, jnp.float32), "y": jnp.asarray(y, jnp.int32)}
    for most, nodes in ((1, 1), (6, 5)):
        model = tree_classifier.fit(**kwargs, max_nodes=most)
        assert model.full
        assert model.tree.node_count == nodes
        assert model.tree.feature.shape == (most,)
        assert (model.tree.children_left < nodes).all()
    assert not tree_classifier.fit(**kwargs, max_nodes=15).full


def test_shares_of_rows_are_numbers_of_rows(tables):
    x, y = tables["iris"]
    for part, whole in ((0.2, 30.0), (1.0, 150.0)):
        one, two = (fit(x, y, min_samples_split=v) for v in (part, whole))
        np.testing.assert_array_equal(one.tree.feature, two.tree.feature)
    one, two = (fit(x, y, min_samples_leaf=v) for v in (0.1, 15.0))
    np.testing.assert_array_equal(one.tree.feature, two.tree.feature)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"criterion": "squared_error"}, "criterion must be one of"),
        ({"splitter": "worst"}, "splitter must be one of"),
        ({"splitter": "random"}, "key must be given"),
        ({"max_features": 1}, "key must be given"),
        ({"max_features": 3}, "max_features must be"),
        ({"max_depth": -1}, "max_depth must be at least 0"),
        ({"max_leaf_nodes": 1}, "max_leaf_nodes must be at least 2"),
        ({"min_samples_leaf": 0.0}, "min_samples_leaf must be above 0"),
        ({"min_weight_fraction_leaf": 0.6}, "min_weight_fraction_leaf must be from"),
        ({"ccp_alpha": -1.0}, "ccp_alpha must be at least 0"),
        ({"max_bins": 1}, "max_bins must be"),
        ({"n_classes": 1}, "n_classes must be"),
    ],
)
def test_rejects_what_cannot_be(options, match):
    x, y = jnp.zeros((4, 2)), jnp.zeros(4, jnp.int32)
    with pytest.raises(ValueError, match=match):
        tree_classifier.fit(x, y, **options)
