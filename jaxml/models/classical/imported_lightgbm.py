"""The text of LightGBM's models, for `from_lightgbm`.

header, blocks = imported_lightgbm.sections("model.txt")
first = imported_lightgbm.tree(0, blocks[0])
"""

import os
from typing import Any, NamedTuple

import numpy as np

from jaxml.models.classical.imported_nodes import Nodes
from jaxml.models.classical.imported_numbers import numbers, whole

__all__ = ["NAN", "NONE", "ZERO", "Tree", "sections", "tree"]

CATEGORICAL, DEFAULT_LEFT = 1, 2  # bits of decision_type; the next two: missing type
NONE, ZERO, NAN = 0, 1, 2  # missing types


class Tree(NamedTuple):
    """A tree, and what its nodes take as missing."""

    nodes: Nodes
    missing: np.ndarray  # missing type of each node; -1 at leaves and for categories


def _text(source: Any) -> str:
    """The text of whatever holds it."""
    source = getattr(source, "booster_", source)
    if hasattr(source, "model_to_string"):
        source = source.model_to_string()
    if isinstance(source, os.PathLike) or (
        isinstance(source, str) and "\n" not in source and source.strip() != "tree"
    ):
        with open(source, "rb") as file:
            source = file.read()
    if isinstance(source, bytes):
        try:
            source = source.decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"not a text of LightGBM: {error}") from None
    if not isinstance(source, str):
        raise ValueError(f"source must be text, bytes or a path; got {type(source)}")
    return source.replace("\r\n", "\n")


