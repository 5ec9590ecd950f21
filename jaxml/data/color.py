"""Random changes of brightness, contrast and color: functions of (key, image).

    images = per_image(partial(jitter, brightness=0.4, contrast=0.4))(key, images)

Images are floats of any range that begins at 0; values are not clipped. Letters:
h rows, w columns, c channels.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxml.data.augment import check_image, compose

__all__ = ["brightness", "contrast", "hue", "jitter", "saturation"]

Image = Float[Array, "h w c"]
Number = float | Float[Array, ""]


def brightness(key: Key[Array, ""], image: Image, *, limit: Number = 0.2) -> Image:
    """Multiply by a factor.

    Args:
        key: random key.
        image: floats from 0 on.
        limit: the factor is from 1 - limit to 1 + limit.
    """
    check_image(image)
    return image * _factor(key, limit, image.dtype)


def contrast(key: Key[Array, ""], image: Image, *, limit: Number = 0.2) -> Image:
    """Multiply the distance from the mean of each channel by a factor.

    Args:
        key: random key.
        image: floats of any range.
        limit: the factor is from 1 - limit to 1 + limit.
    """
    check_image(image)
    mean = image.mean((0, 1), keepdims=True)
    return mean + (image - mean) * _factor(key, limit, image.dtype)


def saturation(key: Key[Array, ""], image: Image, *, limit: Number = 0.2) -> Image:
    """Multiply the distance of each pixel from its grey by a factor.

    Args:
        key: random key.
        image: red, green and blue, floats of any range.
        limit: the factor is from 1 - limit to 1 + limit.

    Raises:
        ValueError: if the image has not three channels.

    References:
        ITU-R BT.601, luma: the grey is 0.299 red + 0.587 green + 0.114 blue.
    """
    _check_rgb(image)
    # Channel by channel: XLA is 20 times slower at sums over a last axis of three.
    red, green, blue = jnp.split(image, 3, axis=-1)
    grey = 0.299 * red + 0.587 * green + 0.114 * blue
    return grey + (image - grey) * _factor(key, limit, image.dtype)


def hue(key: Key[Array, ""], image: Image, *, limit: Number = 0.1) -> Image:
    """Turn the colors about the axis of greys, which stay.

    The turn is of (red, green, blue) as a vector: linear, so free of the range and
    smooth, unlike the hue of HSV. A third of a circle makes red green.

    Args:
        key: random key.
        image: red, green and blue, floats of any range.
        limit: largest angle in radians, either way.

    Raises:
        ValueError: if the image has not three channels.
    """
    _check_rgb(image)
    angle = limit * jax.random.uniform(key, minval=-1, maxval=1)
    cos, sin = jnp.cos(angle), jnp.sin(angle) / jnp.sqrt(3.0)
    red, green, blue = image[..., 0], image[..., 1], image[..., 2]
    mean = (red + green + blue) / 3
    # Rodrigues' formula about (1, 1, 1) / sqrt(3): what lies along it is the mean, and
    # the cross product with it is the difference of the two other channels.
    turned = [
        mean + (one - mean) * cos + (before - after) * sin
        for one, after, before in (
            (red, green, blue),
            (green, blue, red),
            (blue, red, green),
        )
    ]
    return jnp.stack(turned, -1).astype(image.dtype)


def jitter(
    key: Key[Array, ""],
    image: Image,
    *,
    brightness: Number = 0.2,
    contrast: Number = 0.2,
    saturation: Number = 0.2,
    hue: Number = 0.1,
) -> Image:
    """Change brightness, contrast, saturation and hue, in this order.

    Args:
        key: random key.
        image: red, green and blue, floats from 0 on.
        brightness: limit of the factor's distance from 1, and so on.
        contrast: likewise.
        saturation: likewise.
        hue: limit of the angle, in radians.

    Raises:
        ValueError: if the image has not three channels.
    """
    limits = (brightness, contrast, saturation, hue)
    return compose(
        *(
            lambda key, image, change=change, limit=limit: change(
                key, image, limit=limit
            )
            for change, limit in zip(_CHANGES, limits, strict=True)
        )
    )(key, image)


_CHANGES = (brightness, contrast, saturation, hue)


def _factor(key, limit, dtype):
    return (1 + limit * jax.random.uniform(key, minval=-1, maxval=1)).astype(dtype)


def _check_rgb(image):
    check_image(image)
    if image.shape[-1] != 3:
        raise ValueError(
            f"image must have red, green and blue; got {image.shape[-1]} channels"
        )
