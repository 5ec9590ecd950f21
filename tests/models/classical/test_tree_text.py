import re

import jax
import numpy as np
import pytest
from sklearn import datasets
from sklearn import tree as sklearn_tree

from jaxml.models.classical import tree_text
from tests.ops import tree_examples


def one(estimator):
    return jax.tree.map(lambda leaf: leaf[0], tree_examples.from_sklearn([estimator]))


@pytest.fixture(scope="module")
def iris():
    data = datasets.load_iris()
    model = sklearn_tree.DecisionTreeClassifier(random_state=0)
    return model.fit(data.data, data.target), data


class TestText:
    @pytest.mark.parametrize("max_depth", [0, 2, 10])
    def test_scikit_learns_layout(self, iris, max_depth):
        model, data = iris
        options = {
            "feature_names": data.feature_names,
            "class_names": data.target_names,
            "max_depth": max_depth,
            "show_weights": True,
            "decimals": 3,
            "spacing": 2,
        }
        expected = sklearn_tree.export_text(model, **options)
        assert tree_text.export_text(one(model), **options) == expected

    def test_scikit_learns_defaults(self, iris):
        model, _ = iris
        expected = sklearn_tree.export_text(model)
        assert tree_text.export_text(one(model), class_names=range(3)) == expected

    def test_regression(self, iris):
        _, data = iris
        for targets in (data.data[:, 0], data.data[:, :1]):
            model = sklearn_tree.DecisionTreeRegressor(max_depth=3, random_state=0)
            model.fit(data.data[:, 1:], targets)
            expected = sklearn_tree.export_text(model, decimals=4)
            assert tree_text.export_text(one(model), decimals=4) == expected

    def test_a_single_leaf(self, iris):
        _, data = iris
        model = sklearn_tree.DecisionTreeRegressor().fit(data.data, np.ones(150))
        assert tree_text.export_text(one(model)) == sklearn_tree.export_text(model)

    def test_categories(self):
        tree = tree_examples.draw(np.random.default_rng(4), 1, 2, words=2)
        tree["categories"][0] = [0b1010, 1]
        tree["other_go_to_left"][0] = True
        text = tree_text.export_text(
            jax.tree.map(lambda leaf: leaf[0], tree_examples.stack([tree]))
        )
        assert text.startswith("|--- feature_0 in {1, 3, 32, others}\n")
        assert "|--- feature_0 not in {1, 3, 32, others}\n" in text


class TestDot:
    def test_nodes_and_edges(self, iris):
        """A statement a line: each node has a box, each child one arrow."""
        model, data = iris
        text = tree_text.export_dot(one(model), class_names=['a "b"', "c\\", "d"])
        lines = text.splitlines()
        assert lines[0] == "digraph Tree {"
        assert lines[-1] == "}"
        quoted = r'"(?:[^"\\]|\\.)*"'
        box = re.compile(rf"(\d+) \[label=({quoted})\];")
        arrow = re.compile(rf"(\d+) -> (\d+)(?: \[headlabel={quoted}, \S+\])?;")
        boxes = {int(m[1]): m[2] for m in map(box.fullmatch, lines) if m}
        arrows = [(int(m[1]), int(m[2])) for m in map(arrow.fullmatch, lines) if m]
        m = model.tree_.node_count
        assert len(lines) == 3 + len(boxes) + len(arrows)
        assert sorted(boxes) == list(range(m))
        assert sorted(child for _, child in arrows) == list(range(1, m))
        splits = model.tree_.children_left >= 0
        expected = [*model.tree_.children_left[splits]]
        expected += [*model.tree_.children_right[splits]]
        assert sorted(child for _, child in arrows) == sorted(expected)
        assert boxes[0].startswith('"feature_')
        assert "samples = 150" in boxes[0]
        assert 'class = a \\"b\\"' in boxes[0]
        assert data.target_names is not None

    def test_depth(self, iris):
        model, _ = iris
        text = tree_text.export_dot(one(model), max_depth=1)
        assert text.count("(...)") == 2
        drawn = set(re.findall(r"^(\d+) \[", text, re.M))
        assert drawn == {*re.findall(r"-> (\d+)", text), "0"}


class TestErrors:
    def test_rejects_many_trees(self, iris):
        model, _ = iris
        many = tree_examples.from_sklearn([model, model])
        with pytest.raises(ValueError, match=r"one tree is written; got trees \(2,\)"):
            tree_text.export_text(many)

    def test_rejects_too_few_names(self, iris):
        model, _ = iris
        with pytest.raises(ValueError, match="class_names must be 3 names; got 2"):
            tree_text.export_dot(one(model), class_names=["a", "b"])
        with pytest.raises(ValueError, match="at least 4; got 1"):
            tree_text.export_text(one(model), feature_names=["a"])
