"""Vision transformers: what holds whatever the weights are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.models.vision import dinov2, vit, vit_encoder
from jaxml.nn import depth

SMALL = {
    "image_size": (12, 16),
    "patch_size": (4, 4),
    "width": 16,
    "depth": 3,
    "heads": 2,
    "hidden": 24,
}
# Everything that is off by default and has parameters.
FULL = {
    "registers": 2,
    "placed": 1,
    "mask_token": True,
    "pre_norm": True,
    "pooler": True,
    "qk_norm": True,
    "layer_scale": 0.5,
    "feed_forward": dinov2.gated,
    "activation": "silu",
}


@pytest.fixture(scope="module")
def images():
    return jax.random.normal(jax.random.key(1), (2, 12, 16, 3))


def started(model, *inputs, scale=0.3):
    """Variables large enough that every part shows."""
    shapes = jax.eval_shape(model.init, jax.random.key(0), *inputs)
    rng = np.random.default_rng(0)
    draw = lambda leaf: rng.normal(0, scale, leaf.shape).astype(leaf.dtype)
    return jax.tree.map(draw, shapes)


def run(model, variables, *inputs):
    return jax.jit(model.apply)(variables, *inputs)


class TestEncoder:
    def test_scan_and_remat_equal_the_loop_with_gradients(self, images):
        loop = vit_encoder.ViT(**SMALL, **FULL)
        scanned = vit_encoder.ViT(**SMALL, **FULL, scan=True, remat="full")
        variables = started(loop, images)

        def loss(model):
            value = lambda v: jnp.square(model.apply(v, images).pooled).sum()
            return jax.jit(jax.value_and_grad(value))

        value, gradient = loss(loop)(variables)
        other, other_gradient = loss(scanned)(depth.stack(variables))
        # the same sums, fused in another order
        np.testing.assert_allclose(other, value, rtol=1e-5)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4),
            other_gradient,
            depth.stack(gradient),
        )

    def test_half_precision_stays_close_and_is_stored_as_told(self, images):
        exact = vit.classifier(5, **SMALL)
        half = vit.classifier(5, **SMALL, dtype=jnp.bfloat16)
        variables = started(exact, images, scale=0.1)
        got = run(half, variables, images)
        assert got.dtype == jnp.bfloat16
        np.testing.assert_allclose(
            got.astype(jnp.float32), run(exact, variables, images), atol=0.03
        )
        stored = vit.classifier(5, **SMALL, param_dtype=jnp.bfloat16)
        shapes = jax.eval_shape(stored.init, jax.random.key(0), images)
        assert {x.dtype for x in jax.tree.leaves(shapes)} == {jnp.dtype("bfloat16")}

    def test_intermediates_are_reachable(self, images):
        model = vit_encoder.ViT(**SMALL)
        variables = started(model, images)
        answer, state = jax.jit(
            lambda v: model.apply(v, images, mutable=["intermediates"])
        )(variables)
        seen = state["intermediates"]
        assert [x.shape for x in seen["hidden_states"]] == [(2, 13, 16)] * 4
        (weights,) = seen["layers_2"]["attention"]["attention"]
        assert weights.shape == (2, 2, 13, 13)
        np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-5)
        np.testing.assert_array_equal(
            seen["last_hidden_state"][0], answer.last_hidden_state
        )
        # asking for them changes only how the attention is computed
        np.testing.assert_allclose(
            run(model, variables, images).pooled, answer.pooled, atol=1e-5
        )

    def test_masked_patches_are_not_seen(self, images):
        model = vit_encoder.ViT(**SMALL, mask_token=True)
        variables = started(model, images)
        mask = jnp.zeros((2, 12), bool).at[:, 5].set(True)  # row 1, column 1
        other = images.at[:, 4:8, 4:8].add(3.0)
        first = run(model, variables, images, mask)
        np.testing.assert_array_equal(run(model, variables, other, mask)[0], first[0])
        assert np.abs(run(model, variables, images)[0] - first[0]).max() > 1e-3

    def test_takes_images_of_other_sizes(self, images):
        model = vit_encoder.ViT(**SMALL)
        variables = started(model, images)
        places = variables["params"]["position_embedding"]
        places[1:] = places[1]  # a constant is the same on every grid
        small = run(model, variables, images[:, :4, :8])
        cut = vit_encoder.ViT(**{**SMALL, "image_size": (4, 8)})
        table = {"position_embedding": places[:3]}
        params = {"params": {**variables["params"], **table}}
        same = run(cut, params, images[:, :4, :8])
        np.testing.assert_allclose(
            small.last_hidden_state, same.last_hidden_state, atol=1e-5
        )

    def test_blocks_are_dropped_in_training_only(self, images):
        options = {"drop_path": 0.5, "dropout": 0.1, "attention_dropout": 0.1}
        model = vit_encoder.ViT(**SMALL, **options)
        variables = started(model, images)
        draw = jax.jit(
            lambda key: (
                model.apply(variables, images, train=True, rngs={"dropout": key}).pooled
            )
        )
        first = draw(jax.random.key(0))
        np.testing.assert_array_equal(first, draw(jax.random.key(0)))
        assert np.abs(first - draw(jax.random.key(1))).max() > 1e-3
        plain = run(vit_encoder.ViT(**SMALL), variables, images)
        np.testing.assert_array_equal(
            run(model, variables, images).pooled, plain.pooled
        )


class TestClassifier:
    @pytest.mark.parametrize(
        "options",
        [
            {"pool": "mean", "pool_norm": True, "tokens": (), "final_norm": False},
            {"pool": "attention", "pool_hidden": 8},
            {"representation": 7},
        ],
        ids=["mean", "attention", "representation"],
    )
    def test_every_parameter_learns(self, images, options):
        model = vit.classifier(5, **SMALL, **options)
        variables = started(model, images)
        total = lambda v: jnp.square(model.apply(v, images)).sum()
        for path, leaf in jax.tree_util.tree_leaves_with_path(
            jax.jit(jax.grad(total))(variables)
        ):
            # A softmax does not see what adds the same to all its logits.
            if "'key']['bias']" in jax.tree_util.keystr(path):
                continue
            assert np.abs(leaf).max() > 0, jax.tree_util.keystr(path)

    def test_named_sizes_have_the_parameters_of_the_papers(self):
        counts = {
            vit.vit_tiny_patch16_224: 5_717_416,
            vit.vit_base_patch16_224: 86_567_656,
            vit.vit_large_patch16_224: 304_326_632,
            vit.vit_huge_patch14_224: 632_045_800,
            dinov2.dinov2_small: 22_056_576,
            dinov2.dinov2_giant: 1_136_480_768,
        }
        image = jax.ShapeDtypeStruct((1, 28, 28, 3), jnp.float32)
        for make, count in counts.items():
            model = make(scan=True)
            shapes = jax.eval_shape(model.init, jax.random.key(0), image)
            assert sum(x.size for x in jax.tree.leaves(shapes)) == count

    def test_linear_probe_sees_token_and_patches(self, images):
        model = dinov2.LinearProbe(dinov2.dinov2(**SMALL), 5)
        variables = started(model, images)
        assert variables["params"]["head"]["kernel"].shape == (32, 5)
        assert run(model, variables, images).shape == (2, 5)


class TestErrors:
    @pytest.mark.usefixtures("unchecked")
    def test_rejects_what_are_no_images(self, images):
        init = jax.eval_shape
        with pytest.raises(ValueError, match=r"images must be floating-point \[batch"):
            init(vit.classifier(5, **SMALL).init, jax.random.key(0), images[0])
        with pytest.raises(ValueError, match="images must have 3 channels; got 2"):
            init(vit.classifier(5, **SMALL).init, jax.random.key(0), images[..., :2])

    def test_rejects_settings_that_do_not_go_together(self, images):
        refuse = lambda model, *more: jax.eval_shape(
            model.init, jax.random.key(0), images, *more
        )
        with pytest.raises(ValueError, match="pool must be mean where there are no"):
            refuse(vit.classifier(5, **SMALL, tokens=()))
        with pytest.raises(ValueError, match="patch_mask must be None without a mask"):
            refuse(vit_encoder.ViT(**SMALL), jnp.zeros((2, 12), bool))
        with pytest.raises(ValueError, match="to be scanned"):
            refuse(vit_encoder.ViT(**SMALL, drop_path=0.1, scan=True))
