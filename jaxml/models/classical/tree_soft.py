"""Trees whose splits are soft: differentiable in the rows, thresholds and values.

y = tree_soft.sum_values(trees, x, temperature=0.1)       # [n, k]
slope = jax.grad(lambda x: tree_soft.sum_values(trees, x, temperature=0.1)[0, 0])(x)

A row goes left with the chance σ((threshold - x) / temperature), and is in a leaf with
the product of the chances on the way. As the temperature tends to 0 this tends to the
hard prediction, `jaxml.ops.trees.sum_values`, but where x is a threshold. Missing
values and categories take their side for certain.

Letters: n rows, d features, t trees, m nodes, k outputs.

References:
    Jordan and Jacobs, 1994. Hierarchical mixtures of experts and the EM algorithm.
        Neural Computation 6(2).
"""

import functools
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxml.ops import check, trees_order
from jaxml.ops import trees as tree_ops
from jaxml.ops.trees import Trees

__all__ = ["leaf_chances", "sum_values"]


def sum_values(
    trees: Trees,
    x: Float[Array, "n d"],
    *,
    temperature: float | Float[Array, ""] | Float[Array, "d"],
) -> Float[Array, "n k"]:
    """Sum the expected values of soft trees.

    Args:
        trees: one tree, or trees of which the first axis is summed: as
            `jaxml.ops.trees.sum_values`.
        x: rows, with NaN where a value is missing.
        temperature: width of the splits in the unit of x, for all features or for each;
            0 is hard.

    Returns:
        The columns of `jaxml.ops.trees.sum_values`.

    Raises:
        ValueError: if `x` is not [n, d] or `temperature` is negative.
    """
    return _sum_values(trees, x, _door(x, temperature))


def leaf_chances(
    trees: Trees,
    x: Float[Array, "n d"],
    *,
    temperature: float | Float[Array, ""] | Float[Array, "d"],
) -> Float[Array, "n *t m"]:
    """Chance of each row to end in each leaf; 0 at the other nodes.

    Args:
        trees: trees.
        x: rows, with NaN where a value is missing.
        temperature: as for `sum_values`.

    Raises:
        ValueError: if `x` is not [n, d] or `temperature` is negative.
    """
    return _leaf_chances(trees, x, _door(x, temperature))


def _door(x, temperature):
    check.rows(x)
    temperature = jnp.asarray(temperature, x.dtype)
    if temperature.ndim == 0:
        check.at_least("temperature", temperature, 0)
    return jnp.broadcast_to(temperature, x.shape[1:])


@jax.jit
def _leaf_chances(trees, x, temperature):
    flat, rows = tree_ops.flatten(trees, x)
    one = functools.partial(_chances, x=rows.T, temperature=temperature)
    chances = jax.lax.map(one, flat)  # [t, m, n]
    return jnp.moveaxis(chances, -1, 0).reshape(len(x), *trees.children_left.shape)


@jax.jit
def _sum_values(trees, x, temperature):
    flat, rows = tree_ops.flatten(trees, x)
    columns = math.prod(trees.node_count.shape[1:])
    stacked = jax.tree.map(
        lambda leaf: leaf.reshape(len(leaf) // columns, columns, *leaf.shape[1:]), flat
    )

    def one(nodes):
        chances = _chances(nodes, rows.T, temperature)
        return jnp.einsum("mn,mk->nk", chances, nodes.value, precision="highest")

    def add(total, nodes):
        return total + jax.lax.map(one, nodes), None

    start = jnp.zeros((columns, len(x), flat.value.shape[-1]), rows.dtype)
    total, _ = jax.lax.scan(add, start, stacked)
    return jnp.moveaxis(total, 0, 1).reshape(len(x), -1).astype(trees.value.dtype)


def _chances(nodes, x, temperature):
    """[m, n] chances of the rows `x` [d, n] to end in each node of one tree."""
    above = trees_order.parents(nodes.children_left, nodes.children_right)
    m = len(above)
    index = jnp.arange(m, dtype=above.dtype)
    from_left = nodes.children_left[above] == index
    feature = jnp.maximum(nodes.feature[above], 0)
    width = temperature[feature].astype(x.dtype)[:, None]
    value = x[feature]
    # Both sides of a `where` must be finite for its derivative: a NaN is 0 there.
    missing = jnp.isnan(value)
    known = jnp.where(missing, 0, value)
    side = jnp.where(from_left, 1, -1).astype(x.dtype)[:, None]
    room = nodes.threshold[above][:, None] - known
    soft = jax.nn.sigmoid(side * room / jnp.where(width > 0, width, 1))

    def certain(goes_left):
        return (goes_left == from_left[:, None]).astype(x.dtype)

    chance = jnp.where(width > 0, soft, certain(room >= 0))
    if nodes.categories.shape[-1]:
        sets = nodes.categories[above][:, None]
        sets = jnp.broadcast_to(sets, (*value.shape, sets.shape[-1]))
        inside, bit = tree_ops.member(sets, value)
        other = jnp.broadcast_to(nodes.other_go_to_left[above][:, None], bit.shape)
        asks_set = nodes.categorical[above][:, None]
        chance = jnp.where(asks_set, certain(jnp.where(inside, bit, other)), chance)
    missing_left = jnp.broadcast_to(
        nodes.missing_go_to_left[above][:, None], value.shape
    )
    chance = jnp.where(missing, certain(missing_left), chance)
    # A root is reached; what is no node is not.
    top = jnp.where(index == 0, 1, 0).astype(x.dtype)[:, None]
    chance = jnp.where((above == index)[:, None], top, chance)
    for _ in range(m.bit_length()):  # each round doubles the steps that are multiplied
        chance = chance * chance[above]
        above = above[above]
    return jnp.where((nodes.children_left < 0)[:, None], chance, 0)
