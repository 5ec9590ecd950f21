"""Fitted trees, forests and boosters of scikit-learn.

model = from_sklearn.load(RandomForestClassifier().fit(x, labels))
shares = imported.predict_proba(model, x)  # and its neighbours; see `imported`

An estimator is known by its class's name and its fitted fields; scikit-learn is not
imported. Labels are positions in the estimator's `classes_`. DecisionTree*, ExtraTree*,
RandomForest*, ExtraTrees*, GradientBoosting*, HistGradientBoosting*, AdaBoost* of
trees and IsolationForest are read.

All but HistGradientBoosting* round rows to float32. Its columns of categories must
hold what it was fitted on, or, where that was text, the positions in its categories.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxml.models.classical import imported_hist, imported_nodes
from jaxml.models.classical.imported import Imported, Rules
from jaxml.models.classical.imported_nodes import Nodes

__all__ = ["load"]

TREES = (
    "DecisionTreeClassifier",
    "DecisionTreeRegressor",
    "ExtraTreeClassifier",
    "ExtraTreeRegressor",
)
FORESTS = (
    "RandomForestClassifier",
    "RandomForestRegressor",
    "ExtraTreesClassifier",
    "ExtraTreesRegressor",
)


def load(estimator: Any, *, dtype: Any = None) -> Imported:
    """Read a fitted estimator.

    Args:
        estimator: any of those named above, fitted.
        dtype: float32 or float64. Default: JAX's own.

    Returns:
        The model, for `imported.predict` and its neighbours:

        >>> from sklearn.tree import DecisionTreeRegressor
        >>> from jaxml.models.classical import imported
        >>> x, y = [[1.0], [2.0], [5.0]], [0.0, 0.0, 9.0]
        >>> model = load(DecisionTreeRegressor().fit(x, y))
        >>> imported.predict(model, jnp.array([[1.5], [4.0]])).tolist()
        [0.0, 9.0]

    Raises:
        ValueError: if the estimator is not fitted, or is or holds what is not supported
            (several outputs of classes, an `init` estimator, other estimators than
            trees); it says what.
    """
    kind = imported_nodes.default_dtype(dtype)
    name = type(estimator).__name__
    if name in TREES:
        return _forest(estimator, [estimator], kind)
    if name in FORESTS:
        return _forest(estimator, _fitted(estimator, "estimators_"), kind)
    for family, read in (
        ("HistGradientBoosting", imported_hist.load),
        ("GradientBoosting", _boosting),
        ("AdaBoostClassifier", _votes),
        ("AdaBoostRegressor", _medians),
        ("IsolationForest", _isolation),
    ):
        if name.startswith(family):
            return read(estimator, kind)
    raise ValueError(
        f"{name} is none of the supported: {', '.join(TREES + FORESTS)}, "
        f"GradientBoosting*, HistGradientBoosting*, AdaBoost*, IsolationForest"
    )


def _forest(estimator, members, kind) -> Imported:
    """The mean of the trees: shares of the classes, or targets."""
    trees = [_nodes(member) for member in members]
    classes = _classes(estimator)
    if classes is not None and classes < 2:
        raise ValueError(f"{type(estimator).__name__} knows one class only")
    return _model(
        trees,
        estimator,
        kind,
        scale=1 / len(trees),
        task="regression" if classes is None else "classes",
    )


def _boosting(estimator, kind) -> Imported:
    """The start plus the trees of all stages, times the learning rate."""
    stages = np.asarray(_fitted(estimator, "estimators_"), object)
    trees = [_nodes(member) for member in stages.ravel()]
    rate = float(estimator.learning_rate)
    trees = [tree._replace(value=rate * tree.value) for tree in trees]
    classes = _classes(estimator)
    outputs = stages.shape[1]
    link, slope = "identity", 1.0
    if classes is not None:
        link = "sigmoid" if outputs == 1 else "softmax"
        slope = 2.0 if estimator.loss == "exponential" else 1.0
    return _model(
        trees,
        estimator,
        kind,
        shape=stages.shape if outputs > 1 else stages.shape[:1],
        start=_start(estimator, classes, outputs),
        task="regression" if classes is None else "classes",
        link=link,
        slope=slope,
    )


def _start(estimator, classes, outputs) -> np.ndarray:
    """The scores before the first stage."""
    init = _fitted(estimator, "init_")
    if isinstance(init, str) and init == "zero":
        return np.zeros(outputs)
    name = type(init).__name__
    if classes is None and name == "DummyRegressor":
        return np.asarray(init.constant_, float).reshape(outputs)
    if classes is not None and name == "DummyClassifier" and init.strategy == "prior":
        share = np.asarray(init.class_prior_, float)
        eps = np.finfo(float).eps
        share = np.clip(share, eps, 1 - eps)
        if outputs > 1:
            return np.log(share) - np.log(share).mean()
        odds = np.log(share[1]) - np.log1p(-share[1])
        return np.array([odds / 2 if estimator.loss == "exponential" else odds])
    raise ValueError(
        f"init must be None or 'zero': the estimator {name} as init is not supported"
    )


def _votes(estimator, kind) -> Imported:
    """AdaBoost.SAMME: each tree votes for a class, and against the others."""
    members, weights = _members(estimator)
    classes = _classes(estimator)
    if classes is None or classes < 2:
        raise ValueError("AdaBoostClassifier must know at least two classes")
    labels = np.asarray(estimator.classes_)
    trees = []
    for member, weight in zip(members, weights / weights.sum(), strict=True):
        tree = _nodes(member)
        own = np.asarray(member.classes_)[tree.value.argmax(1)]
        vote = np.where(own[:, None] == labels[None], 1.0, -1 / (classes - 1))
        if classes == 2:
            vote = vote[:, 1:] - vote[:, :1]
        trees.append(tree._replace(value=weight * vote))
    return _model(
        trees,
        estimator,
        kind,
        task="classes",
        link="softmax",
        slope=0.5 if classes == 2 else 1 / (classes - 1),
    )


def _medians(estimator, kind) -> Imported:
    """AdaBoost.R2: the weighted median of the trees."""
    members, weights = _members(estimator)
    trees = [_nodes(member) for member in members]
    return _model(trees, estimator, kind, link="median", weights=weights)


def _members(estimator):
    members = _fitted(estimator, "estimators_")
    for member in members:
        if type(member).__name__ not in TREES:
            raise ValueError(
                f"{type(estimator).__name__} of {type(member).__name__}: only of trees "
                f"is supported"
            )
    return members, np.asarray(estimator.estimator_weights_, float)[: len(members)]


def _isolation(estimator, kind) -> Imported:
    """The mean length of the path to the leaf, made a score by 2^-(mean / usual)."""
    members = _fitted(estimator, "estimators_")
    trees = []
    for member, features in zip(members, estimator.estimators_features_, strict=True):
        tree = _nodes(member)
        length = _depth(tree) + _usual(tree.rows)
        column = np.where(tree.left >= 0, np.asarray(features)[tree.feature], -2)
        trees.append(tree._replace(value=length[:, None], feature=column))
    usual = _usual(np.array([estimator.max_samples_]))[0]
    return _model(
        trees,
        estimator,
        kind,
        scale=1 / (len(trees) * usual) if usual else 0.0,
        start=-np.asarray(estimator.offset_, float).reshape(1),
        task="outliers",
    )


def _depth(tree) -> np.ndarray:
    depth = np.zeros(len(tree.left))
    for node in np.flatnonzero(tree.left >= 0):  # a parent comes before its children
        depth[[tree.left[node], tree.right[node]]] = depth[node] + 1
    return depth


def _usual(count) -> np.ndarray:
    """Mean depth of a leaf in a random tree of so many rows."""
    big = np.maximum(count, 3).astype(float)
    deep = 2 * (np.log(big - 1) + np.euler_gamma) - 2 * (big - 1) / big
    return np.where(count > 2, deep, np.where(count == 2, 1.0, 0.0))


def _nodes(member) -> Nodes:
    """The nodes of one of scikit-learn's trees."""
    tree = _fitted(member, "tree_")
    outputs, classes = tree.value.shape[1:]
    if classes > 1 and outputs > 1:
        raise ValueError(
            f"{type(member).__name__} with {outputs} outputs of classes: not supported"
        )
    value = np.asarray(tree.value, float).reshape(tree.node_count, -1)
    if classes > 1:  # counts, in versions before 1.3
        value = value / value.sum(1, keepdims=True)
    left = np.asarray(tree.children_left, np.int64)
    missing = getattr(tree, "missing_go_to_left", np.zeros(len(left)))
    return Nodes(
        left=left,
        right=np.asarray(tree.children_right, np.int64),
        feature=np.asarray(tree.feature, np.int64),
        threshold=np.asarray(tree.threshold, float),
        missing_left=np.asarray(missing, bool),
        value=value,
        chosen=[None] * len(left),
        rows=np.asarray(tree.n_node_samples, np.int64),
        weight=np.asarray(tree.weighted_n_node_samples, float),
        impurity=np.asarray(tree.impurity, float),
        number=np.arange(len(left)),
    )


