"""Rows of the table: linear models."""

from typing import Any

import numpy as np
from sklearn import metrics

from jaxml.sklearn.row import Row

__all__ = ["ROWS"]

NEWTON = ("newton-cg", "newton-cholesky", "sag", "saga")  # of the optimum of "lbfgs"


def _singular(estimator, state, data):
    return {"singular_": state["singular"][: min(data.x.shape)]}


def _factorised(estimator, state, data):
    return {"n_iter_": 1, "solver_": "cholesky"}


def _penalty(estimator, data):
    """The penalty in the words that scikit-learn is leaving, and in the new ones."""
    words = {"l1": 1.0, "l2": 0.0, "elasticnet": estimator.l1_ratio}
    if estimator.penalty is None:
        return {"C": np.inf, "l1_ratio": 0.0}
    return {"l1_ratio": float(words.get(estimator.penalty, estimator.l1_ratio or 0))}


def _each_class(estimator, state, data):
    return {"n_iter_": state["n_iter"][None]}


_DESCENT: dict[str, Any] = {
    "names": {"iterate_coef": "", "iterate_intercept": ""},
    "attributes": lambda estimator, state, data: {"t_": float(state["t"])},
}


def _family(power: float | None) -> dict[str, Any]:
    """What the generalised linear models share; `power` of None is a parameter."""

    def check(estimator, data):
        p = estimator.power if power is None else power
        least = data.y.min()
        if (p >= 1 and least < 0) or (p >= 2 and least == 0):
            raise ValueError(
                f"Some value(s) of y are out of the valid range: with power {p} they "
                f"must be {'above' if p >= 2 else 'at least'} 0; got {least}"
            )

    def given(estimator, data):
        return {"power": power}

    def score(self, X, y, sample_weight=None):  # noqa: N803
        """D², the share of the deviance that is explained."""
        p = self.power if power is None else power
        mean = self.predict(X)
        return metrics.d2_tweedie_score(y, mean, sample_weight=sample_weight, power=p)

    return {
        "module": "glm",
        "silent": "solver warm_start",
        "arguments": None
        if power is None
        else lambda estimator, data: {"power": power},
        "check": check,
        "methods": {"score": score},
        "tags": {"target_tags.positive_only": power is not None},
    }


ROWS = {
    "LinearRegression": Row(
        "linear_model.LinearRegression",
        "least_squares",
        silent="tol",
        names={"singular": ""},
        attributes=_singular,
    ),
    "Ridge": Row(
        "linear_model.Ridge",
        "ridge",
        # Solved without iteration, to all digits: any solver and tol would give this.
        silent="max_iter tol solver",
        attributes=_factorised,
    ),
    "Lasso": Row("linear_model.Lasso", "lasso", silent="selection warm_start"),
    "ElasticNet": Row(
        "linear_model.ElasticNet", "elastic_net", silent="selection warm_start"
    ),
    "HuberRegressor": Row(
        "linear_model.HuberRegressor", "huber", silent="warm_start", rows="outliers"
    ),
    # An interior point method: all solvers of scikit-learn end at this optimum.
    "QuantileRegressor": Row(
        "linear_model.QuantileRegressor",
        "quantile",
        silent="solver solver_options",
        names={"dual_gap": ""},
    ),
    "PoissonRegressor": Row("linear_model.PoissonRegressor", **_family(1.0)),
    "GammaRegressor": Row("linear_model.GammaRegressor", **_family(2.0)),
    "TweedieRegressor": Row("linear_model.TweedieRegressor", **_family(None)),
    "LogisticRegression": Row(
        "linear_model.LogisticRegression",
        "logistic",
        silent="warm_start intercept_scaling",
        handled="penalty l1_ratio",
        only={"solver": NEWTON},
        arguments=_penalty,
        attributes=_each_class,
    ),
    "SGDClassifier": Row(
        "linear_model.SGDClassifier",
        "sgd_classifier",
        handled="warm_start",
        available={
            name: lambda estimator: estimator.loss in ("log_loss", "modified_huber")
            for name in ("predict_proba", "predict_log_proba")
        },
        **_DESCENT,
    ),
    "SGDRegressor": Row(
        "linear_model.SGDRegressor", "sgd_regressor", handled="warm_start", **_DESCENT
    ),
    "Perceptron": Row(
        "linear_model.Perceptron", "perceptron", handled="warm_start", **_DESCENT
    ),
}
