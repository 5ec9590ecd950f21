"""XGBoost's boosters, loaded, against XGBoost."""

import copy
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.models.classical import from_xgboost, imported, imported_ubjson
from tests.models.classical.foreign import (
    CATEGORY,
    assert_close,
    new_rows,
    one_thread,
    peer,
    rows,
    signal,
)

xgboost = peer("xgboost")

X = rows(1000)
NEW = new_rows(2000)
ROWS = jnp.asarray(NEW)
SIGNAL = signal(X)
BINARY, POSITIVE = (SIGNAL > 0.5) * 1.0, np.exp(SIGNAL / 5) / 3
TARGETS = {
    "binary:logistic": BINARY,
    "binary:logitraw": BINARY,
    "binary:hinge": BINARY,
    "reg:logistic": BINARY,
    "rank:ndcg": BINARY,
    "multi:softmax": np.digitize(SIGNAL, [0, 1]),
    "multi:softprob": np.digitize(SIGNAL, [0, 1]),
    "count:poisson": POSITIVE,
    "reg:gamma": POSITIVE,
    "reg:tweedie": POSITIVE,
    "survival:cox": POSITIVE,
}
TYPES = ["c" if column == CATEGORY else "q" for column in range(5)]


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with one_thread():
        yield


def matrix(x, y=None, **options):
    return xgboost.DMatrix(
        x, y, feature_types=TYPES, enable_categorical=True, nthread=1, **options
    )


def train(objective="reg:squarederror", rounds=4, y=None, x=X, **options):
    y = TARGETS.get(objective, SIGNAL) if y is None else y
    if objective.startswith("multi"):
        options["num_class"] = 3
    data = matrix(x, y, group=[100] * 10 if objective == "rank:ndcg" else None)
    if objective == "survival:aft":
        data.set_float_info("label_lower_bound", POSITIVE)
        data.set_float_info("label_upper_bound", POSITIVE)
    fixed = {"max_depth": 3, "nthread": 1, "max_cat_to_onehot": 1, "verbosity": 0}
    return xgboost.train(fixed | {"objective": objective} | options, data, rounds)


@pytest.fixture(scope="module")
def booster():
    return train()


@pytest.fixture(scope="module")
def document(booster):
    return json.loads(bytes(booster.save_raw("json")))


MODELS = {
    name: {"objective": name}
    for name in (
        "reg:squarederror",
        "reg:pseudohubererror",
        "reg:absoluteerror",
        "reg:logistic",
        "reg:gamma",
        "reg:tweedie",
        "count:poisson",
        "survival:cox",
        "survival:aft",
        "rank:ndcg",
        "binary:logistic",
        "binary:logitraw",
        "binary:hinge",
        "multi:softmax",
        "multi:softprob",
    )
} | {
    "quantiles": {"objective": "reg:quantileerror", "quantile_alpha": [0.2, 0.6]},
    "base": {"objective": "binary:logistic", "base_score": 0.3},
    "dart": {"booster": "dart", "rate_drop": 0.5, "rounds": 6},
    "parallel": {"num_parallel_tree": 3, "subsample": 0.7, "rounds": 2},
    "parallel classes": {
        "objective": "multi:softprob",
        "num_parallel_tree": 2,
        "subsample": 0.7,
        "rounds": 2,
    },
    "targets": {"y": np.stack([SIGNAL, -SIGNAL], 1)},
    "labels": {"objective": "binary:logistic", "y": np.stack([BINARY, 1 - BINARY], 1)},
}


