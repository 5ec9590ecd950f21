"""The best splits of some nodes at once, from sums of their rows by bin, in XLA.

Letters: as in `cart_levels`. A gain is the weight of a node times the decrease of its
impurity by the split; slots are the active nodes, and slot a means none of them.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxml.models.classical import cart_median
from jaxml.models.classical.cart_problem import Problem, Totals, over, weigh

__all__ = ["FEATURE", "LEFT", "RIGHT", "Split", "choose", "mix", "search"]

TIE = 1e-7  # share of a gain by which a later split must be better
LEFT, RIGHT, FEATURE, THRESHOLD, MISSING = 1, 2, 3, 4, 5  # streams of random numbers


class Split(NamedTuple):
    """Splits of nodes, leading axis a."""

    gain: Float[Array, "a"]  # -inf where there is none
    feature: Int[Array, "a"]  # -2 where there is none
    bin: Int[Array, "a"]  # the last one that goes left
    threshold: Float[Array, "a"]
    missing_left: Bool[Array, "a"]  # to the larger child, where no row is missing


def mix(state, number):
    """The finalizer of MurmurHash3 (Appleby), of a state and a number."""
    word = jnp.uint32
    h = state + word(0x9E3779B9) * (jnp.asarray(number).astype(word) + word(1))
    h ^= h >> 16
    h *= word(0x85EBCA6B)
    h ^= h >> 13
    h *= word(0xC2B2AE35)
    return h ^ (h >> 16)


def choose(gain, scale):
    """Index of the first gain, along the last axis, that is the best but for rounding.

    Args:
        gain: [..., j], -inf where nothing is to be had.
        scale: [...] what gains of these nodes can be at most, in their unit.

    Returns:
        The best gain and the index.
    """
    best = gain.max(-1)
    eps = jnp.finfo(gain.dtype).eps
    size = jnp.maximum(best, 0)
    slack = TIE * size + 8 * eps * jnp.sqrt(size * scale) + 1e-12 * scale
    index = jnp.arange(gain.shape[-1], dtype=jnp.int32)
    near = gain >= (best - slack)[..., None]
    shape = (1,) * (gain.ndim - 1) + index.shape
    first = jnp.where(near, index.reshape(shape), len(index)).min(-1)
    return best, jnp.minimum(first, len(index) - 1)


def search(recipe, axis, problem: Problem, slot, totals: Totals, path) -> Split:
    """The best split of each slot over the features that it looks at."""
    d = len(problem.low)
    extra: list[cart_median.Order] = []
    if recipe.criterion == "absolute_error":
        extra = cart_median.arrange(problem, slot, len(path))
    look = partial(_feature, recipe, axis, problem, slot, totals, path, extra)
    split, varies = jax.lax.map(look, jnp.arange(d, dtype=jnp.int32))
    gain = split.gain.T  # [a, d]
    if recipe.max_features < d:
        rank = _ranks(path, d)
        first = jnp.where(varies.T, rank, d).min(1)
        visited = rank < jnp.maximum(first + 1, recipe.max_features)[:, None]
        gain = jnp.where(visited, gain, -jnp.inf)
    if recipe.shuffle:
        order = jnp.argsort(_ranks(path, d), axis=1).astype(jnp.int32)
        best, place = choose(jnp.take_along_axis(gain, order, 1), totals.scale)
        feature = jnp.take_along_axis(order, place[:, None], 1)[:, 0]
    else:
        best, feature = choose(gain, totals.scale)
    at = (feature, jnp.arange(len(path)))
    found = jax.tree.map(lambda leaf: leaf[at], split)
    none = ~(best > -jnp.inf)
    return found._replace(gain=best, feature=jnp.where(none, -2, feature))


def _ranks(path, d):
    """Place of each feature in the random order of each node."""
    keys = mix(mix(path, FEATURE)[:, None], jnp.arange(d)[None])
    return jnp.argsort(jnp.argsort(keys, axis=1, stable=True), axis=1)


def _feature(recipe, axis, problem, slot, totals, path, extra, f):
    """The best split of each slot by feature f, and whether f varies there."""
    a, b = len(path), problem.low.shape[1]
    code = problem.columns[f].astype(jnp.int32)
    dtype = problem.stats.dtype
    data = jnp.concatenate([problem.stats, problem.present[:, None].astype(dtype)], 1)
    index = jnp.where(slot < a, slot * (b + 1) + code, a * (b + 1))
    table = jax.ops.segment_sum(data, index, a * (b + 1) + 1)[:-1]
    table = over(axis, jax.lax.psum, table).reshape(a, b + 1, -1)
    sums, count = table[:, :, :-1], table[:, :, -1]
    here = count[:, :b] > 0  # [a, b]
    missing = count[:, b]
    known = totals.n_rows - missing
    n_left = jnp.cumsum(count[:, :b], 1)
    last = n_left >= known[:, None]
    n_left = jnp.stack([n_left, n_left + missing[:, None]], 1)  # [a, 2, b]
    some = (missing > 0)[:, None]
    may = jnp.stack([here & (~last | some), here & ~last & some], 1)
    varies = (here.sum(1) > 1) | (here.any(1) & (missing > 0))
    if recipe.splitter == "random":
        bin, drawn, side = _draw(problem, here, missing, path, f)
        may &= jnp.arange(b)[None, None] == bin[:, None, None]
        may &= jnp.arange(2)[None, :, None] == side[:, None, None]
    left = jnp.cumsum(sums[:, :b], 1)
    left = jnp.stack([left, left + sums[:, b:]], 1)  # [a, 2, b, s]
    weight = weigh(recipe, left)
    other = totals.weight[:, None, None] - weight
    least = problem.limits[1]
    may &= (n_left >= least) & (totals.n_rows[:, None, None] - n_left >= least)
    may &= (weight >= problem.least) & (other >= problem.least)
    if recipe.criterion == "absolute_error":
        gain = cart_median.gains(problem, extra, totals, code, b)
    else:
        gain = _gain(recipe, left, weight, totals)
    gain = jnp.where(may & ~jnp.isnan(gain), gain, -jnp.inf)
    best, chosen = choose(gain.reshape(a, 2 * b), totals.scale)
    side, bin = chosen // b, chosen % b
    place = jnp.arange(b, dtype=jnp.int32)[None]
    after = jnp.where(here & (place > bin[:, None]), place, b).min(1)
    high, low = problem.high[f][bin], problem.low[f][jnp.minimum(after, b - 1)]
    threshold = jnp.where(after < b, _middle(high, low), jnp.inf)
    if recipe.splitter == "random":
        threshold = drawn
    n_left = n_left.reshape(a, 2 * b)[jnp.arange(a), chosen]
    goes = jnp.where(missing > 0, side == 1, 2 * n_left > totals.n_rows)
    return Split(best, jnp.full(a, f), bin, threshold, goes), varies


def _middle(left, right):
    """The middle, rounded so that left <= middle < right."""
    middle = left / 2 + right / 2
    return jnp.where(middle < right, jnp.maximum(middle, left), left)


def _draw(problem, here, missing, path, f):
    """One split between the middles of the first and of the last bin of each slot."""
    b = here.shape[1]
    low, high = problem.low[f], problem.high[f]
    middle = low / 2 + high / 2
    place = jnp.arange(b, dtype=jnp.int32)[None]
    first = jnp.where(here, place, b).min(1)
    last = jnp.where(here, place, -1).max(1)
    start, end = middle[jnp.minimum(first, b - 1)], middle[jnp.maximum(last, 0)]
    bits = mix(mix(path, THRESHOLD), f) >> 8
    u = bits.astype(middle.dtype) * jnp.asarray(2.0**-24, middle.dtype)
    drawn = start * (1 - u) + end * u
    drawn = jnp.where(drawn < end, drawn, start)
    drawn = jnp.maximum(drawn, start)
    below = here & (middle[None] <= drawn[:, None]) & (place < last[:, None])
    bin = jnp.where(below, place, first[:, None]).max(1)
    after = jnp.where(here & (place > bin[:, None]), place, b).min(1)
    right = low[jnp.minimum(after, b - 1)]
    left = high[jnp.minimum(bin, b - 1)]
    whole = (after < b) & ~(drawn < right)  # a bin of several values goes whole
    drawn = jnp.where(whole, _middle(left, right), drawn)
    side = jnp.where(missing > 0, mix(mix(path, MISSING), f) & 1, 0)
    # One value, and missing ones: these go right, or there is no split.
    side = jnp.where((first == last) & (side == 1), 2, side)
    return bin, jnp.maximum(drawn, left), side


def _gain(recipe, left, weight, totals):
    """Gains [a, 2, b] of splits that leave sums [a, 2, b, s] on the left.

    Sums are compared to those of the whole node: a small gain is not lost between
    large numbers.
    """
    whole = totals.sums[:, None, None]
    total = totals.weight[:, None, None]
    other = total - weight
    safe = (weight > 0) & (other > 0)
    wl, wr = jnp.where(safe, weight, 1), jnp.where(safe, other, 1)
    if not recipe.n_classes:
        left, whole = left[..., 1:], whole[..., 1:]
    outputs = totals.value.shape[1] // max(recipe.n_classes, 1)
    mean = whole / total[..., None]
    if recipe.criterion in ("gini", "squared_error", "friedman_mse"):
        change = left - wl[..., None] * mean
        gain = (change * change).sum(-1) * (total / (wl * wr))
        return jnp.where(safe, gain, -jnp.inf) / outputs
    right = whole - left

    def part(sums, weight):
        ratio = sums / (weight[..., None] * mean)
        fine = (sums > 0) & (ratio > 0)
        return jnp.where(fine, sums * jnp.log(jnp.where(fine, ratio, 1)), 0).sum(-1)

    gain = part(left, wl) + part(right, wr)
    if recipe.criterion == "poisson":  # no mean of 0 may be predicted
        eps = 4 * jnp.finfo(left.dtype).eps
        safe &= ((left > eps * whole) & (right > eps * whole)).all(-1)
    else:
        gain /= jnp.log(jnp.asarray(2, gain.dtype))
    return jnp.where(safe, gain, -jnp.inf) / outputs
