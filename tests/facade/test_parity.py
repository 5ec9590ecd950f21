"""The estimators against scikit-learn's of the same name, in float64."""

import importlib
import warnings

import numpy as np
import pytest
from sklearn import datasets

import jaxml.sklearn
from jaxml.sklearn.table import TABLE

LINEAR = ("coef_", "intercept_")
BAYES = ("class_count_", "feature_log_prob_", "class_log_prior_")
DISCRIMINANT = ("means_", "priors_", "coef_", "intercept_")
MACHINE = ("support_", "dual_coef_", "intercept_", "n_support_")
TIGHT = {"tol": 1e-9}

# name -> data, parameters, attributes that must agree, relative tolerance. Iterative
# models are asked for a tol that leaves their ends, not their paths, to be compared;
# 1e-4 where scikit-learn's own solver goes no further.
CASES = {
    "LinearRegression": ("numbers", {}, (*LINEAR, "rank_"), 1e-9),
    "Ridge": ("numbers", {"alpha": 2.0}, LINEAR, 1e-9),
    "Lasso": ("numbers", {"alpha": 0.1} | TIGHT, LINEAR, 1e-5),
    "ElasticNet": ("numbers", {"alpha": 0.1} | TIGHT, LINEAR, 1e-5),
    "HuberRegressor": ("numbers", {"max_iter": 1000, "tol": 1e-8}, LINEAR, 1e-4),
    "QuantileRegressor": ("numbers", {"alpha": 0.1, "quantile": 0.7}, LINEAR, 1e-4),
    "PoissonRegressor": ("counts", {"alpha": 0.1, "tol": 1e-8}, LINEAR, 1e-4),
    "GammaRegressor": ("counts", {"alpha": 0.1, "tol": 1e-8}, LINEAR, 1e-4),
    "TweedieRegressor": (
        "counts",
        {"alpha": 0.1, "tol": 1e-8, "power": 1.5},
        LINEAR,
        1e-4,
    ),
    "LogisticRegression": ("classes", {"tol": 1e-8, "max_iter": 1000}, LINEAR, 1e-4),
    "GaussianNB": ("classes", {}, ("theta_", "var_", "class_prior_"), 1e-9),
    "MultinomialNB": ("events", {"alpha": 0.5}, BAYES, 1e-9),
    "BernoulliNB": ("classes", {"binarize": 0.2}, BAYES, 1e-9),
    "LinearDiscriminantAnalysis": ("classes", {}, DISCRIMINANT, 1e-6),
    "QuadraticDiscriminantAnalysis": ("classes", {}, DISCRIMINANT[:2], 1e-6),
    "KNeighborsClassifier": ("classes", {"weights": "distance"}, (), 1e-9),
    "KNeighborsRegressor": ("numbers", {"n_neighbors": 3}, (), 1e-9),
    "RadiusNeighborsClassifier": ("classes", {"radius": 3.0}, (), 1e-9),
    "RadiusNeighborsRegressor": ("numbers", {"radius": 3.0}, (), 1e-9),
    "LinearSVC": ("classes", {"tol": 1e-8, "max_iter": 100_000}, LINEAR, 1e-4),
    "LinearSVR": (
        "numbers",
        {"tol": 1e-8, "max_iter": 1_000_000, "loss": "squared_epsilon_insensitive"},
        LINEAR,
        1e-4,
    ),
    "SVC": ("classes", {"tol": 1e-7}, MACHINE, 1e-4),
    "NuSVC": ("classes", {"tol": 1e-7, "nu": 0.2}, ("n_support_",), 1e-3),
    "SVR": ("numbers", {"tol": 1e-7}, MACHINE, 1e-4),
    "NuSVR": ("numbers", {"tol": 1e-7}, (), 1e-4),
    "DecisionTreeClassifier": (
        "classes",
        {"max_leaf_nodes": 3},
        ("n_classes_", "n_outputs_", "max_features_"),
        1e-12,
    ),
    "DecisionTreeRegressor": (
        "numbers",
        {"max_depth": 4, "min_samples_leaf": 5},  # no gains tie: scikit-learn draws
        ("feature_importances_",),
        1e-7,
    ),
    "GradientBoostingClassifier": (
        "classes",
        {"n_estimators": 5, "max_leaf_nodes": 3},  # no gains tie
        ("n_estimators_", "max_features_"),
        1e-9,
    ),
    "GradientBoostingRegressor": (
        "numbers",
        {"n_estimators": 5, "loss": "huber", "max_depth": 1},
        ("train_score_",),
        1e-9,
    ),
    "AdaBoostClassifier": (
        "classes",
        {"n_estimators": 5},
        ("estimator_weights_", "estimator_errors_"),
        1e-9,
    ),
    "DummyClassifier": ("classes", {}, ("class_prior_", "n_classes_"), 1e-12),
    "HistGradientBoostingClassifier": ("classes", {"max_iter": 3}, (), 1e-6),
    "HistGradientBoostingRegressor": (
        "numbers",
        {"max_iter": 5, "max_leaf_nodes": 6},
        ("n_trees_per_iteration_", "n_iter_"),
        1e-6,
    ),
    "DummyRegressor": ("numbers", {"strategy": "median"}, ("constant_",), 1e-12),
}
RANDOM = {"SGDClassifier", "SGDRegressor", "Perceptron"}  # another order of the rows
# Below, and the trees in test_trees.py and test_forests.py.
APART = {
    "NearestNeighbors",
    "IsotonicRegression",
    "ExtraTreeClassifier",
    "ExtraTreeRegressor",
    "RandomForestClassifier",
    "RandomForestRegressor",
    "ExtraTreesClassifier",
    "ExtraTreesRegressor",
    "AdaBoostRegressor",
}
RESULTS = ("predict", "predict_proba", "decision_function", "transform")


