"""Early stopping: keep the best parameters, and say when nothing gets better.

    best = early_stopping.init(state.params, patience=10)
    for epoch in range(100):
        ...
        best = early_stopping.update(best, scores["loss"], state.params)
        if early_stopping.should_stop(best):
            break
    params = best.params

All is a function of arrays: in a population each member has its own, under vmap.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

__all__ = ["EarlyStopping", "init", "should_stop", "update"]


class EarlyStopping(NamedTuple):
    """The best so far, and how long ago that was."""

    value: Float[Array, ""]  # best value; infinite before the first
    params: PyTree[Array]  # those that reached it
    updates: Int[Array, ""]  # updates so far
    best_update: Int[Array, ""]  # which of them was best, from 1; 0 before the first
    patience: Int[Array, ""]
    min_delta: Float[Array, ""]
    sign: Float[Array, ""]  # 1 if less is better, -1 if more is


def init(
    params: PyTree[Array],
    *,
    patience: int | Int[Array, ""],
    mode: Literal["min", "max"] = "min",
    min_delta: float | Float[Array, ""] = 0.0,
) -> EarlyStopping:
    """The state before the first value.

    Args:
        params: parameters of the untrained model. They are copied, so that a donated
            step may delete them.
        patience: how many updates in a row may bring nothing better, at least 1.
        mode: "min" if less is better (a loss), "max" if more is (an accuracy).
        min_delta: how much better counts as better, in the unit of the value.

    Raises:
        ValueError: if `mode` is another, or `patience` is known to be less than 1.
    """
    if mode not in ("min", "max"):
        raise ValueError(f"mode must be 'min' or 'max'; got {mode!r}")
    if isinstance(patience, int) and patience < 1:
        raise ValueError(f"patience must be at least 1 update; got {patience}")
    sign = jnp.asarray(1.0 if mode == "min" else -1.0)
    return EarlyStopping(
        value=sign * jnp.inf,
        params=jax.tree.map(jnp.copy, params),
        updates=jnp.zeros((), jnp.int32),
        best_update=jnp.zeros((), jnp.int32),
        patience=jnp.asarray(patience, jnp.int32),
        min_delta=jnp.asarray(min_delta, sign.dtype),
        sign=sign,
    )


@jax.jit
def update(
    state: EarlyStopping, value: float | Float[Array, ""], params: PyTree[Array]
) -> EarlyStopping:
    """Take in a `value` and the `params` that gave it.

    A value that is not better by more than `min_delta`, and NaN always, leaves the best
    as it is.

    >>> state = init(jnp.array(0.0), patience=2)
    >>> for step, loss in enumerate([3.0, 1.0, 2.0, jnp.nan]):
    ...     state = update(state, jnp.asarray(loss), jnp.asarray(float(step)))
    >>> float(state.value), float(state.params), bool(should_stop(state))
    (1.0, 1.0, True)
    """
    value = jnp.asarray(value, state.value.dtype)
    better = state.sign * (state.value - value) > state.min_delta
    updates = state.updates + 1
    return state._replace(
        value=jnp.where(better, value, state.value),
        params=jax.tree.map(
            lambda new, old: jnp.where(better, new, old), params, state.params
        ),
        updates=updates,
        best_update=jnp.where(better, updates, state.best_update),
    )


@jax.jit
def should_stop(state: EarlyStopping) -> Bool[Array, ""]:
    """Whether the last `patience` updates brought nothing better."""
    return state.updates - state.best_update >= state.patience
