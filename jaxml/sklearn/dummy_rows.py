# ruff: noqa: N803  (X is how scikit-learn names it)
"""Rows of the table: models that look at the targets alone."""

import numpy as np
from sklearn import utils
from sklearn.utils import validation

from jaxml.sklearn.row import Row

__all__ = ["ROWS"]


def _valid(self, X, *y, reset=True, **options):
    """As many zeros as X has rows, whatever X is; and the targets."""
    validation.validate_data(self, X, reset=reset, skip_check_array=True)
    x = np.zeros((validation._num_samples(X), 1))
    if not y:
        return x
    if y[0] is None:
        raise ValueError(f"{type(self).__name__} requires y to be passed; got None")
    kind = np.float64 if options["y_numeric"] else None
    target = utils.check_array(y[0], dtype=kind, ensure_2d=False, input_name="y")
    utils.check_consistent_length(x, target)
    if not options["multi_output"] or (target.ndim == 2 and target.shape[1] == 1):
        target = utils.column_or_1d(target, warn=not options["multi_output"])
    return x, target


def _constant(estimator, data):
    """The constant as the number of its class."""
    if estimator.strategy != "constant":
        return {"constant": None}
    constant = np.ravel(estimator.constant)
    if len(constant) != 1 or constant[0] not in data.classes:
        raise ValueError(
            f"constant must be one of the classes {data.classes.tolist()}; "
            f"got {estimator.constant!r}"
        )
    return {"constant": int(np.searchsorted(data.classes, constant[0]))}


def _classes(estimator, state, data):
    return {"n_classes_": len(data.classes), "n_outputs_": 1}


def _draws(estimator):
    return estimator.strategy in ("stratified", "uniform")


ROWS = {
    "DummyClassifier": Row(
        "dummy.DummyClassifier",
        "dummy_classifier",
        one_class=True,
        random=_draws,
        arguments=_constant,
        names={"constant": ""},
        attributes=_classes,
        methods={"_valid": _valid},
        tags={
            "target_tags.multi_output": False,
            "classifier_tags.poor_score": True,
            "no_validation": True,
            "input_tags.sparse": True,
        },
    ),
    "DummyRegressor": Row(
        "dummy.DummyRegressor",
        "dummy_regressor",
        attributes=lambda estimator, state, data: {
            "n_outputs_": state["constant"].shape[1]
        },
        methods={"_valid": _valid},
        tags={
            "regressor_tags.poor_score": True,
            "no_validation": True,
            "input_tags.sparse": True,
        },
    ),
}
