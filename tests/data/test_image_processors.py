"""Preprocessing, pixel by pixel against the processors that models came with."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from jaxml.data import image_processors, images

# Bytes agree exactly; what is left is one rounding of float32 at numbers up to 4.
ATOL = 1e-6
CASES = ("clip", "vit", "detr", "efficientnet", "mobilenet_v2")


@pytest.fixture(params=CASES)
def case(request, parity_folder):
    stem = parity_folder / "open" / f"x_image_{request.param}"
    facts = json.loads(stem.with_suffix(".json").read_text())
    return facts["processors"], load_file(stem.with_suffix(".safetensors"))


class TestParity:
    def test_equals_both_processors_of_transformers(self, case):
        processors, tensors = case
        assert len(processors) == 2
        for name, config in processors.items():
            library = "pillow" if name.endswith("Pil") else "transformers"
            processor = image_processors.from_config(config, library=library)
            batch = image_processors.prepare_batch(processor, [tensors["image"]])
            expected = tensors[f"{name}/pixel_values"].transpose(0, 2, 3, 1)
            np.testing.assert_allclose(batch.pixels, expected, rtol=0, atol=ATOL)
            mask = tensors.get(f"{name}/pixel_mask")
            if mask is not None:
                np.testing.assert_array_equal(batch.mask, mask == 1)

    def test_equals_torchvision_transforms(self, parity_folder):
        tensors = load_file(parity_folder / "open" / "x_image_tv_eval_224.safetensors")
        processor = image_processors.evaluation(
            mean=images.IMAGENET_MEAN,
            std=images.IMAGENET_STD,
            size=(50, 50),
            resize=60,
        )
        pixels = image_processors.prepare(processor, tensors["image"])
        expected = tensors["out"].transpose(1, 2, 0)
        np.testing.assert_allclose(pixels, expected, rtol=0, atol=ATOL)

    def test_crop_beyond_the_edge_equals_torchvision(self, parity_folder):
        tensors = load_file(parity_folder / "open" / "x_image_tv_pad_crop.safetensors")
        cropped = images.center_crop(tensors["image"], (90, 100), like="torchvision")
        expected = tensors["out"].transpose(1, 2, 0)
        np.testing.assert_allclose(images.rescale(cropped), expected, rtol=0, atol=ATOL)

    def test_under_jit_equals_on_the_host(self, case):
        processors, tensors = case
        processor = image_processors.from_config(next(iter(processors.values())))
        host = image_processors.prepare(processor, tensors["image"])
        traced = jax.jit(image_processors.prepare, static_argnums=0)(
            processor, jnp.asarray(tensors["image"])
        )
        assert isinstance(host, np.ndarray)
        np.testing.assert_allclose(traced, host, rtol=0, atol=ATOL)


class TestConfig:
    def test_old_files_say_sizes_with_one_number(self):
        clip = image_processors.from_config(
            {
                "feature_extractor_type": "CLIPFeatureExtractor",
                "size": 224,
                "crop_size": 224,
                "resample": 3,
            }
        )
        assert (clip.shortest, clip.crop, clip.method) == (224, (224, 224), "bicubic")
        detr = image_processors.from_config(
            {
                "feature_extractor_type": "DetrFeatureExtractor",
                "size": 800,
                "max_size": 1333,
            }
        )
        assert (detr.shortest, detr.longest, detr.pad) == (800, 1333, True)

    def test_convnext_crops_small_images_and_squeezes_large_ones(self):
        make = lambda edge: image_processors.from_config(
            {
                "image_processor_type": "ConvNextImageProcessor",
                "size": {"shortest_edge": edge},
            }
        )
        assert (make(224).shortest, make(224).crop) == (256, (224, 224))
        assert (make(384).size, make(384).crop) == ((384, 384), None)

    def test_images_of_several_sizes_are_padded_where_told(self):
        processor = image_processors.ImageProcessor(shortest=8, longest=12, pad=True)
        pictures = [np.full((10, 20, 3), 255, np.uint8), np.zeros((9, 9, 3), np.uint8)]
        batch = image_processors.prepare_batch(processor, pictures)
        assert batch.pixels.shape == (2, 8, 12, 3)
        assert batch.mask.sum((1, 2)).tolist() == [6 * 12, 8 * 8]
        with pytest.raises(ValueError, match="images must come out in one size; got"):
            image_processors.prepare_batch(
                image_processors.ImageProcessor(shortest=8), pictures
            )

    def test_gray_and_transparent_images_become_rgb(self):
        gray = np.array([[[7]]], np.uint8)
        clear = np.array([[[9, 9, 9, 0], [9, 9, 9, 255]]], np.uint8)
        assert images.to_rgb(gray).tolist() == [[[7, 7, 7]]]
        assert images.to_rgb(clear).tolist() == [[[255] * 3, [9] * 3]]

    def test_rejects_what_it_does_not_know(self):
        with pytest.raises(ValueError, match=r"image_processor_type must be one of"):
            image_processors.from_config({"image_processor_type": "Sam2ImageProcessor"})
        with pytest.raises(ValueError, match=r"size must have height and width, or"):
            image_processors.from_config({"size": {"longest_edge": 3}})

    def test_rejects_floats(self):
        # beartype refuses the dtype where it is on; without it, the function does.
        with pytest.raises(ValueError, match=r"image must be uint8 \[height, width"):
            image_processors.prepare.__wrapped__(
                image_processors.ImageProcessor(), np.zeros((2, 2, 3), np.float32)
            )
