import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.nn import dropout


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_alpha_dropout_keeps_mean_and_variance(rate, key):
    x = jax.random.normal(key, (200_000,))
    layer = dropout.AlphaDropout(rate)
    y = layer.apply({}, x, deterministic=False, rngs={"dropout": jax.random.key(1)})
    # four deviations of a sample mean and variance of 200,000
    np.testing.assert_allclose(y.mean(), 0, atol=0.01)
    np.testing.assert_allclose(y.var(), 1, atol=0.02)


def test_alpha_dropout_takes_the_values_of_torch(key):
    torch = pytest.importorskip("torch")
    x = np.ones(64, np.float32)
    theirs = np.unique(torch.nn.functional.alpha_dropout(torch.tensor(x), 0.3, True))
    ours = np.unique(
        dropout.AlphaDropout(0.3).apply(
            {}, jnp.asarray(x), deterministic=False, rngs={"dropout": key}
        )
    )
    assert len(theirs) == 2  # dropped, kept
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_gaussian_noise_has_the_deviation(key):
    layer = dropout.GaussianNoise(0.3)
    y = layer.apply({}, jnp.ones(50_000), deterministic=False, rngs={"dropout": key})
    np.testing.assert_allclose([y.mean(), y.std()], [1, 0.3], atol=0.01)


@pytest.mark.parametrize(
    "layer", [dropout.AlphaDropout(0.5), dropout.GaussianNoise(1.0)]
)
def test_inference_changes_nothing_and_training_needs_a_key(layer):
    x = jnp.arange(3.0)
    np.testing.assert_array_equal(layer.apply({}, x), x)
    with pytest.raises(flax.errors.InvalidRngError, match="dropout"):
        layer.apply({}, x, deterministic=False)


def test_monte_carlo_is_the_mean_over_its_keys(key):
    layer = nn.Dropout(0.5, deterministic=False)
    forward = lambda key: layer.apply({}, jnp.ones(3), rngs={"dropout": key})
    mean, deviation = jax.jit(
        lambda key: dropout.monte_carlo(forward, samples=5, key=key)
    )(key)
    draws = np.stack([forward(k) for k in jax.random.split(key, 5)])
    np.testing.assert_allclose(mean, draws.mean(0), rtol=1e-6)
    np.testing.assert_allclose(deviation, draws.std(0), rtol=1e-6)


def test_rejects_impossible_rates(key):
    with pytest.raises(ValueError, match="rate must be from 0 to below 1; got 1"):
        dropout.AlphaDropout(1.0).apply({}, jnp.ones(2))
    with pytest.raises(ValueError, match="deviation must be at least 0; got -1"):
        dropout.GaussianNoise(-1.0).apply({}, jnp.ones(2))
    with pytest.raises(ValueError, match="samples must be at least 1; got 0"):
        dropout.monte_carlo(lambda key: jnp.ones(1), samples=0, key=key)
