"""The ν forms of support vector machines against scikit-learn (LIBSVM)."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import datasets, svm

from jaxml.models.classical import nu_svc, nu_svr, one_class_svm


def standard(name, every=1):
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    x = (x - x.mean(0)) / np.maximum(x.std(0), 1e-9)
    return x[::every], y[::every]


@pytest.fixture(scope="module")
def cancer():
    return standard("breast_cancer", 3)


@pytest.fixture(scope="module")
def wine():
    return standard("wine")


@pytest.fixture(scope="module")
def diabetes():
    x, y = standard("diabetes", 3)
    return x, (y - y.mean()) / y.std()


def weights(n):
    return np.random.default_rng(0).integers(1, 8, n) / 2


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("name", "k", "nu"), [("cancer", 2, 0.3), ("wine", 3, 0.2)])
def test_classification_matches_sklearn(request, name, k, nu, weighted):
    x, y = request.getfixturevalue(name)
    weight = weights(len(y)) if weighted else None
    peer = svm.NuSVC(nu=nu, gamma=0.05, tol=1e-10, decision_function_shape="ovo")
    peer.fit(x, y, weight)
    with jax.enable_x64(True):
        model = nu_svc.fit(
            jnp.array(x),
            jnp.array(y),
            n_classes=k,
            nu=nu,
            gamma=0.05,
            tol=1e-10,
            sample_weight=None if weight is None else jnp.array(weight),
        )
        margins = nu_svc.decision_function(
            model, jnp.array(x), decision_function_shape="ovo"
        )
        few = nu_svc.compact(model)
    np.testing.assert_allclose(margins, peer.decision_function(x), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(few.support, peer.support_)
    np.testing.assert_array_equal(model.n_support, peer.n_support_)
    np.testing.assert_allclose(model.intercept, peer.intercept_, rtol=1e-5, atol=1e-6)
    assert model.converged


@pytest.mark.parametrize("weighted", [False, True])
def test_regression_matches_sklearn(diabetes, weighted):
    x, y = diabetes
    weight = weights(len(y)) if weighted else None
    peer = svm.NuSVR(nu=0.4, C=2.0, gamma=0.05, tol=1e-10).fit(x, y, weight)
    with jax.enable_x64(True):
        model = nu_svr.fit(
            jnp.array(x),
            jnp.array(y),
            nu=0.4,
            C=2.0,
            gamma=0.05,
            tol=1e-10,
            sample_weight=None if weight is None else jnp.array(weight),
        )
        found = nu_svr.predict(model, jnp.array(x))
    np.testing.assert_allclose(found, peer.predict(x), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(model.n_support, peer.n_support_)
    assert model.converged


@pytest.mark.parametrize("weighted", [False, True])
def test_one_class_matches_sklearn(cancer, weighted):
    x, _ = cancer
    weight = weights(len(x)) if weighted else None
    peer = svm.OneClassSVM(nu=0.2, gamma=0.05, tol=1e-10).fit(x, sample_weight=weight)
    with jax.enable_x64(True):
        rows = jnp.array(x)
        model = one_class_svm.fit(
            rows,
            nu=0.2,
            gamma=0.05,
            tol=1e-10,
            sample_weight=None if weight is None else jnp.array(weight),
        )
        height = one_class_svm.decision_function(model, rows)
        scores = one_class_svm.score_samples(model, rows)
        inside = one_class_svm.predict(model, rows)
    np.testing.assert_allclose(height, peer.decision_function(x), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(scores, peer.score_samples(x), rtol=1e-5)
    sure = np.abs(height) > 1e-6  # support vectors lie on the edge
    np.testing.assert_array_equal(inside[sure], peer.predict(x)[sure])
    assert model.converged


def test_nu_bounds_errors_and_supports(cancer):
    x, y = jnp.array(cancer[0], jnp.float32), jnp.array(cancer[1])
    for nu in (0.1, 0.4):
        model = nu_svc.fit(x, y, nu=nu, gamma=0.02, tol=1e-4)
        margin = jnp.where(y == 1, 1, -1) * nu_svc.decision_function(model, x)
        assert (margin < 1 - 1e-3).mean() <= nu
        assert model.n_support.sum() >= nu * len(x) - 1


def test_derivative_by_nu(cancer, diabetes):
    with jax.enable_x64(True):
        x, y = jnp.array(cancer[0][:40]), jnp.array(cancer[1][:40])
        rows, target = jnp.array(diabetes[0][:40]), jnp.array(diabetes[1][:40])

        def of_classes(nu):
            model = nu_svc.fit(x, y, nu=nu, gamma=0.05, tol=1e-12)
            return (nu_svc.decision_function(model, x[:5] + 0.1) ** 2).sum()

        def of_targets(nu):
            model = nu_svr.fit(rows, target, nu=nu, gamma=0.05, tol=1e-12)
            return (nu_svr.predict(model, rows[:5] + 0.1) ** 2).sum()

        for value in (of_classes, of_targets):
            compiled, slope = jax.jit(value), jax.jit(jax.grad(value))(0.33)
            finite = (compiled(0.33 + 1e-6) - compiled(0.33 - 1e-6)) / 2e-6
            np.testing.assert_allclose(slope, finite, rtol=1e-5)


def test_probabilities_are_those_of_sklearn(wine, key):
    x, y = wine
    rows = jnp.array(x, jnp.float32)
    model = nu_svc.fit(
        rows, jnp.array(y), n_classes=3, nu=0.2, probability=True, key=key
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the parameter is deprecated
        peer = svm.NuSVC(nu=0.2, probability=True, random_state=0).fit(x, y)
        theirs = peer.predict_proba(x)
    ours = nu_svc.predict_proba(model, rows)
    # the folds are drawn by another generator
    assert np.abs(ours - theirs).mean() < 0.02


def test_a_nu_that_no_machine_has_did_not_converge(cancer):
    x, y = jnp.array(cancer[0], jnp.float32), jnp.array(cancer[1])
    few = (jnp.arange(len(y)) < 20) | (y == 1)  # the class 0 is small
    model = nu_svc.fit(x, y, nu=0.9, sample_weight=few.astype(jnp.float32))
    assert not model.converged


def test_an_absent_class_is_never_predicted(wine):
    x, y = jnp.array(wine[0], jnp.float32), jnp.array(wine[1])
    weight = (y != 1).astype(jnp.float32)
    model = nu_svc.fit(x, y, n_classes=3, nu=0.2, gamma=0.05, sample_weight=weight)
    assert (nu_svc.predict(model, x) != 1).all()
    assert model.converged


def test_nan_and_no_weight_did_not_converge(cancer, diabetes):
    x, y = jnp.array(cancer[0], jnp.float32), jnp.array(cancer[1])
    assert not nu_svc.fit(x.at[3, 2].set(jnp.nan), y).converged
    assert not one_class_svm.fit(x.at[3, 2].set(jnp.nan)).converged
    rows, target = (jnp.array(part, jnp.float32) for part in diabetes)
    assert not nu_svr.fit(rows.at[3, 2].set(jnp.nan), target).converged
    none = jnp.zeros(len(rows))
    assert not nu_svr.fit(rows, target, gamma=0.1, sample_weight=none).converged


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nu": 0.0}, "nu must be above 0; got 0"),
        ({"nu": 1.5}, "nu must be from 0 to 1; got 1.5"),
        ({"kernel": "laplace"}, "kernel must be one of"),
    ],
)
def test_rejects_what_has_no_meaning(options, message):
    x, y = jnp.ones((4, 2)), jnp.array([0, 1, 0, 1])
    with pytest.raises(ValueError, match=message):
        nu_svc.fit(x, y, **options)
    with pytest.raises(ValueError, match=message):
        nu_svr.fit(x, jnp.ones(4), **options)
    with pytest.raises(ValueError, match=message):
        one_class_svm.fit(x, **options)
