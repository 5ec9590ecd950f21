"""Sixteen MLPs, 4 rates × 4 seeds, as one program against one after another.

    python benchmarks/population.py [--epochs 20] [--rounds 5] [--float64]

Every way runs the same function of (key, rate), a whole training run on the digits:
"one by one" jits it once and calls it 16 times, "map" loops over the members inside one
program, "vmap" does all at once. Cold is the first call, with compiling and without the
compilation cache; warm is the median of the rounds, in which the ways take turns.

Below, for each rate: how far the losses are from those of the single runs. "map" is
equal to the bit. "vmap" sums in another order, and Adam at a high rate lets such a
difference grow: in float32 long runs part, with `--float64` they do not.
"""

import argparse
import statistics
import time

import jax
import jax.numpy as jnp
import optax

from jaxml import losses, metrics
from jaxml.data import datasets
from jaxml.models.mlp import MLP
from jaxml.train import population
from jaxml.train.step import init, make_step

RATES = (3e-4, 1e-3, 3e-3, 1e-2)
SEEDS = 4
BATCH = 32


def arrays(part) -> dict:
    """Images scaled to [0, 1], on the device once and for all."""
    image = part["image"].astype(jnp.result_type(float)) / 16
    return {"image": jnp.asarray(image), "label": jnp.asarray(part["label"])}


def make_run(epochs: int, hidden: tuple[int, ...]):
    """The function of (key, rate) that all the ways run."""
    data = datasets.load("digits")
    train, test = arrays(data.train), arrays(data.test)
    model = MLP(hidden, num_outputs=10, param_dtype=jnp.result_type(float))

    def loss_fn(params, extra, batch, key):
        logits = model.apply({"params": params}, batch["image"], train=True)
        values = losses.cross_entropy(logits, batch["label"])
        return losses.weighted_mean(values, batch["weight"]), (extra, {})

    def run(key, rate):
        tx = optax.adam(rate)
        params = model.init(key, train["image"][:1])["params"]
        state, history = population.train(
            make_step(loss_fn, tx),
            init(params, tx, key=key),
            train,
            epochs=epochs,
            batch_size=BATCH,
        )
        logits = model.apply({"params": state.params}, test["image"])
        accuracy = metrics.compute(metrics.accuracy(logits, test["label"]))
        return state.params, history["loss"], accuracy

    return run


def ways(run) -> dict:
    """Functions of (keys, rates) that return the results of all members, stacked."""
    alone = jax.jit(run)

    def one_by_one(keys, rates):
        runs = [alone(key, rate) for key, rate in zip(keys, rates, strict=True)]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *runs)

    return {
        "one by one": one_by_one,
        "map": jax.jit(
            lambda keys, rates: jax.lax.map(lambda m: run(*m), (keys, rates))
        ),
        "vmap": jax.jit(jax.vmap(run)),
    }


def timed(function, *args):
    start = time.perf_counter()
    result = jax.block_until_ready(function(*args))
    return result, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--hidden", type=int, nargs="+", default=[300, 100])
    parser.add_argument("--float64", action="store_true")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", options.float64)
    jax.config.update("jax_enable_compilation_cache", False)

    functions = ways(make_run(options.epochs, tuple(options.hidden)))
    keys = jnp.tile(jax.random.split(jax.random.key(0), SEEDS), len(RATES))
    rates = jnp.repeat(jnp.array(RATES), SEEDS)
    results, cold, warm = {}, {}, {name: [] for name in functions}
    for name, function in functions.items():
        results[name], cold[name] = timed(function, keys, rates)
    for _ in range(options.rounds):
        for name, function in functions.items():
            warm[name].append(timed(function, keys, rates)[1])

    print(f"{len(rates)} runs of {options.epochs} epochs, batch {BATCH}; seconds")
    print(f"{'':12}{'cold':>9}{'warm':>9}{'speed-up':>10}")
    base = statistics.median(warm["one by one"])
    for name, times in warm.items():
        median = statistics.median(times)
        print(f"{name:12}{cold[name]:9.2f}{median:9.2f}{base / median:9.2f}x")

    compare(results)


def compare(results) -> None:
    """Print the differences from the single runs, and the scores of those."""
    _, expected, score = results["one by one"]
    print(
        "largest difference of mean losses (first epoch, last), and of test accuracies"
    )
    for i, rate in enumerate(RATES):
        members = slice(i * SEEDS, (i + 1) * SEEDS)
        cells = []
        for name in ("map", "vmap"):
            _, loss, accuracy = results[name]
            apart = jnp.abs(loss.mean(2) - expected.mean(2))[members].max(0)
            wrong = jnp.abs(accuracy - score)[members].max()
            cells.append(f"{name} {apart[0]:.1e}, {apart[-1]:.1e}, {wrong:.4f}")
        told = " ".join(f"{x:.4f}" for x in score[members])
        print(f"rate {rate:<7g}{'   '.join(cells)}   test accuracy {told}")


if __name__ == "__main__":
    main()
