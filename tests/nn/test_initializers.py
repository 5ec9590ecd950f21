import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.nn import initializers

FAN_IN, FAN_OUT = 200, 100


@pytest.mark.parametrize(
    ("name", "variance"),
    [
        ("glorot_normal", 2 / (FAN_IN + FAN_OUT)),
        ("glorot_uniform", 2 / (FAN_IN + FAN_OUT)),
        ("he_normal", 2 / FAN_IN),
        ("he_uniform", 2 / FAN_IN),
        ("he_normal_fan_out", 2 / FAN_OUT),
        ("lecun_normal", 1 / FAN_IN),
        ("lecun_uniform", 1 / FAN_IN),
        ("torch", 1 / (3 * FAN_IN)),
    ],
)
def test_variance_is_that_of_the_paper(name, variance, key):
    kernel = initializers.by_name(name)(key, (FAN_IN, FAN_OUT), jnp.float32)
    # 20,000 draws: the deviation of the sample variance is 1 % for the normal
    np.testing.assert_allclose(kernel.var(), variance, rtol=0.05)
    np.testing.assert_allclose(kernel.mean(), 0, atol=4 * (variance / 20_000) ** 0.5)


def test_torch_names_bound_kernel_and_bias_alike(key):
    bound = FAN_IN**-0.5
    kernel = initializers.by_name("torch")(key, (FAN_IN, FAN_OUT), jnp.float32)
    bias = initializers.torch_bias(FAN_IN)(key, (20_000,), jnp.float32)
    for drawn in (kernel, bias):
        np.testing.assert_allclose(abs(drawn).max(), bound, rtol=1e-2)
        assert abs(drawn).max() <= bound


def test_every_name_gives_shape_and_dtype(key):
    for name in initializers.NAMES:
        kernel = initializers.by_name(name)(key, (8, 4), jnp.bfloat16)
        assert kernel.shape == (8, 4)
        assert kernel.dtype == jnp.bfloat16


def test_an_initialiser_is_given_back():
    assert initializers.by_name(jax.nn.initializers.zeros) is jax.nn.initializers.zeros


def test_rejects_unknown_names_with_the_nearest():
    with pytest.raises(ValueError, match="no initialiser 'he_norml'; nearest: he_norm"):
        initializers.by_name("he_norml")
