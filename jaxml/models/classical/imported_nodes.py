"""Nodes as another library's file lists them -> `Trees` in our numbering.

    nodes = join([Nodes(left, right, feature, ...), ...])   # one for each tree
    trees, numbers, tables = build(nodes, n_features=d, dtype=np.float32, shape=(t,))

All of it is numpy on the host: a file is read once. What a file can have wrong is
refused with the tree and the node that are wrong.

Letters: t trees, N nodes of all of them, m nodes of the largest, k outputs.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxml.ops.trees import Trees

__all__ = ["Nodes", "Tables", "build", "default_dtype", "join"]

MOST = 2**31 - 1  # rows that a node can count
PLAIN = 4096  # categories that may be their own codes


class Nodes(NamedTuple):
    """Nodes of one tree, or of all trees in a row; numpy arrays."""

    left: np.ndarray  # [N] number in its tree; -1 at a leaf
    right: np.ndarray  # [N]
    feature: np.ndarray  # [N]
    threshold: np.ndarray  # [N] float64; x <= threshold goes left
    missing_left: np.ndarray  # [N] where a NaN goes
    value: np.ndarray  # [N, k] float64
    chosen: Sequence[np.ndarray | None]  # [N] categories that leave the others, or None
    chosen_left: bool = True  # the chosen go left and all others right, or contrary
    rows: np.ndarray | None = None  # [N] how many came
    weight: np.ndarray | None = None  # [N] what they count
    impurity: np.ndarray | None = None  # [N]
    number: np.ndarray | None = None  # [N] what the source calls the node
    sizes: np.ndarray | None = None  # [t] nodes of each tree; None: one tree


class Tables(NamedTuple):
    """The categories that have codes 0, 1, ... by their place, column by column."""

    columns: jax.Array  # [e] features that have categories
    values: jax.Array  # [e, c] ascending; +inf where a column has fewer


def join(trees: Sequence[Nodes]) -> Nodes:
    """Put the nodes of several trees into a row.

    Args:
        trees: one tree each, all from the same source.

    Returns:
        All nodes, with `sizes`.
    """
    columns: dict[str, Any] = {}
    for name in Nodes._fields:
        parts = [getattr(tree, name) for tree in trees]
        if name == "chosen":
            columns[name] = [chosen for part in parts for chosen in part]
        elif name == "chosen_left":
            columns[name] = parts[0]
        elif name == "sizes":
            columns[name] = np.array([len(tree.left) for tree in trees])
        elif parts[0] is not None:
            columns[name] = np.concatenate(parts)
    return Nodes(**columns)


def default_dtype(dtype: Any) -> np.dtype:
    """Resolve the floating type of a model: None is JAX's own.

    Raises:
        ValueError: if it is neither float32 nor, where JAX has it, float64.
    """
    wanted = np.dtype(jnp.result_type(float) if dtype is None else dtype)
    if wanted not in (np.float32, np.float64):
        raise ValueError(f"dtype must be float32 or float64; got {wanted}")
    if wanted != jax.dtypes.canonicalize_dtype(wanted):
        raise ValueError("dtype float64 needs jax.enable_x64(True)")
    return wanted


def build(
    nodes: Nodes,
    *,
    n_features: int,
    dtype: Any,
    shape: tuple[int, ...],
    known: Mapping[int, np.ndarray] | None = None,
    spare: bool = False,
) -> tuple[Trees, jax.Array, Tables]:
    """Check the nodes and number them depth first, left before right.

    Args:
        nodes: nodes of all trees, as `join` gives them.
        n_features: how many features rows have.
        dtype: of thresholds and values. A threshold that it can't hold becomes the
            next number below, so rows of this dtype go the same way as before.
        shape: the axes of trees, in the order in which the trees come.
        known: all categories of a feature, where those chosen somewhere are not all.
        spare: whether nodes that the root does not reach are allowed, and dropped.

    Returns:
        The trees; what the source calls their nodes, [*shape, m]; and the codes of the
        categories, in which the sets of the trees are written.

    Raises:
        ValueError: naming tree and node that are no tree.
    """
    sizes = nodes.sizes
    if sizes is None:
        raise ValueError("nodes must come from `join`, with the sizes of their trees")
    levels = _levels(nodes, sizes, spare)
    place, reached = _preorder(nodes, sizes, levels)
    order = np.concatenate(levels)  # nodes that stay
    tree = np.repeat(np.arange(len(sizes)), sizes)[order]
    split = nodes.left[order] >= 0
    _check_splits(nodes, sizes, order[split], n_features)
    tables, words = _sets(nodes, order[split], dtype, known or {})
    m = int(reached.max())

    def lay(values, fill, kind):
        out = np.full((len(sizes), m, *values.shape[1:]), fill, kind)
        with np.errstate(over="ignore"):
            out[tree, place[order]] = values
        return jnp.asarray(out.reshape(*shape, m, *values.shape[1:]))

    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)[order]

    def child(side):
        return lay(np.where(split, place[starts + np.maximum(side, 0)], -1), -1, "i4")

    def statistic(values, kind):
        filled = np.zeros(len(order)) if values is None else values[order]
        return lay(np.clip(filled, 0, MOST) if kind == "i4" else filled, 0, kind)

    chosen = np.array([c is not None for c in nodes.chosen], bool)[order] & split
    numeric = split & ~chosen
    threshold = np.where(numeric, _below(nodes.threshold[order], dtype), -2)
    sets = np.zeros((len(order), words.shape[1]), np.uint32)
    sets[split] = words
    with np.errstate(over="ignore"):  # refused by the check of values below
        value = nodes.value[order].astype(dtype)
    _check_values(value, split, tree)
    number = np.arange(len(nodes.left)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    built = Trees(
        children_left=child(nodes.left[order]),
        children_right=child(nodes.right[order]),
        feature=lay(np.where(split, nodes.feature[order], -2), -2, "i4"),
        threshold=lay(threshold, -2, dtype),
        missing_go_to_left=lay(nodes.missing_left[order] & split, False, bool),
        categorical=lay(chosen, False, bool),
        categories=lay(sets, 0, np.uint32),
        other_go_to_left=lay(chosen & (not nodes.chosen_left), False, bool),
        value=lay(value, 0, dtype),
        impurity=statistic(nodes.impurity, dtype),
        n_node_samples=statistic(nodes.rows, "i4"),
        weighted_n_node_samples=statistic(nodes.weight, dtype),
        node_count=jnp.asarray(reached.reshape(shape), jnp.int32),
    )
    source = number if nodes.number is None else nodes.number
    return built, lay(source[order], -1, "i4"), tables


def _levels(nodes, sizes, spare):
    """Global numbers of the nodes level by level; each is reached once or refused."""
    starts = np.cumsum(sizes) - sizes
    start, size = np.repeat(starts, sizes), np.repeat(sizes, sizes)
    inner = nodes.left != -1
    for side in (nodes.left, nodes.right):
        wrong = np.flatnonzero(inner & ((side < 0) | (side >= size)))
        if len(wrong):
            raise ValueError(
                f"{_name(wrong[0], sizes)}: child {side[wrong[0]]} is out of range: "
                f"the tree has {size[wrong[0]]} nodes"
            )
    seen = np.zeros(len(inner), bool)
    level, levels = starts, []
    while len(level):
        again = seen[level]
        again[np.setdiff1d(np.arange(len(level)), np.unique(level, True)[1])] = True
        if again.any():
            raise ValueError(
                f"{_name(level[again][0], sizes)} is the child of two nodes, or its "
                f"own ancestor"
            )
        seen[level] = True
        levels.append(level)
        parents = level[inner[level]]
        children = [nodes.left[parents], nodes.right[parents]]
        level = (start[parents][None] + np.stack(children)).ravel()
    if not spare and not seen.all():
        raise ValueError(f"{_name(np.argmin(seen), sizes)} is no child of any node")
    return levels


def _preorder(nodes, sizes, levels):
    """Place of each node in its tree's depth-first order; nodes of each tree."""
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
    left, right = starts + nodes.left, starts + nodes.right
    below = np.ones(len(left), np.int64)  # nodes of the subtree
    place = np.zeros(len(left), np.int64)
    for level in reversed(levels):
        parents = level[nodes.left[level] >= 0]
        below[parents] += below[left[parents]] + below[right[parents]]
    for level in levels:
        parents = level[nodes.left[level] >= 0]
        place[left[parents]] = place[parents] + 1
        place[right[parents]] = place[parents] + 1 + below[left[parents]]
    return place, below[levels[0]]


