"""Change the size of images with the numbers that other libraries give.

    small = pillow(image, (224, 224), method="bicubic")         # uint8, bit for bit
    small = torchvision(image, (224, 224), method="bilinear")   # uint8, bit for bit
    table = interpolate(grid, (16, 20), method="bicubic")       # floats, as in torch

A size is (height, width). An image that is a NumPy array stays on the host, where a new
shape compiles nothing; a JAX array may be traced. Each axis is a matrix product whose
matrix depends on the sizes alone. Letters: h rows, w columns,
c channels.

Where values are averaged before they are dropped (`antialias`), the kernel of "bicubic"
has a = -1/2, as in Pillow; where they are not, a = -3/4, as in torch and OpenCV.

References:
    Keys, 1981. Cubic convolution interpolation for digital image processing (eq. 4).
"""

import math
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

__all__ = ["METHODS", "interpolate", "pillow", "torchvision"]

Size = tuple[int, int]


def pillow(
    image: UInt8[Array | np.ndarray, "*n h w c"], size: Size, *, method: str = "bicubic"
) -> UInt8[Array | np.ndarray, "*n a b c"]:
    """`PIL.Image.resize`, bit for bit: averaged in whole numbers of 22 bits.

    It is Pillow 13 on tall images that become much less tall, where the rows are
    averaged before the columns; older versions always begin with the columns.

    Args:
        image: one image, or many of a size.
        size: new height and width.
        method: "nearest", "box", "bilinear", "hamming", "bicubic" or "lanczos".

    Raises:
        ValueError: if there is no such method, or the size is not positive.

    >>> row = np.array([0, 100, 200, 40], np.uint8).reshape(1, 4, 1)
    >>> pillow(row, (1, 2), method="box").ravel()
    array([ 50, 120], dtype=uint8)
    """
    _check(image, size, method, ("nearest", *_KERNELS))
    if method == "nearest":
        return _take(image, size, _nearest_pillow)
    h, w = image.shape[-3:-1]
    # Pillow 13 begins with the rows where they lose more pixels, counted so.
    rows_first = h > size[0] and h - size[0] > 2 * (w - size[1])
    return _average(image, size, method, 22, rows_first=rows_first)


def torchvision(
    image: UInt8[Array | np.ndarray, "*n h w c"], size: Size, *, method: str = "bicubic"
) -> UInt8[Array | np.ndarray, "*n a b c"]:
    """`torchvision.transforms.v2.functional.resize` of a uint8 tensor, bit for bit.

    Like `pillow`, but weights are rounded to 16 bits, so that some pixels differ by
    one: it is what the default image processors of transformers 5 do on a CPU.

    Args:
        image: one image, or many of a size.
        size: new height and width.
        method: "nearest", "nearest_exact", "bilinear", "bicubic" or "lanczos".

    Raises:
        ValueError: if there is no such method, or the size is not positive.
    """
    methods = ("nearest", "nearest_exact", "bilinear", "bicubic", "lanczos")
    _check(image, size, method, methods)
    if method.startswith("nearest"):
        return _take(image, size, _NEAREST[method])
    return _average(image, size, method, None, rows_first=False)


def interpolate(
    image: Float[Array | np.ndarray, "*n h w c"],
    size: Size,
    *,
    method: str = "bilinear",
    antialias: bool = False,
    align_corners: bool = False,
) -> Float[Array | np.ndarray, "*n a b c"]:
    """`torch.nn.functional.interpolate` on floats.

    Args:
        image: one image, or many of a size.
        size: new height and width.
        method: "nearest", "nearest_exact", "bilinear", "bicubic" or "area"; with
            `antialias`, also "box", "hamming" and "lanczos", but not the first two.
        antialias: whether a smaller image is averaged over all old pixels.
        align_corners: whether the centers of the corner pixels coincide instead of
            their outer corners; for "bilinear" and "bicubic" without `antialias`.

    Raises:
        ValueError: if the method has no such options, or the size is not positive.

    >>> interpolate(jnp.arange(2.0).reshape(1, 2, 1), (1, 4)).ravel()
    Array([0.  , 0.25, 0.75, 1.  ], dtype=float32)
    """
    if antialias:
        _check(image, size, method, tuple(_KERNELS))
    else:
        _check(image, size, method, (*_NEAREST, "bilinear", "bicubic", "area"))
    if align_corners and (antialias or method not in ("bilinear", "bicubic")):
        raise ValueError(
            "align_corners must be False but for bilinear and bicubic without "
            f"antialias; got {method}"
        )
    if method in _NEAREST and not antialias:
        return _take(image, size, _NEAREST[method])
    for axis, length in ((-2, size[1]), (-3, size[0])):
        if image.shape[axis] != length or align_corners:
            matrix = (
                _weights(method, image.shape[axis], length)
                if antialias
                else _sparse(method, image.shape[axis], length, align_corners)
            )
            image = _apply(matrix.astype(image.dtype), image, axis)
    return image


def _average(image, size, method, bits, *, rows_first):
    """Both axes in whole numbers, rounded to a byte after each."""
    axes = ((-2, size[1]), (-3, size[0]))
    for axis, length in axes[::-1] if rows_first else axes:
        if image.shape[axis] == length:
            continue
        matrix, shift = _fixed(method, image.shape[axis], length, bits)
        if isinstance(image, np.ndarray):
            total = _apply_band(matrix, image, axis)
        else:
            total = _apply(matrix, image.astype(jnp.int32), axis)
        rounded = (total + (1 << (shift - 1))) >> shift
        image = rounded.clip(0, 255).astype(np.uint8)
    return image


