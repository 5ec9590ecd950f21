"""Trees, forests and boosting against scikit-learn, LightGBM and XGBoost.

    python benchmarks/trees.py [--only tree forest ...] [--rows 20000] [--rounds 3]

A line for each task, number of rows and library. Every figure comes from a process of
its own; the libraries take turns. Two threads each (as many as the machine has cores).

fit      from rows in memory (ours: on the device) to a model: binning and data
         structures of the library are part of it. *cold*: the first call of a process
         with an empty compilation cache; *cached*: the first with programs on disk;
         *warm*: the median of later calls. Other libraries have one figure, warm.
predict  probabilities of 20,000 fresh rows, warm; and of 100 rows.
area     under the ROC curve of the fresh rows: the work must be worth the same.
memory   peak resident set in MB, interpreter, libraries and data included.

tree, forest, extra: until leaves are pure; forest10: to depth 10; 100 trees that see
sqrt(d) features. boost31, boost6: 100 iterations of 31 leaves, or of depth 6, 255 bins,
rate 0.1, no row or column sampling.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

D = 28
FRESH = 20_000
THREADS = 2
TASKS = {
    "tree": ("jaxml", "scikit-learn"),
    "forest10": ("jaxml", "scikit-learn"),
    "forest": ("jaxml", "scikit-learn"),
    "extra": ("jaxml", "scikit-learn"),
    "boost31": ("jaxml", "lightgbm", "xgboost", "scikit-learn"),
    "boost6": ("jaxml", "lightgbm", "xgboost", "scikit-learn"),
}


def data(n: int, seed: int):
    """Rows [n, 28] float32 and two classes, with interactions and noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, D)).astype(np.float32)
    x[:, 7:14] = np.exp(0.5 * x[:, 7:14])
    score = x[:, 0] * x[:, 1] + np.sin(2 * x[:, 2]) + np.abs(x[:, 3]) * (x[:, 4] > 0)
    score += 0.7 * x[:, 7] * x[:, 5] - 0.5 * x[:, 8] + 0.3 * x[:, 14:20].sum(1)
    return x, (score + rng.normal(size=n) > 0.4).astype(np.int32)


def ours(task: str):
    """Functions (x, y) -> model and (model, x) -> probabilities, of arrays of jax."""
    import jax

    from jaxml.models.classical import (
        boosting_classifier,
        extra_trees_classifier,
        random_forest_classifier,
        tree_classifier,
    )

    key = jax.random.key(0)
    if task == "tree":
        module, options = tree_classifier, {}
    elif task.startswith("boost"):
        shape = {"max_leaf_nodes": 31} if task == "boost31" else {"max_leaf_nodes": 64}
        shape |= {"max_depth": 6} if task == "boost6" else {}
        module = boosting_classifier
        options = {"max_iter": 100, "early_stopping": False, **shape}
    else:
        module = extra_trees_classifier if task == "extra" else random_forest_classifier
        options = {"n_estimators": 100, "max_features": "sqrt", "key": key}
        options |= {"max_depth": 10} if task == "forest10" else {}
    ready = jax.block_until_ready
    fit = lambda x, y: ready(module.fit(x, y, **options))
    return fit, lambda model, x: ready(module.predict_proba(model, x))


def theirs(task: str, side: str):
    """The same of a peer, of arrays of numpy."""
    if side == "lightgbm":
        import lightgbm

        shape = {"max_depth": 6, "num_leaves": 64} if task == "boost6" else {}
        build = lightgbm.LGBMClassifier
        options = {"n_estimators": 100, "n_jobs": THREADS, "verbose": -1, **shape}
    elif side == "xgboost":
        import xgboost

        leaves = {"grow_policy": "lossguide", "max_leaves": 31, "max_depth": 0}
        shape = {"max_depth": 6} if task == "boost6" else leaves
        build = xgboost.XGBClassifier
        options = {"n_estimators": 100, "learning_rate": 0.1, "n_jobs": THREADS}
        options |= {"tree_method": "hist", **shape}
    elif task.startswith("boost"):
        from sklearn.ensemble import HistGradientBoostingClassifier as build  # noqa: N813

        shape = {"max_depth": 6, "max_leaf_nodes": 64} if task == "boost6" else {}
        options = {"early_stopping": False, **shape}
    elif task == "tree":
        from sklearn.tree import DecisionTreeClassifier as build  # noqa: N813

        options = {"random_state": 0}
    else:
        from sklearn import ensemble

        extra = task == "extra"
        build = getattr(
            ensemble, "ExtraTreesClassifier" if extra else "RandomForestClassifier"
        )
        options = {"n_jobs": THREADS, "random_state": 0}
        options |= {"max_depth": 10} if task == "forest10" else {}
    fit = lambda x, y: build(**options).fit(x, y)
    return fit, lambda model, x: model.predict_proba(x)