def rows(kind):
    """Standardised rows, and their targets."""
    rng = np.random.default_rng(0)
    if kind == "classes":
        x, y = datasets.load_iris(return_X_y=True)
        x, y = x[::2], np.array(["a", "b", "c"])[y[::2]]
    elif kind == "events":
        x, y = rng.poisson(3.0, (75, 4)).astype(float), rng.choice(["a", "b", "c"], 75)
    else:
        x, y = datasets.load_diabetes(return_X_y=True)
        x, y = x[:75, 2:6], y[:75] / 100
        y = np.round(3 * y) + 1 if kind == "counts" else y
    if kind != "events":
        x = (x - x.mean(0)) / x.std(0)
    return x, y


def peer_of(name):
    package, _, peer = TABLE[name].peer.rpartition(".")
    return getattr(importlib.import_module(f"sklearn.{package}"), peer)


def test_every_class_is_compared():
    assert set(CASES) | RANDOM | APART == set(TABLE)


@pytest.mark.parametrize("name", CASES)
def test_is_what_scikit_learn_says(name):
    kind, parameters, attributes, rtol = CASES[name]
    x, y = rows(kind)
    ours = getattr(jaxml.sklearn, name)(**parameters).fit(x, y)
    theirs = peer_of(name)(**parameters).fit(x, y)
    for attribute in attributes:
        want, got = getattr(theirs, attribute), getattr(ours, attribute)
        assert np.shape(got) == np.shape(want), attribute
        scale = np.abs(want).max()
        np.testing.assert_allclose(got, want, rtol, rtol * scale, err_msg=attribute)
    for result in RESULTS:
        assert hasattr(ours, result) == hasattr(theirs, result), result
        if hasattr(theirs, result):
            want, got = getattr(theirs, result)(x), getattr(ours, result)(x)
            if result == "transform":  # axes have no direction
                want, got = np.abs(want), np.abs(got)
            assert got.dtype == want.dtype, result
            if result == "predict" and kind in ("classes", "events"):
                np.testing.assert_array_equal(got, want)
            else:
                scale = np.abs(want).max()
                np.testing.assert_allclose(
                    got, want, rtol, rtol * scale, err_msg=result
                )
    if hasattr(theirs, "score"):
        assert ours.score(x, y) == pytest.approx(theirs.score(x, y), rel=1e-3)


@pytest.mark.parametrize("name", sorted(RANDOM))
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_descents_score_as_scikit_learn(name):
    x, y = rows("numbers" if name == "SGDRegressor" else "classes")
    makers = (getattr(jaxml.sklearn, name), peer_of(name))
    fits = [[make(random_state=s).fit(x, y) for s in range(8)] for make in makers]
    mean = [np.mean([fit.score(x, y) for fit in each]) for each in fits]
    assert mean[0] == pytest.approx(mean[1], abs=0.05)
    ours, theirs = fits[0][0], fits[1][0]
    again = makers[0](random_state=0).fit(x, y)
    np.testing.assert_array_equal(again.coef_, ours.coef_)
    assert not np.array_equal(fits[0][1].coef_, ours.coef_)
    assert ours.coef_.shape == theirs.coef_.shape
    assert ours.intercept_.shape == theirs.intercept_.shape


