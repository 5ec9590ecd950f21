import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xgboost
from sklearn import datasets, ensemble

from jaxml.models.classical import tree_shap
from jaxml.ops import native, trees
from tests.ops import tree_examples, xgboost_trees

KERNELS = [
    "0",
    pytest.param(
        "1",
        marks=pytest.mark.skipif(
            not native.enabled("trees_shap"), reason=native.reason("trees_shap")
        ),
    ),
]


@pytest.fixture(params=KERNELS)
def kernel(request, monkeypatch):
    monkeypatch.setenv("JAXML_NATIVE", request.param)


def expectation(tree, row, known, node=0):
    """What a tree predicts of a row of which only the features `known` are known."""
    sides = tree["children_left"][node], tree["children_right"][node]
    if sides[0] < 0:
        return tree["value"][node].astype(np.float64)
    if tree["feature"][node] in known:
        below = tree_examples.child(tree, node, row)
        return expectation(tree, row, known, below)
    cover = tree["weighted_n_node_samples"].astype(np.float64)
    parts = [cover[side] * expectation(tree, row, known, side) for side in sides]
    return sum(parts) / cover[node]


def shapley(game, d):
    """Shapley values and interactions of a function of sets, by their definition."""
    rest = {i: [j for j in range(d) if j != i] for i in range(d)}
    alone = []
    for i in range(d):
        total = 0
        for size in range(d):
            weight = math.factorial(size) * math.factorial(d - size - 1)
            for known in itertools.combinations(rest[i], size):
                gain = game[frozenset({*known, i})] - game[frozenset(known)]
                total = total + weight / math.factorial(d) * gain
        alone.append(total)
    pairs = np.zeros((d, d, *np.shape(alone[0])))
    for i, j in itertools.permutations(range(d), 2):
        others = [other for other in rest[i] if other != j]
        for size in range(d - 1):
            weight = math.factorial(size) * math.factorial(d - size - 2)
            for known in itertools.combinations(others, size):
                both = game[frozenset({*known, i, j})] + game[frozenset(known)]
                each = game[frozenset({*known, i})] + game[frozenset({*known, j})]
                share = weight / math.factorial(d - 1) / 2
                pairs[i, j] += share * (both - each)
    for i in range(d):
        pairs[i, i] = alone[i] - pairs[i].sum(0)
    return np.stack(alone), pairs


@pytest.fixture(scope="module")
def small():
    """Trees with every kind of node, rows, and their values by brute force."""
    rng = np.random.default_rng(3)
    each = [tree_examples.draw(rng, 4, leaves, k=2, words=2) for leaves in (1, 6, 12)]
    x = tree_examples.rows(rng, 12, 4, words=2)
    sets = [
        frozenset(known)
        for size in range(5)
        for known in itertools.combinations(range(4), size)
    ]
    found = []
    for row in x:
        game = {
            known: sum(expectation(tree, row, known) for tree in each) for known in sets
        }
        found.append((*shapley(game, 4), game[frozenset()]))
    alone, pairs, start = (np.stack(part) for part in zip(*found, strict=True))
    return tree_examples.stack(each), jnp.asarray(x), alone, pairs, start[0]


@pytest.mark.usefixtures("kernel")
class TestParity:
    def test_brute_force(self, small):
        ours, x, alone, _, _ = small
        np.testing.assert_allclose(tree_shap.values(ours, x), alone, atol=2e-6)

    def test_xgboost(self, boosted):
        booster, ours, x, start = boosted
        expected = booster.predict(xgboost.DMatrix(x), pred_contribs=True)
        found = tree_shap.values(ours, jnp.asarray(x))[..., 0]
        np.testing.assert_allclose(found, expected[:, :-1], atol=1e-5)
        mean = float(tree_shap.expected_value(ours)[0])
        np.testing.assert_allclose(mean + start, expected[0, -1], atol=1e-5)


