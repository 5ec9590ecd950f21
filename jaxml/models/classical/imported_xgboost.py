"""A tree of XGBoost's document, for `from_xgboost`.

nodes = imported_xgboost.nodes(0, document["learner"]...["trees"][0], 4, 1)

References:
    The schema of the models of XGBoost.
        https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html
"""

from typing import Any

import numpy as np

from jaxml.models.classical.imported_nodes import Nodes
from jaxml.models.classical.imported_numbers import member, numbers, whole

__all__ = ["nodes"]

LEAF = -1


def nodes(i: int, tree: Any, n_features: int, outputs: int) -> Nodes:
    """Read a tree.

    Args:
        i: number of the tree, for messages; its `id` must be the same.
        tree: its object in the document.
        n_features: how many features the booster has.
        outputs: how many numbers a leaf has, where it has several.

    Returns:
        Its nodes, in the order of the document; deleted ones too.

    Raises:
        ValueError: if the object is no tree, saying what is wrong with it.
    """
    where = f"tree {i}"
    param = member(tree, "tree_param", dict, where)
    count = whole(param, "num_nodes", where)
    wide = max(whole(param, "size_leaf_vector", where, 1), 1)
    if count < 1 or wide not in (1, outputs):
        raise ValueError(f"{where}: {count} nodes with leaves of {wide} numbers")
    if whole(param, "num_feature", where, n_features) != n_features:
        raise ValueError(f"{where}: num_feature is not that of the booster")
    if whole(tree, "id", where, i) != i:
        raise ValueError(f"{where}: its id is {tree['id']}")

    def read(key, kind, default=None):
        if default is not None and key not in tree:
            return np.full(count, default)
        return numbers(tree.get(key), kind, count, f"{where}: {key}")

    left, right = read("left_children", int), read("right_children", int)
    leaf = left == LEAF
    split = read("split_conditions", float)
    value = split[:, None]
    if wide > 1:  # a leaf's right child is its row of the values
        if "leaf_weights" not in tree:
            raise ValueError(f"{where}: leaves of {wide} numbers need leaf_weights")
        rows = int(leaf.sum())
        name = f"{where}: leaf_weights"
        weights = numbers(tree["leaf_weights"], float, rows * wide, name)
        if (right[leaf] < 0).any() or (right[leaf] >= rows).any():
            raise ValueError(f"{where}: a leaf names no row of leaf_weights")
        value = np.zeros((count, wide))
        value[leaf] = weights.reshape(rows, wide)[right[leaf]]
    # What goes left is below the condition: at most the float32 before it.
    with np.errstate(over="ignore"):
        before = np.nextafter(split.astype(np.float32), np.float32(-np.inf))
    weight = read("sum_hessian", float, 0.0)
    return Nodes(
        left=left,
        right=np.where(leaf, -1, right),
        feature=read("split_indices", int),
        threshold=before.astype(float),
        missing_left=read("default_left", int) > 0,
        value=value,
        chosen=_chosen(tree, read("split_type", int, 0), leaf, where),
        chosen_left=False,
        weight=weight / wide,
        number=np.arange(count),
    )


def _chosen(tree, split_type, leaf, where):
    """The categories that go right at each node; None at a numeric one."""
    chosen: list[np.ndarray | None] = [None] * len(leaf)
    if ((split_type < 0) | (split_type > 1)).any():
        raise ValueError(f"{where}: split_type must be 0 or 1")
    read = {
        key: numbers(tree.get(key, []), int, None, f"{where}: {key}")
        for key in ("categories", "categories_nodes")
    }
    nodes, categories = read["categories_nodes"], read["categories"]
    segments, sizes = (
        numbers(tree.get(key, []), int, len(nodes), f"{where}: {key}")
        for key in ("categories_segments", "categories_sizes")
    )
    for node, start, size in zip(nodes, segments, sizes, strict=True):
        if not 0 <= node < len(leaf) or chosen[node] is not None:
            raise ValueError(f"{where}: categories_nodes names node {node}")
        if start < 0 or size < 0 or start + size > len(categories):
            raise ValueError(f"{where}, node {node}: its categories are out of range")
        own = categories[start : start + size]
        if (own < 0).any():
            raise ValueError(f"{where}, node {node}: a category is negative")
        chosen[node] = own.astype(float)
    named = np.array([c is not None for c in chosen])
    if (named != ((split_type == 1) & ~leaf)).any():
        raise ValueError(
            f"{where}: split_type and categories_nodes name different nodes"
        )
    return chosen
