"""Support vector regression against scikit-learn (LIBSVM)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import datasets, svm

from jaxml.models.classical import svr
from jaxml.ops import kernels


@pytest.fixture(scope="module")
def diabetes():
    x, y = datasets.load_diabetes(return_X_y=True)
    x = (x - x.mean(0)) / x.std(0)
    return x[::3], (y[::3] - y.mean()) / y.std()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"kernel": "linear", "epsilon": 0.0, "C": 0.1},
        {"kernel": "poly", "degree": 2, "coef0": 1.0, "gamma": "auto", "C": 0.1},
        {"C": 10.0, "gamma": 0.05, "epsilon": 0.3},
    ],
    ids=str,
)
def test_matches_sklearn(diabetes, options):
    x, y = diabetes
    peer = svm.SVR(tol=1e-8, **options).fit(x, y)
    with jax.enable_x64(True):
        model = svr.fit(jnp.array(x), jnp.array(y), tol=1e-8, **options)
        few = svr.compact(model)
        for state in (model, few):
            found = svr.predict(state, jnp.array(x))
            # LIBSVM holds its kernel in float32: 6e-8 times the sum of |β|, up to 600
            np.testing.assert_allclose(found, peer.predict(x), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(few.support, peer.support_)
    np.testing.assert_array_equal(model.n_support, peer.n_support_)
    np.testing.assert_allclose(few.dual_coef, peer.dual_coef_, atol=1e-3)
    np.testing.assert_allclose(model.intercept, peer.intercept_, atol=1e-5)
    assert model.converged


def test_matches_sklearn_with_weights(diabetes):
    x, y = diabetes
    weight = np.random.default_rng(0).integers(0, 4, len(y)) * 1.0
    peer = svm.SVR(tol=1e-8, gamma=0.05).fit(x, y, weight)
    with jax.enable_x64(True):
        model = svr.fit(
            jnp.array(x),
            jnp.array(y),
            gamma=0.05,
            tol=1e-8,
            sample_weight=jnp.array(weight),
        )
        found = svr.predict(model, jnp.array(x))
    np.testing.assert_allclose(found, peer.predict(x), rtol=1e-6, atol=1e-6)


def test_objective_in_float32_is_that_of_libsvm(diabetes):
    x, y = diabetes
    model = svr.fit(jnp.array(x, jnp.float32), jnp.array(y, jnp.float32), gamma=0.05)
    peer = svm.SVR(gamma=0.05).fit(x, y)
    with jax.enable_x64(True):
        matrix = np.asarray(kernels.rbf(jnp.array(x), jnp.array(x), gamma=0.05))

    def objective(coef):
        return 0.5 * coef @ matrix @ coef - y @ coef + 0.1 * np.abs(coef).sum()

    theirs = np.zeros(len(y))
    theirs[peer.support_] = peer.dual_coef_[0]
    # equal tolerance 1e-3 of the conditions
    np.testing.assert_allclose(
        objective(np.asarray(model.dual_coef[0])), objective(theirs), rtol=1e-6
    )


def test_derivatives_of_the_prediction(diabetes):
    with jax.enable_x64(True):
        x, y = jnp.array(diabetes[0][:40]), jnp.array(diabetes[1][:40])

        def value(numbers):
            cost, gamma, epsilon = numbers
            model = svr.fit(x, y, C=cost, gamma=gamma, epsilon=epsilon, tol=1e-12)
            return (svr.predict(model, x[:5] + 0.1) ** 2).sum()

        at = jnp.array([1.3, 0.04, 0.15])
        compiled, slope = jax.jit(value), jax.jit(jax.grad(value))(at)
        for k, step in enumerate(1e-6 * jnp.eye(3)):
            finite = (compiled(at + step) - compiled(at - step)) / 2e-6
            np.testing.assert_allclose(slope[k], finite, rtol=1e-5)


def test_precomputed_kernel(diabetes):
    x, y = (jnp.array(part, jnp.float32) for part in diabetes)
    matrix = kernels.rbf(x, x, gamma=0.05)
    known = svr.fit(matrix, y, kernel="precomputed")
    named = svr.fit(x, y, gamma=0.05)
    np.testing.assert_allclose(
        svr.predict(known, matrix), svr.predict(named, x), atol=1e-3
    )


def test_large_kernels_go_by_blocks(diabetes, monkeypatch):
    from jaxml.models.classical import kernel_svm

    x, y = (jnp.array(part, jnp.float32) for part in diabetes)
    model = svr.fit(x, y, gamma=0.05)
    whole = svr.predict(model, x)
    monkeypatch.setattr(kernel_svm, "BLOCK_BYTES", 4 * len(x) * 20)
    jax.clear_caches()
    np.testing.assert_allclose(svr.predict(model, x), whole, atol=1e-5)


def test_errors_below_epsilon_cost_nothing(diabetes):
    x, y = (jnp.array(part, jnp.float32) for part in diabetes)
    model = svr.fit(x, y, epsilon=100.0)
    assert not model.dual_coef.any()
    # any level within the tube is right; the middle of what is allowed is taken
    np.testing.assert_allclose(model.intercept, (y.max() + y.min()) / 2, atol=1e-4)


def test_constant_target_and_rows():
    x = jnp.ones((6, 2))
    model = svr.fit(x, jnp.full(6, 3.0))
    np.testing.assert_allclose(svr.predict(model, x), 3, atol=0.11)
    assert model.converged


def test_nan_did_not_converge(diabetes):
    x, y = (jnp.array(part, jnp.float32) for part in diabetes)
    assert not svr.fit(x.at[3, 2].set(jnp.nan), y).converged
    assert not svr.fit(x, y.at[3].set(jnp.nan)).converged


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilon": -1.0}, "epsilon must be at least 0; got -1"),
        ({"C": 0.0}, "C must be above 0; got 0"),
        ({"tol": 0.0}, "tol must be above 0; got 0"),
        ({"kernel": "laplace"}, "kernel must be one of"),
    ],
)
def test_rejects_what_has_no_meaning(options, message):
    with pytest.raises(ValueError, match=message):
        svr.fit(jnp.ones((4, 2)), jnp.ones(4), **options)


@pytest.mark.usefixtures("unchecked")
def test_rejects_several_targets():
    with pytest.raises(ValueError, match="one floating number for each row"):
        svr.fit(jnp.ones((4, 2)), jnp.ones((4, 2)))
