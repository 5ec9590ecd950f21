"""Estimators made of estimators: against scikit-learn's around the same members."""

import inspect
import pickle
import warnings

import jax
import numpy as np
import pytest
import sklearn
from sklearn import base, ensemble, linear_model
from sklearn.exceptions import SkipTestWarning
from sklearn.utils import estimator_checks

import jaxml.sklearn
from jaxml.sklearn import (
    SVC,
    BaggingClassifier,
    BaggingRegressor,
    GaussianNB,
    KNeighborsClassifier,
    LogisticRegression,
    Ridge,
    SGDClassifier,
    StackingClassifier,
    VotingRegressor,
)
from jaxml.sklearn.combine_rows import MADE_OF_ESTIMATORS
from jaxml.sklearn.together import Drawn
from tests.facade.test_parity import rows as data_of

LINE = LogisticRegression(tol=1e-8)


def pair(name, *args, **parameters):
    """Ours and scikit-learn's."""
    makers = (getattr(home, name) for home in (jaxml.sklearn, ensemble))
    return [make(*args, **parameters) for make in makers]


# Parity.


@pytest.mark.filterwarnings("ignore:Some inputs do not have OOB")
@pytest.mark.filterwarnings("ignore:invalid value encountered in divide")
@pytest.mark.parametrize(
    ("member", "options"),
    [
        (LINE, {}),
        (LogisticRegression(tol=1e-8, class_weight="balanced"), {"max_features": 0.5}),
        (SVC(tol=1e-6), {"bootstrap": False, "max_samples": 0.6}),
        (KNeighborsClassifier(), {"max_features": 3, "bootstrap_features": True}),
        (SGDClassifier(loss="log_loss", max_iter=5, tol=None), {}),
        (linear_model.LogisticRegression(), {}),
    ],
    ids=["line", "balanced", "svc", "near", "sgd", "theirs"],
)
def test_bagging_is_the_loop_of_scikit_learn(member, options):
    x, y = data_of("classes")
    if options.get("bootstrap", True):
        options = options | {"oob_score": True}
    models = pair("BaggingClassifier", member, 6, random_state=0, **options)
    ours, theirs = (model.fit(x, y) for model in models)
    for one, two in zip(ours, theirs, strict=True):
        assert type(one) is type(member)
        assert one.get_params() == two.get_params()
    for name in ("estimators_samples_", "estimators_features_"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    near = {"rtol": 1e-4, "atol": 1e-3}
    np.testing.assert_array_equal(ours.predict(x), theirs.predict(x))
    np.testing.assert_allclose(ours.predict_proba(x), theirs.predict_proba(x), **near)
    assert hasattr(ours, "decision_function") == hasattr(theirs, "decision_function")
    if hasattr(ours, "decision_function"):
        np.testing.assert_allclose(
            ours.decision_function(x), theirs.decision_function(x), **near
        )
    if "oob_score" in options:
        np.testing.assert_allclose(ours.oob_score_, theirs.oob_score_)
        found, want = ours.oob_decision_function_, theirs.oob_decision_function_
        np.testing.assert_allclose(found, want, **near)


@pytest.mark.filterwarnings("ignore:Some inputs do not have OOB")
def test_bagging_of_numbers_is_the_loop_of_scikit_learn():
    x, y = data_of("numbers")
    weight = np.arange(len(x)) % 3
    ours, theirs = (
        model.fit(x, y, sample_weight=weight)
        for model in pair(
            "BaggingRegressor",
            Ridge(),
            5,
            max_samples=40,
            random_state=1,
            oob_score=True,
        )
    )
    np.testing.assert_allclose(ours.predict(x), theirs.predict(x), rtol=1e-9)
    np.testing.assert_allclose(ours.oob_prediction_, theirs.oob_prediction_, rtol=1e-9)
    assert ours.oob_score_ == pytest.approx(theirs.oob_score_)


@pytest.mark.parametrize("weights", [None, [3, 1, 1]])
@pytest.mark.parametrize("voting", ["hard", "soft"])
def test_voting_is_scikit_learns(voting, weights):
    x, y = data_of("classes")
    members = [
        ("line", LINE),
        ("bayes", GaussianNB()),
        ("near", KNeighborsClassifier()),
    ]
    options = {"voting": voting, "weights": weights}
    ours, theirs = (m.fit(x, y) for m in pair("VotingClassifier", members, **options))
    np.testing.assert_array_equal(ours.predict(x), theirs.predict(x))
    np.testing.assert_allclose(ours.transform(x), theirs.transform(x))
    ours.set_params(bayes="drop").fit(x, y)
    theirs.set_params(bayes="drop").fit(x, y)
    np.testing.assert_array_equal(ours.predict(x), theirs.predict(x))


def test_stacking_mixes_members_of_both():
    x, y = data_of("classes")
    members = [("ours", GaussianNB()), ("theirs", linear_model.RidgeClassifier())]
    for final in (None, LINE):
        ours, theirs = (
            model.fit(x, y)
            for model in pair("StackingClassifier", members, final, cv=3)
        )
        np.testing.assert_allclose(ours.transform(x), theirs.transform(x))
        np.testing.assert_array_equal(ours.predict(x), theirs.predict(x))


@pytest.mark.parametrize("name", ["BaggingClassifier", "BaggingRegressor"])
def test_bags_are_of_our_trees_where_nothing_is_asked_for(name):
    x, y = data_of("classes" if name.endswith("Classifier") else "numbers")
    options = {"n_estimators": 3, "random_state": 0, "max_features": 0.5}
    ours = getattr(jaxml.sklearn, name)(**options).fit(x, y)
    tree = getattr(jaxml.sklearn, name.replace("Bagging", "DecisionTree"))
    assert type(ours[0]) is tree
    loop = getattr(ensemble, name)(tree(), **options).fit(x, y)
    np.testing.assert_allclose(ours.predict(x[:9]) == loop.predict(x[:9]), True)
    missing = np.where(np.arange(x.size).reshape(x.shape) % 7 == 0, np.nan, x)
    ours.fit(missing, y).predict(missing)


# What one program means.


def test_members_wait_and_are_fitted_once(monkeypatch):
    x, y = data_of("classes")
    waited = []
    monkeypatch.setattr(Drawn, "__init__", _count(Drawn.__init__, waited))
    model = BaggingClassifier(LINE, 4, random_state=0, n_jobs=2).fit(x, y)
    assert len(waited) == 4
    assert not any(isinstance(member, Drawn) for member in model)
    before = len(waited)
    warm = BaggingClassifier(LINE, 2, random_state=0, warm_start=True).fit(x, y)
    warm.set_params(n_estimators=4).fit(x, y)
    assert len(waited) == before
    near = {"rtol": 1e-4, "atol": 1e-3}
    np.testing.assert_allclose(warm.predict_proba(x), model.predict_proba(x), **near)


def test_another_number_of_the_members_compiles_nothing(caplog):
    x, y = data_of("numbers")
    fit = lambda alpha: BaggingRegressor(Ridge(alpha), 3, random_state=0).fit(x, y)
    fit(1.0).predict(x)
    with jax.log_compiles(), caplog.at_level("WARNING"):
        fit(2.0).predict(x)
    assert not [r for r in caplog.records if "Finished XLA compil" in r.message]


def test_members_that_miss_a_class_are_refused_as_in_the_loop():
    x, y = data_of("classes")
    few = np.where(np.arange(len(y)) == 0, "a", "b")
    for model in pair("BaggingClassifier", LINE, 5, random_state=1, max_samples=20):
        with pytest.raises(ValueError, match="at least two classes"):
            model.fit(x, few)


def test_rows_that_every_member_drew_are_warned_of():
    x, y = data_of("numbers")
    model = BaggingRegressor(Ridge(), 2, random_state=0, oob_score=True)
    with pytest.warns(UserWarning, match="do not have OOB scores"):
        model.fit(x, y)


# What scikit-learn expects of an estimator.


@pytest.mark.parametrize("name", sorted(MADE_OF_ESTIMATORS))
def test_is_scikit_learns_class_by_another_name(name):
    ours, theirs = getattr(jaxml.sklearn, name), getattr(ensemble, name)
    assert inspect.signature(ours) == inspect.signature(theirs)
    assert issubclass(ours, theirs)
    assert ours.__doc__.startswith(inspect.getdoc(theirs).split("\n")[0])


def test_is_cloned_pickled_and_set_by_nested_names():
    x, y = data_of("classes")
    model = BaggingClassifier(base.clone(LINE), 3, random_state=0).set_params(
        estimator__C=0.5
    )
    again = base.clone(model.fit(x, y))
    assert again.estimator.C == 0.5
    want = model.predict_proba(x)
    kept = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(kept.predict_proba(x), want)
    stack = StackingClassifier(
        [("line", base.clone(LINE)), ("bayes", GaussianNB())], base.clone(LINE), cv=3
    )
    stack.set_params(line__C=3.0, final_estimator__C=0.1).fit(x, y)
    assert stack.named_estimators_["line"].C == 3.0
    kept = pickle.loads(pickle.dumps(stack))
    np.testing.assert_array_equal(kept.predict_proba(x), stack.predict_proba(x))


def test_weights_are_routed_to_members():
    x, y = data_of("numbers")
    weight = np.linspace(0, 1, len(x))
    with sklearn.config_context(enable_metadata_routing=True):
        member = Ridge().set_fit_request(sample_weight=True)
        found = VotingRegressor([("one", member)]).fit(x, y, sample_weight=weight)
    want = Ridge().fit(x, y, sample_weight=weight)
    np.testing.assert_allclose(found.predict(x), want.predict(x), rtol=1e-9)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
@pytest.mark.parametrize("name", sorted(MADE_OF_ESTIMATORS))
def test_passes_the_checks_of_scikit_learn(name):
    member = GaussianNB() if name.endswith("Classifier") else Ridge()
    made = getattr(jaxml.sklearn, name)
    if name.startswith("Bagging"):
        member = LogisticRegression() if name.endswith("Classifier") else Ridge()
        estimator = made(member, n_estimators=2)
    else:
        estimator = made([("one", member), ("two", base.clone(member))])
        if name.startswith("Stacking"):
            estimator.set_params(cv=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkipTestWarning)
        results = estimator_checks.check_estimator(
            estimator,
            expected_failed_checks=FAILS_HERE.get(name, {}),
            on_skip=None,
            on_fail=None,
        )
    failed = {
        r["check_name"]: repr(r["exception"])[:500]
        for r in results
        if r["status"] == "failed"
    }
    assert not failed
    assert len(results) > 40
    jax.clear_caches()


_DRAWN = "a row of weight 2 is one row to draw, two rows are two"
FAILS_HERE = {  # of the estimators of scikit-learn of the same names, too
    name: {"check_sample_weight_equivalence_on_dense_data": _DRAWN}
    for name in ("BaggingClassifier", "BaggingRegressor")
}


def _count(function, calls):
    def counted(*args):
        calls.append(args)
        return function(*args)

    return counted
