"""The bins of features in XLA, on one device or on several that each hold some rows.

low, high, used = bins_search.find(None, 255, x)           # or with weights
low, high, used = bins_search.find("data", 255, shard)     # in a sharded program

Each device sorts its rows once, as integers in the order of the floats. Quantiles over
all devices are then found bit by bit: a bit is set in a key if the keys below it hold
too little weight, which takes one sum over the devices for each bit, of counts.

Letters: n rows, d features, b bins, q questions of a feature.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxml.ops import order

__all__ = ["find"]

_search = {
    side: jax.vmap(functools.partial(jnp.searchsorted, side=side))
    for side in ("left", "right")
}


class _Rows(NamedTuple):
    """The rows of one device, sorted for each feature."""

    keys: jax.Array  # [d, n + 1] ascending; what is missing, and one more, at the end
    sums: jax.Array | None  # [d, n + 1] weight before each key; None: their number
    none: jax.Array  # [] the key of a missing value, above all others


def find(axis, n_bins, x, weight=None):
    """`low`, `high` and `used` of `jaxml.ops.bins.Bins`.

    Args:
        axis: name of the mesh axis that the rows are sharded over, or None.
        n_bins: most bins of a feature.
        x: rows of this device.
        weight: what each row counts, or None.
    """
    rows = _sorted(x, weight)
    distinct = _distinct(rows.keys, n_bins + 1, rows.none)
    shards = 1 if axis is None else jax.lax.axis_size(axis)
    for step in (1 << i for i in range((shards - 1).bit_length())):
        # After each exchange a device knows the values of twice as many; that some
        # come twice does no harm.
        turn = [(i, (i + step) % shards) for i in range(shards)]
        other = jax.lax.ppermute(distinct, axis, turn)
        both = jnp.sort(jnp.concatenate([distinct, other], 1))
        distinct = _distinct(both, n_bins + 1, rows.none)
    cuts = distinct[:, 1:n_bins]
    if len(x) * shards > n_bins:
        exact = distinct[:, -1] == rows.none
        cuts = jnp.where(exact[:, None], cuts, _quantiles(axis, rows, n_bins))
    low, high, used = _fill(axis, rows, cuts)
    return _floats(low, rows.none, x.dtype), _floats(high, rows.none, x.dtype), used


def _sorted(x, weight):
    none = order.bits(jnp.full((), jnp.nan, x.dtype))
    if weight is not None:
        x = jnp.where((weight > 0)[:, None], x, jnp.nan)
    keys = order.bits(x).T
    if weight is None:
        keys = jnp.sort(keys)
        sums = None
    else:
        weight = jnp.broadcast_to(weight.astype(x.dtype)[None], keys.shape)
        keys, weight = jax.lax.sort((keys, weight), num_keys=1)
        weight = jnp.where(keys < none, weight, 0)
        sums = jnp.pad(jnp.cumsum(weight, 1), ((0, 0), (1, 0)))
    return _Rows(jnp.pad(keys, ((0, 0), (0, 1)), constant_values=none), sums, none)


def _distinct(keys, size, none):
    """The `size` smallest distinct of sorted keys; `none` where there are less."""
    last = jnp.pad(keys[:, :-1], ((0, 0), (1, 0)), constant_values=0)
    fresh = (keys != last) & (keys < none)
    wanted = jnp.broadcast_to(jnp.arange(1, size + 1)[None], (len(keys), size))
    place = _search["left"](jnp.cumsum(fresh, 1), wanted)
    keys = jnp.pad(keys, ((0, 0), (0, 1)), constant_values=none)
    return jnp.take_along_axis(keys, place, 1)


def _below(axis, rows, keys, side="left"):
    """Weight of the rows of all devices below keys [d, q], or up to them."""
    place = _search[side](rows.keys, keys)
    if rows.sums is not None:
        place = jnp.take_along_axis(rows.sums, place, 1)
    return place if axis is None else jax.lax.psum(place, axis)


def _first(enough, shape, dtype):
    """The smallest keys for which `enough` holds, and holds from there on."""
    width = dtype.itemsize * 8
    one = jnp.ones((), dtype)

    def step(i, key):
        higher = key | (one << (width - 1 - i).astype(dtype))
        return jnp.where(enough(higher), key, higher)

    return jax.lax.fori_loop(0, width, step, jnp.zeros(shape, dtype)) + one


def _reaches(total, parts, count):
    """Whether amounts [d, count] reach j * total / parts, for j from 1 to count."""
    j = jnp.arange(1, count + 1)[None].astype(total.dtype)
    total, parts = total[:, None], parts[:, None].astype(total.dtype)
    if jnp.issubdtype(total.dtype, jnp.floating):
        return lambda amount: amount * parts >= total * j  # exact for small integers
    # Without the product of two large integers, that could overflow.
    whole, rest = total // parts, total % parts
    ranks = whole * j + (rest * j + parts - 1) // parts
    return lambda amount: amount >= ranks


def _quantiles(axis, rows, n_bins):
    """The smallest keys of all bins but the first, [d, b - 1]."""
    d, dtype = len(rows.keys), rows.keys.dtype
    total = _below(axis, rows, jnp.full((d, 1), rows.none, dtype))[:, 0]
    # Values that have a bin of their own lie at one of these ranks.
    most = (n_bins - 1) // 2
    reached = _reaches(total, jnp.full(d, most + 1, jnp.int32), most)
    keys = _first(
        lambda key: reached(_below(axis, rows, key, "right")), (d, most), dtype
    )
    weight = _below(axis, rows, keys, "right") - _below(axis, rows, keys)
    if rows.sums is None:
        heavy = weight > (total // (most + 1))[:, None]
    else:
        heavy = weight * (most + 1) > total[:, None]
    heavy &= keys != jnp.pad(keys[:, :-1], ((0, 0), (1, 0)))  # the first of each
    weight = jnp.where(heavy, weight, 0)
    sums = jnp.pad(jnp.cumsum(weight, 1), ((0, 0), (1, 0)))

    def light(key, side):
        place = _search[side](keys, key)
        return _below(axis, rows, key, side) - jnp.take_along_axis(sums, place, 1)

    parts = n_bins - 2 * heavy.sum(1, dtype=jnp.int32)
    middle = _reaches(2 * (total - weight.sum(1)), parts, n_bins - 1)
    cuts = _first(
        lambda key: middle(light(key, "left") + light(key, "right")),
        (d, n_bins - 1),
        dtype,
    )
    cuts = jnp.where(jnp.arange(1, n_bins)[None] < parts[:, None], cuts, rows.none)
    alone = jnp.where(heavy, keys, rows.none), jnp.where(heavy, keys + 1, rows.none)
    return jnp.sort(jnp.concatenate([cuts, *alone], 1))[:, : n_bins - 1]


def _fill(axis, rows, cuts):
    """What the bins between the cuts hold; those that hold nothing are dropped."""
    start = jnp.pad(cuts, ((0, 0), (1, 0)), constant_values=0)
    end = jnp.pad(cuts, ((0, 0), (0, 1)), constant_values=rows.none)
    before = jnp.pad(rows.keys, ((0, 0), (1, 0)), constant_values=0)
    low = jnp.take_along_axis(rows.keys, _search["left"](rows.keys, start), 1)
    high = jnp.take_along_axis(before, _search["left"](rows.keys, end), 1)
    if axis is not None:
        low, high = jax.lax.pmin(low, axis), jax.lax.pmax(high, axis)
    held = low < end
    low, high = (jnp.sort(jnp.where(held, key, rows.none)) for key in (low, high))
    return low, high, held.sum(1, dtype=jnp.int32)


def _floats(keys, none, dtype):
    """The floats of keys; infinity for what is missing."""
    width = keys.dtype.itemsize * 8
    sign = jnp.asarray(1 << (width - 1), keys.dtype)
    raw = jnp.where(keys >= sign, keys ^ sign, ~keys)
    floats = jax.lax.bitcast_convert_type(raw, dtype)
    return jnp.where(keys >= none, jnp.inf, floats)
