"""What random forests and extra trees share: bootstraps, batches of trees, votes.

    plan = forest.Plan(recipe, n_estimators=100, bootstrap=True)
    grove = forest.grow(x, target, weight, None, limits, 0.0, None, key, plan=plan)

A bootstrap is a weight for every row: how often it was drawn. Trees grow in batches
whose weights fit into memory, or side by side on the devices of a mesh, the same trees.

Letters: n rows, d features, t trees, b trees of a batch, m nodes, k numbers in a leaf.

References:
    Breiman, 2001. Random forests. Machine Learning 45.
    Geurts, Ernst and Wehenkel, 2006. Extremely randomized trees. Machine Learning 63.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Bool, Float, Int, Key

from jaxml.models.classical import cart, forest_bootstrap, importance
from jaxml.ops import bins
from jaxml.ops import trees as tree_ops
from jaxml.ops.trees import Trees

__all__ = ["Grove", "Plan", "counted", "grow"]

IN_A_BATCH = 1 << 23  # numbers in the weights [b, n] of a batch


class Plan(NamedTuple):
    """What names a program."""

    recipe: cart.Recipe
    n_estimators: int
    bootstrap: bool
    oob: bool = False  # whether rows are judged by the trees that did not draw them
    balanced: bool = False  # classes weigh the same in every bootstrap
    prunes: bool = False  # whether ccp_alpha may be above 0
    max_bins: int = 255
    mesh: Mesh | None = None  # where the trees lie
    axis: str = "data"  # of the mesh


class Grove(NamedTuple):
    """Trees, and what was learned while they grew."""

    trees: Trees  # leading axis t
    full: Bool[Array, "t"]  # a tree had no room for all its nodes
    feature_importances: Float[Array, "d"]
    oob_sum: Float[Array, "n k"]  # of the values of trees that did not draw the row
    oob_count: Int[Array, "n"]  # how many such trees there are


@partial(jax.jit, static_argnames=("plan",))
def grow(
    x: Float[Array, "n d"],
    target: Int[Array, "n o"] | Float[Array, "n o"],
    weight: Float[Array, "n"] | None,
    limits: cart.Limits,
    ccp_alpha: float | Float[Array, ""],
    max_samples: float | Float[Array, ""] | None,
    key: Key[Array, ""],
    *,
    plan: Plan,
) -> Grove:
    """Grow a forest.

    Args:
        x: features.
        target: labels or numbers, as `cart.grow` takes them.
        weight: of each row.
        limits: when a node is left alone.
        ccp_alpha: complexity below which branches are pruned.
        max_samples: draws of a bootstrap: a whole number if at least 1 and `plan` was
            made for it, see `forest_bootstrap.draw`. None: as many as there are rows.
        key: random key.
        plan: criterion and sizes.
    """
    limits = counted(limits, x, weight)
    edges = bins.find(x, n_bins=plan.max_bins, sample_weight=weight)
    codes = bins.codes(edges, x)
    key_seeds, key_draws = jax.random.split(key)
    seeds = jax.random.bits(key_seeds, (plan.n_estimators,), jnp.uint32)
    draws = jax.random.split(key_draws, plan.n_estimators)
    shared = (x, codes, edges, target, weight, limits, ccp_alpha, max_samples)
    run: Callable = partial(_batches, plan=plan)
    if plan.mesh is not None:
        spread = P(plan.axis)
        run = jax.shard_map(
            run,
            mesh=plan.mesh,
            in_specs=(spread, spread, *[P()] * len(shared)),
            out_specs=(spread, spread, spread, P(), P()),
            check_vma=False,
        )
    trees, full, importances, total, count = run(seeds, draws, *shared)
    return Grove(trees, full, importance.mean_of_trees(importances), total, count)


def counted(
    limits: cart.Limits, x: Float[Array, "n d"], weight: Float[Array, "n"] | None
) -> cart.Limits:
    """Shares of the rows as numbers of rows."""
    rows = len(x) if weight is None else (weight > 0).sum()
    share = lambda value, least: jnp.maximum(jnp.ceil(value * rows), least)
    split, leaf = limits.min_samples_split, limits.min_samples_leaf
    return limits._replace(
        min_samples_split=jnp.where(split <= 1, share(split, 2), split),
        min_samples_leaf=jnp.where(leaf < 1, share(leaf, 1), leaf),
    )


def _batches(seeds, draws, *shared, plan):
    """Trees of the seeds and draws, a batch after another."""
    t, n = len(seeds), len(shared[0])
    size = _batch(t, max(1, IN_A_BATCH // n))
    whole = t // size * size
    first = (seeds[:whole].reshape(-1, size), draws[:whole].reshape(-1, size))

    def step(sums, random):
        grown, total, count = _batch_of_trees(*random, *shared, plan=plan)
        return (sums[0] + total, sums[1] + count), grown

    k = plan.recipe.n_classes or shared[3].shape[1]
    rows = n if plan.oob else 0
    dtype = shared[0].dtype
    sums = (jnp.zeros((rows, k), dtype), jnp.zeros(rows, jnp.int32))
    sums, grown = jax.lax.scan(step, sums, first)
    grown = jax.tree.map(lambda leaf: leaf.reshape(whole, *leaf.shape[2:]), grown)
    if whole < t:
        sums, rest = step(sums, (seeds[whole:], draws[whole:]))
        grown = jax.tree.map(lambda *parts: jnp.concatenate(parts), grown, rest)
    if plan.mesh is not None:
        sums = jax.lax.psum(sums, plan.axis)
    return (*grown, *sums)


def _batch(t, most):
    """How many trees grow together: a divisor of t, if one is near `most`."""
    most = min(t, most)
    near = [size for size in range((most + 1) // 2, most + 1) if t % size == 0]
    return near[-1] if near else most


def _batch_of_trees(
    seeds,
    draws,
    x,
    codes,
    edges,
    target,
    weight,
    limits,
    ccp_alpha,
    max_samples,
    *,
    plan,
):
    """Trees, and what they say of rows that they did not draw."""
    b, n = len(seeds), len(x)
    if plan.bootstrap:
        counts = forest_bootstrap.draw(draws, n, x.dtype, weight, max_samples)
        weights = counts
        if plan.balanced:
            weights = counts * forest_bootstrap.balance(
                counts, target[:, 0], plan.recipe.n_classes
            )
    else:
        one = jnp.ones(n, x.dtype) if weight is None else weight
        counts = weights = jnp.broadcast_to(one[None], (b, n))
    grown = cart.grow(plan.recipe, limits, codes, edges, target, weights, seeds)
    trees = cart.prune(grown.trees, ccp_alpha) if plan.prunes else grown.trees
    found = importance.of_trees(trees, x.shape[1])
    if not plan.oob:
        total = jnp.zeros((0, trees.value.shape[-1]), x.dtype)
        return (trees, grown.full, found), total, jnp.zeros(0, jnp.int32)

    def add(sums, item):
        tree, count = item
        out = count == 0 if weight is None else (count == 0) & (weight > 0)
        value = jnp.where(out[:, None], tree_ops.sum_values(tree, x), 0)
        return (sums[0] + value, sums[1] + out), None

    sums = (jnp.zeros((n, trees.value.shape[-1]), x.dtype), jnp.zeros(n, jnp.int32))
    (total, count), _ = jax.lax.scan(add, sums, (trees, counts))
    return (trees, grown.full, found), total, count
