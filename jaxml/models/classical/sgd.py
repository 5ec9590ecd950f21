"""Stochastic gradient descent of linear models: the epochs, and when they end.

descent = run(recipe, numbers, rows, start(coef, intercept), key=key, stopping=stopping)

The part that `sgd_classifier`, `sgd_regressor` and `perceptron` share; one pass is in
`sgd_epoch`. The order of the rows in epoch e is a function of the key and e, and of the
rank of a row among those that have a weight: a row of weight 0 changes nothing.

Letters: n rows, d features, k outputs.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from jaxml.models.classical import sgd_epoch, sgd_order
from jaxml.models.classical.sgd_door import Stopping
from jaxml.models.classical.sgd_epoch import Iterate, Numbers, Recipe, Rows

__all__ = [
    "Descent",
    "decision",
    "label",
    "linear",
    "one_vs_rest",
    "partial",
    "resume",
    "run",
    "start",
    "weights",
]


class Descent(NamedTuple):
    """Where the epochs led."""

    iterate: Iterate
    n_iter: Int[Array, ""]  # epochs of the output that took most
    converged: Bool[Array, ""]  # all outputs stopped by the rule of `tol`


def weights(
    x: Float[Array, "n d"], sample_weight: Float[Array, "n"] | None
) -> Float[Array, "n"]:
    """The weights of the rows, ones if None, in the dtype of the rows."""
    return (
        jnp.ones(len(x), x.dtype)
        if sample_weight is None
        else sample_weight.astype(x.dtype)
    )


def linear(model: Any, x: Float[Array, "m d"]) -> Float[Array, "m k"]:
    """Values of the linear functions of a model at the rows of `x`."""
    highest = jax.lax.Precision.HIGHEST
    coef = jnp.atleast_2d(model.coef)
    return jnp.matmul(x, coef.T, precision=highest) + model.intercept[None]


def decision(model: Any, x: Float[Array, "m d"]) -> Array:
    """Values of a classifier: [m] for two classes, else [m, c]."""
    values = linear(model, x)
    return values[:, 0] if len(model.coef) == 1 else values


def label(model: Any, x: Float[Array, "m d"]) -> Int[Array, "m"]:
    """Class of largest value; of two, class 1 where the value is above 0."""
    values = linear(model, x)
    return (values[:, 0] > 0).astype(int) if values.shape[1] == 1 else values.argmax(1)


def one_vs_rest(
    x: Float[Array, "n d"],
    y: Int[Array, "n"],
    n_classes: int,
    class_weight: Float[Array, "c"] | None,
    sample_weight: Float[Array, "n"] | None,
) -> Rows:
    """Targets -1 and 1 of each output, and the weights of both."""
    ones = jnp.ones(n_classes, x.dtype)
    scale = ones if class_weight is None else class_weight.astype(x.dtype)
    classes = jnp.arange(n_classes)[None]
    if n_classes == 2:
        classes, side = classes[:, 1:], scale[:, None]
    else:
        side = jnp.stack([ones, scale])
    target = jnp.where(y[:, None] == classes, 1, -1).astype(x.dtype)
    return Rows(x, target, weights(x, sample_weight), side)


def resume(model: Any) -> Iterate:
    """The iterate at which the descent of a model stands."""
    coef = jnp.atleast_2d(model.iterate_coef)
    mean = jnp.atleast_2d(model.coef), model.intercept
    return start(coef, model.iterate_intercept, mean, model.t)


def start(
    coef: Float[Array, "k d"],
    intercept: Float[Array, "k"],
    mean: tuple[Array, Array] | None = None,
    t: Int[Array, ""] | None = None,
) -> Iterate:
    """The iterate to begin with.

    Args:
        coef: coefficients.
        intercept: constants.
        mean: averages of both so far; the same if None.
        t: 1 + steps taken; 1 if None.
    """
    squares, sizes = (coef * coef).sum(1), jnp.abs(coef).sum(1)
    mean_coef, mean_intercept = (coef, intercept) if mean is None else mean
    return Iterate(
        coef,
        intercept,
        mean_coef,
        mean_intercept,
        shrunk=jnp.zeros_like(coef),
        due=jnp.zeros_like(intercept),
        squares=squares,
        sizes=sizes,
        t=jnp.asarray(1, int) if t is None else t,
    )


def partial(
    recipe: Recipe,
    values: Numbers,
    rows: Rows,
    iterate: Iterate,
    *,
    key: Key[Array, ""],
    shuffle: bool,
) -> Descent:
    """Take one epoch."""
    numbers = _cast(values, rows.x.dtype)
    active = jnp.ones(rows.target.shape[1], bool)
    rate = jnp.broadcast_to(numbers.eta0, active.shape)
    order = _order(key, rows, recipe, shuffle)
    iterate, _ = sgd_epoch.epoch(recipe, numbers, rows, order, rate, active, iterate)
    return Descent(_averaged(recipe, iterate), jnp.asarray(1, int), jnp.asarray(False))


class _State(NamedTuple):
    iterate: Iterate
    epoch: Int[Array, ""]
    best: Float[Array, "k"]  # least mean objective, or minus the best score
    waited: Int[Array, "k"]  # epochs without progress
    rate: Float[Array, "k"]
    active: Bool[Array, "k"]
    stopped: Bool[Array, "k"]  # by the rule of tol


def run(
    recipe: Recipe,
    values: Numbers,
    rows: Rows,
    iterate: Iterate,
    *,
    key: Key[Array, ""],
    groups: Int[Array, "n"] | None,
    stopping: Stopping,
    tol: float | Float[Array, ""],
    validation_fraction: float | Float[Array, ""],
) -> Descent:
    """Take epochs until there is no progress.

    Args:
        recipe: what is static.
        values: hyperparameters, of any dtype.
        rows: the data.
        iterate: where to start.
        key: random key, for the order of the rows and those set aside.
        groups: labels whose shares the rows set aside keep; None in regression.
        stopping: what is static: a bound on the epochs, whether each draws an order,
            whether progress is measured on rows set aside, and how many epochs without
            progress in a row end the descent.
        tol: an epoch that does not improve the mean objective (or the score) by more
            than this is one without progress; minus infinity: none is.
        validation_fraction: share of the rows set aside.
    """
    numbers = _cast(values, rows.x.dtype)
    key_order, key_split = jax.random.split(key)
    learned, held = rows, jnp.zeros_like(rows.weight)
    if stopping.early_stopping:
        aside = sgd_order.aside(rows.weight, groups, validation_fraction, key=key_split)
        held = jnp.where(aside, rows.weight, 0)
        learned = rows._replace(weight=jnp.where(aside, 0, rows.weight))
    count = (learned.weight > 0).sum()
    dtype = rows.x.dtype
    tol = jnp.asarray(tol, dtype)

    def going(state):
        return (state.epoch < stopping.max_iter) & state.active.any()

    def advance(state):
        key_epoch = jax.random.fold_in(key_order, state.epoch)
        order = _order(key_epoch, rows, recipe, stopping.shuffle)
        iterate, objective = sgd_epoch.epoch(
            recipe, numbers, learned, order, state.rate, state.active, state.iterate
        )
        value = objective / count.astype(dtype)
        if stopping.early_stopping:
            value = -_score(rows, held, groups is not None, iterate)
        state = state._replace(iterate=iterate)
        return _judge(recipe, state, value, tol, stopping.n_iter_no_change)

    outputs = iterate.intercept.shape
    state = jax.lax.while_loop(
        going,
        advance,
        _State(
            iterate,
            jnp.asarray(0, int),
            jnp.full(outputs, jnp.inf, dtype),
            jnp.zeros(outputs, int),
            jnp.broadcast_to(numbers.eta0, outputs),
            jnp.broadcast_to(count > 0, outputs),
            jnp.zeros(outputs, bool),
        ),
    )
    iterate = _averaged(recipe, state.iterate)
    return Descent(iterate, state.epoch, state.stopped.all())


def _cast(values, dtype):
    return Numbers(*(jnp.asarray(value, dtype) for value in values))


def _order(key, rows, recipe, shuffle):
    if shuffle:
        return sgd_order.shuffled(rows.weight, key=key, fast=recipe.native)
    return jnp.arange(len(rows.x), dtype=jnp.int32)


def _averaged(recipe, iterate):
    """The iterate with its average, which is itself where none is taken."""
    if recipe.average:
        return iterate
    return iterate._replace(mean_coef=iterate.coef, mean_intercept=iterate.intercept)


def _judge(recipe, state, value, tol, patience):
    """Whether the outputs go on after an epoch that ended with `value`."""
    iterate, active = state.iterate, state.active
    finite = jnp.isfinite(iterate.intercept) & jnp.isfinite(iterate.coef).all(1)
    waited = jnp.where(value > state.best - tol, state.waited + 1, 0)
    best = jnp.minimum(value, state.best)
    enough = active & finite & (waited >= patience)
    rate = state.rate
    if recipe.learning_rate == "adaptive":
        slower = enough & (rate > 1e-6)
        rate = jnp.where(slower, rate / 5, rate)
        waited = jnp.where(slower, 0, waited)
        enough = enough & ~slower
    return _State(
        iterate,
        state.epoch + 1,
        best,
        waited,
        rate,
        active & finite & ~enough,
        state.stopped | enough,
    )


def _score(rows, weight, classes, iterate):
    """Accuracy, or R², of each output on the rows set aside."""
    highest = jax.lax.Precision.HIGHEST
    p = jnp.matmul(rows.x, iterate.coef.T, precision=highest) + iterate.intercept[None]
    total, weight = weight.sum(), weight[:, None]
    if classes:
        right = (p > 0) == (rows.target > 0)
        return (weight * right).sum(0) / total
    mean = (weight * rows.target).sum(0) / total
    spread = (weight * (rows.target - mean[None]) ** 2).sum(0)
    return 1 - (weight * (rows.target - p) ** 2).sum(0) / spread
