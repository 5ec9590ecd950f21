"""Rows 24 and 25: trees, votes, bags and stacks on moons, beside scikit-learn's.

    python benchmarks/anchors/trees_moons.py [--only tree votes ...] [--whole-grid]

The book's exercises (third edition, chapters 6 and 7), on its rows and splits:

regular  150 moons: a free tree 0.898 on 1,000 new ones; of leaves of 5 rows 0.92
tree     24: the tree of a grid search with 3 folds on 8,000 of 10,000 moons: accuracy
         on the 2,000 of the test (floor 0.8595). The book's grid is 98 numbers of
         leaves by 6 depths by 3 sizes; here 14 numbers of leaves unless --whole-grid.
grove    24: 1,000 such trees of 100 rows each: mean accuracy (0.8057), and that of
         their majority (floor 0.873). Ours are one program.
votes    25: logistic regression, forest and SVM on 375 of 500 moons, on the 125 of the
         test: hard (floor 0.912) and soft (floor 0.92)
bag      25: 500 trees of 100 rows each (0.904 in the book), and of as many rows as
         there are: out-of-bag (0.896) and test (floor 0.92)
forest   25: 500 trees of 16 leaves, and on iris the importances (.11 .02 .44 .42)
stumps   30 rounds of AdaBoost on stumps, rate 0.5
stack    25: the three under a forest, 5 folds (floor 0.928)

The test of row 25 has 125 rows, and one of them is 0.008: "new" is the accuracy on
20,000 more moons of the same kind.
"""

import numpy as np
from scipy import stats
from sklearn import datasets
from sklearn.model_selection import GridSearchCV, ShuffleSplit
from trees_table import SPLITS, show


def moons(name):
    """Rows and classes."""
    return SPLITS[f"{name}_X"], SPLITS[f"{name}_y"].astype(int)


def split(name, parts):
    """Training rows, their classes, test rows, their classes."""
    x, y = moons(name)
    train, test = SPLITS[f"{parts}_a"], SPLITS[f"{parts}_b"]
    return x[train], y[train], x[test], y[test]


def regular(make, seed, whole_grid):
    """Trees of 150 moons."""
    x, y = moons("moons150_02_s42")
    test = moons("moons1000_02_s43")
    tree = make("DecisionTreeClassifier")
    free = tree(random_state=seed).fit(x, y)
    held = tree(min_samples_leaf=5, random_state=seed).fit(x, y)
    return {"free": free.score(*test), "leaves of 5": held.score(*test)}


def best_tree(make, seed, whole_grid):
    """The grid search of row 24, and its rows."""
    *train, x_test, y_test = split("moons10000_04_s42", "moons10000_split20_rs42")
    grid = {
        "max_leaf_nodes": list(range(2, 100) if whole_grid else range(4, 60, 4)),
        "max_depth": list(range(1, 7)),
        "min_samples_split": [2, 3, 4],
    }
    tree = make("DecisionTreeClassifier")(random_state=seed)
    search = GridSearchCV(tree, grid, cv=3).fit(*train)
    return search, train, (x_test, y_test)


def tree(make, seed, whole_grid):
    """Row 24: one tree."""
    search, _, test = best_tree(make, seed, whole_grid)
    chosen = {k: v for k, v in search.best_params_.items() if k != "min_samples_split"}
    return {"accuracy": search.score(*test)} | chosen


def grove(make, seed, whole_grid):
    """Row 24: a thousand trees, of the size that the book's search finds."""
    x, y, x_test, y_test = split("moons10000_04_s42", "moons10000_split20_rs42")
    draws = ShuffleSplit(n_splits=1000, test_size=len(x) - 100, random_state=42)
    rows = [some for some, _ in draws.split(x)]
    size = {"max_depth": 6, "max_leaf_nodes": 17, "random_state": seed}
    if make("SVC").__module__.startswith("jaxml"):
        said = grove_of_ours(x, y, np.stack(rows), x_test, size)
    else:
        trees = [make("DecisionTreeClassifier")(**size) for _ in rows]
        said = np.stack(
            [
                t.fit(x[r], y[r]).predict(x_test)
                for t, r in zip(trees, rows, strict=True)
            ]
        )
    mean = (said == y_test[None]).mean()
    return {"mean": mean, "majority": (stats.mode(said)[0] == y_test).mean()}