@pytest.mark.parametrize("options", MODELS.values(), ids=MODELS)
def test_predicts_what_xgboost_predicts(options):
    booster = train(**options)
    model = from_xgboost.load(booster)
    data = matrix(NEW)
    assert_close(
        imported.decision_function(model, ROWS),
        booster.predict(data, output_margin=True),
    )
    theirs = booster.predict(data)
    name = options.get("objective", "")
    if name in ("multi:softmax", "binary:hinge"):
        np.testing.assert_array_equal(imported.predict(model, ROWS), theirs)
    elif name == "binary:logitraw":
        np.testing.assert_array_equal(imported.predict(model, ROWS), theirs > 0)
    elif model.rules.task == "regression":
        assert_close(imported.predict(model, ROWS), theirs)
    else:
        shares = np.asarray(imported.predict_proba(model, ROWS))
        assert_close(shares if theirs.ndim == 2 else shares[:, 1], theirs)
        labels = theirs > 0.5
        if model.rules.task == "classes" and theirs.ndim == 2:
            labels = theirs.argmax(1)
        np.testing.assert_array_equal(imported.predict(model, ROWS), labels)
    if "parallel classes" not in str(options) or theirs.ndim == 1:
        leaves = booster.predict(data, pred_leaf=True)
        ours = np.asarray(imported.apply(model, ROWS)).reshape(len(NEW), -1)
        leaves = leaves.reshape(len(NEW), -1)
        if "num_parallel_tree" in options:  # in other order, where there are classes
            ours, leaves = np.sort(ours, 1), np.sort(leaves, 1)
        np.testing.assert_array_equal(ours, leaves)


def test_predicts_10000_rows_of_many_trees():
    booster = train(rounds=100, max_depth=6)
    x = new_rows(10_000)
    model = from_xgboost.load(booster)
    ours = imported.predict(model, jnp.asarray(x))
    assert_close(ours, booster.predict(matrix(x)))


@pytest.mark.parametrize("strategy", ["reg:squarederror", "binary:logistic"])
def test_leaves_of_several_numbers(strategy):
    y = np.stack([BINARY, 1 - BINARY], 1)
    data = xgboost.DMatrix(X, y, nthread=1)
    booster = xgboost.train(
        {"multi_strategy": "multi_output_tree", "objective": strategy, "nthread": 1},
        data,
        3,
    )
    model = from_xgboost.load(booster)
    theirs = booster.predict(xgboost.DMatrix(NEW), output_margin=True)
    assert_close(imported.decision_function(model, ROWS), theirs)


def test_deleted_nodes_are_dropped():
    data = xgboost.DMatrix(X, SIGNAL, nthread=1)
    options = {"tree_method": "exact", "gamma": 50.0, "nthread": 1}
    booster = xgboost.train(options, data, 2)
    trees = json.loads(bytes(booster.save_raw("json")))["learner"]["gradient_booster"]
    assert int(trees["model"]["trees"][0]["tree_param"]["num_deleted"]) > 0
    model = from_xgboost.load(booster)
    theirs = booster.predict(xgboost.DMatrix(NEW))
    assert_close(imported.predict(model, ROWS), theirs)


def test_a_row_on_a_condition_goes_right():
    """Also where the condition is 0 and nothing normal lies just below."""
    x = np.resize(np.array([-1, 0, 1], np.float32), (300, 5))
    booster = xgboost.train(
        {"max_depth": 1, "nthread": 1, "base_score": 0.0},
        xgboost.DMatrix(x[:, 3:4], (x[:, 3] >= 0) * 1.0, nthread=1),
        1,
    )
    assert b'"split_conditions":[0' in bytes(booster.save_raw("json"))
    model = from_xgboost.load(booster)
    new = np.array([[-1e-30], [-0.0], [0.0], [1e-30]], np.float32)
    theirs = booster.predict(xgboost.DMatrix(new))
    assert_close(imported.predict(model, jnp.asarray(new)), theirs)
    assert len(set(theirs.tolist())) == 2


def test_rows_of_doubles_are_rounded_as_xgboost_does(booster, document):
    trees = document["learner"]["gradient_booster"]["model"]["trees"]
    condition = np.float32(trees[0]["split_conditions"][0])
    below = float(condition) - 1e-12  # rounds to the condition
    with jax.enable_x64(True):
        x = NEW[:50].astype(float)
        x[:] = below
        x[:, CATEGORY] = 1
        for dtype in (np.float32, np.float64):
            model = from_xgboost.load(booster, dtype=dtype)
            ours = imported.predict(model, jnp.asarray(x))
            assert ours.dtype == dtype
            assert_close(ours, booster.predict(matrix(x)))


@pytest.mark.parametrize("category", [0.0, 4.7, 1e6, np.nan])
def test_odd_categories_go_as_in_xgboost(booster, category):
    x = NEW[:50].copy()
    x[:, CATEGORY] = category
    ours = imported.predict(from_xgboost.load(booster), jnp.asarray(x))
    assert_close(ours, booster.predict(matrix(x)))


