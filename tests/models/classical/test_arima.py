"""ARIMA: the exact likelihood, its optimum, forecasts, gaps, derivatives."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.models.classical import arima, arima_likelihood, arima_process, kalman

PLAIN = {"ar": [0.5, 0.2], "ma": [0.3]}
SEASONAL = {"ar": [0.5], "ma": [0.3], "seasonal_ar": [0.2], "seasonal_ma": [-0.6]}
ORDERS = {
    "plain": ((2, 0, 1), (0, 0, 0, 0), PLAIN, {}),
    "seasonal": (
        (1, 1, 1),
        (1, 1, 1, 7),
        SEASONAL,
        {"d": 1, "seasonal_d": 1, "period": 7},
    ),
}
# statsmodels 0.15, SARIMAX(simple_differencing=True), filter without a steady state:
# log-likelihood at the coefficients above with variance 1.7, and at the optimum
STORED = {
    "plain": (-234.06714354580026, -212.74669393223235),
    "seasonal": (-307.4798586294171, -164.712421862852),
}


def series(n=150):
    t = np.arange(float(n))
    return np.sin(t**2 / 50) + 0.02 * t + np.cos(t * 2 * np.pi / 7)


def arrays(coefficients):
    return {name: jnp.asarray(values) for name, values in coefficients.items()}


def autocovariance(phi, theta, lags):
    """Of an ARMA process with disturbances of variance 1, by its long MA form."""
    psi = np.zeros(3000)
    theta = [1.0, *theta]
    for j in range(len(psi)):
        psi[j] = theta[j] if j < len(theta) else 0
        psi[j] += sum(phi[i] * psi[j - 1 - i] for i in range(min(len(phi), j)))
    return np.array([psi[: len(psi) - k] @ psi[k:] for k in range(lags)])


def gaussian(y, covariance):
    """Log-density of a Gaussian with mean 0."""
    _, logdet = np.linalg.slogdet(2 * np.pi * covariance)
    return -0.5 * (logdet + y @ np.linalg.solve(covariance, y))


@pytest.mark.parametrize("name", ORDERS)
def test_likelihood_equals_the_stored_one(name):
    _, _, coefficients, differences = ORDERS[name]
    with jax.enable_x64(True):
        value = arima_likelihood.loglike(
            jnp.asarray(series()), sigma2=1.7, **arrays(coefficients), **differences
        )
        np.testing.assert_allclose(value, STORED[name][0], rtol=0, atol=1e-6)
    # float32 sums of a hundred terms
    value = arima_likelihood.loglike(
        jnp.asarray(series(), jnp.float32),
        sigma2=1.7,
        **{k: jnp.asarray(v, jnp.float32) for k, v in coefficients.items()},
        **differences,
    )
    np.testing.assert_allclose(value, STORED[name][0], rtol=1e-5)


def test_likelihood_with_gaps_is_that_of_a_gaussian():
    y = series(30)
    lags = np.abs(np.subtract.outer(np.arange(30), np.arange(30)))
    covariance = autocovariance([0.5, 0.2], [0.3], 30)[lags]
    seen = np.ones(30, bool)
    seen[[0, 7, 8, 20]] = False
    with jax.enable_x64(True):
        p = arrays(PLAIN)
        np.testing.assert_allclose(
            arima_likelihood.loglike(jnp.asarray(y), **p), gaussian(y, covariance)
        )
        found = kalman.filter(
            arima_process.state_space(p["ar"], p["ma"]),
            jnp.where(seen, jnp.asarray(y), jnp.nan),
            observed=jnp.asarray(seen),
        )
        expected = gaussian(y[seen], covariance[np.ix_(seen, seen)])
        np.testing.assert_allclose(found.loglike, expected)


@pytest.mark.parametrize("name", ORDERS)
def test_fit_reaches_the_optimum_and_equals_statsmodels(name):
    order, seasonal_order, *_ = ORDERS[name]
    y = series()
    with jax.enable_x64(True):
        model = arima.fit(
            jnp.asarray(y),
            order=order,
            seasonal_order=seasonal_order,
            fit_intercept=False,
            tol=1e-7,
        )
        assert model.converged
        assert model.loglike >= STORED[name][1] - 1e-4
        coefficients = {k: getattr(model, k) for k in SEASONAL}
        again = arima_likelihood.loglike(
            jnp.asarray(y), sigma2=model.sigma2, **coefficients, **ORDERS[name][3]
        )
        np.testing.assert_allclose(again, model.loglike, rtol=1e-9)

        pytest.importorskip("statsmodels")
        from statsmodels.tsa.statespace.sarimax import SARIMAX

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            options = {"order": order, "seasonal_order": seasonal_order}
            flat = np.concatenate([*coefficients.values(), [model.sigma2]])
            theirs = SARIMAX(y, simple_differencing=True, **options)
            theirs.ssm.tolerance = 0
            value = theirs.loglike(flat)
            exact = SARIMAX(y, use_exact_diffuse=True, **options).smooth(flat)
        np.testing.assert_allclose(model.loglike, value, rtol=0, atol=1e-6)
        ahead, theirs_ahead = arima.forecast(model, steps=9), exact.get_forecast(9)
        np.testing.assert_allclose(ahead.mean, theirs_ahead.predicted_mean, rtol=1e-5)
        np.testing.assert_allclose(ahead.deviation, theirs_ahead.se_mean, rtol=1e-5)


def test_intercept_unit_and_dtype():
    y = jnp.asarray(series(), jnp.float32)
    one = arima.fit(y, order=(1, 0, 0))
    # statsmodels: mean 0.64376563 / (1 - 0.57433355), coefficient, variance, value
    np.testing.assert_allclose(one.ar, [0.57433355], rtol=2e-3)
    np.testing.assert_allclose(one.intercept, 0.64376563 / (1 - 0.57433355), rtol=2e-3)
    np.testing.assert_allclose(one.sigma2, 1.0789841, rtol=1e-3)
    np.testing.assert_allclose(one.loglike, -218.74314965560941, rtol=1e-5)
    wide = arima.fit(1e5 * y, order=(1, 0, 0))
    np.testing.assert_allclose(wide.ar, one.ar, rtol=1e-3)
    np.testing.assert_allclose(wide.intercept, 1e5 * one.intercept, rtol=1e-3)
    assert {leaf.dtype for leaf in jax.tree.leaves(one)} == {
        jnp.dtype(kind) for kind in ("float32", "int32", "bool")
    }


def test_forecast_of_a_walk_and_of_an_autoregression():
    y = jnp.asarray(series(40), jnp.float32)
    walk = arima.fit(y, order=(0, 1, 0))
    ahead = arima.forecast(walk, steps=4)
    np.testing.assert_allclose(ahead.mean, y[-1].repeat(4), rtol=1e-6)
    np.testing.assert_allclose(
        ahead.deviation, jnp.sqrt(walk.sigma2 * jnp.arange(1.0, 5)), rtol=1e-5
    )
    one = arima.fit(y, order=(1, 0, 0))
    power = one.ar[0] ** jnp.arange(1.0, 4)
    expected = one.intercept + power * (y[-1] - one.intercept)
    np.testing.assert_allclose(arima.forecast(one, steps=3).mean, expected, rtol=1e-4)
    drift = arima.fit(y, order=(0, 1, 0), fit_intercept=True)
    step = (y[-1] - y[0]) / 39
    expected = y[-1] + step * jnp.arange(1.0, 4)
    np.testing.assert_allclose(arima.forecast(drift, steps=3).mean, expected, rtol=1e-4)


def test_predictions_are_forecasts_one_step_ahead_and_absent_values_are_gaps():
    y = jnp.asarray(series(60), jnp.float32)
    options = {"order": (1, 0, 0), "seasonal_order": (0, 1, 1, 7)}
    model = arima.fit(y, **options)
    said = arima.predict(model, y)
    assert said.shape == (53,)
    for t in (30, 45):
        there = arima.update(model, y[:t])
        ahead = arima.forecast(there, steps=1).mean[0]
        np.testing.assert_allclose(said[t - 7], ahead, rtol=1e-4, atol=1e-5)
    # ten values that were never there, before a shorter series
    longer = jnp.concatenate([jnp.full(10, jnp.nan), y])
    weight = (jnp.arange(70) >= 10).astype(jnp.float32)
    run = lambda y, w: arima.fit(y, sample_weight=w, **options)
    both = jnp.stack([longer, jnp.concatenate([longer[:10], y[::-1]])])
    many = jax.vmap(lambda y: run(y, weight))(both)
    np.testing.assert_allclose(many.loglike[0], model.loglike, rtol=1e-5)
    np.testing.assert_allclose(many.seasonal_ma[0], model.seasonal_ma, rtol=2e-2)


def test_forecast_has_a_derivative_through_the_fit():
    with jax.enable_x64(True):
        y = jnp.asarray(series(30))
        ahead = lambda y: arima.forecast(
            arima.fit(y, order=(1, 0, 0), tol=1e-9), steps=3
        ).mean.sum()
        slope = jax.grad(ahead)(y)
        push = jnp.asarray(np.random.default_rng(0).normal(size=30))
        step = 1e-5
        change = (ahead(y + step * push) - ahead(y - step * push)) / (2 * step)
        np.testing.assert_allclose(slope @ push, change, rtol=1e-4)


def test_stable_coefficients_and_back():
    free = jnp.array([0.4, -1.5, 3.0, 0.2])
    phi = arima_process.stable(free)
    roots = np.roots(np.concatenate([[1.0], -np.asarray(phi)]))
    assert np.abs(roots).max() < 1
    np.testing.assert_allclose(arima_process.free(phi), free, rtol=2e-4)
    covariance = arima_process.state_space(phi, jnp.array([0.5])).covariance
    expected = autocovariance(np.asarray(phi, float), [0.5], 1)[0]
    np.testing.assert_allclose(covariance[0, 0], expected, rtol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": (-1, 0, 0)}, r"orders must be at least 0; got \(-1, 0, 0\)"),
        ({"seasonal_order": (1, 0, 0, 1)}, "season of at least 2 steps"),
        ({"seasonal_order": (0, 1, 1, 7)}, "y must have at least 16 values .* got 12"),
        ({"start": {"ar": jnp.array([1.2])}}, r"start of ar must be stationary .*1\.2"),
        (
            {"order": (0, 0, 1), "start": {"ma": jnp.array([-1.0])}},
            "start of ma must be invertible",
        ),
        ({"start": {"ar": jnp.zeros(2)}}, r"ar must have 1 numbers; got \[2\]"),
        ({"start": {"mu": jnp.zeros(1)}}, r"name some of .* got \['mu'\]"),
        ({"max_iter": 0}, "max_iter must be at least 1; got 0"),
    ],
)
def test_rejects(options, message):
    with pytest.raises(ValueError, match=message):
        arima.fit(jnp.arange(12.0), **options)


def test_rejects_no_steps():
    model = arima.fit(jnp.asarray(series(30), jnp.float32), order=(0, 1, 0))
    with pytest.raises(ValueError, match="steps must be at least 1; got 0"):
        arima.forecast(model, steps=0)
