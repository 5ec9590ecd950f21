"""Random changes of an image that leave its label: functions of (key, image).

    change = compose(flip, partial(crop, padding=4), partial(rotate, limit=0.2))
    images = jax.jit(per_image(change))(key, images)

They run inside jit and vmap, on the device that trains. What bounds a change may be
traced. Images are floats, [0, 1] or any other range; values are not clipped. Changes of
color: `jaxml.data.color`; of labels too: `jaxml.data.mix`. Letters: n images, h rows,
w columns, c channels.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Bool, Float, Key

__all__ = [
    "compose",
    "crop",
    "cutout",
    "flip",
    "flip_vertical",
    "normalize",
    "per_image",
    "rotate",
    "shift",
    "warp",
    "zoom",
]

Image = Float[Array, "h w c"]
Number = float | Float[Array, ""]
Change = Callable[[Key[Array, ""], Image], Image]


def compose(*changes: Change) -> Change:
    """One change after the other, each with a key of its own.

    Args:
        changes: functions of (key, image).

    Returns:
        A function of (key, image).
    """

    def composed(key: Key[Array, ""], image: Image) -> Image:
        for number, change in enumerate(changes):
            image = change(jax.random.fold_in(key, number), image)
        return image

    return composed


def per_image(
    change: Change,
) -> Callable[[Key[Array, ""], Float[Array, "n h w c"]], Float[Array, "n h w c"]]:
    """A change of each image of a batch, with a key of its own.

    Args:
        change: function of (key, image).

    Returns:
        A function of (key, images).

    >>> images = jnp.arange(8.0).reshape(4, 1, 2, 1)
    >>> per_image(flip)(jax.random.key(0), images).reshape(4, 2)
    Array([[0., 1.],
           [3., 2.],
           [4., 5.],
           [7., 6.]], dtype=float32)
    """

    def changed(
        key: Key[Array, ""], images: Float[Array, "n h w c"]
    ) -> Float[Array, "n h w c"]:
        return jax.vmap(change)(jax.random.split(key, len(images)), images)

    return changed


def flip(key: Key[Array, ""], image: Image, *, probability: Number = 0.5) -> Image:
    """Mirror left and right.

    Args:
        key: random key.
        image: floats of any range.
        probability: how often, in [0, 1].
    """
    check_image(image)
    return jnp.where(jax.random.bernoulli(key, probability), image[:, ::-1], image)


def flip_vertical(
    key: Key[Array, ""], image: Image, *, probability: Number = 0.5
) -> Image:
    """Mirror top and bottom.

    Args:
        key: random key.
        image: floats of any range.
        probability: how often, in [0, 1].
    """
    check_image(image)
    return jnp.where(jax.random.bernoulli(key, probability), image[::-1], image)


def crop(
    key: Key[Array, ""], image: Image, *, padding: int, fill: Number = 0.0
) -> Image:
    """Surround with `padding` pixels, and cut the first size out at a random place.

    It moves by whole pixels, so nothing is blurred.

    Args:
        key: random key.
        image: floats of any range.
        padding: pixels on each side, at least 0: the largest move.
        fill: value of the new pixels.

    Raises:
        ValueError: if `padding` is negative.
    """
    check_image(image)
    if padding < 0:
        raise ValueError(f"padding must be at least 0; got {padding}")
    sides = ((padding, padding), (padding, padding), (0, 0))
    padded = jnp.pad(image, sides, constant_values=fill)
    row, column = jax.random.randint(key, (2,), 0, 2 * padding + 1)
    return jax.lax.dynamic_slice(padded, (row, column, 0), image.shape)


def shift(
    key: Key[Array, ""], image: Image, *, limit: Number = 0.1, fill: Number = 0.0
) -> Image:
    """Move, by a fraction of a pixel too.

    Args:
        key: random key.
        image: floats of any range.
        limit: largest move, as a part of the height and of the width.
        fill: value outside of the image.
    """
    size = jnp.array(image.shape[:2], jnp.float32)
    offset = limit * size * jax.random.uniform(key, (2,), minval=-1, maxval=1)
    return warp(image, jnp.eye(2), offset=-offset, fill=fill)


def rotate(
    key: Key[Array, ""], image: Image, *, limit: Number = 0.1, fill: Number = 0.0
) -> Image:
    """Turn about the center.

    Args:
        key: random key.
        image: floats of any range.
        limit: largest angle in radians, either way.
        fill: value outside of the image.
    """
    angle = limit * jax.random.uniform(key, minval=-1, maxval=1)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    matrix = jnp.stack([jnp.stack([cos, sin]), jnp.stack([-sin, cos])])
    return warp(image, matrix, fill=fill)


def zoom(
    key: Key[Array, ""], image: Image, *, limit: Number = 0.1, fill: Number = 0.0
) -> Image:
    """Magnify or shrink about the center, height and width alike.

    Args:
        key: random key.
        image: floats of any range.
        limit: the factor is from 1 - limit to 1 + limit; below 1.
        fill: value outside of the image.
    """
    factor = 1 + limit * jax.random.uniform(key, minval=-1, maxval=1)
    return warp(image, jnp.eye(2) / factor, fill=fill)


def warp(
    image: Image,
    matrix: Float[Array, "2 2"],
    *,
    offset: Float[Array, "2"] | None = None,
    fill: Number = 0.0,
) -> Image:
    """Resample: the pixel at p becomes what lies at matrix·(p - m) + m + offset.

    m is the center of the image. Between pixels, values are bilinear.

    Args:
        image: floats of any range.
        matrix: of (row, column) vectors, from the new image to the old one.
        offset: in pixels, rows and columns. Default: 0.
        fill: value outside of the image.
    """
    check_image(image)
    h, w, _ = image.shape
    center = jnp.array([(h - 1) / 2, (w - 1) / 2])[:, None, None]
    rows, columns = jnp.meshgrid(jnp.arange(h), jnp.arange(w), indexing="ij")
    place = jnp.stack([rows, columns]) - center
    place = jnp.einsum("ij,jhw->ihw", matrix, place, precision="highest") + center
    if offset is not None:
        place = place + offset[:, None, None]

    def resample(channel):
        return map_coordinates(channel, list(place), order=1, cval=fill)

    moved = jax.vmap(resample, in_axes=-1, out_axes=-1)(image)
    return moved.astype(image.dtype)


def cutout(
    key: Key[Array, ""], image: Image, *, size: int | Number, fill: Number = 0.0
) -> Image:
    """Cover a square at a random place; what reaches beyond the image is lost.

    Args:
        key: random key.
        image: floats of any range.
        size: side of the square in pixels; 0 covers nothing.
        fill: value of the covered pixels.

    References:
        DeVries and Taylor, 2017. Improved regularization of convolutional neural
        networks with cutout. arXiv:1708.04552, section 3.1.
    """
    check_image(image)
    h, w, _ = image.shape
    center = jax.random.randint(key, (2,), 0, jnp.array([h, w]))
    covered = box((h, w), center, jnp.stack([size, size]))
    return jnp.where(covered[:, :, None], jnp.asarray(fill, image.dtype), image)


def normalize(
    image: Float[Array, "*n h w c"],
    *,
    mean: Float[Array, "c"],
    std: Float[Array, "c"],
) -> Float[Array, "*n h w c"]:
    """Subtract the mean and divide by the standard deviation, channel by channel.

    Args:
        image: one image, or many.
        mean: of each channel, in the range of `image`.
        std: of each channel, above 0.
    """
    shape = (1,) * (image.ndim - 1) + (-1,)
    return (image - mean.reshape(shape)) / std.reshape(shape)


def box(shape, center, sides) -> Bool[Array, "h w"]:
    """Which pixels lie in a box around `center`, cut off at the edges."""
    start = center - sides // 2
    inside = [
        (jnp.arange(length) >= begin) & (jnp.arange(length) < begin + side)
        for length, begin, side in zip(shape, start, sides, strict=True)
    ]
    return inside[0][:, None] & inside[1][None, :]


def check_image(image: Array) -> None:
    """Refuse what is not an image of floats, height × width × channels."""
    if image.ndim != 3:
        raise ValueError(
            f"image must be [height, width, channels]; got {image.shape}: "
            "use per_image for a batch"
        )
    if not jnp.issubdtype(image.dtype, jnp.floating):
        raise ValueError(
            f"image must hold floats, e.g. pixels / 255; got {image.dtype}"
        )
