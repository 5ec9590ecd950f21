"""CLIP: two towers, one space."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.models.language import clip_text
from jaxml.models.multimodal import clip
from jaxml.nn import depth

TOWER = {"width": 16, "depth": 2, "heads": 2, "hidden": 24}
VISION = {**TOWER, "image_size": (8, 8), "patch_size": (4, 4)}
TEXT = {**TOWER, "vocab_size": 20, "max_positions": 8, "end_token": 19}
IDS = jnp.array([[3, 4, 19, 0, 0], [5, 6, 7, 8, 19], [9, 19, 19, 0, 0]])
MASK = jnp.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 1, 0, 0, 0]], bool)


def started(model, *inputs):
    shapes = jax.eval_shape(model.init, jax.random.key(0), *inputs)
    rng = np.random.default_rng(0)
    draw = lambda leaf: rng.normal(0, 0.3, leaf.shape).astype(leaf.dtype)
    return jax.tree.map(draw, shapes)


@pytest.fixture(scope="module")
def images():
    return jax.random.normal(jax.random.key(1), (2, 8, 8, 3))


@pytest.fixture(scope="module")
def network(images):
    model = clip.clip(vision=VISION, text=TEXT, projection=6)
    return model, started(model, IDS, images)


class TestBoth:
    def test_embeddings_are_unit_vectors_and_each_tower_runs_alone(
        self, network, images
    ):
        model, variables = network
        output = jax.jit(model.apply)(variables, IDS, images, MASK)
        assert output.logits_per_image.shape == (2, 3)
        np.testing.assert_array_equal(output.logits_per_text, output.logits_per_image.T)
        image = jax.jit(lambda v: model.apply(v, images, method="encode_image"))
        text = jax.jit(lambda v: model.apply(v, IDS, MASK, method="encode_text"))
        for got, whole in (
            (image(variables), output.image_embeds),
            (text(variables), output.text_embeds),
        ):
            np.testing.assert_allclose(got, whole, atol=1e-6)
            np.testing.assert_allclose(np.linalg.norm(got, axis=-1), 1, rtol=1e-5)
        factor = np.exp(variables["params"]["logit_scale"])
        cosine = output.image_embeds @ output.text_embeds.T
        np.testing.assert_allclose(output.logits_per_image, factor * cosine, atol=1e-5)

    def test_scan_equals_the_loop(self, network, images):
        model, variables = network
        both = {"scan": True, "remat": "dots_saveable"}
        scanned = clip.clip(vision=VISION | both, text=TEXT | both, projection=6)
        got = jax.jit(scanned.apply)(depth.stack(variables), IDS, images, MASK)
        expected = jax.jit(model.apply)(variables, IDS, images, MASK)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), got, expected
        )

    def test_half_precision_stays_close(self, network, images):
        model, variables = network
        half = {"dtype": jnp.bfloat16}
        other = clip.clip(vision=VISION | half, text=TEXT | half, projection=6)
        got = jax.jit(other.apply)(variables, IDS, images, MASK)
        assert got.logits_per_image.dtype == jnp.bfloat16
        expected = jax.jit(model.apply)(variables, IDS, images, MASK)
        # eight bits of mantissa through both towers
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(
                a.astype(jnp.float32), b, atol=0.06
            ),
            got,
            expected,
        )

    def test_contrastive_loss_is_the_mean_over_rows_and_columns(self):
        logits = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
        cross = lambda x: np.log(np.exp(x).sum(1)) - np.diag(x)
        expected = (cross(logits) + cross(logits.T)) / 2
        got = clip.contrastive_loss(jnp.asarray(logits))
        np.testing.assert_allclose(got, expected, rtol=1e-5)

    @pytest.mark.usefixtures("unchecked")
    def test_contrastive_loss_rejects_images_without_texts(self):
        with pytest.raises(ValueError, match="logits must be square; got"):
            clip.contrastive_loss(jnp.zeros((2, 3)))

    def test_named_sizes_have_the_parameters_of_the_releases(self):
        inputs = (
            jax.ShapeDtypeStruct((1, 2), jnp.int32),
            jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32),
        )
        for make, count in (
            (clip.clip_vit_base_patch32, 151_277_313),
            (clip.clip_vit_large_patch14, 427_616_513),
        ):
            shapes = jax.eval_shape(make(scan=True).init, jax.random.key(0), *inputs)
            assert sum(x.size for x in jax.tree.leaves(shapes)) == count


class TestText:
    def test_pools_the_first_end_token_or_the_largest_id(self):
        run = lambda end: jax.jit(clip_text.ClipText(**TEXT | {"end_token": end}).apply)
        variables = started(clip_text.ClipText(**TEXT), IDS)
        states, pooled = run(19)(variables, IDS)
        np.testing.assert_array_equal(pooled, states[np.arange(3), [2, 4, 1]])
        np.testing.assert_array_equal(run(None)(variables, IDS)[1], pooled)
        states, pooled = run(6)(variables, IDS)
        np.testing.assert_array_equal(pooled, states[np.arange(3), [0, 1, 0]])

    def test_what_follows_the_end_changes_nothing(self):
        model = clip_text.ClipText(**TEXT)
        variables = started(model, IDS)
        run = jax.jit(model.apply)
        other = IDS.at[0, 3:].set(11)
        np.testing.assert_array_equal(
            run(variables, other).pooled, run(variables, IDS).pooled
        )

    def test_rejects_long_texts_and_numbers_that_are_no_ids(self):
        model = clip_text.ClipText(**TEXT)
        with pytest.raises(ValueError, match="the text must have at most 8 tokens"):
            jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 9), int))


def test_images_are_judged_by_the_mean_of_their_patches(images):
    tower = clip.ClipVision(clip.vision_encoder(**VISION))
    model = clip.ImageClassifier(tower, 5)
    variables = started(model, images)
    assert jax.jit(model.apply)(variables, images).shape == (2, 5)
