"""Every model against scikit-learn on California housing, in float64.

400 blocks, standardised; targets are the values of the houses, or whether they are
above the median. Where the optimum is unique the fitted functions must agree to 1e-4
of their range.
"""

import numpy as np
import pytest
from sklearn import (
    calibration,
    discriminant_analysis,
    isotonic,
    linear_model,
    naive_bayes,
    neighbors,
    svm,
)

import jaxml.sklearn as ours
from jaxml.data import formats

THEIRS = (
    linear_model,
    svm,
    neighbors,
    naive_bayes,
    discriminant_analysis,
    isotonic,
    calibration,
)
EXACT = {"tol": 1e-10, "max_iter": 10_000}
REGRESSORS = {
    "LinearRegression": {},
    "Ridge": {"alpha": 3.0},
    "Lasso": {"alpha": 0.02} | EXACT,
    "ElasticNet": {"alpha": 0.05} | EXACT,
    "HuberRegressor": {"tol": 1e-9, "max_iter": 10_000},
    "QuantileRegressor": {"alpha": 0.01, "quantile": 0.6},
    "PoissonRegressor": EXACT,
    "GammaRegressor": EXACT,
    "TweedieRegressor": {"power": 1.5} | EXACT,
    "LinearSVR": {"epsilon": 0.1, "loss": "squared_epsilon_insensitive"} | EXACT,
    "SVR": {"C": 2.0, "tol": 1e-8},
    "NuSVR": {"C": 2.0, "tol": 1e-8},
    "KNeighborsRegressor": {"weights": "distance"},
    "RadiusNeighborsRegressor": {"radius": 3.0},
}
CLASSIFIERS = {
    "LogisticRegression": {"C": 2.0} | EXACT,
    "LinearSVC": {"C": 0.5, "dual": False} | EXACT,
    "SVC": {"C": 2.0, "tol": 1e-8},
    "NuSVC": {"nu": 0.4, "tol": 1e-8},
    "LinearDiscriminantAnalysis": {},
    "QuadraticDiscriminantAnalysis": {},
    "GaussianNB": {},
    "KNeighborsClassifier": {"n_neighbors": 7},
    "RadiusNeighborsClassifier": {"radius": 3.0},
}


@pytest.fixture(scope="module")
def california(data_folder):
    """Rows [400, 8] to fit and [200, 8] to predict, and the values of the houses."""
    x, y = formats.read_california(
        data_folder / "california_housing" / "california_sklearn_form.npz"
    )
    take = np.random.default_rng(0).permutation(len(x))[:600]
    x, y = np.asarray(x, np.float64)[take], np.asarray(y, np.float64)[take]
    x = np.clip((x - x[:400].mean(0)) / x[:400].std(0), -4, 4)
    return x[:400], y[:400], x[400:], y[400:]


def pair(name, parameters):
    peer = next(getattr(m, name) for m in THEIRS if hasattr(m, name))
    return getattr(ours, name)(**parameters), peer(**parameters)


@pytest.mark.parametrize("name", REGRESSORS)
def test_regressors_agree(california, name):
    x, y, x_new, y_new = california
    left, right = (m.fit(x, y) for m in pair(name, REGRESSORS[name]))
    expected = right.predict(x_new)
    np.testing.assert_allclose(
        left.predict(x_new), expected, atol=1e-4 * np.ptp(expected), rtol=0
    )
    assert left.score(x_new, y_new) == pytest.approx(
        right.score(x_new, y_new), abs=1e-3
    )


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers_agree(california, name):
    x, y, x_new, _ = california
    label = np.where(y > np.median(y), "dear", "cheap")
    left, right = (m.fit(x, label) for m in pair(name, CLASSIFIERS[name]))
    scores = [
        m.decision_function(x_new)
        if hasattr(right, "decision_function")
        else m.predict_proba(x_new)
        for m in (left, right)
    ]
    np.testing.assert_allclose(*scores, atol=1e-4 * np.ptp(scores[1]), rtol=0)
    np.testing.assert_array_equal(left.predict(x_new), right.predict(x_new))


def test_isotonic_regression_agrees(california):
    x, y, x_new, _ = california
    left, right = (
        m.fit(x[:, 0], y) for m in pair("IsotonicRegression", {"out_of_bounds": "clip"})
    )
    np.testing.assert_allclose(
        left.predict(x_new[:, 0]), right.predict(x_new[:, 0]), rtol=1e-9
    )
