"""Models as text of LightGBM: LightGBM and we read the same predictions from it."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.models.classical import (
    boosting_classifier,
    from_lightgbm,
    from_sklearn,
    from_xgboost,
    imported,
    to_lightgbm,
)
from jaxml.ops import trees
from jaxml.ops.trees import Trees
from tests.models.classical.foreign import (
    assert_close,
    new_rows,
    one_thread,
    peer,
    rows,
    signal,
)

lightgbm = peer("lightgbm")
xgboost = peer("xgboost")
ensemble = peer("sklearn.ensemble")

X, NEW = rows(500), new_rows(1000)
ROWS = jnp.asarray(NEW)
Y = signal(X)
TWO, THREE = (Y > 0.5) * 1, np.digitize(Y, [0, 1])


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with one_thread():
        yield


def both(text):
    """The raw scores and predictions that LightGBM and we read from `text`."""
    booster = lightgbm.Booster(model_str=text)
    x = NEW.astype(float)
    model = from_lightgbm.load(text)
    ours = imported.decision_function(model, ROWS)
    assert_close(ours, booster.predict(x, raw_score=True))
    return ours, booster.predict(x)


def trees_of(x, y, options, rounds=4):
    data = lightgbm.Dataset(x, y, categorical_feature=[2])
    fixed = {"num_leaves": 8, "verbose": -1, "num_threads": 1, "min_data_per_group": 5}
    return from_lightgbm.load(lightgbm.train(fixed | options, data, rounds))


def xgboost_of(y, **options):
    data = xgboost.DMatrix(
        X, y, feature_types=["q", "q", "c", "q", "q"], enable_categorical=True
    )
    fixed = {"max_depth": 4, "nthread": 1, "max_cat_to_onehot": 1}
    return from_xgboost.load(xgboost.train(fixed | options, data, 4))


def sklearn_of(estimator, y):
    return from_sklearn.load(estimator.fit(X, y))


HISTOGRAM = {"max_iter": 4, "categorical_features": [2]}
MODELS = {
    "lightgbm": lambda: trees_of(X, Y, {}),
    "zeros": lambda: trees_of(X, Y, {"zero_as_missing": True}),
    "average": lambda: trees_of(
        X, Y, {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}
    ),
    "binary": lambda: trees_of(X, TWO, {"objective": "binary", "sigmoid": 1.5}),
    "against all": lambda: trees_of(
        X, THREE, {"objective": "multiclassova", "num_class": 3}
    ),
    "xgboost": lambda: xgboost_of(Y),
    "xgboost classes": lambda: xgboost_of(
        THREE, objective="multi:softprob", num_class=3
    ),
    "xgboost counts": lambda: xgboost_of(np.exp(Y), objective="count:poisson"),
    "histogram": lambda: sklearn_of(
        ensemble.HistGradientBoostingClassifier(**HISTOGRAM), THREE
    ),
    "forest": lambda: sklearn_of(
        ensemble.RandomForestClassifier(4, max_depth=4, random_state=0), THREE
    ),
}


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_imported_models_go_round(make):
    model = make()
    scores, predictions = both(to_lightgbm.dump(model))
    assert_close(scores, imported.decision_function(model, ROWS))
    if model.rules.task == "regression":
        assert_close(imported.predict(model, ROWS), predictions)
    else:
        shares = np.asarray(imported.predict_proba(model, ROWS))
        assert_close(shares if predictions.ndim == 2 else shares[:, 1], predictions)


KINDS = dict.fromkeys(Trees._fields, jnp.int32) | {
    "categories": jnp.uint32,
    "missing_go_to_left": jnp.bool_,
    "categorical": jnp.bool_,
    "other_go_to_left": jnp.bool_,
    "threshold": jnp.float32,
    "value": jnp.float32,
    "impurity": jnp.float32,
    "weighted_n_node_samples": jnp.float32,
}


def small_trees(**changes):
    """Two trees over 5 features: category in {1, 3} or x1 <= 0.5; one leaf."""
    fields = {
        "children_left": [[1, 2, -1, -1, -1], [-1] * 5],
        "children_right": [[4, 3, -1, -1, -1], [-1] * 5],
        "feature": [[2, 1, -2, -2, -2], [-2] * 5],
        "threshold": [[-2.0, 0.5, -2.0, -2.0, -2.0], [-2.0] * 5],
        "missing_go_to_left": [[False, True, False, False, False], [False] * 5],
        "categorical": [[True, False, False, False, False], [False] * 5],
        "categories": [[[0b1010], [0], [0], [0], [0]], [[0]] * 5],
        "other_go_to_left": [[False] * 5] * 2,
        "value": [[[0.0], [0.0], [1.0], [2.0], [4.0]], [[8.0]] + [[0.0]] * 4],
        "impurity": [[1.0, 0.5, 0.0, 0.0, 0.0], [0.0] * 5],
        "n_node_samples": [[10, 6, 3, 3, 4], [10, 0, 0, 0, 0]],
        "weighted_n_node_samples": [[10.0, 6, 3, 3, 4], [10.0, 0, 0, 0, 0]],
        "node_count": [5, 1],
    } | changes
    return Trees(
        **{name: jnp.asarray(field, KINDS[name]) for name, field in fields.items()}
    )


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("other", [False, True])
def test_missing_and_unknown_categories_keep_their_ways(missing, other):
    ours = small_trees(
        missing_go_to_left=[[missing, True, False, False, False], [False] * 5],
        other_go_to_left=[[other, False, False, False, False], [False] * 5],
    )
    text = to_lightgbm.dump(ours, n_features=5)
    scores, _ = both(text)
    expected = trees.sum_values(ours, ROWS)[:, 0]
    assert_close(scores, expected)
    assert set(np.unique(expected).tolist()) == {9.0, 10.0, 12.0}
    assert text.count("num_leaves=3") == (1 if missing == other else 0)


def test_start_objective_and_names():
    text = to_lightgbm.dump(
        small_trees(),
        n_features=5,
        start=jnp.array([-10.0]),
        objective="binary",
        feature_names=["a", "b", "c", "d", "e"],
    )
    scores, shares = both(text)
    assert_close(scores, trees.sum_values(small_trees(), ROWS)[:, 0] - 10)
    assert_close(shares, 1 / (1 + np.exp(-np.asarray(scores, float))))
    booster = lightgbm.Booster(model_str=text)
    assert booster.feature_name() == ["a", "b", "c", "d", "e"]
    # impurity 10 - 6 · 0.5 at the root, 3 below
    gains = booster.feature_importance("gain")
    np.testing.assert_allclose(gains, [0, 3, 7, 0, 0])
    assert from_lightgbm.load(text).rules.task == "classes"


def test_average_of_trees_with_several_outputs():
    ours = small_trees()
    wide = ours._replace(value=jnp.concatenate([ours.value, -2 * ours.value], 2))
    text = to_lightgbm.dump(wide, n_features=5, average=True, start=jnp.array([1.0, 2]))
    scores, predictions = both(text)
    assert_close(scores, trees.sum_values(wide, ROWS) / 2 + jnp.array([[1.0, 2.0]]))
    assert_close(predictions, scores)


def test_iterations_with_a_tree_for_each_class():
    flat = small_trees()
    pair = Trees(*(jnp.stack([leaf, leaf[::-1], leaf], 1) for leaf in flat))
    text = to_lightgbm.dump(pair, n_features=5, objective="multiclass")
    scores, shares = both(text)
    assert_close(scores, trees.sum_values(pair, ROWS))
    np.testing.assert_allclose(shares.sum(1), 1)


def test_one_tree():
    one = Trees(*(leaf[0] for leaf in small_trees()))
    scores, _ = both(to_lightgbm.dump(one, n_features=5))
    assert_close(scores, trees.sum_values(one, ROWS)[:, 0])


def test_our_booster_with_categories():
    x = jnp.asarray(X).at[:, 2].set(jnp.where(jnp.isnan(X[:, 2]), -1, X[:, 2]))
    options = {"max_iter": 4, "max_leaf_nodes": 8, "categorical_features": (2,)}
    model = boosting_classifier.fit(x, jnp.asarray(THREE), n_classes=3, **options)
    assert np.asarray(model.trees.categorical).any()
    text = to_lightgbm.dump(
        model.trees, n_features=5, start=model.baseline, objective="multiclass"
    )
    scores, shares = both(text)
    assert_close(scores, boosting_classifier.decision_function(model, ROWS))
    assert_close(shares, boosting_classifier.predict_proba(model, ROWS))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "n_features must be at least 1; got None"),
        ({"n_features": 2}, "the trees have more than 2 features"),
        ({"n_features": 5, "objective": "regret"}, "objective 'regret' is none of"),
        ({"n_features": 5, "objective": "multiclass"}, "does not go with 1 outputs"),
        ({"n_features": 5, "start": jnp.zeros(2)}, "start must be 1 numbers"),
        ({"n_features": 5, "feature_names": ["a b"] * 5}, "5 words without blanks"),
        ({"n_features": 5, "feature_names": ["a"]}, "5 words without blanks"),
    ],
)
def test_rejects_what_does_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        to_lightgbm.dump(small_trees(), **options)


def test_rejects_what_lightgbm_has_no_form_for():
    isolation = from_sklearn.load(ensemble.IsolationForest(n_estimators=2).fit(X))
    with pytest.raises(ValueError, match="no form for a model for 'outliers'"):
        to_lightgbm.dump(isolation)
    with pytest.raises(ValueError, match="an imported model brings its own"):
        to_lightgbm.dump(isolation, n_features=5)
    x = X.copy()
    x[:, 2] = np.arange(500) % 3 - 1
    y = (x[:, 2] < 0) * 1.0
    estimator = ensemble.HistGradientBoostingRegressor(**HISTOGRAM).fit(x, y)
    with pytest.raises(ValueError, match="categories are whole numbers from 0"):
        to_lightgbm.dump(from_sklearn.load(estimator))
    wide = small_trees()
    wide = Trees(*(jnp.stack([leaf] * 2, 1) for leaf in wide))
    wide = wide._replace(value=jnp.concatenate([wide.value] * 2, -1))
    with pytest.raises(ValueError, match="one number in a leaf"):
        to_lightgbm.dump(wide, n_features=5)
