# ruff: noqa: N803  (X is how scikit-learn names it)
"""Methods of the estimators that are made: what they take, and what they give back."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.utils import multiclass

from jaxml.sklearn import rows

__all__ = [
    "constructor",
    "encoded",
    "fit",
    "learning",
    "predict_log_proba",
    "result",
]


def constructor(signature: inspect.Signature) -> Callable:
    """scikit-learn's `__init__`: keeps the parameters and does nothing else."""

    def __init__(self, *args, **kwargs):  # noqa: N807
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        for name, value in list(bound.arguments.items())[1:]:
            setattr(self, name, value)

    __init__.__signature__ = signature  # type: ignore[attr-defined]
    return __init__


def fit(peer: Any) -> Callable:
    """`fit` with the arguments that it has in scikit-learn."""
    given = inspect.signature(peer.fit).parameters
    if "coef_init" in given:
        return _fit_from
    if "sample_weight" in given:
        return _fit_weighted
    return _fit_rows if given["y"].default is None else _fit_targets


def result(function: str, classifies: bool) -> Callable:
    """The method that calls `function` of the functional module for each row."""

    def rows(self, X):
        return self._result(function, X)

    def labels(self, X):
        labels = self._result(function, X)
        return self.classes_[labels]

    def shares(self, X):
        shares = self._result(function, X)
        return shares[:, : len(self.classes_)]

    method = {"predict": labels, "predict_proba": shares}.get(function, rows)
    method = method if classifies else rows
    method.__name__ = method.__qualname__ = function
    method.__doc__ = f"Call `{function}` of the functional model for each row of X."
    return method


def predict_log_proba(self, X):
    """The logarithm of `predict_proba`."""
    with np.errstate(divide="ignore"):
        return np.log(self.predict_proba(X))


def learning(classifies: bool, by_steps: bool) -> dict[str, Callable]:
    """The methods of an estimator that can learn from some rows after others.

    Args:
        classifies: whether its targets are labels.
        by_steps: whether the functional model has `partial_fit`; else its fit is a
            function of sums over the rows, which add.
    """
    methods = {"partial_fit": _learn_classes if classifies else _learn}
    return methods if by_steps else methods | {"_fit": _fit_sums}


def encoded(y, classes) -> np.ndarray:
    """Labels as indices into the sorted `classes`.

    Raises:
        ValueError: if a label is none of the classes.
    """
    unknown = np.setdiff1d(y, classes)
    if len(unknown):
        raise ValueError(f"y must have the classes {classes}; got {unknown} too")
    return np.searchsorted(classes, y)


def _fit_weighted(self, X, y, sample_weight=None):
    """Fit the model.

    Args:
        X: rows [n, d].
        y: targets, one a row.
        sample_weight: what each row counts, at least 0; 0 is an absent row.

    Returns:
        The estimator.
    """
    return self._fit(X, y, sample_weight)


def _fit_targets(self, X, y):
    """Fit the model to the rows X and their targets y."""
    return self._fit(X, y)


def _fit_rows(self, X, y=None):
    """Fit the model to the rows X; y is not used."""
    return self._fit(X, y)


def _fit_from(self, X, y, coef_init=None, intercept_init=None, sample_weight=None):
    """Fit the model by descent.

    Args:
        X: rows [n, d].
        y: targets, one a row.
        coef_init: coefficients to start from. Default: 0.
        intercept_init: constants to start from. Default: 0.
        sample_weight: what each row counts, at least 0; 0 is an absent row.

    Returns:
        The estimator.
    """
    if self.warm_start and hasattr(self, "model_"):
        coef_init = self.coef_ if coef_init is None else coef_init
        intercept_init = self.intercept_ if intercept_init is None else intercept_init
    shape = np.atleast_2d if hasattr(self, "decision_function") else np.ravel
    start = {
        "coef_init": None if coef_init is None else shape(coef_init),
        "intercept_init": None if intercept_init is None else np.ravel(intercept_init),
    }
    return self._fit(X, y, sample_weight, start)


def _learn_classes(self, X, y, classes=None, sample_weight=None):
    """Go on learning from more rows.

    Args:
        X: rows [n, d].
        y: labels, one a row.
        classes: all labels that will ever come; needed in the first call.
        sample_weight: what each row counts, at least 0; 0 is an absent row.

    Returns:
        The estimator.
    """
    first = not hasattr(self, "classes_")
    if first and classes is None:
        raise ValueError("classes must be passed on the first call to partial_fit.")
    if not first and classes is not None:
        if not np.array_equal(self.classes_, multiclass.unique_labels(classes)):
            raise ValueError(
                f"classes must be those of the first call, {self.classes_}; "
                f"got {classes}"
            )
    classes = multiclass.unique_labels(classes) if first else self.classes_
    return _learn_more(self, X, y, sample_weight, classes)


def _learn(self, X, y, sample_weight=None):
    """Go on learning from more rows.

    Args:
        X: rows [n, d].
        y: targets, one a row.
        sample_weight: what each row counts, at least 0; 0 is an absent row.

    Returns:
        The estimator.
    """
    return _learn_more(self, X, y, sample_weight, None)


def _learn_more(self, X, y, sample_weight, classes):
    first = not hasattr(self, "model_")
    data = self._begin(X, y, sample_weight, classes, reset=first)
    if "partial_fit" not in self._plans:  # sums over the rows add
        self._sum_up(data, None if first else self._sums)
        return self
    with rows.precision(data.x.dtype):
        if first:
            size = {} if classes is None else {"n_classes": max(2, len(classes))}
            model = self._module.init(data.x.shape[1], dtype=data.x.dtype, **size)
        else:
            model = self.model_
        keywords = self._keywords("partial_fit", data)
        device = self._on_device("partial_fit", data, keywords)
        model = self._module.partial_fit(model, *device, **keywords)
        self._set_state(model, data, warn=False)
    return self


def _fit_sums(self, X, y, sample_weight=None):
    """Fit from sums over the rows, to which `partial_fit` may add."""
    self._sum_up(self._begin(X, y, sample_weight), None)
    return self
