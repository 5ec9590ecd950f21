"""A tree as a block of LightGBM's text, for `to_lightgbm`.

lines = to_lightgbm_tree.block({"children_left": ..., ...}, space)
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Space", "block"]

LARGEST = np.finfo(np.float64).max  # LightGBM reads no infinite threshold
CATEGORICAL, LEFT, ZERO, NAN = 1, 2, 4, 8  # bits of decision_type
COPIES = 16  # times the nodes of the tree that the block may have


class Space(NamedTuple):
    """How rows are written."""

    zeros: np.ndarray  # [d] features of which 0 is missing; [0]: none
    tables: Mapping[int, np.ndarray]  # the category of each code; none: they are equal
    unknown_missing: bool  # an unknown category goes the way of a missing one


class _Lines:
    """The lists of a block while it grows."""

    def __init__(self) -> None:
        self.inner: list[int] = []  # node of each inner node
        self.leaves: list[int] = []  # node of each leaf
        self.feature: list[int] = []
        self.threshold: list[float] = []
        self.kind: list[int] = []
        self.children: tuple[list[int], list[int]] = ([], [])
        self.sets: list[np.ndarray] = []

    def split(self, node: int, feature: int, threshold: float, kind: int) -> int:
        """Add an inner node; its children come later."""
        self.inner.append(node)
        self.feature.append(feature)
        self.threshold.append(threshold)
        self.kind.append(kind)
        for side in self.children:
            side.append(0)
        return len(self.inner) - 1


def block(tree: dict[str, np.ndarray], space: Space) -> str:
    """Write a tree.

    Args:
        tree: the fields of `Trees` [m], with one `value` for each node.
        space: how rows are written.

    Returns:
        Its lines from num_leaves to shrinkage.

    Raises:
        ValueError: if it would be too large: nodes of categories where a missing
            category and an unknown one part are written twice, with all below them.
    """
    lines = _Lines()
    limit = COPIES * len(tree["feature"]) + 64
    # What is still to be written: a node, and whose child it is on which side.
    waiting = [(0, -1, 0)]
    while waiting:
        node, parent, side = waiting.pop()
        node = int(node)
        if len(lines.inner) > limit:
            raise ValueError(
                "too many nodes send missing and unknown categories different ways, "
                "for which LightGBM has no form"
            )
        place = -1 - len(lines.leaves)
        if tree["children_left"][node] < 0:
            lines.leaves.append(node)
        else:
            place = len(lines.inner)
            waiting += _split(tree, node, space, lines)
        if parent >= 0:
            lines.children[side][parent] = place
    return _text(lines, tree)


def _split(tree, node, space, lines):
    """Write an inner node; what is to be written below it, the last one first."""
    feature = int(tree["feature"][node])
    left, right = tree["children_left"][node], tree["children_right"][node]
    missing_left = bool(tree["missing_go_to_left"][node])
    if not tree["categorical"][node]:
        zeros = len(space.zeros) and space.zeros[feature]
        kind = (ZERO if zeros else NAN) + LEFT * missing_left
        threshold = np.clip(float(tree["threshold"][node]), -LARGEST, LARGEST)
        own = lines.split(node, feature, float(threshold), kind)
        return [(right, own, 1), (left, own, 0)]
    unknown_left = bool(tree["other_go_to_left"][node])
    if space.unknown_missing:
        unknown_left = missing_left
    waiting = []
    if missing_left != unknown_left:
        # A number of the same feature comes first: all are below, NaN goes right.
        first = lines.split(node, feature, LARGEST, NAN)
        lines.children[0][first] = first + 1
        waiting.append((left if missing_left else right, first, 1))
    chosen = _chosen(tree, node, feature, space)
    if unknown_left:  # LightGBM sends right what is not chosen
        left, right, chosen = right, left, ~chosen
    codes = np.flatnonzero(chosen)
    if feature in space.tables:
        codes = space.tables[feature][codes]
    own = lines.split(node, feature, float(len(lines.sets)), CATEGORICAL)
    lines.sets.append(codes)
    return [*waiting, (right, own, 1), (left, own, 0)]


def _chosen(tree, node, feature, space):
    """Whether each code goes left."""
    words = np.asarray(tree["categories"][node], "<u4")
    bits = np.unpackbits(words.view(np.uint8), bitorder="little").astype(bool)
    if feature in space.tables:
        bits = bits[: len(space.tables[feature])]
    return bits


def _text(lines, tree):
    inner, leaves = np.array(lines.inner, int), np.array(lines.leaves, int)
    weight, count = tree["weighted_n_node_samples"], tree["n_node_samples"]
    rows: dict[str, Any] = {
        "num_leaves": [len(leaves)],
        "num_cat": [len(lines.sets)],
        "split_feature": lines.feature,
        "split_gain": _gain(tree, inner),
        "threshold": lines.threshold,
        "decision_type": lines.kind,
        "left_child": lines.children[0],
        "right_child": lines.children[1],
        "leaf_value": tree["value"][leaves],
        "leaf_weight": weight[leaves],
        "leaf_count": count[leaves],
        "internal_value": tree["value"][inner],
        "internal_weight": weight[inner],
        "internal_count": count[inner],
    }
    if lines.sets:
        words = [_words(chosen) for chosen in lines.sets]
        rows["cat_boundaries"] = np.cumsum([0, *(len(word) for word in words)])
        rows["cat_threshold"] = np.concatenate(words)
    rows |= {"is_linear": [0], "shrinkage": [1]}
    return "\n".join(
        f"{key}={' '.join(_number(value) for value in values)}"
        for key, values in rows.items()
    )


def _gain(tree, inner):
    """What the splits take off the weighted impurity."""
    loss = (tree["weighted_n_node_samples"] * tree["impurity"]).astype(float)
    below = loss[tree["children_left"][inner]] + loss[tree["children_right"][inner]]
    return np.maximum(loss[inner] - below, 0)


def _words(chosen):
    bits = np.zeros((int(chosen.max(initial=0)) // 32 + 1) * 32, bool)
    bits[chosen] = True
    return np.packbits(bits, bitorder="little").view("<u4")


def _number(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return repr(float(value))
    return str(int(value))