def sections(source: Any) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Take a model's text apart.

    Args:
        source: the text, its bytes, the path of its file, or a fitted booster.

    Returns:
        The header, and the block of each tree, as keys and values.

    Raises:
        ValueError: if it is no such text, is truncated or was changed.
    """
    text = _text(source)
    if not text.startswith("tree\n"):
        raise ValueError(
            f"not a model of LightGBM: its text begins with the line 'tree', this with "
            f"{text[:20]!r}"
        )
    body, end, _ = text.partition("\nend of trees")
    if not end:
        raise ValueError("the text is truncated: there is no line 'end of trees'")
    head, *blocks = body.split("\nTree=")
    header = _pairs(head[5:], "the header")
    if header.get("version") not in ("v2", "v3", "v4"):
        raise ValueError(
            f"version must be v2, v3 or v4; got {header.get('version', 'none')}"
        )
    trees = []
    for i, block in enumerate(blocks):
        name, _, rest = block.partition("\n")
        if name.strip() != str(i):
            raise ValueError(f"tree {i}: its block is named Tree={name[:20]!r}")
        trees.append(_pairs(rest, f"tree {i}"))
    if "tree_sizes" in header:
        sizes = numbers(
            header["tree_sizes"].split(), int, len(trees), "the header: tree_sizes"
        )
        # What follows "Tree=" up to the next one; the partition took one line's end.
        found = [len(f"Tree={block}\n".encode()) for block in blocks]
        for i, (size, length) in enumerate(zip(sizes, found, strict=True)):
            if size != length:
                raise ValueError(
                    f"tree {i} has {length} bytes; tree_sizes says {size}: the text "
                    f"was changed"
                )
    return header, trees


def _pairs(text: str, where: str) -> dict[str, str]:
    """Lines key=value."""
    pairs: dict[str, str] = {}
    for line in text.split("\n"):
        if line.strip():
            key, _, value = line.partition("=")
            if key in pairs:
                raise ValueError(f"{where}: the key {key!r} comes twice")
            pairs[key] = value
    return pairs


def tree(i: int, block: dict[str, str]) -> Tree:
    """Read a tree.

    Args:
        i: its number, for messages.
        block: its keys and values.

    Returns:
        The nodes, the inner ones before the leaves.

    Raises:
        ValueError: if the block is no tree, saying what is wrong with it.
    """
    where = f"tree {i}"
    leaves = whole(block, "num_leaves", where)
    if leaves < 1:
        raise ValueError(f"{where}: num_leaves must be at least 1; got {leaves}")
    if whole(block, "is_linear", where, "0"):
        raise ValueError(f"{where}: linear trees (is_linear=1) are not supported")

    def read(key, kind, count=leaves - 1, required=True):
        if not (required or block.get(key, "").strip()):
            return np.zeros(count, kind)
        return _line(block, key, kind, count, where)

    value = read("leaf_value", float, leaves)
    split = {key: read(key, int) for key in ("split_feature", "decision_type")}
    child = [read(key, int) for key in ("left_child", "right_child")]
    for side in child:
        if ((side < -leaves) | (side >= leaves - 1)).any():
            raise ValueError(f"{where}: a child is out of range for {leaves} leaves")
    left, right = (
        np.concatenate([np.where(c < 0, leaves - 2 - c, c), np.full(leaves, -1)])
        for c in child
    )
    threshold = read("threshold", float)
    kind = split["decision_type"]
    if ((kind < 0) | (kind > 15)).any() or (kind >> 2 > NAN).any():
        raise ValueError(f"{where}: a decision_type is out of range")
    chosen = _chosen(block, kind, threshold, where)
    missing, default = kind >> 2, kind & DEFAULT_LEFT > 0
    # Where NaN is no missing value of its feature, it is compared as 0.
    goes_left = np.where(missing == NONE, 0 <= threshold, default)
    category = kind & CATEGORICAL > 0
    goes_left &= ~category  # a missing category goes right

    def both(inner, leaf, fill=0):
        return np.concatenate([inner, np.full(leaves, fill) if leaf is None else leaf])

    inner_value = read("internal_value", float, required=False)
    nodes = Nodes(
        left=left,
        right=right,
        feature=both(split["split_feature"], None, -2),
        threshold=both(np.where(category, 0.0, threshold), None, -2.0),
        missing_left=both(goes_left, None).astype(bool),
        value=both(inner_value, value)[:, None],
        chosen=[*chosen, *[None] * leaves],
        rows=both(
            read("internal_count", int, required=False),
            read("leaf_count", int, leaves, required=False),
        ),
        weight=both(
            read("internal_weight", float, required=False),
            read("leaf_weight", float, leaves, required=False),
        ),
        number=both(np.arange(leaves - 1), np.arange(leaves)),
    )
    return Tree(nodes, both(np.where(category, -1, missing), None, -1))


def _chosen(block, kind, threshold, where):
    """The categories that go left at each inner node; None at a numeric one."""
    category = kind & CATEGORICAL > 0
    chosen: list[np.ndarray | None] = [None] * len(kind)
    sets = whole(block, "num_cat", where, "0")
    if sets == 0 and not category.any():
        return chosen
    bounds = _line(block, "cat_boundaries", int, sets + 1, where)
    words = _line(block, "cat_threshold", int, int(bounds[-1]), where)
    if bounds[0] != 0 or (np.diff(bounds) < 0).any():
        raise ValueError(f"{where}: cat_boundaries must begin with 0 and ascend")
    if ((words < 0) | (words >= 2**32)).any():
        raise ValueError(f"{where}: cat_threshold must hold words of 32 bits")
    for node in np.flatnonzero(category):
        index = threshold[node]
        if not (0 <= index < sets and index == int(index)):
            raise ValueError(
                f"{where}, node {node}: threshold {index} names none of the {sets} "
                f"sets of categories"
            )
        own = words[bounds[int(index)] : bounds[int(index) + 1]]
        bits = np.unpackbits(own.astype("<u4").view(np.uint8), bitorder="little")
        chosen[node] = np.flatnonzero(bits).astype(float)
    return chosen


def _line(block, key, kind, count, where) -> np.ndarray:
    """The numbers of a line."""
    if key not in block:
        raise ValueError(f"{where}: the key {key!r} is missing")
    return numbers(block[key].split(), kind, count, f"{where}: {key}")
