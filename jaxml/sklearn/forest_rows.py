# ruff: noqa: N803  (X is how scikit-learn names it)
"""Rows of the table: forests, AdaBoost, gradient boosting by trees."""

import importlib
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from sklearn.utils import validation

from jaxml.sklearn import rows, tree_rows
from jaxml.sklearn.row import Row

__all__ = ["ROWS"]

SHARED_TREE = ("DecisionTreeClassifier", "DecisionTreeRegressor")
NOTES = (
    "Features of more than 255 values (1024, of up to so many rows) are split at "
    "their quantiles."
)


def _sizes(estimator, data):
    """Of few rows all splits are tried, as in scikit-learn."""
    n, d = data.x.shape
    few = n <= rows.LARGEST_PADDED
    found = {"max_bins": max(255, rows.bucket(n)) if few else 255}
    if hasattr(estimator, "max_features"):
        found["max_features"] = tree_rows.features(estimator.max_features, d)
    if hasattr(estimator, "max_samples"):
        asked = estimator.max_samples
        whole = isinstance(asked, int | np.integer)
        found["max_samples"] = int(asked) if whole else asked
    return found


def _known_weights(estimator, data):
    if getattr(estimator, "class_weight", None) == "balanced_subsample":
        raise NotImplementedError(
            f"class_weight of {type(estimator).__name__} must be None, 'balanced' or a "
            "dict, which is all that jaxml.sklearn computes; the functional model has "
            "'balanced_subsample'"
        )


def _forest(estimator, state, data):
    model = estimator.model_
    found = {
        "feature_importances_": np.array(model.feature_importances),
        "n_outputs_": 1 if data.y.ndim == 1 else data.y.shape[1],
    }
    if data.classes is not None:
        found["n_classes_"] = len(data.classes)
    if estimator.oob_score:
        n = len(data.x)
        name = "oob_prediction" if data.classes is None else "oob_decision_function"
        found["oob_score_"] = float(model.oob_score)
        out = np.array(getattr(model, name))[:n]
        found[name + "_"] = out if data.classes is None else out[:, : len(data.classes)]
    return found


def _walk(self, function: Callable, X, keywords=None) -> np.ndarray:
    """What a function of the module says of each row, in its first axis."""
    validation.check_is_fitted(self)
    x = self._valid(X, reset=False)
    with rows.precision(self._dtype):
        whole = jnp.asarray(rows.padded(x, rows.bucket(len(x))))
        return np.array(function(self.model_, whole, **(keywords or {})))


def apply(self, X):
    """The leaf of each row in each tree."""
    leaves = _walk(self, self._module.apply, X)[: len(X)]
    two = leaves.ndim == 3 and leaves.shape[2] > 1
    return leaves if two or leaves.ndim == 2 else leaves[..., None]


def _staged(name: str) -> Callable:
    """The method that yields what `name` says after each stage."""

    def method(self, X):
        validation.check_is_fitted(self)
        keywords = self._plans[name].values(self, self._dtype, self._resolved)
        function = getattr(self._module, f"staged_{name}")
        stages = _walk(self, function, X, keywords)
        # As scikit-learn: gradient boosting has a column of two classes, AdaBoost none.
        columns = hasattr(self, "train_score_") and name == "decision_function"
        for stage in stages[: int(self.model_.n_estimators), : len(X)]:
            if self._classifies and name == "predict":
                stage = self.classes_[stage]
            elif columns and stage.ndim == 1:
                stage = stage[:, None]
            yield stage

    method.__name__ = method.__qualname__ = f"staged_{name}"
    method.__doc__ = f"Yield what `{name}` says after each stage."
    return method


def _stages(estimator, state, data):
    model = estimator.model_
    count = int(model.n_estimators)
    found: dict[str, Any] = {
        "n_estimators_": count,
        "feature_importances_": np.array(model.feature_importances),
        "train_score_": np.array(model.train_score)[:count],
        "max_features_": tree_rows.features(estimator.max_features, data.x.shape[1]),
    }
    if data.classes is not None:
        found["n_classes_"] = len(data.classes)
    if estimator.subsample < 1:
        found["oob_scores_"] = np.array(model.oob_scores)[:count]
        found["oob_improvement_"] = np.array(model.oob_improvement)[:count]
        found["oob_score_"] = found["oob_scores_"][-1]
    return found


def _draws(estimator):
    stops = estimator.n_iter_no_change is not None
    return estimator.subsample < 1 or estimator.max_features is not None or stops


def _member(estimator):
    """The estimator of ours that is boosted, or None for the default.

    One of scikit-learn's that has one of ours by the same name is taken for it.
    """
    given = estimator.estimator
    home = importlib.import_module("jaxml.sklearn")
    table = importlib.import_module("jaxml.sklearn.table").TABLE
    adapter = importlib.import_module("jaxml.sklearn.adapter").Adapter
    name = type(given).__name__
    if given is None or isinstance(given, adapter):
        return given
    if type(given).__module__.startswith("sklearn.") and name in table:
        return getattr(home, name)(**given.get_params(deep=False))
    raise NotImplementedError(
        f"estimator of {type(estimator).__name__} must be None or one that "
        f"jaxml.sklearn has; got {given!r}"
    )


