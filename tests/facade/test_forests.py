"""Forests and boosting by trees: what the estimators add to the models."""

import numpy as np
import pytest
from sklearn import neural_network, tree

import jaxml.sklearn
from tests.facade.test_parity import peer_of
from tests.facade.test_parity import rows as data_of

FORESTS = ("RandomForest", "ExtraTrees")


@pytest.mark.parametrize("kind", ["Classifier", "Regressor"])
@pytest.mark.parametrize("family", FORESTS)
def test_forests_score_and_show_what_scikit_learn_shows(family, kind):
    x, y = data_of("classes" if kind == "Classifier" else "numbers")
    options = {"n_estimators": 30, "bootstrap": True, "oob_score": True}
    found = []
    for make in (getattr(jaxml.sklearn, family + kind), peer_of(family + kind)):
        model = make(random_state=0, **options).fit(x, y)
        assert model.apply(x).shape == (75, 30)
        out = "oob_decision_function_" if kind == "Classifier" else "oob_prediction_"
        found.append((model.score(x, y), model.oob_score_, getattr(model, out).shape))
        assert model.feature_importances_.shape == (x.shape[1],)
        assert model.n_outputs_ == 1
    ours, theirs = found
    assert ours[2] == theirs[2]
    assert abs(ours[0] - theirs[0]) < 0.05
    assert abs(ours[1] - theirs[1]) < 0.25  # 75 rows, of which each judges a third
    model = getattr(jaxml.sklearn, family + kind)(5, random_state=3)
    one = model.fit(x, y).predict(x)
    np.testing.assert_array_equal(one, model.fit(x, y).predict(x))
    assert not hasattr(model, "oob_score_")


def test_a_forest_takes_missing_values_and_several_targets():
    x, y = data_of("numbers")
    x = x.copy()
    x[::4, 1] = np.nan
    several = np.stack([y, -y], axis=1)
    model = jaxml.sklearn.ExtraTreesRegressor(10, random_state=0).fit(x, several)
    np.testing.assert_allclose(model.predict(x), several, atol=1e-6)
    assert model.n_outputs_ == 2


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("name", ["GradientBoostingClassifier", "AdaBoostClassifier"])
def test_stages_of_classes_are_those_of_scikit_learn(name, k):
    x, y = data_of("classes")
    y = np.where(y == "c", "b", y) if k == 2 else y
    # Splits that leave other rows together must not tie: scikit-learn draws one.
    weight = np.random.default_rng(0).uniform(0.5, 1.5, len(x))
    ours, theirs = (
        make(n_estimators=5).fit(x, y, sample_weight=weight)
        for make in (getattr(jaxml.sklearn, name), peer_of(name))
    )
    for method in ("predict", "predict_proba", "decision_function"):
        got, want = (list(getattr(m, f"staged_{method}")(x)) for m in (ours, theirs))
        assert len(got) == len(want)
        if method == "predict":
            np.testing.assert_array_equal(got, want)
        else:
            np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-9)


def test_stages_end_where_there_is_no_progress():
    x, y = data_of("numbers")
    model = jaxml.sklearn.GradientBoostingRegressor(
        n_estimators=60, n_iter_no_change=2, subsample=0.7, random_state=0
    ).fit(x, y)
    count = model.n_estimators_
    assert 1 < count < 60
    assert len(list(model.staged_predict(x))) == count
    for name in ("train_score_", "oob_scores_", "oob_improvement_"):
        assert getattr(model, name).shape == (count,)
    assert model.apply(x).shape == (75, 60)


@pytest.mark.parametrize("depth", [1, 2])
def test_a_tree_is_boosted_as_in_scikit_learn(depth):
    x, y = data_of("classes")
    member = tree.DecisionTreeClassifier(max_depth=depth)
    mine = jaxml.sklearn.DecisionTreeClassifier(max_depth=depth)
    theirs = peer_of("AdaBoostClassifier")(member, n_estimators=3).fit(x, y)
    for given in (member, mine):
        ours = jaxml.sklearn.AdaBoostClassifier(given, n_estimators=3).fit(x, y)
        np.testing.assert_allclose(
            ours.estimator_errors_, theirs.estimator_errors_, rtol=1e-6, atol=1e-12
        )


def test_another_model_is_boosted():
    x, y = data_of("classes")
    member = jaxml.sklearn.LogisticRegression(C=0.01)
    ours = jaxml.sklearn.AdaBoostClassifier(member, n_estimators=3).fit(x, y)
    other = jaxml.sklearn.LogisticRegression(C=0.01, tol=1e-8)
    theirs = peer_of("AdaBoostClassifier")(other, n_estimators=3).fit(x, y)
    np.testing.assert_allclose(
        ours.estimator_weights_, theirs.estimator_weights_, rtol=1e-3
    )
    np.testing.assert_array_equal(ours.predict(x), theirs.predict(x))
    numbers = data_of("numbers")
    ridge = jaxml.sklearn.Ridge(alpha=0.1)
    model = jaxml.sklearn.AdaBoostRegressor(ridge, n_estimators=5, random_state=0)
    assert model.fit(*numbers).score(*numbers) > 0.2
    assert not hasattr(model, "feature_importances_")


def test_adaboost_regressor_scores_as_scikit_learn():
    x, y = data_of("numbers")
    ours, theirs = (
        make(random_state=0).fit(x, y).score(x, y)
        for make in (jaxml.sklearn.AdaBoostRegressor, peer_of("AdaBoostRegressor"))
    )
    assert abs(ours - theirs) < 0.05


def test_rejects_what_it_does_not_compute():
    x, y = data_of("classes")
    balanced = {"class_weight": "balanced_subsample"}
    with pytest.raises(NotImplementedError, match="'balanced' or a dict"):
        jaxml.sklearn.RandomForestClassifier(**balanced).fit(x, y)
    with pytest.raises(NotImplementedError, match="estimator of AdaBoostClassifier"):
        jaxml.sklearn.AdaBoostClassifier(neural_network.MLPClassifier()).fit(x, y)
    with pytest.raises(NotImplementedError, match="warm_start"):
        jaxml.sklearn.RandomForestClassifier(warm_start=True).fit(x, y)
    noise = np.ones_like(x)
    with pytest.raises(ValueError, match="better than chance"):
        jaxml.sklearn.AdaBoostClassifier().fit(noise, y)
