"""Patches are the convolution whose stride is its kernel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.nn import patch


def test_equals_a_convolution_and_leaves_the_rest_out(key):
    images = jax.random.normal(key, (2, 11, 9, 3))
    module = patch.PatchEmbedding(5, (4, 2))
    variables = module.init(key, images)
    kernel = variables["params"]["kernel"]
    assert kernel.shape == (4, 2, 3, 5)
    variables["params"]["bias"] += jnp.arange(5.0)
    expected = jax.lax.conv_general_dilated(
        images, kernel, (4, 2), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    got = module.apply(variables, images)
    # sums of 24 float32
    np.testing.assert_allclose(
        got, expected + np.arange(5).reshape(1, 1, 1, 5), rtol=0, atol=1e-5
    )


def test_rejects_images_below_a_patch(key):
    with pytest.raises(ValueError, match="images must be at least 4 x 4, one patch"):
        patch.PatchEmbedding(5, (4, 4)).init(key, jnp.zeros((1, 3, 8, 3)))
