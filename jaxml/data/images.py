"""Sizes, crops, padding and scaling of images, as the libraries with weights do them.

    image = to_rgb(image)
    image = pillow(image, keep_aspect(image.shape[:2], shortest=256), method="bicubic")
    image = center_crop(image, (224, 224))
    x = normalize(rescale(image), mean=IMAGENET_MEAN, std=IMAGENET_STD)

An image is [height, width, channels], a size is (height, width). NumPy arrays stay on
the host, JAX arrays may be traced. `jaxml.data.image_processors` does all of it as a
model's own configuration says.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Shaped, UInt8

__all__ = [
    "CLIP_MEAN",
    "CLIP_STD",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "center_crop",
    "fit_inside",
    "keep_aspect",
    "normalize",
    "pad_together",
    "rescale",
    "to_rgb",
]

Size = tuple[int, int]
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def keep_aspect(size: Size, *, shortest: int, longest: int | None = None) -> Size:
    """The size whose shorter side is `shortest`, with the same aspect.

    Args:
        size: height and width of the image.
        shortest: the shorter side, in pixels.
        longest: what the longer side may not pass; the shorter one then gives way.

    Raises:
        ValueError: if a number is below 1.

    >>> keep_aspect((75, 110), shortest=60)
    (60, 88)
    >>> keep_aspect((75, 110), shortest=60, longest=80)
    (55, 80)
    """
    height, width = size
    if min(height, width, shortest, 1 if longest is None else longest) < 1:
        raise ValueError(f"sizes must be at least 1; got {size} to {shortest}")
    short, long = min(size), max(size)
    exact = float(shortest)
    if longest is not None and long / short * shortest > longest:
        exact = longest * short / long
        shortest = round(exact)
    if short == shortest:
        return height, width
    other = int(exact * long / short)
    return (other, shortest) if width < height else (shortest, other)


def fit_inside(size: Size, limit: Size) -> Size:
    """The largest size of the same aspect that neither side of `limit` forbids.

    Args:
        size: height and width of the image.
        limit: largest height and width.
    """
    scale = min(limit[0] / size[0], limit[1] / size[1])
    return int(size[0] * scale), int(size[1] * scale)


def center_crop(
    image: Shaped[Array | np.ndarray, "*n h w c"], size: Size, *, like: str = "pillow"
) -> Shaped[Array | np.ndarray, "*n a b c"]:
    """Cut the middle out; what is missing becomes zeros around the image.

    Libraries differ by a pixel where the difference of the sizes is odd.

    Args:
        image: one image, or many of a size.
        size: new height and width.
        like: "pillow" (the slow processors of transformers), "transformers" (the fast
            ones) or "torchvision" (`torchvision.transforms.CenterCrop`).

    Raises:
        ValueError: if there is no such way, or the size is not positive.

    >>> center_crop(np.arange(5).reshape(1, 5, 1), (1, 2)).ravel()
    array([1, 2])
    """
    if like not in _HALVES:
        raise ValueError(f"like must be one of {', '.join(_HALVES)}; got {like!r}")
    if min(size) < 1:
        raise ValueError(f"height and width must be at least 1; got {size}")
    cut, fill = _HALVES[like]
    space = jnp if not isinstance(image, np.ndarray) else np
    for axis, length in ((-3, size[0]), (-2, size[1])):
        old = image.shape[axis]
        if old > length:
            start = cut(old - length)
            window = [slice(None)] * image.ndim
            window[axis] = slice(start, start + length)
            image = image[tuple(window)]
        elif old < length:
            before = fill(length - old)
            width = [(0, 0)] * image.ndim
            width[axis] = (before, length - old - before)
            image = space.pad(image, width)
    return image


# How many of an odd number of pixels are cut off, and added, before the image.
_HALVES = {
    "pillow": (lambda n: n // 2, lambda n: -(-n // 2)),
    "transformers": (lambda n: n // 2, lambda n: n // 2),
    "torchvision": (lambda n: round(n / 2), lambda n: n // 2),
}


def rescale(
    image: Shaped[Array | np.ndarray, "*n h w c"],
    factor: float = 1 / 255,
    *,
    offset: float = 0.0,
) -> Float[Array | np.ndarray, "*n h w c"]:
    """Pixels as float32, times a factor, plus an offset.

    Args:
        image: pixels of any dtype.
        factor: 1/255 makes [0, 1] of bytes.
        offset: added at the end.
    """
    return image.astype(np.float32) * np.float32(factor) + np.float32(offset)


def normalize(
    image: Float[Array | np.ndarray, "*n h w c"],
    *,
    mean: Sequence[float] | float,
    std: Sequence[float] | float,
) -> Float[Array | np.ndarray, "*n h w c"]:
    """Subtract a mean and divide by a deviation, channel by channel.

    Args:
        image: one image, or many.
        mean: of each channel, or one for all.
        std: of each channel, or one for all.

    Raises:
        ValueError: if there are more or fewer numbers than channels.
    """
    channels, shape = image.shape[-1], (1,) * (image.ndim - 1) + (-1,)
    both = [np.atleast_1d(np.asarray(x, np.float32)) for x in (mean, std)]
    for numbers in both:
        if numbers.size not in (1, channels):
            raise ValueError(
                "mean and std must have one number or one for each of the "
                f"{channels} channels; got {numbers.size}"
            )
    shift, scale = (numbers.reshape(shape).astype(image.dtype) for numbers in both)
    return (image - shift) / scale


def to_rgb(
    image: UInt8[Array | np.ndarray, "h w c"],
) -> UInt8[Array | np.ndarray, "h w 3"]:
    """Three channels: gray is repeated, and what is transparent shows white.

    Args:
        image: with one channel, three, or four (the last one tells how opaque).

    Raises:
        ValueError: if there are other numbers of channels.
    """
    space = jnp if not isinstance(image, np.ndarray) else np
    channels = image.shape[-1]
    if channels == 1:
        return space.repeat(image, 3, -1)
    if channels == 4:
        opaque = image[..., 3:].astype(np.float32) / 255
        mixed = image[..., :3].astype(np.float32) * opaque + 255 * (1 - opaque)
        return space.clip(space.round(mixed), 0, 255).astype(np.uint8)
    if channels != 3:
        raise ValueError(f"image must have 1, 3 or 4 channels; got {channels}")
    return image


def pad_together(
    images: Sequence[Float[Array | np.ndarray, "_ _ c"]],
    *,
    size: Size | None = None,
) -> tuple[Float[Array | np.ndarray, "n h w c"], Bool[Array | np.ndarray, "n h w"]]:
    """One batch of images of several sizes, with zeros below and to the right.

    Args:
        images: of any heights and widths.
        size: height and width of all; the largest ones if None.

    Returns:
        The batch, and a mask that is True on pixels of an image.

    Raises:
        ValueError: if there is no image, or one is larger than `size`.
    """
    if not images:
        raise ValueError("images must be at least one; got none")
    found = [image.shape[:2] for image in images]
    largest = max(h for h, _ in found), max(w for _, w in found)
    size = largest if size is None else size
    if largest[0] > size[0] or largest[1] > size[1]:
        raise ValueError(f"size must be at least {largest}; got {size}")
    numpy = all(isinstance(image, np.ndarray) for image in images)
    space = np if numpy else jnp
    padded, masks = [], []
    for image, (h, w) in zip(images, found, strict=True):
        edges = ((0, size[0] - h), (0, size[1] - w))
        padded.append(space.pad(image, (*edges, (0, 0))))
        masks.append(np.pad(np.ones((h, w), bool), edges))
    return space.stack(padded), space.stack([space.asarray(mask) for mask in masks])
