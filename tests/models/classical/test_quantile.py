"""Quantile regression against scikit-learn's linear program, and what a quantile is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import datasets, linear_model

from jaxml.models.classical import quantile


def diabetes(dtype=np.float32, n=150):
    x, y = datasets.load_diabetes(return_X_y=True)
    x = (x - x.mean(0)) / x.std(0) + np.arange(10)
    return x[:n].astype(dtype), y[:n].astype(dtype)


def objective(x, y, coef, intercept, level, alpha, weight=None):
    left = np.asarray(y, float) - np.asarray(x, float) @ np.asarray(coef, float)
    left = left - float(intercept)
    loss = np.where(left > 0, level, level - 1) * left
    return np.average(loss, weights=weight) + alpha * np.abs(coef).sum()


def reference(x, y, level, alpha, weight=None, **more):
    model = linear_model.QuantileRegressor(quantile=level, alpha=alpha, **more)
    model.fit(x.astype(float), y.astype(float), sample_weight=weight)
    return model.coef_, model.intercept_


@pytest.mark.parametrize("level", [0.5, 0.9, 0.05])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0, 1e3])
def test_objective_matches_sklearn(level, alpha):
    x, y = diabetes()
    best = objective(x, y, *reference(x, y, level, alpha), level, alpha)
    model = quantile.fit(jnp.asarray(x), jnp.asarray(y), quantile=level, alpha=alpha)
    assert model.converged
    ours = objective(x, y, model.coef, model.intercept, level, alpha)
    # The program's minimum is exact in scikit-learn; float32 rounds the coefficients.
    assert best * (1 - 1e-9) <= ours <= best * (1 + 1e-6)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_coefficients_match_sklearn_with_weights(fit_intercept):
    x, y = diabetes()
    # Weights in general position: the minimum is one vertex.
    weight = np.random.default_rng(0).uniform(0.1, 2, len(x)).astype(np.float32)
    weight[::7] = 0
    options = {"fit_intercept": fit_intercept}
    coef, intercept = reference(x, y, 0.7, 0.2, weight, **options)
    model = quantile.fit(
        jnp.asarray(x),
        jnp.asarray(y),
        quantile=0.7,
        alpha=0.2,
        sample_weight=jnp.asarray(weight),
        **options,
    )
    np.testing.assert_allclose(model.coef, coef, rtol=1e-3, atol=2e-3)
    np.testing.assert_allclose(model.intercept, intercept, rtol=1e-3, atol=1e-2)
    assert ((np.asarray(model.coef) == 0) == (coef == 0)).all()
    prediction = quantile.predict(model, jnp.asarray(x[:5]))
    np.testing.assert_allclose(prediction, x[:5] @ coef + intercept, rtol=1e-4)


def test_matches_sklearn_in_float64():
    x, y = diabetes(float)
    with jax.enable_x64(True):
        model = quantile.fit(jnp.asarray(x), jnp.asarray(y), alpha=0.1, tol=1e-12)
        assert model.coef.dtype == jnp.float64
        ours = objective(x, y, model.coef, model.intercept, 0.5, 0.1)
    best = objective(x, y, *reference(x, y, 0.5, 0.1), 0.5, 0.1)
    assert ours == pytest.approx(best, rel=1e-11)


@pytest.mark.parametrize("level", [0.1, 0.5, 0.8])
def test_the_share_below_is_the_quantile(level):
    x, y = (jnp.asarray(a) for a in diabetes())
    model = quantile.fit(x, y, quantile=level, alpha=0.0)
    left = np.asarray(y - quantile.predict(model, x))
    # Of the 150 rows the plane passes through 11 (Koenker and Bassett, theorem 3.4).
    assert (left < -1e-2).sum() <= level * len(y) <= (left < 1e-2).sum()


def test_all_penalised_away_leaves_the_quantile_of_y():
    x, y = diabetes(n=151)
    model = quantile.fit(jnp.asarray(x), jnp.asarray(y), alpha=1e6)
    np.testing.assert_array_equal(model.coef, 0)
    np.testing.assert_allclose(model.intercept, np.median(y), rtol=1e-5)


def test_outliers_do_not_count_by_their_size():
    x, y = (jnp.asarray(a) for a in diabetes())
    model = quantile.fit(x, y, alpha=0.0)
    above = jnp.argmax(y - quantile.predict(model, x))
    moved = quantile.fit(x, y.at[above].add(1e4), alpha=0.0)
    np.testing.assert_allclose(moved.coef, model.coef, rtol=1e-2, atol=2e-2)


def test_derivative_is_that_of_the_vertex():
    x, y = diabetes(float)
    x = x[:, :4]
    with jax.enable_x64(True):
        x, y = jnp.asarray(x), jnp.asarray(y)

        def value(x, y):
            model = quantile.fit(x, y, quantile=0.53, alpha=0.01, tol=1e-12)
            return (model.coef * jnp.arange(1.0, 5.0)).sum() + model.intercept

        slope_x, slope_y = jax.grad(value, (0, 1))(x, y)
        # Five rows hold the plane; the others may move without effect.
        held = jnp.abs(slope_y) > 1e-6
        assert 2 <= held.sum() <= 5
        i = int(jnp.argmax(jnp.abs(slope_y)))
        step = 1e-5
        change = value(x, y.at[i].add(step)) - value(x, y.at[i].add(-step))
        np.testing.assert_allclose(slope_y[i], change / (2 * step), rtol=1e-5)
        change = value(x.at[i, 2].add(step), y) - value(x.at[i, 2].add(-step), y)
        np.testing.assert_allclose(slope_x[i, 2], change / (2 * step), rtol=1e-5)


def test_degenerate_data():
    x, y = (jnp.asarray(a) for a in diabetes())
    constant = quantile.fit(x.at[:, 3].set(0.1), y, alpha=0.0)
    assert constant.converged
    assert constant.coef[3] == 0
    flat = quantile.fit(x, jnp.full_like(y, 7.25), alpha=0.1)
    assert flat.converged
    np.testing.assert_allclose(flat.coef, 0, atol=1e-6)
    np.testing.assert_allclose(flat.intercept, 7.25, rtol=1e-6)
    nothing = quantile.fit(x, y, sample_weight=jnp.zeros_like(y))
    assert not nothing.converged
    twins = quantile.fit(jnp.concatenate([x, x], 1), y, alpha=0.0)
    single = quantile.fit(x, y, alpha=0.0)
    pair = jnp.concatenate([x, x], 1)
    cost = [
        objective(*data, model.coef, model.intercept, 0.5, 0.0)
        for data, model in (((pair, y), twins), ((x, y), single))
    ]
    assert cost[0] == pytest.approx(cost[1], rel=1e-5)
    few = quantile.fit(x[:6], y[:6], alpha=0.0)
    assert few.converged
    np.testing.assert_allclose(quantile.predict(few, x[:6]), y[:6], rtol=1e-3)


def test_not_a_number_ends():
    x, y = (jnp.asarray(a) for a in diabetes())
    model = quantile.fit(x.at[3, 2].set(jnp.nan), y)
    assert not model.converged
    assert model.n_iter <= 2


def test_says_when_it_was_cut_short():
    x, y = (jnp.asarray(a) for a in diabetes())
    model = quantile.fit(x, y, alpha=0.0, max_iter=2)
    assert not model.converged
    assert model.dual_gap > 0


def test_rejects_wrong_numbers():
    x, y = (jnp.asarray(a) for a in diabetes())
    with pytest.raises(ValueError, match="quantile must be above 0; got 0"):
        quantile.fit(x, y, quantile=0.0)
    with pytest.raises(ValueError, match="1 - quantile must be above 0; got 0"):
        quantile.fit(x, y, quantile=1.0)
    with pytest.raises(ValueError, match="alpha must be at least 0; got -1"):
        quantile.fit(x, y, alpha=-1.0)