def _check_splits(nodes, sizes, split, n_features):
    """Refuse features that do not exist and thresholds that are no numbers."""
    feature = nodes.feature[split]
    wrong = split[(feature < 0) | (feature >= n_features)]
    if len(wrong):
        raise ValueError(
            f"{_name(wrong[0], sizes)}: feature {nodes.feature[wrong[0]]} is out of "
            f"range: there are {n_features} features"
        )
    wrong = split[np.isnan(nodes.threshold[split])]
    if len(wrong):
        raise ValueError(f"{_name(wrong[0], sizes)}: the threshold is NaN")


def _check_values(value, split, tree):
    wrong = np.flatnonzero(~split & ~np.isfinite(value).all(1))
    if len(wrong):
        raise ValueError(
            f"tree {tree[wrong[0]]}: the value of a leaf is not a finite "
            f"{value.dtype} number"
        )


def _sets(nodes, split, dtype, known):
    """Codes of the categories, and the sets of the nodes `split` as bits, [s, w]."""
    found = [(row, n) for row, n in enumerate(split) if nodes.chosen[n] is not None]
    values: dict[int, Any] = {}
    for _, node in found:
        feature = int(nodes.feature[node])
        values.setdefault(feature, [known.get(feature, ())]).append(nodes.chosen[node])
    tables = {f: np.unique(np.concatenate(v)) for f, v in sorted(values.items())}
    # A category that the dtype can't hold never comes in a row.
    with np.errstate(over="ignore"):
        tables = {f: v[v.astype(dtype) == v] for f, v in tables.items()}
    # A feature that has thresholds too keeps its values, which are then the codes.
    numeric = {int(nodes.feature[n]) for n in split if nodes.chosen[n] is None}
    plain = numeric & set(tables)
    for feature in plain:
        top = tables[feature].max(initial=0)
        if feature in known or top >= PLAIN:
            raise ValueError(
                f"feature {feature} is split by categories and by thresholds, which is "
                f"supported for categories below {PLAIN} only"
            )
        tables[feature] = np.arange(top + 1)
    width = max((len(v) or 1 for v in tables.values()), default=0)
    words = np.zeros((len(split), -(-width // 32)), np.uint32)
    for row, node in found:
        table = tables[int(nodes.feature[node])]
        bits = np.full(32 * words.shape[1], not nodes.chosen_left)
        bits[: len(table)] = np.isin(table, nodes.chosen[node]) == nodes.chosen_left
        words[row] = np.packbits(bits, bitorder="little").view("<u4")
    coded = [feature for feature in tables if feature not in plain]
    width = max((len(tables[f]) or 1 for f in coded), default=0)
    filled = np.full((len(coded), width), np.inf, dtype)
    for row, feature in enumerate(coded):
        filled[row, : len(tables[feature])] = tables[feature]
    return Tables(jnp.asarray(np.array(coded, np.int32)), jnp.asarray(filled)), words


def _below(threshold, dtype):
    """The largest number of `dtype` that is at most the threshold and not subnormal.

    XLA takes subnormal numbers as 0, and 0 is not below 0.
    """
    with np.errstate(over="ignore", under="ignore"):
        near = threshold.astype(dtype)
    near = np.where(
        near > threshold, np.nextafter(near, near.dtype.type(-np.inf)), near
    )
    tiny = np.finfo(dtype).tiny
    near = np.where((near > 0) & (near < tiny), 0, near)
    return np.where((near < 0) & (near > -tiny), -tiny, near).astype(dtype)


def _name(node, sizes):
    """Tree and node, for a message."""
    tree = int(np.searchsorted(np.cumsum(sizes), node, side="right"))
    return f"tree {tree}, node {int(node - (np.cumsum(sizes) - sizes)[tree])}"
