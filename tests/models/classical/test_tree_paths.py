import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import datasets, ensemble

from jaxml.models.classical import tree_paths
from tests.ops import tree_examples


@pytest.fixture(scope="module")
def fitted():
    x, y = datasets.load_iris(return_X_y=True)
    x = x.astype(np.float32)
    x[::7, 1] = np.nan
    model = ensemble.ExtraTreesClassifier(4, max_features=1, random_state=0).fit(x, y)
    return model, tree_examples.from_sklearn(model.estimators_), x


class TestParity:
    """scikit-learn's trees."""

    def test_decision_path(self, fitted):
        model, ours, x = fitted
        path = tree_paths.decision_path(ours, jnp.asarray(x))
        expected, bounds = model.decision_path(x)
        for j, (low, high) in enumerate(itertools.pairwise(bounds)):
            np.testing.assert_array_equal(
                path[:, j, : high - low], expected[:, low:high].toarray()
            )
            assert not path[:, j, high - low :].any()

    def test_sizes(self, fitted):
        model, ours, _ = fitted
        sizes = [(e.get_depth(), e.get_n_leaves()) for e in model.estimators_]
        found = (tree_paths.max_depth(ours), tree_paths.n_leaves(ours))
        np.testing.assert_array_equal(np.stack(found, 1), sizes)


class TestProperties:
    def test_path_has_depth_and_one_node_of_each_depth(self, fitted):
        _, ours, x = fitted
        path = np.asarray(tree_paths.decision_path(ours, jnp.asarray(x)))
        depth = np.asarray(tree_paths.node_depth(ours))
        for row, tree in np.ndindex(len(x), 4):
            depths = depth[tree][path[row, tree]]
            np.testing.assert_array_equal(depths, np.arange(len(depths)))

    def test_axes(self, fitted):
        """One tree alone, and trees on two axes."""
        _, ours, x = fitted
        x = jnp.asarray(x[:5])
        one = jax.tree.map(lambda leaf: leaf[1], ours)
        square = jax.tree.map(lambda leaf: leaf.reshape(2, 2, *leaf.shape[1:]), ours)
        whole = tree_paths.decision_path(ours, x)
        m = ours.feature.shape[1]
        np.testing.assert_array_equal(tree_paths.decision_path(one, x), whole[:, 1])
        np.testing.assert_array_equal(
            tree_paths.decision_path(square, x), whole.reshape(5, 2, 2, m)
        )
        for function in (tree_paths.node_depth, tree_paths.n_leaves):
            expected = function(ours)
            np.testing.assert_array_equal(function(one), expected[1])
            shape = (2, 2, *expected.shape[1:])
            np.testing.assert_array_equal(function(square), expected.reshape(shape))

    def test_a_single_leaf(self):
        tree = tree_examples.draw(np.random.default_rng(0), 2, 1)
        one = jax.tree.map(lambda leaf: leaf[0], tree_examples.stack([tree]))
        assert int(tree_paths.max_depth(one)) == 0
        assert int(tree_paths.n_leaves(one)) == 1
        assert tree_paths.decision_path(one, jnp.zeros((2, 2))).all()
