"""Best splits of two nodes by their histograms, in XLA; see `boosting_growth`.

split = best(recipe, table, numbers, units, counts, family, may)

Letters: p nodes looked at, m nodes, d features, c cells of a feature, q groups.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt32

__all__ = [
    "Split",
    "Units",
    "best",
    "counted",
    "features",
    "first_of_largest",
    "leaf_value",
    "mix",
    "soft",
    "words",
]

TIE = 1e-7  # gains that differ by less are equal
TINY = 1e-15


class Split(NamedTuple):
    """The best split of each node."""

    gain: Float[Array, "p"]  # -inf: there is none
    feature: Int[Array, "p"]
    bin: Int[Array, "p"]  # the last one that goes left
    missing_left: Bool[Array, "p"]
    cells: Bool[Array, "p c"]  # that go left
    sums: Int[Array, "p 5"]  # of the rows that go left, in `Units`


class Units(NamedTuple):
    """What turns sums of integers into sums of gradients.

    Two integers stand for a number, the second for what the first leaves: so sums are
    exact, the same in any order, on any number of devices, and by subtraction.
    """

    gradient: Float[Array, ""]
    hessian: Float[Array, ""]
    low: Float[Array, ""]  # unit of the second integer, in that of the first

    def real(self, sums: Int[Array, "*s 5"]) -> Float[Array, "*s 3"]:
        """Gradient, hessian, rows."""
        sums = sums.astype(self.low.dtype)
        gradient = (sums[..., 0] + sums[..., 1] * self.low) * self.gradient
        hessian = (sums[..., 2] + sums[..., 3] * self.low) * self.hessian
        return jnp.stack([gradient, hessian, sums[..., 4]], -1)


def counted(
    gradient: Float[Array, "n"],
    hessian: Float[Array, "n"],
    bag: Bool[Array, "n"],
    axis: Any,
) -> tuple[Int[Array, "n 5"], Units]:
    """Gradient, hessian and count of each row in integers, 0 out of the bag."""
    dtype = gradient.dtype
    whole = jnp.int64 if dtype == jnp.float64 else jnp.int32
    n = len(bag) if axis is None else len(bag) * jax.lax.psum(1, axis)
    bits = jnp.iinfo(whole).bits - 2 - n.bit_length()

    def cut(values):
        values = jnp.where(bag, values, 0)
        most = jnp.abs(values).max()
        if axis is not None:
            most = jax.lax.pmax(most, axis)
        _, exponent = jnp.frexp(most)
        # What is not finite makes the sums NaN, by the unit.
        unit = jnp.ldexp(jnp.ones((), dtype), exponent - bits) + 0 * most
        scaled = jnp.where(jnp.isfinite(unit), values / unit, 0)
        high = jnp.round(scaled)
        low = jnp.round((scaled - high) * 2.0**bits)
        return high, low, unit

    first, second, gradient_unit = cut(gradient)
    third, fourth, hessian_unit = cut(hessian)
    parts = [first, second, third, fourth, bag]
    payload = jnp.stack([part.astype(whole) for part in parts], 1)
    return payload, Units(gradient_unit, hessian_unit, jnp.asarray(2.0**-bits, dtype))


def soft(gradient: Array, l1: Array) -> Array:
    """The gradient, nearer to zero by `l1`."""
    return jnp.sign(gradient) * jnp.maximum(jnp.abs(gradient) - l1, 0)


def first_of_largest(values: Float[Array, "m"]) -> Int[Array, ""]:
    """Where the largest is; XLA's argmax is slow on a CPU."""
    place = jnp.arange(len(values))
    return jnp.where(values == values.max(), place, len(values) - 1).min()


def leaf_value(sums: Array, numbers: Any, bounds: Array) -> Array:
    """Value of a leaf by its sums, within [..., 2] bounds."""
    value = -soft(sums[..., 0], numbers.l1) / (sums[..., 1] + numbers.l2 + TINY)
    return jnp.clip(value, bounds[..., 0], bounds[..., 1])


