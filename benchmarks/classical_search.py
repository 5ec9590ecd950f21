"""A whole cross-validated search as one program, against scikit-learn's GridSearchCV.

    python benchmarks/classical_search.py [--rounds 3]

Three searches on 5,000 rows of 20 features, 5 folds each: 100 values of alpha for
ridge, 20 values of C for logistic regression, and 5 learning rates by 4 L2 penalties
for 50 iterations of histogram gradient boosting. Ours: a fold is a weight of 0, one
jitted program gives the mean score of every value. Theirs: GridSearchCV(n_jobs=2),
which also refits the best (ours does too, so that both end with a model). The sides run
in processes of their own that take turns; the values chosen and how far the scores are
apart are printed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from functools import partial

import numpy as np

N, D, FOLDS = 5_000, 20, 5
ALPHAS = np.logspace(-3, 4, 100).astype(np.float32)
CS = np.logspace(-3, 2, 20).astype(np.float32)
RATES = np.array([0.02, 0.05, 0.1, 0.2, 0.4], np.float32)
PENALTIES = np.array([0, 1, 10, 100], np.float32)


def data():
    """Rows, a number to predict and a label."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, D)).astype(np.float32)
    signal = x @ rng.normal(size=D) / 4
    y = (signal + rng.normal(size=N)).astype(np.float32)
    return x, y, (signal + 0.5 * rng.normal(size=N) > 0).astype(np.int32)


def ours():
    """Ridge from moments, logistic by warm paths, boosting side by side."""
    import jax
    import jax.numpy as jnp

    from jaxml.models.classical import boosting_classifier, logistic, ridge

    x, y, labels = map(jnp.asarray, data())
    held = jnp.asarray(np.eye(FOLDS)[np.repeat(np.arange(FOLDS), N // FOLDS)].T)
    held = held.astype(x.dtype)  # [fold, row]: 1 where the row is held out
    alphas, cs = jnp.asarray(ALPHAS), jnp.asarray(CS)

    @jax.jit
    def search_ridge(x, y, alphas):
        parts = [ridge.stats(x[i], y[i]) for i in np.split(np.arange(N), FOLDS)]
        whole = parts[0]
        for part in parts[1:]:
            whole = ridge.merge(whole, part)

        def fold(part, x, y):
            rest = ridge.subtract(whole, part)
            models = ridge.solve_path(rest, alphas=alphas)
            left = y[:, None] - x @ models.coef[:, 0].T - models.intercept.T
            return 1 - (left**2).mean(0) / y.var()

        parts = jax.tree.map(lambda *leaves: jnp.stack(leaves), *parts)
        cut = lambda rows: rows.reshape(FOLDS, N // FOLDS, *rows.shape[1:])
        scores = jax.vmap(fold)(parts, cut(x), cut(y)).mean(0)
        best = scores.argmax()
        return scores, best, ridge.solve(whole, alpha=alphas[best])

    @jax.jit
    def search_logistic(x, labels, cs):
        def fold(out):
            models = logistic.path(x, labels, Cs=cs, sample_weight=1 - out)
            right = jax.vmap(lambda m: logistic.predict(m, x) == labels)(models)
            return (right * out[None]).sum(1) / out.sum()

        scores = jax.lax.map(fold, held).mean(0)
        best = scores.argmax()
        return scores, best, logistic.fit(x, labels, C=cs[best])

    boost = partial(boosting_classifier.fit, max_iter=50, early_stopping=False)
    rates, penalties = (leaf.ravel() for leaf in np.meshgrid(RATES, PENALTIES))
    settings = jnp.asarray(rates), jnp.asarray(penalties)

    @jax.jit
    def search_boosting(x, labels, settings):
        def score(setting, out):
            rate, penalty = setting
            model = boost(
                x,
                labels,
                learning_rate=rate,
                l2_regularization=penalty,
                sample_weight=1 - out,
            )
            right = boosting_classifier.predict(model, x) == labels
            return (right * out).sum() / out.sum()

        fold = lambda out: jax.vmap(lambda setting: score(setting, out))(settings)
        scores = jax.lax.map(fold, held).mean(0)
        best = scores.argmax()
        rate, penalty = (values[best] for values in settings)
        model = boost(x, labels, learning_rate=rate, l2_regularization=penalty)
        return scores, best, model

    return {
        "boosting": lambda: jax.block_until_ready(search_boosting(x, labels, settings))[
            :2
        ],
        "ridge": lambda: jax.block_until_ready(search_ridge(x, y, alphas))[:2],
        "logistic": lambda: jax.block_until_ready(search_logistic(x, labels, cs))[:2],
    }


def theirs():
    """The same searches by GridSearchCV."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.model_selection import GridSearchCV, KFold

    x, y, labels = data()

    def search(model, values, target):
        grid = GridSearchCV(model, values, cv=KFold(FOLDS), n_jobs=2)
        grid.fit(x, target)
        return grid.cv_results_["mean_test_score"], grid.best_index_

    boost = HistGradientBoostingClassifier(max_iter=50, early_stopping=False)
    # The first name varies slowest, as in the grid of ours.
    grid = {"l2_regularization": PENALTIES, "learning_rate": RATES}
    return {
        "boosting": lambda: search(boost, grid, labels),
        "ridge": lambda: search(Ridge(), {"alpha": ALPHAS}, y),
        "logistic": lambda: search(LogisticRegression(), {"C": CS}, labels),
    }


def child(side: str) -> None:
    """Cold and warm seconds of the searches, and what they found."""
    for name, search in (ours if side == "ours" else theirs)().items():
        start = time.perf_counter()
        scores, best = search()
        cold = time.perf_counter() - start
        times = []
        for _ in range(5 if side == "ours" else 3):
            start = time.perf_counter()
            search()
            times.append(time.perf_counter() - start)
        found = {"scores": np.asarray(scores).tolist(), "best": int(best)}
        row = {"search": name, "cold": cold, "warm": statistics.median(times)}
        print(json.dumps(row | found), flush=True)


def main() -> None:
    """Take turns, check agreement, print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", choices=("ours", "theirs"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child)
        return
    runs = {"ours": [], "theirs": []}
    environment = dict(os.environ, JAX_PLATFORMS=os.environ.get("JAX_PLATFORMS", "cpu"))
    for _ in range(options.rounds):
        for side, rows in runs.items():
            command = [sys.executable, __file__, "--child", side]
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=True
            )
            rows.append([json.loads(line) for line in done.stdout.splitlines()])
    for index, name in enumerate(("boosting", "ridge", "logistic")):
        row = {side: [run[index] for run in rows] for side, rows in runs.items()}
        warm = {
            s: statistics.median(r["warm"] for r in rows) for s, rows in row.items()
        }
        cold = statistics.median(r["cold"] for r in row["ours"])
        one, two = row["ours"][0], row["theirs"][0]
        apart = np.abs(np.subtract(one["scores"], two["scores"])).max()
        print(
            f"{name}: GridSearchCV {1e3 * warm['theirs']:.0f} ms, ours "
            f"{1e3 * warm['ours']:.2f} ms ({warm['theirs'] / warm['ours']:.0f}x; first "
            f"call {cold:.2f} s); best {two['best']} and {one['best']}, scores differ "
            f"by at most {apart:.1e}"
        )


if __name__ == "__main__":
    main()
