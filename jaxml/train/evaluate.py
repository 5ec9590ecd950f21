"""Evaluation: metrics and predictions over batches, one transfer at the end.

def eval_step(params, extra, batch):
    logits = model.apply({"params": params, **extra}, batch["image"])
    return {"accuracy": metrics.accuracy(logits, batch["label"], batch["weight"])}

scores = evaluate(eval_step, state, loader.epoch())        # {"accuracy": 0.98}
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import Array, PyTree

from jaxml import metrics
from jaxml.train.step import TrainState

__all__ = ["evaluate", "predict"]

EvalStep = Callable[[Any, Any, Any], dict[str, metrics.Mean]]


def evaluate(
    eval_step: EvalStep,
    state: TrainState | PyTree,
    batches: Iterable[Mapping[str, Any]],
    *,
    extra: PyTree = None,
) -> dict[str, float]:
    """Average metrics over batches of any sizes.

    Args:
        eval_step: `eval_step(params, extra, batch) -> {name: Mean}`; it is jitted here,
            once for each shape of a batch.
        state: a `TrainState`, or parameters. For the moving average give
            `state._replace(params=state.ema)`.
        batches: what to go over; padding has weight zero.
        extra: what `eval_step` gets beside parameters; a `TrainState` brings its own.

    Returns:
        One number for each name, the mean over all rows that count.

    Raises:
        ValueError: if there is no batch, or nothing in them has weight.

    >>> rows = [{"y": np.array([1.0, 2.0])}, {"y": np.array([6.0])}]
    >>> def eval_step(shift, extra, batch):
    ...     return {"y": metrics.mean(batch["y"] + shift)}
    >>> evaluate(eval_step, 0.0, rows)
    {'y': 3.0}
    """
    params = state
    if isinstance(state, TrainState):
        params, extra = state.params, state.extra
    step = jax.jit(eval_step)
    total = None
    for batch in batches:
        part = step(params, extra, batch)
        total = part if total is None else _merge(total, part)
    if total is None:
        raise ValueError("batches must hold at least one batch to evaluate; got none")
    scores = {}
    for name, mean in jax.device_get(total).items():
        if mean.weight == 0:
            raise ValueError(f"some row must have weight; all of {name!r} is padding")
        scores[name] = float(mean.total) / float(mean.weight)
    return scores


def predict(
    forward: Callable[[Any, Any], Array],
    variables: PyTree,
    batches: Iterable[Mapping[str, Any]],
) -> np.ndarray:
    """The outputs for all rows, in order, on the host.

    Args:
        forward: `forward(variables, batch) -> outputs [b, ...]`; it is jitted here.
        variables: its first argument.
        batches: what to go over; rows of weight zero are left out.

    Returns:
        The outputs of the rows that count.

    Raises:
        ValueError: if there is no batch.
    """
    step = jax.jit(forward)
    outputs: list[np.ndarray] = []
    waiting = None
    for batch in batches:
        output = step(variables, batch)
        # Fetch the one before only now, so that the device always has work.
        if waiting is not None:
            outputs.append(_real_rows(*waiting))
        waiting = output, batch.get("weight")
    if waiting is None:
        raise ValueError("batches must hold at least one batch to predict; got none")
    outputs.append(_real_rows(*waiting))
    return np.concatenate(outputs)


@jax.jit
def _merge(a, b):
    return {name: metrics.merge(a[name], b[name]) for name in a}


def _real_rows(output, weight):
    rows = _whole(output)
    return rows if weight is None else rows[_whole(weight) > 0]


def _whole(array) -> np.ndarray:
    """All of an array on the host, also where its rows lie on several processes."""
    if isinstance(array, jax.Array) and not array.is_fully_addressable:
        array = multihost_utils.process_allgather(array, tiled=True)
    return np.asarray(array)
