"""Draws of rows: with replacement, as counts, and without, as marks.

    counts = forest_bootstrap.draw(keys, n, x.dtype, sample_weight)          # [b, n]
    chosen = forest_bootstrap.sample(key, sample_weight, 0.5, strata, 1)     # [n]

A row of weight 0 is never drawn, and random numbers are dealt to the others as if it
were not there.

Letters: n rows, b bootstraps, k classes.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, Shaped, UInt32

__all__ = ["balance", "by_rank", "draw", "sample"]


def draw(
    keys: Key[Array, "b"],
    n: int,
    dtype: Any,
    weight: Float[Array, "n"] | None = None,
    max_samples: int | float | Int[Array, ""] | Float[Array, ""] | None = None,
) -> Float[Array, "b n"]:
    """How often each row is drawn, with replacement, in proportion to its weight.

    Args:
        keys: a random key for each bootstrap.
        n: number of rows.
        dtype: of the result.
        weight: of each row; 0 is never drawn. Default: 1.
        max_samples: how many are drawn: an integer is their number, a float their share
            of the sum of the weights. Default: the number of rows of positive weight.

    >>> keys = jax.random.split(jax.random.key(0), 2)
    >>> draw(keys, 4, jnp.float32).sum(1)
    Array([4., 4.], dtype=float32)
    """
    present = n if weight is None else (weight > 0).sum()
    place, deal = _places(n, dtype, weight, present)
    rows = jnp.arange(n, dtype=jnp.int32)

    def turn(key, first, last, count):
        # The same bits for draw j, whatever rows of weight 0 stand beyond it.
        bits = jax.random.bits(key, (n,), jnp.uint32)
        drawn = first + rows < last
        return count.at[place(bits)].add(drawn.astype(dtype))

    zero = jnp.zeros(n, dtype)
    if max_samples is None:
        return deal(jax.lax.map(lambda key: turn(key, 0, present, zero), keys))
    if jnp.issubdtype(jnp.result_type(max_samples), jnp.integer):
        draws = jnp.asarray(max_samples, jnp.int32)
    else:
        mass = n if weight is None else weight.sum()
        draws = jnp.maximum(jnp.asarray(max_samples * mass).astype(jnp.int32), 1)

    def turns(key):
        step = lambda i, count: turn(jax.random.fold_in(key, i), i * n, draws, count)
        return jax.lax.fori_loop(0, -(-draws // n), step, zero)

    return deal(jax.lax.map(turns, keys))


def _places(n, dtype, weight, present):
    """From random bits to rows, or where all weights are equal to ranks among rows of
    positive weight; and from the counts of these to counts of rows.
    """
    if weight is None:
        return partial(_share, count=present), lambda counts: counts
    # Where all weights are equal the draws must be those without weights.
    even = ((weight == 0) | (weight == weight.max())).all()
    summed = jnp.cumsum(weight)
    last = jnp.max(jnp.where(weight > 0, jnp.arange(n, dtype=jnp.int32), 0))

    def by_weight(bits):
        level = (bits >> 8).astype(dtype) * 2.0**-24 * summed[-1]
        found = jnp.searchsorted(summed, level, side="right")
        return jnp.minimum(found.astype(jnp.int32), last)

    def place(bits):
        return jax.lax.cond(even, partial(_share, count=present), by_weight, bits)

    return place, lambda counts: jnp.where(even, by_rank(counts, weight), counts)


def by_rank(
    values: Shaped[Array, "*b n"], weight: Float[Array, "n"] | None
) -> Shaped[Array, "*b n"]:
    """Give the first values to the rows of positive weight, in their order; else 0.

    Random numbers dealt out so do not depend on absent rows.
    """
    if weight is None:
        return values
    rank = jnp.maximum(jnp.cumsum(weight > 0) - 1, 0)
    dealt = values[..., rank]
    here = jnp.broadcast_to(weight > 0, dealt.shape)
    return jnp.where(here, dealt, jnp.zeros((), values.dtype))


def sample(
    key: Key[Array, ""],
    weight: Float[Array, "n"],
    share: Float[Array, ""],
    strata: Int[Array, "n"],
    count: int,
    nearest: bool = False,
) -> Bool[Array, "n"]:
    """Draw a share of the rows of positive weight, without replacement.

    Args:
        key: random key.
        weight: of each row; 0 is absent.
        share: from 0 to 1.
        strata: of each row; the share is taken from each.
        count: number of strata.
        nearest: round to the nearest number of rows; else down, to 1 at least.
    """
    # The same numbers for the other rows, whether absent rows are there or not.
    bits = by_rank(jax.random.bits(key, (len(weight),), jnp.uint32), weight)
    member = (strata[:, None] == jnp.arange(count)[None]) & (weight > 0)[:, None]
    sizes = member.sum(0)
    wanted = share * sizes
    wanted = jnp.round(wanted) if nearest else jnp.maximum(jnp.floor(wanted), 1)
    wanted = wanted.astype(sizes.dtype)

    def halve(_, carry):
        low, high = carry  # the least bits that let in enough rows
        middle = low + ((high - low) >> 1)
        enough = (member & (bits[:, None] <= middle[None])).sum(0) >= wanted
        return jnp.where(enough, low, middle + 1), jnp.where(enough, middle, high)

    ends = (jnp.zeros(count, jnp.uint32), jnp.full(count, 2**32 - 1, jnp.uint32))
    limit = jax.lax.fori_loop(0, 32, halve, ends)[1]
    chosen = member & (bits[:, None] <= limit[None]) & (wanted > 0)[None]
    return chosen.any(1)


def _share(bits: UInt32[Array, "n"], count) -> Int[Array, "n"]:
    """floor(bits * count / 2^32), in 32 bits."""
    count = jnp.asarray(count).astype(jnp.uint32)
    low = bits & 0xFFFF
    high = bits >> 16
    middle = high * (count & 0xFFFF) + ((low * (count & 0xFFFF)) >> 16)
    other = low * (count >> 16) + (middle & 0xFFFF)
    return (high * (count >> 16) + (middle >> 16) + (other >> 16)).astype(jnp.int32)


def balance(
    counts: Float[Array, "b n"], labels: Int[Array, "n"], n_classes: int
) -> Float[Array, "b n"]:
    """Weights that make the classes of each bootstrap weigh the same."""
    members = labels[:, None] == jnp.arange(n_classes)[None]
    sizes = jnp.matmul(counts, members.astype(counts.dtype), precision="highest")
    share = counts.sum(1, keepdims=True) / (n_classes * jnp.maximum(sizes, 1))
    return share[:, labels]
