"""ConvNeXt: sizes, layer scale, global response normalisation."""

from functools import partial

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.models.vision import convnext

IMAGES = jnp.zeros((1, 32, 32, 3))
TINY = partial(convnext.ConvNeXt, (1, 2), (4, 8), num_classes=3, layer_scale=0.5)


def shapes_of(model, images=IMAGES):
    return jax.eval_shape(model.init, jax.random.key(0), images)


@pytest.mark.parametrize(
    ("maker", "millions"),
    [
        (convnext.convnext_tiny, 28.59),
        (convnext.convnext_small, 50.22),
        (convnext.convnext_base, 88.59),
        (convnext.convnext_large, 197.77),
        (convnext.convnext_v2_atto, 3.71),
        (convnext.convnext_v2_tiny, 28.64),
        (convnext.convnext_v2_base, 88.72),
    ],
)
def test_named_sizes_hold_the_published_number_of_parameters(maker, millions):
    params = shapes_of(maker())["params"]
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    np.testing.assert_allclose(count / 1e6, millions, atol=6e-3)


def test_a_block_of_scale_zero_is_the_identity(key):
    x = jax.random.normal(key, (1, 4, 4, 8))
    block = convnext.Block(layer_scale=0.0)
    variables = jax.jit(block.init, static_argnums=2)(key, x, False)
    np.testing.assert_array_equal(block.apply(variables, x, False), x)


class TestGlobalResponseNorm:
    def test_equals_numpy(self, key):
        x = jax.random.normal(key, (2, 3, 4, 5))
        scale, bias = jnp.linspace(-1, 1, 5), jnp.linspace(0, 2, 5)
        length = np.linalg.norm(np.asarray(x).reshape(2, 12, 5), axis=1)
        response = length / (length.mean(-1, keepdims=True) + 1e-6)
        expected = x * response[:, None, None, :] * scale.reshape(1, 1, 1, 5)
        expected = expected + bias.reshape(1, 1, 1, 5) + x
        got = convnext.GlobalResponseNorm().apply(
            {"params": {"scale": scale, "bias": bias}}, x
        )
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)

    def test_has_a_gradient_where_a_channel_is_dark(self):
        norm = convnext.GlobalResponseNorm()
        variables = {"params": {"scale": jnp.ones(3), "bias": jnp.zeros(3)}}
        x = jnp.ones((1, 2, 2, 3)).at[..., 0].set(0)
        gradient = jax.grad(lambda x: norm.apply(variables, x).sum())(x)
        assert np.isfinite(gradient).all()


def test_training_with_drop_path_asks_for_its_key(key):
    model = TINY(drop_path=0.5)
    shapes = shapes_of(model)
    run = lambda v, rngs: model.apply(v, IMAGES, train=True, rngs=rngs)
    jax.eval_shape(lambda v: run(v, {"dropout": key}), shapes)
    with pytest.raises(flax.errors.InvalidRngError, match="dropout"):
        jax.eval_shape(lambda v: run(v, {}), shapes)


def test_remat_computes_every_block_again():
    model = TINY(block=convnext.BlockV2, remat=True)
    run = lambda v: model.apply(v, IMAGES, train=True).sum()
    program = jax.make_jaxpr(run)(shapes_of(model))
    names = [equation.primitive.name for equation in program.eqns]
    assert names.count("remat2") + names.count("checkpoint") == 3


def test_rejects_as_many_widths_as_not_depths():
    with pytest.raises(ValueError, match="shorter"):
        shapes_of(convnext.ConvNeXt((1, 1), (4,)))
