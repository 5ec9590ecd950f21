"""Trees of an XGBoost model, from the text of its own JSON form."""

import json

import numpy as np

from tests.ops import tree_examples


def from_xgboost(booster):
    """Trees [t, m] with values [t, m, 1] (without the base score)."""
    model = json.loads(booster.save_raw("json").decode())
    model = model["learner"]["gradient_booster"]["model"]
    return tree_examples.stack([_tree(tree) for tree in model["trees"]])


def _tree(tree):
    order = []  # of XGBoost's nodes, depth first

    def visit(node):
        order.append(node)
        if tree["left_children"][node] >= 0:
            visit(tree["left_children"][node])
            visit(tree["right_children"][node])

    visit(0)
    place = {node: i for i, node in enumerate(order)} | {-1: -1}

    def taken(name, dtype):
        return np.array(tree[name], dtype)[order]

    left = np.array([place[tree["left_children"][node]] for node in order], np.int32)
    right = np.array([place[tree["right_children"][node]] for node in order], np.int32)
    leaf, condition = left < 0, taken("split_conditions", np.float32)
    below = np.nextafter(condition, np.float32(-np.inf))  # x < condition goes left
    cover = taken("sum_hessian", np.float32)
    m = len(order)
    return {
        "children_left": left,
        "children_right": right,
        "feature": np.where(leaf, -2, taken("split_indices", np.int32)),
        "threshold": np.where(leaf, np.float32(-2), below),
        "missing_go_to_left": taken("default_left", bool) & ~leaf,
        "categorical": np.zeros(m, bool),
        "categories": np.zeros((m, 0), np.uint32),
        "other_go_to_left": np.zeros(m, bool),
        "value": np.where(leaf, condition, 0)[:, None],
        "impurity": np.zeros(m, np.float32),
        "n_node_samples": np.ones(m, np.int32),
        "weighted_n_node_samples": cover,
    }
