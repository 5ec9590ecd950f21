"""What the scripts of this folder share: data, a plain run, and the line of a result.

    parts = training.fashion(options)
    state = training.fit(model, parts.train, optimizers.sgd(1e-2), epochs=30)
    training.scorer(model, parts.valid)(state)

An epoch is one call, a scan over the rows that the loader orders; networks with
convolutions go batch by batch, since XLA runs those ten times slower inside a loop on a
CPU. Every number that a script prints has its floor beside it: what the notebooks of
the book "Hands-On Machine Learning" print for the same data, split and kind of model.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxml import losses, metrics
from jaxml.data import datasets, preprocess
from jaxml.data.loader import Loader
from jaxml.train import early_stopping, evaluate
from jaxml.train import step as train


class Parts(NamedTuple):
    """Arrays `x` and `y` of each part of the data."""

    train: dict
    valid: dict
    test: dict


class Goal(NamedTuple):
    """What is minimised, and what is told."""

    loss: Callable  # (outputs [b, k], y [b]) -> [b]
    metric: Callable  # (outputs [b, k], y [b], weight [b]) -> metrics.Mean


class Keep(NamedTuple):
    """Stop when `score` gets no better, and take the weights that were best."""

    score: Callable  # of a state, after each epoch
    patience: int  # epochs
    mode: str = "min"
    min_delta: float = 0.0


CLASSES = Goal(losses.cross_entropy, metrics.accuracy)
LOSS = Goal(
    losses.cross_entropy,
    lambda outputs, y, w: metrics.mean(losses.cross_entropy(outputs, y), w),
)


def options(description: str, **flags: str) -> argparse.Namespace:
    """What all the scripts take, and the flags (name and help) of one of them."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--smoke", action="store_true", help="tiny: does it run?")
    for name, text in flags.items():
        parser.add_argument(f"--{name}", action="store_true", help=text)
    return parser.parse_args()


def fashion(options, *, standardise=False, train_rows=55_000) -> Parts:
    """Fashion-MNIST: the first rows to train on, the last 5,000 to validate, a test."""
    data = datasets.load("fashion_mnist")
    first = {name: array[:train_rows] for name, array in data.train.items()}
    last = {name: array[-5_000:] for name, array in data.train.items()}
    parts = [pictures(part, 2_000 if options.smoke else None) for part in (first, last)]
    return scaled(Parts(*parts, pictures(data.test)), standardise)


def pictures(part, rows=None) -> dict:
    """Images as `x`, from 0 to 1, and labels as `y`."""
    image, label = part["image"][:rows], part["label"][:rows]
    return {"x": image.astype(np.float32) / 255, "y": label}


def scaled(parts: Parts, standardise=True) -> Parts:
    """Each feature with mean 0 and deviation 1 over the rows to train on."""
    if not standardise:
        return parts
    scaler = preprocess.fit(parts.train["x"])
    return Parts(
        *({**p, "x": np.asarray(preprocess.transform(scaler, p["x"]))} for p in parts)
    )


def fit(
    model,
    arrays,
    tx,
    *,
    epochs,
    seed=0,
    batch_size=32,
    goal=CLASSES,
    variables=None,
    scan=True,
    keep: Keep | None = None,
) -> train.TrainState:
    """Train for some epochs, or as long as `keep` says."""
    extra = start(model, arrays, seed) if variables is None else variables
    extra = {**jax.tree.map(jnp.copy, extra)}  # the step deletes what it is given
    state = train.init(extra.pop("params"), tx, key=jax.random.key(seed), extra=extra)
    loader = Loader(arrays, batch_size, seed=seed)
    step = train.make_step(loss_function(model, goal), tx)

    def over(state, arrays, rows):
        def one(state, rows):
            batch = {
                name: array[jnp.maximum(rows, 0)] for name, array in arrays.items()
            }
            return step(state, batch | {"weight": (rows >= 0).astype(jnp.float32)})

        return jax.lax.scan(one, state, rows)[0]

    if scan:
        arrays, over = jax.device_put(arrays), jax.jit(over, donate_argnums=0)
    else:
        step = jax.jit(step, donate_argnums=0)
    if keep is not None:
        now = (state.params, state.extra)
        score, patience, mode, min_delta = keep
        best = early_stopping.init(
            now, patience=patience, mode=mode, min_delta=min_delta
        )
    for epoch in range(epochs):
        if scan:
            state = over(state, arrays, order(loader, epoch))
        else:
            for batch in loader.epoch(epoch):
                state, _ = step(state, batch)
        if keep is not None:
            now = (state.params, state.extra)
            best = early_stopping.update(best, score(state), now)
            if early_stopping.should_stop(best):
                break
    if keep is None:
        return state
    params, extra = best.params
    return state._replace(params=params, extra=extra)


def start(model, arrays, seed) -> dict:
    """Fresh variables, `params` among them."""
    return jax.jit(model.init)(jax.random.key(seed), jnp.asarray(arrays["x"][:1]))


def order(loader, epoch) -> np.ndarray:
    """The rows of each batch of an epoch [steps, batch]; -1 fills up the last."""
    steps = range(loader.steps_per_epoch)
    return np.stack([loader.indices(epoch, index) for index in steps]).astype(np.int32)


def loss_function(model, goal):
    """The loss in the form that `make_step` takes."""

    def loss_fn(params, extra, batch, key):
        outputs, extra = model.apply(
            {"params": params, **extra},
            batch["x"],
            train=True,
            mask=batch["weight"] > 0,
            mutable=["batch_stats"],
            rngs={"dropout": key},
        )
        values = goal.loss(outputs, batch["y"])
        return losses.weighted_mean(values, batch["weight"]), (extra, {})

    return loss_fn


def scorer(model, arrays, goal=CLASSES) -> Callable[[train.TrainState], float]:
    """A function from a state to the goal's metric on `arrays`."""
    loader = Loader(arrays, min(1_000, len(arrays["y"])), shuffle=False)

    def eval_step(params, extra, batch):
        outputs = model.apply({"params": params, **extra}, batch["x"])
        return {"score": goal.metric(outputs, batch["y"], batch["weight"])}

    return lambda state: evaluate.evaluate(eval_step, state, loader.epoch())["score"]


def report(row, floors: dict, run, options, *, best=max, word="floor") -> None:
    """Print the results {what: number} of `run(seed)`, the median over the seeds."""
    results, seconds = [], []
    for seed in range(options.seeds):
        begin = time.perf_counter()
        results.append(run(seed))
        seconds.append(time.perf_counter() - begin)
    for what, floor in floors.items():
        values = [result[what] for result in results]
        line = f"row {row} {what} {statistics.median(values):.4f}"
        if options.seeds > 1:
            line += f" best {best(values):.4f} of {options.seeds} seeds"
        if floor is not None:
            line += f" ({word} {floor:.4f})"
        print(line, f"seconds {statistics.median(seconds):.0f}", flush=True)
