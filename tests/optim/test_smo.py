"""Sequential minimal optimisation against a solver of general quadratic programs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from jaxml.ops import kernels
from jaxml.optim import gram, smo
from jaxml.optim.solution import Code

N = 24


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, 2))
    sign = np.where(x[:, 0] + 0.8 * rng.normal(size=N) > 0, 1.0, -1.0)
    return x, sign


def bounds(sign, cost):
    return np.where(sign > 0, 0, -cost), np.where(sign > 0, cost, 0)


def matrix_of(x, gamma=0.5):
    return kernels.rbf(jnp.array(x), jnp.array(x), gamma=gamma)


def fit(x, sign, cost=1.0, gamma=0.5, **options):
    low, high = (jnp.array(b)[None] for b in bounds(sign, cost))
    matrix = gram.dense(matrix_of(x, gamma))
    return smo.minimize(matrix, -jnp.array(sign)[None], low, high, **options)


def reference(matrix, linear, low, high, total=0.0):
    """The least value by SLSQP, for a smooth problem."""
    start = np.clip(np.full(len(low), total / len(low)), low, high)
    return optimize.minimize(
        lambda b: 0.5 * b @ matrix @ b + linear @ b,
        start,
        jac=lambda b: matrix @ b + linear,
        bounds=list(zip(low, high, strict=True)),
        constraints={"type": "eq", "fun": lambda b: b.sum() - total},
        options={"ftol": 1e-14, "maxiter": 500},
    )


def test_finds_the_minimum(problem):
    x, sign = problem
    with jax.enable_x64(True):
        solution = fit(x, sign, tol=1e-8)
        best = reference(np.array(matrix_of(x)), -sign, *bounds(sign, 1.0))
    np.testing.assert_allclose(solution.info.objective, best.fun, rtol=1e-8)
    np.testing.assert_allclose(solution.value.beta[0], best.x, atol=1e-5)
    assert solution.info.converged


def test_kink_is_the_problem_in_two_halves(problem):
    x, _ = problem
    y = np.sin(2 * x[:, 0])
    with jax.enable_x64(True):
        matrix = np.array(matrix_of(x))
        room = jnp.ones((1, N))
        solution = smo.minimize(
            gram.dense(jnp.array(matrix)),
            -jnp.array(y)[None],
            -room,
            room,
            kink=0.1,
            tol=1e-8,
        )
        # β = α - α*, both at least 0
        both = np.block([[matrix, -matrix], [-matrix, matrix]])
        sign = np.r_[np.ones(N), -np.ones(N)]
        best = optimize.minimize(
            lambda a: 0.5 * a @ both @ a + (0.1 - sign * np.r_[y, y]) @ a,
            np.zeros(2 * N),
            jac=lambda a: both @ a + 0.1 - sign * np.r_[y, y],
            bounds=[(0, 1)] * (2 * N),
            constraints={"type": "eq", "fun": lambda a: sign @ a},
            options={"ftol": 1e-14, "maxiter": 500},
        )
    np.testing.assert_allclose(solution.info.objective, best.fun, rtol=1e-7)


def test_a_step_ends_at_the_kink():
    # the slope before the kink would carry it to the other side
    room, zero = jnp.full((1, 2), 9.0), jnp.zeros((1, 2))
    for start, end in (([-1.0, 3.0], [0.0, 2.0]), ([-3.0, 1.0], [-2.0, 0.0])):
        begin = jnp.array(start)[None]
        solution = smo.minimize(
            gram.dense(jnp.eye(2)), zero, -room, room, start=begin, kink=2.0, max_iter=1
        )
        np.testing.assert_array_equal(solution.value.beta[0], end)


def test_two_sides_keep_their_sums(problem):
    x, sign = problem
    with jax.enable_x64(True):
        matrix = np.array(matrix_of(x))
        high = jnp.array(np.stack([sign > 0, sign < 0]) * 1.0)
        high = high * jnp.array([[1.0], [0.0]])
        low = -jnp.array(np.stack([sign > 0, sign < 0]) * 1.0)
        low = low * jnp.array([[0.0], [1.0]])
        start = high * 0.3 + low * 0.3
        solution = smo.minimize(
            gram.dense(jnp.array(matrix)),
            jnp.zeros((2, N)),
            low,
            high,
            start=start,
            tol=1e-8,
        )
        beta = solution.value.beta
        np.testing.assert_allclose(beta.sum(1), start.sum(1), atol=1e-12)
        positive, sums = sign > 0, np.array(start.sum(1))
        best = optimize.minimize(
            lambda b: 0.5 * b @ matrix @ b,
            np.array(start.sum(0)),
            jac=lambda b: matrix @ b,
            bounds=list(zip(*bounds(sign, 1.0), strict=True)),
            constraints=[
                {"type": "eq", "fun": lambda b: b[positive].sum() - sums[0]},
                {"type": "eq", "fun": lambda b: b[~positive].sum() - sums[1]},
            ],
            options={"ftol": 1e-14, "maxiter": 500},
        )
    np.testing.assert_allclose(solution.info.objective, best.fun, rtol=1e-7)


def test_rows_on_demand_are_the_same_problem(problem):
    x, sign = problem
    rows = jnp.array(x, jnp.float32)
    lazy = gram.lazy(
        lambda i: rows[i],
        lambda z: kernels.row(rows, z, gamma=0.5),
        lambda z: kernels.rbf(rows, z, gamma=0.5),
        kernels.diagonal(rows),
    )
    low, high = (jnp.array(b, jnp.float32)[None] for b in bounds(sign, 1.0))
    target = -jnp.array(sign, jnp.float32)[None]
    ours = smo.minimize(lazy, target, low, high, tol=1e-4)
    whole = smo.minimize(gram.dense(matrix_of(rows)), target, low, high, tol=1e-4)
    np.testing.assert_allclose(ours.value.beta, whole.value.beta, atol=1e-3)
    np.testing.assert_allclose(ours.info.objective, whole.info.objective, rtol=1e-5)


def test_lazy_product_is_that_of_the_matrix():
    x = jax.random.normal(jax.random.key(0), (gram.BLOCK + 44, 2))
    vector = jnp.sin(jnp.arange(len(x), dtype=jnp.float32))
    lazy = gram.lazy(
        lambda i: x[i],
        lambda z: kernels.row(x, z),
        lambda z: kernels.rbf(x, z),
        kernels.diagonal(x),
    )
    np.testing.assert_allclose(
        lazy.product(vector), kernels.rbf(x, x) @ vector, rtol=1e-4, atol=1e-4
    )


def test_derivatives_of_the_solution(problem):
    x, sign = problem
    with jax.enable_x64(True):
        new = jnp.array(x[:5] + 0.3)

        def value(both):
            cost, gamma = both
            low, high = jnp.where(sign > 0, 0, -cost), jnp.where(sign > 0, cost, 0)
            matrix = gram.dense(matrix_of(x, gamma))
            machine = smo.minimize(
                matrix, -jnp.array(sign)[None], low[None], high[None], tol=1e-12
            ).value
            field = kernels.rbf(new, jnp.array(x), gamma=gamma) @ machine.beta[0]
            return ((field + machine.bias[0]) ** 2).sum()

        at = jnp.array([0.9, 0.6])
        slope = jax.jit(jax.grad(value))(at)
        compiled = jax.jit(value)
        for k, step in enumerate(1e-5 * jnp.eye(2)):
            finite = (compiled(at + step) - compiled(at - step)) / 2e-5
            np.testing.assert_allclose(slope[k], finite, rtol=1e-5)


def test_runs_under_vmap(problem):
    x, sign = problem
    costs = jnp.array([0.1, 1.0, 10.0])
    low, high = jnp.where(sign > 0, 0.0, -1.0), jnp.where(sign > 0, 1.0, 0.0)
    matrix = gram.dense(matrix_of(jnp.array(x, jnp.float32)))
    target = -jnp.array(sign, jnp.float32)[None]

    def one(cost):
        return smo.minimize(matrix, target, cost * low[None], cost * high[None])

    together = jax.vmap(one)(costs)
    for k, cost in enumerate(costs):
        np.testing.assert_allclose(
            together.info.objective[k], one(cost).info.objective, rtol=1e-5
        )


def test_says_when_it_was_cut_short(problem):
    info = fit(*(jnp.array(part, jnp.float32) for part in problem), max_iter=3).info
    assert info.n_iter == 3
    assert info.code == Code.MAX_ITER


def test_stops_at_the_floor_of_the_precision(problem):
    x, sign = (np.float32(part) for part in problem)
    info = fit(x, sign, cost=np.float32(1e5), tol=0.0).info
    assert info.converged
    assert info.n_iter < 20_000


def test_nan_ends_it(problem):
    x, sign = (np.float32(part) for part in problem)
    x[3] = np.nan
    info = fit(x, sign).info
    assert info.code == Code.NOT_FINITE


def test_one_sign_alone_is_its_own_answer(problem):
    x, sign = (np.float32(part) for part in problem)
    solution = fit(x, np.abs(sign))
    assert solution.info.converged
    assert not solution.value.beta.any()
    np.testing.assert_allclose(solution.value.bias, 1)


def test_no_row_at_all_is_no_answer(problem):
    x, sign = (np.float32(part) for part in problem)
    solution = fit(x, sign, cost=np.float32(0))
    assert not solution.info.converged
    assert np.isnan(solution.value.bias).all()


def test_rejects_a_kink_with_two_sides(problem):
    matrix = gram.dense(jnp.eye(3))
    two = jnp.zeros((2, 3))
    with pytest.raises(ValueError, match="without a kink"):
        smo.minimize(matrix, two, two, two, kink=0.1)
