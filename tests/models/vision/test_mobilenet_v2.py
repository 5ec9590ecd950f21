"""MobileNets: sizes, strides, padding, training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.models.vision import mobilenet_v1, mobilenet_v2

IMAGES = jnp.zeros((1, 64, 64, 3))
TINY = (mobilenet_v2.Stage(1, 8, 1, 1), mobilenet_v2.Stage(2, 8, 2, 2))


def shapes_of(model, images=IMAGES):
    return jax.eval_shape(model.init, jax.random.key(0), images)


def last_map(model):
    """Shape of the last hidden state."""
    run = lambda v: model.apply(v, IMAGES, mutable=["intermediates"])[1]
    states = jax.eval_shape(run, shapes_of(model))["intermediates"]["hidden_states"]
    return states[-1].shape


@pytest.mark.parametrize(
    ("maker", "millions"),
    [
        (mobilenet_v2.mobilenet_v2_050, 1.969),
        (mobilenet_v2.mobilenet_v2, 3.505),
        (mobilenet_v2.mobilenet_v2_140, 6.109),
        (mobilenet_v1.mobilenet_v1, 4.232),
        (mobilenet_v1.mobilenet_v1_025, 0.470),
    ],
)
def test_named_sizes_hold_the_published_number_of_parameters(maker, millions):
    params = shapes_of(maker())["params"]
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    np.testing.assert_allclose(count / 1e6, millions, atol=6e-3)


@pytest.mark.parametrize(("stride", "side"), [(8, 8), (16, 4), (32, 2)])
def test_output_stride_keeps_the_image_large(stride, side):
    model = mobilenet_v2.MobileNetV2(output_stride=stride, num_classes=10)
    assert last_map(model) == (1, side, side, 1280)
    dilations = [dilation for *_, dilation in model._plan()]
    assert max(dilations) == {8: 4, 16: 2, 32: 1}[stride]


def test_a_block_is_added_to_its_input_where_the_shape_allows(key):
    x = jax.random.normal(key, (1, 4, 4, 8))
    block = mobilenet_v2.InvertedResidual(8, inside=16)
    variables = jax.jit(block.init, static_argnums=2)(key, x, False, None)
    silent = jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaf * 0 if "project" in str(path) else leaf,
        variables["params"],
    )
    got = block.apply({**variables, "params": silent}, x, False, None)
    np.testing.assert_array_equal(got, x)


def test_remat_computes_every_block_again():
    model = mobilenet_v2.MobileNetV2(TINY, dropout=0.0, remat=True)
    run = lambda v: model.apply(v, IMAGES, train=True, mutable=["batch_stats"])[0].sum()
    program = jax.make_jaxpr(run)(shapes_of(model))
    names = [equation.primitive.name for equation in program.eqns]
    assert names.count("remat2") + names.count("checkpoint") == 3


def test_rejects_an_output_stride_that_is_no_power():
    with pytest.raises(ValueError, match="output_stride must be 8, 16 or 32; got 12"):
        shapes_of(mobilenet_v2.MobileNetV2(output_stride=12))
