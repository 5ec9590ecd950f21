"""What the XLA form of tree growth works on, and sums of the rows of some nodes.

Letters: as in `cart_levels`.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, UInt

from jaxml.models.classical import cart_median

__all__ = ["Problem", "Totals", "describe", "over", "prepare", "weigh"]


class Problem(NamedTuple):
    """What does not change while a tree grows."""

    columns: UInt[Array, "d n"]  # codes of the features
    low: Float[Array, "d b"]
    high: Float[Array, "d b"]
    stats: Float[Array, "n s"]  # weighted labels; or weight, and weighted numbers
    number: Float[Array, "n o"]  # targets less their center, for a regression
    center: Float[Array, "o"]
    weight: Float[Array, "n"]
    present: Bool[Array, "n"]  # of positive weight
    total: Float[Array, ""]
    least: Float[Array, ""]  # weight of a child
    limits: Float[Array, "4"]
    sound: Bool[Array, ""]  # there are rows, and all weights and targets are numbers


class Totals(NamedTuple):
    """Nodes, leading axis a."""

    sums: Float[Array, "a s"]
    n_rows: Float[Array, "a"]
    weight: Float[Array, "a"]
    impurity: Float[Array, "a"]
    value: Float[Array, "a k"]
    scale: Float[Array, "a"]  # what a gain is at most, and what its rounding grows with
    pure: Bool[Array, "a"]  # one label, or one number, in each output


def over(axis, operation, array):
    """Combine the parts of all devices, if there are any."""
    return array if axis is None else operation(array, axis)


def weigh(recipe, sums):
    """Weight of sums [..., s]."""
    return sums[..., : recipe.n_classes].sum(-1) if recipe.n_classes else sums[..., 0]


def prepare(recipe, axis, codes, low, high, target, weight, limits) -> Problem:
    """Statistics of rows for one tree."""
    psum = partial(over, axis, jax.lax.psum)
    present = weight > 0
    w = jnp.where(present, weight, 0)
    count = psum(present.sum(dtype=w.dtype))
    total = psum(w.sum())
    if recipe.n_classes:
        known = ((target >= 0) & (target < recipe.n_classes)).all(1)
        hot = target[:, :, None] == jnp.arange(recipe.n_classes)[None, None]
        stats = (hot * w[:, None, None]).reshape(len(w), -1)
        number, center = jnp.zeros((len(w), 0), w.dtype), jnp.zeros(0, w.dtype)
    else:
        known = jnp.isfinite(target).all(1)
        if recipe.criterion == "poisson":
            known &= (target >= 0).all(1)
        center = jnp.zeros(target.shape[1], w.dtype)
        if recipe.criterion in ("squared_error", "friedman_mse"):
            sums = psum(jnp.where(present[:, None], target, 0).sum(0))
            mean = sums / jnp.maximum(count, 1)
            center = jnp.where(jnp.isfinite(mean), mean, 0)
        number = jnp.where(present[:, None], target - center[None], 0)
        stats = jnp.concatenate([w[:, None], w[:, None] * number], 1)
    bad = psum((~((weight == 0) | (present & known))).sum(dtype=jnp.int32))
    sound = (bad == 0) & (count > 0) & jnp.isfinite(total)
    least = limits[2] * total
    return Problem(
        columns=codes.T,
        low=low,
        high=high,
        stats=stats,
        number=number,
        center=center,
        weight=w,
        present=present,
        total=total,
        least=least,
        limits=limits,
        sound=sound,
    )


def describe(recipe, axis, problem: Problem, slot, a: int) -> Totals:
    """Sums, values and impurities of the rows of each of `a` slots."""

    def total(array):
        sums = jax.ops.segment_sum(array, slot, a + 1)[:a]
        return over(axis, jax.lax.psum, sums)

    sums = total(problem.stats)
    count = total(problem.present.astype(sums.dtype))
    weight = weigh(recipe, sums)
    safe = jnp.where(weight > 0, weight, 1)[:, None]
    if recipe.n_classes:
        share = sums / safe
        classes = (a, -1, recipe.n_classes)
        if recipe.criterion == "gini":
            impurity = 1 - (share * share).reshape(classes).sum(2)
        else:
            logs = jnp.log2(jnp.where(share > 0, share, 1))
            impurity = -(share * logs).reshape(classes).sum(2)
        pure = (sums > 0).reshape(classes).sum(2) <= 1
        impurity = jnp.where(pure, 0, impurity).mean(1)
        return Totals(sums, count, weight, impurity, share, weight, pure.all(1))
    number = problem.number
    least = jax.ops.segment_min(number, slot, a + 1)[:a]
    most = jax.ops.segment_max(number, slot, a + 1)[:a]
    least = over(axis, jax.lax.pmin, least)
    pure = least >= over(axis, jax.lax.pmax, most)
    middle = sums[:, 1:] / safe
    if recipe.criterion == "absolute_error":
        middle = cart_median.medians(problem, slot, a)
    middle = jnp.where(pure, jnp.where(count[:, None] > 0, least, 0), middle)
    mine = middle[jnp.minimum(slot, a - 1)]
    if recipe.criterion == "absolute_error":
        spread = jnp.abs(number - mine)
    elif recipe.criterion == "poisson":
        some = number > 0
        ratio = jnp.where(some, number, 1) / jnp.where(some & (mine > 0), mine, 1)
        spread = jnp.where(some, number * jnp.log(ratio), 0)
    else:
        spread = (number - mine) ** 2
    impurity = total(problem.weight[:, None] * spread) / safe
    impurity = jnp.where(pure, 0, impurity).mean(1)
    scale = impurity
    if recipe.criterion == "poisson":
        scale = jnp.abs(middle).mean(1)
    elif recipe.criterion != "absolute_error":
        scale = impurity + (middle * middle).mean(1)
    value = middle + problem.center[None]
    return Totals(sums, count, weight, impurity, value, weight * scale, pure.all(1))
