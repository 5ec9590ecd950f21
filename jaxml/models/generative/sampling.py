"""From noise to samples: the loop of any sampler as one scan.

    plan = ddim.plan(schedule, 50)
    x = sampling.run(ddim, plan, partial(model.apply, variables), noise)
    x = sampling.run(ddpm, plan, predict, noise, key=key)             # one that draws

or step by step, in a loop of your own:

    state = ddim.start(plan, noise)
    for i in range(50):
        row = sampling.row(plan, i)
        state = ddim.step(state, predict(ddim.inputs(state, row), row.timestep), row)

A sampler is a module of four pure functions: `plan(schedule, steps)` makes the numbers
of all steps, `start(plan, noise)` the state, `inputs(state, row)` what the network is
given, and `step(state, output, row, noise)` the next state, whose `x` is the sample.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

__all__ = ["path", "row", "run"]


def row(plan: Any, index: int | Int[Array, ""]) -> Any:
    """The numbers of one step of a plan."""
    return jax.tree.map(lambda leaf: leaf[index], plan)


def run(
    sampler: ModuleType,
    plan: Any,
    predict: Callable[[Array, Array], Array],
    noise: Float[Array, "b *shape"],
    *,
    key: Key[Array, ""] | None = None,
) -> Float[Array, "b *shape"]:
    """Samples from noise, all steps in one scan.

    Args:
        sampler: module with `start`, `inputs` and `step`.
        plan: what its `plan` made.
        predict: the network, (x [b ...], timestep [b]) -> answer.
        noise: standard normal; the sampler scales it.
        key: randomness of the steps, for samplers that draw.

    Raises:
        ValueError: if the sampler draws and there is no key.
    """
    return _scan(sampler, plan, predict, noise, key, keep=False)[0].x


def path(
    sampler: ModuleType,
    plan: Any,
    predict: Callable[[Array, Array], Array],
    noise: Float[Array, "b *shape"],
    *,
    key: Key[Array, ""] | None = None,
) -> Float[Array, "steps b *shape"]:
    """As `run`, but the sample after every step."""
    return _scan(sampler, plan, predict, noise, key, keep=True)[1]


def _scan(sampler, plan, predict, noise, key, keep):
    batch = noise.shape[:1]

    def one(state, item):
        index, row = item
        x = sampler.inputs(state, row)
        output = predict(x, jnp.broadcast_to(row.timestep, batch))
        fresh = None
        if key is not None:
            fresh = jax.random.normal(
                jax.random.fold_in(key, index), noise.shape, noise.dtype
            )
        state = sampler.step(state, output, row, fresh)
        return state, state.x if keep else None

    steps = jnp.arange(plan.timestep.shape[0])
    return jax.lax.scan(one, sampler.start(plan, noise), (steps, plan))
