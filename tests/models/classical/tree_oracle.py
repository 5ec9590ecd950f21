"""Trees held against scikit-learn's, node by node."""

import numpy as np
from sklearn import tree as sktree

PEERS = {True: sktree.DecisionTreeClassifier, False: sktree.DecisionTreeRegressor}


def arrays(tree):
    """A tree in numpy, without the unused nodes."""
    size = int(tree.node_count)
    return {
        name: np.asarray(getattr(tree, name))[:size]
        for name in tree._fields
        if name != "node_count"
    }


def depth_first(theirs):
    """scikit-learn's nodes in depth-first order, whatever the order of growth."""
    order, stack = [], [0]
    while stack:
        node = stack.pop()
        order.append(node)
        if theirs.children_left[node] >= 0:
            stack += [theirs.children_right[node], theirs.children_left[node]]
    return np.array(order)


def assert_same_tree(tree, theirs):
    """The same splits, counts, impurities and values."""
    ours, order = arrays(tree), depth_first(theirs)
    assert len(ours["feature"]) == theirs.node_count
    place = np.argsort(order)
    inner = theirs.children_left[order] >= 0
    for name in ("feature", "n_node_samples"):
        np.testing.assert_array_equal(ours[name], getattr(theirs, name)[order])
    for name in ("threshold", "impurity", "weighted_n_node_samples"):
        expected = getattr(theirs, name)[order]
        np.testing.assert_allclose(ours[name], expected, rtol=1e-6, atol=1e-9)
    for name in ("children_left", "children_right"):
        child = getattr(theirs, name)[order]
        expected = np.where(inner, place[child], -1)
        np.testing.assert_array_equal(ours[name], expected)
    goes = theirs.missing_go_to_left[order].astype(bool)
    np.testing.assert_array_equal(ours["missing_go_to_left"][inner], goes[inner])
    value = theirs.value[order].reshape(len(order), -1)
    np.testing.assert_allclose(ours["value"], value, rtol=1e-6, atol=1e-9)


def audit(tree, x, y, weight=None, classes=False, leaf=1, **options):
    """Hold every split against scikit-learn's best split of the rows of that node.

    The gains must be equal to 1e-7. Returns in how many nodes another split than
    scikit-learn's, of equal gain, was taken, and how many splits there are.
    """
    ours = arrays(tree)
    weight = np.ones(len(x)) if weight is None else weight
    stack, ties, splits = [(0, np.flatnonzero(weight > 0))], 0, 0
    while stack:
        node, rows = stack.pop()
        assert ours["n_node_samples"][node] == len(rows)
        np.testing.assert_allclose(
            ours["weighted_n_node_samples"][node], weight[rows].sum(), rtol=1e-9
        )
        peer = PEERS[classes](max_depth=1, min_samples_leaf=leaf, **options)
        stump = peer.fit(x[rows], y[rows], sample_weight=weight[rows]).tree_
        impurity = ours["impurity"]
        np.testing.assert_allclose(
            impurity[node], stump.impurity[0], rtol=1e-9, atol=1e-11
        )
        left, right = ours["children_left"][node], ours["children_right"][node]
        if left < 0:
            continue
        splits += 1
        feature, threshold = ours["feature"][node], ours["threshold"][node]
        column = x[rows, feature]
        goes = np.where(
            np.isnan(column), ours["missing_go_to_left"][node], column <= threshold
        )
        parts = rows[goes], rows[~goes]
        share = [weight[part].sum() / weight[rows].sum() for part in parts]
        gain = impurity[node] - share[0] * impurity[left] - share[1] * impurity[right]
        below = stump.impurity[1:] * stump.weighted_n_node_samples[1:]
        best = stump.impurity[0] - below.sum() / stump.weighted_n_node_samples[0]
        np.testing.assert_allclose(gain, best, rtol=1.1e-7, atol=1e-11)
        same = stump.feature[0] == feature and np.isclose(
            stump.threshold[0], threshold, rtol=1e-6
        )
        ties += not same
        if same:
            assert stump.missing_go_to_left[0] == ours["missing_go_to_left"][node]
        stack += [(left, parts[0]), (right, parts[1])]
    return ties, splits
