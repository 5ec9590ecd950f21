"""Coordinate descent against scikit-learn, the duality gap and differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize
from sklearn import linear_model

from jaxml.optim import coordinate
from jaxml.optim.solution import Code


def problem(n=60, d=8, seed=0, correlation=0.0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) + correlation * rng.normal(size=(n, 1))
    y = x[:, :3] @ [1.0, -2.0, 0.5] + 0.3 * rng.normal(size=n)
    return x / np.sqrt(n), y / np.sqrt(n)


def both(x, y, **options):
    """The solutions from the matrix and from the rows."""
    x, y = jnp.asarray(x), jnp.asarray(y)
    gram = coordinate.quadratic(x.T @ x, y @ x, y @ y, **options)
    return {"quadratic": gram, "rows": coordinate.rows(x, y, **options)}


def sklearn_fit(x, y, l1, l2, positive=False):
    model = linear_model.ElasticNet(
        alpha=(l1 + l2) / len(x),
        l1_ratio=l1 / (l1 + l2),
        fit_intercept=False,
        positive=positive,
        tol=1e-12,
        max_iter=100_000,
    )
    return model.fit(x, y).coef_


def objective(x, y, b, l1, l2):
    return 0.5 * ((y - x @ b) ** 2).sum() + l1 * np.abs(b).sum() + 0.5 * l2 * b @ b


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize(("l1", "l2"), [(0.1, 0.0), (0.05, 0.2), (0.0, 0.5)])
def test_matches_sklearn(l1, l2, positive):
    with jax.enable_x64(True):
        x, y = problem(correlation=1.0)
        if l1 == 0 and positive:  # scikit-learn's gap does not close here
            rows, target = np.vstack([x, np.sqrt(l2) * np.eye(8)]), np.zeros(68)
            target[:60] = y
            reference = optimize.nnls(rows, target)[0]
        else:
            reference = sklearn_fit(x, y, l1, l2, positive)
        for name, found in both(x, y, l1=l1, l2=l2, positive=positive).items():
            np.testing.assert_allclose(found.value, reference, atol=1e-6, err_msg=name)
            assert found.info.code == Code.CONVERGED
            np.testing.assert_allclose(
                found.info.objective, objective(x, y, reference, l1, l2), rtol=1e-9
            )


def test_gap_is_the_duality_gap_of_sklearn():
    with jax.enable_x64(True):
        x, y = problem(correlation=2.0)
        for name, found in both(x, y, l1=0.02, max_iter=1, tol=0.0).items():
            b = np.asarray(found.value)
            left = y - x @ b
            scale = min(1, 0.02 / np.abs(x.T @ left).max())
            primal = objective(x, y, b, 0.02, 0)
            dual = scale * left @ y - 0.5 * scale**2 * left @ left
            np.testing.assert_allclose(
                found.info.error, primal - dual, rtol=1e-8, atol=1e-15, err_msg=name
            )


def test_wide_problems_use_lists_and_still_find_the_minimum():
    # 300 coordinates: above the limit for the linear system, below for those in use.
    with jax.enable_x64(True):
        x, y = problem(40, 300)
        reference = sklearn_fit(x, y, 0.05, 0.0)
        for name, found in both(x, y, l1=0.05).items():
            assert found.info.code == Code.CONVERGED
            ours = objective(x, y, np.asarray(found.value), 0.05, 0)
            best = objective(x, y, reference, 0.05, 0)
            assert ours <= best * (1 + 1e-7), name
            assert (np.asarray(found.value) != 0).sum() < 40


def test_exact_on_the_support_in_float32():
    x, y = problem(correlation=3.0)
    found = both(x.astype("float32"), y.astype("float32"), l1=0.03)
    best = objective(x, y, sklearn_fit(x, y, 0.03, 0.0), 0.03, 0)
    for name, solution in found.items():
        ours = objective(x, y, np.asarray(solution.value, float), 0.03, 0)
        # Far below tol = 1e-4: the linear system, not the sweeps, has the last word.
        assert ours <= best * (1 + 1e-9), name


@pytest.mark.parametrize("form", ["quadratic", "rows"])
def test_gradient_on_the_support(form):
    with jax.enable_x64(True):
        x, y = (jnp.asarray(a) for a in problem())

        def value(numbers, x):
            args = (x, y) if form == "rows" else (x.T @ x, y @ x, y @ y)
            solver = getattr(coordinate, form)
            found = solver(*args, l1=numbers[0], l2=numbers[1], tol=1e-14)
            return (found.value * jnp.arange(1.0, 9.0)).sum()

        numbers = jnp.array([0.1, 0.05])
        slope, slope_x = jax.grad(value, (0, 1))(numbers, x)
        step = 1e-6
        for i in range(2):
            e = step * jnp.eye(2)[i]
            change = value(numbers + e, x) - value(numbers - e, x)
            np.testing.assert_allclose(slope[i], change / (2 * step), rtol=1e-5)
        e = jnp.zeros_like(x).at[4, 1].set(step)
        change = value(numbers, x + e) - value(numbers, x - e)
        np.testing.assert_allclose(slope_x[4, 1], change / (2 * step), rtol=1e-5)
        # Forward mode agrees.
        tangent = jax.jvp(lambda a: value(a, x), (numbers,), (jnp.array([1.0, 0.0]),))
        np.testing.assert_allclose(tangent[1], slope[0], rtol=1e-8)


def test_vmap_is_the_loop():
    x, y = (jnp.asarray(a, jnp.float32) for a in problem())
    solve = lambda l1: coordinate.quadratic(x.T @ x, y @ x, y @ y, l1=l1).value
    strengths = jnp.array([0.01, 0.1, 1.0])
    loop = jnp.stack([solve(l1) for l1 in strengths])
    np.testing.assert_allclose(jax.vmap(solve)(strengths), loop, atol=1e-6)


def test_true_slope_gives_lost_digits_back():
    x, y = problem(200, 8, correlation=30.0)
    with jax.enable_x64(True):
        exact = coordinate.rows(jnp.asarray(x), jnp.asarray(y), l1=1e-3, tol=1e-14)
        assert exact.info.converged
        exact = np.asarray(exact.value)
    x32, y32 = jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)
    slope = lambda b: (y32 - x32 @ b) @ x32
    solve = lambda **more: coordinate.quadratic(
        x32.T @ x32, y32 @ x32, y32 @ y32, l1=1e-3, tol=1e-7, **more
    )
    plain = np.abs(np.asarray(solve().value) - exact).max()
    refined = np.abs(np.asarray(solve(slope=slope).value) - exact).max()
    assert refined < 0.2 * plain


def test_without_influence_is_zero():
    gram = jnp.diag(jnp.array([1.0, 0.0]))
    found = coordinate.quadratic(gram, jnp.array([2.0, 0.0]), jnp.array(4.0), l1=0.5)
    np.testing.assert_allclose(found.value, [1.5, 0.0])
    assert found.info.converged


def test_twin_columns_have_a_minimum():
    x, y = problem(30, 3)
    x = np.concatenate([x, x], 1).astype("float32")
    for found in both(x, y.astype("float32"), l1=0.05).values():
        assert found.info.converged
        assert found.info.error <= 1e-4 * (y**2).sum()


def test_not_a_number_ends():
    gram, cross = jnp.eye(3), jnp.array([1.0, jnp.nan, 0.0])
    found = coordinate.quadratic(gram, cross, jnp.array(1.0), l1=0.1)
    assert found.info.code == Code.NOT_FINITE
    assert found.info.n_iter < 50


def test_says_when_it_was_cut_short():
    x, y = problem(correlation=5.0)
    found = both(x.astype("float32"), y.astype("float32"), l1=1e-4, max_iter=1, tol=0.0)
    for solution in found.values():
        assert solution.info.n_iter == 1
        assert solution.info.code == Code.MAX_ITER


def test_rejects_what_does_not_fit():
    gram, cross, spread = jnp.eye(3), jnp.ones(3), jnp.array(3.0)
    with pytest.raises(ValueError, match="l1 must be at least 0; got -1"):
        coordinate.quadratic(gram, cross, spread, l1=-1.0)
    with pytest.raises(ValueError, match="max_iter must be at least 1; got 0"):
        coordinate.quadratic(gram, cross, spread, l1=1.0, max_iter=0)