def features(
    allowed: Bool[Array, "d"],
    groups: Bool[Array, "q d"],
    obeyed: Bool[Array, "p q"],
    path: UInt32[Array, "p"],
    share: Float[Array, ""],
) -> Bool[Array, "p d"]:
    """Features that each node may be split by; a share of them is drawn."""
    may = jnp.broadcast_to(allowed[None], (len(path), len(allowed)))
    if len(groups):
        may = may & (obeyed[:, :, None] & groups[None]).any(1)
    steps = jnp.arange(1, len(allowed) + 1, dtype=jnp.uint32) * jnp.uint32(0x9E3779B9)
    draw = mix(path[:, None] + steps[None])
    # Those that may not come last; among equals the lower feature comes first.
    order = jnp.lexsort((draw, ~may), axis=-1)
    rank = jnp.argsort(order, axis=-1)
    total = may.sum(1).astype(share.dtype)
    keep = jnp.maximum(1, jnp.ceil(share * total - jnp.asarray(1e-5, share.dtype)))
    drawn = rank < keep[:, None]
    return may & (drawn | (share >= 1))


def mix(h: UInt32[Array, "..."]) -> UInt32[Array, "..."]:
    """The finalizer of MurmurHash3."""
    h = (h ^ (h >> jnp.uint32(16))) * jnp.uint32(0x85EBCA6B)
    h = (h ^ (h >> jnp.uint32(13))) * jnp.uint32(0xC2B2AE35)
    return h ^ (h >> jnp.uint32(16))


def words(cells: Bool[Array, "m c"], count: int) -> UInt32[Array, "m w"]:
    """Sets of cells as bits, in `count` words."""
    room = 32 * count
    cells = jnp.pad(cells, ((0, 0), (0, max(0, room - cells.shape[1]))))[:, :room]
    bits = cells.reshape(len(cells), count, 32).astype(jnp.uint32)
    return (bits << jnp.arange(32, dtype=jnp.uint32)[None, None]).sum(
        2, dtype=jnp.uint32
    )


def best(
    recipe: Any,
    table: Any,
    numbers: Any,
    units: Units,
    counts: Int[Array, "p d c 5"],
    family: Any,
    may: Bool[Array, "p d"],
) -> Split:
    """The best split of each node, by the sums over its cells."""
    missing, limit = counts[:, :, recipe.missing], recipe.missing
    has = (table.kind & 2) > 0
    upto = jnp.cumsum(counts[:, :, :limit], 2)
    # Two ways: missing values go right, or left. [p, d, 2, c, 5]
    left = jnp.stack([upto, upto + missing[:, :, None]], 2)
    left = jnp.pad(left, ((0, 0),) * 3 + ((0, 1), (0, 0)))
    place = jnp.arange(limit + 1)[None]
    right_way = place < (table.used - 1 + has)[:, None]
    left_way = (place < table.used[:, None] - 1) & has[:, None]
    valid = jnp.stack([right_way, left_way], 1)[None]
    order = None
    if recipe.words:
        order, sums, known = _ordered(counts, table, numbers, units, family)
        categorical = ((table.kind & 1) > 0)[None, :, None, None]
        left = jnp.where(categorical[..., None], sums, left)
        valid = jnp.where(categorical, known, valid)
    valid = valid & may[:, :, None, None]
    loss = family.value * soft(units.real(family.sums)[:, 0], numbers.l1)
    gain = _gain(left, family, loss, table, numbers, units)
    gain = jnp.where(valid, gain, -jnp.inf)
    return _choose(recipe, table, numbers, gain, left, order, loss)


