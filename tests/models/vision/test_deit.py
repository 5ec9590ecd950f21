"""DeiT: two heads, and what each learns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.models.vision import deit, vit_encoder

SMALL = {
    "image_size": (8, 8),
    "patch_size": (4, 4),
    "width": 8,
    "depth": 1,
    "heads": 2,
    "hidden": 12,
}


def test_logits_are_the_mean_of_two_heads_that_differ(key):
    model = deit.distilled(3, **SMALL)
    images = jax.random.normal(key, (2, 8, 8, 3))
    variables = jax.jit(model.init)(key, images)
    assert {"head", "distillation_head"} < set(variables["params"])
    # tokens start almost equal, and so do their vectors
    head = variables["params"]["distillation_head"]
    head["bias"] = head["bias"] + 1
    logits, own, taught = jax.jit(model.apply)(variables, images)
    np.testing.assert_allclose(logits, (own + taught) / 2, rtol=1e-6)
    assert np.abs(own - taught).min() > 1e-3


def test_distillation_loss_is_half_labels_and_half_teacher():
    logits = jnp.array([[2.0, 0.0, -1.0]])
    other = jnp.array([[0.0, 0.5, 1.0]])
    output = deit.DeiTOutput((logits + other) / 2, logits, other)
    teacher = jnp.array([[0.0, 9.0, 0.0]])  # chooses class 1
    got = deit.distillation_loss(output, jnp.array([0]), teacher)
    cross = lambda row, k: np.log(np.exp(row).sum()) - row[k]
    expected = (cross(np.array(logits[0]), 0) + cross(np.array(other[0]), 1)) / 2
    np.testing.assert_allclose(got, [expected], rtol=1e-6)


def test_named_sizes_have_the_parameters_of_the_paper():
    image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    for make, count in (
        (deit.deit_tiny_distilled_patch16_224, 5_910_800),
        (deit.deit_base_distilled_patch16_224, 87_338_192),
    ):
        shapes = jax.eval_shape(make(scan=True).init, jax.random.key(0), image)
        assert sum(x.size for x in jax.tree.leaves(shapes)) == count


def test_rejects_an_encoder_without_both_tokens(key):
    model = deit.DeiT(vit_encoder.ViT(**SMALL))
    with pytest.raises(ValueError, match=r"tokens must begin \('class_token', 'dist"):
        jax.eval_shape(model.init, key, jnp.zeros((1, 8, 8, 3)))
