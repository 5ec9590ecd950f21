"""Rotary positions: pairs of features turned by an angle that grows with the position.

    rotary = Rotary(dim=64, theta=500000.0, kind="llama3", factor=8.0, original=8192)
    query = apply(rotary, query, positions)       # and the key; not the value

The first `dim` features of each head are turned, the rest stay. The kinds say how a
network trained on `original` positions is stretched to `factor` times as many.

References:
    Su et al., 2021. RoFormer. arXiv:2104.09864 (eq. 34).
    Chen et al., 2023. Position interpolation ("linear"). arXiv:2306.15595.
    Peng et al., 2023. YaRN ("dynamic": appendix B.1; "yarn": eq. 17-25).
    arXiv:2309.00071.
    Grattafiori et al., 2024. Llama 3 ("llama3"). arXiv:2407.21783.
    Ding et al., 2024. LongRoPE ("longrope"). arXiv:2402.13753.
"""

import dataclasses
import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxml.nn import check

__all__ = ["KINDS", "Rotary", "apply", "frequencies"]

KINDS = ("default", "linear", "dynamic", "yarn", "llama3", "longrope")


@dataclasses.dataclass(frozen=True)
class Rotary:
    """The settings of rotary positions; hashable, so that modules may hold them.

    Args:
        dim: how many features of a head are turned, an even number.
        theta: base of the wavelengths, 2π·theta^(2i/dim) positions.
        kind: one of `KINDS`.
        factor: how much longer the context became ("linear", "dynamic", "yarn",
            "llama3").
        original: positions the network was trained on (all but "linear").
        low: "llama3": wavelengths above original / low are stretched in full;
            "yarn": features that turn less than this often in `original` are.
        high: "llama3": wavelengths below original / high stay; "yarn": features that
            turn more often than this stay; 4 and 32 if None.
        truncate: "yarn": whether the bounds between features are whole numbers.
        attention: factor of the turned features ("yarn", "longrope"); 1 for others.
        short: "longrope": divisor of each frequency up to `original` positions.
        long: "longrope": divisor of each frequency beyond them.
        interleaved: whether features 2i and 2i + 1 make a pair, as in GPT-J, instead
            of features i and dim / 2 + i.

    Raises:
        ValueError: if the numbers do not fit the kind.
    """

    dim: int
    theta: float = 10_000.0
    kind: str = "default"
    factor: float = 1.0
    original: int | None = None
    low: float = 1.0
    high: float | None = None
    truncate: bool = True
    attention: float = 1.0
    short: tuple[float, ...] = ()
    long: tuple[float, ...] = ()
    interleaved: bool = False

    def __post_init__(self):
        check.one_of(self.kind, KINDS, "kind of rotary positions")
        if self.dim < 2 or self.dim % 2:
            raise ValueError(f"dim must be even and at least 2; got {self.dim}")
        if self.factor < 1:
            raise ValueError(f"factor must be at least 1; got {self.factor}")
        if self.kind not in ("default", "linear") and not self.original:
            raise ValueError(
                f"kind {self.kind!r} needs original, the positions trained on"
            )
        lengths = {len(self.short), len(self.long)}
        if self.kind == "longrope" and lengths != {self.dim // 2}:
            raise ValueError(
                f"short and long must hold dim / 2 = {self.dim // 2} divisors; got "
                f"{len(self.short)} and {len(self.long)}"
            )


def apply(
    rotary: Rotary, x: Float[Array, "b t n d"], positions: Int[Array, "#b t"]
) -> Float[Array, "b t n d"]:
    """Turn the first `rotary.dim` features of each head.

    Args:
        rotary: the settings.
        x: queries or keys.
        positions: of the tokens, 0 for the first; negative ones (padding) count as 0.

    Raises:
        ValueError: if a head is narrower than `rotary.dim`.

    >>> x = jnp.array([1.0, 0.0] * 2).reshape(1, 2, 1, 2)
    >>> turned = apply(Rotary(2), x, jnp.array([[0, 1]]))
    >>> [round(float(a), 4) for a in jnp.atan2(turned[..., 1], turned[..., 0]).ravel()]
    [0.0, 1.0]
    """
    dim = rotary.dim
    if x.shape[-1] < dim:
        raise ValueError(f"heads must be at least {dim} wide; got {x.shape[-1]}")
    positions = jnp.maximum(positions, 0)
    # Angles of float32: bfloat16 cannot tell neighbouring positions past 256.
    wide = jnp.promote_types(x.dtype, jnp.float32)
    turn = frequencies(rotary, positions, dtype=wide)[None, None]
    angles = positions[..., None].astype(wide) * turn
    cos = (jnp.cos(angles) * rotary.attention)[:, :, None]
    sin = (jnp.sin(angles) * rotary.attention)[:, :, None]
    part = x[..., :dim].astype(wide)
    if rotary.interleaved:
        first, second = part[..., ::2], part[..., 1::2]
    else:
        first, second = part[..., : dim // 2], part[..., dim // 2 :]
    turned = (first * cos - second * sin, second * cos + first * sin)
    if rotary.interleaved:
        out = jnp.stack(turned, -1).reshape(part.shape)
    else:
        out = jnp.concatenate(turned, -1)
    return jnp.concatenate([out.astype(x.dtype), x[..., dim:]], -1)


def frequencies(
    rotary: Rotary,
    positions: Int[Array, "b t"] | None = None,
    *,
    dtype: Any = jnp.float32,
) -> Float[Array, " h"]:
    """Radians that each pair of features turns from one position to the next.

    Args:
        rotary: the settings.
        positions: of the tokens; "dynamic" and "longrope" look at the largest.
        dtype: of the result.
    """
    place = np.arange(0, rotary.dim, 2, dtype=np.float64) / rotary.dim
    plain = rotary.theta**-place
    if rotary.kind == "linear":
        plain = plain / rotary.factor
    elif rotary.kind == "llama3":
        plain = _llama3(rotary, plain)
    elif rotary.kind == "yarn":
        plain = _yarn(rotary, plain)
    elif rotary.kind == "dynamic":
        return _dynamic(rotary, place, positions, dtype)
    elif rotary.kind == "longrope":
        near, far = plain / np.array(rotary.short), plain / np.array(rotary.long)
        if positions is None:
            return jnp.asarray(near, dtype)
        beyond = positions.max() >= jnp.asarray(rotary.original)
        return jnp.where(beyond, jnp.asarray(far, dtype), jnp.asarray(near, dtype))
    return jnp.asarray(plain, dtype)


def _llama3(rotary, plain):
    """Long wavelengths stretched, short ones kept, a linear passage between."""
    high = 4.0 if rotary.high is None else rotary.high
    turns = rotary.original * plain / (2 * math.pi)
    keep = np.clip((turns - rotary.low) / (high - rotary.low), 0, 1)
    return plain * (keep + (1 - keep) / rotary.factor)


def _yarn(rotary, plain):
    """Slow pairs stretched, fast ones kept, a linear passage between (eq. 17-23)."""

    def pair(turns):
        """Which pair turns that often over the positions trained on."""
        wave = rotary.original / (turns * 2 * math.pi)
        return rotary.dim * math.log(wave) / (2 * math.log(rotary.theta))

    first = pair(32.0 if rotary.high is None else rotary.high)
    last = pair(rotary.low)
    if rotary.truncate:
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, rotary.dim - 1)
    last = last + 0.001 if first == last else last
    keep = 1 - np.clip((np.arange(len(plain)) - first) / (last - first), 0, 1)
    return plain * (keep + (1 - keep) / rotary.factor)


def _dynamic(rotary, place, positions, dtype):
    """A base that grows with the length read, beyond the positions trained on."""
    length = rotary.original if positions is None else positions.max() + 1
    length = jnp.maximum(length, rotary.original).astype(dtype)
    growth = rotary.factor * length / rotary.original - (rotary.factor - 1)
    theta = rotary.theta * growth ** (rotary.dim / (rotary.dim - 2))
    return theta ** -jnp.asarray(place, dtype)
