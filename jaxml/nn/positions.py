"""Where a token or patch stands, as features or as a bias of attention.

    x = x + sinusoidal(jnp.arange(t), x.shape[-1])[None]
    bias = alibi(heads, positions, positions)
    bias = RelativeBias(heads)(jnp.arange(t)[None], jnp.arange(s)[None])   # T5
    table = interpolate_grid(table, (16, 16))           # learned, of another image size

Learned positions are `flax.linen.Embed`; rotary ones are in `jaxml.nn.rotary`.

References:
    Vaswani et al., 2017. Attention is all you need (section 3.5). arXiv:1706.03762.
    Press, Smith and Lewis, 2021. ALiBi. arXiv:2108.12409.
    Raffel et al., 2019. T5 (relative bias: section 2.1). arXiv:1910.10683.
    Keys, 1981. Cubic convolution interpolation (eq. 15).
"""

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Real

from jaxml.nn import check

__all__ = ["RelativeBias", "alibi", "interpolate_grid", "sinusoidal", "slopes"]

METHODS = ("bicubic", "bicubic_antialias", "bilinear", "bilinear_antialias")


def sinusoidal(
    positions: Real[Array, "*p"],
    dim: int,
    *,
    theta: float = 10_000.0,
    interleaved: bool = True,
    shift: float = 0.0,
) -> Float[Array, "*p dim"]:
    """Sines and cosines of wavelengths from 2π to 2π·theta.

    Args:
        positions: of the tokens, or times of diffusion.
        dim: how many features, even.
        theta: the longest wavelength by 2π.
        interleaved: sin, cos, sin, cos, ... instead of all sines, then all cosines.
        shift: wavelengths are spread over dim / 2 - shift steps: 0 in the paper, 1
            where the last of them is just 2π·theta.

    Raises:
        ValueError: if dim is odd.

    >>> sinusoidal(jnp.arange(2), 2).round(2).tolist()
    [[0.0, 1.0], [0.8399999737739563, 0.5399999618530273]]
    """
    if dim < 2 or dim % 2:
        raise ValueError(f"dim must be even and at least 2; got {dim}")
    steps = np.arange(dim // 2) / (dim // 2 - shift)
    turn = jnp.asarray(theta**-steps, jnp.float32)
    angles = positions[..., None] * turn.reshape((1,) * positions.ndim + (-1,))
    waves = [jnp.sin(angles), jnp.cos(angles)]
    if interleaved:
        return jnp.stack(waves, -1).reshape((*positions.shape, dim))
    return jnp.concatenate(waves, -1)


def slopes(heads: int) -> np.ndarray:
    """How much each head of ALiBi dislikes a distance of one.

    Args:
        heads: any number; where it is no power of two, the slopes of the power below
            come first, then every second of those of the power above.
    """
    power = 2 ** math.floor(math.log2(heads))
    of = lambda n: 2.0 ** (-8 / n * np.arange(1, n + 1))
    return np.concatenate([of(power), of(2 * power)[::2][: heads - power]])


def alibi(
    heads: int, positions: Int[Array, "#b t"], key_positions: Int[Array, "#b s"]
) -> Float[Array, "#b n t s"]:
    """A bias that falls with the distance of the key, to be added to the logits.

    Args:
        heads: number of heads, at least 1.
        positions: of the queries.
        key_positions: of the keys.

    >>> alibi(2, jnp.array([[2]]), jnp.array([[0, 1]]))[0, :, 0].tolist()
    [[-0.125, -0.0625], [-0.0078125, -0.00390625]]
    """
    if heads < 1:
        raise ValueError(f"heads must be at least 1; got {heads}")
    apart = jnp.abs(positions[:, None, :, None] - key_positions[:, None, None, :])
    steep = jnp.asarray(slopes(heads), jnp.float32)[None, :, None, None]
    return -steep * apart.astype(jnp.float32)


class RelativeBias(nn.Module):
    """A learned bias for each head and each range of distances, as in T5.

    The first half of the buckets are one distance each, the rest grow with the
    logarithm up to `max_distance`. One module serves all layers.

    Args:
        heads: number of heads.
        buckets: how many ranges there are.
        max_distance: distance from which on all share the last bucket.
        bidirectional: whether keys behind and ahead have half of the buckets each;
            if not, all keys ahead count as distance 0.
        embedding_init: initialiser of the table.
        dtype: dtype of the result; float32 if None.
        param_dtype: dtype the table is stored in.
    """

    heads: int
    buckets: int = 32
    max_distance: int = 128
    bidirectional: bool = True
    embedding_init: Callable = nn.initializers.normal(0.02)
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, positions: Int[Array, "#b t"], key_positions: Int[Array, "#b s"]
    ) -> Float[Array, "#b n t s"]:
        """The bias [b, heads, t, s] of queries and keys at these positions."""
        table = self.param(
            "embedding",
            self.embedding_init,
            (self.buckets, self.heads),
            self.param_dtype,
        )
        apart = key_positions[:, None, :] - positions[:, :, None]
        bias = table[self._bucket(apart)].astype(self.dtype or jnp.float32)
        return jnp.moveaxis(bias, -1, 1)

    def _bucket(self, apart):
        """Index of the range that holds a distance (key minus query)."""
        count = self.buckets // 2 if self.bidirectional else self.buckets
        first = jnp.where(apart > 0, count, 0) if self.bidirectional else 0
        apart = jnp.abs(apart) if self.bidirectional else jnp.maximum(-apart, 0)
        exact = count // 2
        # Distances below `exact` would give the logarithm of a number below 1.
        ratio = jnp.log(jnp.maximum(apart, exact).astype(jnp.float32) / exact)
        ratio = ratio / math.log(self.max_distance / exact)
        far = exact + (ratio * (count - exact)).astype(jnp.int32)
        return first + jnp.where(apart < exact, apart, jnp.minimum(far, count - 1))


