"""What the loop costs: `jaxml.train.loop` against a bare `for` over the same batches.

    python benchmarks/step_overhead.py [--rounds 15] [--only mlp-32] [--steps 1000]

Both take the same jitted step and the same loader. The loop logs every 50 steps, draws
a progress bar as on a terminal, and saves every 500. They alternate, round by round;
of each round the steps 100 to 1100 are timed, with two saves in them. Then the loop is
run once more, waiting for the device after each step, to see how long a step takes
beside a save. The goal: at most 3 % over the bare loop, at most 10 % beside a save.
"""

import argparse
import contextlib
import os
import tempfile
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.console import Console
from rich.table import Table

from jaxml.data.loader import Loader
from jaxml.models.mlp import MLP
from jaxml.models.vision.cnn import CNN
from jaxml.train import folder, loop
from jaxml.train.step import init, make_step

WARM, LOG_EVERY = 100, 50
CASES = {  # network, rows in a batch, steps that are timed, steps between two saves
    "mlp-32": (MLP((300, 100), num_outputs=10), 32, 1000, 500),
    "mlp-512": (MLP((300, 100), num_outputs=10), 512, 1000, 500),
    "cnn-64": (CNN(num_classes=10), 64, 500, 500),
}


def build(model, batch_size):
    """A jitted step, a function that makes its first state, and a loader."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (60_000, 28, 28, 1), np.uint8)
    label = rng.integers(0, 10, 60_000).astype(np.int32)
    loader = Loader({"image": image, "label": label}, batch_size)
    tx = optax.inject_hyperparams(optax.adam)(optax.constant_schedule(1e-3))

    def loss_fn(params, extra, batch, key):
        logits, extra = model.apply(
            {"params": params, **extra},
            batch["image"].astype(jnp.float32) / 255,
            train=True,
            mutable=["batch_stats"],
        )
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])
        weight = batch["weight"]
        return (weight * losses).sum() / weight.sum(), (extra, {})

    extra = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 28, 28, 1)))
    state = init(extra.pop("params"), tx, key=jax.random.key(1), extra=extra)

    def start():
        return jax.tree.map(jnp.copy, state)

    return jax.jit(make_step(loss_fn, tx), donate_argnums=0), start, loader


def bare(step, state, loader):
    """What one would write by hand."""
    with contextlib.closing(loader.stream()) as batches:
        for batch in batches:
            state, metrics = step(state, batch)
            yield state, metrics


@contextlib.contextmanager
def booked(step, state, loader, save_every):
    """The loop with everything on; its terminal is the null device."""
    with (
        tempfile.TemporaryDirectory() as home,
        open(os.devnull, "w") as null,
        contextlib.redirect_stderr(null),
    ):
        run = folder.create(home)
        options = {"log_every": LOG_EVERY, "save_every": save_every, "progress": True}
        with contextlib.closing(
            loop.run(step, state, loader, steps=10**9, folder=run, **options)
        ) as pairs:
            yield run, pairs
        run.checkpoints.close()


def milliseconds(pairs, steps):
    """Of the clock and of the processors, for a step after step WARM."""
    for number, (state, _) in enumerate(pairs, 1):
        if number == WARM:
            jax.block_until_ready(state)
            clock, cpu = time.perf_counter(), time.process_time()
        if number == WARM + steps:
            jax.block_until_ready(state)
            spent = time.perf_counter() - clock, time.process_time() - cpu
            return [1e3 * each / steps for each in spent]
    raise ValueError("the batches ended too soon")


def beside_a_save(step, start, loader, steps, save_every):
    """Milliseconds of the steps that run alone, that save, and beside a save."""
    alone, calls, beside = [], [], []
    with booked(step, start(), loader, save_every) as (run, pairs):
        where = run.path / "checkpoints"
        writing, began = False, time.perf_counter()
        for number, (_, metrics) in enumerate(pairs, 1):
            jax.block_until_ready(metrics["loss"])
            took = 1e3 * (time.perf_counter() - began)
            if (number > WARM and number % LOG_EVERY) or number % save_every == 0:
                kind = (
                    calls if number % save_every == 0 else beside if writing else alone
                )
                kind.append(took)
            if number == WARM + steps:
                break
            writing = any(name.endswith(".partial") for name in os.listdir(where))
            began = time.perf_counter()
    return alone, calls, beside


def quantiles(values):
    if not len(values):
        return "-"
    low, middle, high = np.quantile(values, [0.1, 0.5, 0.9])
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def compare(name, rounds, shorter):
    """A row of each table."""
    model, batch_size, steps, save_every = CASES[name]
    if shorter:
        steps, save_every = shorter, min(save_every, shorter)
    step, start, loader = build(model, batch_size)
    times = {"bare": [], "loop": []}
    for number in range(rounds + 1):
        for kind in sorted(times, reverse=bool(number % 2)):
            if kind == "bare":
                spent = milliseconds(bare(step, start(), loader), steps)
            else:
                with booked(step, start(), loader, save_every) as (_, pairs):
                    spent = milliseconds(pairs, steps)
            if number:  # the first round compiles
                times[kind].append(spent)
    plain, full = np.array(times["bare"]), np.array(times["loop"])
    over = np.median(full / plain, axis=0) - 1
    least = full.min(0) / plain.min(0) - 1
    kinds = [[], [], []]
    for _ in range(max(rounds // 3, 1)):
        parts = beside_a_save(step, start, loader, steps, save_every)
        for kept, new in zip(kinds, parts, strict=True):
            kept += new
    return (
        name,
        quantiles(plain[:, 0]),
        quantiles(full[:, 0]),
        f"{over[0]:+.1%} ({least[0]:+.1%})",
        f"{over[1]:+.1%} ({least[1]:+.1%})",
    ), (name, *map(quantiles, kinds), f"{len(kinds[2])}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", choices=CASES, action="append")
    parser.add_argument("--steps", type=int, help="to time in a round, less for a try")
    options = parser.parse_args()
    os.environ["FORCE_COLOR"] = "1"  # the bar draws as on a terminal
    heads = ["case", "bare, ms a step", "loop", "over bare (fastest)", "CPU over bare"]
    overhead = Table(*heads)
    saves = Table("case", "alone, ms a step", "that saves", "beside a save", "n")
    for name in options.only or CASES:
        for table, row in zip(
            (overhead, saves), compare(name, options.rounds, options.steps), strict=True
        ):
            table.add_row(*row)
    del os.environ["FORCE_COLOR"]
    console = Console(width=100)
    load = os.getloadavg()[0]
    console.print(
        f"{os.cpu_count()} cores (load {load:.1f}), jax {jax.__version__}; "
        "medians (deciles); figures count only where nothing else runs"
    )
    console.print(overhead)
    console.print(saves)


if __name__ == "__main__":
    main()