@pytest.mark.parametrize("objective", ["binary:logistic", "multi:softprob"])
def test_files_of_version_1(objective, tmp_path):
    """One number as base_score, no segments of iterations, truth values as words."""
    old = json.loads(bytes(train(objective, base_score=0.3).save_raw("json")))
    learner = old["learner"]
    old["version"] = [1, 7, 6]
    learner["learner_model_param"]["base_score"] = "3E-1"
    model = learner["gradient_booster"]["model"]
    del model["iteration_indptr"], model["cats"]
    for tree in model["trees"]:
        tree["default_left"] = [bool(left) for left in tree["default_left"]]
    path = tmp_path / "old.json"
    path.write_text(json.dumps(old))
    booster = xgboost.Booster(model_file=path)
    shares = imported.predict_proba(from_xgboost.load(path), ROWS)
    theirs = booster.predict(matrix(NEW))
    assert_close(shares if theirs.ndim == 2 else shares[:, 1], theirs)


def test_weights_of_dart_where_version_3_4_has_them():
    booster = train(booster="dart", rate_drop=0.5, rounds=6)
    old = json.loads(bytes(booster.save_raw("json")))
    new = copy.deepcopy(old)
    dart = new["learner"]["gradient_booster"]
    weights = dart.pop("weight_drop")
    new["learner"]["gradient_booster"] = dart["gbtree"] | {"name": "gbtree"}
    while weights[-1] == 1:
        weights.pop()
    dart["gbtree"]["model"]["weight_drop"] = weights
    ours = imported.predict(from_xgboost.load(new), ROWS)
    np.testing.assert_array_equal(ours, imported.predict(from_xgboost.load(old), ROWS))
    assert len(weights) > 0


def test_reads_text_bytes_paths_documents(booster, document, tmp_path):
    expected = np.asarray(imported.predict(from_xgboost.load(booster), ROWS))
    raw = {kind: bytes(booster.save_raw(kind)) for kind in ("json", "ubj")}
    for kind, data in raw.items():
        (tmp_path / f"model.{kind}").write_bytes(data)
    assert imported_ubjson.parse(raw["ubj"])["version"] == document["version"]
    estimator = type("XGBRegressor", (), {"get_booster": lambda self: booster})()
    sources = [
        document,
        json.dumps(document, indent=1),
        raw["json"],
        raw["ubj"],
        tmp_path / "model.json",
        str(tmp_path / "model.ubj"),
        estimator,
    ]
    for source in sources:
        model = from_xgboost.load(source)
        np.testing.assert_array_equal(imported.predict(model, ROWS), expected)


def test_first_and_best_iterations():
    data = matrix(X, SIGNAL)
    booster = xgboost.train(
        {"max_depth": 6, "eta": 1.0, "nthread": 1, "min_child_weight": 0},
        data,
        30,
        evals=[(matrix(new_rows(300), np.zeros(300)), "other")],
        early_stopping_rounds=2,
        verbose_eval=False,
    )
    best = booster.best_iteration
    theirs = booster.predict(matrix(NEW), iteration_range=(0, best + 1))
    for iterations in ("best", best + 1):
        model = from_xgboost.load(booster, iterations=iterations)
        assert_close(imported.predict(model, ROWS), theirs)
    model = from_xgboost.load(booster)
    assert_close(imported.predict(model, ROWS), booster.predict(matrix(NEW)))
    with pytest.raises(ValueError, match="iterations must be 'best' or from 1 to"):
        from_xgboost.load(booster, iterations=99)


def change(document, path, value):
    """The document with one member changed, or dropped where value is `...`."""
    changed = copy.deepcopy(document)
    parent = changed
    for key in path[:-1]:
        parent = parent[key]
    if value is ...:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return changed


