"""Our ResNet against torchvision's, on the same recipe of weights."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.models.vision import resnet

NAMES = ["resnet18", "resnet34", "resnet50"]


def from_torchvision(params):
    """Names and layouts of a `state_dict`, as our variables."""
    tree: dict = {"params": {}, "batch_stats": {}}
    for name, array in params.items():
        name = name.replace("downsample.0", "downsample_conv1")
        name = name.replace("downsample.1", "downsample_bn1")
        *parents, leaf = re.sub(r"(layer\d)\.(\d+)", r"\1_\2", name).split(".")
        if leaf == "num_batches_tracked":
            continue
        node = tree["batch_stats" if leaf.startswith("running_") else "params"]
        for parent in parents:
            node = node.setdefault(parent, {})
        weight = "scale" if array.ndim == 1 else "kernel"
        leaf = {"weight": weight}.get(leaf, leaf.removeprefix("running_"))
        node[leaf] = array.transpose({4: (2, 3, 1, 0), 2: (1, 0)}.get(array.ndim))
    return tree


@pytest.mark.parametrize("name", NAMES)
def test_logits_are_those_of_torchvision(name, load_case):
    case = load_case(f"tv_{name}")
    variables = from_torchvision(case.params)
    model = getattr(resnet, name)()
    shapes = jax.eval_shape(model.init, jax.random.key(0), case.images)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, shapes)
    case.check({"logits": jax.jit(model.apply)(variables, case.images)})


@pytest.mark.parametrize(
    ("name", "millions"),
    [("resnet18", 11.69), ("resnet34", 21.80), ("resnet50", 25.56)],
)
@pytest.mark.parametrize("size", ["", "_small"])
def test_named_sizes_hold_the_published_number_of_parameters(name, millions, size):
    model = getattr(resnet, name + size)()
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))
    # the smaller stem has 7,680 fewer
    np.testing.assert_allclose(count / 1e6, millions, atol=0.012)


def test_small_images_keep_their_side_until_the_second_stage():
    model = resnet.resnet18_small(num_classes=10)
    images = jnp.zeros((1, 32, 32, 3))

    def run(key):
        variables = model.init(key, images)
        return model.apply(variables, images, capture_intermediates=True)

    seen = jax.eval_shape(run, jax.random.key(0))[1]["intermediates"]
    sides = [seen[f"layer{i}_0"]["__call__"][0].shape[1] for i in (1, 2, 3, 4)]
    assert sides == [32, 16, 8, 4]


@pytest.mark.parametrize("block", [resnet.BasicBlock, resnet.Bottleneck])
def test_zero_init_makes_a_block_its_shortcut(block, key):
    x = jax.random.normal(key, (2, 4, 4, 8))
    model = block(8 if block is resnet.BasicBlock else 2, zero_init=True)
    variables = model.init(key, x, False, None)
    y, _ = model.apply(variables, x, True, None, mutable=["batch_stats"])
    np.testing.assert_array_equal(y, jax.nn.relu(x))
