"""Rows of the table: support vector machines."""

from typing import Any

import numpy as np

from jaxml.sklearn import arguments, rows
from jaxml.sklearn.row import Row

__all__ = ["ROWS"]

HIDDEN = ("label", "gamma", "coef0", "support", "support_vectors", "dual_coef")


def _given(parameter: Any) -> bool:
    return callable(parameter) or parameter != "precomputed"


def _probability(estimator, data):
    """scikit-learn is leaving the parameter: its default is a word for False."""
    return {"probability": estimator.probability is True}


def _vectors(estimator, state, data):
    """Support vectors alone, by class, as scikit-learn keeps them."""
    support = np.flatnonzero(state["support"][: len(data.x)] >= 0)
    if data.classes is not None:
        support = support[np.argsort(data.y[support], kind="stable")]
    dual = np.atleast_2d(state["dual_coef"])[:, support]
    kept = data.x[support] if _given(estimator.kernel) else data.x[:0, :0]
    found = {
        "support_": support.astype(np.int32),
        "support_vectors_": kept,
        "dual_coef_": dual,
        "fit_status_": int(not state["converged"].all()),
        "shape_fit_": data.x.shape,
        "_gamma": state["gamma"][()],
    }
    if data.classes is not None:
        weight = arguments.class_weights(estimator, data)
        found["class_weight_"] = (
            np.ones(len(data.classes)) if weight is None else weight
        )
    if estimator.kernel == "linear":
        found["coef_"] = _normals(state, data)
    return found


def _normals(state, data):
    """The normal of the plane of each pair of classes [p, d], or of all [1, d]."""
    dual, x = np.atleast_2d(state["dual_coef"])[:, : len(data.x)], data.x
    if data.classes is None or len(data.classes) == 2:
        return dual @ x
    k = len(data.classes)
    of = [data.y == c for c in range(k)]
    return np.stack(
        [
            dual[j - 1, of[i]] @ x[of[i]] + dual[i, of[j]] @ x[of[j]]
            for i in range(k)
            for j in range(i + 1, k)
        ]
    )


def _compact(estimator, model):
    """Many rows: keep the support vectors alone. Few: share the program of others."""
    if len(model.support) <= rows.LARGEST_PADDED or not _given(estimator.kernel):
        return model
    return estimator._module.compact(model)


def _asked(estimator):
    return estimator.probability is True


_SHARED: dict[str, Any] = {
    "silent": "shrinking",
    "names": dict.fromkeys(HIDDEN, ""),
    "attributes": _vectors,
    "finish": _compact,
    "pad": lambda estimator: _given(estimator.kernel),
    "tags": {"input_tags.pairwise": lambda estimator: not _given(estimator.kernel)},
}
_CLASSES: dict[str, Any] = _SHARED | {
    "handled": "probability",
    "arguments": _probability,
    "random": _asked,
    "available": {"predict_proba": _asked, "predict_log_proba": _asked},
}
ROWS: dict[str, Row] = {
    "SVC": Row("svm.SVC", "svc", **_CLASSES),
    "NuSVC": Row("svm.NuSVC", "nu_svc", **_CLASSES),
    "SVR": Row("svm.SVR", "svr", **_SHARED),
    "NuSVR": Row("svm.NuSVR", "nu_svr", **_SHARED),
    # Of the primal and the dual problem the solution is one.
    "LinearSVC": Row("svm.LinearSVC", "linear_svc", silent="dual"),
    "LinearSVR": Row("svm.LinearSVR", "linear_svr", silent="dual"),
}
