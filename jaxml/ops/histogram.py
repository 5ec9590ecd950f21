"""Sums of values over nodes of a tree and bins of features: where its time goes.

sums = histogram.histogram(codes, values, node, n_nodes=8, n_bins=256)
left = histogram.prefix(sums)                  # sums of the bins up to each one
best = histogram.argmax(gain.reshape(8, -1))   # the first of equal ones

On a CPU with a C++ compiler `jaxml/ops/histogram.cc` sums in double precision, one node
after the other; elsewhere a scatter for each feature does, in the precision of the
values. Where the rows are sharded each device sums its own, and the sums are added.

Letters: n rows, d features, c values of a row, m nodes, b bins.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt

from jaxml.ops import check, native, partition

__all__ = ["argmax", "histogram", "prefix"]

_BLOCK = 16  # bins summed up by one product with a triangle


def histogram(
    codes: UInt[Array, "n d"],
    values: Float[Array, "n c"],
    node: Int[Array, "n"],
    *,
    n_nodes: int,
    n_bins: int,
    fast: bool | None = None,
) -> Float[Array, "m d b c"]:
    """Sum the values of the rows of each node, by the code of each feature.

    Args:
        codes: UInt8 or UInt16 bins of the rows (`jaxml.ops.bins.codes`). A code of
            `n_bins` or more is not counted.
        values: what is summed up.
        node: node of each row; a row of another number, as -1, is not counted.
        n_nodes: number of nodes m.
        n_bins: number of bins b, with that of missing values if it is wanted.
        fast: whether a CPU runs the C++ kernel; asked of `native` if None. Say it where
            this is called inside of a jitted function.

    Returns:
        The sums.

    Raises:
        ValueError: if the codes are of another type or the numbers of rows differ.

    >>> codes = jnp.array([[0], [2], [2]], jnp.uint8)
    >>> node = jnp.array([0, 0, 1])
    >>> sums = histogram(codes, jnp.ones((3, 1)), node, n_nodes=2, n_bins=3)
    >>> sums[:, 0, :, 0].tolist()
    [[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]]
    """
    if codes.dtype not in (jnp.uint8, jnp.uint16):
        raise ValueError(f"codes must be uint8 or uint16; got {codes.dtype}")
    if not len(codes) == len(values) == len(node):
        raise ValueError(
            f"values and node must have the {len(codes)} rows of codes; got "
            f"{len(values)} and {len(node)}"
        )
    check.size("n_nodes", n_nodes, 1)
    check.size("n_bins", n_bins, 1)
    if values.dtype not in (jnp.float32, jnp.float64):
        fast = False
    if fast is None:
        fast = native.enabled("histogram")
    return _histogram(codes, values, node, n_nodes, n_bins, fast)


@functools.partial(jax.jit, static_argnames=("n_nodes", "n_bins", "fast"))
def _histogram(codes, values, node, n_nodes, n_bins, fast):
    def whole(codes, values, node):
        def fallback(codes, values, node):
            return (_scatter(codes, values, node, n_nodes, n_bins),)

        if not fast:
            return fallback(codes, values, node)
        sizes = (n_nodes, codes.shape[1], n_bins, values.shape[1])
        shape = jax.ShapeDtypeStruct(sizes, values.dtype)
        name = f"histogram_{values.dtype.name}"
        return native.call("histogram", name, fallback, [shape], codes, values, node)

    def local(axis, *shards):
        return (jax.lax.psum(whole(*shards)[0], axis),)

    run = partition.by_rows(whole, local, (0, 0, 0), (None,))
    arrays = jax.lax.stop_gradient((codes, values, node.astype(jnp.int32)))
    return run(*arrays)[0]


def _scatter(codes, values, node, n_nodes, n_bins):
    """One scatter for each feature in turn: several at once are slower on a CPU."""
    size = n_nodes * n_bins
    counts = (node >= 0) & (node < n_nodes)

    def one(code):
        code = code.astype(jnp.int32)
        place = jnp.where(counts & (code < n_bins), node * n_bins + code, size)
        start = jnp.zeros((size + 1, values.shape[1]), values.dtype)
        return start.at[place].add(values, mode="promise_in_bounds")[:-1]

    sums = jax.lax.map(one, codes.T)
    sums = sums.reshape(codes.shape[1], n_nodes, n_bins, values.shape[1])
    return sums.swapaxes(0, 1)


def prefix(sums: Float[Array, "*m b c"]) -> Float[Array, "*m b c"]:
    """Sums over the bins up to each one, that one included.

    Args:
        sums: a histogram, or one that was made of it.

    >>> prefix(jnp.array([[1.0], [2.0], [4.0]]))[:, 0].tolist()
    [1.0, 3.0, 7.0]
    """
    *lead, size, last = sums.shape
    blocks = -(-size // _BLOCK)
    pad = [(0, 0)] * len(lead) + [(0, blocks * _BLOCK - size), (0, 0)]
    cut = jnp.pad(sums, pad).reshape(*lead, blocks, _BLOCK, last)
    within = jnp.einsum(
        "ij,...bjc->...bic",
        jnp.tril(jnp.ones((_BLOCK, _BLOCK), sums.dtype)),
        cut,
        precision="highest",
    )
    before = jnp.einsum(
        "ij,...jc->...ic",
        jnp.tril(jnp.ones((blocks, blocks), sums.dtype), -1),
        within[..., -1, :],
        precision="highest",
    )
    whole = (within + before[..., None, :]).reshape(*lead, blocks * _BLOCK, last)
    return whole[..., :size, :]


def argmax(x: Float[Array, "*m k"]) -> Int[Array, "*m"]:
    """The first place of the largest number along the last axis; 0 if one is NaN.

    Two reductions: several times faster than `jnp.argmax` on a CPU.

    >>> argmax(jnp.array([1.0, 5.0, 5.0]))
    Array(1, dtype=int32)
    """
    size = x.shape[-1]
    top = x.max(-1, keepdims=True)
    place = jax.lax.broadcasted_iota(jnp.int32, x.shape, x.ndim - 1)
    found = jnp.where(x == top, place, size).min(-1)
    return jnp.where(found == size, 0, found)
