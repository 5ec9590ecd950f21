"""Sort floats as integers: XLA compares integers several times faster on CPU.

order = order.argsort(scores)          # scores[order] ascends, ties keep their order
keys = order.bits(scores)              # unsigned integers in the order of the scores

Letters: n values.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Shaped

__all__ = ["argsort", "bits", "count_up_to"]


def bits(x: Shaped[Array, "*shape"]) -> Shaped[Array, "*shape"]:
    """Unsigned integers that compare as the floats `x` do.

    Minus zero counts as zero, and every NaN as greater than infinity.

    >>> bits(jnp.array([-1.0, 0.0])) < bits(jnp.array([-0.5, jnp.nan]))
    Array([ True,  True], dtype=bool)
    """
    width = x.dtype.itemsize * 8
    x = jnp.where(x == 0, jnp.zeros((), x.dtype), x)
    x = jnp.where(jnp.isnan(x), jnp.asarray(jnp.nan, x.dtype), x)
    raw = jax.lax.bitcast_convert_type(x, jnp.dtype(f"uint{width}"))
    sign = jnp.asarray(1 << (width - 1), raw.dtype)
    # Negative floats count down: turn all their bits, else only the sign.
    return jnp.where(raw >= sign, ~raw, raw | sign)


def argsort(x: Shaped[Array, "n"]) -> Int[Array, "n"]:
    """The stable order that makes the floats `x` ascend, NaN last.

    A radix sort whose digits are as wide as leaves room for the index in the same
    integer: sorts of one operand, that XLA has a fast path for.

    >>> argsort(jnp.array([2.0, -1.0, 0.5]))
    Array([1, 2, 0], dtype=int32)
    """
    # Of 16 bits the index could leave none.
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    key = bits(jax.lax.stop_gradient(x))
    n, width = len(x), key.dtype.itemsize * 8
    index = max(1, (n - 1).bit_length())
    place = jnp.arange(n, dtype=key.dtype)
    low = jnp.asarray((1 << index) - 1, key.dtype)
    order = jnp.arange(n, dtype=jnp.int32)
    for shift in range(0, width, width - index):
        digit = key[order] >> jnp.asarray(shift, key.dtype)
        packed = jnp.sort((digit << jnp.asarray(index, key.dtype)) | place)
        order = order[(packed & low).astype(jnp.int32)]
    return order


def count_up_to(
    edges: Shaped[Array, "m"], x: Shaped[Array, "*n"], used: Int[Array, ""]
) -> Int[Array, "*n"]:
    """How many of the first `used` edges are at most x.

    As `searchsorted` from the right, in steps that only the part in use asks for: where
    few of many edges are used, they lie in the cache.

    Args:
        edges: numbers, ascending as far as they are used.
        x: what to place among them.
        used: how many edges count, from 0 to m.

    >>> used = jnp.array(2)
    >>> count_up_to(jnp.array([1.0, 2.0, 9.0]), jnp.array([0.5, 2.0, 9.0]), used)
    Array([0, 2, 2], dtype=int32)
    """
    edges, x = jax.lax.stop_gradient((edges, x))
    used = used.astype(jnp.int32)
    few = 1024
    if len(edges) <= few:
        return _halvings(edges, x, used)
    # A loop copies what it reads from: the few edges, if that is enough.
    return jax.lax.cond(
        used <= few,
        lambda: _halvings(edges[:few], x, used),
        lambda: _halvings(edges, x, used),
    )


def _halvings(edges, x, used):
    """Search by halves among the first `used` edges."""

    def halve(_, carry):
        low, width = carry  # the answer is from low to low + width
        probe = jnp.minimum(low + (width + 1) // 2, used)
        return jnp.where(edges[jnp.maximum(probe - 1, 0)] <= x, probe, low), width // 2

    steps = 32 - jax.lax.clz(used)
    start = (jnp.zeros(x.shape, jnp.int32), used)
    return jax.lax.fori_loop(0, steps, halve, start)[0]
