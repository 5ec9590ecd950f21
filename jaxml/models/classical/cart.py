"""Growth of classification and regression trees over binned rows, many at once.

    edges = bins.find(x, n_bins=255)
    recipe = cart.Recipe("gini", max_features=d, n_classes=3)
    grown = cart.grow(recipe, limits, bins.codes(edges, x), edges, y[:, None], w, seeds)

A forest is t weight vectors and t seeds over one set of codes. A row of weight 0 is
absent. Trees are numbered in depth-first order; a threshold lies in the middle between
the largest value that goes left and the smallest that goes right, among the rows of the
node. Where the gains of two splits are equal to 1e-7 of the gain, the lower feature
wins, then the one that sends missing values right, then the lower threshold. In a
forest a drawn feature wins: deep trees meet many ties, and always to take the lowest
makes them too much alike.

Letters: n rows, d features, t trees, m nodes, o targets of a row, c classes,
k numbers in a leaf (o of a regression, o times c of a classification).

References:
    Breiman, Friedman, Olshen and Stone, 1984. Classification and regression trees.
    Geurts, Ernst and Wehenkel, 2006. Extremely randomized trees. Machine Learning 63.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt

from jaxml.models.classical import cart_levels, cart_prune
from jaxml.ops import bins, native, partition
from jaxml.ops.trees import Trees

__all__ = [
    "CLASSIFICATION",
    "REGRESSION",
    "SPLITTERS",
    "Grown",
    "Limits",
    "Recipe",
    "capacity",
    "grow",
    "prune",
]

prune = cart_prune.prune

CLASSIFICATION = ("gini", "entropy", "log_loss")
REGRESSION = ("squared_error", "absolute_error", "poisson", "friedman_mse")
SPLITTERS = ("best", "random")


class Recipe(NamedTuple):
    """What names a program: all of it is static."""

    criterion: str  # of CLASSIFICATION or REGRESSION
    max_features: int  # features looked at in a node; d for all of them
    n_classes: int = 0  # 0 for a regression
    splitter: str = "best"  # or "random": one threshold a feature, uniformly drawn
    max_depth: int | None = None  # None: until leaves are pure or too small
    max_leaf_nodes: int | None = None  # not None: best split first, not depth first
    max_nodes: int | None = None  # capacity m; None: enough for every tree
    shuffle: bool = False  # of features that tie a drawn one wins, not the lowest
    native: bool = False  # native.enabled("cart"), asked where the program is chosen


class Limits(NamedTuple):
    """When a node is left alone: traced numbers of the dtype of x, each of shape []."""

    min_samples_split: Float[Array, ""]  # rows in a node that may be split, from 2
    min_samples_leaf: Float[Array, ""]  # rows in each child, from 1
    min_weight_fraction_leaf: Float[Array, ""]  # share of all weight in each child
    min_impurity_decrease: Float[Array, ""]  # weighted by the share of rows of the node


class Grown(NamedTuple):
    """Trees, and whether they had room."""

    trees: Trees  # leading axis t; value [t, m, k]; no categories
    full: Bool[Array, "t"]  # a node stayed a leaf because max_nodes were used up


def capacity(recipe: Recipe, n: int) -> int:
    """The nodes that a tree over n rows has at most."""
    if recipe.max_nodes is not None:
        return recipe.max_nodes
    leaves = n
    if recipe.max_leaf_nodes is not None:
        leaves = min(leaves, recipe.max_leaf_nodes)
    if recipe.max_depth is not None and recipe.max_depth < 31:
        leaves = min(leaves, 2**recipe.max_depth)
    return 2 * leaves - 1


def grow(
    recipe: Recipe,
    limits: Limits,
    codes: UInt[Array, "n d"],
    edges: bins.Bins,
    target: Int[Array, "n o"] | Float[Array, "n o"],
    weight: Float[Array, "t n"],
    seeds: UInt[Array, "t"],
) -> Grown:
    """Grow t trees. Call it under jit, with a static `recipe`.

    Args:
        recipe: criterion, splitter and sizes.
        limits: when a node is left alone.
        codes: bin of every value, B for a missing one (`bins.codes`).
        edges: smallest and largest value in every bin (`bins.find`).
        target: labels from 0 to n_classes - 1 of a classification, numbers of a
            regression; o > 1 for several outputs, whose impurities are averaged.
        weight: how much each row counts in each tree, from 0.
        seeds: of random features and thresholds, one for each tree (their lowest 32
            bits). A tree that looks at all features for the best split, and does not
            shuffle them, does not depend on it.

    Returns:
        Trees of dtype `edges.low.dtype`. `value` holds the shares of the classes, one
        output after the other ([o, c] flattened), or the means (medians, for
        "absolute_error") of the targets. All weights zero, or a target or a weight
        that is no number: one leaf of NaN. No slopes go through.
    """
    dtype = edges.low.dtype
    numbers = jnp.stack([jnp.asarray(limit, dtype) for limit in limits])
    target = target.astype(jnp.int32 if recipe.n_classes else dtype)
    arrays = (
        codes,
        edges.low,
        edges.high,
        target,
        weight.astype(dtype),
        numbers,
        seeds.astype(jnp.uint32),
    )
    m = capacity(recipe, codes.shape[0])
    whole = partial(_whole, recipe, m)
    local = partial(cart_levels.grow, recipe, m)
    rows_in = (0, None, None, 0, 1, None, None)
    run = partition.by_rows(whole, local, rows_in, (None,) * 11)
    return _grown(run(*jax.lax.stop_gradient(arrays)))


def _whole(recipe, m, *arrays):
    """Trees on one device: the kernel, or XLA."""
    _, low, _, target, weight, _, _ = arrays
    levels = partial(cart_levels.grow, recipe, m, None)
    if not recipe.native or low.dtype not in (jnp.float32, jnp.float64):
        return levels(*arrays)
    t, dtype = len(weight), low.dtype
    k = target.shape[1] * max(recipe.n_classes, 1)
    shape = jax.ShapeDtypeStruct
    shapes = [shape((t, m), jnp.int32)] * 3
    shapes += [shape((t, m), dtype), shape((t, m), jnp.bool_), shape((t, m, k), dtype)]
    shapes += [shape((t, m), dtype), shape((t, m), jnp.int32), shape((t, m), dtype)]
    shapes += [shape((t,), jnp.int32), shape((t,), jnp.bool_)]
    none = (jnp.zeros(0, jnp.int32), jnp.zeros(0, dtype))
    pair = (target, none[1]) if recipe.n_classes else (none[0], target)

    def fallback(codes, low, high, labels, numbers, *rest):
        target = labels if recipe.n_classes else numbers
        return levels(codes, low, high, target, *rest)

    return native.call(
        "cart",
        f"cart_grow_{dtype.name}",
        fallback,
        shapes,
        *arrays[:3],
        *pair,
        *arrays[4:],
        criterion=cart_levels.CRITERIA[recipe.criterion],
        random=int(recipe.splitter == "random"),
        max_depth=-1 if recipe.max_depth is None else recipe.max_depth,
        max_leaves=-1 if recipe.max_leaf_nodes is None else recipe.max_leaf_nodes,
        max_features=recipe.max_features,
        classes=recipe.n_classes,
        shuffle=int(recipe.shuffle),
    )


def _grown(arrays):
    fields = (
        "children_left",
        "children_right",
        "feature",
        "threshold",
        "missing_go_to_left",
        "value",
        "impurity",
        "n_node_samples",
        "weighted_n_node_samples",
        "node_count",
    )
    *found, full = arrays
    no = jnp.zeros_like(found[4])
    trees = Trees(
        **dict(zip(fields, found, strict=True)),
        categorical=no,
        categories=jnp.zeros((*no.shape, 0), jnp.uint32),
        other_go_to_left=no,
    )
    return Grown(trees, full)
