"""Minimal cost-complexity pruning: a branch must pay for each of its leaves.

    pruned = cart_prune.prune(trees, 0.01)
    steps = cart_prune.path(tree)                    # one tree

The cost of a tree is the impurity of its leaves, each by its share of the rows, plus
ccp_alpha for every leaf; pruning finds the smallest of the cheapest subtrees.

Letters: t trees, m nodes, p splits and one.

References:
    Breiman, Friedman, Olshen and Stone, 1984. Classification and regression trees,
    chapter 3.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxml.models.classical import tree_paths
from jaxml.ops import trees_order
from jaxml.ops.trees import Trees

__all__ = ["Path", "path", "prune"]


class Path(NamedTuple):
    """The subtrees that are the cheapest for some ccp_alpha, from the whole tree on."""

    ccp_alphas: Float[Array, "p"]  # from which on each is; inf from `n_steps` on
    impurities: Float[Array, "p"]  # of the leaves of each; that of the root from there
    n_steps: Int[Array, ""]


def prune(trees: Trees, ccp_alpha: float | Float[Array, ""]) -> Trees:
    """Take away the branches that do not pay.

    Args:
        trees: one tree, or many with leading axes; impurity and weights as `cart.grow`
            gives them.
        ccp_alpha: cost of a leaf, at least 0. At 0 nothing is pruned.

    >>> from jaxml.models.classical import tree_regressor
    >>> x = jnp.arange(4.0)[:, None]
    >>> tree = tree_regressor.fit(x, jnp.array([0.0, 0.1, 1.0, 1.1])).tree
    >>> tree.node_count.item(), prune(tree, 0.01).node_count.item()
    (7, 3)
    """
    alpha = jnp.asarray(ccp_alpha, trees.impurity.dtype)
    shape, count = trees.node_count.shape, trees.node_count.size
    flat = jax.tree.map(lambda a: a.reshape(count, *a.shape[len(shape) :]), trees)
    depth = tree_paths.node_depth(flat)

    def run(flat, depth):
        return jax.lax.map(lambda pair: _prune_one(alpha, *pair), (flat, depth))

    pruned = jax.lax.cond(alpha > 0, run, lambda flat, _: flat, flat, depth)
    return jax.tree.map(lambda a: a.reshape(*shape, *a.shape[1:]), pruned)


def _costs(tree):
    """Impurity of each node by its share of the weight."""
    weight = tree.weighted_n_node_samples
    return jnp.where(weight > 0, tree.impurity * weight / weight[0], 0)


def _prune_one(alpha, tree, depth):
    cost = _costs(tree)
    inner = tree.children_left >= 0
    left, right = (jnp.maximum(c, 0) for c in tree[:2])
    slack = 4 * jnp.finfo(cost.dtype).eps * cost[0]

    def best(_, carry):
        cheapest, keeps = carry
        below = cheapest[left] + cheapest[right]
        keeps = inner & (below + slack < cost + alpha)
        return jnp.where(keeps, below, cost + alpha), keeps

    deepest = depth.max()
    start = (cost + alpha, jnp.zeros_like(inner))
    _, keeps = jax.lax.fori_loop(0, deepest, best, start)

    def reach(_, alive):
        here = alive & keeps
        alive = alive.at[left].max(here)
        return alive.at[right].max(here)

    alive = jnp.zeros_like(inner).at[0].set(True)
    alive = jax.lax.fori_loop(0, deepest, reach, alive)
    return _only(tree, alive, keeps)


def _only(tree, alive, keeps):
    """The nodes that are alive, leaves where they do not keep their branches."""
    m = len(alive)
    place = jnp.cumsum(alive, dtype=jnp.int32) - 1  # the order stays depth first

    def child(array):
        return jnp.where(keeps, place[jnp.maximum(array, 0)], -1)

    fresh = tree._replace(
        children_left=child(tree.children_left),
        children_right=child(tree.children_right),
        feature=jnp.where(keeps, tree.feature, -2),
        threshold=jnp.where(
            keeps, tree.threshold, jnp.asarray(-2, tree.threshold.dtype)
        ),
        missing_go_to_left=tree.missing_go_to_left & keeps,
        categorical=tree.categorical & keeps,
        other_go_to_left=tree.other_go_to_left & keeps,
    )
    empty = (-1, -1, -2, -2, False, False, 0, False, 0, 0, 0, 0, 0)

    def moved(array, empty):
        if not array.ndim:
            return alive.sum(dtype=array.dtype)
        out = jnp.full(array.shape, empty, array.dtype)
        return out.at[jnp.where(alive, place, m)].set(array, mode="drop")

    return Trees(*map(moved, fresh, empty))


@jax.jit
def path(tree: Trees) -> Path:
    """Prune one branch after another, the one that pays least first.

    Args:
        tree: one tree.

    Returns:
        The steps, as scikit-learn's `cost_complexity_pruning_path`: the first is the
        whole tree, at 0; after `n_steps` of them only the root is left.
    """
    cost = _costs(tree)
    m = len(cost)
    index = jnp.arange(m)
    last = trees_order.last_below(tree.children_right)
    used = index < tree.node_count
    leaf = used & (tree.children_left < 0)
    # Sums over the leaves at or below each node, which are i to last[i].
    leaves = jnp.cumsum(leaf) - leaf
    leaves = leaves[last] + leaf[last] - leaves
    sums = jnp.cumsum(jnp.where(leaf, cost, 0))
    branch = sums[last] - sums + jnp.where(leaf, cost, 0)
    size = (m - 1) // 2 + 1
    alphas = jnp.full(size, jnp.inf, cost.dtype).at[0].set(0)
    impurities = jnp.full(size, cost[0], cost.dtype).at[0].set(branch[0])

    def going(carry):
        return carry[0][0] & (carry[-1] < size)

    def step(carry):
        inner, branch, leaves, alphas, impurities, count = carry
        price = (cost - branch) / jnp.maximum(leaves - 1, 1)
        price = jnp.where(inner, price, jnp.inf)
        least = price.min()
        node = jnp.where(inner & (price == least), index, m - 1).min()
        above = (index <= node) & (node <= last)
        change = cost[node] - branch[node]
        gone = leaves[node] - 1
        branch = jnp.where(above, branch + change, branch)
        leaves = jnp.where(above, leaves - gone, leaves)
        inner &= (index < node) | (index > last[node])
        alphas = alphas.at[count].set(least)
        impurities = impurities.at[count].set(branch[0])
        return inner, branch, leaves, alphas, impurities, count + 1

    start = (used & ~leaf, branch, leaves, alphas, impurities, jnp.ones((), jnp.int32))
    _, _, _, alphas, impurities, count = jax.lax.while_loop(going, step, start)
    return Path(alphas, impurities, count)
