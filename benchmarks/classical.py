"""Every classical model against scikit-learn: fit and predict, cold, cached and warm.

    python benchmarks/classical.py [--only ridge lasso] [--rounds 2] [--out FILE]

Ours and scikit-learn's run in processes of their own that take turns (OpenMP threads
and XLA's pool fight for the cores inside one process). A figure is the median of the
rounds' medians. Three figures for a fit of ours: *cold*, the first call in a process
with an empty compilation cache; *cached*, the first call in a process that finds its
programs in the persistent cache; *warm*, any later call. Rows lie on the device before
the clock starts, as they do in numpy's memory for scikit-learn; both sides are float32.

`quality` is a loss (lower is better; see `classical_cases.py`): a ratio counts only
where ours is not the worse. `memory` is the peak resident set of the process,
interpreter and libraries included, in MB, after that size (the sizes grow).
"""

import argparse
import importlib
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
import classical_cases

SECONDS = 1.0  # of repetitions for one figure


def timed(call) -> float:
    """Median milliseconds of as many calls as fit into the time, three at least."""
    call()
    times: list[float] = []
    while len(times) < 3 or (sum(times) < SECONDS and len(times) < 30):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
        if times[0] > SECONDS:
            break
    return 1e3 * statistics.median(times)


def first(call):
    """The result of one call and its milliseconds."""
    start = time.perf_counter()
    result = call()
    return result, 1e3 * (time.perf_counter() - start)


