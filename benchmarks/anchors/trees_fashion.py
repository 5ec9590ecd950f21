"""Rows 15 and 26 on Fashion-MNIST (for MNIST), beside scikit-learn.

    python benchmarks/anchors/trees_fashion.py [--only five singles ...]

The book's settings (third edition, chapters 3 and 7) with the estimators of
`jaxml.sklearn` and of scikit-learn in turn, on the same float32 pixels:

five     15: forest, class 5 against the rest, 3 folds: area under the ROC, F1
singles  26: forest and extra trees of 100 trees on 50,000 pictures, linear machine and
         multilayer perceptron beside them: accuracy on the next 10,000
votes    26: the vote of the four, without the linear machine, and soft: on the 10,000
         of validation and the 10,000 of the test
blend    26: a forest of 200 above what the members say of the validation rows
stack    26: a forest above them in 5 folds of the 60,000, on the test
pixels   how much each pixel counts in a forest, as a picture in --folder

--members "forest extra" leaves the slow ones out, --rows 10000 takes fewer pictures.
The perceptron is scikit-learn's on both sides: there is none among the classical models
of this package. The numbers of MNIST are no floors here; scikit-learn's, on the same
rows, are.
"""

from pathlib import Path

import numpy as np
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.neural_network import MLPClassifier
from trees_table import show

from jaxml.data import datasets

VALIDATION = 10_000


def pixels(rows):
    """Training and test rows [n, 784] from 0 to 255, and their labels."""
    data = datasets.load("fashion_mnist")
    flat = lambda part: part["image"].reshape(len(part["label"]), -1)
    to_float = lambda part: flat(part).astype(np.float32)
    train = to_float(data.train)[:rows], data.train["label"][:rows]
    return train, (to_float(data.test), data.test["label"])


def halves(rows):
    """Rows to learn from, to validate with, and of the test."""
    (x, y), test = pixels(rows)
    most = max(VALIDATION * len(x) // 60_000, 1)
    return (x[:-most], y[:-most]), (x[-most:], y[-most:]), test


def chosen(make, seed, members):
    """Those of the book's four that are asked for."""
    every = {
        "forest": make("RandomForestClassifier")(random_state=seed, n_jobs=2),
        "extra": make("ExtraTreesClassifier")(random_state=seed, n_jobs=2),
        "linear": make("LinearSVC")(max_iter=100, tol=20, dual=True, random_state=seed),
        "perceptron": MLPClassifier(random_state=seed),
    }
    return {name: every[name] for name in members.split()}


def five(make, seed, rows, folder, members):
    """Row 15."""
    (x, y), _ = pixels(rows)
    model = make("RandomForestClassifier")(random_state=seed, n_jobs=2)
    proba = cross_val_predict(model, x, y == 5, cv=3, method="predict_proba")[:, 1]
    return {"area": roc_auc_score(y == 5, proba), "F1": f1_score(y == 5, proba >= 0.5)}


def singles(make, seed, rows, folder, members):
    """Row 26: each alone."""
    train, validation, _ = halves(rows)
    fit = lambda model: model.fit(*train).score(*validation)
    return {name: fit(model) for name, model in chosen(make, seed, members).items()}


def votes(make, seed, rows, folder, members):
    """Row 26: together."""
    train, validation, test = halves(rows)
    vote = make("VotingClassifier")(list(chosen(make, seed, members).items())).fit(
        *train
    )
    found = {"all": vote.score(*validation)}
    if "linear" in vote.named_estimators_:
        vote.estimators_.remove(vote.named_estimators_.pop("linear"))
        vote.set_params(linear="drop")
    found |= {"hard": vote.score(*validation), "hard test": vote.score(*test)}
    vote.voting = "soft"
    return found | {"soft": vote.score(*validation), "soft test": vote.score(*test)}


def blend(make, seed, rows, folder, members):
    """Row 26: a forest above, by hand."""
    train, validation, test = halves(rows)
    fitted = [model.fit(*train) for model in chosen(make, seed, members).values()]
    say = lambda x: np.stack([model.predict(x) for model in fitted], 1).astype(float)
    above = make("RandomForestClassifier")(200, oob_score=True, random_state=seed)
    above.fit(say(validation[0]), validation[1])
    return {"out of bag": above.oob_score_, "test": above.score(say(test[0]), test[1])}


def stack(make, seed, rows, folder, members):
    """Row 26: a forest above, in folds."""
    train, test = pixels(rows)
    above = make("RandomForestClassifier")(200, random_state=seed)
    model = make("StackingClassifier")(
        list(chosen(make, seed, members).items()), above, cv=5
    )
    return {"test": model.fit(*train).score(*test)}


def shares(make, seed, rows, folder, members):
    """What each pixel is worth to a forest: a picture, and the share of the border."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    (x, y), _ = pixels(rows)
    model = make("RandomForestClassifier")(100, random_state=seed, n_jobs=2).fit(x, y)
    picture = model.feature_importances_.reshape(28, 28)
    side = "jaxml" if type(model).__module__.startswith("jaxml") else "scikit-learn"
    figure, axes = pyplot.subplots(figsize=(4, 3.4), layout="constrained")
    shown = axes.imshow(picture, cmap="hot")
    axes.set(title=f"Importance of pixels\n{side}", xticks=[], yticks=[])
    bar = figure.colorbar(shown, ticks=[picture.min(), picture.max()])
    bar.ax.set_yticklabels(["Not important", "Very important"])
    figure.savefig(Path(folder) / f"pixels_{side}.png", dpi=150)
    pyplot.close(figure)
    border = picture.sum() - picture[2:-2, 2:-2].sum()
    return {"sum": picture.sum(), "largest": picture.max(), "border": border}


TASKS = {f.__name__: f for f in (five, singles, votes, blend, stack)}
TASKS["pixels"] = shares

if __name__ == "__main__":
    show(
        TASKS,
        __doc__,
        rows=60_000,
        folder=".",
        members="forest extra linear perceptron",
    )
