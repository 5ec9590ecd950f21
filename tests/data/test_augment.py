"""Augmentation: SciPy's resampling, what no change may alter, and jit and vmap."""

from functools import partial

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from scipy import ndimage

from jaxml.data import augment, color

# Every change, made as small as it gets: the image must come back.
NOTHING = {
    "shift": partial(augment.shift, limit=0.0),
    "flip": partial(augment.flip, probability=0.0),
    "flip_vertical": partial(augment.flip_vertical, probability=0.0),
    "crop": partial(augment.crop, padding=0),
    "rotate": partial(augment.rotate, limit=0.0),
    "zoom": partial(augment.zoom, limit=0.0),
    "cutout": partial(augment.cutout, size=0),
    "brightness": partial(color.brightness, limit=0.0),
    "contrast": partial(color.contrast, limit=0.0),
    "saturation": partial(color.saturation, limit=0.0),
    "hue": partial(color.hue, limit=0.0),
    "jitter": partial(
        color.jitter, brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0
    ),
    "compose": augment.compose(partial(augment.crop, padding=0)),
}
CHANGES = {
    "shift": augment.shift,
    "flip": augment.flip,
    "flip_vertical": augment.flip_vertical,
    "crop": partial(augment.crop, padding=2),
    "rotate": augment.rotate,
    "zoom": augment.zoom,
    "cutout": partial(augment.cutout, size=3),
    "brightness": color.brightness,
    "contrast": color.contrast,
    "saturation": color.saturation,
    "hue": color.hue,
    "jitter": color.jitter,
    "compose": augment.compose(augment.flip, augment.rotate, color.contrast),
}


@pytest.fixture
def image():
    return jax.random.uniform(jax.random.key(7), (9, 6, 3))


@pytest.fixture
def images():
    return jax.random.uniform(jax.random.key(8), (5, 8, 6, 3))


