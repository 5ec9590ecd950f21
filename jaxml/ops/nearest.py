"""The k nearest rows, exactly, in memory bounded by a block of queries.

found = nearest.k_nearest(queries, x, k=5)
found.distances, found.indices                            # [m, 5], nearest first
counts = nearest.by_blocks(lambda q: (pairwise(q, x) < 1).sum(1), queries, len(x))

Letters: m queries, n points, d features, k neighbours, G groups of points.

Of a block of queries the distances to all points stay in the cache. On a CPU with a C++
compiler a kernel reads them once (`select.cc`); elsewhere the k smallest are sought in
the k groups of least minimum, so only k n / G numbers of n go through `top_k`. In the
metrics that a matmul gives, that matmul only proposes k and some more candidates, whose
distances are then computed from differences and sorted anew.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from jaxml.ops import check, distance, native

__all__ = ["Nearest", "by_blocks", "k_nearest", "k_smallest"]

# Up to this many features the differences are as cheap as the matmul, and exact.
_FEW_FEATURES = 8


class Nearest(NamedTuple):
    """The nearest points of each query."""

    distances: Float[Array, "m k"]  # ascending; infinite where no point is left
    indices: Int[Array, "m k"]  # of the point; ties go to the lower one


def k_nearest(
    queries: Float[Array, "m d"],
    x: Float[Array, "n d"],
    *,
    k: int,
    metric: distance.Metric = "euclidean",
    p: float = 2.0,
    present: Bool[Array, "n"] | None = None,
    block: int | None = None,
) -> Nearest:
    """Find the `k` rows of `x` nearest to each query.

    Distances are differentiable in `queries` and `x`; which rows are nearest is not.

    Args:
        queries: points to search for.
        x: points to search among.
        k: number of neighbours, from 1 to n.
        metric: see `jaxml.ops.distance`. With more than 8 features "euclidean",
            "sqeuclidean" and "cosine" propose candidates by a matmul, whose error is
            about the machine epsilon times the squared radius of the cloud: clusters
            a thousand times further apart than neighbours are ask for float64.
        p: power of "minkowski", above 0.
        present: False for a row that is nobody's neighbour. Default: all True.
        block: queries whose n distances are in memory at a time. Default: as the cache
            of the device suggests.

    Returns:
        Distances and indices, nearest first.

    Raises:
        ValueError: if `k` is not from 1 to n, or the metric is unknown.

    >>> k_nearest(jnp.array([[1.9]]), jnp.array([[0.0], [2.0], [5.0]]), k=2).indices
    Array([[1, 0]], dtype=int32)
    """
    metric = distance.resolve(metric, p)
    check.size("k", k, 1, len(x))
    return _k_nearest(
        queries,
        x,
        present,
        k=k,
        metric=metric,
        p=p,
        block=block,
        kernel=native.enabled("select"),
    )


@partial(jax.jit, static_argnames=("k", "metric", "p", "block", "kernel"))
def _k_nearest(queries, x, present, *, k, metric, p, block, kernel):
    n = len(x)
    if present is not None:
        x = jnp.where(present[:, None], x, 0)  # a row that is absent may hold NaN
    # The proposal rounds: some candidates beyond k, so that none of the k is missed.
    candidates = min(n, k + max(4, k // 4))
    padding = 0  # once here, and not the distances of every block
    if kernel:
        # Below 64 queries the matmul costs more than what leaves the cache.
        block = max(64, _block(n, most=256)) if block is None else block
    else:
        padding = -n % _groups(n, candidates)
    propose = _proposer(lax.stop_gradient(x), metric, p, present, padding)

    def search(block_queries):
        # The barrier: the distances are read twice, and must not be computed twice.
        values = lax.optimization_barrier(propose(lax.stop_gradient(block_queries)))
        smallest = _select if kernel else k_smallest
        return smallest(values, candidates).astype(jnp.int32)

    # In the order of the rows, so that the lower of equal distances comes first.
    index = jnp.sort(by_blocks(search, queries, n, block=block), axis=1)
    exact = partial(distance.paired, metric=metric, p=p)
    found = exact(queries[:, None], x[index])
    if present is not None:
        found = jnp.where(present[index], found, jnp.inf)
    _, order = lax.top_k(-lax.stop_gradient(found), k)
    return Nearest(
        jnp.take_along_axis(found, order, 1), jnp.take_along_axis(index, order, 1)
    )


def by_blocks(
    function: Callable[[Array], Any],
    queries: Float[Array, "m d"],
    n: int,
    *,
    block: int | None = None,
) -> Any:
    """Apply a function of queries block by block, and join the rows of the results.

    Args:
        function: takes queries [block, d], returns arrays whose first axis is block.
        queries: all of them.
        n: numbers that the function holds for each query, to choose the block.
        block: queries at a time. Default: by `n`.

    Returns:
        What the function returns, with first axis m.
    """
    m, d = queries.shape
    size = min(m, _block(n) if block is None else block)
    if size == m:
        return function(queries)
    blocks = -(-m // size)
    padded = jnp.pad(queries, ((0, blocks * size - m), (0, 0)))
    result = lax.map(function, padded.reshape(blocks, size, d))
    return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[:m], result)


def k_smallest(values: Float[Array, "b n"], k: int) -> Int[Array, "b k"]:
    """Indices of the `k` smallest numbers of each row; ties go to the lower index.

    Exact: if a number were among the k smallest but its group not among the k groups
    of least minimum, each of those k groups would hold a smaller one (or an equal one
    of lower index, since groups are runs of neighbours).

    Args:
        values: numbers.
        k: how many, from 1 to n.

    >>> k_smallest(jnp.array([[3.0, 1.0, 1.0, 0.0]]), 3)
    Array([[3, 1, 2]], dtype=int32)
    """
    rows, n = values.shape
    groups = _groups(n, k)
    if groups == 1:
        return lax.top_k(-values, k)[1]
    length = -(-n // groups)
    padding = ((0, 0), (0, groups * length - n))
    runs = jnp.pad(values, padding, constant_values=jnp.inf)
    runs = runs.reshape(rows, groups, length)
    _, best = lax.top_k(-runs.min(2), k)
    best = jnp.sort(best, axis=1)  # so that equal values keep the order of the indices
    kept = jnp.take_along_axis(runs, best[:, :, None], 1).reshape(rows, k * length)
    _, place = lax.top_k(-kept, k)
    return jnp.take_along_axis(best, place // length, 1) * length + place % length


def _select(values, k):
    """`k_smallest` by the kernel."""
    shape = jax.ShapeDtypeStruct((len(values), k), jnp.int32)

    def fallback(values):
        return (k_smallest(values, k).astype(jnp.int32),)

    return native.call("select", f"select_{values.dtype}", fallback, [shape], values)[0]


def _proposer(
    x: Array, metric: distance.Metric, p: float, present: Array | None, padding: int
) -> Callable[[Array], Array]:
    """A function from queries to what orders the rows of `x`; infinite where absent.

    After the rows come `padding` absent ones.
    """
    middle = distance.origin(x, present)
    if padding:
        present = jnp.ones(len(x), bool) if present is None else present
        present = jnp.pad(present, (0, padding))
        x = jnp.pad(x, ((0, padding), (0, 0)))
    offset = None if present is None else jnp.where(present, 0, jnp.inf).astype(x.dtype)
    matmul = metric in ("euclidean", "sqeuclidean", "cosine")
    if not matmul or x.shape[1] <= _FEW_FEATURES:
        # The root of the sum does not change the order.
        cheap = "sqeuclidean" if metric == "euclidean" else metric

        def differences(queries):
            found = distance.pairwise(queries, x, metric=cheap, p=p)
            return found if offset is None else found + offset[None]

        return differences
    moved = x - middle if metric != "cosine" else distance.unit(x)
    half = (moved**2).sum(1) / 2 if metric != "cosine" else jnp.zeros(len(x), x.dtype)
    if present is not None:
        # Not infinity, which a device that splits numbers for a matmul makes NaN.
        half = jnp.where(present, half, jnp.finfo(x.dtype).max / 4)
    # |q - x|² / 2 without |q|², which is the same for all x: one product with one more
    # column, and no second pass over the distances.
    table = jnp.concatenate([-moved, half[:, None]], 1)

    def products(queries):
        queries = distance.unit(queries) if metric == "cosine" else queries - middle
        one = jnp.ones((len(queries), 1), queries.dtype)
        queries = jnp.concatenate([queries, one], 1)
        return jnp.matmul(queries, table.T, precision=lax.Precision.HIGHEST)

    return products


def _groups(n: int, k: int) -> int:
    """Into how many groups the k smallest of n numbers are sought; 1: not in groups."""
    groups = 256 if n < 2**13 else 512 if n < 2**16 else 1024
    return 1 if n < 4 * groups or 4 * k > groups else groups


def _block(n: int, most: int = 64) -> int:
    """Queries whose distances to n points fill the cache, a power of 2."""
    numbers = 2**21 if jax.default_backend() == "cpu" else 2**26
    size = max(16, min(numbers // n, most if numbers == 2**21 else 1024))
    return 2 ** (size.bit_length() - 1)
