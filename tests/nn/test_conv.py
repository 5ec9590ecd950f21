"""Convolutions against torch's vectors; channel attention against NumPy."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from jaxml.nn import conv
from jaxml.ops import pool


@pytest.fixture(scope="module")
def vector(parity_folder):
    """The reader of one operation: its inputs, channels last, and its output."""
    tensors = load_file(parity_folder / "open" / "x_ops.safetensors")

    def read(name):
        part = {k.removeprefix(f"{name}/"): v for k, v in tensors.items()}
        images = lambda x: jnp.asarray(x.transpose(0, 2, 3, 1))
        return part, images(part["in/x"]), images(part["out/0"])

    return read


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


class TestConvolution:
    def test_equals_torch_with_stride_groups_and_dilation(self, vector):
        part, x, expected = vector("conv_s2_p1_d2_g2")
        layer = conv.convolution(
            6, 3, 2, groups=2, dilation=2, padding=1, use_bias=True
        )
        kernel = part["in/w"].transpose(2, 3, 1, 0)
        variables = {"params": {"kernel": kernel, "bias": part["in/b"]}}
        # sums of 18 products of about one
        np.testing.assert_allclose(layer.apply(variables, x), expected, atol=5e-6)

    @pytest.mark.parametrize(
        ("name", "function"),
        [("maxpool_ceil", pool.max_pool), ("avgpool_incl_pad", pool.avg_pool)],
    )
    def test_pools_equal_torch(self, name, function, vector):
        _, x, expected = vector(name)
        got = function(x, window=3, stride=2, padding=1)
        np.testing.assert_allclose(got, expected, atol=1e-6)

    @pytest.mark.parametrize("kernel", [3, 5])
    def test_keras_pads_as_tensorflow_does_images_of_even_side(self, kernel, key):
        x = jax.random.normal(key, (1, 9, 8, 2))
        layers = [conv.convolution(3, kernel, 2, padding=p) for p in ("same", "keras")]
        variables = layers[0].init(key, x)
        even = [layer.apply(variables, x[:, :8]) for layer in layers]
        np.testing.assert_array_equal(*even)
        odd = [layer.apply(variables, x[:, :, :7]) for layer in layers]
        assert odd[0].shape != odd[1].shape or np.any(odd[0] != odd[1])

    def test_rejects_an_unknown_padding(self):
        with pytest.raises(ValueError, match="no padding 'tourch'; nearest: torch"):
            conv.padding_of("tourch", 3)


class TestConvNorm:
    def test_depthwise_sees_one_channel_at_a_time(self, key):
        x = jax.random.normal(key, (2, 6, 6, 3))
        layer = conv.ConvNorm(3, groups=3, activation="relu6")
        variables = layer.init(key, x)
        other = layer.apply(variables, x.at[..., 1].add(1))
        same = np.all(other == layer.apply(variables, x), (0, 1, 2))
        np.testing.assert_array_equal(same, [True, False, True])

    def test_learns_statistics_in_training_alone(self, key):
        x = jax.random.normal(key, (2, 6, 6, 3))
        layer = conv.ConvNorm(4, kernel=1, activation=None)
        variables = layer.init(key, x)
        y, state = layer.apply(variables, x, train=True, mutable=["batch_stats"])
        # what is normalised over the batch has mean zero
        np.testing.assert_allclose(y.mean((0, 1, 2)), np.zeros(4), atol=1e-6)
        assert np.all(state["batch_stats"]["norm"]["mean"] != 0)

    def test_rejects_groups_that_do_not_divide(self):
        layer = conv.ConvNorm(4, groups=3)
        with pytest.raises(ValueError, match="divide the channels; got 3 for 6 -> 4"):
            jax.eval_shape(layer.init, jax.random.key(0), jnp.zeros((1, 4, 4, 6)))


class TestAttentionOfChannels:
    def test_squeeze_excitation_equals_numpy(self, key):
        x = jax.random.normal(key, (2, 3, 4, 5))
        layer = conv.SqueezeExcitation(2)
        variables = layer.init(key, x)
        reduce, expand = (
            jax.tree.map(np.asarray, variables["params"][n])
            for n in ("reduce", "expand")
        )
        mean = np.asarray(x.mean((1, 2)))
        y = np.maximum(mean @ reduce["kernel"] + reduce["bias"], 0)
        gate = sigmoid(y @ expand["kernel"] + expand["bias"])
        expected = x * gate[:, None, None, :]
        np.testing.assert_allclose(layer.apply(variables, x), expected, rtol=1e-5)

    def test_efficient_attention_equals_numpy(self, key):
        x = jax.random.normal(key, (2, 3, 4, 6))
        layer = conv.EfficientChannelAttention()
        variables = layer.init(key, x)
        taps = np.asarray(variables["params"]["conv"]["kernel"]).ravel()
        mean = np.pad(np.asarray(x.mean((1, 2))), ((0, 0), (1, 1)))
        gate = sigmoid(sum(taps[i] * mean[:, i : i + 6] for i in range(3)))
        expected = x * gate[:, None, None, :]
        np.testing.assert_allclose(layer.apply(variables, x), expected, rtol=1e-5)

    @pytest.mark.parametrize(
        ("channels", "kernel"), [(16, 3), (64, 3), (256, 5), (2048, 7)]
    )
    def test_efficient_attention_sees_more_of_many_channels(self, channels, kernel):
        layer = conv.EfficientChannelAttention()
        x = jnp.zeros((1, 1, 1, channels))
        shapes = jax.eval_shape(layer.init, jax.random.key(0), x)
        assert shapes["params"]["conv"]["kernel"].shape == (kernel, 1, 1)

    def test_rejects_no_units(self):
        with pytest.raises(ValueError, match="reduced must be at least 1; got 0"):
            conv.SqueezeExcitation(0).init(jax.random.key(0), jnp.zeros((1, 2, 2, 3)))


def test_rejects_images_of_other_channels():
    with pytest.raises(ValueError, match="images must have 3 channels; got 1"):
        conv.check_images(jnp.zeros((1, 4, 4, 1)), 3)
    conv.check_images(jnp.zeros((1, 4, 4, 1)))


@pytest.mark.parametrize("divisor", [4, 8])
def test_divisible_is_near_and_hardly_below(divisor):
    for value in np.linspace(1, 200, 97):
        got = conv.divisible(float(value), divisor)
        assert got % divisor == 0
        assert got >= 0.9 * value
        assert abs(got - value) <= divisor


def test_activation_by_name_is_that_of_flax(key):
    x = 4 * jax.random.normal(key, (1, 4, 4, 2))
    apply = lambda a: conv.ConvNorm(2, activation=a).init_with_output(key, x)[0]
    np.testing.assert_array_equal(apply("relu6"), apply(jax.nn.relu6))
    np.testing.assert_array_equal(apply("silu"), apply(nn.silu))