@pytest.fixture
def as_users_call():
    """Without the checks of the annotations, which come before ours in tests only."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


# Parity: scipy.ndimage, bilinear. Its grid-constant also interpolates towards the fill
# beyond the edge. Float32 coordinates below 10 are right to 1e-6.


@pytest.mark.parametrize("fill", [0.0, 0.5])
def test_rotate_is_that_of_scipy(image, key, fill):
    limit = 0.7
    angle = limit * jax.random.uniform(key, minval=-1, maxval=1)
    expected = ndimage.rotate(
        image,
        np.rad2deg(angle),
        axes=(0, 1),
        reshape=False,
        order=1,
        mode="grid-constant",
        cval=fill,
    )
    ours = augment.rotate(key, image, limit=limit, fill=fill)
    assert abs(angle) > 0.1
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_shift_is_that_of_scipy(image, key):
    offset = 0.3 * np.array([9, 6]) * jax.random.uniform(key, (2,), minval=-1, maxval=1)
    expected = ndimage.shift(image, [*offset, 0], order=1, mode="grid-constant")
    ours = augment.shift(key, image, limit=0.3)
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_zoom_is_an_affine_map_of_scipy(image, key):
    factor = 1 + 0.5 * jax.random.uniform(key, minval=-1, maxval=1)
    matrix, center = np.diag([1 / factor, 1 / factor, 1]), np.array([4, 2.5, 1])
    expected = ndimage.affine_transform(
        image, matrix, center - matrix @ center, order=1, mode="grid-constant"
    )
    ours = augment.zoom(key, image, limit=0.5)
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_quarter_turn_is_exact(key):
    image = jax.random.uniform(key, (5, 5, 2))
    turn = augment.warp(image, jnp.array([[0.0, 1.0], [-1.0, 0.0]]))
    np.testing.assert_allclose(turn, np.rot90(image), atol=1e-6)


def test_saturation_zero_is_grey(image, key):
    """limit=1 and the factor that the key draws: the mix with the luma by hand."""
    factor = 1 + jax.random.uniform(key, minval=-1, maxval=1)
    grey = np.tensordot(image, [0.299, 0.587, 0.114], 1)[..., None]
    expected = factor * image + (1 - factor) * grey
    ours = color.saturation(key, image, limit=1.0)
    np.testing.assert_allclose(ours, expected, rtol=1e-5)


def test_hue_turns_red_to_green(key):
    """A third of a circle permutes the channels."""
    third = 2 * jnp.pi / 3 / jax.random.uniform(key, minval=-1, maxval=1)
    red = jnp.array([[[1.0, 0.25, 0.0]]])
    turned = color.hue(key, red, limit=third)
    np.testing.assert_allclose(turned, [[[0.0, 1.0, 0.25]]], atol=1e-6)


def many(change, image, count=80):
    """What `count` keys make of one image."""
    images = jnp.broadcast_to(image, (count, *image.shape))
    return np.asarray(jax.jit(augment.per_image(change))(jax.random.key(0), images))


# Properties of every change.


@pytest.mark.parametrize("name", NOTHING)
def test_no_magnitude_is_no_change(image, key, name):
    change = jax.jit(NOTHING[name])
    np.testing.assert_allclose(change(key, image), image, atol=1e-6)


@pytest.mark.parametrize("name", CHANGES)
def test_is_a_function_of_key_and_image(images, key, name):
    """The key alone decides; jit and vmap give what a loop gives; the type stays."""
    change, keys = jax.jit(CHANGES[name]), jax.random.split(key, len(images))
    loop = [change(key, image) for key, image in zip(keys, images, strict=True)]
    batch = jax.jit(augment.per_image(change))(key, images)
    np.testing.assert_allclose(batch, np.stack(loop), atol=1e-5)
    assert len({np.asarray(change(key, images[0])).tobytes() for key in keys}) > 1
    half = jax.ShapeDtypeStruct(images.shape[1:], jnp.bfloat16)
    assert jax.eval_shape(change, key, half) == half


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.usefixtures("as_users_call")
def test_rejects_what_is_no_image_of_floats(images, key, name):
    with pytest.raises(ValueError, match=r"floats, e.g. pixels / 255; got uint8"):
        CHANGES[name](key, jnp.zeros((4, 4, 3), jnp.uint8))
    with pytest.raises(ValueError, match=r"got \(5, 8, 6, 3\): use per_image"):
        CHANGES[name](key, images)


# Properties of some.


@pytest.mark.parametrize("change", [augment.flip, augment.flip_vertical])
def test_two_flips_are_none(image, key, change):
    once = change(key, image, probability=1.0)
    np.testing.assert_array_equal(change(key, once, probability=1.0), image)
    assert not np.array_equal(once, image)


def test_flips_name_their_axis(image, key):
    across = augment.flip(key, image, probability=1.0)
    np.testing.assert_array_equal(across, np.fliplr(image))
    down = augment.flip_vertical(key, image, probability=1.0)
    np.testing.assert_array_equal(down, np.flipud(image))


def test_composed_changes_draw_apart(image):
    """By one key, two flips would always be none."""
    twice = many(augment.compose(augment.flip, augment.flip), image)
    assert {flipped.tobytes() for flipped in twice} == {
        np.asarray(image).tobytes(),
        np.fliplr(image).tobytes(),
    }


def test_crop_moves_by_whole_pixels_to_every_place(image):
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), constant_values=0.5)
    places = {
        padded[row : row + 9, column : column + 6].tobytes()
        for row in range(3)
        for column in range(3)
    }
    crops = many(partial(augment.crop, padding=1, fill=0.5), image)
    assert {crop.tobytes() for crop in crops} == places


def test_means_stay(image, key):
    np.testing.assert_allclose(
        color.contrast(key, image).mean((0, 1)), image.mean((0, 1)), rtol=1e-5
    )
    np.testing.assert_allclose(
        color.hue(key, image).mean(-1), image.mean(-1), rtol=1e-5
    )
    brighter = color.brightness(key, image)
    ratio = brighter / image
    np.testing.assert_allclose(ratio, np.full_like(ratio, ratio.mean()), rtol=1e-5)


def test_cutout_covers_a_square_or_what_is_left_of_it(image):
    sizes = set()
    for cut in many(partial(augment.cutout, size=3, fill=-1.0), image):
        rows, columns = np.nonzero(np.all(cut == -1, -1))
        sides = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert len(rows) == sides[0] * sides[1]
        sizes.add(sides)
    assert sizes == {(3, 3), (2, 3), (3, 2), (2, 2)}


def test_bounds_may_be_traced(image, key):
    limits = jnp.array([0.0, 0.2])
    both = jax.vmap(lambda limit: augment.rotate(key, image, limit=limit))(limits)
    np.testing.assert_allclose(
        both[1], augment.rotate(key, image, limit=0.2), atol=1e-5
    )


def test_normalize_gives_mean_0_and_deviation_1(images):
    mean, std = images.mean((0, 1, 2)), images.std((0, 1, 2))
    normal = augment.normalize(images, mean=mean, std=std)
    np.testing.assert_allclose(normal.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(normal.std((0, 1, 2)), 1, rtol=1e-5)
    one = augment.normalize(images[0], mean=mean, std=std)
    np.testing.assert_array_equal(one, normal[0])


# Errors.


def test_rejects_negative_padding(image, key):
    with pytest.raises(ValueError, match="padding must be at least 0; got -1"):
        augment.crop(key, image, padding=-1)


def test_rejects_color_changes_of_grey(image, key):
    for change in (color.saturation, color.hue, color.jitter):
        with pytest.raises(ValueError, match="red, green and blue; got 1 channels"):
            change(key, image[..., :1])
