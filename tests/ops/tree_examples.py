"""Trees to test with: scikit-learn's, and random ones with every kind of node."""

import jax.numpy as jnp
import numpy as np

from jaxml.ops.trees import Trees


def stack(trees):
    """Trees of any sizes as one `Trees` [t, m]."""
    m = max(len(tree["children_left"]) for tree in trees)
    w = max(tree["categories"].shape[1] for tree in trees)

    def leaf(name, fill):
        arrays = []
        for tree in trees:
            array = np.asarray(tree[name])
            full = np.full((m, *array.shape[1:]), fill, array.dtype)
            full[: len(array)] = array
            if name == "categories" and full.shape[1] < w:
                full = np.pad(full, ((0, 0), (0, w - full.shape[1])))
            arrays.append(full)
        return jnp.asarray(np.stack(arrays))

    return Trees(
        children_left=leaf("children_left", -1),
        children_right=leaf("children_right", -1),
        feature=leaf("feature", -2),
        threshold=leaf("threshold", -2),
        missing_go_to_left=leaf("missing_go_to_left", False),
        categorical=leaf("categorical", False),
        categories=leaf("categories", 0),
        other_go_to_left=leaf("other_go_to_left", False),
        value=leaf("value", 0),
        impurity=leaf("impurity", 0),
        n_node_samples=leaf("n_node_samples", 0),
        weighted_n_node_samples=leaf("weighted_n_node_samples", 0),
        node_count=jnp.array([len(tree["children_left"]) for tree in trees], jnp.int32),
    )


def from_sklearn(estimators, dtype=np.float32):
    """Fitted scikit-learn trees as one `Trees` [t, m]; thresholds rounded down."""
    return stack([_from_sklearn(estimator.tree_, dtype) for estimator in estimators])


def _from_sklearn(tree, dtype):
    m = tree.node_count
    threshold = tree.threshold.astype(dtype)
    above = threshold.astype(np.float64) > tree.threshold
    threshold = np.where(above, np.nextafter(threshold, dtype(-np.inf)), threshold)
    return {
        "children_left": tree.children_left.astype(np.int32),
        "children_right": tree.children_right.astype(np.int32),
        "feature": tree.feature.astype(np.int32),
        "threshold": threshold,
        "missing_go_to_left": tree.missing_go_to_left.astype(bool),
        "categorical": np.zeros(m, bool),
        "categories": np.zeros((m, 0), np.uint32),
        "other_go_to_left": np.zeros(m, bool),
        "value": tree.value[:, 0].astype(dtype),
        "impurity": tree.impurity.astype(dtype),
        "n_node_samples": tree.n_node_samples.astype(np.int32),
        "weighted_n_node_samples": tree.weighted_n_node_samples.astype(dtype),
    }


def draw(rng, d, leaves, k=1, words=1, dtype=np.float32):
    """A random tree over `d` features, with categories (even features) where words > 0.

    Thresholds are from -2 to 2, the sums of the children are those of the parents.
    """
    nodes = []

    def grow(leaves):
        place = len(nodes)
        nodes.append(None)
        if leaves == 1:
            count = int(rng.integers(1, 9))
            value = rng.normal(size=k)
            nodes[place] = [-1, -1, -2, -2.0, False, False, False, count, value]
            return count, value
        feature = int(rng.integers(d))
        categorical = words > 0 and feature % 2 == 0
        split = int(rng.integers(1, leaves))
        left = len(nodes)
        few, low = grow(split)
        right = len(nodes)
        more, high = grow(leaves - split)
        count = few + more
        value = (few * low + more * high) / count
        threshold = -2.0 if categorical else rng.choice([-1.0, -0.5, 0.0, 0.5, 1.0])
        sides = rng.integers(2, size=2).astype(bool)
        nodes[place] = [left, right, feature, threshold, sides[0], categorical]
        nodes[place] += [sides[1] & categorical, count, value]
        return count, value

    grow(leaves)
    columns = list(zip(*nodes, strict=True))
    m = len(nodes)
    categorical = np.array(columns[5])
    sets = rng.integers(2**32, size=(m, words), dtype=np.uint32)
    return {
        "children_left": np.array(columns[0], np.int32),
        "children_right": np.array(columns[1], np.int32),
        "feature": np.array(columns[2], np.int32),
        "threshold": np.array(columns[3], dtype),
        "missing_go_to_left": np.array(columns[4]),
        "categorical": categorical,
        "categories": sets * categorical[:, None].astype(np.uint32),
        "other_go_to_left": np.array(columns[6]),
        "value": np.array(columns[8], dtype),
        "impurity": rng.uniform(size=m).astype(dtype),
        "n_node_samples": np.array(columns[7], np.int32),
        "weighted_n_node_samples": np.array(columns[7], dtype),
    }


def rows(rng, n, d, words=1, dtype=np.float32):
    """Rows with ties to the thresholds, categories beyond the sets, NaN, infinities."""
    x = rng.choice(np.arange(-6, 7) / 4, size=(n, d))
    if words:
        even = x[:, ::2].shape
        x[:, ::2] = rng.integers(-2, 32 * words + 8, size=even) + rng.choice(
            [0, 0, 0.5], size=even
        )
    x[rng.uniform(size=x.shape) < 0.15] = np.nan
    x[rng.uniform(size=x.shape) < 0.02] = np.inf
    x[rng.uniform(size=x.shape) < 0.02] = -np.inf
    return x.astype(dtype)


def child(tree, node, row):
    """The node below `node` that the row goes to."""
    value = float(row[tree["feature"][node]])
    words = tree["categories"][node]
    if np.isnan(value):
        left = tree["missing_go_to_left"][node]
    elif not tree["categorical"][node]:
        left = value <= tree["threshold"][node]
    elif not np.isfinite(value) or not 0 <= int(value) < 32 * len(words):
        left = tree["other_go_to_left"][node]
    else:
        left = int(words[int(value) // 32]) >> (int(value) % 32) & 1
    return int(tree["children_left" if left else "children_right"][node])


def walk(tree, row):
    """Nodes that one row passes in one tree, from the root to the leaf."""
    path = [0]
    while tree["children_left"][path[-1]] >= 0:
        path.append(child(tree, path[-1], row))
    return path
