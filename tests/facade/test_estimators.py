"""What an estimator takes, refuses and keeps."""

import inspect

import jax
import numpy as np
import pytest
from sklearn import base, exceptions

import jaxml.sklearn
from jaxml.models.classical import ridge
from jaxml.sklearn import LogisticRegression, Ridge, rows
from jaxml.sklearn.table import TABLE
from tests.facade.test_parity import CASES, peer_of
from tests.facade.test_parity import rows as data_of

ALL = sorted(TABLE)


def numbers(dtype=np.float64):
    x, y = data_of("numbers")
    return x.astype(dtype), y.astype(dtype)


@pytest.mark.parametrize("name", ALL)
def test_signature_and_defaults_are_scikit_learns(name):
    ours, theirs = getattr(jaxml.sklearn, name), peer_of(name)
    assert inspect.signature(ours) == inspect.signature(theirs)
    assert ours().get_params() == theirs().get_params()
    assert repr(ours()) == repr(theirs())
    assert base.is_classifier(ours()) == base.is_classifier(theirs())
    assert ours.__doc__.startswith(inspect.getdoc(theirs).split("\n")[0])


@pytest.mark.parametrize("name", ALL)
def test_table_names_parameters_that_are(name):
    row, known = TABLE[name], set(peer_of(name)().get_params())
    assert known >= {*row.silent.split(), *row.handled.split(), *row.only}


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("Ridge", {"positive": True}),
        ("LinearRegression", {"positive": True}),
        ("LogisticRegression", {"solver": "liblinear"}),
        ("LogisticRegression", {"dual": True}),
        ("LinearSVC", {"penalty": "l1"}),
        ("KNeighborsClassifier", {"metric_params": {"w": [1.0]}}),
    ],
)
def test_rejects_what_it_does_not_compute(name, parameters):
    kind = (
        "classes" if base.is_classifier(getattr(jaxml.sklearn, name)()) else "numbers"
    )
    (parameter,) = parameters
    estimator = getattr(jaxml.sklearn, name)(**parameters)
    with pytest.raises(NotImplementedError, match=f"{parameter} of {name} must be"):
        estimator.fit(*data_of(kind))


def test_rejects_a_parameter_as_scikit_learn_does():
    with pytest.raises(ValueError, match="'alpha' parameter of Ridge must be"):
        Ridge(alpha=-1.0).fit(*numbers())
    with pytest.raises(TypeError, match="unexpected keyword"):
        Ridge(strength=1.0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_computes_in_the_precision_of_the_data(dtype):
    x, y = numbers(dtype)
    model = Ridge().fit(x, y)
    assert model.coef_.dtype == model.predict(x).dtype == dtype
    assert model.model_.coef.dtype == dtype
    assert not jax.config.jax_enable_x64
    model.coef_ *= 2  # the attributes are the user's


def test_whole_numbers_and_lists_are_float64():
    model = Ridge().fit([[1], [2], [4]], [1, 2, 3])
    assert model.coef_.dtype == model.predict([[3]]).dtype == np.float64


def test_state_goes_into_the_functions_of_the_module():
    x, y = numbers(np.float32)
    model = Ridge().fit(x, y)
    direct = ridge.predict(model.model_, jax.numpy.asarray(x))
    np.testing.assert_allclose(model.predict(x), direct, rtol=1e-6)


@pytest.mark.parametrize("name", sorted(set(CASES) - {"KNeighborsRegressor"}))
def test_padding_changes_nothing(name, monkeypatch):
    kind, parameters, attributes, rtol = CASES[name]
    x, y = data_of(kind)
    x, y = x[:70], y[:70]
    padded = getattr(jaxml.sklearn, name)(**parameters).fit(x, y)
    monkeypatch.setattr(rows, "LARGEST_PADDED", 0)
    plain = getattr(jaxml.sklearn, name)(**parameters).fit(x, y)
    for attribute in attributes:
        got, want = getattr(padded, attribute), getattr(plain, attribute)
        near = rtol * np.abs(want).max()
        np.testing.assert_allclose(got, want, rtol, near, err_msg=attribute)
    if kind in ("classes", "events"):
        np.testing.assert_array_equal(padded.predict(x), plain.predict(x))
    else:
        want = plain.predict(x)
        near = rtol * np.abs(want).max()
        np.testing.assert_allclose(padded.predict(x), want, rtol, near)


def test_folds_share_a_program():
    x, y = numbers(np.float32)
    Ridge().fit(x[:70], y[:70])
    before = ridge._fit._cache_size()
    for n in (65, 66, 75):
        Ridge(alpha=n).fit(x[:n], y[:n])
    assert ridge._fit._cache_size() == before


@pytest.mark.parametrize("labels", [[0, 7], ["no", "yes"], [False, True], [-1.0, 1.0]])
def test_labels_of_any_kind(labels):
    x, y = data_of("classes")
    y = np.asarray(labels)[(y == "a").astype(int)]
    model = LogisticRegression().fit(x, y)
    np.testing.assert_array_equal(model.classes_, np.unique(y))
    np.testing.assert_array_equal(model.predict(x), y)


@pytest.mark.parametrize("weight", ["balanced", {"a": 5.0, "b": 1.0, "c": 0.2}])
@pytest.mark.parametrize("name", ["LogisticRegression", "SVC", "LinearSVC"])
def test_class_weights_are_scikit_learns(name, weight):
    x, y = data_of("classes")
    x, y = x[:60], y[:60]  # unequal classes
    parameters = CASES[name][1] | {"class_weight": weight}
    ours = getattr(jaxml.sklearn, name)(**parameters).fit(x, y)
    theirs = peer_of(name)(**parameters).fit(x, y)
    want = theirs.decision_function(x)
    got = ours.decision_function(x)
    np.testing.assert_allclose(got, want, 1e-3, 1e-3 * np.abs(want).max())


def test_a_weight_of_zero_is_an_absent_row():
    x, y = numbers()
    weight = (np.arange(len(x)) % 3 > 0).astype(float)
    ours = Ridge().fit(x, y, sample_weight=weight)
    want = Ridge().fit(x[weight > 0], y[weight > 0])
    np.testing.assert_allclose(ours.coef_, want.coef_, rtol=1e-10)


@pytest.mark.parametrize(
    ("weight", "match"),
    [
        (-np.ones(75), "Negative"),
        (np.ones(74), "expected"),
        (np.zeros(75), "non-zero"),
        (np.full(75, np.nan), "NaN"),
    ],
)
def test_rejects_weights_that_are_none(weight, match):
    with pytest.raises(ValueError, match=match):
        Ridge().fit(*numbers(), sample_weight=weight)


def test_rejects_one_class_where_scikit_learn_does():
    x, _ = data_of("classes")
    with pytest.raises(ValueError, match="at least two classes"):
        LogisticRegression().fit(x, np.zeros(len(x)))


@pytest.mark.parametrize(
    "name", ["GaussianNB", "MultinomialNB", "KNeighborsClassifier", "DummyClassifier"]
)
def test_one_class_is_a_model_where_it_is_in_scikit_learn(name):
    x, _ = data_of("events")
    ours = getattr(jaxml.sklearn, name)().fit(x, ["only"] * len(x))
    theirs = peer_of(name)().fit(x, ["only"] * len(x))
    np.testing.assert_array_equal(ours.predict(x), theirs.predict(x))
    np.testing.assert_allclose(ours.predict_proba(x), theirs.predict_proba(x))
    for name in set(vars(theirs)) & {"class_prior_", "class_count_", "theta_"}:
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name))


