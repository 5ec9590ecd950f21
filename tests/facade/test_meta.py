"""The estimators inside those of scikit-learn that take estimators."""

import numpy as np
import pytest
import sklearn
from sklearn import calibration, ensemble, model_selection, multiclass, pipeline
from sklearn import linear_model as theirs
from sklearn.preprocessing import StandardScaler

from jaxml.sklearn import SVC, KNeighborsClassifier, LogisticRegression, Ridge
from tests.facade.test_parity import rows as data_of


def test_pipeline_and_search_choose_what_scikit_learn_chooses():
    x, y = data_of("numbers")
    grid = {"ridge__alpha": [0.01, 1.0, 30.0]}
    chosen = []
    for ridge in (Ridge(), theirs.Ridge()):
        steps = pipeline.make_pipeline(StandardScaler(), ridge)
        search = model_selection.GridSearchCV(steps, grid, cv=3).fit(x, y)
        chosen.append(search.cv_results_["mean_test_score"])
    np.testing.assert_allclose(*chosen, rtol=1e-9)


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_cross_validation_predicts_what_scikit_learn_predicts(method):
    x, y = data_of("classes")
    options = {"tol": 1e-8, "max_iter": 1000}
    found = [
        model_selection.cross_val_predict(make(**options), x, y, cv=3, method=method)
        for make in (LogisticRegression, theirs.LogisticRegression)
    ]
    if method == "predict":
        np.testing.assert_array_equal(*found)
    else:
        np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-6)


def test_stacking_voting_and_one_against_the_rest():
    x, y = data_of("classes")
    parts = [("svc", SVC()), ("near", KNeighborsClassifier())]
    last = LogisticRegression(max_iter=1000)
    for model in (
        ensemble.StackingClassifier(parts, final_estimator=last, cv=3),
        ensemble.VotingClassifier(parts),
        ensemble.BaggingClassifier(KNeighborsClassifier(), 3, random_state=0),
        multiclass.OneVsRestClassifier(LogisticRegression()),
        calibration.CalibratedClassifierCV(SVC(), cv=3),
    ):
        assert model.fit(x, y).score(x, y) > 0.9


def test_boosting_gives_it_weights():
    x, y = data_of("classes")
    found = []
    for make in (LogisticRegression, theirs.LogisticRegression):
        boost = ensemble.AdaBoostClassifier(
            make(tol=1e-8, max_iter=1000), n_estimators=3
        )
        found.append(boost.fit(x, y).predict(x))
    np.testing.assert_array_equal(*found)


def test_weights_are_routed():
    x, y = data_of("numbers")
    weight = np.linspace(0, 1, len(x))
    with sklearn.config_context(enable_metadata_routing=True):
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        model = Ridge().set_fit_request(sample_weight=True)
        steps = pipeline.make_pipeline(scaler, model)
        routed = steps.fit(x, y, sample_weight=weight)
    want = Ridge().fit(StandardScaler().fit_transform(x), y, sample_weight=weight)
    np.testing.assert_allclose(routed[-1].coef_, want.coef_, rtol=1e-9)


def test_several_processes_score_as_one():
    x, y = data_of("numbers")
    score = model_selection.cross_val_score
    want = score(Ridge(), x, y, cv=3)
    np.testing.assert_allclose(score(Ridge(), x, y, cv=3, n_jobs=2), want, rtol=1e-9)