def _boosted(estimator, data):
    """The module of the members, and what its `fit` is given."""
    found = {"max_bins": _sizes(estimator, data)["max_bins"], "estimator": None}
    member = _member(estimator)
    if member is None:
        return found
    plain = type(member)().get_params()
    changed = {k: v for k, v in member.get_params().items() if v != plain[k]}
    changed.pop("random_state", None)
    sizes = {"max_depth", "max_leaf_nodes"}
    if type(member).__name__ in SHARED_TREE and changed.keys() <= sizes:
        options = {"max_depth": member.max_depth}
        return found | {"options": options | changed}
    if getattr(member, "class_weight", None) is not None:
        raise NotImplementedError(
            "class_weight of the estimator must be None, which is all that jaxml "
            f"computes; got {member.class_weight!r}"
        )
    plan = member._plans["fit"]
    resolved = (
        {} if member._row.arguments is None else member._row.arguments(member, data)
    )
    options = plan.values(member, data.x.dtype, resolved)
    return found | {"estimator": member._module, "options": options}


def _members(estimator, state, data):
    model = estimator.model_
    count = int(model.n_estimators)
    if not count:
        raise ValueError(
            "the first estimator must be better than chance on y, else there is "
            "nothing to boost; it is not"
        )
    names = ("estimator_weights", "estimator_errors")
    found: dict[str, Any] = {
        f"{name}_": np.array(getattr(model, name)) for name in names
    }
    if len(model.feature_importances):
        found["feature_importances_"] = np.array(model.feature_importances)
    if data.classes is not None:
        found["n_classes_"] = len(data.classes)
    member = estimator._resolved.get("estimator")
    kept = _member(estimator)
    values = (
        {} if member is None else kept._plans["predict"].values(kept, data.x.dtype, {})
    )
    estimator._resolved = {"estimator": member, "options": values}
    return found


def _hidden(*names: str) -> dict[str, str]:
    return dict.fromkeys((*names, "feature_importances", "n_estimators"), "")


_FOREST: dict[str, Any] = {
    "only": {"oob_score": (True,)},
    "arguments": _sizes,
    "names": _hidden("full", "oob_score", "oob_prediction", "oob_decision_function"),
    "attributes": _forest,
    "notes": NOTES,
}
_STAGES: dict[str, Any] = {
    "silent": "criterion",
    "only": {"init": ("zero",)},
    "arguments": _sizes,
    "names": _hidden(
        "init", "learning_rate", "train_score", "oob_scores", "oob_improvement"
    ),
    "attributes": _stages,
    "random": _draws,
    "notes": NOTES,
}
_BOOSTED: dict[str, Any] = {
    "handled": "estimator",
    "arguments": _boosted,
    "names": _hidden("classes", "estimator_weights", "estimator_errors"),
    "attributes": _members,
    "notes": NOTES,
}
_VALID = {"_valid": tree_rows.rounded}
_NAN = {"input_tags.allow_nan": True}
_ONE = {"target_tags.multi_output": False}
_SHARES = ("predict", "predict_proba", "decision_function")


def _staged_all(*names: str) -> dict[str, Callable]:
    return {f"staged_{name}": _staged(name) for name in names}


ROWS = {
    **{
        f"{name}Classifier": Row(
            f"ensemble.{name}Classifier",
            f"{module}_classifier",
            check=_known_weights,
            methods=_VALID | {"apply": apply},
            tags=_NAN | _ONE,
            one_class=True,
            **_FOREST,
        )
        for name, module in (
            ("RandomForest", "random_forest"),
            ("ExtraTrees", "extra_trees"),
        )
    },
    **{
        f"{name}Regressor": Row(
            f"ensemble.{name}Regressor",
            f"{module}_regressor",
            check=tree_rows.nonnegative,
            methods=_VALID | {"apply": apply},
            tags=_NAN,
            **_FOREST,
        )
        for name, module in (
            ("RandomForest", "random_forest"),
            ("ExtraTrees", "extra_trees"),
        )
    },
    "GradientBoostingClassifier": Row(
        "ensemble.GradientBoostingClassifier",
        "gradient_boosting_classifier",
        methods=_VALID | {"apply": apply} | _staged_all(*_SHARES),
        **_STAGES,
    ),
    "GradientBoostingRegressor": Row(
        "ensemble.GradientBoostingRegressor",
        "gradient_boosting_regressor",
        methods=_VALID | {"apply": apply} | _staged_all("predict"),
        **_STAGES,
    ),
    "AdaBoostClassifier": Row(
        "ensemble.AdaBoostClassifier",
        "adaboost_classifier",
        methods=_VALID | _staged_all(*_SHARES),
        one_class=True,
        **_BOOSTED,
    ),
    "AdaBoostRegressor": Row(
        "ensemble.AdaBoostRegressor",
        "adaboost_regressor",
        methods=_VALID | _staged_all("predict"),
        **_BOOSTED,
    ),
}