def clock(call):
    """The result and its seconds."""
    start = time.perf_counter()
    result = call()
    return result, time.perf_counter() - start


def warm(call, seconds: float) -> float:
    """Median seconds of as many calls as fit into the time, one at least."""
    times: list[float] = []
    while not times or (sum(times) < seconds and len(times) < 20):
        times.append(clock(call)[1])
    return statistics.median(times)


def child(task: str, side: str, n: int, again: bool) -> None:
    """One process: a line of JSON."""
    x, y = data(n, 0)
    fresh, truth = data(FRESH, 1)
    if side == "jaxml":
        import jax.numpy as jnp

        fit, predict = ours(task)
        x, y, fresh = jnp.asarray(x), jnp.asarray(y), jnp.asarray(fresh)
    else:
        fit, predict = theirs(task, side)
    few = fresh[:100]
    model, first = clock(lambda: fit(x, y))
    row = {"first": first}
    if again:
        # Peers have nothing to compile, but threads to start: the first is not counted.
        row["fit"] = warm(lambda: fit(x, y), 3.0) if first < 60 else first
        chance, row["predict_first"] = clock(lambda: predict(model, fresh))
        row["predict"] = warm(lambda: predict(model, fresh), 1.0)
        predict(model, few)
        row["few"] = warm(lambda: predict(model, few), 0.2)
        from sklearn.metrics import roc_auc_score

        row["area"] = roc_auc_score(truth, np.asarray(chance)[:, 1])
    row["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(row), flush=True)


def run(task: str, side: str, n: int, again: bool, cache: str):
    """What a process of its own says; None if it failed."""
    environment = dict(
        os.environ,
        JAX_COMPILATION_CACHE_DIR=cache,
        JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0",
        JAX_PLATFORMS=os.environ.get("JAX_PLATFORMS", "cpu"),
        OMP_NUM_THREADS=str(THREADS),
    )
    command = [sys.executable, __file__, "--child", task, side, str(n), str(int(again))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        print(f"{task}, {side}, {n}: {done.stderr.strip().splitlines()[-1:]}")
        return None
    return json.loads(done.stdout.splitlines()[-1])


def measure(task: str, n: int, rounds: int):
    """A dict for each library."""
    sides = TASKS[task]
    with tempfile.TemporaryDirectory() as cache:
        cold = run(task, "jaxml", n, False, cache)
        turns = [
            {s: run(task, s, n, True, cache) for s in sides} for _ in range(rounds)
        ]
    for side in sides:
        rows = [turn[side] for turn in turns if turn[side]]
        if rows:
            middle = {k: statistics.median(row[k] for row in rows) for k in rows[0]}
            if side == "jaxml" and cold:
                middle["cold"] = cold["first"]
            yield {"task": task, "n": n, "side": side, **middle}


HEAD = """| task | rows | library | fit s | ours: cold | cached | they / ours \
| predict 20k ms | they / ours | 100 rows ms | area | MB |
|---|---|---|---|---|---|---|---|---|---|---|---|"""


def line(row, our) -> str:
    """A row of the Markdown table."""
    mine = row["side"] == "jaxml"
    cold = f"{row['cold']:.2f}" if "cold" in row else ""
    cached = f"{row['first']:.2f}" if mine else ""
    ratio = "" if mine or not our else f"**{row['fit'] / our['fit']:.2f}**"
    faster = "" if mine or not our else f"{row['predict'] / our['predict']:.2f}"
    return (
        f"| {row['task']} | {row['n'] // 1000}k | {row['side']} | {row['fit']:.3g} "
        f"| {cold} | {cached} | {ratio} | {1e3 * row['predict']:.3g} | {faster} "
        f"| {1e3 * row['few']:.2g} | {row['area']:.4f} | {row['memory']:.0f} |"
    )


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", choices=TASKS, default=list(TASKS))
    parser.add_argument(
        "--rows", type=int, nargs="*", default=[20_000, 100_000, 1_000_000]
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", help="append the rows to this file, as JSON lines")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        task, side, n, again = options.child
        child(task, side, int(n), bool(int(again)))
        return
    print(HEAD, flush=True)
    for task in options.only:
        for n in options.rows:
            our = None
            for row in measure(task, n, options.rounds):
                our = row if row["side"] == "jaxml" else our
                print(line(row, our), flush=True)
                if options.out:
                    with open(options.out, "a") as file:
                        file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
