"""The models of `classical.py`: ours, the peer of scikit-learn, and what quality means.

Quality is a loss, lower is better, computed in float64 by the same code for both sides:
the objective both minimise where they minimise one, else the error on fresh rows.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

SIZES = [(2_000, 20), (20_000, 20), (200_000, 20), (2_000, 100), (20_000, 100)]
SIZES += [(200_000, 100)]


@dataclass(frozen=True)
class Model:
    """One line of the table."""

    module: str  # of jaxml.models.classical
    peer: str  # path of scikit-learn's class
    task: str  # regression, classes (2), classes5, counts, positive
    ours: dict[str, Any] = field(default_factory=dict)
    theirs: dict[str, Any] = field(default_factory=dict)
    loss: Callable[..., float] | None = None  # (x, y, coef, intercept); None: error
    most: int = 200_000  # rows beyond which one of the two takes minutes
    few: int = 2_000  # rows to predict
    key: bool = False


def data(task: str, n: int, d: int, seed: int = 0):
    """Correlated rows of unit scale and their targets, float32."""
    rng = np.random.default_rng(seed)
    truth = np.random.default_rng(7).normal(size=(d, 5)) / np.sqrt(d)
    x = rng.normal(size=(n, d)).astype(np.float32)
    x += 0.5 * x[:, :1]
    signal = x @ truth
    noise = rng.normal(size=signal.shape)
    if task == "classes":
        y = (signal[:, 0] + 0.5 * noise[:, 0] > 0).astype(np.int32)
    elif task == "classes5":
        y = (signal + 0.5 * noise).argmax(1).astype(np.int32)
    elif task == "counts":
        y = rng.poisson(np.exp(0.5 * signal[:, 0])).astype(np.float32)
    elif task == "positive":
        y = (np.exp(0.5 * signal[:, 0]) * rng.gamma(2, 0.5, n) + 1e-3).astype(
            np.float32
        )
    else:
        y = (3 * signal[:, 0] + noise[:, 0]).astype(np.float32)
    return x, y


def _scores(x, coef, intercept):
    return x.astype(np.float64) @ np.asarray(coef, np.float64).T + np.asarray(intercept)


def _residuals(x, y, coef, intercept):
    return y - _scores(x, np.ravel(coef), np.ravel(intercept)[0])


def least_squares(x, y, coef, intercept):
    return (_residuals(x, y, coef, intercept) ** 2).mean()


def ridge(x, y, coef, intercept):
    return (_residuals(x, y, coef, intercept) ** 2).sum() + (
        np.asarray(coef) ** 2
    ).sum()


def elastic(alpha, ratio):
    def loss(x, y, coef, intercept):
        coef = np.asarray(coef, np.float64)
        penalty = ratio * np.abs(coef).sum() + (1 - ratio) / 2 * (coef**2).sum()
        return (_residuals(x, y, coef, intercept) ** 2).mean() / 2 + alpha * penalty

    return loss


def quantile(x, y, coef, intercept):
    left = _residuals(x, y, coef, intercept)
    return np.abs(left).mean() / 2 + 1e-3 * np.abs(coef).sum()


def logistic(x, y, coef, intercept):
    scores = _scores(x, coef, intercept)
    if scores.shape[1] == 1:
        data_loss = np.logaddexp(0, -(2 * y - 1) * scores[:, 0]).sum()
    else:
        top = scores.max(1)
        total = top + np.log(np.exp(scores - top[:, None]).sum(1))
        data_loss = (total - scores[np.arange(len(y)), y]).sum()
    return data_loss + (np.asarray(coef, np.float64) ** 2).sum() / 2


def logistic_l1(x, y, coef, intercept):
    signed = (2 * y - 1) * _scores(x, coef, intercept)[:, 0]
    return np.logaddexp(0, -signed).sum() + np.abs(coef).sum()


def poisson(x, y, coef, intercept):
    eta = _scores(x, np.ravel(coef), np.ravel(intercept)[0])
    return (np.exp(eta) - y * eta).mean() + 0.5 * (np.asarray(coef) ** 2).sum()


def gamma(x, y, coef, intercept):
    eta = _scores(x, np.ravel(coef), np.ravel(intercept)[0])
    return (y * np.exp(-eta) + eta).mean() + 0.5 * (np.asarray(coef) ** 2).sum()


def linear_svm(power):
    def loss(x, y, coef, intercept):
        margin = (2 * y - 1) * _scores(x, coef, intercept)[:, 0]
        penalty = (np.asarray(coef, np.float64) ** 2).sum() + np.sum(intercept) ** 2
        return penalty / 2 + (np.maximum(0, 1 - margin) ** power).sum()

    return loss


def linear_svr(x, y, coef, intercept):
    left = np.abs(_residuals(x, y, coef, intercept))
    penalty = (np.asarray(coef, np.float64) ** 2).sum() + np.sum(intercept) ** 2
    return penalty / 2 + np.maximum(0, left - 0.1).sum()


LINEAR = "sklearn.linear_model."
MODELS = {
    "least squares": Model(
        "least_squares", LINEAR + "LinearRegression", "regression", loss=least_squares
    ),
    "ridge": Model("ridge", LINEAR + "Ridge", "regression", loss=ridge),
    "lasso": Model(
        "lasso",
        LINEAR + "Lasso",
        "regression",
        {"alpha": 0.05},
        {"alpha": 0.05},
        elastic(0.05, 1),
    ),
    "elastic net": Model(
        "elastic_net",
        LINEAR + "ElasticNet",
        "regression",
        {"alpha": 0.05},
        {"alpha": 0.05},
        elastic(0.05, 0.5),
    ),
    "huber": Model("huber", LINEAR + "HuberRegressor", "regression"),
    "quantile": Model(
        "quantile",
        LINEAR + "QuantileRegressor",
        "regression",
        {"alpha": 1e-3},
        {"alpha": 1e-3},
        quantile,
        most=2_000,
    ),
    "logistic, 2 classes": Model(
        "logistic", LINEAR + "LogisticRegression", "classes", loss=logistic
    ),
    "logistic, 5 classes": Model(
        "logistic",
        LINEAR + "LogisticRegression",
        "classes5",
        {"n_classes": 5},
        loss=logistic,
    ),
    "logistic, l1": Model(
        "logistic",
        LINEAR + "LogisticRegression",
        "classes",
        {"l1_ratio": 1.0},
        {"l1_ratio": 1.0, "solver": "saga", "max_iter": 300},
        logistic_l1,
        most=20_000,
    ),
    "poisson": Model(
        "glm",
        LINEAR + "PoissonRegressor",
        "counts",
        {"power": 1.0},
        {"solver": "newton-cholesky"},
        poisson,
    ),
    "gamma": Model(
        "glm",
        LINEAR + "GammaRegressor",
        "positive",
        {"power": 2.0},
        {"solver": "newton-cholesky"},
        gamma,
    ),
    "sgd classifier": Model(
        "sgd_classifier",
        LINEAR + "SGDClassifier",
        "classes",
        {"max_iter": 5, "tol": None},
        {"max_iter": 5, "tol": None},
        key=True,
    ),
    "sgd regressor": Model(
        "sgd_regressor",
        LINEAR + "SGDRegressor",
        "regression",
        {"max_iter": 5, "tol": None},
        {"max_iter": 5, "tol": None},
        key=True,
    ),
    "perceptron": Model(
        "perceptron",
        LINEAR + "Perceptron",
        "classes",
        {"max_iter": 5, "tol": None},
        {"max_iter": 5, "tol": None},
        key=True,
    ),
    "gaussian naive Bayes": Model(
        "gaussian_nb",
        "sklearn.naive_bayes.GaussianNB",
        "classes5",
        {"n_classes": 5},
    ),
    "bernoulli naive Bayes": Model(
        "bernoulli_nb",
        "sklearn.naive_bayes.BernoulliNB",
        "classes5",
        {"n_classes": 5},
    ),
    "linear discriminant": Model(
        "linear_discriminant",
        "sklearn.discriminant_analysis.LinearDiscriminantAnalysis",
        "classes5",
        {"n_classes": 5},
    ),
    "quadratic discriminant": Model(
        "quadratic_discriminant",
        "sklearn.discriminant_analysis.QuadraticDiscriminantAnalysis",
        "classes5",
        {"n_classes": 5},
    ),
    "nearest neighbours": Model(
        "neighbors_classifier",
        "sklearn.neighbors.KNeighborsClassifier",
        "classes5",
        {"n_classes": 5},
        {"n_jobs": 2, "algorithm": "brute"},
    ),
    "linear SVM, squared hinge": Model(
        "linear_svc", "sklearn.svm.LinearSVC", "classes", loss=linear_svm(2)
    ),
    "linear SVM, hinge": Model(
        "linear_svc",
        "sklearn.svm.LinearSVC",
        "classes",
        {"loss": "hinge"},
        {"loss": "hinge"},
        linear_svm(1),
        most=20_000,
    ),
    "linear SVM regression": Model(
        "linear_svr",
        "sklearn.svm.LinearSVR",
        "regression",
        {"epsilon": 0.1},
        {"epsilon": 0.1},
        linear_svr,
        most=20_000,
    ),
    "SVM, RBF": Model("svc", "sklearn.svm.SVC", "classes", most=20_000),
    "SVM regression, RBF": Model("svr", "sklearn.svm.SVR", "regression", most=2_000),
    "isotonic": Model(
        "isotonic",
        "sklearn.isotonic.IsotonicRegression",
        "isotonic",
        theirs={"out_of_bounds": "clip"},
    ),
}