def test_descent_without_shuffling_has_the_coefficients_of_scikit_learn():
    x, y = rows("classes")
    # Few epochs: each multiplies the difference in the last digit.
    options = {"shuffle": False, "loss": "log_loss", "max_iter": 5, "tol": None}
    ours = jaxml.sklearn.SGDClassifier(**options).fit(x, y)
    theirs = peer_of("SGDClassifier")(**options).fit(x, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-6)
    np.testing.assert_allclose(
        ours.predict_proba(x), theirs.predict_proba(x), rtol=1e-5
    )


@pytest.mark.parametrize("n_neighbors", [1, 4])
def test_neighbours_are_those_of_scikit_learn(n_neighbors):
    x, _ = rows("numbers")
    ours = jaxml.sklearn.NearestNeighbors(n_neighbors=n_neighbors, radius=0.9).fit(x)
    theirs = peer_of("NearestNeighbors")(n_neighbors=n_neighbors, radius=0.9).fit(x)
    for queries in (None, x[:5] + 0.01):
        for got, want in zip(
            ours.kneighbors(queries), theirs.kneighbors(queries), strict=True
        ):
            np.testing.assert_allclose(got, want, rtol=1e-7)
        for mode in ("connectivity", "distance"):
            got = ours.kneighbors_graph(queries, mode=mode).toarray()
            want = theirs.kneighbors_graph(queries, mode=mode).toarray()
            np.testing.assert_allclose(got, want, rtol=1e-7)
            got = ours.radius_neighbors_graph(queries, mode=mode).toarray()
            want = theirs.radius_neighbors_graph(queries, mode=mode).toarray()
            np.testing.assert_allclose(got, want, rtol=1e-7)
        got = ours.radius_neighbors(queries, sort_results=True)
        want = theirs.radius_neighbors(queries, sort_results=True)
        for a, b in zip(got, want, strict=True):
            assert [len(part) for part in a] == [len(part) for part in b]
            np.testing.assert_allclose(np.concatenate(a), np.concatenate(b), rtol=1e-7)


def test_neighbours_follow_a_parameter_that_was_set_after_the_fit():
    x, y = rows("numbers")
    ours = jaxml.sklearn.KNeighborsRegressor().fit(x, y).set_params(n_neighbors=2)
    theirs = peer_of("KNeighborsRegressor")(n_neighbors=2).fit(x, y)
    np.testing.assert_allclose(ours.predict(x), theirs.predict(x), rtol=1e-9)


def test_isotonic_regression_is_that_of_scikit_learn():
    x, y = rows("numbers")
    x = np.round(x[:, 0], 1)
    new = np.linspace(-4, 4, 33)
    for options in ({"out_of_bounds": "clip"}, {"y_min": 1.0, "increasing": "auto"}):
        ours = jaxml.sklearn.IsotonicRegression(**options).fit(x, y)
        theirs = peer_of("IsotonicRegression")(**options).fit(x, y)
        np.testing.assert_allclose(ours.predict(new), theirs.predict(new), rtol=1e-9)
        np.testing.assert_allclose(ours.X_thresholds_, theirs.X_thresholds_)
        np.testing.assert_allclose(ours.y_thresholds_, theirs.y_thresholds_)
        assert ours.transform(new[:, None]).shape == (33,)
    with pytest.raises(ValueError, match="below the range"):
        jaxml.sklearn.IsotonicRegression(out_of_bounds="raise").fit(x, y).predict([9.0])


@pytest.mark.parametrize("label", [None, "b", "z", "most_frequent"])
def test_rows_without_neighbours_are_told_as_by_scikit_learn(label):
    x, y = rows("classes")
    far = np.concatenate([x[:3], x[:1] + 50])
    options = {"outlier_label": label, "radius": 0.5}
    ours = jaxml.sklearn.RadiusNeighborsClassifier(**options).fit(x, y)
    theirs = peer_of("RadiusNeighborsClassifier")(**options).fit(x, y)
    if label is None:
        with pytest.raises(ValueError, match="No neighbors found"):
            ours.predict(far)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        want = theirs.predict(far)
    np.testing.assert_array_equal(ours.predict(far), want)
    if label != "z":
        np.testing.assert_allclose(ours.predict_proba(far), theirs.predict_proba(far))
        return
    with pytest.warns(UserWarning, match="no class"):
        shares = ours.predict_proba(far)
    np.testing.assert_array_equal(shares[-1], 0)
