"""Rows as a boosted tree sees them, and its trees as all others see them.

table, cells, seen = boosting_table.binned(x, weight, learns, plan)
found = boosting_table.as_trees(plan, cells, seen, grown)

Letters: n rows, d features, t iterations, k trees of an iteration, m nodes.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxml.models.classical import boosting_growth as growth
from jaxml.ops import bins
from jaxml.ops.trees import Trees

__all__ = ["as_trees", "binned", "joined", "words"]


def words(plan: Any) -> int:
    """32-bit words in a set of categories."""
    return -(-plan.max_bins // 32) if plan.categorical else 0


def binned(
    x: Float[Array, "n d"],
    weight: Float[Array, "n"] | None,
    learns: Bool[Array, "n"],
    plan: Any,
) -> tuple[growth.Table, bins.Bins, Bool[Array, "d c"]]:
    """Binned rows; the bins, for the thresholds; and the categories that occur.

    Args:
        x: rows.
        weight: what each row counts for the bins.
        learns: rows whose missing values are learned from.
        plan: what is static.
    """
    x = jax.lax.stop_gradient(x)
    d, fast = x.shape[1], plan.bins_native
    cells = bins.find(x, plan.max_bins, weight, fast=fast)
    codes = bins.codes(cells, x, fast=fast)
    kind, used = jnp.zeros(d, jnp.int32), cells.used.astype(jnp.int32)
    seen = jnp.zeros((d, plan.max_bins + 1), bool)
    if plan.categorical:
        chosen = jnp.array(plan.categorical)
        category, own = _categories(x[:, chosen], learns, plan.max_bins)
        codes = codes.at[:, chosen].set(category.astype(codes.dtype))
        seen = seen.at[chosen].set(own)
        kind = kind.at[chosen].set(growth.CATEGORICAL)
        used = used.at[chosen].set(plan.max_bins)
    columns = codes.T
    lacks = ((columns == plan.max_bins) & learns[None]).any(1)
    kind = kind + jnp.where(lacks, growth.MISSING, 0)
    # A row that ends within a line of the cache costs the kernel one line, not two.
    room = next((w - d for w in (16, 32, 64) if 3 * w <= 4 * d <= 4 * w), 0)
    codes = jnp.pad(codes, ((0, 0), (0, room)))
    monotone = jnp.array(plan.monotone or (0,) * d, jnp.int32)
    groups = jnp.array(
        [[f in group for f in range(d)] for group in plan.groups], bool
    ).reshape(len(plan.groups), d)
    return growth.Table(codes, columns, used, kind, monotone, groups), cells, seen


def _categories(x, learns, most):
    """Categories by their numbers, those not learned from as missing; and which are."""
    known = (x > -1) & (x < most)
    category = jnp.where(known, x, most).astype(jnp.int32)

    def mark(column):
        found = jnp.zeros(most + 1, jnp.int32).at[column].max(learns.astype(jnp.int32))
        return jnp.where(found[column] > 0, column, most), found > 0

    columns, seen = jax.lax.map(mark, category.T)
    return columns.T, seen


def as_trees(
    plan: Any, cells: bins.Bins, seen: Bool[Array, "d c"], grown: dict[str, Array]
) -> Trees:
    """The trees with thresholds in place of bins."""
    feature = grown["feature"]
    inner = feature >= 0
    row = jnp.maximum(feature, 0)
    edges = bins.edges(cells)
    width = edges.shape[1]
    cut = edges[row, jnp.clip(grown["bin"], 0, width - 1)]
    # Beyond the last bin only missing values go right.
    last = grown["bin"] >= jnp.minimum(cells.used[row] - 1, width)
    cut = jnp.where(last, jnp.inf, cut)
    threshold = jnp.where(inner & ~grown["categorical"], cut, -2)
    sets = grown["categories"]
    missing_left = grown["missing_left"] & inner
    if plan.categorical:
        unknown = ~seen[:, : 32 * sets.shape[-1]]
        unknown = growth.words(unknown, sets.shape[-1])
        # Categories that were not seen go where missing values go.
        go = (missing_left & grown["categorical"])[..., None]
        sets = jnp.where(go, sets | unknown[row], sets)
    return Trees(
        children_left=grown["left"],
        children_right=grown["right"],
        feature=feature,
        threshold=threshold,
        missing_go_to_left=missing_left,
        categorical=grown["categorical"],
        categories=sets,
        other_go_to_left=missing_left & grown["categorical"],
        value=grown["value"][..., None],
        impurity=grown["loss"] / jnp.where(grown["weight"] > 0, grown["weight"], 1),
        n_node_samples=grown["rows"],
        weighted_n_node_samples=grown["weight"],
        node_count=grown["node_count"],
    )


def joined(first: Trees, second: Trees) -> Trees:
    """Trees of both, one after the other, with the larger number of nodes."""
    empty: Any = dict.fromkeys(Trees._fields, 0)
    empty |= {"children_left": -1, "children_right": -1}
    empty |= {"feature": -2, "threshold": -2}

    def join(a, b, fill):
        widths = [max(p, q) for p, q in zip(a.shape[1:], b.shape[1:], strict=True)]

        def grow(leaf):
            pads = [(0, 0)]
            pads += [(0, w - s) for w, s in zip(widths, leaf.shape[1:], strict=True)]
            return jnp.pad(leaf, pads, constant_values=fill)

        return jnp.concatenate([grow(a), grow(b).astype(a.dtype)])

    return Trees(*map(join, first, second, empty.values()))
