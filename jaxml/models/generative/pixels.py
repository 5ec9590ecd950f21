"""Images between bytes and [-1, 1], and many of them in one picture.

    images = from_bytes(uint8)                 # [-1, 1], as the generators make them
    picture = grid(samples, columns=8)         # uint8 [height, width, channel]
    picture = pairs(images, reconstructions)
    picture = strip(trajectory)                # noise on the left, images on the right

The pictures are arrays; write them with any library, such as
`PIL.Image.fromarray(numpy.asarray(picture).squeeze(-1)).save("grid.png")` for one
channel.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

__all__ = [
    "check_range",
    "from_bytes",
    "grid",
    "interpolate",
    "pairs",
    "strip",
    "to_bytes",
]


def check_range(images: Float[Array, "..."]) -> None:
    """Refuse values outside [-1, 1].

    Inside jit, where values are not known, nothing is checked.

    Raises:
        ValueError: if a value is outside, or not a number.

    >>> check_range(jnp.array([0.0, 255.0]))
    Traceback (most recent call last):
    ...
    ValueError: images must be from -1 to 1; got 0 to 255; from_bytes scales bytes
    """
    if not images.size:
        return
    try:
        low, high = float(images.min()), float(images.max())
    except jax.errors.ConcretizationTypeError:
        return
    if not (low >= -1 and high <= 1):
        raise ValueError(
            f"images must be from -1 to 1; got {low:g} to {high:g}; "
            "from_bytes scales bytes"
        )


def from_bytes(images: UInt8[Array, "..."]) -> Float[Array, "..."]:
    """Bytes to [-1, 1]."""
    return images.astype(jnp.float32) / 127.5 - 1


def to_bytes(images: Float[Array, "..."]) -> UInt8[Array, "..."]:
    """[-1, 1] to bytes, rounded; what lies outside is clipped.

    >>> [int(value) for value in to_bytes(jnp.array([-1.0, 0.0, 1.0, 3.0]))]
    [0, 128, 255, 255]
    """
    return jnp.round(127.5 * (jnp.clip(images, -1, 1) + 1)).astype(jnp.uint8)


def grid(
    images: Float[Array, "n h w c"], *, columns: int | None = None, gap: int = 2
) -> UInt8[Array, "height width c"]:
    """Images in rows from left to right, on white.

    Args:
        images: from -1 to 1.
        columns: number of images in a row; about the square root of n if None.
        gap: pixels between two images and around them, at least 0.

    Raises:
        ValueError: if there is no image, or `columns` or `gap` is too small.
    """
    count, height, width, channels = images.shape
    if columns is None:
        columns = max(1, round(count**0.5))
    if count < 1 or columns < 1 or gap < 0:
        raise ValueError(
            "a grid needs images, columns >= 1 and gap >= 0; "
            f"got {count}, {columns} and {gap}"
        )
    rows = -(-count // columns)
    tiles = jnp.pad(
        to_bytes(images),
        ((0, rows * columns - count), (0, gap), (0, gap), (0, 0)),
        constant_values=255,
    )
    blank = jnp.arange(rows * columns) >= count
    tiles = jnp.where(blank.reshape(-1, 1, 1, 1), jnp.uint8(255), tiles)
    tiles = tiles.reshape(rows, columns, height + gap, width + gap, channels)
    picture = tiles.transpose(0, 2, 1, 3, 4).reshape(
        rows * (height + gap), columns * (width + gap), channels
    )
    return jnp.pad(picture, ((gap, 0), (gap, 0), (0, 0)), constant_values=255)


def pairs(
    images: Float[Array, "n h w c"],
    reconstructions: Float[Array, "n h w c"],
    *,
    gap: int = 2,
) -> UInt8[Array, "height width c"]:
    """Images in the upper row, what was made of each below it.

    Args:
        images: from -1 to 1.
        reconstructions: in the same order.
        gap: pixels between two images, at least 0.
    """
    both = jnp.concatenate([images, reconstructions])
    return grid(both, columns=images.shape[0], gap=gap)


def strip(
    trajectory: Float[Array, "steps n h w c"], *, frames: int = 8, gap: int = 2
) -> UInt8[Array, "height width c"]:
    """A row for each sample: how it came out of the noise.

    Args:
        trajectory: samples after every step, as `sampling.path` gives them.
        frames: moments to show, evenly spaced, the last one among them.
        gap: pixels between two images, at least 0.
    """
    steps = trajectory.shape[0]
    shown = jnp.round(jnp.linspace(0, steps - 1, min(frames, steps))).astype(jnp.int32)
    moments = jnp.moveaxis(trajectory[shown], 0, 1)
    flat = moments.reshape(-1, *moments.shape[2:])
    return grid(flat, columns=shown.shape[0], gap=gap)


def interpolate(
    first: Float[Array, "*shape"],
    second: Float[Array, "*shape"],
    *,
    frames: int,
    spherical: bool = False,
) -> Float[Array, "frames *shape"]:
    """Codes on the way from one to the other, both ends among them.

    Args:
        first: code of one image.
        second: code of another.
        frames: number of codes, at least 2.
        spherical: whether to go along the great circle, which keeps the length that a
            normal prior gives to its draws, instead of along the line.

    Raises:
        ValueError: if `frames` is below 2.

    >>> interpolate(jnp.zeros(1), jnp.ones(1), frames=3).ravel().tolist()
    [0.0, 0.5, 1.0]
    """
    if frames < 2:
        raise ValueError(f"frames must be at least 2; got {frames}")
    share = jnp.linspace(0, 1, frames).reshape(-1, *(1,) * first.ndim)
    a, b = first[None], second[None]
    if not spherical:
        return (1 - share) * a + share * b
    unit = lambda v: v / jnp.linalg.norm(v.ravel())
    angle = jnp.arccos(jnp.clip((unit(first) * unit(second)).sum(), -1, 1))
    # On one line the circle has no radius; there the straight way is the limit.
    safe = jnp.where(jnp.sin(angle) > 1e-4, angle, jnp.pi / 2)
    ways = [jnp.sin((1 - share) * safe), jnp.sin(share * safe)]
    round_way = (ways[0] * a + ways[1] * b) / jnp.sin(safe)
    return jnp.where(jnp.sin(angle) > 1e-4, round_way, (1 - share) * a + share * b)
