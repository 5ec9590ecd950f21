"""Generalized linear models against scikit-learn, and what any must keep."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from sklearn.linear_model import TweedieRegressor
from sklearn.metrics import mean_tweedie_deviance

from jaxml.models.classical import glm

SETTINGS = [
    (0.0, "identity"),
    (0.0, "log"),
    (1.0, "log"),
    (1.5, "log"),
    (2.0, "log"),
    (2.0, "identity"),
    (3.0, "log"),
    (-1.0, "identity"),
]


def real(n=150):
    """Diabetes: three features, and progress in units of 100."""
    x, y = load_diabetes(return_X_y=True)
    x = x[:n, [2, 3, 8]]
    return (x - x.mean(0)) / x.std(0), y[:n] / 100


def weights(n):
    return np.random.default_rng(0).uniform(0.2, 3.0, n)


@pytest.mark.parametrize(("power", "link"), SETTINGS)
def test_matches_sklearn(power, link):
    x, y = real()
    weight = weights(len(x))
    options = {"power": power, "link": link, "alpha": 0.1}
    ref = TweedieRegressor(**options, tol=1e-10, max_iter=5000).fit(x, y, weight)
    with jax.enable_x64(True):
        x, y, weight = map(jnp.asarray, (x, y, weight))
        model = glm.fit(x, y, **options, sample_weight=weight, tol=1e-10)
        assert model.converged
        # 1e-5: L-BFGS of scipy stops where the objective no longer changes.
        np.testing.assert_allclose(model.coef, ref.coef_, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(model.intercept, ref.intercept_, rtol=1e-5)
        np.testing.assert_allclose(glm.predict(model, x), ref.predict(x), rtol=1e-5)
        # A traced power goes the general way.
        traced = jax.jit(
            lambda p: glm.fit(
                x, y, **(options | {"power": p}), sample_weight=weight, tol=1e-10
            )
        )(jnp.asarray(power))
        np.testing.assert_allclose(traced.coef, model.coef, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("power", [1.0, 1.5])
def test_identity_link_is_optimal_where_sklearn_leaves_the_domain(power):
    x, y = real()
    with jax.enable_x64(True):
        x, y = jnp.asarray(x), jnp.asarray(y)
        model = glm.fit(x, y, power=power, link="identity", alpha=0.1, tol=1e-10)
        assert model.converged
        assert glm.predict(model, x).min() > 0

        def objective(coef, intercept):
            mean = x @ coef + intercept
            return 0.5 * glm.deviance(y, mean, power).mean() + 0.05 * (coef**2).sum()

        slopes = jax.grad(objective, (0, 1))(model.coef, model.intercept)
        for slope in slopes:
            np.testing.assert_allclose(slope, 0, atol=1e-9)


@pytest.mark.parametrize("intercept", [True, False])
def test_matches_sklearn_in_float32_by_default(intercept):
    x, y = (part.astype(np.float32) for part in real())
    ref = TweedieRegressor(power=1.0, fit_intercept=intercept).fit(x, y)
    model = glm.fit(jnp.asarray(x), jnp.asarray(y), power=1.0, fit_intercept=intercept)
    assert model.coef.dtype == jnp.float32

    def objective(coef, bias):
        score = x.astype(float) @ np.asarray(coef, float) + float(bias)
        return (np.exp(score) - y * score).mean() + 0.5 * (np.array(coef) ** 2).sum()

    best = objective(ref.coef_, ref.intercept_)
    assert objective(model.coef, model.intercept) <= best + 1e-6 * abs(best)
    np.testing.assert_allclose(model.coef, ref.coef_, atol=2e-4)


@pytest.mark.parametrize("power", [-1.0, 0.0, 1.0, 1.001, 1.5, 2.0, 3.0])
def test_deviance_matches_sklearn(power):
    rng = np.random.default_rng(0)
    y, mean = rng.uniform(0.1, 3, 20), rng.uniform(0.1, 3, 20)
    if 1 <= power < 2:
        y[:3] = 0
    if power <= 0:
        y[:3] *= -1
    if power == 0:
        mean[2:5] *= -1
    with jax.enable_x64(True):
        ours = glm.deviance(jnp.asarray(y), jnp.asarray(mean), power)
    for a, b, c in zip(y, mean, ours, strict=True):
        np.testing.assert_allclose(
            c, mean_tweedie_deviance([a], [b], power=power), rtol=1e-9, atol=1e-12
        )


def test_deviance_does_not_jump_where_the_formula_changes():
    with jax.enable_x64(True):
        y, mean = jnp.array([0.5, 2.0]), jnp.array([1.5, 0.3])
        for power in (1.0, 2.0):
            here = glm.deviance(y, mean, power)
            for near in (1e-9, 1e-7, 1e-5):
                there = glm.deviance(y, mean, power + near)
                np.testing.assert_allclose(here, there, rtol=20 * near + 1e-8)


@pytest.mark.parametrize("power", [1.0, 2.0, 1.5])
def test_deviance_has_a_derivative_by_the_power_where_the_formula_changes(power):
    with jax.enable_x64(True):

        def total(power):
            y, mean = jnp.array([0.5, 2.0]), jnp.array([1.5, 0.3])
            return glm.deviance(y, mean, power).sum()

        change = (total(power + 1e-4) - total(power - 1e-4)) / 2e-4
        np.testing.assert_allclose(jax.grad(total)(power), change, rtol=1e-6)


def test_gradients_match_finite_differences():
    x, y = real(30)
    with jax.enable_x64(True):
        theta = {
            "x": jnp.asarray(x),
            "y": jnp.asarray(y),
            "alpha": jnp.array(0.3),
            "power": jnp.array(1.4),
            "weight": jnp.asarray(weights(30)),
        }
        rng = np.random.default_rng(1)

        def loss(t):
            model = glm.fit(
                t["x"],
                t["y"],
                power=t["power"],
                link="log",
                alpha=t["alpha"],
                sample_weight=t["weight"],
                tol=1e-12,
            )
            return (model.coef * jnp.array([1.0, -2.0, 3.0])).sum() + model.intercept

        slope = jax.grad(loss)(theta)
        for name in theta:
            toward = jnp.asarray(rng.normal(size=theta[name].shape))

            def at(size, name=name, toward=toward):
                return float(loss(theta | {name: theta[name] + size * toward}))

            change = (at(1e-5) - at(-1e-5)) / 2e-5
            np.testing.assert_allclose(
                (slope[name] * toward).sum(), change, rtol=1e-5, atol=1e-8
            )


def test_mean_of_the_fit_is_the_mean_of_the_targets():
    """With the natural link of counts and an intercept, whatever the penalty."""
    x, y = real()
    with jax.enable_x64(True):
        model = glm.fit(jnp.asarray(x), jnp.asarray(y), power=1.0, tol=1e-10)
        mean = glm.predict(model, jnp.asarray(x)).mean()
    np.testing.assert_allclose(mean, y.mean(), rtol=1e-8)


def test_collinear_and_constant_features():
    x, y = (part.astype(np.float32) for part in real())
    x = np.hstack([x, x, np.ones((len(x), 1), np.float32)])
    ref = TweedieRegressor(power=1.0, alpha=0.1, tol=1e-9).fit(x, y)
    model = glm.fit(jnp.asarray(x), jnp.asarray(y), power=1.0, alpha=0.1)
    assert model.converged
    np.testing.assert_allclose(model.coef, ref.coef_, atol=1e-3)


def test_collinear_features_without_penalty_end():
    x, y = (part.astype(np.float32) for part in real())
    model = glm.fit(
        jnp.asarray(np.hstack([x, x])), jnp.asarray(y), power=1.0, alpha=0.0
    )
    once = glm.fit(jnp.asarray(x), jnp.asarray(y), power=1.0, alpha=0.0)
    assert model.converged
    np.testing.assert_allclose(model.coef[:3] + model.coef[3:], once.coef, atol=1e-3)


def test_fewer_rows_than_features():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, 20)).astype(np.float32)
    y = rng.uniform(1, 3, 5).astype(np.float32)
    ref = TweedieRegressor(power=2.0, alpha=0.1, tol=1e-9).fit(x, y)
    model = glm.fit(jnp.asarray(x), jnp.asarray(y), power=2.0, alpha=0.1)
    np.testing.assert_allclose(model.coef, ref.coef_, atol=1e-3)


def test_all_zero_counts_end():
    x = jnp.linspace(-1.0, 1.0, 30)[:, None]
    model = glm.fit(x, jnp.zeros(30), power=1.0)
    assert not model.converged or glm.predict(model, x).max() < 1e-3


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"alpha": -1.0}, "alpha must be at least 0"),
        ({"power": 0.5}, "power must not be between 0 and 1; got 0.5"),
        ({"link": "logit"}, "link must be one of"),
        ({"max_iter": 0}, "max_iter must be at least 1"),
    ],
)
def test_rejects_numbers_out_of_range(options, match):
    with pytest.raises(ValueError, match=match):
        glm.fit(jnp.ones((4, 2)), jnp.ones(4), **options)


def test_rejects_a_traced_power_without_a_link():
    with pytest.raises(ValueError, match="where power is traced"):
        jax.vmap(lambda p: glm.fit(jnp.ones((4, 2)), jnp.ones(4), power=p).coef)(
            jnp.array([1.0, 2.0])
        )