def _apply_band(matrix, image, axis):
    """`_apply` where BLAS does not help: whole numbers, few of them not zero."""
    lines = np.moveaxis(image, axis, 0)
    shape, lines = lines.shape[1:], lines.reshape(len(lines), -1).astype(np.int32)
    held = matrix != 0
    first, last = held.argmax(1), matrix.shape[1] - held[:, ::-1].argmax(1)
    width = (last - first).max()
    first = np.minimum(first, matrix.shape[1] - width)
    total = np.zeros((len(matrix), lines.shape[1]), np.int32)
    row = np.arange(len(matrix))
    for step in range(width):
        total += matrix[row, first + step, None] * lines[first + step]
    return np.moveaxis(total.reshape(-1, *shape), 0, axis)


def _apply(matrix, image, axis):
    """The product of `matrix` with each line of pixels along `axis`."""
    if isinstance(image, np.ndarray):
        moved = np.moveaxis(image, axis, 0)
        product = matrix @ moved.reshape(len(moved), -1)
        return np.moveaxis(product.reshape(-1, *moved.shape[1:]), 0, axis)
    product = jnp.tensordot(
        matrix,
        image,
        axes=(1, axis % image.ndim),
        precision=jax.lax.Precision.HIGHEST,
        preferred_element_type=image.dtype,
    )
    return jnp.moveaxis(product, 0, axis)


def _take(image, size, index):
    for axis, length in ((-2, size[1]), (-3, size[0])):
        image = image.take(index(image.shape[axis], length), axis=axis)
    return image


@cache
def _fixed(method, old, new, bits):
    """Weights as whole numbers, and how many bits they are shifted by."""
    matrix = _weights(method, old, new)
    if bits is None:
        # As many bits as the largest weight leaves in a signed number of 16.
        largest, bits = matrix.max(), 0
        while bits < 22 and int(0.5 + largest * (1 << (bits + 1))) < 1 << 15:
            bits += 1
    scaled = matrix * (1 << bits)
    return np.trunc(scaled + np.copysign(0.5, scaled)).astype(np.int32), bits


@cache
def _weights(method, old, new):
    """The share of each old pixel (column) in each new one (row), averaged."""
    kernel, radius = _KERNELS[method]
    scale = old / new
    stretch = max(scale, 1.0)
    support = radius * stretch
    matrix = np.zeros((new, old))
    for i in range(new):
        center = (i + 0.5) * scale
        first = max(int(center - support + 0.5), 0)
        last = min(int(center + support + 0.5), old)
        places = (np.arange(first, last) - center + 0.5) / stretch
        weights = np.array([kernel(abs(x), x) for x in places.tolist()])
        matrix[i, first:last] = weights / weights.sum()
    return matrix


@cache
def _sparse(method, old, new, align_corners):
    """The share of each old pixel (column) in each new one (row), from neighbours."""
    matrix = np.zeros((new, old))
    row = np.arange(new)
    if method == "area":
        for i in range(new):
            first, last = i * old // new, -(-(i + 1) * old // new)
            matrix[i, first:last] = 1 / (last - first)
        return matrix
    if align_corners:
        place = row * ((old - 1) / (new - 1) if new > 1 else 0.0)
    else:
        place = (row + 0.5) * (old / new) - 0.5
    if method == "bilinear":
        place = np.maximum(place, 0)
    low = np.floor(place).astype(int)
    for step in (0, 1) if method == "bilinear" else (-1, 0, 1, 2):
        distance = np.abs(place - low - step)
        share = 1 - distance if method == "bilinear" else _cubic(distance, -0.75)
        np.add.at(matrix, (row, np.clip(low + step, 0, old - 1)), share)
    return matrix


def _nearest_pillow(old, new):
    # Pillow adds the step again and again, and its rounding decides at ties.
    steps = np.full(new, old / new)
    steps[0] *= 0.5
    return np.minimum(np.cumsum(steps).astype(int), old - 1)


def _nearest(old, new):
    place = np.arange(new, dtype=np.float32) * np.float32(old / new)
    return np.minimum(place.astype(int), old - 1)


def _nearest_exact(old, new):
    place = (np.arange(new, dtype=np.float32) + np.float32(0.5)) * np.float32(old / new)
    return np.minimum(place.astype(int), old - 1)


def _cubic(x, a):
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _sinc(x):
    return math.sin(math.pi * x) / (math.pi * x) if x else 1.0


_NEAREST = {"nearest": _nearest, "nearest_exact": _nearest_exact}
# Kernels as functions of distance and signed place, and how far each reaches.
_KERNELS = {
    "box": (lambda x, place: float(-0.5 < place <= 0.5), 0.5),
    "bilinear": (lambda x, place: max(1 - x, 0.0), 1.0),
    "hamming": (
        lambda x, place: (
            _sinc(x) * (0.54 + 0.46 * math.cos(math.pi * x)) if x < 1 else 0.0
        ),
        1.0,
    ),
    "bicubic": (lambda x, place: float(_cubic(x, -0.5)), 2.0),
    "lanczos": (lambda x, place: _sinc(x) * _sinc(x / 3) if x < 3 else 0.0, 3.0),
}
METHODS = (*_NEAREST, "area", *_KERNELS)


def _check(image, size, method, methods):
    if method not in methods:
        raise ValueError(f"method must be one of {', '.join(methods)}; got {method!r}")
    if image.ndim < 3:
        raise ValueError(f"image must be [height, width, channels]; got {image.shape}")
    if min(size) < 1 or min(image.shape[-3:-1]) < 1:
        raise ValueError(
            "height and width must be at least 1; got "
            f"{tuple(image.shape[-3:-1])} to {tuple(size)}"
        )
