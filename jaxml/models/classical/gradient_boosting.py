"""Gradient boosting by trees on residuals, the part that losses share.

    plan = gradient_boosting.Plan("huber", recipe, n_estimators=100)
    model = gradient_boosting.boost(x, y, weight, numbers, limits, key, plan=plan)

Each stage fits one regression tree for each raw prediction to the negative gradient of
the loss, moves its leaves to where the loss is least, and adds a share of it. All
stages are one program. `boosting` grows from histograms of gradients and Hessians
instead, which is faster on many rows.

Letters: n rows, m new rows or nodes, d features, t stages, c raw predictions of a row.

References:
    Friedman, 2001. Greedy function approximation: a gradient boosting machine. Ann.
        Stat. 29(5), algorithm 1.
    Friedman, 2002. Stochastic gradient boosting. Comp. Stat. & Data Analysis 38(4).
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from jaxml.models.classical import (
    cart,
    forest,
    forest_bootstrap,
    importance,
)
from jaxml.models.classical import gradient_boosting_losses as losses
from jaxml.ops import bins
from jaxml.ops import trees as tree_ops
from jaxml.ops.trees import Trees

__all__ = [
    "GradientBoosting",
    "Numbers",
    "Plan",
    "boost",
    "leaves",
    "raw",
    "staged_raw",
]


class GradientBoosting(NamedTuple):
    """Trees that are summed."""

    trees: Trees  # [t, c, m], values [t, c, m, 1]; of value 0 from `n_estimators` on
    init: Float[Array, "c"]  # raw prediction before the first stage
    learning_rate: Float[Array, ""]
    n_estimators: Int[Array, ""]  # stages that were fitted
    train_score: Float[Array, "t"]  # loss after each stage, of the rows that it saw
    oob_scores: Float[Array, "t"] | Float[Array, "0"]  # of those it did not, if any
    oob_improvement: Float[Array, "t"] | Float[Array, "0"]
    feature_importances: Float[Array, "d"]  # shares of what the splits gain


class Plan(NamedTuple):
    """What names a program."""

    loss: str
    recipe: cart.Recipe
    n_estimators: int
    columns: int = 1  # c: raw predictions of a row
    zero: bool = False  # start from zero
    sampled: bool = False  # whether a stage sees a share of the rows
    patience: int | None = None  # stages without progress before the last; None: all
    prunes: bool = False  # whether ccp_alpha may be above 0
    max_bins: int = 255


class Numbers(NamedTuple):
    """What may be tuned under vmap, of the dtype of x."""

    learning_rate: Float[Array, ""]
    alpha: Float[Array, ""]  # share of "quantile" and "huber"
    subsample: Float[Array, ""]  # share of the rows that a stage sees
    validation_fraction: Float[Array, ""]  # share of the rows that tell when to stop
    tol: Float[Array, ""]  # loss that counts as progress
    ccp_alpha: Float[Array, ""]


class _State(NamedTuple):
    """Between two stages."""

    raw: Float[Array, "n c"]
    before: Float[Array, ""]  # loss out of the bag of the stage before
    history: Float[Array, "p"]  # losses of the rows held out
    active: Bool[Array, ""]


@partial(jax.jit, static_argnames=("plan",))
def boost(
    x: Float[Array, "n d"],
    y: Float[Array, "n"] | Int[Array, "n"],
    weight: Float[Array, "n"] | None,
    numbers: Numbers,
    limits: cart.Limits,
    key: Key[Array, ""],
    *,
    plan: Plan,
) -> GradientBoosting:
    """Fit all stages.

    Args:
        x: features.
        y: targets, or labels.
        weight: of each row.
        numbers: what may be tuned.
        limits: when a node is left alone.
        key: random key.
        plan: loss and sizes.
    """
    limits = forest.counted(limits, x, weight)
    edges = bins.find(x, n_bins=plan.max_bins, sample_weight=weight)
    codes = bins.codes(edges, x)
    weight = jnp.ones(len(x), x.dtype) if weight is None else weight
    key_held, key_stages = jax.random.split(key)
    held = jnp.zeros(len(x), bool)
    if plan.patience is not None:
        strata = y if plan.loss in losses.CLASSES else jnp.zeros(len(x), jnp.int32)
        count = max(plan.columns, 2)
        share = numbers.validation_fraction
        held = forest_bootstrap.sample(
            key_held, weight, share, strata, count, nearest=True
        )
    rows = (x, y, codes, edges, jnp.where(held, 0, weight), jnp.where(held, weight, 0))
    init = jnp.zeros(plan.columns, x.dtype)
    if not plan.zero:
        init = losses.start(plan.loss, y, rows[4], plan.columns, numbers.alpha)
    nothing = jnp.full(plan.patience or 0, jnp.inf, x.dtype)
    state = _State(
        jnp.broadcast_to(init[None], (len(x), plan.columns)),
        jnp.asarray(jnp.nan, x.dtype),
        nothing,
        jnp.array(True),
    )
    run = partial(_stage, rows, numbers, limits, plan)
    if plan.patience is not None:
        run = partial(_unless_stopped, run)
    items = (
        jnp.arange(plan.n_estimators),
        jax.random.split(key_stages, plan.n_estimators),
    )
    _, (trees, found, ran) = jax.lax.scan(run, state, items)
    train, out, improvement = found
    none = jnp.zeros(0, x.dtype)
    shares = importance.gains(trees, x.shape[1]).reshape(-1, x.shape[1])
    return GradientBoosting(
        trees,
        init,
        numbers.learning_rate,
        ran.sum().astype(jnp.int32),
        train,
        out if plan.sampled else none,
        improvement if plan.sampled else none,
        importance.mean_of_trees(shares),
    )


def _unless_stopped(run, state, item):
    """A stage, or nothing once there was no progress."""
    shapes = jax.eval_shape(run, state, item)[1]

    def rest(state, item):
        trees, found, ran = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
        trees = trees._replace(
            children_left=trees.children_left - 1,
            children_right=trees.children_right - 1,
            feature=trees.feature - 2,
            threshold=trees.threshold - 2,
            node_count=trees.node_count + 1,
        )
        found = jax.tree.map(lambda leaf: leaf * jnp.nan, found)
        return state, (trees, found, ran)

    return jax.lax.cond(state.active, run, rest, state, item)


def _stage(rows, numbers, limits, plan, state, item):
    """Fit one stage."""
    x, y, codes, edges, weight, held = rows
    i, key = item
    key_rows, key_trees = jax.random.split(key)
    raw, number = state.raw, numbers.alpha
    if plan.loss == "huber":
        number = losses.quantiles(
            jnp.abs(y - raw[:, 0]), weight, jnp.zeros(len(y), jnp.int32), 1, number
        )[0]
    inside = weight
    if plan.sampled:
        strata = jnp.zeros(len(x), jnp.int32)
        chosen = forest_bootstrap.sample(key_rows, weight, numbers.subsample, strata, 1)
        inside = jnp.where(chosen, weight, 0)
    measure = lambda raw, weight: losses.mean_loss(plan.loss, y, raw, weight, number)
    before = measure(raw, weight - inside) if plan.sampled else state.before
    before = jnp.where(i == 0, before, state.before)

    slopes = losses.descent(plan.loss, y, raw, number)
    seeds = jax.random.bits(key_trees, (plan.columns,), jnp.uint32)

    def one(column):
        slope, seed, label = column
        parts = losses.Parts(
            (y == label).astype(x.dtype) if plan.loss in losses.CLASSES else y,
            raw[:, 0],
            slope,
            inside,
            jnp.zeros(len(x), jnp.int32),
            number,
            max(plan.columns, 2),
        )
        return _tree(x, codes, edges, parts, seed, numbers, limits, plan)

    labels = jnp.arange(plan.columns) if plan.columns > 1 else jnp.ones(1, jnp.int32)
    trees, steps = jax.lax.map(one, (slopes.T, seeds, labels))
    raw = raw + numbers.learning_rate * steps.T
    out = improvement = jnp.asarray(jnp.nan, x.dtype)
    if plan.sampled:
        out = measure(raw, weight - inside)
        improvement = before - out
    history, active = state.history, state.active
    if plan.patience is not None:
        loss = measure(raw, held)
        active = (loss + numbers.tol < history).any()
        history = history.at[i % plan.patience].set(loss)
    found = (measure(raw, inside), out, improvement)
    ran = jnp.array(True)
    return _State(raw, out, history, active), (trees, found, ran)


def _tree(x, codes, edges, parts, seed, numbers, limits, plan):
    """A tree [m] on the slopes, and what it adds to every row before the rate."""
    target = parts.slope[:, None]
    grown = cart.grow(
        plan.recipe, limits, codes, edges, target, parts.weight[None], seed[None]
    )
    tree = jax.tree.map(lambda leaf: leaf[0], grown.trees)
    if plan.prunes:
        tree = cart.prune(tree, numbers.ccp_alpha)
    leaf = tree_ops.apply(tree, x)
    if plan.loss != "squared_error":
        m = tree.children_left.shape[0]
        values = losses.leaf_values(plan.loss, parts._replace(leaf=leaf), m)
        is_leaf = (tree.children_left < 0)[:, None]
        tree = tree._replace(value=jnp.where(is_leaf, values[:, None], tree.value))
    return tree, tree.value[leaf, 0]


@jax.jit
def raw(model: GradientBoosting, x: Float[Array, "m d"]) -> Float[Array, "m c"]:
    """Sum the stages."""
    total = tree_ops.sum_values(model.trees, x)
    return model.init[None] + model.learning_rate * total


@jax.jit
def leaves(model: GradientBoosting, x: Float[Array, "m d"]) -> Int[Array, "m t c"]:
    """Find the leaf of every row in every tree."""
    return tree_ops.apply(model.trees, x)


@jax.jit
def staged_raw(
    model: GradientBoosting, x: Float[Array, "m d"]
) -> Float[Array, "t m c"]:
    """The sum up to each stage."""

    def add(total, stage):
        one = jax.tree.map(lambda leaf: leaf[None], stage)
        total = total + model.learning_rate * tree_ops.sum_values(one, x)
        return total, total

    start = jnp.broadcast_to(model.init[None], (len(x), len(model.init)))
    return jax.lax.scan(add, start, model.trees)[1]