def child(name: str, side: str, warm: bool, most: int) -> None:
    """Time one side of one model over the sizes; a line of JSON for each."""
    model = classical_cases.MODELS[name]
    contestant = ours if side == "ours" else theirs
    for n, d in classical_cases.SIZES:
        if n > min(model.most, most):
            continue
        task = "regression" if model.task == "isotonic" else model.task
        x, y = classical_cases.data(task, n, d)
        fresh, truth = classical_cases.data(task, model.few, d, seed=1)
        if model.task == "isotonic":
            if d != 20:
                continue
            x, fresh = x[:, 0].copy(), fresh[:, 0].copy()
        row = contestant(model, (x, y, fresh, truth), warm)
        row["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"n": n, "d": d, **row}), flush=True)


def ours(model, data, warm):
    """First calls, and the later ones if `warm`."""
    import jax
    import jax.numpy as jnp

    module = importlib.import_module(f"jaxml.models.classical.{model.module}")
    x, y, fresh, truth = data
    x_there, y_there, fresh_there = map(jnp.asarray, (x, y, fresh))
    options = dict(model.ours) | ({"key": jax.random.key(0)} if model.key else {})
    fit = lambda: jax.block_until_ready(module.fit(x_there, y_there, **options))
    fitted, fit_first = first(fit)
    few = {"out_of_bounds": "clip"} if model.module == "isotonic" else {}
    predict = lambda: jax.block_until_ready(module.predict(fitted, fresh_there, **few))
    predicted, predict_first = first(predict)
    row = {"fit_first": fit_first, "predict_first": predict_first}
    if warm:
        row |= {"fit": timed(fit), "predict": timed(predict)}
        row["quality"] = quality(model, x, y, fitted, np.asarray(predicted), truth, "")
        row["converged"] = bool(np.all(getattr(fitted, "converged", True)))
    return row


def theirs(model, data, warm):
    """The peer's estimator, as its documentation uses it."""
    import warnings

    warnings.simplefilter("ignore")
    home, _, name = model.peer.rpartition(".")
    build = getattr(importlib.import_module(home), name)
    x, y, fresh, truth = data
    fit = lambda: build(**model.theirs).fit(x, y)
    fitted = fit()
    row = {"fit": timed(fit), "predict": timed(lambda: fitted.predict(fresh))}
    predicted = fitted.predict(fresh)
    return row | {"quality": quality(model, x, y, fitted, predicted, truth, "_")}


def quality(model, x, y, fitted, predicted, truth, ending):
    """The objective, or the error on fresh rows."""
    if model.loss is not None:
        part = lambda name: np.asarray(getattr(fitted, name + ending))
        coef, intercept = part("coef"), part("intercept")
        if model.task.startswith("classes"):
            coef = np.atleast_2d(coef)
        return float(model.loss(x, y, coef, intercept))
    if model.task.startswith("classes"):
        return float((predicted != truth).mean())
    return float(((predicted - truth) ** 2).mean())


def run(name: str, side: str, warm: bool, cache: str, most: int):
    """One process; its rows by size."""
    environment = dict(
        os.environ,
        JAX_COMPILATION_CACHE_DIR=cache,
        JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0",
        JAX_PLATFORMS=os.environ.get("JAX_PLATFORMS", "cpu"),
        XDG_CACHE_HOME=cache,
    )
    command = [sys.executable, __file__, "--child", name, side, str(int(warm))]
    command += ["--most", str(most)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        print(f"{name}, {side}: {done.stderr.strip().splitlines()[-1:]}", flush=True)
    rows = [json.loads(line) for line in done.stdout.splitlines() if line[:1] == "{"]
    return {(row["n"], row["d"]): row for row in rows}


def measure(name: str, rounds: int, most: int):
    """All sizes of one model, a dict each."""
    with tempfile.TemporaryDirectory() as cache:
        cold = run(name, "ours", False, cache, most)
        turns = [
            (
                run(name, "theirs", True, cache, most),
                run(name, "ours", True, cache, most),
            )
            for _ in range(rounds)
        ]
    for size, row in cold.items():
        pairs = [
            (peer[size], our[size])
            for peer, our in turns
            if size in peer and size in our
        ]
        if not pairs:
            continue
        yield summary(name, size, row["fit_first"], pairs)


def summary(name, size, cold, pairs):
    """Medians over the rounds."""
    middle = lambda side, key: statistics.median(pair[side][key] for pair in pairs)
    return {
        "model": name,
        "n": size[0],
        "d": size[1],
        "peer_fit": middle(0, "fit"),
        "fit": middle(1, "fit"),
        "cold": cold,
        "cached": middle(1, "fit_first"),
        "peer_predict": middle(0, "predict"),
        "predict": middle(1, "predict"),
        "peer_quality": pairs[0][0]["quality"],
        "quality": pairs[0][1]["quality"],
        "converged": pairs[0][1]["converged"],
        "peer_memory": middle(0, "memory"),
        "memory": middle(1, "memory"),
    }


HEAD = """| model | n | d | fit: peer | ours | ratio | cold | cached \
| predict: peer | ours | ratio | quality: peer | ours | memory: peer | ours |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"""


def line(row) -> str:
    """A row of the Markdown table; times in ms, cold and cached in s."""
    ratio = row["peer_fit"] / row["fit"]
    faster = row["peer_predict"] / row["predict"]
    bad = row["quality"] > row["peer_quality"] * (1 + 1e-5) + 1e-12
    worse = " (worse)" if bad else ""
    return (
        f"| {row['model']} | {row['n'] // 1000}k | {row['d']} "
        f"| {row['peer_fit']:.3g} | {row['fit']:.3g} | **{ratio:.2f}** "
        f"| {row['cold'] / 1e3:.2f} | {row['cached'] / 1e3:.2f} "
        f"| {row['peer_predict']:.3g} | {row['predict']:.3g} | {faster:.2f} "
        f"| {row['peer_quality']:.6g} | {row['quality']:.6g}{worse} "
        f"| {row['peer_memory']:.0f} | {row['memory']:.0f} |"
    )


def main() -> None:
    """Measure, print the table and the geometric means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=list(classical_cases.MODELS))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--most", type=int, default=200_000, help="rows at most")
    parser.add_argument("--out", help="append the rows to this file, as JSON lines")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        name, side, warm = options.child
        child(name, side, bool(int(warm)), options.most)
        return
    print(HEAD, flush=True)
    rows = []
    for name in options.only:
        for row in measure(name, options.rounds, options.most):
            rows.append(row)
            print(line(row), flush=True)
            if options.out:
                with open(options.out, "a") as file:
                    file.write(json.dumps(row) + "\n")
    for what in ("fit", "predict"):
        logs = [math.log(row[f"peer_{what}"] / row[what]) for row in rows]
        print(f"geometric mean, {what}: {math.exp(statistics.mean(logs)):.2f}")
    print("slowest cold fit, s:", max(row["cold"] for row in rows) / 1e3)
    print("slowest cached fit, s:", max(row["cached"] for row in rows) / 1e3)


if __name__ == "__main__":
    main()
