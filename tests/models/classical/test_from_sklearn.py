"""scikit-learn's trees, forests and boosters, loaded, against scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.models.classical import from_sklearn, imported
from tests.models.classical.foreign import (
    assert_close,
    new_rows,
    one_thread,
    peer,
    rows,
    signal,
)

ensemble = peer("sklearn.ensemble")
tree = peer("sklearn.tree")

X, NEW = rows(500), new_rows(1000)
FULL, NEW_FULL = rows(500, missing=False), new_rows(1000, missing=False)
Y = signal(X)
TWO, THREE = (Y > 0.5) * 1, np.digitize(Y, [0, 1])
WORDS = np.array(["yes", "no"])[TWO]
CASES = {
    "tree": (tree.DecisionTreeClassifier(max_depth=4), X, THREE),
    "random tree": (tree.ExtraTreeClassifier(max_depth=4, random_state=0), X, WORDS),
    "regression": (tree.DecisionTreeRegressor(max_leaf_nodes=9), X, Y),
    "targets": (tree.ExtraTreeRegressor(max_depth=4), X, np.stack([Y, -Y], 1)),
    "forest": (ensemble.RandomForestClassifier(5, random_state=0), X, THREE),
    "extra": (ensemble.ExtraTreesClassifier(5, random_state=0), X, WORDS),
    "forest regression": (ensemble.RandomForestRegressor(5, random_state=0), X, Y),
    "boosting": (ensemble.GradientBoostingClassifier(n_estimators=4), FULL, THREE),
    "exponential": (
        ensemble.GradientBoostingClassifier(n_estimators=4, loss="exponential"),
        FULL,
        TWO,
    ),
    "zero": (
        ensemble.GradientBoostingClassifier(n_estimators=4, init="zero"),
        FULL,
        TWO,
    ),
    "boosting regression": (
        ensemble.GradientBoostingRegressor(n_estimators=4, loss="huber"),
        FULL,
        Y,
    ),
    "histogram": (
        ensemble.HistGradientBoostingClassifier(max_iter=4, categorical_features=[2]),
        X,
        WORDS,
    ),
    "histogram classes": (
        ensemble.HistGradientBoostingClassifier(max_iter=4, categorical_features=[2]),
        X,
        THREE,
    ),
    "histogram counts": (
        ensemble.HistGradientBoostingRegressor(
            max_iter=4, categorical_features=[2], loss="poisson"
        ),
        X,
        np.exp(Y),
    ),
    "adaboost": (ensemble.AdaBoostClassifier(n_estimators=4), FULL, WORDS),
    "adaboost classes": (
        ensemble.AdaBoostClassifier(
            tree.DecisionTreeClassifier(max_depth=2), n_estimators=4
        ),
        FULL,
        THREE,
    ),
    "adaboost regression": (
        ensemble.AdaBoostRegressor(n_estimators=5, random_state=0),
        FULL,
        Y,
    ),
    "isolation": (
        ensemble.IsolationForest(
            n_estimators=5, max_features=0.7, contamination=0.1, random_state=0
        ),
        X,
        None,
    ),
}


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with one_thread():
        yield


@pytest.mark.parametrize(("estimator", "x", "y"), CASES.values(), ids=CASES)
def test_predicts_what_sklearn_predicts(estimator, x, y):
    estimator.fit(x, y)
    new = NEW if np.isnan(x).any() else NEW_FULL
    model = from_sklearn.load(estimator)
    given = jnp.asarray(new)
    predicted, theirs = imported.predict(model, given), estimator.predict(new)
    if hasattr(estimator, "classes_"):
        labels = estimator.classes_[np.asarray(predicted)]
        np.testing.assert_array_equal(labels, theirs)
        shares = estimator.predict_proba(new)
        assert_close(imported.predict_proba(model, given), shares)
    elif y is None:
        np.testing.assert_array_equal(predicted, theirs)
        scores = estimator.score_samples(new)
        assert_close(imported.score_samples(model, given), scores)
    else:
        assert_close(predicted, theirs)
    if hasattr(estimator, "decision_function"):
        scores = estimator.decision_function(new)
        assert_close(imported.decision_function(model, given), scores, 2e-6)
    if hasattr(estimator, "apply"):
        leaves = estimator.apply(new).reshape(len(new), -1)
        ours = np.asarray(imported.apply(model, given)).reshape(len(new), -1)
        np.testing.assert_array_equal(ours, leaves)


def test_predicts_10000_rows_of_many_trees():
    x = new_rows(10_000)
    for family in (
        ensemble.RandomForestRegressor(30, max_depth=8, random_state=0),
        ensemble.HistGradientBoostingRegressor(max_iter=30, categorical_features=[2]),
    ):
        model = from_sklearn.load(family.fit(X, Y))
        assert_close(imported.predict(model, jnp.asarray(x)), family.predict(x))


def test_trees_are_those_of_sklearn():
    fitted = tree.DecisionTreeClassifier(max_depth=4).fit(X, THREE)
    model = from_sklearn.load(fitted)
    first = jax.tree.map(lambda leaf: np.asarray(leaf)[0], model.trees)
    assert first.node_count == fitted.tree_.node_count
    for name in ("children_left", "children_right", "feature", "n_node_samples"):
        ours = getattr(first, name)[: first.node_count]
        np.testing.assert_array_equal(ours, getattr(fitted.tree_, name))
    np.testing.assert_allclose(first.impurity, fitted.tree_.impurity, atol=1e-6)


def test_categories_of_any_number_keep_their_place():
    """Negative and broken numbers as categories, and ones never seen."""
    x = X.copy()
    x[:, 2] = np.array([-3, 0.5, 7, 100], np.float32)[np.arange(500) % 4]
    x[::9, 2] = np.nan
    y = np.where(np.isin(x[:, 2], [0.5, 100]), 2.0, 0.0) + np.nan_to_num(x[:, 0])
    estimator = ensemble.HistGradientBoostingRegressor(
        max_iter=4, categorical_features=[False, False, True, True, False]
    ).fit(x, y)
    new = x.copy()
    new[:100, 2] = np.resize(np.array([-4, 0, 7.5, 1e6, np.inf], np.float32), 100)
    model = from_sklearn.load(estimator)
    new[np.isinf(new)] = 3e38  # scikit-learn refuses it as a category
    assert_close(imported.predict(model, jnp.asarray(new)), estimator.predict(new))


def test_categories_of_text_are_positions():
    pandas = pytest.importorskip("pandas")
    words = np.array(["red", "green", "blue"])
    place = np.arange(500) % 3
    frame = pandas.DataFrame({"a": FULL[:, 0], "b": pandas.Categorical(words[place])})
    estimator = ensemble.HistGradientBoostingRegressor(
        max_iter=4, categorical_features="from_dtype"
    ).fit(frame, (place == 1) + FULL[:, 0])
    position = np.searchsorted(np.sort(words), words[place])
    given = jnp.asarray(np.stack([FULL[:, 0], position.astype(np.float32)], 1))
    model = from_sklearn.load(estimator)
    assert_close(imported.predict(model, given), estimator.predict(frame))


def test_doubles_under_x64():
    with jax.enable_x64(True):
        x = NEW.astype(float) * (1 + 1e-9)
        for family in (
            ensemble.RandomForestRegressor(5, random_state=0),
            ensemble.HistGradientBoostingRegressor(max_iter=4),
        ):
            model = from_sklearn.load(family.fit(X * (1 + 1e-9), Y))
            assert_close(
                imported.predict(model, jnp.asarray(x)), family.predict(x), 1e-13
            )


def named(name, **fields):
    return type(name, (), fields)()


REFUSED = {
    "unfitted tree": (tree.DecisionTreeClassifier(), "not fitted: it has no 'tree_'"),
    "unfitted forest": (ensemble.RandomForestRegressor(), "no 'estimators_'"),
    "unfitted histogram": (
        ensemble.HistGradientBoostingRegressor(),
        "not fitted: it has no '_predictors'",
    ),
    "other": (named("LinearRegression"), "LinearRegression is none of the supported"),
    "two outputs": (
        tree.DecisionTreeClassifier(max_depth=2).fit(X, np.stack([TWO, THREE], 1)),
        "with 2 outputs of classes: not supported",
    ),
    "one class": (
        tree.DecisionTreeClassifier(max_depth=2).fit(X, np.zeros(500)),
        "knows one class only",
    ),
    "init": (
        ensemble.GradientBoostingRegressor(
            n_estimators=1, init=tree.DecisionTreeRegressor(max_depth=1)
        ).fit(FULL, Y),
        "DecisionTreeRegressor as init is not supported",
    ),
    "no trees": (
        ensemble.AdaBoostRegressor(
            peer("sklearn.linear_model").Ridge(), n_estimators=2
        ).fit(FULL, Y),
        "AdaBoostRegressor of Ridge: only of trees",
    ),
}


@pytest.mark.parametrize(("estimator", "message"), REFUSED.values(), ids=REFUSED)
def test_rejects_what_is_not_supported(estimator, message):
    with pytest.raises(ValueError, match=message):
        from_sklearn.load(estimator)


def test_rejects_questions_without_an_answer():
    x = jnp.asarray(NEW)
    forest = from_sklearn.load(tree.DecisionTreeRegressor(max_depth=2).fit(X, Y))
    with pytest.raises(ValueError, match="predict_proba needs a classifier"):
        imported.predict_proba(forest, x)
    with pytest.raises(ValueError, match="score_samples needs an isolation forest"):
        imported.score_samples(forest, x)
    boosted = ensemble.AdaBoostRegressor(n_estimators=2).fit(FULL, Y)
    with pytest.raises(ValueError, match="a median of trees has no decision_function"):
        imported.decision_function(from_sklearn.load(boosted), x)
