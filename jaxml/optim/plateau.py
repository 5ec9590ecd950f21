"""Performance scheduling: lower the rate when the validation loss no longer falls.

    tx = plateau.plateau(optimizers.adamw(1e-3), factor=0.5, patience=5)
    opt_state = plateau.observe(opt_state, validation_loss)     # after each evaluation

The rate of the wrapped optimizer, whatever its schedule, is multiplied by a scale that
starts at 1; `learning_rate` in its state shows the product. Everything is in the state,
so a resumed run goes on as it was, and a population may be vmapped over its settings.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

__all__ = ["PlateauState", "Settings", "observe", "plateau"]


class Settings(NamedTuple):
    """What `plateau` was told, as arrays."""

    factor: Float[Array, ""]
    patience: Int[Array, ""]
    cooldown: Int[Array, ""]
    threshold: Float[Array, ""]
    min_delta: Float[Array, ""]
    min_scale: Float[Array, ""]
    larger: Bool[Array, ""]  # is better


class PlateauState(NamedTuple):
    """The scale of the rate and what decides about it."""

    scale: Float[Array, ""]
    best: Float[Array, ""]
    since: Int[Array, ""]  # observations without improvement
    resting: Int[Array, ""]  # observations until the cooldown ends
    settings: Settings
    inner: Any  # state of the wrapped optimizer


def plateau(
    tx: optax.GradientTransformation,
    *,
    factor: ArrayLike = 0.1,
    patience: ArrayLike = 10,
    cooldown: ArrayLike = 0,
    threshold: ArrayLike = 1e-4,
    min_delta: ArrayLike = 0.0,
    min_scale: ArrayLike = 0.0,
    larger_is_better: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """Wrap an optimizer of `jaxml.optim` so that `observe` can lower its rate.

    Names and meaning are those of torch's ReduceLROnPlateau. Keras lowers one
    observation earlier: its patience p is p - 1 here.

    Args:
        tx: the optimizer, or a chain or groups of such.
        factor: what the scale is multiplied by, in (0, 1).
        patience: observations without improvement that are tolerated.
        cooldown: observations after a fall that are not counted.
        threshold: the improvement that counts, relative to the size of the best value.
        min_delta: the improvement that counts, absolute, in the unit of the value;
            added to that of `threshold`.
        min_scale: the scale does not fall below it.
        larger_is_better: true for an accuracy, false for a loss.

    Raises:
        ValueError: on a factor that is a number outside (0, 1).
    """
    if isinstance(factor, int | float) and not 0 < factor < 1:
        raise ValueError(f"factor must be between 0 and 1; got {factor}")
    tx = optax.with_extra_args_support(tx)

    def init(params):
        settings = Settings(
            jnp.array(factor, float),
            jnp.array(patience, jnp.int32),
            jnp.array(cooldown, jnp.int32),
            jnp.array(threshold, float),
            jnp.array(min_delta, float),
            jnp.array(min_scale, float),
            jnp.array(larger_is_better),
        )
        return PlateauState(
            scale=jnp.ones((), float),
            best=jnp.array(-jnp.inf if larger_is_better else jnp.inf, float),
            since=jnp.zeros((), jnp.int32),
            resting=jnp.zeros((), jnp.int32),
            settings=settings,
            inner=tx.init(params),
        )

    def update(grads, state, params=None, *, rate_scale: ArrayLike = 1.0, **extra):
        scale = state.scale * rate_scale
        updates, inner = tx.update(
            grads, state.inner, params, rate_scale=scale, **extra
        )
        return updates, state._replace(inner=inner)

    return optax.GradientTransformationExtraArgs(init, update)


def observe(opt_state: optax.OptState, value: ArrayLike) -> optax.OptState:
    """The state after an evaluation gave `value`: pure, fit for jit and vmap.

    Args:
        opt_state: of an optimizer that holds a `plateau`, however deep.
        value: the loss or score of the evaluation. NaN is no improvement.

    Raises:
        ValueError: if there is no `plateau` in the optimizer.
    """

    def is_plateau(node):
        return isinstance(node, PlateauState)

    if not any(map(is_plateau, jax.tree.leaves(opt_state, is_leaf=is_plateau))):
        raise ValueError(
            "observe needs the state of an optimizer wrapped in plateau(...); "
            f"got a {type(opt_state).__name__} without a PlateauState"
        )
    return jax.tree.map(
        lambda node: _observe(node, value) if is_plateau(node) else node,
        opt_state,
        is_leaf=is_plateau,
    )


def _observe(state: PlateauState, value: ArrayLike) -> PlateauState:
    settings = state.settings
    value = jnp.asarray(value, state.best.dtype)
    sign = jnp.where(settings.larger, -1.0, 1.0).astype(value.dtype)
    # Infinity before the first observation: a margin of it would be NaN.
    size = jnp.where(jnp.isfinite(state.best), jnp.abs(state.best), 0.0)
    margin = settings.threshold * size + settings.min_delta
    better = sign * value < sign * state.best - margin
    since = jnp.where(better | (state.resting > 0), 0, state.since + 1)
    lower = since > settings.patience
    lowered = jnp.maximum(state.scale * settings.factor, settings.min_scale)
    return state._replace(
        scale=jnp.where(lower, lowered, state.scale),
        best=jnp.where(better, value, state.best),
        since=jnp.where(lower, 0, since),
        resting=jnp.where(lower, settings.cooldown, jnp.maximum(state.resting - 1, 0)),
    )
