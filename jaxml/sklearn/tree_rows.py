# ruff: noqa: N803  (X is how scikit-learn names it)
"""Rows of the table: single decision trees."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy import sparse
from sklearn import utils
from sklearn.utils import validation

from jaxml.sklearn import methods, rows
from jaxml.sklearn.row import Row

__all__ = ["ROWS", "FittedTree", "features", "fitted", "nonnegative", "rounded"]

MOST_BINS = 65535  # the features of more rows are split at quantiles


@dataclass(frozen=True)
class FittedTree:
    """Arrays of a tree, one entry for each node, as scikit-learn's `tree_` has them."""

    n_features: int
    n_classes: np.ndarray
    n_outputs: int
    node_count: int
    n_leaves: int
    max_depth: int
    children_left: np.ndarray
    children_right: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    missing_go_to_left: np.ndarray
    value: np.ndarray  # [node, output, class]
    impurity: np.ndarray
    n_node_samples: np.ndarray
    weighted_n_node_samples: np.ndarray

    @property
    def capacity(self) -> int:
        """The number of nodes."""
        return self.node_count


def fitted(trees: Any, n_features: int, n_classes: int) -> FittedTree:
    """A tree of JAX as scikit-learn's.

    Args:
        trees: one tree.
        n_features: d.
        n_classes: 0 for a regression.
    """
    size = int(trees.node_count)
    parts = {
        name: np.asarray(getattr(trees, name))[:size]
        for name in trees._fields
        if name in FittedTree.__dataclass_fields__ and name != "node_count"
    }
    value = parts.pop("value")
    outputs = 1 if n_classes else value.shape[1]
    value = value.reshape(size, outputs, -1)
    left, right = parts["children_left"], parts["children_right"]
    depth = np.zeros(size, np.int64)
    for node in np.flatnonzero(left >= 0):  # children come after their parent
        depth[left[node]] = depth[right[node]] = depth[node] + 1
    return FittedTree(
        n_features=n_features,
        n_classes=np.full(outputs, n_classes or 1),
        n_outputs=outputs,
        node_count=size,
        n_leaves=int((left < 0).sum()),
        max_depth=int(depth.max()),
        value=value[..., :n_classes] if n_classes else value,
        **parts,
    )


def rounded(self, X, *y, reset=True, **options):
    """X, or X and y, as scikit-learn checks them for its trees.

    Values are rounded to float32, as there, so that the same ones are equal.
    """
    finite = "allow-nan" if utils.get_tags(self).input_tags.allow_nan else True
    dtype = [np.float64, np.float32] if reset else self._dtype
    found = validation.validate_data(
        self,
        X,
        *y,
        reset=reset,
        dtype=dtype,
        order="C",
        ensure_all_finite=finite,
        **options,
    )
    x, *rest = found if y else (found,)
    with np.errstate(over="ignore"):
        small = x.astype(np.float32)
    if np.isinf(small).any():
        raise ValueError(
            "Input X contains infinity or a value too large for dtype('float32')."
        )
    x = small.astype(x.dtype)
    return (x, *rest) if y else x


def features(asked: Any, d: int) -> int:
    """How many features a node looks at."""
    if asked is None:
        return d
    if isinstance(asked, str):
        return max(1, int({"sqrt": np.sqrt, "log2": np.log2}[asked](d)))
    if isinstance(asked, float | np.floating):
        return max(1, int(asked * d))
    return min(int(asked), d)


def limits(estimator, data):
    """Sizes that follow from the data."""
    n, d = data.x.shape
    return {
        "max_features": features(estimator.max_features, d),
        "max_bins": max(255, min(rows.bucket(n), MOST_BINS)),
    }


def nonnegative(estimator, data):
    """Refuse counts that are none."""
    if estimator.criterion == "poisson" and (data.y < 0).any():
        raise ValueError(
            "Some value(s) of y are negative which is not allowed for Poisson "
            "regression."
        )
    if estimator.criterion == "poisson" and data.y.sum() <= 0:
        raise ValueError(
            "Sum of y is not positive which is necessary for Poisson regression."
        )


def _attributes(estimator, state, data):
    n_classes = 0 if data.classes is None else len(data.classes)
    model = estimator.model_
    tree = fitted(model.tree, data.x.shape[1], n_classes)
    found = {
        "tree_": tree,
        "n_outputs_": tree.n_outputs,
        "max_features_": features(estimator.max_features, data.x.shape[1]),
        "feature_importances_": np.array(model.feature_importances),
    }
    return found | ({"n_classes_": n_classes} if n_classes else {})


def _draws(estimator):
    if estimator.random_state is not None:
        return True  # of ties between features, at least
    return estimator.splitter == "random" or estimator.max_features is not None


def _walk(self, name, X):
    """What a function of the module says of each row."""
    validation.check_is_fitted(self)
    x = self._valid(X, reset=False)
    with rows.precision(self._dtype):
        whole = jnp.asarray(rows.padded(x, rows.bucket(len(x))))
        return np.array(getattr(self._module, name)(self.model_, whole)[: len(x)])


def apply(self, X, check_input=True):
    """The number of the leaf of each row."""
    return _walk(self, "apply", X).astype(np.int64)


def decision_path(self, X, check_input=True):
    """The nodes that each row passes, as a sparse matrix."""
    path = _walk(self, "decision_path", X)[:, : self.tree_.node_count]
    return sparse.csr_matrix(path.astype(np.int64))


def get_depth(self):
    """Splits on the longest way to a leaf."""
    validation.check_is_fitted(self)
    return self.tree_.max_depth


def get_n_leaves(self):
    """Number of leaves."""
    validation.check_is_fitted(self)
    return self.tree_.n_leaves


def cost_complexity_pruning_path(self, X, y, sample_weight=None):
    """Prune one branch after another.

    Args:
        X: rows [n, d].
        y: targets, one a row.
        sample_weight: what each row counts.

    Returns:
        ccp_alphas and impurities of the subtrees.
    """
    whole = type(self)(**self.get_params() | {"ccp_alpha": 0.0})
    whole.fit(X, y, sample_weight)
    with rows.precision(whole._dtype):
        path = whole._module.pruning_path(whole.model_)
    count = int(path.n_steps)
    return utils.Bunch(
        ccp_alphas=np.array(path.ccp_alphas[:count], np.float64),
        impurities=np.array(path.impurities[:count], np.float64),
    )


_METHODS: dict[str, Callable] = {
    "_valid": rounded,
    "apply": apply,
    "decision_path": decision_path,
    "get_depth": get_depth,
    "get_n_leaves": get_n_leaves,
    "cost_complexity_pruning_path": cost_complexity_pruning_path,
}
_SHARED: dict[str, Any] = {
    "arguments": limits,
    "names": {"full": "", "feature_importances": ""},
    "attributes": _attributes,
    "random": _draws,
    "one_class": True,
}
_NAN = {"input_tags.allow_nan": True}


def _row(peer: str) -> Row:
    if peer.endswith("Classifier"):
        return Row(
            peer,
            "tree_classifier",
            methods=_METHODS | {"predict_log_proba": methods.predict_log_proba},
            tags=_NAN | {"target_tags.multi_output": False},
            **_SHARED,
        )
    return Row(
        peer,
        "tree_regressor",
        methods=_METHODS,
        tags=_NAN,
        check=nonnegative,
        **_SHARED,
    )


ROWS = {
    name: _row(f"tree.{name}")
    for name in (
        "DecisionTreeClassifier",
        "DecisionTreeRegressor",
        "ExtraTreeClassifier",
        "ExtraTreeRegressor",
    )
}
