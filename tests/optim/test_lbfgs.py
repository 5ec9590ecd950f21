"""L-BFGS against scipy, and what any descent must keep."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from jaxml.optim import lbfgs
from jaxml.optim.solution import Code


def rosenbrock(v):
    return (100 * (v[1:] - v[:-1] ** 2) ** 2 + (1 - v[:-1]) ** 2).sum()


def quadratic(condition, d=20):
    """A matrix of given condition number, and its right side."""
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(d, d)))[0]
    matrix = (basis * np.geomspace(1, condition, d)) @ basis.T
    return jnp.asarray(matrix), jnp.asarray(rng.normal(size=d))


def test_finds_the_minimum_of_scipy():
    with jax.enable_x64(True):
        start = jnp.array([-1.2, 1.0, 0.8, -0.5])
        ours = lbfgs.minimize(rosenbrock, start, tol=1e-9, max_iter=200)
        ref = scipy.optimize.minimize(
            rosenbrock, start, jac=jax.grad(rosenbrock), method="L-BFGS-B", tol=1e-12
        )
        assert ours.info.code == Code.CONVERGED
        assert ours.info.error <= 1e-9
        np.testing.assert_allclose(ours.value, ref.x, rtol=1e-6)
        assert ours.info.n_iter <= 1.3 * ref.nit


@pytest.mark.parametrize("condition", [1e1, 1e4])
def test_quadratic_is_solved(condition):
    with jax.enable_x64(True):
        matrix, side = quadratic(condition)
        solution = lbfgs.minimize(
            lambda v: 0.5 * v @ matrix @ v - side @ v,
            jnp.zeros(20),
            tol=1e-8,
            max_iter=1000,
        )
        assert solution.info.converged
        # Below this error the value no longer falls: sqrt(1e-16 condition).
        atol = 1e-8 * np.sqrt(condition) * 10
        np.testing.assert_allclose(matrix @ solution.value, side, atol=atol)


def test_float32_goes_to_its_last_digits_and_stops():
    matrix, side = (part.astype(jnp.float32) for part in quadratic(1e2))
    solution = lbfgs.minimize(
        lambda v: 0.5 * v @ matrix @ v - side @ v, jnp.zeros(20), tol=0.0, max_iter=500
    )
    assert solution.info.code == Code.PRECISION
    assert solution.info.n_iter < 200
    np.testing.assert_allclose(matrix @ solution.value, side, atol=1e-4)


def test_takes_any_tree():
    start = {"a": jnp.zeros(2), "b": (jnp.zeros(()), jnp.ones((2, 2)))}

    def fun(tree):
        return sum(((leaf - 3) ** 2).sum() for leaf in jax.tree.leaves(tree))

    solution = lbfgs.minimize(fun, start)
    assert jax.tree.structure(solution.value) == jax.tree.structure(start)
    for leaf in jax.tree.leaves(solution.value):
        np.testing.assert_allclose(leaf, 3, atol=1e-4)


def test_value_never_rises_and_first_step_is_safe():
    """A steep start: a step as long as the gradient would leave float32."""
    values = [
        lbfgs.minimize(
            lambda v: jnp.exp(v).sum() - v.sum(), jnp.full(3, 10.0), max_iter=n
        ).info.objective
        for n in (1, 3, 9, 60)
    ]
    assert all(b <= a for a, b in pairwise(values))
    np.testing.assert_allclose(values[-1], 3, rtol=1e-5)


def test_gradient_of_the_minimum():
    with jax.enable_x64(True):
        matrix, side = quadratic(10.0)

        def least(side):
            return lbfgs.minimize(
                lambda v: 0.5 * v @ matrix @ v - side @ v, jnp.zeros(20), tol=1e-11
            ).value

        jacobian = jax.jacrev(least)(side)
        np.testing.assert_allclose(jacobian, np.linalg.inv(matrix), atol=1e-8)


def test_vmap_is_the_loop():
    def least(shift):
        return lbfgs.minimize(
            lambda v: jnp.cosh(v - shift).sum(), jnp.zeros(2), tol=1e-5
        ).value

    shifts = jnp.array([0.0, 1.0, 5.0])
    np.testing.assert_allclose(
        jax.vmap(least)(shifts), jnp.stack([least(s) for s in shifts]), atol=1e-4
    )


def test_not_a_number_ends():
    solution = lbfgs.minimize(lambda v: (v * jnp.nan).sum(), jnp.zeros(2))
    assert solution.info.code == Code.NOT_FINITE
    assert not solution.info.converged


def test_no_minimum_ends():
    solution = lbfgs.minimize(lambda v: v.sum(), jnp.zeros(2))
    assert not solution.info.converged or solution.info.n_iter <= 100


def test_bound_on_the_steps_is_kept():
    with jax.enable_x64(True):
        solution = lbfgs.minimize(rosenbrock, jnp.full(4, -1.0), max_iter=3)
        assert solution.info.n_iter == 3
        assert solution.info.code == Code.MAX_ITER


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"max_iter": 0}, "max_iter must be at least 1"),
        ({"memory_size": 0}, "memory_size must be at least 1"),
        ({"tol": -1.0}, "tol must be at least 0"),
    ],
)
def test_rejects_numbers_out_of_range(options, match):
    with pytest.raises(ValueError, match=match):
        lbfgs.minimize(lambda v: (v**2).sum(), jnp.zeros(2), **options)
