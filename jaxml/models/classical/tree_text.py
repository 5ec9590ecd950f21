"""A decision tree as text to read, and as a graph to draw.

print(tree_text.export_text(model.tree, feature_names=names))
Path("tree.dot").write_text(tree_text.export_dot(model.tree))     # dot -Tsvg tree.dot

Works on one tree whose arrays are at hand (not under `jit`); of many, take one:
`jax.tree.map(lambda leaf: leaf[0], trees)`.

Letters: d features, m nodes, k outputs.
"""

from collections.abc import Sequence

import jax
import numpy as np

from jaxml.models.classical import tree_paths
from jaxml.ops import check, trees_order
from jaxml.ops.trees import Trees

__all__ = ["export_dot", "export_text"]


def export_text(
    trees: Trees,
    *,
    feature_names: Sequence[str] | np.ndarray | None = None,
    class_names: Sequence[object] | np.ndarray | None = None,
    max_depth: int = 10,
    spacing: int = 3,
    decimals: int = 2,
    show_weights: bool = False,
) -> str:
    """Write the rules of a tree, in scikit-learn's layout.

    Args:
        trees: one tree.
        feature_names: names of the d features. Default: feature_0, feature_1, ...
        class_names: names of the k classes, where the values are shares of classes:
            `range(k)` for their numbers. Default: the values themselves are written.
        max_depth: splits to write on top of each other; deeper ones are counted.
        spacing: width of a step to the right.
        decimals: digits after the point.
        show_weights: write the weight of each class in a leaf too.

    Raises:
        ValueError: if there are several trees, or too few names.

    >>> import jax.numpy as jnp
    >>> from jaxml.models.classical import tree_regressor
    >>> x, y = jnp.array([[0.0], [1.0], [2.0]]), jnp.array([5.0, 5.0, 8.0])
    >>> print(export_text(tree_regressor.fit(x, y).tree, feature_names=["age"]), end="")
    |--- age <= 1.50
    |   |--- value: [5.00]
    |--- age >  1.50
    |   |--- value: [8.00]
    """
    tree = _host(trees, feature_names, class_names)
    check.size("spacing", spacing, 1)
    check.size("decimals", decimals, 0)
    check.size("max_depth", max_depth, 0)
    depth = np.asarray(tree_paths.node_depth(trees))
    last = np.asarray(trees_order.last_below(trees.children_right))
    lines = []
    todo: list[tuple[int, str | None]] = [(0, None)]
    while todo:
        node, rule = todo.pop()
        level = int(depth[node]) + (rule is None)
        indent = ("|" + " " * spacing) * level
        indent = indent[: len(indent) - spacing] + "-" * spacing
        left = tree.children_left[node]
        if rule is not None:
            lines.append(f"{indent} {rule}")
        elif left < 0:
            lines.append(
                f"{indent} {_leaf(tree, node, class_names, decimals, show_weights)}"
            )
        elif level > max_depth + 1:
            rest = depth[node : last[node] + 1].max() - depth[node] + 1
            lines.append(f"{indent} truncated branch of depth {rest}")
        else:
            right = tree.children_right[node]
            lower, upper = _rules(tree, node, feature_names, decimals)
            todo += [(right, None), (right, upper), (left, None), (left, lower)]
    return "\n".join(lines) + "\n"


def export_dot(
    trees: Trees,
    *,
    feature_names: Sequence[str] | np.ndarray | None = None,
    class_names: Sequence[object] | np.ndarray | None = None,
    max_depth: int | None = None,
    decimals: int = 3,
) -> str:
    """Write a tree in the language of Graphviz.

    Args:
        trees: one tree.
        feature_names: names of the d features. Default: feature_0, feature_1, ...
        class_names: names of the k classes, where the values are shares of classes.
        max_depth: splits to draw on top of each other. Default: all.
        decimals: digits after the point.

    Returns:
        A digraph with a box for each node: its rule, impurity, rows and values. The
        arrow to the left is what obeys the rule.

    Raises:
        ValueError: if there are several trees, or too few names.
    """
    tree = _host(trees, feature_names, class_names)
    check.size("decimals", decimals, 0)
    depth = np.asarray(tree_paths.node_depth(trees))
    lines = ["digraph Tree {", 'node [shape=box, fontname="helvetica"];']
    for node in range(int(tree.node_count)):
        if max_depth is not None and depth[node] > max_depth + 1:
            continue
        if max_depth is not None and depth[node] > max_depth:
            lines.append(f'{node} [label="(...)"];')
            continue
        label = _label(tree, node, feature_names, class_names, decimals)
        lines.append(f'{node} [label="{label}"];')
        if tree.children_left[node] >= 0:
            names = ("True", "False") if node == 0 else ("", "")
            sides = (tree.children_left[node], tree.children_right[node])
            for child, name in zip(sides, names, strict=True):
                about = f' [headlabel="{name}", labeldistance=2.5]' if name else ""
                lines.append(f"{node} -> {child}{about};")
    return "\n".join([*lines, "}"]) + "\n"


def _host(trees, feature_names, class_names):
    """The arrays of one tree in numpy."""
    if trees.children_left.ndim != 1:
        raise ValueError(
            f"the text of one tree is written; got trees {trees.node_count.shape}: "
            f"take one by jax.tree.map(lambda leaf: leaf[0], trees)"
        )
    tree = jax.tree.map(np.asarray, trees)
    k = tree.value.shape[-1]
    if class_names is not None and len(class_names) != k:
        raise ValueError(f"class_names must be {k} names; got {len(class_names)}")
    least = int(tree.feature.max()) + 1
    if feature_names is not None and len(feature_names) < least:
        raise ValueError(
            f"feature_names must name each feature of the tree, at least {least}; "
            f"got {len(feature_names)}"
        )
    return tree


def _rules(tree, node, feature_names, decimals):
    """What goes left, and what right."""
    feature = tree.feature[node]
    name = f"feature_{feature}" if feature_names is None else feature_names[feature]
    if not tree.categorical[node]:
        threshold = f"{tree.threshold[node]:.{decimals}f}"
        return f"{name} <= {threshold}", f"{name} >  {threshold}"
    bits = [
        str(32 * place + bit)
        for place, word in enumerate(tree.categories[node])
        for bit in range(32)
        if int(word) >> bit & 1
    ]
    others = ["others"] if tree.other_go_to_left[node] else []
    members = "{" + ", ".join([*bits, *others]) + "}"
    return f"{name} in {members}", f"{name} not in {members}"


def _leaf(tree, node, class_names, decimals, show_weights):
    value = tree.value[node]
    if class_names is None:
        return "value: " + _numbers(value, decimals)
    name = f"class: {class_names[int(value.argmax())]}"
    if not show_weights:
        return name
    weights = value * tree.weighted_n_node_samples[node]
    return f"weights: {_numbers(weights, decimals)} {name}"


def _numbers(values, decimals):
    return "[" + ", ".join(f"{value:.{decimals}f}" for value in values) + "]"


def _label(tree, node, feature_names, class_names, decimals):
    """The text in a box, escaped."""
    parts = []
    if tree.children_left[node] >= 0:
        parts.append(_rules(tree, node, feature_names, decimals)[0])
    parts.append(f"impurity = {tree.impurity[node]:.{decimals}f}")
    parts.append(f"samples = {tree.n_node_samples[node]}")
    parts.append(f"value = {_numbers(tree.value[node], decimals)}")
    if class_names is not None:
        parts.append(f"class = {class_names[int(tree.value[node].argmax())]}")
    escaped = [part.replace("\\", "\\\\").replace('"', '\\"') for part in parts]
    return "\\n".join(escaped)
