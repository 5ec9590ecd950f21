"""StyleGAN2: fresh noise in training, truncation, and errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.models.generative import stylegan2


def test_styled_generator_draws_noise_in_training_and_truncates(key):
    model = stylegan2.StyleGAN2((6, 4), style=5, depth=2, channels=1)
    latents = jax.random.normal(key, (3, 5))
    variables = jax.jit(model.init)(key, latents)
    params = jax.tree.map(lambda p: p + 0.1, variables["params"])  # noise has strength

    @jax.jit
    def run(params, seed):
        given = {**variables, "params": params}
        calm = model.apply(given, latents)
        wild = model.apply(given, latents, train=True, rngs={"dropout": seed})
        styles = model.apply(given, latents, method="styles")
        center = stylegan2.truncate(styles, styles.mean(0), 0.0)
        return calm, wild, model.apply(given, center, method="synthesize")

    calm, wild, center = run(params, key)
    assert calm.shape == (3, 8, 8, 1)
    assert np.abs(calm - wild).max() > 1e-3
    assert np.abs(wild - run(params, jax.random.key(9))[1]).max() > 1e-3
    np.testing.assert_allclose(center[0], center[1], atol=1e-5)
    assert np.abs(calm[0] - calm[1]).max() > 1e-3
    slopes = jax.jit(jax.grad(lambda p: jnp.square(run(p, key)[1]).sum()))(params)
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(slopes))


def test_rejects_latents_of_another_width(key):
    model = stylegan2.StyleGAN2((4,), style=5, depth=1)
    with pytest.raises(ValueError, match=r"latents must be \[batch, 5\]"):
        jax.eval_shape(model.init, key, jnp.zeros((2, 4)))
    model = stylegan2.StyleGAN2((), style=5)
    with pytest.raises(ValueError, match="widths, style and depth"):
        jax.eval_shape(model.init, key, jnp.zeros((2, 5)))
