"""Isotonic regression: the monotone function of one feature nearest to the targets.

    model = isotonic.fit(x, y)                             # x: [n] or [n, 1]
    y_hat = isotonic.predict(model, x_new, out_of_bounds="clip")

Pooling is exact after less than 2n steps of scalars: fast on CPU, a launch each on a
GPU. Letters: n rows.

References:
    Best and Chakravarti, 1990. Active set algorithms for isotonic regression: a
    unifying framework. Math. Program. 47.
    De Leeuw, 1977. Correctness of Kruskal's algorithms for monotone regression with
    ties. Psychometrika 42.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxml.ops import check, order

__all__ = ["Isotonic", "fit", "isotonic_regression", "predict"]

Number = float | Float[Array, ""] | None


class Isotonic(NamedTuple):
    """A monotone function, linear between thresholds."""

    X_thresholds: Float[Array, "n"]  # ascending; the last one repeated to length n
    y_thresholds: Float[Array, "n"]  # values there
    n_thresholds: Int[Array, ""]  # how many are not repetitions
    increasing: Bool[Array, ""]

    @property
    def X_min(self) -> Float[Array, ""]:  # noqa: N802
        """Least x seen."""
        return self.X_thresholds[0]

    @property
    def X_max(self) -> Float[Array, ""]:  # noqa: N802
        """Greatest x seen."""
        return self.X_thresholds[-1]


def fit(
    x: Float[Array, "n"] | Float[Array, "n 1"],
    y: Float[Array, "n"],
    *,
    y_min: Number = None,
    y_max: Number = None,
    increasing: bool | str = True,
    sample_weight: Float[Array, "n"] | None = None,
) -> Isotonic:
    """Fit a monotone function to the rows.

    Args:
        x: the one feature. Rows of the same x count as one, at their mean y.
        y: targets.
        y_min: lower bound of the values. Default: none.
        y_max: upper bound of the values. Default: none.
        increasing: whether the function rises; "auto": as Spearman's rank correlation.
        sample_weight: how much each row counts; 0 is an absent row. Default: 1.

    Returns:
        The function; NaN where no row has a weight or a row is NaN. Its derivative
        with respect to `y` and `sample_weight` is that of the mean of each level.

    >>> model = fit(jnp.array([1.0, 2.0, 3.0, 4.0]), jnp.array([1.0, 3.0, 2.0, 4.0]))
    >>> predict(model, jnp.array([1.5, 2.0, 3.0]))
    Array([1.75, 2.5 , 2.5 ], dtype=float32)

    Raises:
        ValueError: if `x` has more than one feature, or `increasing` is unknown.
    """
    x = _one_feature(x)
    check.rows(x[:, None], y, sample_weight)
    check.one_of("increasing", increasing, (True, False, "auto"))
    if y.ndim != 1:
        raise ValueError(f"y must be one target a row [n]; got shape {y.shape}")
    return _fit(x, y, sample_weight, y_min, y_max, increasing=increasing)


@partial(jax.jit, static_argnames=("increasing",))
def _fit(x, y, sample_weight, y_min, y_max, *, increasing):
    weight = jnp.ones_like(x) if sample_weight is None else sample_weight
    weight, y = weight.astype(x.dtype), y.astype(x.dtype)
    broken = jnp.isnan(jnp.where(weight > 0, x + y, 0)).any()
    y = jnp.where(broken, jnp.nan, y)
    rising = _rises(x, y, weight) if increasing == "auto" else jnp.asarray(increasing)
    x, y, weight, size = _unique(x, y, weight)
    sign = jnp.where(rising, 1, -1).astype(x.dtype)
    value = _bound(sign * _pool(sign * y, weight), y_min, y_max)

    # Within a level only the ends are needed.
    place = jnp.arange(len(x))
    end = (place == 0) | (place == size - 1)
    step = value[1:] != value[:-1]
    inner = jnp.append(True, step) | jnp.append(step, True)
    kept = (end | inner) & (place < size)
    to = jnp.where(kept, jnp.cumsum(kept) - 1, len(x))
    last = jnp.maximum(size - 1, 0)
    thresholds, values = (
        jnp.broadcast_to(leaf[last], leaf.shape).at[to].set(leaf, mode="drop")
        for leaf in (x, value)
    )
    empty = size == 0
    return Isotonic(
        jnp.where(empty | broken, jnp.nan, thresholds),
        jnp.where(empty | broken, jnp.nan, values),
        kept.sum(),
        rising,
    )


def predict(
    model: Isotonic,
    x: Float[Array, "m"] | Float[Array, "m 1"],
    *,
    out_of_bounds: str = "nan",
) -> Float[Array, "m"]:
    """Evaluate the function, linear between its thresholds.

    Args:
        model: a fitted function.
        x: the feature.
        out_of_bounds: "nan": NaN below the least x seen and above the greatest; "clip":
            the value there. A function of one threshold is constant.

    Raises:
        ValueError: if `out_of_bounds` is unknown.
    """
    check.one_of("out_of_bounds", out_of_bounds, ("nan", "clip"))
    return _predict(model, _one_feature(x), clip=out_of_bounds == "clip")


@partial(jax.jit, static_argnames=("clip",))
def _predict(model, x, *, clip):
    edges, values = model.X_thresholds, model.y_thresholds
    inside = jnp.clip(x, edges[0], edges[-1])
    right = order.count_up_to(edges, inside, model.n_thresholds)
    right = jnp.clip(right, 1, jnp.maximum(model.n_thresholds - 1, 1))
    right = jnp.minimum(right, len(edges) - 1)
    left = jnp.maximum(right - 1, 0)
    gap = edges[right] - edges[left]
    share = jnp.where(gap > 0, (inside - edges[left]) / jnp.where(gap > 0, gap, 1), 0)
    value = values[left] + share * (values[right] - values[left])
    value = jnp.where(share == 1, values[right], value)
    known = (inside == x) | (model.n_thresholds == 1)
    return jnp.where(jnp.isnan(x) | ~(known | clip), jnp.nan, value)


def isotonic_regression(
    y: Float[Array, "n"],
    *,
    sample_weight: Float[Array, "n"] | None = None,
    y_min: Number = None,
    y_max: Number = None,
    increasing: bool = True,
) -> Float[Array, "n"]:
    """The monotone sequence nearest to `y` in weighted squares.

    Args:
        y: values, in their order.
        sample_weight: how much each counts; a value of weight 0 takes the level of the
            one before it. Default: 1.
        y_min: lower bound of the result. Default: none.
        y_max: upper bound of the result. Default: none.
        increasing: whether the result rises.

    >>> isotonic_regression(jnp.array([5.0, 3.0, 1.0, 2.0, 8.0]))
    Array([2.75, 2.75, 2.75, 2.75, 8.  ], dtype=float32)

    Raises:
        ValueError: if the lengths differ.
    """
    check.rows(y[:, None], y, sample_weight)
    weight = jnp.ones_like(y) if sample_weight is None else sample_weight
    sign = 1 if increasing else -1
    return _bound(sign * _pool(sign * y, weight.astype(y.dtype)), y_min, y_max)


@jax.custom_jvp
@jax.jit
def _pool(y, weight):
    """The nondecreasing values of least weighted squares to `y`."""
    n = len(y)
    present = weight > 0
    total = jnp.where(present, y, 0).sum()
    place = jnp.cumsum(present) - 1
    # Absent rows go last, and to a power of two, at the top: they stay there.
    to = jnp.where(present, place, n)
    top = jnp.max(y, initial=-jnp.inf, where=present)
    level = jnp.full(n, top, y.dtype).at[to].set(y, mode="drop")
    mass = jnp.zeros(n, y.dtype).at[to].set(weight, mode="drop")
    level = _adjacent(jnp.where(mass > 0, level, top), mass)[jnp.maximum(place, 0)]
    return jnp.where(jnp.isnan(total) | ~present.any(), jnp.nan, level)


@_pool.defjvp
def _pool_jvp(primals, tangents):
    """Every level moves as the mean of its rows."""
    (y, weight), (dy, dweight) = primals, tangents
    level = _pool(y, weight)
    new = jnp.concatenate([jnp.zeros(1, bool), level[1:] != level[:-1]])
    part = jnp.cumsum(new)
    mass = jax.ops.segment_sum(weight, part, len(y))
    force = weight * dy + dweight * (y - level)
    move = jax.ops.segment_sum(force, part, len(y)) / jnp.where(mass > 0, mass, 1)
    return level, move[part]


@jax.custom_batching.sequential_vmap
def _adjacent(level, mass):
    """Pool adjacent violators, with a stack of the blocks so far.

    A step pushes a block or merges it with the one below, so there are less than 2n.
    Under vmap they run one by one: side by side they would copy their stacks.
    """
    n = len(level)
    rows = (level, mass, jnp.ones(n, jnp.int32))
    first = tuple(row[0] for row in rows)
    empty = tuple(jnp.zeros(n + 1, row.dtype) for row in rows)
    state = (jnp.asarray(1), jnp.asarray(0), first, first, empty)
    _, height, _, _, (level, _, count) = jax.lax.while_loop(
        lambda state: state[0] <= n, partial(_step, rows), state
    )
    count = jnp.where(jnp.arange(n + 1) < height, count, 0)
    return jnp.repeat(level, count, total_repeat_length=n)


def _step(rows, state):
    """Push the block `now`, or merge it with the one below if that is not lower.

    Every write is of what the last step left in scalars, and every read is of what has
    been written: so XLA updates the stack in place.
    """
    read, height, now, below, stack = state
    put = jax.lax.dynamic_update_index_in_dim
    stack = tuple(put(s, v, height, 0) for s, v in zip(stack, now, strict=True))
    down = (height > 0) & (below[0] >= now[0])
    total = below[1] + now[1]
    share = now[1] / jnp.where(total > 0, total, 1)
    merged = (below[0] + (now[0] - below[0]) * share, total, below[2] + now[2])
    under = [s[jnp.maximum(height - 2, 0)] for s in stack]
    ahead = [row[jnp.minimum(read, len(row) - 1)] for row in rows]
    below = tuple(jnp.where(down, u, v) for u, v in zip(under, now, strict=True))
    now = tuple(jnp.where(down, m, a) for m, a in zip(merged, ahead, strict=True))
    step = jnp.where(down, -1, 1)
    return read + ~down, height + step, now, below, stack


def _unique(x, y, weight):
    """Rows by ascending x, those of the same x as one; how many there are."""
    n = len(x)
    present = weight > 0
    by_x = order.argsort(jnp.where(present, x, jnp.nan))  # absent rows go last
    x, y, weight, present = (leaf[by_x] for leaf in (x, y, weight, present))
    first = present & jnp.concatenate([jnp.ones(1, bool), x[1:] != x[:-1]])
    group = jnp.where(present, jnp.cumsum(first) - 1, n)
    mass = jnp.zeros_like(weight).at[group].add(weight, mode="drop")
    lead = jnp.zeros_like(y).at[jnp.where(first, group, n)].set(y, mode="drop")
    rest = weight * (y - lead[jnp.minimum(group, n - 1)])
    rest = jnp.zeros_like(y).at[group].add(rest, mode="drop")
    mean = lead + rest / jnp.where(mass > 0, mass, 1)
    value = jnp.zeros_like(x).at[jnp.where(first, group, n)].set(x, mode="drop")
    return value, mean, mass, first.sum()


def _rises(x, y, weight):
    """Whether the weighted rank correlation of Spearman is not negative."""
    weight = jax.lax.stop_gradient(jnp.where(weight > 0, weight, 0))
    total = jnp.where(weight.sum() > 0, weight.sum(), 1)
    ranks = []
    for values in (x, y):
        by = order.argsort(values)
        values, mass = values[by], weight[by]
        group = jnp.cumsum(jnp.append(False, values[1:] != values[:-1]))
        mass = jax.ops.segment_sum(mass, group, len(x))
        middle = jnp.cumsum(mass) - mass / 2
        rank = jnp.zeros_like(x).at[by].set(middle[group])
        ranks.append(rank - weight @ rank / total)
    return (weight * ranks[0]) @ ranks[1] >= 0


def _bound(value, low, high):
    if low is not None:
        value = jnp.maximum(value, jnp.asarray(low, value.dtype))
    return value if high is None else jnp.minimum(value, jnp.asarray(high, value.dtype))


def _one_feature(x):
    if x.ndim == 2 and x.shape[1] == 1:
        return x[:, 0]
    if x.ndim != 1:
        raise ValueError(f"x must be one feature, [n] or [n, 1]; got shape {x.shape}")
    return x
