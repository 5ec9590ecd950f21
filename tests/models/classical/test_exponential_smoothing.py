"""Exponential smoothing and the seasonal naive forecast."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.models.classical import exponential_smoothing, seasonal_naive


def series(n=96):
    t = np.arange(float(n))
    noise = np.random.default_rng(0).normal(size=n)
    return 20 + 0.2 * t + 4 * np.sin(t * np.pi / 6) + noise


FORMS = [
    {},
    {"trend": True},
    {"trend": True, "damped": True},
    {"seasonal": "add", "period": 12},
    {"trend": True, "seasonal": "add", "period": 12},
    {"trend": True, "seasonal": "mul", "period": 12},
]


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_error_is_not_above_that_of_statsmodels(form):
    holtwinters = pytest.importorskip("statsmodels.tsa.holtwinters")
    y = series()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # how its search ends
        theirs = holtwinters.ExponentialSmoothing(
            y,
            trend="add" if form.get("trend") else None,
            damped_trend=form.get("damped", False),
            seasonal=form.get("seasonal"),
            seasonal_periods=form.get("period"),
        ).fit()
    with jax.enable_x64(True):
        ours = exponential_smoothing.fit(jnp.asarray(y), **form)
        assert ours.converged
        assert ours.sse <= theirs.sse * (1 + 2e-4)
        if not form.get("damped"):
            ahead = exponential_smoothing.forecast(ours, steps=15)
            np.testing.assert_allclose(ahead, theirs.forecast(15), rtol=2e-3)


def test_recursion_by_hand():
    y = jnp.asarray(series(40), jnp.float32)
    model = exponential_smoothing.fit(y, trend=True, damped=True)
    level, trend = float(model.initial_level), float(model.initial_trend)
    a, b, phi = float(model.alpha), float(model.beta), float(model.phi)
    y_hat, after = exponential_smoothing.predict(model, y)
    for value, said in zip(np.asarray(y), y_hat, strict=True):
        np.testing.assert_allclose(said, level + phi * trend, rtol=1e-5)
        new = a * value + (1 - a) * (level + phi * trend)
        trend = b * (new - level) + (1 - b) * phi * trend
        level = new
    np.testing.assert_allclose(after.level, level, rtol=1e-5)
    np.testing.assert_allclose(model.level, after.level, rtol=1e-5)
    np.testing.assert_allclose(jnp.square(y - y_hat).sum(), model.sse, rtol=1e-4)
    steps = level + trend * np.cumsum(phi ** np.arange(1, 5))
    ahead = exponential_smoothing.forecast(model, steps=4)
    np.testing.assert_allclose(ahead, steps, rtol=1e-5)


@pytest.mark.parametrize("seasonal", ["add", "mul"])
def test_season_without_noise_goes_on(seasonal):
    t = np.arange(36)
    wave = np.array([1.0, 3.0, 2.0, 0.5])[t % 4]
    y = 10 + 0.5 * t + wave if seasonal == "add" else (10 + 0.5 * t) * wave
    fit = lambda y: exponential_smoothing.fit(
        jnp.asarray(y, jnp.float32), trend=True, seasonal=seasonal, period=4
    )
    ahead = exponential_smoothing.forecast(fit(y[:28]), steps=8)
    np.testing.assert_allclose(ahead, y[28:], rtol=5e-3)
    # the unit is no matter
    wide = exponential_smoothing.forecast(fit(1e5 * y[:28]), steps=8)
    np.testing.assert_allclose(wide, 1e5 * ahead, rtol=1e-3)


def test_many_series_at_once():
    y = jnp.asarray(series(48), jnp.float32)
    many = jnp.stack([y, y[::-1], y**2])
    run = lambda y: exponential_smoothing.forecast(
        exponential_smoothing.fit(y, trend=True), steps=3
    )
    np.testing.assert_allclose(jax.vmap(run)(many)[1], run(many[1]), rtol=1e-3)


def test_seasonal_naive_repeats_and_follows():
    y = jnp.arange(10.0)
    model = seasonal_naive.fit(y[:6], period=3)
    expected = [3, 4, 5, 3, 4]
    np.testing.assert_array_equal(seasonal_naive.forecast(model, steps=5), expected)
    np.testing.assert_array_equal(seasonal_naive.predict(model, y[6:]), [3, 4, 5, 6])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda y: seasonal_naive.fit(y, period=0), "period must be from 1 to 8"),
        (lambda y: exponential_smoothing.fit(y, damped=True), "damped needs trend"),
        (
            lambda y: exponential_smoothing.fit(y, seasonal="times", period=4),
            r"seasonal must be one of .*got 'times'",
        ),
        (
            lambda y: exponential_smoothing.fit(y, seasonal="add", period=5),
            "at least 10 values for a season of 5; got 8",
        ),
        (
            lambda y: exponential_smoothing.fit(y, seasonal="add"),
            "period must be at least 2; got 1",
        ),
    ],
)
def test_rejects(call, message):
    with pytest.raises(ValueError, match=message):
        call(jnp.arange(8.0))