@pytest.fixture(scope="module")
def boosted():
    x, y = datasets.load_diabetes(return_X_y=True)
    x, y = x[:200].astype(np.float32), ((y[:200] - 150) / 77).astype(np.float32)
    x[::5, 2] = np.nan
    data = xgboost.DMatrix(x, y)
    options = {"max_depth": 5, "base_score": 0.5, "tree_method": "exact", "nthread": 1}
    booster = xgboost.train(options, data, 8)
    return booster, xgboost_trees.from_xgboost(booster), x[:40], 0.5


class TestInteractions:
    def test_brute_force(self, small):
        ours, x, _, pairs, _ = small
        np.testing.assert_allclose(tree_shap.interactions(ours, x), pairs, atol=2e-6)

    def test_xgboost(self, boosted):
        booster, ours, x, _ = boosted
        x = x[:8]
        expected = booster.predict(xgboost.DMatrix(x), pred_interactions=True)
        found = tree_shap.interactions(ours, jnp.asarray(x))[..., 0]
        np.testing.assert_allclose(found, expected[:, :-1, :-1], atol=1e-5)


@pytest.mark.usefixtures("kernel")
class TestProperties:
    def test_values_sum_to_the_prediction(self):
        """Deep trees of a forest, whose features come again and again on a path."""
        x, y = datasets.load_breast_cancer(return_X_y=True)
        x = x.astype(np.float32)
        x[::7, ::3] = np.nan
        model = ensemble.ExtraTreesClassifier(3, max_features=1, random_state=0)
        ours = tree_examples.from_sklearn(model.fit(x, y).estimators_)
        x = jnp.asarray(x[:20])
        total = tree_shap.values(ours, x).sum(1) + tree_shap.expected_value(ours)[None]
        np.testing.assert_allclose(total, trees.sum_values(ours, x), atol=5e-6)

    def test_axes(self, small):
        """Trees of several outputs: columns of their own, as in `sum_values`."""
        ours, x, *_ = small
        twice = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf[::-1]], 1), ours)
        one = jax.tree.map(lambda leaf: leaf[1], ours)
        both = tree_shap.values(twice, x)
        once = tree_shap.values(ours, x)
        np.testing.assert_allclose(both[..., :2], once, atol=2e-6)
        np.testing.assert_allclose(both[..., 2:], once, atol=2e-6)
        mean = tree_shap.expected_value(one)
        np.testing.assert_allclose(mean, one.value[0], atol=1e-6)
        total = tree_shap.values(one, x).sum(1) + mean[None]
        np.testing.assert_allclose(total, trees.sum_values(one, x), atol=2e-6)

    def test_sharded_rows_stay(self, small):
        ours, x, *_ = small
        x = x[:8]
        mesh = jax.make_mesh((8,), ("data",), (jax.sharding.AxisType.Auto,))
        shards = jax.device_put(x, jax.NamedSharding(mesh, jax.P("data")))
        program = jax.jit(lambda x: tree_shap.values(ours, x)).lower(shards).compile()
        assert "all-gather" not in program.as_text()
        np.testing.assert_allclose(
            program(shards), tree_shap.values(ours, x), atol=1e-6
        )

    def test_nodes_without_training_rows(self, small):
        """A node that no training row reached is entered by known rows only."""
        ours, x, *_ = small
        cover = ours.weighted_n_node_samples
        left = ours.children_left[2, 0]
        empty = ours._replace(weighted_n_node_samples=cover.at[2, left:].set(0))
        total = (
            tree_shap.values(empty, x).sum(1) + tree_shap.expected_value(empty)[None]
        )
        np.testing.assert_allclose(total, trees.sum_values(empty, x), atol=2e-6)


def test_expected_value(small):
    ours, *_, start = small
    np.testing.assert_allclose(tree_shap.expected_value(ours), start, atol=1e-6)


def test_rejects_a_negative_depth(small):
    ours, x, *_ = small
    with pytest.raises(ValueError, match="max_depth must be"):
        tree_shap.values(ours, x, max_depth=-1)
