"""Histogram gradient boosting: what its classifier and its regressor share.

    model = fit(x, y, weight, None, None, key_data, numbers, plan=plan)
    raw = raw_predict(model, x)                      # [n, k]

The whole fit is one program: rows are binned once, then a loop grows the trees of each
iteration on gradients and hessians of the loss at the raw predictions so far. A row of
weight 0 is absent. Rows kept for validation are no part of the bins and trees; they
find their leaves with the others.

Letters: n rows, d features, t iterations, k trees of an iteration, m nodes of a tree.

References:
    Friedman, 2001. Greedy function approximation: a gradient boosting machine.
    Friedman, 2002. Stochastic gradient boosting.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxml.models.classical import boosting_growth as growth
from jaxml.models.classical import boosting_losses as losses
from jaxml.models.classical import boosting_table
from jaxml.ops import trees
from jaxml.ops.trees import Trees

__all__ = ["Boosting", "Numbers", "Plan", "fit", "raw_predict", "staged_raw_predict"]


class Boosting(NamedTuple):
    """A fitted booster."""

    trees: Trees  # [t, k, m]; values [t, k, m, 1] hold the learning rate
    baseline: Float[Array, "k"]  # raw prediction before the first tree
    n_iter: Int[Array, ""]  # iterations; trees from there on are leaves of value 0
    converged: Bool[Array, ""]  # whether all values are finite
    train_score: Float[Array, "s"]  # minus the loss after 0, 1, ... iterations, NaN
    # from n_iter + 1 on; s = 0 without early stopping
    validation_score: Float[Array, "s"]  # likewise; s = 0 without validation rows


class Plan(NamedTuple):
    """What names a program."""

    loss: losses.Loss
    outputs: int  # k
    max_iter: int
    leaves: int
    max_depth: int | None
    max_bins: int
    categorical: tuple[int, ...]  # features
    monotone: tuple[int, ...] | None  # of every feature: 1, 0, -1
    groups: tuple[tuple[int, ...], ...]  # features that may meet; (): all
    stops: bool  # whether it may stop early
    holds_out: bool  # whether a share of the rows is kept for validation
    extra: int  # the last rows, which are for validation alone
    samples: bool  # whether rows are drawn
    columns: bool  # whether features are drawn
    bins_native: bool
    native: bool


class Numbers(NamedTuple):
    """What may be tuned under vmap."""

    learning_rate: float | Float[Array, ""]
    quantile: float | Float[Array, ""]
    subsample: float | Float[Array, ""]  # share of rows
    colsample: float | Float[Array, ""]  # share of features of each tree
    validation_fraction: float | Float[Array, ""]
    n_iter_no_change: int | Int[Array, ""]
    tol: float | Float[Array, ""]
    growth: growth.Numbers


class _State(NamedTuple):
    """Where the loop stands."""

    step: Int[Array, ""]
    raw: Float[Array, "k n"]
    grown: dict[str, Array]  # fields of the trees [t, k, ...]
    train_score: Float[Array, "s"]
    validation_score: Float[Array, "s"]
    stop: Bool[Array, ""]


@partial(jax.jit, static_argnames=("plan",))
def fit(
    x: Float[Array, "n d"],
    y: Float[Array, "n"] | Int[Array, "n"],
    weight: Float[Array, "n"] | None,
    validation: Bool[Array, "n"] | None,
    initial: Boosting | None,
    key: Array | None,
    numbers: Numbers,
    *,
    plan: Plan,
) -> Boosting:
    """Fit the trees.

    Args:
        x: rows, with NaN where a value is missing.
        y: targets or labels.
        weight: of each row; None: all 1.
        validation: rows that are for validation alone; None: none.
        initial: a booster to go on from.
        key: random key; None where nothing is drawn.
        numbers: hyperparameters.
        plan: what is static.
    """
    done = 0 if initial is None else len(initial.trees.node_count)
    if initial is not None and done == plan.max_iter:
        return initial
    numbers = jax.tree.map(lambda number: jnp.asarray(number, x.dtype), numbers)
    ones = jnp.ones(len(x), x.dtype)
    full = ones if weight is None else weight.astype(x.dtype)
    learns = ~(full <= 0)  # a NaN must be seen
    held = validation
    if plan.holds_out and key is not None:
        draw = jax.random.uniform(jax.random.fold_in(key, 0), (len(x),), x.dtype)
        held = draw < numbers.validation_fraction
    if held is not None:
        learns = learns & ~held
    whole = weight is None and held is None
    table, cells, seen = boosting_table.binned(
        x, None if whole else jnp.where(learns, full, 0), learns, plan
    )
    own = jnp.where(learns, full, 0)
    if initial is None:
        base = losses.baseline(plan.loss, y, own, plan.outputs, numbers.quantile)
        start = jnp.broadcast_to(base[:, None], (plan.outputs, len(x)))
    else:
        base = initial.baseline
        start = raw_predict(initial, x).T
    step = partial(
        _iterate, plan, numbers, table, y, weight, full, learns, held, key, done
    )
    state = _start(plan, plan.max_iter - done, len(x), start)
    if plan.stops:
        state = _scored(plan, numbers, y, full, learns, held, state)

    def going(state):
        return (state.step < plan.max_iter - done) & ~state.stop

    state = jax.lax.while_loop(going, step, state)
    found = boosting_table.as_trees(plan, cells, seen, state.grown)
    if initial is not None:
        found = boosting_table.joined(initial.trees, found)
    finite = jnp.isfinite(base).all() & jnp.isfinite(state.grown["value"]).all()
    return Boosting(
        found,
        base,
        (state.step + done).astype(jnp.int32),
        finite,
        state.train_score,
        state.validation_score,
    )


def _start(plan, steps, n, raw):
    """No trees yet."""
    words = boosting_table.words(plan)
    fields = growth.shapes(plan.leaves, words, plan.outputs, n, raw.dtype)[:-1]
    empty = {"left": -1, "right": -1, "feature": -2, "bin": -2, "node_count": 1}
    grown = {
        name: jnp.full((steps, *shape.shape), empty.get(name, 0), shape.dtype)
        for name, shape in zip(growth.Grown._fields[:-1], fields, strict=True)
    }
    scores = jnp.full(steps + 1 if plan.stops else 0, jnp.nan, raw.dtype)
    held = plan.stops and (plan.holds_out or plan.extra)
    return _State(
        jnp.array(0),
        raw,
        grown,
        scores,
        scores if held else scores[:0],
        jnp.array(False),
    )


def _iterate(plan, numbers, table, y, weight, full, learns, held, key, done, state):
    """Grow the trees of one iteration."""
    k, n = state.raw.shape
    dtype, d = state.raw.dtype, len(table.used)
    recipe = growth.Recipe(
        plan.leaves,
        plan.max_depth,
        plan.max_bins,
        boosting_table.words(plan),
        plan.native,
    )
    gradient, hessian = losses.gradients(plan.loss, y, state.raw, numbers.quantile)
    if weight is not None:
        gradient, hessian = gradient * full[None], hessian * full[None]
    bag, allowed = learns, jnp.ones(d, bool)
    seeds = jnp.zeros(k, jnp.uint32)
    if key is not None:
        own = jax.random.fold_in(key, state.step + done + 1)
        seeds = jax.random.bits(jax.random.fold_in(own, 0), (k,), jnp.uint32)
        if plan.samples:
            draw = jax.random.uniform(jax.random.fold_in(own, 1), (n,), dtype)
            bag = bag & (draw < numbers.subsample)
        if plan.columns:
            draw = jax.random.uniform(jax.random.fold_in(own, 2), (d,), dtype)
            keep = jnp.maximum(1, jnp.round(numbers.colsample * d))
            allowed = (draw[None] < draw[:, None]).sum(1).astype(dtype) < keep
    grown = growth.grow(
        recipe, table, gradient, hessian, bag, allowed, seeds, numbers.growth
    )
    value = grown.value
    if plan.loss in ("absolute_error", "quantile"):
        inside = jnp.where(bag, full, 0)
        residual = y - state.raw[0]
        value = losses.renewed(
            plan.loss, residual, inside, grown.leaf[0], value[0], numbers.quantile
        )[None]
    value = value * numbers.learning_rate
    raw = state.raw + jnp.take_along_axis(value, grown.leaf, 1, mode="clip")
    fields = grown._replace(value=value)._asdict()
    trees = {
        name: buffer.at[state.step].set(fields[name].astype(buffer.dtype))
        for name, buffer in state.grown.items()
    }
    state = state._replace(step=state.step + 1, raw=raw, grown=trees)
    if plan.stops:
        state = _scored(plan, numbers, y, full, learns, held, state)
    return state


def _scored(plan, numbers, y, full, learns, held, state):
    """Note the scores, and stop where they no longer rise."""
    value = losses.values(plan.loss, y, state.raw, numbers.quantile)

    def score(rows):
        weight = jnp.where(rows, full, 0)
        return -jnp.where(rows, weight * value, 0).sum() / weight.sum()

    step = state.step
    train = state.train_score.at[step].set(score(learns))
    watched, validation = train, state.validation_score
    if held is not None:
        validation = validation.at[step].set(score(held & (full > 0)))
        watched = validation
    change = numbers.n_iter_no_change
    place = jnp.arange(len(watched)).astype(change.dtype)
    now = step.astype(change.dtype)
    before = watched[jnp.maximum(now - change, 0).astype(jnp.int32)]
    recent = (place > now - change) & (place <= now)
    rises = (recent & (watched > before + numbers.tol)).any()
    return state._replace(
        train_score=train, validation_score=validation, stop=(now >= change) & ~rises
    )


def raw_predict(model: Boosting, x: Float[Array, "n d"]) -> Float[Array, "n k"]:
    """The sums of the trees."""
    return model.baseline[None] + trees.sum_values(model.trees, x)


@jax.jit
def staged_raw_predict(
    model: Boosting, x: Float[Array, "n d"]
) -> Float[Array, "t n k"]:
    """The sums after each iteration; after `n_iter` they stay as they are."""

    def step(raw, tree):
        one = jax.tree.map(lambda leaf: leaf[None], tree)
        raw = raw + trees.sum_values(one, x)
        return raw, raw

    start = jnp.broadcast_to(model.baseline[None], (len(x), len(model.baseline)))
    return jax.lax.scan(step, start, model.trees)[1]