def _gain(left, family, loss, table, numbers, units):
    """[p, d, 2, c] what each split gains; -inf where it is not allowed."""
    right = units.real(family.sums[:, None, None, None] - left)
    left = units.real(left)
    bounds = family.bounds[:, None, None, None]
    left_value = leaf_value(left, numbers, bounds)
    right_value = leaf_value(right, numbers, bounds)
    gain = loss[:, None, None, None] - (
        left_value * soft(left[..., 0], numbers.l1)
        + right_value * soft(right[..., 0], numbers.l1)
    )
    way = table.monotone[None, :, None, None]
    good = ~(
        ((way > 0) & (left_value > right_value))
        | ((way < 0) & (left_value < right_value))
    )
    for side in (left, right):
        good = good & (side[..., 1] >= numbers.min_child_weight)
        good = good & (side[..., 2] >= jnp.maximum(numbers.min_samples_leaf, 1))
    return jnp.where(good, gain, -jnp.inf)


def _ordered(counts, table, numbers, units, family):
    """Categories in the order of their slopes from either end: who, sums, how many."""
    c = counts.shape[2]
    place = jnp.arange(c)[None]
    real = (place < table.used[:, None]) | (
        (place == c - 1) & ((table.kind & 2) > 0)[:, None]
    )
    whole, each = units.real(family.sums), units.real(counts)
    share = (whole[:, 2] / whole[:, 1])[:, None, None]
    weight = each[..., 1]
    real = (
        real[None]
        & (counts[..., 4] > 0)
        & (weight * share * (1 + 1e-6) >= numbers.smooth)
    )
    slope = each[..., 0] / (weight + numbers.smooth)
    first = jnp.argsort(jnp.where(real, slope, jnp.inf), axis=2)
    total = real.sum(2, keepdims=True)
    back = jnp.clip(total - 1 - place[None], 0, c - 1)
    last = jnp.take_along_axis(first, back, 2)
    order = jnp.stack([first, last], 2)
    sums = jnp.take_along_axis(counts[:, :, None], order[..., None], 3).cumsum(3)
    middle = (total + 1) // 2
    middle = jnp.stack([middle, middle - 1], 2)
    known = (place[None, None] < middle) & (total >= 2)[:, :, None]
    return order, sums, known


def _choose(recipe, table, numbers, gain, left, order, loss):
    """The first split, within rounding, of those that gain the most."""
    p, _, _, c = gain.shape
    eps = float(jnp.finfo(gain.dtype).eps)

    def enough(most, loss):
        slack = TIE * jnp.abs(most) + 8 * eps * (jnp.abs(most) + jnp.abs(loss))
        return jnp.where(jnp.isfinite(most), most - slack, jnp.inf)

    def first(mask, axis):
        place = jnp.arange(mask.shape[axis])
        place = place.reshape(*(1,) * axis, -1, *(1,) * (mask.ndim - axis - 1))
        return jnp.where(mask, place, mask.shape[axis] - 1).min(axis)

    most = gain.max(3)
    edge = enough(most, loss[:, None, None])
    place = first(gain >= edge[..., None], 3)
    way = (edge[:, :, 1] > most[:, :, 0]) & jnp.isfinite(most[:, :, 1])
    top = jnp.where(way, most[:, :, 1], most[:, :, 0])
    feature = first(top >= enough(top.max(1), loss)[:, None], 1)
    node = jnp.arange(p)
    way = way[node, feature].astype(jnp.int32)
    place = place[node, feature, way]
    found = gain[node, feature, way, place]
    floor = jnp.maximum(numbers.min_gain, 16 * eps * jnp.abs(loss))
    cell = jnp.arange(c)[None]
    cells = jnp.where(cell < recipe.missing, cell <= place[:, None], way[:, None] == 1)
    if order is not None:
        chosen = order[node, feature, way]
        member = cell <= place[:, None]
        sets = jnp.zeros((p, c), bool).at[node[:, None], chosen].max(member)
        categorical = (table.kind[feature] & 1) > 0
        cells = jnp.where(categorical[:, None], sets, cells)
    return Split(
        gain=jnp.where(found > floor, found, -jnp.inf),
        feature=feature.astype(jnp.int32),
        bin=place.astype(jnp.int32),
        missing_left=cells[:, -1],
        cells=cells,
        sums=left[node, feature, way, place],
    )