def interpolate_grid(
    table: Float[Array, "h w d"],
    size: tuple[int, int],
    *,
    method: str = "bicubic",
    scale: tuple[float, float] | None = None,
) -> Float[Array, "H W d"]:
    """Learned positions of one grid of patches, resampled to another grid.

    As torch does with `align_corners=False`: its cubic kernel has a = -0.75 without
    antialiasing and -0.5 with it.

    Args:
        table: a position for each patch.
        size: height and width of the new grid.
        method: "bicubic" or "bilinear", alone or with "_antialias" (which matters where
            the new grid is smaller).
        scale: new patches per old patch where that is not the ratio of the sizes, as
            in DINO's ((H + 0.1) / h, (W + 0.1) / w).

    Raises:
        ValueError: if there is no such method or the size is not positive.

    >>> interpolate_grid(jnp.ones((2, 2, 1)), (3, 5)).shape
    (3, 5, 1)
    """
    check.one_of(method, METHODS, "method")
    if min(size) < 1:
        raise ValueError(f"size must be positive; got {size}")
    h, w, _ = table.shape
    if tuple(size) == (h, w) and scale is None:
        return table
    scale = (size[0] / h, size[1] / w) if scale is None else scale
    wide = table.astype(jnp.promote_types(table.dtype, jnp.float32))
    rows, columns = (
        jnp.asarray(_resample(old, new, ratio, method), wide.dtype)
        for old, new, ratio in zip((h, w), size, scale, strict=True)
    )
    # A TPU would round the products, and with them every position.
    out = jnp.einsum("Hh,hwd,Ww->HWd", rows, wide, columns, precision="highest")
    return out.astype(table.dtype)


def _resample(old, new, ratio, method):
    """Weight of each old point for each new one [new, old]; rows sum to 1."""
    soft = method.endswith("antialias")
    spread = max(1 / ratio, 1.0) if soft else 1.0
    kernel = _cubic(-0.5 if soft else -0.75) if method[:3] == "bic" else _linear
    reach = (2 if method[:3] == "bic" else 1) * spread
    center = (np.arange(new) + 0.5) / ratio - 0.5
    weights = np.zeros((new, old))
    for i, middle in enumerate(center):
        near = np.arange(math.floor(middle - reach), math.ceil(middle + reach) + 1)
        weight = kernel((near - middle) / spread)
        if soft:  # beyond the edge there is nothing; without antialiasing, the edge
            weight = weight * ((near >= 0) & (near < old))
        np.add.at(weights[i], np.clip(near, 0, old - 1), weight)
    return weights / weights.sum(1, keepdims=True)


def _linear(x):
    return np.maximum(1 - np.abs(x), 0)


def _cubic(a):
    def kernel(x):
        x = np.abs(x)
        near = ((a + 2) * x - (a + 3)) * x**2 + 1
        far = a * (((x - 5) * x + 8) * x - 4)
        return np.where(x < 1, near, np.where(x < 2, far, 0))

    return kernel
