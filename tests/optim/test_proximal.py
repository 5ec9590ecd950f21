"""Proximal gradient against scikit-learn, scipy and differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize
from sklearn import datasets, linear_model, svm

from jaxml.optim import prox, proximal
from jaxml.optim.solution import Code


def regression():
    """The diabetes data, standardised."""
    x, y = datasets.load_diabetes(return_X_y=True)
    return (x - x.mean(0)) / x.std(0), (y - y.mean()) / y.std()


def half_mean(x, y):
    return lambda b: 0.5 * ((y - x @ b) ** 2).mean()


def shrink(alpha):
    return lambda v, step: prox.l1(v, step * alpha)


@pytest.mark.parametrize("acceleration", [True, False])
@pytest.mark.parametrize("searching", [True, False])
def test_lasso_matches_sklearn(acceleration, searching):
    x, y = regression()
    reference = linear_model.Lasso(alpha=0.1, fit_intercept=False, tol=1e-12)
    reference.fit(x, y)
    step = None if searching else 0.9 * len(x) / np.linalg.norm(x, 2) ** 2
    with jax.enable_x64(True):
        solution = proximal.minimize(
            half_mean(jnp.asarray(x), jnp.asarray(y)),
            jnp.zeros(10),
            shrink(0.1),
            step=step,
            acceleration=acceleration,
            tol=1e-8,
        )
    np.testing.assert_allclose(solution.value, reference.coef_, atol=1e-7)
    assert solution.info.code == Code.CONVERGED


def test_momentum_needs_fewer_iterations():
    x, y = regression()
    with jax.enable_x64(True):
        fun = half_mean(jnp.asarray(x), jnp.asarray(y))
        counts = [
            int(
                proximal.minimize(
                    fun,
                    jnp.zeros(10),
                    shrink(1e-3),
                    acceleration=acceleration,
                    step=0.24,
                    max_iter=20_000,
                    tol=1e-8,
                ).info.n_iter
            )
            for acceleration in (True, False)
        ]
    assert counts[0] < 0.3 * counts[1]


def test_non_negative_least_squares_matches_scipy():
    x, y = regression()
    reference, _ = optimize.nnls(x, y)
    with jax.enable_x64(True):
        solution = proximal.minimize(
            half_mean(jnp.asarray(x), jnp.asarray(y)),
            jnp.zeros(10),
            lambda v, step: prox.non_negative(v),
            tol=1e-9,
            max_iter=2000,
        )
    np.testing.assert_allclose(solution.value, reference, atol=1e-7)


def test_simplex_dual_of_the_multiclass_svm():
    """Crammer and Singer's machine without intercept, through its dual."""
    x, y = datasets.load_iris(return_X_y=True)
    x = (x - x.mean(0)) / x.std(0)
    strength = len(x) / 1.0  # scikit-learn's C = 1
    reference = svm.LinearSVC(
        multi_class="crammer_singer",
        C=1 / strength * len(x),
        fit_intercept=False,
        tol=1e-8,
        max_iter=200_000,
        random_state=0,
    ).fit(x, y)
    with jax.enable_x64(True):
        x, onehot = jnp.asarray(x), jax.nn.one_hot(jnp.asarray(y), 3)
        weights = lambda beta: x.T @ (onehot - beta)

        def dual(beta):
            return 0.5 * (weights(beta) ** 2).sum() + (beta * onehot).sum()

        solution = proximal.minimize(
            dual,
            jnp.full((150, 3), 1 / 3),
            lambda v, step: prox.simplex(v),
            max_iter=20_000,
            tol=1e-7,
        )
        ours = np.asarray(weights(solution.value).T)
        x, onehot = np.asarray(x), np.asarray(onehot)
        assert solution.info.converged

    def primal(w):
        margin = x @ w.T + 1 - onehot
        own = (x @ w.T * onehot).sum(1)
        return 0.5 * (w**2).sum() + (margin.max(1) - own).sum()

    assert primal(ours) <= primal(reference.coef_) * (1 + 1e-6)
    np.testing.assert_allclose(ours, reference.coef_, atol=2e-3)