def test_warns_where_the_steps_do_not_suffice():
    x, y = data_of("classes")
    with pytest.warns(exceptions.ConvergenceWarning, match="after 1 iterations"):
        LogisticRegression(max_iter=1).fit(x, y)


def test_penalty_in_the_old_words_means_the_new_ones():
    x, y = data_of("classes")
    fit = lambda **parameters: (
        LogisticRegression(tol=1e-8, **parameters).fit(x, y).coef_
    )
    np.testing.assert_allclose(fit(penalty="l2"), fit(), rtol=1e-6)
    l1 = {"max_iter": 5000, "solver": "saga"}
    want = fit(l1_ratio=1.0, **l1)
    np.testing.assert_allclose(fit(penalty="l1", **l1), want, rtol=1e-6)
    assert (want == 0).any()
    weak = fit(C=1e6, max_iter=1000)
    assert np.abs(fit(penalty=None, max_iter=1000)).sum() >= np.abs(weak).sum() * 0.99


@pytest.mark.parametrize("name", ["GaussianNB", "MultinomialNB", "BernoulliNB"])
def test_parts_add_up_to_the_whole(name):
    x, y = data_of("events")
    make = getattr(jaxml.sklearn, name)
    parts = make().partial_fit(x[:20], y[:20], classes=["a", "b", "c"])
    parts.partial_fit(x[20:50], y[20:50]).partial_fit(x[50:], y[50:])
    whole = make().fit(x, y)
    np.testing.assert_allclose(
        parts.predict_proba(x), whole.predict_proba(x), rtol=1e-9
    )
    again = make().fit(x[:50], y[:50]).partial_fit(x[50:], y[50:])
    np.testing.assert_allclose(
        again.predict_proba(x), whole.predict_proba(x), rtol=1e-9
    )


def test_descent_goes_on_as_in_scikit_learn():
    x, y = data_of("classes")
    options = {"shuffle": False, "loss": "log_loss"}
    ours = jaxml.sklearn.SGDClassifier(**options)
    theirs = peer_of("SGDClassifier")(**options)
    for part in (slice(0, 40), slice(40, 75)):
        for model in (ours, theirs):
            model.partial_fit(x[part], y[part], classes=["a", "b", "c"])
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-9)
    assert ours.t_ == theirs.t_
    with pytest.raises(ValueError, match="classes must be those of the first call"):
        ours.partial_fit(x, y, classes=["a", "b"])
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        jaxml.sklearn.SGDClassifier().partial_fit(x, y)


def test_probabilities_are_there_where_they_are_asked_for():
    x, y = data_of("classes")
    assert not hasattr(jaxml.sklearn.SVC(), "predict_proba")
    assert not hasattr(jaxml.sklearn.SGDClassifier(), "predict_proba")
    assert hasattr(jaxml.sklearn.SGDClassifier(loss="log_loss"), "predict_proba")
    model = jaxml.sklearn.SVC(probability=True, random_state=0).fit(x, y)
    shares = model.predict_proba(x)
    np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-9)
    assert (model.classes_[shares.argmax(1)] == y).mean() > 0.9


@pytest.mark.parametrize("kernel", ["linear", "precomputed"])
def test_kernels_of_scikit_learn(kernel):
    x, y = data_of("classes")
    data = x @ x.T if kernel == "precomputed" else x
    ours = jaxml.sklearn.SVC(kernel=kernel, tol=1e-7).fit(data, y)
    theirs = peer_of("SVC")(kernel=kernel, tol=1e-7).fit(data, y)
    want = theirs.decision_function(data)
    np.testing.assert_allclose(ours.decision_function(data), want, rtol=1e-4)
    if kernel == "linear":
        np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-4, atol=1e-6)
