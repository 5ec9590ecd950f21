"""Proximal operators against their definition, minimised by brute force."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from jaxml.optim import prox

RNG = np.random.default_rng(0)
POINT = RNG.normal(size=5) * 2

PENALTIES = {
    "l1": (lambda u: prox.l1(u, 0.7), lambda v: 0.7 * np.abs(v).sum()),
    "ridge": (lambda u: prox.ridge(u, 0.7), lambda v: 0.35 * (v**2).sum()),
    "elastic_net": (
        lambda u: prox.elastic_net(u, 0.5, 0.3),
        lambda v: 0.5 * np.abs(v).sum() + 0.15 * (v**2).sum(),
    ),
    "group_l2": (
        lambda u: prox.group_l2(u, 0.7),
        lambda v: 0.7 * np.sqrt((v**2).sum()),
    ),
    "sparse_group": (
        lambda u: prox.sparse_group(u, 0.4, 0.7),
        lambda v: 0.4 * np.abs(v).sum() + 0.7 * np.sqrt((v**2).sum()),
    ),
}

SETS = {  # projection, and what is 0 or more inside, what is 0
    "non_negative": (prox.non_negative, lambda v: v, None),
    "box": (
        lambda u: prox.box(u, -0.5, 1.0),
        lambda v: np.concatenate([v + 0.5, 1 - v]),
        None,
    ),
    "simplex": (lambda u: prox.simplex(u, 2.0), lambda v: v, lambda v: v.sum() - 2),
    "l2_ball": (lambda u: prox.l2_ball(u, 1.5), lambda v: 1.5**2 - v @ v, None),
    "hyperplane": (
        lambda u: prox.hyperplane(u, jnp.arange(1.0, 6.0), 2.0),
        None,
        lambda v: v @ np.arange(1.0, 6.0) - 2,
    ),
    "halfspace": (
        lambda u: prox.halfspace(u, jnp.arange(1.0, 6.0), -9.0),
        lambda v: -9 - v @ np.arange(1.0, 6.0),
        None,
    ),
}


@pytest.mark.parametrize("name", PENALTIES)
def test_penalty_is_the_argmin(name):
    operator, penalty = PENALTIES[name]
    with jax.enable_x64(True):
        ours = np.asarray(operator(jnp.asarray(POINT)))
    cost = lambda v: 0.5 * ((v - POINT) ** 2).sum() + penalty(v)
    # Nelder-Mead from several starts needs no derivative at the kinks.
    best = min(
        optimize.minimize(
            cost, start, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12}
        ).fun
        for start in (POINT, 0.5 * POINT, ours)
    )
    assert cost(ours) <= best + 1e-9


@pytest.mark.parametrize("name", SETS)
def test_projection_is_the_nearest_point(name):
    project, inside, on = SETS[name]
    with jax.enable_x64(True):
        ours = np.asarray(project(jnp.asarray(POINT)))
    constraints = [{"type": "ineq", "fun": inside}] if inside else []
    constraints += [{"type": "eq", "fun": on}] if on else []
    best = optimize.minimize(
        lambda v: ((v - POINT) ** 2).sum(),
        np.full(5, 0.4),
        jac=lambda v: 2 * (v - POINT),
        constraints=constraints,
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    np.testing.assert_allclose(ours, best.x, atol=1e-6)


def test_l1_ball_keeps_what_is_inside_and_shrinks_the_rest():
    inside = jnp.array([0.2, -0.3])
    np.testing.assert_array_equal(prox.l1_ball(inside), inside)
    outside = prox.l1_ball(jnp.array([[3.0, -1.0, 0.1]]), 2.0)
    np.testing.assert_allclose(outside, [[2.0, 0.0, 0.0]], atol=1e-6)
    # The nearest point of a lattice over the ball's surface is no nearer.
    grid = RNG.dirichlet(np.ones(3), 20000) * [1, -1, 1] * 2
    point = np.array([1.4, -1.2, 0.3])
    ours = np.asarray(prox.l1_ball(jnp.asarray(point, jnp.float32), 2.0))
    assert np.abs(ours).sum() == pytest.approx(2.0, abs=1e-6)
    nearest = ((grid - point) ** 2).sum(1).min()
    assert ((ours - point) ** 2).sum() <= nearest + 1e-6


def test_non_negative_l1_is_l1_then_the_orthant():
    point = jnp.asarray(POINT, jnp.float32)
    expected = prox.non_negative(prox.l1(point, 0.6))
    np.testing.assert_allclose(prox.non_negative_l1(point, 0.6), expected, rtol=1e-6)


def test_groups_along_an_axis_are_groups_apart():
    rows = jnp.asarray(RNG.normal(size=(3, 4)), jnp.float32)
    apart = jax.vmap(lambda row: prox.group_l2(row, 1.2))(rows)
    np.testing.assert_allclose(prox.group_l2(rows, 1.2, axis=1), apart, rtol=1e-6)


def test_trees_take_one_strength_or_a_tree_of_them():
    tree = {"a": jnp.array([2.0, -3.0]), "b": jnp.array(0.5)}
    one = prox.l1(tree, 1.0)
    np.testing.assert_array_equal(one["a"], [1.0, -2.0])
    assert one["b"] == 0
    each = prox.l1(tree, {"a": jnp.array([0.0, 1.0]), "b": 0.25})
    np.testing.assert_array_equal(each["a"], [2.0, -2.0])
    assert each["b"] == 0.25


@pytest.mark.parametrize(
    "project",
    [prox.simplex, prox.l1_ball, prox.l2_ball, lambda u: prox.group_l2(u, 0.7)],
    ids=["simplex", "l1_ball", "l2_ball", "group_l2"],
)
def test_derivative_is_that_of_differences(project):
    with jax.enable_x64(True):
        point, step = jnp.asarray(POINT), 1e-6
        slope = jax.jacobian(project)(point)
        moved = [
            (project(point + step * e) - project(point - step * e)) / (2 * step)
            for e in jnp.eye(5)
        ]
        np.testing.assert_allclose(slope, jnp.stack(moved, 1), atol=1e-8)


def test_nothing_is_nan_at_zero():
    zero = jnp.zeros(3)
    for function in (
        lambda u: prox.group_l2(u, 0.7),
        prox.l2_ball,
        prox.l1_ball,
        prox.simplex,
    ):
        assert jnp.isfinite(function(zero)).all()
        assert jnp.isfinite(jax.jacobian(function)(zero)).all()


def test_ties_share_the_simplex():
    np.testing.assert_allclose(prox.simplex(jnp.full(4, 7.0)), np.full(4, 0.25))


@pytest.mark.parametrize("function", [prox.simplex, prox.l1_ball])
def test_rejects_a_radius_of_zero(function):
    with pytest.raises(ValueError, match="must be above 0; got 0"):
        function(jnp.zeros(3), 0.0)
