"""Errors of numbers against scikit-learn, and what weights must keep."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as sk

from jaxml import metrics


@pytest.fixture
def rows():
    """60 positive predictions and targets, and weights, a third of them 0."""
    rng = np.random.default_rng(0)
    target = rng.gamma(2.0, size=60)
    prediction = target * rng.uniform(0.5, 1.6, 60)
    weight = rng.uniform(0.5, 2, 60) * (np.arange(60) % 3 > 0)
    return [a.astype(np.float32) for a in (prediction, target, weight)]


def number(value):
    return metrics.compute(value) if isinstance(value, metrics.Mean) else value


PAIRS = {
    "squared": (metrics.squared_error, sk.mean_squared_error),
    "root squared": (metrics.root_squared_error, sk.root_mean_squared_error),
    "absolute": (metrics.absolute_error, sk.mean_absolute_error),
    "percentage": (metrics.percentage_error, sk.mean_absolute_percentage_error),
    "log": (metrics.squared_log_error, sk.mean_squared_log_error),
    "root log": (metrics.root_squared_log_error, sk.root_mean_squared_log_error),
    "median": (metrics.median_absolute_error, sk.median_absolute_error),
    "r2": (metrics.r2, sk.r2_score),
    "variance": (metrics.explained_variance, sk.explained_variance_score),
    "d2 absolute": (metrics.d2_absolute, sk.d2_absolute_error_score),
    "poisson": (metrics.poisson_deviance, sk.mean_poisson_deviance),
    "gamma": (metrics.gamma_deviance, sk.mean_gamma_deviance),
}
for alpha in (0.1, 0.5, 0.9):
    PAIRS[f"pinball {alpha}"] = (
        functools.partial(metrics.pinball, alpha=alpha),
        functools.partial(sk.mean_pinball_loss, alpha=alpha),
    )
    PAIRS[f"d2 pinball {alpha}"] = (
        functools.partial(metrics.d2_pinball, alpha=alpha),
        functools.partial(sk.d2_pinball_score, alpha=alpha),
    )
for power in (-1.0, 0.0, 1.0, 1.5, 2.0, 3.0):
    PAIRS[f"tweedie {power}"] = (
        functools.partial(metrics.tweedie_deviance, power=power),
        functools.partial(sk.mean_tweedie_deviance, power=power),
    )
    PAIRS[f"d2 tweedie {power}"] = (
        functools.partial(metrics.d2_tweedie, power=power),
        functools.partial(sk.d2_tweedie_score, power=power),
    )


# Parity.


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", PAIRS)
def test_matches_sklearn(rows, name, weighted):
    ours, theirs = PAIRS[name]
    prediction, target, weight = rows
    weight = weight if weighted else None
    expected = theirs(target, prediction, sample_weight=weight)
    value = ours(
        *(None if a is None else jnp.asarray(a) for a in (prediction, target, weight))
    )
    np.testing.assert_allclose(number(value), expected, rtol=2e-5)


def test_max_error_matches_sklearn(rows):
    prediction, target, weight = rows
    ours = metrics.max_error(*map(jnp.asarray, rows))
    kept = weight > 0
    assert ours == sk.max_error(target[kept], prediction[kept])
    assert metrics.max_error(*map(jnp.asarray, rows[:2])) >= ours


def test_huber_matches_torch(rows):
    torch = pytest.importorskip("torch")
    prediction, target, _ = rows
    expected = torch.nn.HuberLoss(delta=0.7)(
        torch.tensor(prediction), torch.tensor(target)
    )
    ours = metrics.huber(jnp.asarray(prediction), jnp.asarray(target), delta=0.7)
    np.testing.assert_allclose(number(ours), expected.item(), rtol=1e-5)


@pytest.mark.parametrize("name", ["r2", "variance", "d2 absolute", "d2 tweedie 0.0"])
@pytest.mark.parametrize("met", [True, False])
def test_a_constant_target_is_met_or_not(name, met):
    ours, theirs = PAIRS[name]
    target = np.full(4, 2.0, np.float32)
    prediction = target if met else np.array([1, 2, 3, 4], np.float32)
    expected = float(met) if "d2" in name else theirs(target, prediction)
    assert ours(jnp.asarray(prediction), jnp.asarray(target)) == expected


def test_several_targets_by_vmap_or_as_one_mean(rows):
    prediction, target, weight = rows
    prediction, target = prediction.reshape(20, 3), target.reshape(20, 3)
    weight = weight[:20]
    one = dict(sample_weight=weight, multioutput="raw_values")
    each = jax.vmap(metrics.r2, (1, 1, None))(
        jnp.asarray(prediction), jnp.asarray(target), jnp.asarray(weight)
    )
    np.testing.assert_allclose(each, sk.r2_score(target, prediction, **one), rtol=1e-4)
    total = metrics.absolute_error(*map(jnp.asarray, (prediction, target, weight)))
    expected = sk.mean_absolute_error(target, prediction, sample_weight=weight)
    np.testing.assert_allclose(metrics.compute(total), expected, rtol=1e-5)


# Properties: true whatever the data.


@pytest.mark.parametrize("name", PAIRS)
def test_weight_zero_is_an_absent_row_whatever_it_holds(rows, name):
    ours = PAIRS[name][0]
    prediction, target, weight = map(jnp.asarray, rows)
    kept = rows[2] > 0
    broken = jnp.where(kept, prediction, jnp.nan), jnp.where(kept, target, jnp.nan)
    np.testing.assert_allclose(
        number(ours(*broken, weight)),
        number(ours(prediction[kept], target[kept], weight[kept])),
        rtol=1e-5,
    )


def test_median_is_that_of_numpy_for_any_number_of_rows():
    rng = np.random.default_rng(1)
    for n in (1, 2, 5, 8):
        gap = rng.normal(size=n).astype(np.float32)
        ours = metrics.median_absolute_error(jnp.asarray(gap), jnp.zeros(n))
        np.testing.assert_allclose(ours, np.median(np.abs(gap)), rtol=1e-6)


def test_integer_weights_are_repeated_rows(rows):
    prediction, target, _ = rows
    times = np.arange(60) % 3
    for name in ("median", "d2 pinball 0.9", "r2"):
        ours = PAIRS[name][0]
        weighted = ours(
            *map(jnp.asarray, (prediction, target, times.astype(np.float32)))
        )
        repeated = ours(
            *(jnp.asarray(np.repeat(a, times)) for a in (prediction, target))
        )
        np.testing.assert_allclose(weighted, repeated, rtol=1e-5)


def test_nan_in_a_row_that_counts_shows(rows):
    prediction, target, weight = map(jnp.asarray, rows)
    for function in (metrics.median_absolute_error, metrics.max_error, metrics.r2):
        assert jnp.isnan(function(prediction.at[1].set(jnp.nan), target, weight))


# Errors.


def test_rejects_powers_that_no_distribution_has():
    with pytest.raises(ValueError, match=r"between 0 and 1; got 0\.5"):
        metrics.tweedie_deviance(jnp.ones(2), jnp.ones(2), power=0.5)


@pytest.mark.parametrize(
    "function", [metrics.pinball, metrics.huber, metrics.max_error]
)
def test_rejects_a_column_against_a_row(function):
    with pytest.raises(ValueError, match=r"shape of the target \(4,\); got \(4, 1\)"):
        function(jnp.ones((4, 1)), jnp.ones(4))