LEARNER = ("learner",)
BOOSTER = (*LEARNER, "gradient_booster")
MODEL = (*BOOSTER, "model")
TREE = (*MODEL, "trees", 1)
REFUSED = {
    "learner": (LEARNER, ..., "the key 'learner' is missing"),
    "list": (LEARNER, [], "learner must be dict; got list"),
    "objective": ((*LEARNER, "objective", "name"), "reg:no", "objective 'reg:no'"),
    "linear": ((*BOOSTER, "name"), "gblinear", "gblinear, a linear booster"),
    "booster": ((*BOOSTER, "name"), "gbforest", "'gbforest' is none of gbtree, dart"),
    "no trees": ((*MODEL, "trees"), [], "no trees"),
    "info": ((*MODEL, "tree_info"), [0, 0, 5, 0], "tree_info must be from 0 to 0"),
    "infos": ((*MODEL, "tree_info"), [0], "tree_info must have 4 numbers; got 1"),
    "id": ((*TREE, "id"), 3, "tree 1: its id is 3"),
    "nodes": ((*TREE, "tree_param", "num_nodes"), "99", "must have 99 numbers"),
    "child": ((*TREE, "left_children", 0), 77, "tree 1, node 0: child 77 is out of"),
    "cycle": ((*TREE, "left_children", 0), 0, "tree 1, node 0 is the child of two"),
    "word": ((*TREE, "left_children", 0), "x", "left_children must be whole numbers"),
    "part": ((*TREE, "left_children", 0), 1.5, "left_children must be whole numbers"),
    "nested": ((*TREE, "left_children", 0), [1], "left_children must be whole numbers"),
    "null": ((*TREE, "split_indices"), None, "split_indices must be an array"),
    "feature": ((*TREE, "split_indices", 0), 9, "tree 1, node 0: feature 9 is out of"),
    "nan": ((*TREE, "split_conditions", -1), float("nan"), "not a finite float32"),
    "types": ((*TREE, "split_type", 0), 2, "split_type must be 0 or 1"),
    "sets": ((*TREE, "categories_nodes"), [], "categories_segments must have 0"),
    "sizes": ((*TREE, "categories_sizes", 0), 999, "categories are out of range"),
    "base": (
        (*LEARNER, "learner_model_param", "base_score"),
        "[1,2]",
        "base_score must have 1 or 1 numbers; got 2",
    ),
    "features": (
        (*LEARNER, "learner_model_param", "num_feature"),
        "0",
        "num_feature must be at least 1",
    ),
    "other features": (
        (*LEARNER, "learner_model_param", "num_feature"),
        "4",
        "num_feature is not that of the booster",
    ),
    "parallel": (
        (*MODEL, "gbtree_model_param", "num_parallel_tree"),
        "3",
        "no whole number of iterations",
    ),
}


@pytest.mark.parametrize(("path", "value", "message"), REFUSED.values(), ids=REFUSED)
def test_rejects_damaged_documents(document, path, value, message):
    with pytest.raises(ValueError, match=message):
        from_xgboost.load(change(document, path, value))


def test_rejects_base_scores_without_a_margin():
    document = json.loads(bytes(train("binary:logistic").save_raw("json")))
    path = (*LEARNER, "learner_model_param", "base_score")
    with pytest.raises(ValueError, match="base_score 1E0 has no margin"):
        from_xgboost.load(change(document, path, "1E0"))


def test_rejects_uneven_trees():
    document = json.loads(bytes(train("multi:softprob").save_raw("json")))
    uneven = change(document, (*MODEL, "tree_info", 0), 1)
    with pytest.raises(ValueError, match="each must have as many"):
        from_xgboost.load(uneven)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"", "not a model of XGBoost"),
        (b"{", "not a model of XGBoost"),
        ('{"learner": ', "not a model of XGBoost"),
        ("[" * 100_000, "nested too deeply|not a model"),
        (b"binf\x00\x01", "not a model of XGBoost"),
        (7, "source must be text"),
        (b"{" + b"L" * 20, "UBJSON: truncated"),
        (b"{U\x01a[$U#L" + b"\x7f" * 8, "members at byte .* are impossible"),
        (b"{U\x01a" + b"[" * 1000, "deeper than 64 levels"),
    ],
)
def test_rejects_what_is_no_model(source, message, tmp_path):
    if isinstance(source, str) and source.startswith("["):
        path = tmp_path / "deep.json"
        path.write_text(source)
        source = path
    with pytest.raises(ValueError, match=message):
        from_xgboost.load(source)
