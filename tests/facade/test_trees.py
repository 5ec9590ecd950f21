"""The estimators that are one tree, beyond what all estimators share."""

import pickle

import numpy as np
import pytest
from sklearn import datasets
from sklearn import tree as sktree

from jaxml import sklearn as ours


@pytest.fixture(scope="module")
def wine():
    x, y = datasets.load_wine(return_X_y=True)
    return x[:128], np.array(["one", "two", "three"])[y[:128]]


def test_tree_has_the_arrays_of_scikit_learn(wine):
    model = ours.DecisionTreeClassifier(max_leaf_nodes=4).fit(*wine)
    peer = sktree.DecisionTreeClassifier(max_leaf_nodes=4).fit(*wine)
    tree = model.tree_
    assert tree.node_count == tree.capacity == peer.tree_.node_count == 7
    assert tree.value.shape == peer.tree_.value.shape
    assert model.get_n_leaves() == peer.get_n_leaves() == tree.n_leaves
    assert model.get_depth() == peer.get_depth() == tree.max_depth
    order = np.sort(tree.n_node_samples)
    np.testing.assert_array_equal(order, np.sort(peer.tree_.n_node_samples))
    path = model.decision_path(wine[0])
    assert path.shape == (128, 7)
    leaf = model.apply(wine[0])
    assert (tree.children_left[leaf] == -1).all()
    assert (path[np.arange(128), leaf] == 1).all()
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(wine[0]), model.predict(wine[0]))
    np.testing.assert_array_equal(again.tree_.threshold, tree.threshold)


def test_pruning_path_and_pruning_go_together(wine):
    x, y = wine
    model = ours.DecisionTreeClassifier()
    path = model.cost_complexity_pruning_path(x, y)
    expected = sktree.DecisionTreeClassifier(
        random_state=0
    ).cost_complexity_pruning_path(x, y)
    np.testing.assert_allclose(path.impurities[-1], expected.impurities[-1])
    assert (np.diff(path.ccp_alphas) >= -1e-12).all()
    sizes = [
        ours.DecisionTreeClassifier(ccp_alpha=alpha).fit(x, y).tree_.node_count
        for alpha in path.ccp_alphas[[1, -1]]
    ]
    assert 1 == sizes[1] < sizes[0]


def test_missing_values_are_taken(wine):
    x, y = wine
    x = np.where(np.random.default_rng(0).random(x.shape) < 0.2, np.nan, x)
    for name in ("DecisionTreeClassifier", "ExtraTreeClassifier"):
        model = getattr(ours, name)(random_state=0).fit(x, y)
        assert model.score(x, y) == 1.0


def test_several_targets_and_medians(wine):
    x = wine[0]
    y = np.stack([x[:, 0], x[:, 1] * 2], 1)
    options = {"criterion": "absolute_error", "max_depth": 2}
    model = ours.DecisionTreeRegressor(**options).fit(x[:, 2:], y)
    peer = sktree.DecisionTreeRegressor(**options).fit(x[:, 2:], y)
    assert model.n_outputs_ == 2
    np.testing.assert_allclose(model.predict(x[:, 2:]), peer.predict(x[:, 2:]))


def test_counts_must_be_counts(wine):
    x, _ = wine
    model = ours.DecisionTreeRegressor(criterion="poisson")
    with pytest.raises(ValueError, match=r"Some value\(s\) of y are negative"):
        model.fit(x, -x[:, 0])
    with pytest.raises(ValueError, match="Sum of y is not positive"):
        model.fit(x, 0 * x[:, 0])


def test_constraints_are_refused(wine):
    with pytest.raises(NotImplementedError, match="monotonic_cst"):
        ours.DecisionTreeRegressor(monotonic_cst=[1] * 13).fit(wine[0], wine[0][:, 0])


def test_extra_trees_score_as_scikit_learns(wine):
    x, y = wine
    for name, target in (("ExtraTreeClassifier", y), ("ExtraTreeRegressor", x[:, 0])):
        scores = [
            [
                getattr(module, name)(max_depth=3, random_state=seed)
                .fit(x[::2], target[::2])
                .score(x[1::2], target[1::2])
                for seed in range(20)
            ]
            for module in (ours, sktree)
        ]
        error = np.std(scores, axis=1).sum() / np.sqrt(20)
        assert abs(np.mean(scores[0]) - np.mean(scores[1])) < 4 * error
        assert np.std(scores[0]) > 0
