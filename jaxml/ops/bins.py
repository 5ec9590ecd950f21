"""Bins of features: runs of neighbouring values that a tree does not tell apart.

cells = bins.find(x, n_bins=255)                 # Bins(low, high, used)
codes = bins.codes(cells, x)                     # UInt8 [n, d]; n_bins means missing
cuts = bins.edges(cells)                         # x <= cuts[:, b]: in bin b or below

A feature with at most `n_bins` distinct values has a bin for each: then a split between
bins is an exact split. Any other is cut at weighted quantiles, over all the rows, and a
value that fills two bins by itself has one of its own, so that the rest share the
others: with M = ⌊(b - 1) / 2⌋, each of the H values that hold more than 1 / (M + 1) of
the weight W; the rest, of weight R, in b - 2H parts, a value by the middle of its rank.

Where the rows are sharded the devices exchange counts and at most `n_bins` + 1 distinct
values of a feature, never rows, and the bins are the same.

Letters: n rows, d features, b bins.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt

from jaxml.ops import bins_search, check, native, partition

__all__ = ["Bins", "codes", "edges", "find"]


class Bins(NamedTuple):
    """Smallest and largest values in the bins of each feature, ascending."""

    low: Float[Array, "d b"]  # +inf from `used` on
    high: Float[Array, "d b"]  # +inf from `used` on
    used: Int[Array, "d"]  # how many bins hold values; 0: all are missing


def find(
    x: Float[Array, "n d"],
    n_bins: int = 255,
    sample_weight: Float[Array, "n"] | None = None,
    *,
    fast: bool | None = None,
) -> Bins:
    """Choose the bins of each feature from the rows of positive weight.

    NaN is a missing value; infinities are values like others.

    Args:
        x: rows.
        n_bins: most bins of a feature, from 2 to 65535.
        sample_weight: what each row counts, at least 0; all 1 if None.
        fast: whether a CPU runs the C++ kernel; asked of `native` if None. Say it where
            this is called inside of a jitted function.

    Returns:
        The bins.

    Raises:
        ValueError: if `n_bins` is out of range or shapes do not match.

    >>> find(jnp.array([[1.0], [5.0], [1.0], [jnp.nan]]), n_bins=3).low.tolist()
    [[1.0, 5.0, inf]]
    """
    check.rows(x, sample_weight=sample_weight)
    check.size("n_bins", n_bins, 2, 65535)
    fast = _fast("bins", fast, x.dtype)
    return _find(x, sample_weight, n_bins=n_bins, fast=fast)


def edges(bins: Bins) -> Float[Array, "d e"]:
    """The largest values that belong to each bin: the middles between neighbours.

    The middle of `high` of a bin and `low` of the next one, or `high` where it would
    round to that `low` or is no number; +inf from the last used bin on.

    >>> edges(find(jnp.array([[1.0], [5.0], [2.0]]), n_bins=4)).tolist()
    [[1.5, 3.5, inf]]
    """
    left, right = bins.high[:, :-1], bins.low[:, 1:]
    half = jnp.asarray(0.5, left.dtype)
    middle = half * left + half * right
    middle = jnp.where((left <= middle) & (middle < right), middle, left)
    last = jnp.arange(1, bins.low.shape[1])[None] >= bins.used[:, None]
    return jnp.where(last, jnp.inf, middle)


def codes(
    bins: Bins, x: Float[Array, "m d"], *, fast: bool | None = None
) -> UInt[Array, "m d"]:
    """The bin of each value, from 0, and `n_bins` where it is missing (NaN).

    A value that was not seen falls by the `edges`.

    Args:
        bins: of the d features.
        x: rows.
        fast: as in `find`.

    Returns:
        Codes: UInt8 if `n_bins` is at most 255, else UInt16.

    Raises:
        ValueError: if the numbers of features differ.

    >>> cells = find(jnp.array([[1.0], [5.0], [2.0]]), n_bins=4)
    >>> codes(cells, jnp.array([[0.0], [4.0], [jnp.nan]])).tolist()
    [[0], [2], [4]]
    """
    check.rows(x)
    if x.shape[1] != len(bins.used):
        raise ValueError(
            f"x must have the {len(bins.used)} features of the bins; got {x.shape[1]}"
        )
    return _codes(bins, x, fast=_fast("codes", fast, x.dtype))


def _fast(source: str, fast: bool | None, dtype) -> bool:
    """Whether a kernel runs: it is wanted, and knows the type."""
    if jnp.dtype(dtype).name not in ("float32", "float64"):
        return False
    return native.enabled(source) if fast is None else fast


@functools.partial(jax.jit, static_argnames=("n_bins", "fast"))
def _find(x, weight, *, n_bins, fast):
    def whole(x, *weight):
        fallback = functools.partial(bins_search.find, None, n_bins)
        if not fast:
            return fallback(x, *weight)
        d = x.shape[1]
        shapes = [jax.ShapeDtypeStruct((d, n_bins), x.dtype)] * 2
        shapes.append(jax.ShapeDtypeStruct((d,), jnp.int32))
        name = f"bins_find_{x.dtype.name}"
        row = weight[0].astype(x.dtype) if weight else jnp.ones(0, x.dtype)
        return native.call(
            "bins", name, lambda x, _: fallback(x, *weight), shapes, x, row
        )

    def local(axis, *arrays):
        return bins_search.find(axis, n_bins, *arrays)

    arrays = (x,) if weight is None else (x, weight)
    run = partition.by_rows(whole, local, (0,) * len(arrays), (None,) * 3)
    return Bins(*run(*map(jax.lax.stop_gradient, arrays)))


@functools.partial(jax.jit, static_argnames=("fast",))
def _codes(bins, x, *, fast):
    cuts = edges(Bins(*map(jax.lax.stop_gradient, bins))).astype(x.dtype)
    x = jax.lax.stop_gradient(x)
    if not fast:
        return _place(cuts, x)

    def whole(cuts, x):
        kind = jnp.uint8 if cuts.shape[1] < 255 else jnp.uint16
        shape = jax.ShapeDtypeStruct(x.shape, kind)

        def fallback(cuts, x):
            return (_place(cuts, x),)

        name = f"codes_{x.dtype.name}"
        return native.call("codes", name, fallback, [shape], cuts, x)

    def local(axis, cuts, x):
        return whole(cuts, x)

    return partition.by_rows(whole, local, (None, 0), (0,))(cuts, x)[0]


def _place(cuts, x):
    """Count the cuts below each value by a binary search without branches."""
    d, last = cuts.shape
    size = 1 << last.bit_length()  # a power of two above the number of cuts
    table = jnp.pad(cuts, ((0, 0), (0, size - last)), constant_values=jnp.inf)
    table = table.reshape(-1)
    start = jnp.arange(d, dtype=jnp.int32)[None] * size
    place = jnp.broadcast_to(start, x.shape)
    step = size // 2
    while step:
        cut = table.at[place + (step - 1)].get(mode="promise_in_bounds")
        place = place + jnp.where(x > cut, step, 0)
        step //= 2
    code = jnp.where(jnp.isnan(x), last + 1, place - start)
    return code.astype(jnp.uint8 if last < 255 else jnp.uint16)
