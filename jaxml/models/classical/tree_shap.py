"""Exact Shapley values of the features for the predictions of trees (TreeSHAP).

values = tree_shap.values(model.trees, x)        # [n, d, k]
start = tree_shap.expected_value(model.trees)    # [k]
# start + values.sum(1) is jaxml.ops.trees.sum_values(model.trees, x)

Path-dependent: where a feature is unknown, a row goes both ways of a split, with the
shares of the training rows that did. A leaf's value v is then reached to the extent of
Π_i g_i, where of all splits on its path by feature i the known row passes all (o_i = 1)
or not (o_i = 0), and the share z_i of the training rows does. The Shapley value is
                               1
    φ_i = Σ_leaf v (o_i - z_i) ∫ Π_{j≠i} (o_j t + z_j (1 - t)) dt
                               0
since ∫ t^a (1 - t)^b dt are the weights a! b! / (a + b + 1)! of Shapley. A quadrature
of Gauss and Legendre with half as many points as features is exact; nothing cancels.

Letters: n rows, d features, t trees, m nodes, l leaves, s features on a path,
k outputs.

References:
    Lundberg, Erion and Lee, 2018. Consistent individualized feature attribution for
        tree ensembles. arXiv:1802.03888.
    Mitchell, Frank and Holmes, 2022. GPUTreeShap: massively parallel exact calculation
        of SHAP scores for tree ensembles. PeerJ Computer Science 8. (paths as arrays)
    Grabisch and Roubens, 1999. An axiomatic approach to the concept of interaction
        among players in cooperative games. (interactions)
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxml.models.classical import tree_shap_paths
from jaxml.ops import check, native, trees_kernel
from jaxml.ops import trees as tree_ops
from jaxml.ops.trees import Nodes, Trees

__all__ = ["expected_value", "interactions", "values"]

ELEMENTS = 1 << 24  # that one step of the XLA form may hold


def values(
    trees: Trees, x: Float[Array, "n d"], *, max_depth: int | None = None
) -> Float[Array, "n d k"]:
    """Share out the prediction of each row among its features.

    Args:
        trees: one tree, or trees whose sum over the first axis is the prediction, as in
            `jaxml.ops.trees.sum_values`. `weighted_n_node_samples` are the weights of
            the training rows in each node.
        x: rows, with NaN where a value is missing.
        max_depth: no tree is deeper. It saves memory and time where there is no kernel.

    Returns:
        Shapley values, for each column of `sum_values`. They sum over the features to
        the prediction less `expected_value`.

    Raises:
        ValueError: if `x` is not [n, d] or `max_depth` is negative.
    """
    check.rows(x)
    slots = _slots(trees, x.shape[1], max_depth)
    return _values(trees, x, slots, native.enabled("trees_shap"))


def interactions(
    trees: Trees, x: Float[Array, "n d"], *, max_depth: int | None = None
) -> Float[Array, "n d d k"]:
    """Share out the prediction of each row among pairs of its features.

    Args:
        trees: as for `values`.
        x: rows, with NaN where a value is missing.
        max_depth: as for `values`.

    Returns:
        Shapley interaction values, symmetric; the diagonal holds what a feature does
        alone. They sum over one axis to `values`.

    Raises:
        ValueError: if `x` is not [n, d] or `max_depth` is negative.
    """
    check.rows(x)
    return _interactions(trees, x, _slots(trees, x.shape[1], max_depth))


@jax.jit
def expected_value(trees: Trees) -> Float[Array, "k"]:
    """What the trees predict on average over the training rows, for rows unknown."""
    flat, _ = tree_ops.flatten(trees, jnp.zeros((1, 1), trees.threshold.dtype))
    count, m = flat.feature.shape
    cover = trees.weighted_n_node_samples.reshape(count, m).astype(flat.value.dtype)
    above, share = jax.lax.map(lambda tree: tree_shap_paths.edges(*tree), (flat, cover))
    # The product of the shares up to the root: each round doubles the reach.
    for _ in range(m.bit_length()):
        share = share * jnp.take_along_axis(share, above, 1)
        above = jnp.take_along_axis(above, above, 1)
    used = jnp.arange(m)[None] < trees.node_count.reshape(count, 1)
    reached = jnp.where(used & (flat.children_left < 0), share, 0)
    mean = jnp.where(reached[..., None] > 0, reached[..., None] * flat.value, 0).sum(1)
    columns = math.prod(trees.node_count.shape[1:])
    return mean.reshape(-1, columns * mean.shape[-1]).sum(0)


def _slots(trees, d, max_depth):
    """How many features a path can have."""
    most = (trees.children_left.shape[-1] - 1) // 2
    if max_depth is not None:
        check.size("max_depth", max_depth, 0)
        most = min(most, max_depth)
    return max(1, min(most, d))


@functools.partial(jax.jit, static_argnames=("slots", "kernel"))
def _values(trees, x, slots, kernel):
    flat, x = tree_ops.flatten(trees, x)
    cover = trees.weighted_n_node_samples.reshape(flat.feature.shape).astype(x.dtype)
    columns = math.prod(trees.node_count.shape[1:])
    width, d = columns * trees.value.shape[-1], x.shape[1]

    def fallback(*arrays):
        *nodes, cover, x = arrays
        return (_share_out(Nodes(*nodes), cover, x, columns, slots, False),)

    def shapes(n):
        return (jax.ShapeDtypeStruct((n, d, width), x.dtype),)

    if kernel:
        found = trees_kernel.call(
            "trees_shap",
            "trees_shap",
            fallback,
            shapes,
            *flat,
            cover,
            x,
            columns=columns,
        )
    else:
        found = fallback(*flat, cover, x)
    return found[0].astype(trees.value.dtype)


@functools.partial(jax.jit, static_argnames=("slots",))
def _interactions(trees, x, slots):
    flat, x = tree_ops.flatten(trees, x)
    cover = trees.weighted_n_node_samples.reshape(flat.feature.shape).astype(x.dtype)
    columns = math.prod(trees.node_count.shape[1:])
    pairs = _share_out(flat, cover, x, columns, slots, True)
    alone = _share_out(flat, cover, x, columns, slots, False) - pairs.sum(2)
    d = x.shape[1]
    found = pairs + alone[:, :, None] * jnp.eye(d, dtype=x.dtype)[None, ..., None]
    return found.astype(trees.value.dtype)


def _share_out(nodes, cover, x, columns, slots, pairs):
    """Values [n, d, columns k], or those of pairs of features [n, d, d, columns k]."""
    d, n = x.shape[1], len(x)
    shape = (d, d) if pairs else (d,)
    columns_of_x = jax.lax.stop_gradient(x).T

    def one(tree):
        nodes, cover = tree
        return _of_tree(nodes, cover, columns_of_x, slots, pairs)

    def add(total, block):
        return total + jax.lax.map(one, block), None

    stacked = jax.tree.map(
        lambda leaf: leaf.reshape(len(leaf) // columns, columns, *leaf.shape[1:]),
        (nodes, cover),
    )
    start = jnp.zeros((columns, math.prod(shape), n, nodes.value.shape[-1]), x.dtype)
    total, _ = jax.lax.scan(add, start, stacked)
    return jnp.moveaxis(total, (2, 1), (0, 1)).reshape(n, *shape, -1)


def _of_tree(nodes, cover, x, slots, pairs):
    """Shares [d or d d, n, k] of the rows `x` [d, n] in one tree."""
    d, n = x.shape
    paths = tree_shap_paths.paths(nodes, cover, slots)
    size = slots * slots if pairs else slots
    leaves = len(paths.value)
    step = max(1, min(leaves, ELEMENTS // (n * size)))
    paths = jax.tree.map(
        lambda leaf: jnp.concatenate([leaf, leaf[: -leaves % step]]), paths
    )
    real = jnp.arange(len(paths.value)) < leaves
    value = jnp.where(real[:, None], paths.value, 0)
    paths = paths._replace(value=value)
    blocks = jax.tree.map(
        lambda leaf: leaf.reshape(len(leaf) // step, step, *leaf.shape[1:]), paths
    )

    def add(total, block):
        share = _of_paths(block, x, pairs)  # [l, s (, s), n]
        weighed = share[..., None] * jnp.expand_dims(
            block.value, (1, 2, 3)[: share.ndim - 1]
        )
        feature = jnp.maximum(block.feature, 0)
        if pairs:
            feature = feature[:, :, None] * d + feature[:, None, :]
        found = jax.ops.segment_sum(
            weighed.reshape(-1, n, weighed.shape[-1]), feature.reshape(-1), len(total)
        )
        return total + found, None

    start = jnp.zeros((d * d if pairs else d, n, nodes.value.shape[-1]), x.dtype)
    return jax.lax.scan(add, start, blocks)[0]


def _of_paths(paths, x, pairs):
    """What each feature of a path, or pair of them, has of a leaf of value 1."""
    slots = paths.feature.shape[1]
    one = tree_shap_paths.passes(paths, x).astype(x.dtype)
    share = jnp.broadcast_to(paths.share[..., None], one.shape)
    points, weights = np.polynomial.legendre.leggauss((slots + 1) // 2)

    def add(total, rule):
        t, weight = rule
        factor = one * t + share * (1 - t)
        product = weight * factor.prod(1, keepdims=True)
        rate = jnp.where(
            factor > 0, (one - share) / jnp.where(factor > 0, factor, 1), 0
        )
        found = product * rate
        if pairs:
            found = found[:, :, None] * rate[:, None]
        return total + found, None

    rule = jnp.asarray((points + 1) / 2, x.dtype), jnp.asarray(weights / 2, x.dtype)
    shape = (len(one), slots, *one.shape[1:]) if pairs else one.shape
    total, _ = jax.lax.scan(add, jnp.zeros(shape, x.dtype), rule)
    if not pairs:
        return total
    off = ~jnp.eye(slots, dtype=bool)[None, ..., None]
    return jnp.where(off, 0.5 * total, 0)
