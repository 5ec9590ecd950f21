"""Relatives of ResNet: sizes, maps of features, dilation, the D variant."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.models.vision import resnet, resnet_d, resnet_features, resnext

IMAGES = jnp.zeros((1, 32, 32, 3))
TINY = {"depths": (1, 2), "width": 8}


def shapes_of(model, images=IMAGES):
    return jax.eval_shape(model.init, jax.random.key(0), images)


@pytest.mark.parametrize(
    ("maker", "millions"),
    [
        (resnet.resnet101, 44.55),
        (resnet.resnet152, 60.19),
        (resnext.wide_resnet50_2, 68.88),
        (resnext.resnext50_32x4d, 25.03),
        (resnext.resnext101_64x4d, 83.46),
        (resnet_d.resnet18d, 11.71),
        (resnet_d.resnet50d, 25.58),
        (resnet_d.seresnet18, 11.78),
        (resnet_d.seresnext50_32x4d, 27.56),
        (resnet_d.ecaresnet50d, 25.58),
    ],
)
def test_named_sizes_hold_the_published_number_of_parameters(maker, millions):
    params = shapes_of(maker())["params"]
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    np.testing.assert_allclose(count / 1e6, millions, atol=6e-3)


def test_features_are_the_maps_of_the_same_network(key):
    images = jax.random.normal(key, (2, 32, 48, 3))
    network = resnet.ResNet(**TINY, block=resnet.BasicBlock, num_classes=None)
    features = resnet_features.ResNetFeatures(
        **TINY, block=resnet.BasicBlock, maps=(0, 1, 2)
    )
    variables = jax.jit(network.init)(key, images)
    maps = jax.jit(features.apply)(variables, images)
    assert [x.shape[1:] for x in maps] == [(16, 24, 8), (8, 12, 8), (4, 6, 16)]
    means = jax.jit(network.apply)(variables, images)
    np.testing.assert_allclose(maps[-1].mean((1, 2)), means, rtol=1e-5)


def test_dilation_keeps_the_image_and_the_parameters():
    make = partial(
        resnet_features.ResNetFeatures, (1, 2, 1, 2), resnet.Bottleneck, width=4
    )
    usual, dilated = make(), make(dilated=(False, False, True, True))
    shapes = shapes_of(usual)
    same = jax.tree.map(lambda a, b: a.shape == b.shape, shapes, shapes_of(dilated))
    assert jax.tree.all(same)
    sides = [x.shape[1] for x in jax.eval_shape(dilated.apply, shapes, IMAGES)]
    assert sides == [16, 8, 4, 4, 4]
    widths = [dilation for *_, dilation, _ in dilated._plan()]
    assert widths == [(1, 1)] * 3 + [(1, 2)] + [(2, 4), (4, 4)]


@pytest.mark.parametrize("stride_first", [False, True])
def test_v1_has_its_stride_on_the_first_convolution(stride_first):
    block = resnet.Bottleneck(4, stride=2, stride_first=stride_first)
    x = jnp.zeros((1, 8, 8, 16))
    run = lambda key: block.init_with_output(
        key, x, False, None, capture_intermediates=True
    )
    seen = jax.eval_shape(run, jax.random.key(0))[1]["intermediates"]
    assert seen["conv1"]["__call__"][0].shape[1] == (4 if stride_first else 8)
    assert seen["conv2"]["__call__"][0].shape[1] == 4


def test_average_shortcut_takes_the_mean_of_what_there_is(key):
    x = jax.random.normal(key, (1, 3, 3, 4))
    block = resnet.BasicBlock(
        4, stride=2, shortcut=resnet_d.average_projection, zero_init=True
    )
    variables = jax.jit(block.init, static_argnums=2)(key, x, False, None)
    params = variables["params"]
    params["downsample_conv1"]["kernel"] = jnp.eye(4).reshape(1, 1, 4, 4)
    means = jnp.stack(
        [
            jnp.stack([x[0, i : i + 2, j : j + 2].mean((0, 1)) for j in (0, 2)])
            for i in (0, 2)
        ]
    )
    # a norm that has seen no batch divides by √(1 + 1e-5)
    np.testing.assert_allclose(
        block.apply(variables, x, False, None)[0], jax.nn.relu(means), rtol=2e-5
    )


def test_remat_computes_every_block_again():
    block = partial(resnet.Bottleneck, groups=2)
    model = resnet.ResNet((1, 2), block, num_classes=3, width=4, remat=True)
    run = lambda v: model.apply(v, IMAGES, train=True, mutable=["batch_stats"])[0].sum()
    program = jax.make_jaxpr(run)(shapes_of(model))
    names = [equation.primitive.name for equation in program.eqns]
    assert names.count("remat2") + names.count("checkpoint") == 3


def test_rejects_images_of_other_channels():
    model = resnet.resnet18(channels=3)
    with pytest.raises(ValueError, match="images must have 3 channels; got 1"):
        shapes_of(model, jnp.zeros((1, 32, 32, 1)))


def test_rejects_a_map_that_there_is_not():
    model = resnet_features.ResNetFeatures((1, 1), resnet.BasicBlock, maps=(1, 3))
    with pytest.raises(ValueError, match=r"maps must be from 0 to 2; got \(1, 3\)"):
        shapes_of(model)
