"""Linear support vector machines against scikit-learn (LIBLINEAR)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import datasets, svm

from jaxml.models.classical import linear_svc, linear_svr

LOSSES = ("hinge", "squared_hinge")
TUBES = ("epsilon_insensitive", "squared_epsilon_insensitive")


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
    return x, y / y.std()


def loss_of(short, name):
    short = np.maximum(short, 0)
    return short**2 if name.startswith("squared") else short


def objective(coef, intercept, x, sign, cost, loss, scaling=1.0):
    margin = sign * (x @ coef + intercept)
    penalty = 0.5 * (coef @ coef + (intercept / scaling) ** 2)
    return penalty + (cost * loss_of(1 - margin, loss)).sum()


def tube(coef, intercept, x, y, cost, loss, epsilon):
    error = np.abs(y - x @ coef - intercept) - epsilon
    return 0.5 * (coef @ coef + intercept**2) + (cost * loss_of(error, loss)).sum()


def assert_no_worse(ours, theirs):
    assert ours <= theirs * (1 + 1e-6)
    # LIBLINEAR at tol=1e-8 is within 1e-5 of the least value
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("loss", LOSSES)
def test_matches_sklearn(cancer, loss, dtype):
    x, y = cancer
    peer = svm.LinearSVC(C=0.1, loss=loss, tol=1e-8, max_iter=200_000).fit(x, y)
    with jax.enable_x64(dtype == np.float64):
        model = linear_svc.fit(jnp.array(x, dtype), jnp.array(y), C=0.1, loss=loss)
        margins = linear_svc.decision_function(model, jnp.array(x, dtype))
        labels = linear_svc.predict(model, jnp.array(x, dtype))
    data = x, np.where(y == 1, 1, -1), 0.1, loss
    ours = objective(np.asarray(model.coef[0]), float(model.intercept[0]), *data)
    assert_no_worse(ours, objective(peer.coef_[0], peer.intercept_[0], *data))
    np.testing.assert_allclose(model.coef, peer.coef_, rtol=1e-2, atol=1e-3)
    np.testing.assert_allclose(margins, peer.decision_function(x), atol=5e-3)
    np.testing.assert_array_equal(labels, peer.predict(x))
    assert model.converged


@pytest.mark.parametrize("loss", LOSSES)
def test_matches_sklearn_with_weights(wine, loss):
    x, y = wine
    weight = np.random.default_rng(0).integers(0, 4, len(y)) * 1.0
    share = np.array([1.0, 2.0, 0.5])
    options = {"C": 0.1, "loss": loss, "intercept_scaling": 2.0}
    peer = svm.LinearSVC(
        tol=1e-8, max_iter=200_000, class_weight=dict(enumerate(share)), **options
    ).fit(x, y, weight)
    with jax.enable_x64(True):
        model = linear_svc.fit(
            jnp.array(x),
            jnp.array(y),
            n_classes=3,
            class_weight=jnp.array(share),
            sample_weight=jnp.array(weight),
            **options,
        )
    for c in range(3):
        mine = y == c
        cost = 0.1 * weight * np.where(mine, share[c], 1)
        data = x, np.where(mine, 1, -1), cost, loss, 2.0
        ours = objective(np.asarray(model.coef[c]), float(model.intercept[c]), *data)
        assert_no_worse(ours, objective(peer.coef_[c], peer.intercept_[c], *data))
    np.testing.assert_allclose(model.coef, peer.coef_, atol=2e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("epsilon", [0.0, 0.3])
@pytest.mark.parametrize("loss", TUBES)
def test_regression_matches_sklearn(diabetes, loss, epsilon, dtype):
    x, y = diabetes
    peer = svm.LinearSVR(
        C=0.5, loss=loss, epsilon=epsilon, tol=1e-9, max_iter=1_000_000
    ).fit(x, y)
    with jax.enable_x64(dtype == np.float64):
        rows, target = jnp.array(x, dtype), jnp.array(y, dtype)
        model = linear_svr.fit(rows, target, C=0.5, loss=loss, epsilon=epsilon)
        found = linear_svr.predict(model, rows)
    data = x, y, 0.5, loss, epsilon
    ours = tube(np.asarray(model.coef), float(model.intercept[0]), *data)
    assert_no_worse(ours, tube(peer.coef_, peer.intercept_[0], *data))
    np.testing.assert_allclose(found, peer.predict(x), atol=5e-3)
    assert model.converged


@pytest.mark.parametrize("loss", LOSSES)
def test_without_intercept(cancer, loss):
    x, y = jnp.array(cancer[0], jnp.float32), jnp.array(cancer[1])
    model = linear_svc.fit(x, y, loss=loss, C=0.1, fit_intercept=False)
    assert model.intercept == 0
    peer = svm.LinearSVC(C=0.1, loss=loss, fit_intercept=False, tol=1e-8).fit(*cancer)
    np.testing.assert_allclose(model.coef, peer.coef_, rtol=1e-2, atol=1e-3)


def test_a_wide_scaling_frees_the_intercept(cancer):
    x, y = jnp.array(cancer[0] + 3, jnp.float32), jnp.array(cancer[1])
    one = linear_svc.fit(x, y, C=0.1, intercept_scaling=1000.0)
    other = linear_svc.fit(x - 3, y, C=0.1, intercept_scaling=1000.0)
    np.testing.assert_allclose(one.coef, other.coef, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("loss", LOSSES)
def test_derivatives_of_the_margins(cancer, loss):
    with jax.enable_x64(True):
        x, y = jnp.array(cancer[0][:60]), jnp.array(cancer[1][:60])

        def value(both):
            rows = x.at[:, 3].multiply(both[1])
            model = linear_svc.fit(rows, y, C=both[0], loss=loss, tol=1e-7)
            return (linear_svc.decision_function(model, x[:9]) ** 2).sum()

        at = jnp.array([0.05, 1.1])
        compiled, slope = jax.jit(value), jax.jit(jax.grad(value))(at)
        for k, step in enumerate(1e-5 * jnp.eye(2)):
            finite = (compiled(at + step) - compiled(at - step)) / 2e-5
            np.testing.assert_allclose(slope[k], finite, rtol=1e-5)


@pytest.mark.parametrize("loss", TUBES)
def test_derivatives_of_the_regression(diabetes, loss):
    with jax.enable_x64(True):
        x, y = jnp.array(diabetes[0][:60]), jnp.array(diabetes[1][:60])

        def value(both):
            cost, epsilon = both
            model = linear_svr.fit(x, y, C=cost, epsilon=epsilon, loss=loss, tol=1e-7)
            return (linear_svr.predict(model, x[:9]) ** 2).sum()

        at = jnp.array([0.05, 0.2])
        compiled, slope = jax.jit(value), jax.jit(jax.grad(value))(at)
        for k, step in enumerate(1e-5 * jnp.eye(2)):
            finite = (compiled(at + step) - compiled(at - step)) / 2e-5
            np.testing.assert_allclose(slope[k], finite, rtol=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_separable_rows_keep_the_widest_margin(loss):
    x = jnp.array([[-2.0], [-1.0], [1.0], [2.0]])
    model = linear_svc.fit(x, jnp.array([0, 0, 1, 1]), loss=loss, C=1e4)
    np.testing.assert_allclose(model.coef, [[1.0]], rtol=1e-3)
    assert model.converged


@pytest.mark.parametrize("loss", LOSSES)
def test_fewer_rows_than_features_collinear_and_constant(cancer, loss):
    x, y = cancer[0][:8], cancer[1][:8]
    x = jnp.array(np.concatenate([x, x, np.ones((8, 1))], 1), jnp.float32)
    model = linear_svc.fit(x, jnp.array(y), loss=loss)
    assert model.converged
    half = x.shape[1] // 2
    # the penalty shares equally between equal features
    np.testing.assert_allclose(
        model.coef[0, :half], model.coef[0, half : 2 * half], atol=1e-3
    )


@pytest.mark.parametrize("loss", LOSSES)
def test_nan_did_not_converge(cancer, loss):
    x, y = jnp.array(cancer[0], jnp.float32), jnp.array(cancer[1])
    assert not linear_svc.fit(x.at[3, 2].set(jnp.nan), y, loss=loss).converged


@pytest.mark.parametrize("loss", TUBES)
def test_a_constant_target_needs_no_slope(diabetes, loss):
    x = jnp.array(diabetes[0], jnp.float32)
    model = linear_svr.fit(x, jnp.full(len(x), 2.0), loss=loss, intercept_scaling=100.0)
    np.testing.assert_allclose(model.coef, 0, atol=1e-3)
    np.testing.assert_allclose(model.intercept, 2, rtol=1e-3)


@pytest.mark.parametrize("loss", TUBES)
def test_errors_below_epsilon_cost_nothing(diabetes, loss):
    x, y = (jnp.array(part, jnp.float32) for part in diabetes)
    model = linear_svr.fit(x, y, epsilon=100.0, loss=loss)
    np.testing.assert_allclose(model.coef, 0, atol=1e-5)
    assert model.converged


@pytest.mark.parametrize("loss", LOSSES)
def test_no_weight_at_all(cancer, loss):
    x, y = jnp.array(cancer[0], jnp.float32), jnp.array(cancer[1])
    model = linear_svc.fit(x, y, loss=loss, sample_weight=jnp.zeros(len(x)))
    # nothing to lose: the penalty alone is least at 0
    assert not model.converged or not model.coef.any()


@pytest.mark.parametrize("unit", [1e-4, 1e4])
def test_units_of_the_target_are_those_of_the_coefficients(diabetes, unit):
    x, y = (jnp.array(part, jnp.float32) for part in diabetes)
    one = linear_svr.fit(x, y, C=0.5, epsilon=0.1)
    other = linear_svr.fit(x, unit * y, C=0.5 * unit, epsilon=0.1 * unit)
    np.testing.assert_allclose(other.coef, unit * one.coef, rtol=1e-2, atol=2e-3 * unit)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"C": 0.0}, "C must be above 0; got 0"),
        ({"loss": "log"}, "loss must be one of"),
        ({"intercept_scaling": 0.0}, "intercept_scaling must be above 0; got 0"),
        ({"tol": -1.0}, "tol must be at least 0; got -1"),
        ({"max_iter": 0}, "max_iter must be at least 1; got 0"),
    ],
)
def test_rejects_what_has_no_meaning(options, message):
    x = jnp.ones((4, 2))
    with pytest.raises(ValueError, match=message):
        linear_svc.fit(x, jnp.array([0, 1, 0, 1]), **options)
    with pytest.raises(ValueError, match=message):
        linear_svr.fit(x, jnp.ones(4), **options)


def test_rejects_a_negative_tube():
    with pytest.raises(ValueError, match="epsilon must be at least 0; got -1"):
        linear_svr.fit(jnp.ones((4, 2)), jnp.ones(4), epsilon=-1.0)
