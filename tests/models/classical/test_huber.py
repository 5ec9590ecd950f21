"""Huber's regression against scikit-learn, and what any must keep."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from sklearn.linear_model import HuberRegressor

from jaxml.models.classical import huber


def real(n=150):
    """Diabetes: three features, every ninth target far off."""
    x, y = load_diabetes(return_X_y=True)
    x, y = x[:n, [2, 3, 8]], y[:n].copy()
    y[::9] += 400
    return (x - x.mean(0)) / x.std(0), y


def weights(n):
    return np.random.default_rng(0).uniform(0.2, 3.0, n)


def objective(coef, intercept, scale, x, y, epsilon, alpha):
    coef, intercept, scale = (np.asarray(p, float) for p in (coef, intercept, scale))
    size = np.abs(y - x @ coef - intercept) / scale
    loss = np.where(size <= epsilon, size**2, 2 * epsilon * size - epsilon**2)
    return (scale + scale * loss).sum() + alpha * (coef**2).sum()


@pytest.mark.parametrize("epsilon", [1.1, 1.35, 3.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_matches_sklearn(epsilon, weighted):
    x, y = real()
    weight = weights(len(x)) if weighted else np.ones(len(x))
    options = {"epsilon": epsilon, "alpha": 0.1}
    ref = HuberRegressor(**options, tol=1e-8, max_iter=3000).fit(x, y, weight)
    with jax.enable_x64(True):
        x, y, weight = map(jnp.asarray, (x, y, weight))
        w = weight if weighted else None
        model = huber.fit(x, y, **options, sample_weight=w, tol=1e-10)
        assert model.converged
        # 1e-4: L-BFGS-B of scipy stops where the objective no longer changes.
        np.testing.assert_allclose(model.coef, ref.coef_, rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(model.intercept, ref.intercept_, rtol=1e-4)
        np.testing.assert_allclose(model.scale, ref.scale_, rtol=1e-4)
        np.testing.assert_array_equal(model.outliers, ref.outliers_)
        np.testing.assert_allclose(huber.predict(model, x), ref.predict(x), rtol=1e-4)


@pytest.mark.parametrize("intercept", [True, False])
def test_float32_reaches_the_objective_of_sklearn(intercept):
    x, y = real()
    ref = HuberRegressor(fit_intercept=intercept, max_iter=1000).fit(x, y)
    model = huber.fit(
        jnp.asarray(x, jnp.float32),
        jnp.asarray(y, jnp.float32),
        fit_intercept=intercept,
    )
    assert model.converged
    best = objective(ref.coef_, ref.intercept_, ref.scale_, x, y, 1.35, 1e-4)
    found = objective(model.coef, model.intercept, model.scale, x, y, 1.35, 1e-4)
    assert found <= best * (1 + 1e-6)


def test_wild_targets_do_not_move_the_fit():
    x, y = (jnp.asarray(part, jnp.float32) for part in real())
    near, far = huber.fit(x, y), huber.fit(x, y.at[::9].add(1e4))
    np.testing.assert_allclose(near.coef, far.coef, rtol=0.01, atol=0.1)


def test_scale_follows_the_unit_of_the_targets():
    x, y = (jnp.asarray(part, jnp.float32) for part in real())
    one, ten = huber.fit(x, y, alpha=0.0), huber.fit(x, 10 * y, alpha=0.0)
    np.testing.assert_allclose(10 * one.scale, ten.scale, rtol=1e-4)
    np.testing.assert_allclose(10 * one.coef, ten.coef, rtol=1e-3, atol=1e-2)


def test_gradients_match_finite_differences():
    x, y = real(30)
    with jax.enable_x64(True):
        theta = {
            "x": jnp.asarray(x),
            "y": jnp.asarray(y) / 100,
            "alpha": jnp.array(0.3),
            "epsilon": jnp.array(1.4),
            "weight": jnp.asarray(weights(30)),
        }
        rng = np.random.default_rng(1)

        def loss(t):
            model = huber.fit(
                t["x"],
                t["y"],
                alpha=t["alpha"],
                epsilon=t["epsilon"],
                sample_weight=t["weight"],
                tol=1e-12,
            )
            signed = (model.coef * jnp.array([1.0, -2.0, 3.0])).sum()
            return signed + model.intercept + model.scale

        slope = jax.grad(loss)(theta)
        for name in theta:
            toward = jnp.asarray(rng.normal(size=theta[name].shape))

            def at(size, name=name, toward=toward):
                return float(loss(theta | {name: theta[name] + size * toward}))

            change = (at(1e-6) - at(-1e-6)) / 2e-6
            np.testing.assert_allclose(
                (slope[name] * toward).sum(), change, rtol=1e-5, atol=1e-8
            )


def test_collinear_and_constant_features():
    x, y = (part.astype(np.float32) for part in real())
    wide = np.hstack([x, x, np.ones((len(x), 1), np.float32)])
    once, twice = (huber.fit(jnp.asarray(p), jnp.asarray(y)) for p in (x, wide))
    assert twice.converged
    np.testing.assert_allclose(
        twice.coef[:3] + twice.coef[3:6], once.coef, rtol=1e-3, atol=0.02
    )


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_fewer_rows_than_features_end(noise):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(5, 20)), jnp.float32)
    y = x[:, 0] + noise * jnp.asarray(rng.normal(size=5), jnp.float32)
    model = huber.fit(x, y)
    assert jnp.isfinite(model.coef).all()
    np.testing.assert_allclose(huber.predict(model, x), y, atol=0.02)


def test_equal_targets_are_predicted():
    x = jnp.linspace(-1.0, 1.0, 30)[:, None]
    model = huber.fit(x, jnp.full(30, 7.0))
    np.testing.assert_allclose(huber.predict(model, x), 7.0, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"alpha": -1.0}, "alpha must be at least 0"),
        ({"epsilon": 0.5}, "epsilon must be at least 1"),
        ({"max_iter": 0}, "max_iter must be at least 1"),
    ],
)
def test_rejects_numbers_out_of_range(options, match):
    with pytest.raises(ValueError, match=match):
        huber.fit(jnp.ones((4, 2)), jnp.ones(4), **options)
