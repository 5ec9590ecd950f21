"""Growth of the trees of one boosting iteration over binned rows.

    recipe = Recipe(leaves=31, depth=None, missing=255, native=native.enabled("boost"))
    table = Table(codes, codes.T, used, kind, monotone, groups)
    grown = grow(recipe, table, gradient, hessian, bag, allowed, seeds, numbers)

The leaf whose split gains the most is split next, until there are `leaves` of them. The
value of a leaf is -S(G) / (H + l2), with sums G of gradients and H of hessians over its
rows and S(G) = sign(G) max(|G| - l1, 0); a split gains what it takes from the sum of
-S(G)^2 / (H + l2) over leaves. Of splits whose gains are equal to rounding the lowest
feature wins, then the lowest bin, then missing values that go right.

Two programs: a C++ kernel for a CPU, and one in XLA that passes over all rows for each
split; with an `axis` it sums histograms over the devices that share the rows. Both sum
integers, in a unit below the precision of the gradients; so trees do not depend on the
order of the rows, or on the number of threads and devices.

Letters: n rows, d features, q groups of features, k trees, m = 2 leaves - 1 nodes,
c cells of a feature (bins, and one for missing values).

References:
    Chen and Guestrin, 2016. XGBoost: a scalable tree boosting system. arXiv:1603.02754.
    Ke et al., 2017. LightGBM: a highly efficient gradient boosting decision tree.
    Fisher, 1958. On grouping for maximum homogeneity.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt8, UInt32

from jaxml.models.classical import boosting_nodes as nodes_of
from jaxml.models.classical import boosting_splits as splits
from jaxml.models.classical.boosting_splits import words
from jaxml.ops import native, partition

__all__ = [
    "CATEGORICAL",
    "MISSING",
    "Grown",
    "Numbers",
    "Recipe",
    "Table",
    "grow",
    "shapes",
    "words",
]

CATEGORICAL, MISSING = 1, 2  # bits of `Table.kind`


class Recipe(NamedTuple):
    """What is static."""

    leaves: int
    depth: int | None
    missing: int  # code of a missing value
    words: int  # 32-bit words in a set of categories; 0: no categories
    native: bool  # whether a CPU runs the kernel


class Numbers(NamedTuple):
    """What may be tuned under vmap."""

    l1: float | Float[Array, ""]
    l2: float | Float[Array, ""]
    min_child_weight: float | Float[Array, ""]  # sum of hessians
    min_samples_leaf: float | Float[Array, ""]  # rows
    min_gain: float | Float[Array, ""]
    max_step: float | Float[Array, ""]  # largest size of a leaf's value
    max_features: float | Float[Array, ""]  # share of features that a node looks at
    smooth: float | Float[Array, ""]  # of categories, and fewest rows of one


class Table(NamedTuple):
    """Binned rows, and what is known of the features."""

    codes: UInt8[Array, "n s"]  # s >= d: what is beyond d is not read
    columns: UInt8[Array, "d n"]  # the same, feature by feature
    used: Int[Array, "d"]  # bins or categories from 0 that occur
    kind: Int[Array, "d"]  # CATEGORICAL, MISSING: the sum of those that hold
    monotone: Int[Array, "d"]  # 1, 0, -1
    groups: Bool[Array, "q d"]  # features that may meet on a path; q = 0: all


class Grown(NamedTuple):
    """Trees, in depth-first order of their nodes, and where they lead the rows."""

    left: Int[Array, "k m"]  # -1 at a leaf
    right: Int[Array, "k m"]
    feature: Int[Array, "k m"]  # -2 at a leaf
    bin: Int[Array, "k m"]  # the last one that goes left; -2 at a leaf
    missing_left: Bool[Array, "k m"]
    categorical: Bool[Array, "k m"]
    categories: UInt32[Array, "k m w"]  # bit c: category c goes left
    value: Float[Array, "k m"]
    loss: Float[Array, "k m"]  # -S(G)^2 / (H + l2), where the value is not bounded
    weight: Float[Array, "k m"]  # sum of hessians
    rows: Int[Array, "k m"]  # rows in the bag
    node_count: Int[Array, "k"]
    leaf: Int[Array, "k n"]  # of every row, in the bag or not


def grow(
    recipe: Recipe,
    table: Table,
    gradient: Float[Array, "k n"],
    hessian: Float[Array, "k n"] | Float[Array, "k 1"],
    bag: Bool[Array, "n"],
    allowed: Bool[Array, "d"],
    seeds: UInt32[Array, "k"],
    numbers: Numbers,
) -> Grown:
    """Grow k trees on the same rows.

    Args:
        recipe: what is static.
        table: the rows.
        gradient: of the loss of each row, times its weight.
        hessian: likewise; one number if it is the same for all rows.
        bag: rows that are learned from; the others only find their leaf.
        allowed: features that may split.
        seeds: of the draws of features in the nodes.
        numbers: when and how much.

    Returns:
        The trees.
    """
    dtype = gradient.dtype
    given = jnp.stack([jnp.asarray(number, dtype) for number in numbers])
    arrays = (*table, gradient, hessian, bag, allowed, seeds, given)
    k, n = gradient.shape
    outputs = shapes(recipe.leaves, recipe.words, k, n, dtype)

    def fallback(*arrays):
        return _grow_in_xla(recipe, None, *arrays)

    def kernel(*arrays):
        one = many((False,) * len(arrays), *arrays)
        return tuple(array[0] for array in one)

    def many(batched, *arrays):
        """Fits side by side: those of `arrays` that differ have a first axis."""
        own = [x if b else x[None] for x, b in zip(arrays, batched, strict=True)]
        fits = max(len(array) for array in own)

        def each(*own):
            def one(i):
                return fallback(*(x[jnp.minimum(i, len(x) - 1)] for x in in_turn(*own)))

            return jax.lax.map(one, jnp.arange(fits))

        return native.call(
            "boost",
            f"boost_{dtype}",
            each,
            [jax.ShapeDtypeStruct((fits, *s.shape), s.dtype) for s in outputs],
            *own[:2],
            *own[6:9],
            *own[2:6],
            *own[9:],
            leaves=recipe.leaves,
            depth=2**30 if recipe.depth is None else recipe.depth,
            missing=recipe.missing,
        )

    def in_turn(codes, columns, g, h, bag, *rest):
        """The order of `arrays`; the kernel has what is large first."""
        return codes, columns, *rest[:4], g, h, bag, *rest[4:]

    wide = None if hessian.shape[1] == 1 and gradient.shape[1] != 1 else 1
    run = partition.by_rows(
        kernel if recipe.native else fallback,
        partial(_grow_in_xla, recipe),
        (0, 1, None, None, None, None, 1, wide, 0, None, None, None),
        (None,) * 12 + (1,),
        many if recipe.native else None,
    )
    return Grown(*run(*map(jax.lax.stop_gradient, arrays)))


def shapes(
    leaves: int, words: int, k: int, n: int, dtype: Any
) -> list[jax.ShapeDtypeStruct]:
    """Of the fields of `Grown`."""
    m = 2 * leaves - 1
    integer, bit, real = jnp.int32, jnp.bool_, dtype
    nodes = [integer] * 4 + [bit] * 2
    more = [real] * 3 + [integer]
    return [
        *(jax.ShapeDtypeStruct((k, m), kind) for kind in nodes),
        jax.ShapeDtypeStruct((k, m, words), jnp.uint32),
        *(jax.ShapeDtypeStruct((k, m), kind) for kind in more),
        jax.ShapeDtypeStruct((k,), integer),
        jax.ShapeDtypeStruct((k, n), integer),
    ]


def _grow_in_xla(recipe, axis, *arrays):
    """What the kernel does: the fields of `Grown`."""
    table, (gradient, hessian, bag, allowed, seeds, given) = (
        Table(*arrays[:6]),
        arrays[6:],
    )
    hessian = jnp.broadcast_to(hessian, gradient.shape)
    numbers = Numbers(*given)

    def one(inputs):
        gradient, hessian, seed = inputs
        return _tree(
            recipe, axis, table, gradient, hessian, bag, allowed, seed, numbers
        )

    return jax.lax.map(one, (gradient, hessian, seeds))


def _tree(recipe, axis, table, gradient, hessian, bag, allowed, seed, numbers):
    n, (d, q) = len(bag), table.groups.shape[::-1]
    m, cells = 2 * recipe.leaves - 1, recipe.missing + 1
    payload, units = splits.counted(gradient, hessian, bag, axis)

    def histogram(node, pair):
        """[2, d, cells, 5] of the rows of two nodes."""
        part = jnp.where(node == pair[0], 0, jnp.where(node == pair[1], 1, 2))
        base = jnp.where(bag, part, 2) * cells

        def one(column):
            table = jnp.zeros((3 * cells, 5), payload.dtype)
            where = base + column.astype(jnp.int32)
            return table.at[where].add(payload, mode="promise_in_bounds")

        found = jax.lax.map(one, table.columns)[:, : 2 * cells]
        found = found.reshape(d, 2, cells, 5).swapaxes(0, 1)
        return found if axis is None else jax.lax.psum(found, axis)

    def look(nodes, pair, counts):
        """The best splits of two nodes."""
        pairs = jax.tree.map(lambda leaf: leaf[pair], nodes._replace(split=None))
        may = splits.features(
            allowed, table.groups, pairs.groups, pairs.path, numbers.max_features
        )
        found = splits.best(recipe, table, numbers, units, counts, pairs, may)
        deep = recipe.depth is not None and recipe.depth < m
        if deep:
            low = pairs.depth >= recipe.depth
            found = found._replace(gain=jnp.where(low, -jnp.inf, found.gain))
        split = jax.tree.map(lambda a, b: a.at[pair].set(b), nodes.split, found)
        return nodes._replace(split=split)

    def step(state):
        nodes, node, count, pair, _ = state
        nodes = look(nodes, pair, histogram(node, pair))
        here = splits.first_of_largest(nodes.split.gain)
        goes = nodes.split.gain[here] > -jnp.inf
        pair = jnp.stack([count, count + 1])
        split = jax.tree.map(lambda leaf: leaf[here], nodes.split)
        fresh = nodes_of.children(nodes, here, pair, split, table, numbers, units)
        nodes = jax.tree.map(lambda a, b: jnp.where(goes, a, b), fresh, nodes)
        code = jax.lax.dynamic_index_in_dim(table.columns, split.feature, 0, False)
        left = nodes.split.cells[here, code.astype(jnp.int32)]
        child = jnp.where(left, pair[0], pair[1])
        node = jnp.where(goes & (node == here), child, node)
        count = count + jnp.where(goes, 2, 0)
        return nodes, node, count, pair, goes & (count < m)

    # The rows of a device are not all rows.
    sums = payload.sum(0) if axis is None else jax.lax.psum(payload.sum(0), axis)
    nodes = nodes_of.root(m, q, cells, sums, seed, numbers, units)
    # The root has no sibling: what is found of node m falls away.
    pair, node = jnp.array([0, m]), jnp.zeros(n, jnp.int32)
    state = (nodes, node, jnp.array(1), pair, jnp.array(m > 1))
    nodes, node, count, *_ = jax.lax.while_loop(lambda state: state[-1], step, state)
    return nodes_of.number(recipe, table, numbers, units, nodes, node, count)
