"""Rows of the table: nearest neighbours, isotonic regression."""

from typing import Any

import numpy as np

from jaxml.sklearn import monotone, search
from jaxml.sklearn.row import Row

__all__ = ["ROWS"]

KEPT = {"x": "", "y": "", "sample_weight": "", "classes": "", "radius": ""}


def _at_most(estimator, data):
    """More neighbours than rows are an error of the question, not of the fit."""
    return {"n_neighbors": min(estimator.n_neighbors, len(data.x))}


def _stored(estimator, state, data):
    names = {1: "manhattan", 2: "euclidean", np.inf: "chebyshev"}
    metric = estimator.metric
    metric = names.get(estimator.p, metric) if metric == "minkowski" else metric
    return {
        "n_samples_fit_": len(data.x),
        "effective_metric_": metric,
        "effective_metric_params_": {},
    }


_SHARED: dict[str, Any] = {
    "silent": "algorithm leaf_size",
    "rows": "x",
    "names": KEPT,
    "attributes": _stored,
    "one_class": True,
}
_COUNTED: dict[str, Any] = _SHARED | {
    "arguments": _at_most,
    "refresh": search.refresh,
    "methods": search.COUNTED,
}
ROWS = {
    "KNeighborsClassifier": Row(
        "neighbors.KNeighborsClassifier",
        "neighbors_classifier",
        tags={"target_tags.multi_output": False},
        **_COUNTED,
    ),
    "KNeighborsRegressor": Row(
        "neighbors.KNeighborsRegressor",
        "neighbors_regressor",
        **_COUNTED,
    ),
    "NearestNeighbors": Row(
        "neighbors.NearestNeighbors",
        "neighbors",
        **_COUNTED | {"methods": search.COUNTED | search.WITHIN},
    ),
    "RadiusNeighborsClassifier": Row(
        "neighbors.RadiusNeighborsClassifier",
        "radius_classifier",
        tags={"target_tags.multi_output": False},
        arguments=search.outlier,
        methods=search.WITHIN | search.OUTLIERS,
        **_SHARED,
    ),
    "RadiusNeighborsRegressor": Row(
        "neighbors.RadiusNeighborsRegressor",
        "radius_regressor",
        methods=search.WITHIN | {"predict": search.predict_mean},
        **_SHARED,
    ),
    "IsotonicRegression": Row(
        "isotonic.IsotonicRegression",
        "isotonic",
        arguments=monotone.inside,
        attributes=monotone.thresholds,
        names={"n_thresholds": "", "X_thresholds": "", "y_thresholds": ""},
        methods=monotone.METHODS,
        tags={"input_tags.one_d_array": True, "input_tags.two_d_array": False},
    ),
}
