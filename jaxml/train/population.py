"""A whole run as one pure function: train many networks at once, under vmap.

    def run(key, rate):
        tx = optax.adam(rate)
        state = step.init(model.init(key, x[:1])["params"], tx, key=key)
        take = step.make_step(loss_fn, tx)
        return population.train(take, state, arrays, epochs=5, batch_size=32)

    runs = jax.jit(jax.vmap(jax.vmap(run, (0, None)), (None, 0)))
    keys, rates = jax.random.split(key, 4), jnp.array([1e-3, 3e-3])
    states, metrics = runs(keys, rates)  # [2, 4, ...]

The data lies on the device and is not copied for the members. On a CPU only small
networks gain from vmap: the state of all members must fit into the cache, else
`jax.lax.map` over them is as fast; and convolutions inside the loop of a run are ten
times slower than in a jitted step, so take `jaxml.train.loop` for those.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key, PyTree

from jaxml.train.step import TrainState

__all__ = ["order", "train"]


def train(
    step: Callable[[TrainState, Any], tuple[TrainState, dict[str, Array]]],
    state: TrainState,
    arrays: dict[str, Array],
    *,
    epochs: int,
    batch_size: int,
    evaluate: Callable[[TrainState], PyTree[Array]] | None = None,
) -> tuple[TrainState, dict[str, Any]]:
    """Take all the steps of a run.

    The order of the rows is a function of `state.key` and the number of the epoch,
    which `state.step` tells; so two calls of 5 epochs are one of 10.

    Args:
        step: made by `make_step`, not jitted.
        state: made by `init`, at the start of an epoch.
        arrays: the data, sharing the leading axis. Batches get the rows of each, and
            `"weight"`, 0 for what pads the last batch of an epoch (times the `"weight"`
            of `arrays`, if any).
        epochs: passes over the data.
        batch_size: rows of a batch, from 1 to the number of rows.
        evaluate: `evaluate(state)`, taken after each epoch.

    Returns:
        The state after the last step, and the metrics of all steps, [epochs, steps of
        an epoch] each. What `evaluate` returned is there under `"evaluate"`, [epochs,
        ...].

    Raises:
        ValueError: if the arrays differ in rows, or a number is out of its range.
    """
    sizes = {name: len(array) for name, array in arrays.items()}
    rows = next(iter(sizes.values()), 0)
    if len(set(sizes.values())) != 1:
        raise ValueError(f"arrays must share one number of rows; got {sizes}")
    if not 1 <= batch_size <= rows:
        raise ValueError(
            f"batch_size must be from 1 to the number of rows {rows}; got {batch_size}"
        )
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1; got {epochs}")
    steps = math.ceil(rows / batch_size)

    def one_step(state, batch_rows):
        real = batch_rows >= 0
        batch = {name: array[batch_rows] for name, array in arrays.items()}
        weight = real.astype(jnp.float32)
        batch["weight"] = weight * batch["weight"] if "weight" in batch else weight
        return step(state, batch)

    def one_epoch(state, _):
        permutation = order(state.key, state.step // steps, rows)
        # -1, the padding, reads the last row: a real one, as a batch norm would want.
        padded = jnp.pad(
            permutation, (0, steps * batch_size - rows), constant_values=-1
        )
        state, metrics = jax.lax.scan(
            one_step, state, padded.reshape(steps, batch_size)
        )
        return state, metrics if evaluate is None else metrics | {
            "evaluate": evaluate(state)
        }

    return jax.lax.scan(one_epoch, state, None, length=epochs)


def order(
    key: Key[Array, ""], epoch: int | Int[Array, ""], rows: int
) -> Int[Array, "{rows}"]:
    """The order of the rows in an epoch, a function of the key of a run.

    Sorted random integers: `jax.random.permutation` sorts several times, which is slow.
    """
    # Apart from the keys of the steps, which fold in 0, 1, 2, ...
    key = jax.random.fold_in(jax.random.fold_in(key, 2**32 - 1), epoch)
    bits = jax.random.bits(key, (rows,), jnp.uint32)
    return jax.lax.sort((bits, jnp.arange(rows)), num_keys=1)[1]