def test_derivative_of_the_lasso_in_its_strength():
    x, y = regression()
    with jax.enable_x64(True):
        fun = half_mean(jnp.asarray(x), jnp.asarray(y))

        def value(alpha):
            solution = proximal.minimize(fun, jnp.zeros(10), shrink(alpha), tol=1e-11)
            return (solution.value * jnp.arange(10.0)).sum()

        slope = jax.grad(value)(0.05)
        change = (value(0.05 + 1e-5) - value(0.05 - 1e-5)) / 2e-5
    np.testing.assert_allclose(slope, change, rtol=1e-5)


def test_derivative_of_ridge_is_the_closed_form():
    x, y = regression()
    with jax.enable_x64(True):
        x, y = jnp.asarray(x), jnp.asarray(y)

        def numeric(alpha):
            fun = lambda b: half_mean(x, y)(b) + 0.5 * alpha * (b**2).sum()
            return proximal.minimize(
                fun, jnp.zeros(10), prox.identity, tol=1e-11, max_iter=2000
            ).value

        def closed(alpha):
            gram = x.T @ x / len(x) + alpha * jnp.eye(10)
            return jnp.linalg.solve(gram, x.T @ y / len(x))

        np.testing.assert_allclose(
            jax.jacobian(numeric)(0.3), jax.jacobian(closed)(0.3), rtol=1e-7
        )


def test_derivative_in_the_data():
    x, y = regression()
    with jax.enable_x64(True):
        x, y = jnp.asarray(x[:50]), jnp.asarray(y[:50])

        def value(y):
            solution = proximal.minimize(
                half_mean(x, y),
                jnp.zeros(10),
                lambda v, step: prox.non_negative(v),
                tol=1e-11,
                max_iter=5000,
            )
            return (solution.value**2).sum()

        slope = jax.grad(value)(y)[3]
        e = 1e-5 * jnp.eye(50)[3]
        change = (value(y + e) - value(y - e)) / 2e-5
    np.testing.assert_allclose(slope, change, rtol=1e-5)


def test_trees_and_vmap():
    x, y = (jnp.asarray(a, jnp.float32) for a in regression())

    def fun(tree):
        return 0.5 * ((y - x @ tree["w"] - tree["b"]) ** 2).mean()

    def solve(alpha):
        def step_back(tree, step):
            return {"w": prox.l1(tree["w"], step * alpha), "b": tree["b"]}

        start = {"w": jnp.zeros(10), "b": jnp.ones(())}
        return proximal.minimize(fun, start, step_back, tol=1e-5).value["w"]

    alphas = jnp.array([0.01, 0.3])
    loop = jnp.stack([solve(alpha) for alpha in alphas])
    np.testing.assert_allclose(jax.vmap(solve)(alphas), loop, atol=1e-4)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_step_finds_the_scale_of_the_problem(scale):
    x, y = (jnp.asarray(a, jnp.float32) for a in regression())
    fun = lambda b: scale * half_mean(x, y)(b)
    solution = proximal.minimize(
        fun, jnp.zeros(10), shrink(0.1 * scale), tol=1e-5 * scale
    )
    reference = proximal.minimize(half_mean(x, y), jnp.zeros(10), shrink(0.1), tol=1e-5)
    np.testing.assert_allclose(solution.value, reference.value, atol=1e-4)
    assert solution.info.n_iter < 100


def test_not_a_number_ends():
    solution = proximal.minimize(
        lambda b: (b * jnp.nan).sum(), jnp.ones(3), prox.identity
    )
    assert solution.info.code == Code.NOT_FINITE
    assert solution.info.n_iter <= 1


def test_says_when_it_was_cut_short():
    x, y = (jnp.asarray(a, jnp.float32) for a in regression())
    solution = proximal.minimize(
        half_mean(x, y), jnp.zeros(10), shrink(0.01), max_iter=2, tol=1e-9
    )
    assert solution.info.n_iter == 2
    assert not solution.info.converged


def test_stops_at_the_floor_of_the_precision():
    solution = proximal.minimize(
        lambda b: ((b - 3.3) ** 2).sum(), jnp.zeros(3), prox.identity, tol=0.0
    )
    assert solution.info.converged
    assert solution.info.n_iter < 500
    np.testing.assert_allclose(solution.value, 3.3, rtol=1e-6)


def test_rejects_a_step_of_zero():
    with pytest.raises(ValueError, match="step must be above 0; got 0"):
        proximal.minimize(lambda b: b.sum(), jnp.ones(2), prox.identity, step=0.0)
