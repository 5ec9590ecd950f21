"""scikit-learn's histogram boosters, for `from_sklearn`.

model = imported_hist.load(estimator, np.float32)

They compare doubles, and put the columns of categories before the others.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxml.models.classical import imported_nodes
from jaxml.models.classical.imported import Imported, Rules
from jaxml.models.classical.imported_nodes import Nodes

__all__ = ["load"]

LINKS = {
    "squared_error": "identity",
    "absolute_error": "identity",
    "quantile": "identity",
    "gamma": "exp",
    "poisson": "exp",
}


def load(estimator: Any, dtype: Any) -> Imported:
    """Read a fitted HistGradientBoostingClassifier or -Regressor.

    Args:
        estimator: the estimator.
        dtype: float32 or float64.

    Returns:
        The model.

    Raises:
        ValueError: if it is not fitted or its loss is not known.
    """
    if not hasattr(estimator, "_predictors"):
        raise ValueError(
            f"{type(estimator).__name__} is not fitted: it has no '_predictors'"
        )
    outputs = len(estimator._predictors[0])
    task, link = "classes", "sigmoid" if outputs == 1 else "softmax"
    if not hasattr(estimator, "classes_"):
        if estimator.loss not in LINKS:
            raise ValueError(f"loss {estimator.loss!r} is none of {', '.join(LINKS)}")
        task, link = "regression", LINKS[estimator.loss]
    origin, known = _columns(estimator)
    stages = [tree for stage in estimator._predictors for tree in stage]
    rounds = len(stages) // outputs
    trees, numbers, tables = imported_nodes.build(
        imported_nodes.join([_nodes(tree, origin, known) for tree in stages]),
        n_features=int(estimator.n_features_in_),
        dtype=dtype,
        shape=(rounds,) if outputs == 1 else (rounds, outputs),
        known=known,
    )
    start = np.asarray(estimator._baseline_prediction, float).reshape(-1)
    return Imported(
        trees=trees,
        start=jnp.asarray(np.broadcast_to(start, (outputs,)), dtype),
        scale=jnp.ones((), dtype),
        slope=jnp.ones((), dtype),
        weights=jnp.zeros(0, dtype),
        numbers=numbers,
        zeros=jnp.zeros(0, bool),
        columns=tables.columns,
        tables=tables.values,
        rules=Rules(
            int(estimator.n_features_in_),
            task,
            link,
            unknown_missing=True,
        ),
    )


def _columns(estimator):
    """Where each column of the trees lies in a row; the categories of those."""
    categorical = estimator.is_categorical_
    if categorical is None:
        return np.arange(estimator.n_features_in_), {}
    categorical = np.asarray(categorical, bool)
    first, rest = np.flatnonzero(categorical), np.flatnonzero(~categorical)
    encoder = estimator._preprocessor.named_transformers_["encoder"]
    known = {}
    for column, categories in zip(first, encoder.categories_, strict=True):
        categories = np.asarray(categories)
        if categories.dtype.kind not in "iufb":
            missing = [c is None or c != c for c in categories.tolist()]
            categories = np.arange(len(categories) - sum(missing))
        categories = categories.astype(float)
        known[int(column)] = categories[~np.isnan(categories)]
    return np.concatenate([first, rest]), known


def _nodes(tree, origin, known) -> Nodes:
    node = tree.nodes
    leaf = node["is_leaf"].astype(bool)
    feature = np.where(leaf, -2, origin[node["feature_idx"]])
    chosen: list[np.ndarray | None] = [None] * len(node)
    for i in np.flatnonzero(node["is_categorical"].astype(bool) & ~leaf):
        words = np.asarray(tree.raw_left_cat_bitsets[node["bitset_idx"][i]])
        bits = np.unpackbits(words.astype("<u4").view(np.uint8), bitorder="little")
        codes = np.flatnonzero(bits)
        own = known[int(feature[i])]
        chosen[i] = own[codes[codes < len(own)]]
    return Nodes(
        left=np.where(leaf, -1, node["left"].astype(np.int64)),
        right=np.where(leaf, -1, node["right"].astype(np.int64)),
        feature=feature,
        threshold=node["num_threshold"].astype(float),
        missing_left=node["missing_go_to_left"].astype(bool),
        value=node["value"].astype(float)[:, None],
        chosen=chosen,
        rows=node["count"].astype(np.int64),
        number=np.arange(len(node)),
    )
