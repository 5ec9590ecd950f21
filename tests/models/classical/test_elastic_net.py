"""Elastic net against scikit-learn, and what any elastic net must keep."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import datasets, linear_model

from jaxml.models.classical import elastic_net


def diabetes(dtype=np.float32):
    x, y = datasets.load_diabetes(return_X_y=True)
    x = (x - x.mean(0)) / x.std(0) + np.arange(10)
    return x.astype(dtype), (y / y.std()).astype(dtype)


def reference(x, y, alpha, l1_ratio, weight=None, **more):
    model = linear_model.ElasticNet(
        alpha=alpha, l1_ratio=l1_ratio, tol=1e-13, max_iter=10**6, **more
    )
    model.fit(x.astype(float), y.astype(float), sample_weight=weight)
    return model.coef_, model.intercept_


@pytest.mark.parametrize("precompute", [True, False])
@pytest.mark.parametrize(("alpha", "l1_ratio"), [(0.1, 0.5), (1.0, 0.1), (0.01, 0.9)])
def test_matches_sklearn(alpha, l1_ratio, precompute):
    x, y = diabetes()
    coef, intercept = reference(x, y, alpha, l1_ratio)
    model = elastic_net.fit(
        jnp.asarray(x),
        jnp.asarray(y),
        alpha=alpha,
        l1_ratio=l1_ratio,
        precompute=precompute,
    )
    assert model.converged
    np.testing.assert_allclose(model.coef, coef, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.intercept, intercept, rtol=1e-4)
    assert (np.asarray(model.coef) == 0).tolist() == (coef == 0).tolist()


def test_matches_sklearn_with_weights_and_signs():
    x, y = diabetes()
    weight = np.random.default_rng(0).integers(0, 4, len(x)).astype(np.float32)
    coef, intercept = reference(x, y, 0.1, 0.5, weight, positive=True)
    model = elastic_net.fit(
        jnp.asarray(x),
        jnp.asarray(y),
        alpha=0.1,
        positive=True,
        sample_weight=jnp.asarray(weight),
    )
    np.testing.assert_allclose(model.coef, coef, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.intercept, intercept, rtol=1e-4)
    assert (model.coef >= 0).all()


def test_without_l1_it_is_ridge():
    x, y = diabetes()
    model = elastic_net.fit(jnp.asarray(x), jnp.asarray(y), alpha=0.3, l1_ratio=0.0)
    ridge = linear_model.Ridge(alpha=0.3 * len(x)).fit(x.astype(float), y)
    assert model.converged
    np.testing.assert_allclose(model.coef, ridge.coef_, rtol=1e-4, atol=1e-6)


def test_path_matches_sklearn():
    x, y = diabetes()
    alphas = elastic_net.alpha_grid(jnp.asarray(x), jnp.asarray(y), n_alphas=6)
    exact, target = (a.astype(float) - a.astype(float).mean(0) for a in (x, y))
    theirs, coefs, _ = linear_model.enet_path(exact, target, alphas=6, tol=1e-9)
    np.testing.assert_allclose(alphas, theirs, rtol=1e-5)
    models = elastic_net.path(jnp.asarray(x), jnp.asarray(y), alphas=alphas)
    np.testing.assert_allclose(models.coef, coefs.T, atol=1e-4)
    both = jnp.stack([jnp.asarray(y), -jnp.asarray(y)], 1)
    pair = elastic_net.path(jnp.asarray(x), both, alphas=alphas)
    assert pair.coef.shape == (6, 2, 10)
    np.testing.assert_allclose(pair.coef[:, 1], -models.coef, atol=1e-4)


@pytest.mark.parametrize("positive", [True, False])
def test_grid_begins_where_all_are_zero(positive):
    x, y = (jnp.asarray(a) for a in diabetes())
    weight = jnp.arange(len(y)) % 3 * 1.0
    options = {"l1_ratio": 0.3, "positive": positive, "sample_weight": weight}
    top = elastic_net.alpha_grid(x, y, n_alphas=3, **options)[0]
    above = elastic_net.fit(x, y, alpha=top * 1.001, **options)
    below = elastic_net.fit(x, y, alpha=top * 0.99, **options)
    assert (above.coef == 0).all()
    assert (below.coef != 0).any()


def test_moments_without_an_intercept():
    x, y = diabetes()
    total = elastic_net.stats(jnp.asarray(x), jnp.asarray(y))
    model = elastic_net.solve(total, alpha=0.1, fit_intercept=False)
    coef, _ = reference(x, y, 0.1, 0.5, fit_intercept=False)
    np.testing.assert_allclose(model.coef[0], coef, atol=1e-3)
    assert model.intercept[0] == 0


def test_derivative_in_both_numbers_and_second_derivative():
    x, y = diabetes(float)
    with jax.enable_x64(True):
        x, y = jnp.asarray(x[:60]), jnp.asarray(y[:60])

        def value(numbers):
            model = elastic_net.fit(x, y, alpha=numbers[0], l1_ratio=numbers[1])
            return (model.coef**2).sum()

        # Along one direction: the slope and, in forward over reverse mode, its slope.
        numbers, way, step = jnp.array([0.2, 0.5]), jnp.array([1.0, 0.5]), 1e-5
        turn = jax.jit(lambda n: jax.jvp(jax.grad(value), (n,), (way,)))
        slope, curve = turn(numbers)
        ahead, behind = numbers + step * way, numbers - step * way
        change = (value(ahead) - value(behind)) / (2 * step)
        np.testing.assert_allclose(slope @ way, change, rtol=1e-6)
        change = (turn(ahead)[0] - turn(behind)[0]) / (2 * step)
        np.testing.assert_allclose(curve, change, rtol=1e-6)


def test_rejects_a_ratio_outside_the_unit_interval():
    x, y = (jnp.asarray(a) for a in diabetes())
    with pytest.raises(ValueError, match=r"l1_ratio must be from 0 to 1; got 1\.5"):
        elastic_net.fit(x, y, l1_ratio=1.5)
    with pytest.raises(ValueError, match="l1_ratio must be above 0; got 0"):
        elastic_net.alpha_grid(x, y, l1_ratio=0.0)
