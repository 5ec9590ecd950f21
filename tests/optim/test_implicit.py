"""Derivatives of a root, by every way to solve the linear system."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.optim import implicit


def spring(theta, linear, skew):
    """The root v of A v = theta², found by elimination."""
    matrix = jnp.array([[3.0, 1.0 + skew], [1.0 - skew, 2.0]])
    target = theta**2 * jnp.array([1.0, 2.0])
    solve = lambda start: (jnp.linalg.solve(matrix, target), jnp.array(7))
    value, count = implicit.root(
        lambda v: matrix @ v - target, jnp.zeros(2), solve, linear=linear
    )
    return (value * jnp.array([1.0, -2.0])).sum(), count


@pytest.mark.parametrize("mode", [jax.grad, jax.jacfwd])
@pytest.mark.parametrize(
    ("linear", "skew"),
    [("dense", 0.5), ("normal", 0.5), ("cg", 0.0), ("auto", 0.5)],
)
def test_derivative_is_that_of_the_solution(mode, linear, skew):
    with jax.enable_x64(True):
        value = lambda theta: spring(theta, linear, skew)[0]
        theta = jnp.array(1.5)
        # value is proportional to theta²
        want = 2 * value(theta) / theta
        np.testing.assert_allclose(mode(value)(theta), want, rtol=1e-10)
        many = jnp.array([0.5, 2.0])
        each = [mode(value)(one) for one in many]
        np.testing.assert_allclose(jax.vmap(mode(value))(many), each, rtol=1e-10)


def test_what_is_not_the_value_has_no_derivative():
    slope, count = jax.grad(spring, has_aux=True)(1.0, "dense", 0.0)
    assert float(slope) != 0
    assert count.dtype == jnp.int32
    assert int(count) == 7


def test_above_a_thousand_unknowns():
    with jax.enable_x64(True):
        scale = jnp.linspace(1.0, 2.0, 1100)

        def total(theta):
            solve = lambda start: (theta / scale, ())
            return implicit.root(lambda v: scale * v - theta, scale, solve)[0].sum()

        np.testing.assert_allclose(jax.grad(total)(1.0), (1 / scale).sum(), rtol=1e-10)


def test_rejects_an_unknown_way():
    with pytest.raises(ValueError, match="linear must be one of"):
        implicit.root(lambda v: v, jnp.zeros(2), lambda v: (v, ()), linear="lu")
