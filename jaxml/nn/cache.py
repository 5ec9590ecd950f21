"""The keys and values of the tokens that a decoder has read.

    cache = start(batch, length, kv_heads, head_dim)
    cache = append(cache, key, value, positions)         # position -1: padding, dropped
    seen = visible(cache.position, positions)            # for `ops.attention.attend`

Shapes are static. Each row of the batch fills its own slots, one after the other, so
padding on either side takes no room; when all are full, the oldest token gives way: a
cache as long as the window of the attention is a ring buffer that loses nothing.
A network with its layers stacked has one `Cache` with a leading axis of layers.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

__all__ = ["Cache", "append", "positions_after", "start", "take", "visible"]


class Cache(NamedTuple):
    """Keys and values by slot (with a leading axis of layers where those are stacked).

    Heads stand before slots: so they lie in one piece for the products of a step, which
    would otherwise transpose the whole cache for every token.
    b: batch, s: slots, g: key-value heads, d and e: their widths.
    """

    key: Float[Array, "*layers b g s d"]
    value: Float[Array, "*layers b g s e"]
    position: Int[Array, "*layers b s"]  # of the token in each slot, -1 if it is empty
    length: Int[Array, "*layers b"]  # how many tokens each row has read


def start(
    batch: int,
    length: int,
    kv_heads: int,
    head_dim: int,
    *,
    window: int | None = None,
    value_dim: int | None = None,
    dtype: Any = jnp.float32,
) -> Cache:
    """An empty cache.

    Args:
        batch: number of rows.
        length: how many tokens a row will hold at most.
        kv_heads: heads of keys and values.
        head_dim: width of a key.
        window: how many tokens a query sees; no more slots than that are made.
        value_dim: width of a value; that of a key if None.
        dtype: of keys and values.

    Raises:
        ValueError: if a size is below 1.
    """
    slots = length if window is None else min(length, window)
    if min(batch, slots, kv_heads, head_dim) < 1:
        raise ValueError(
            "batch, length, window, heads and width must be at least 1; got "
            f"{(batch, length, window, kv_heads, head_dim)}"
        )
    shape = (batch, kv_heads, slots)
    return Cache(
        jnp.zeros((*shape, head_dim), dtype),
        jnp.zeros((*shape, head_dim if value_dim is None else value_dim), dtype),
        jnp.full((batch, slots), -1, jnp.int32),
        jnp.zeros(batch, jnp.int32),
    )


def append(
    cache: Cache,
    key: Float[Array, "b t g d"],
    value: Float[Array, "b t g e"],
    positions: Int[Array, "b t"],
) -> Cache:
    """The cache with t more tokens a row; padding (position -1) is left out.

    Args:
        cache: what was read before.
        key: of the new tokens, already rotated.
        value: of the new tokens.
        positions: of the new tokens, -1 for padding.
    """
    rows, slots = _slots(cache, positions)
    put = lambda old, new: old.at[rows, :, slots].set(
        new.astype(old.dtype), mode="drop"
    )
    return Cache(
        put(cache.key, key),
        put(cache.value, value),
        cache.position.at[rows, slots].set(positions, mode="drop"),
        cache.length + (positions >= 0).sum(1, dtype=jnp.int32),
    )


def positions_after(cache: Cache, positions: Int[Array, "b t"]) -> Int[Array, "b s"]:
    """What `append` would make of `cache.position`, for a bias of relative positions.

    Args:
        cache: what was read before.
        positions: of the new tokens, -1 for padding.
    """
    rows, slots = _slots(cache, positions)
    return cache.position.at[rows, slots].set(positions, mode="drop")


def visible(
    key_positions: Int[Array, "b s"],
    positions: Int[Array, "b t"],
    *,
    window: int | None = None,
) -> Bool[Array, "b 1 t s"]:
    """Which keys each query may look at: none after it, none empty.

    Args:
        key_positions: of the keys, -1 where a slot is empty.
        positions: of the queries; -1 sees nothing.
        window: how many positions a query sees, its own included; all if None.
    """
    key, query = key_positions[:, None, :], positions[:, :, None]
    seen = (key >= 0) & (key <= query)
    if window is not None:
        seen &= key > query - window
    return seen[:, None]


def take(caches: PyTree, rows: Int[Array, " k"]) -> PyTree:
    """Chosen rows of the batch, in a given order, as beam search needs them.

    Args:
        caches: any tree of caches, stacked over layers or not.
        rows: index of each row to take; rows may repeat.
    """

    def choose(cache):
        axis = cache.length.ndim - 1
        return Cache(*(jnp.take(leaf, rows, axis) for leaf in cache))

    return jax.tree.map(choose, caches, is_leaf=lambda x: isinstance(x, Cache))


def _slots(cache, positions):
    """Row and slot of each new token; a slot past the end for those to be dropped."""
    b, s = cache.position.shape
    real = positions >= 0
    place = cache.length[:, None] + jnp.cumsum(real, 1, dtype=jnp.int32) - 1
    # Of more tokens than slots only the last ones stay: one slot is written once.
    last = cache.length[:, None] + real.sum(1, dtype=jnp.int32, keepdims=True)
    kept = real & (place >= last - s)
    rows = jnp.broadcast_to(jnp.arange(b)[:, None], positions.shape)
    return rows, jnp.where(kept, place % s, s)
