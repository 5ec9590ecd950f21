"""Rows 13, 14, 16, 17, 18 and 23 on Fashion-MNIST (for MNIST), beside scikit-learn.

    python benchmarks/anchors/fashion_classical.py [--svm-rows 10000] [--only sgd ...]

The book's settings (third edition, chapter 3; second, chapter 5) with the estimators of
`jaxml.sklearn` and of scikit-learn in turn, on the same float32 pixels:

sgd      13, 14: hinge, class 5 against the rest, 3 folds: accuracy, area under the ROC
ten      16: the same of ten classes, standardised, 3 folds: accuracy
nearest  17: five neighbours, four by distance, and those with the pictures shifted by
         one pixel four ways (300,000 rows), on the 10,000 of the test: accuracy
labels   18: two labels at once (7 and above; odd), 3 folds: macro F1
machine  23: RBF machine of standardised pixels, on the test: accuracy

The numbers of MNIST are no floors here; scikit-learn's, on the same rows, are.
"""

import argparse
import time

import numpy as np
from sklearn import linear_model, neighbors, svm
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.model_selection import cross_val_predict, cross_val_score
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import jaxml.sklearn as ours
from jaxml.data import datasets

THEIRS = {
    "SGDClassifier": linear_model.SGDClassifier,
    "KNeighborsClassifier": neighbors.KNeighborsClassifier,
    "SVC": svm.SVC,
}


def pixels():
    """Training and test rows [n, 784] from 0 to 255, and their labels."""
    data = datasets.load("fashion_mnist")
    flat = lambda part: part["image"].reshape(len(part["label"]), -1)
    to_float = lambda part: flat(part).astype(np.float32)
    return (
        to_float(data.train),
        data.train["label"],
        to_float(data.test),
        data.test["label"],
    )


def sgd(make, options):
    """Rows 13 and 14."""
    x, y, *_ = pixels()
    model = make("SGDClassifier")(random_state=42)
    accuracy = cross_val_score(model, x, y == 5, cv=3).mean()
    values = cross_val_predict(model, x, y == 5, cv=3, method="decision_function")
    return {"accuracy": accuracy, "area": roc_auc_score(y == 5, values)}


def ten(make, options):
    """Row 16."""
    x, y, *_ = pixels()
    model = make_pipeline(StandardScaler(), make("SGDClassifier")(random_state=42))
    return {"accuracy": cross_val_score(model, x, y, cv=3).mean()}


def nearest(make, options):
    """Row 17."""
    x, y, x_test, y_test = pixels()
    build = make("KNeighborsClassifier")
    plain = build(n_jobs=2).fit(x, y).score(x_test, y_test)
    tuned = build(n_neighbors=4, weights="distance", n_jobs=2)
    pictures = x.reshape(-1, 28, 28)
    moved = [np.zeros_like(pictures) for _ in range(4)]
    moved[0][:, 1:], moved[1][:, :-1] = pictures[:, :-1], pictures[:, 1:]
    moved[2][:, :, 1:], moved[3][:, :, :-1] = pictures[..., :-1], pictures[..., 1:]
    many = np.concatenate([pictures, *moved]).reshape(-1, 784)
    found = {"five": plain, "four": tuned.fit(x, y).score(x_test, y_test)}
    return found | {"shifts": tuned.fit(many, np.tile(y, 5)).score(x_test, y_test)}


def labels(make, options):
    """Row 18."""
    x, y, *_ = pixels()
    both = np.stack([y >= 7, y % 2 == 1], 1).astype(int)
    model = MultiOutputClassifier(make("KNeighborsClassifier")(n_jobs=2))
    found = cross_val_predict(model, x, both, cv=3)
    return {"macro F1": f1_score(both, found, average="macro")}


def machine(make, options):
    """Row 23."""
    x, y, x_test, y_test = pixels()
    rows = slice(options.svm_rows)
    model = make_pipeline(StandardScaler(), make("SVC")(C=5.0))
    return {"accuracy": model.fit(x[rows], y[rows]).score(x_test, y_test)}


TASKS = {f.__name__: f for f in (sgd, ten, nearest, labels, machine)}


def main() -> None:
    """A line a task and side."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", choices=TASKS, default=list(TASKS))
    parser.add_argument("--svm-rows", type=int, default=60_000)
    options = parser.parse_args()
    print("| task | side | found | s |\n|---|---|---|---|")
    for name in options.only:
        for side in ("jaxml", "scikit-learn"):
            make = THEIRS.get if side == "scikit-learn" else vars_of_ours
            start = time.perf_counter()
            found = TASKS[name](make, options)
            seconds = time.perf_counter() - start
            shown = ", ".join(f"{key} {value:.4f}" for key, value in found.items())
            print(f"| {name} | {side} | {shown} | {seconds:.0f} |", flush=True)


def vars_of_ours(name):
    """The class of that name."""
    return getattr(ours, name)


if __name__ == "__main__":
    main()
