"""Resampling against Pillow and torch, byte by byte where they count in bytes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from jaxml.data import resize

PILLOW = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4}
PILLOW["hamming"] = 5
# Sizes, old and new: larger, smaller, both, very tall, and a single row.
SIZES = [
    ((20, 30), (33, 47)),
    ((47, 33), (20, 9)),
    ((40, 9), (11, 25)),
    ((90, 30), (20, 28)),
    ((1, 12), (7, 5)),
]
INTERPOLATIONS = {
    "up_bilinear_nc": {"method": "bilinear"},
    "up_bilinear_ac": {"method": "bilinear", "align_corners": True},
    "down_bilinear_ac": {"method": "bilinear", "align_corners": True},
    "down_bicubic_nc": {"method": "bicubic"},
    "down_bicubic_ac": {"method": "bicubic", "align_corners": True},
    "up_nearest": {"method": "nearest"},
    "up_nearest_exact": {"method": "nearest_exact"},
    "up_area": {"method": "area"},
    "down_area": {"method": "area"},
    "down_bilinear_aa": {"method": "bilinear", "antialias": True},
    "down_bicubic_aa": {"method": "bicubic", "antialias": True},
}


@pytest.fixture(scope="module")
def pictures(parity_folder):
    return load_file(parity_folder / "open" / "x_image_pil_resize.safetensors")


def draw(shape, seed=0):
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (*shape, 3), dtype=np.uint8)


class TestPillow:
    @pytest.mark.parametrize("method", [m for m in PILLOW if m != "hamming"])
    def test_equals_the_vectors_byte_by_byte(self, pictures, method):
        image = pictures["image"]
        for part, size, name in (
            (image, (31, 53), "down"),
            (image[:30, :40], (47, 61), "up"),
        ):
            got = resize.pillow(part, size, method=method)
            np.testing.assert_array_equal(got, pictures[f"{method}_{name}"])

    @pytest.mark.parametrize("method", PILLOW)
    def test_equals_the_installed_pillow(self, method):
        module = pytest.importorskip("PIL.Image")
        if int(module.__version__.split(".")[0]) < 13:
            pytest.skip("an older Pillow averages the columns first, always")
        for old, new in SIZES:
            image = draw(old)
            expected = module.fromarray(image).resize(new[::-1], PILLOW[method])
            got = resize.pillow(image, new, method=method)
            np.testing.assert_array_equal(got, np.asarray(expected), str((old, new)))

    def test_traced_equals_the_host(self):
        images = np.stack([draw((20, 30)), draw((20, 30), 1)])
        run = lambda x: (
            resize.pillow(x, (9, 31), method="bicubic"),
            resize.torchvision(x, (9, 31), method="bilinear"),
            resize.pillow(x, (9, 31), method="nearest"),
        )
        jax.tree.map(
            np.testing.assert_array_equal,
            jax.jit(run)(jnp.asarray(images)),
            run(images),
        )


class TestTorch:
    def test_bytes_equal_torch(self):
        torch = pytest.importorskip("torch")
        for method in ("bilinear", "bicubic", "lanczos"):
            for old, new in SIZES:
                image = draw(old)
                expected = torch.nn.functional.interpolate(
                    torch.from_numpy(image).permute(2, 0, 1)[None].contiguous(),
                    size=new,
                    mode=method,
                    antialias=True,
                )
                got = resize.torchvision(image, new, method=method)
                np.testing.assert_array_equal(
                    got, expected[0].permute(1, 2, 0).numpy(), f"{method} {old} {new}"
                )

    def test_floats_equal_the_vectors(self, parity_folder):
        tensors = load_file(parity_folder / "open" / "x_ops.safetensors")
        cases = {
            name: tuple(tensors[f"{name}/{key}"].transpose(0, 2, 3, 1) for key in keys)
            for name in INTERPOLATIONS
            for keys in [("in/x", "out/0")]
        }

        @jax.jit
        def run(inputs):
            return {
                name: resize.interpolate(
                    x, cases[name][1].shape[1:3], **INTERPOLATIONS[name]
                )
                for name, x in inputs.items()
            }

        got = run({name: jnp.asarray(x) for name, (x, _) in cases.items()})
        for name, (x, expected) in cases.items():
            # sums of up to 36 float32 of size 3
            np.testing.assert_allclose(got[name], expected, rtol=0, atol=3e-6)
            host = resize.interpolate(x, expected.shape[1:3], **INTERPOLATIONS[name])
            np.testing.assert_allclose(host, expected, rtol=0, atol=3e-6)


def test_a_constant_stays_and_a_mean_is_kept():
    flat = np.full((17, 5, 2), 200, np.uint8)
    for method in ("box", "bilinear", "bicubic", "lanczos"):
        assert (resize.pillow(flat, (4, 9), method=method) == 200).all()
    image = draw((24, 36)).astype(np.float32)
    # whole old pixels in every new one
    small = resize.interpolate(image, (8, 9), method="area")
    np.testing.assert_allclose(small.mean(), image.mean(), rtol=1e-5)


def test_gradient_reaches_the_pixels():
    image = jnp.ones((4, 6, 1))
    total = lambda x: resize.interpolate(x, (7, 3), method="bicubic").sum()
    # every new pixel is one unit of old ones
    np.testing.assert_allclose(jax.grad(total)(image).sum(), 21, rtol=1e-5)


def test_rejects_methods_and_sizes_that_are_not():
    image = draw((4, 4))
    with pytest.raises(ValueError, match="method must be one of nearest, box, bili"):
        resize.pillow(image, (2, 2), method="area")
    with pytest.raises(ValueError, match="height and width must be at least 1; got"):
        resize.pillow(image, (0, 2))
    with pytest.raises(ValueError, match="align_corners must be False but for"):
        resize.interpolate(
            image.astype(np.float32), (2, 2), method="area", align_corners=True
        )
