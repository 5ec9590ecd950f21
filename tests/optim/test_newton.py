"""Newton's method, dense and for linear models."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.optim import irls, newton
from jaxml.optim.solution import Code


def rosenbrock(v):
    return (100 * (v[1:] - v[:-1] ** 2) ** 2 + (1 - v[:-1]) ** 2).sum()


def test_quadratic_takes_one_step():
    with jax.enable_x64(True):
        matrix = jnp.array([[3.0, 1.0], [1.0, 2.0]])
        solution = newton.minimize(
            lambda v: 0.5 * v @ matrix @ v - v.sum(), jnp.zeros(2), tol=1e-9
        )
        assert solution.info.n_iter == 1
        np.testing.assert_allclose(matrix @ solution.value, 1, rtol=1e-9)


def test_goes_down_where_the_hessian_is_not_positive():
    with jax.enable_x64(True):
        solution = newton.minimize(rosenbrock, jnp.array([-1.2, 1.0, 0.5]), tol=1e-9)
        assert solution.info.code == Code.CONVERGED
        np.testing.assert_allclose(solution.value, 1, rtol=1e-7)
        # At 0 the Hessian of this one is negative.
        two = newton.minimize(lambda v: (v**2 - 1.0) ** 2, jnp.asarray(0.1), tol=1e-9)
        np.testing.assert_allclose(two.value, 1, rtol=1e-7)


def test_gradient_of_the_minimum():
    with jax.enable_x64(True):

        def least(shift):
            return newton.minimize(
                lambda v: jnp.cosh(v - shift).sum() + 0.5 * (v**2).sum(),
                jnp.zeros(2),
                tol=1e-12,
            ).value.sum()

        shift = jnp.array([0.5, -1.0])
        step = 1e-5
        for axis in range(2):
            move = step * jnp.eye(2)[axis]
            change = (least(shift + move) - least(shift - move)) / (2 * step)
            np.testing.assert_allclose(jax.grad(least)(shift)[axis], change, rtol=1e-7)


def test_not_a_number_ends():
    solution = newton.minimize(lambda v: (v * jnp.nan).sum(), jnp.zeros(2))
    assert solution.info.code == Code.NOT_FINITE


def test_rejects_numbers_out_of_range():
    with pytest.raises(ValueError, match="max_iter must be at least 1"):
        newton.minimize(lambda v: (v**2).sum(), jnp.zeros(2), max_iter=0)


# The parts that linear models share.


@pytest.mark.parametrize("rank", [1, 3])
def test_cholesky_solver_divides_in_any_units(rank):
    rng = np.random.default_rng(0)
    half = rng.normal(size=(6, 3))
    units = np.array([1e-4, 1.0, 1e4])
    matrix = half.T @ half * units[:, None] * units[None]
    right = matrix @ (np.arange(1.0, 4.0) / units)
    solve = newton.cholesky_solver(jnp.asarray(matrix, jnp.float32))
    shape = (3,) if rank == 1 else (2, 3)
    side = jnp.broadcast_to(jnp.asarray(right, jnp.float32), shape)
    answer = np.broadcast_to(np.arange(1.0, 4.0) / units, shape)
    np.testing.assert_allclose(solve(side), answer, rtol=1e-4)


@pytest.mark.parametrize("low", [0.0, -1.0])
def test_cholesky_solver_is_positive_for_any_symmetric_matrix(low):
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    matrix = (basis * np.array([low, low, 1, 2, 3])) @ basis.T
    solve = newton.cholesky_solver(jnp.asarray(matrix, jnp.float32))
    for vector in np.vstack([basis.T, rng.normal(size=(5, 5))]).astype(np.float32):
        assert vector @ solve(jnp.asarray(vector)) > 0


@pytest.mark.parametrize("bias", [True, False])
def test_gram_is_the_sum_of_outer_products(bias):
    rng = np.random.default_rng(0)
    x, h = rng.normal(size=(7, 3)), rng.uniform(size=7)
    rows = np.hstack([x, np.ones((7, 1))]) if bias else x
    x, h = jnp.asarray(x, jnp.float32), jnp.asarray(h, jnp.float32)
    np.testing.assert_allclose(
        irls.gram(x, h, bias), (rows.T * np.array(h)) @ rows, rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        irls.gram(x, jnp.asarray(2.0), bias), 2 * rows.T @ rows, rtol=1e-5, atol=1e-6
    )


def test_least_squares_takes_one_hessian_and_one_step():
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        x, y = jnp.asarray(rng.normal(size=(30, 3))), jnp.asarray(rng.normal(size=30))
        weight, total = irls.shares(x, None)
        assert total == 30
        ridge = jnp.array([0.1, 0.1, 0.1, 0.0])

        def loss(values):
            return 0.5 * (weight * (values - y) ** 2).sum(), weight * (values - y)

        def objective(point):
            return loss(irls.scores(x, point))[0] + 0.5 * (ridge * point**2).sum()

        solution = irls.minimize(
            x,
            jnp.zeros(4),
            loss,
            irls.by_rows(x, weight, jnp.ones_like, ridge, level=True),
            ridge=ridge,
            residual=jax.grad(objective),
            max_iter=10,
            tol=1e-10,
        )
        rows = np.hstack([x, np.ones((30, 1))])
        answer = np.linalg.solve(rows.T @ rows / 30 + np.diag(ridge), rows.T @ y / 30)
        np.testing.assert_allclose(solution.value, answer, rtol=1e-9)
        assert solution.info.n_iter <= 2
