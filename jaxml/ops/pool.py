"""Pooling of images by strided slices.

    y = max_pool(x)                                     # 2x2, stride 2
    y = max_pool(x, window=3, stride=2, padding=1)      # the stem of a ResNet

Images are [batch, height, width, channel]. The values are those of
`flax.linen.max_pool`, but the gradient is made of selects and pads alone: that of
`lax.reduce_window` becomes `select_and_scatter`, which is 20 to 40 times slower on
a CPU (`benchmarks/max_pool.py`).
"""

from functools import reduce

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

__all__ = ["avg_pool", "max_pool"]


def max_pool(
    x: Float[Array, "b h w c"],
    *,
    window: int = 2,
    stride: int | None = None,
    padding: int = 0,
) -> Float[Array, "b p q c"]:
    """Largest value of each window; rows left over at the border are dropped.

    Where values tie, the first of the window in row order has the whole gradient,
    as in torch (`jnp.maximum` and `jnp.max` would share it). NaN is larger than any
    number, so it is never hidden.

    Args:
        x: images.
        window: side of the square window, in pixels, at least 1.
        stride: pixels from one window to the next; the window itself if None.
        padding: pixels of -inf at each border, at most half the window.

    Returns:
        Images of height `(h + 2 padding - window) // stride + 1`, width alike.

    Raises:
        ValueError: if the window is larger than the padded image, or a size is off.

    >>> max_pool(jnp.arange(16.0).reshape(1, 4, 4, 1))[0, :, :, 0]
    Array([[ 5.,  7.],
           [13., 15.]], dtype=float32)
    """
    stride = _checked(x, window, stride, padding)
    low = jnp.array(-jnp.inf, x.dtype)
    # The columns first: the first of the row-wise firsts is the first in row order.
    for axis in (2, 1):
        x = reduce(_larger, _slices(x, axis, window, stride, padding, low))
    return x


def avg_pool(
    x: Float[Array, "b h w c"],
    *,
    window: int = 2,
    stride: int | None = None,
    padding: int = 0,
) -> Float[Array, "b p q c"]:
    """Mean of each window; padded zeros count, as in torch.

    Args:
        x: images.
        window: side of the square window, in pixels, at least 1.
        stride: pixels from one window to the next; the window itself if None.
        padding: pixels of zero at each border, at most half the window.

    Returns:
        Images of height `(h + 2 padding - window) // stride + 1`, width alike.

    Raises:
        ValueError: if the window is larger than the padded image, or a size is off.
    """
    stride = _checked(x, window, stride, padding)
    zero = jnp.array(0, x.dtype)
    for axis in (2, 1):
        x = reduce(lax.add, _slices(x, axis, window, stride, padding, zero))
    return x / window**2


def _larger(a, b):
    """The larger of two, `a` if they tie, NaN if one is."""
    return jnp.where((b > a) | jnp.isnan(b), b, a)


def _slices(x, axis, window, stride, padding, fill):
    """The i-th element of every window along `axis`, for i below `window`."""
    if padding:
        edges = [(0, 0, 0)] * x.ndim
        edges[axis] = (padding, padding, 0)
        x = lax.pad(x, fill, edges)
    last = (x.shape[axis] - window) // stride * stride + 1
    return [lax.slice_in_dim(x, i, i + last, stride, axis=axis) for i in range(window)]


def _checked(x, window, stride, padding) -> int:
    """The stride, once the sizes are known to be sound."""
    stride = window if stride is None else stride
    if window < 1 or stride < 1:
        raise ValueError(f"window and stride must be >= 1; got {window} and {stride}")
    if not 0 <= padding <= window // 2:
        raise ValueError(
            f"padding must be from 0 to half the window {window}; got {padding}"
        )
    if min(x.shape[1:3]) + 2 * padding < window:
        raise ValueError(
            f"the image must be at least as large as the window {window}; "
            f"got {x.shape[1]} x {x.shape[2]} with padding {padding}"
        )
    return stride