def _model(trees, estimator, kind, *, shape=None, **options) -> Imported:
    """Put the trees and what goes with them together."""
    n_features = int(_fitted(estimator, "n_features_in_"))
    shape = shape or (len(trees),)
    built, numbers, tables = imported_nodes.build(
        imported_nodes.join(trees), n_features=n_features, dtype=kind, shape=shape
    )
    outputs = trees[0].value.shape[1] * (shape[1] if len(shape) > 1 else 1)
    start = np.asarray(options.get("start", np.zeros(outputs)))
    return Imported(
        trees=built,
        start=jnp.asarray(start, kind),
        scale=jnp.asarray(options.get("scale", 1.0), kind),
        slope=jnp.asarray(options.get("slope", 1.0), kind),
        weights=jnp.asarray(options.get("weights", np.zeros(0)), kind),
        numbers=numbers,
        zeros=jnp.zeros(0, bool),
        columns=tables.columns,
        tables=tables.values,
        rules=Rules(
            n_features,
            options.get("task", "regression"),
            options.get("link", "identity"),
            single=True,
        ),
    )


def _classes(estimator) -> int | None:
    """The number of classes; None for a regression."""
    if not hasattr(estimator, "classes_"):
        return None
    if isinstance(estimator.classes_, list):
        raise ValueError(
            f"{type(estimator).__name__} with {len(estimator.classes_)} outputs of "
            f"classes: not supported"
        )
    return len(estimator.classes_)


def _fitted(estimator, field):
    if not hasattr(estimator, field):
        raise ValueError(
            f"{type(estimator).__name__} is not fitted: it has no {field!r}"
        )
    return getattr(estimator, field)
