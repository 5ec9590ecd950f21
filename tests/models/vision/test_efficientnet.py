"""EfficientNet: sizes, shortcuts, stochastic depth."""

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.models.vision import efficientnet, efficientnet_v2
from jaxml.models.vision.efficientnet import Stage

IMAGES = jnp.zeros((1, 32, 32, 3))
TINY = {
    "stages": (Stage(1, 3, 1, 8, 2), Stage(2, 3, 2, 8, 2, efficientnet_v2.FusedMBConv)),
    "stem_features": 8,
    "last_features": 16,
    "num_classes": 3,
}


def shapes_of(model, images=IMAGES):
    return jax.eval_shape(model.init, jax.random.key(0), images)


@pytest.mark.parametrize(
    ("maker", "millions"),
    [
        (efficientnet.efficientnet_b0, 5.289),
        (efficientnet.efficientnet_b2, 9.110),
        (efficientnet.efficientnet_b4, 19.342),
        (efficientnet.efficientnet_b7, 66.348),
        (efficientnet_v2.efficientnet_v2_s, 21.458),
        (efficientnet_v2.efficientnet_v2_l, 118.515),
    ],
)
def test_named_sizes_hold_the_published_number_of_parameters(maker, millions):
    params = shapes_of(maker())["params"]
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    np.testing.assert_allclose(count / 1e6, millions, atol=6e-3)


def test_drops_later_blocks_more_often(key):
    model = efficientnet.EfficientNet(**TINY, drop_path=0.4)
    variables = jax.jit(model.init)(key, IMAGES)
    images = jax.random.normal(key, (64, 16, 16, 3))
    run = jax.jit(
        lambda key: model.apply(
            variables,
            images,
            train=True,
            rngs={"dropout": key},
            mutable=["batch_stats", "intermediates"],
            capture_intermediates=lambda module, _: module.name == "drop_path",
        )[1]["intermediates"]
    )
    seen = run(key)
    dropped = {
        name: np.mean(~np.any(block["drop_path"]["__call__"][0], (1, 2, 3)))
        for name, block in seen.items()
        if name.startswith("blocks_")
    }
    # blocks 0 and 2 have no shortcut or a rate of zero; 64 rows vary by 0.06
    assert set(dropped) == {"blocks_0", "blocks_1", "blocks_3"}
    assert dropped["blocks_0"] == 0
    assert 0.01 < dropped["blocks_1"] < 0.25 < 0.2 + dropped["blocks_3"]
    with pytest.raises(flax.errors.InvalidRngError, match="dropout"):
        jax.eval_shape(
            lambda v: model.apply(v, images, train=True, mutable=["batch_stats"]),
            variables,
        )


def test_first_block_of_a_stage_has_a_shortcut_only_if_told(key):
    images = jax.random.normal(key, (1, 16, 16, 3))
    models = [
        efficientnet.EfficientNet(**TINY, first_shortcut=first)
        for first in (True, False)
    ]
    variables = jax.jit(models[0].init)(key, images)
    states = [
        jax.jit(lambda v, m=m: m.apply(v, images, mutable=["intermediates"]))(
            variables
        )[1]["intermediates"]["hidden_states"]
        for m in models
    ]
    # state 1 is that after the first block, whose shape is that of its input
    np.testing.assert_allclose(
        states[0][1] - states[0][0], states[1][1], rtol=1e-4, atol=1e-5
    )


def test_remat_computes_every_block_again():
    model = efficientnet.EfficientNet(**TINY, dropout=0.0, drop_path=0.0, remat=True)
    run = lambda v: model.apply(v, IMAGES, train=True, mutable=["batch_stats"])[0].sum()
    program = jax.make_jaxpr(run)(shapes_of(model))
    names = [equation.primitive.name for equation in program.eqns]
    assert names.count("remat2") + names.count("checkpoint") == 4