def grove_of_ours(x, y, rows, x_test, size):
    """What a thousand trees say of the test: one program over the rows of each."""
    import jax
    import jax.numpy as jnp

    from jaxml.models.classical import tree_classifier

    key = jax.random.key(size["random_state"])
    sizes = {name: size[name] for name in ("max_depth", "max_leaf_nodes")}

    @jax.jit
    def program(x, y, x_test, rows):
        def one(rows):
            model = tree_classifier.fit(x[rows], y[rows], key=key, **sizes)
            return tree_classifier.predict(model, x_test)

        return jax.lax.map(one, rows)

    with jax.enable_x64(True):
        return np.asarray(program(*map(jnp.asarray, (x, y, x_test, rows))))


def members(make, seed):
    """The three of the book's votes and stacks."""
    return [
        ("lr", make("LogisticRegression")(random_state=seed)),
        ("rf", make("RandomForestClassifier")(random_state=seed)),
        ("svc", make("SVC")(random_state=seed)),
    ]


def small():
    """The moons of row 25."""
    x, y, x_test, y_test = split("moons500_030_s42", "moons500_split_rs42")
    return (x, y), (x_test, y_test)


def judged(model, test, name="test"):
    """Accuracy on the rows of the book, and on many more."""
    more = datasets.make_moons(20_000, noise=0.3, random_state=7)
    return {name: model.score(*test), f"{name} new": model.score(*more)}


def votes(make, seed, whole_grid):
    """Row 25: hard, then soft."""
    train, test = small()
    vote = make("VotingClassifier")(members(make, seed)).fit(*train)
    found = {
        name: (member.predict(test[0]) == test[1]).mean()
        for name, member in vote.named_estimators_.items()
    }
    found |= judged(vote, test, "hard")
    vote.set_params(voting="soft", svc__probability=True)
    return found | judged(vote.fit(*train), test, "soft")


def bag(make, seed, whole_grid):
    """Row 25: small bags and whole ones."""
    train, test = small()
    tree = make("DecisionTreeClassifier")()
    bags = make("BaggingClassifier")
    few = bags(tree, n_estimators=500, max_samples=100, random_state=seed).fit(*train)
    whole = bags(tree, n_estimators=500, oob_score=True, random_state=seed).fit(*train)
    found = judged(few, test, "100 rows") | {"out of bag": whole.oob_score_}
    return found | judged(whole, test)


def forest(make, seed, whole_grid):
    """Row 25: a forest, and what it says of the parts of a flower."""
    train, test = small()
    forests = make("RandomForestClassifier")
    found = forests(n_estimators=500, max_leaf_nodes=16, random_state=seed).fit(*train)
    x, y = datasets.load_iris(return_X_y=True)
    shares = forests(n_estimators=500, random_state=seed).fit(x, y).feature_importances_
    names = ("sepal length", "sepal width", "petal length", "petal width")
    return judged(found, test) | dict(zip(names, shares, strict=True))


def stumps(make, seed, whole_grid):
    """AdaBoost of chapter 7."""
    train, test = small()
    stump = make("DecisionTreeClassifier")(max_depth=1)
    boost = make("AdaBoostClassifier")(
        stump, n_estimators=30, learning_rate=0.5, random_state=seed
    )
    return judged(boost.fit(*train), test)


def stack(make, seed, whole_grid):
    """Row 25: a forest above the three."""
    train, test = small()
    parts = members(make, seed)
    parts[-1][1].set_params(probability=True)
    above = make("RandomForestClassifier")(random_state=seed + 1)
    model = make("StackingClassifier")(parts, final_estimator=above, cv=5)
    return judged(model.fit(*train), test)


TASKS = {
    f.__name__: f for f in (regular, tree, grove, votes, bag, forest, stumps, stack)
}

if __name__ == "__main__":
    import warnings

    warnings.simplefilter("ignore", FutureWarning)  # scikit-learn's, of `probability`
    show(TASKS, __doc__, whole_grid=False)
