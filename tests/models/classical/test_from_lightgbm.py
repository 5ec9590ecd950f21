"""LightGBM's boosters, loaded, against LightGBM."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.models.classical import from_lightgbm, imported
from jaxml.ops import native
from tests.models.classical.foreign import (
    CATEGORY,
    assert_close,
    new_rows,
    one_thread,
    peer,
    rows,
    signal,
)

lightgbm = peer("lightgbm")

X = rows(1000)
NEW = new_rows(2000)
ROWS = jnp.asarray(NEW)
SIGNAL = signal(X)
TARGETS = {
    "binary": (SIGNAL > 0.5) * 1.0,
    "cross_entropy": (SIGNAL > 0.5) * 1.0,
    "cross_entropy_lambda": (SIGNAL > 0.5) * 1.0,
    "multiclass": np.digitize(SIGNAL, [0, 1]),
    "multiclassova": np.digitize(SIGNAL, [0, 1]),
    "lambdarank": np.digitize(SIGNAL, [-1, 0, 1]),
    "poisson": np.exp(SIGNAL),
    "gamma": np.exp(SIGNAL),
    "tweedie": np.exp(SIGNAL),
}


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with one_thread():
        yield


def train(objective="regression", rounds=4, x=X, **options):
    data = lightgbm.Dataset(
        x,
        TARGETS.get(objective, SIGNAL),
        categorical_feature=[CATEGORY],
        group=[100] * 10 if objective == "lambdarank" else None,
    )
    fixed = {"num_leaves": 8, "num_threads": 1, "verbose": -1, "min_data_per_group": 5}
    if objective.startswith("multiclass"):
        options["num_class"] = 3
    return lightgbm.train(fixed | {"objective": objective} | options, data, rounds)


@pytest.fixture(scope="module")
def booster():
    return train()


@pytest.fixture(scope="module")
def text(booster):
    return booster.model_to_string()


MODELS = {
    "regression": {},
    "zeros missing": {"zero_as_missing": True},
    "nothing missing": {"use_missing": False},
    "dart": {"boosting": "dart", "drop_rate": 0.5},
    "squares": {"reg_sqrt": True},
    "huber": {"objective": "huber"},
    "poisson": {"objective": "poisson"},
    "tweedie": {"objective": "tweedie"},
    "cross_entropy": {"objective": "cross_entropy"},
    "cross_entropy_lambda": {"objective": "cross_entropy_lambda"},
    "lambdarank": {"objective": "lambdarank"},
    "binary": {"objective": "binary", "sigmoid": 1.5},
    "multiclass": {"objective": "multiclass"},
    "multiclassova": {"objective": "multiclassova", "sigmoid": 0.7},
}


@pytest.mark.parametrize("options", MODELS.values(), ids=MODELS)
def test_predicts_what_lightgbm_predicts(options):
    booster = train(**options)
    model = from_lightgbm.load(booster)
    assert_close(
        imported.decision_function(model, ROWS), booster.predict(NEW, raw_score=True)
    )
    theirs = booster.predict(NEW)
    if model.rules.task == "classes":
        shares = imported.predict_proba(model, ROWS)
        assert_close(shares if theirs.ndim == 2 else shares[:, 1], theirs)
        labels = theirs.argmax(1) if theirs.ndim == 2 else theirs > 0.5
        np.testing.assert_array_equal(imported.predict(model, ROWS), labels)
    else:
        assert_close(imported.predict(model, ROWS), theirs)
    leaves = booster.predict(NEW, pred_leaf=True)
    ours = np.asarray(imported.apply(model, ROWS)).reshape(leaves.shape)
    np.testing.assert_array_equal(ours, leaves)


def test_predicts_10000_rows_of_many_trees():
    booster = train(rounds=100, num_leaves=31)
    x = new_rows(10_000)
    model = from_lightgbm.load(booster)
    assert_close(imported.predict(model, jnp.asarray(x)), booster.predict(x))


def test_random_forest_is_the_mean_of_its_trees():
    booster = train(boosting="rf", bagging_freq=1, bagging_fraction=0.5)
    model = from_lightgbm.load(booster)
    assert_close(imported.predict(model, ROWS), booster.predict(NEW))


def test_doubles_go_their_way_in_a_model_of_doubles():
    with jax.enable_x64(True):
        x = np.round(X.astype(float) * 1000) / 1000 + 1e-10
        booster = train(x=x)
        model = from_lightgbm.load(booster)
        # Rows on the thresholds and just above, which float32 can't tell apart.
        threshold = float(
            booster.dump_model()["tree_info"][0]["tree_structure"]["threshold"]
        )
        x[0], x[1] = threshold, np.nextafter(threshold, np.inf)
        assert_close(imported.predict(model, jnp.asarray(x)), booster.predict(x), 1e-13)


def test_a_row_on_a_threshold_goes_left():
    booster = train(objective="regression")
    model = from_lightgbm.load(booster)
    thresholds = np.unique(np.asarray(model.trees.threshold))
    x = np.repeat(thresholds, 5).reshape(-1, 5)
    x = np.concatenate([x, np.nextafter(x, np.float32(np.inf))])
    assert_close(
        imported.predict(model, jnp.asarray(x)), booster.predict(x.astype(float))
    )


@pytest.mark.parametrize("category", [-1.0, -0.5, 4.7, 1e9, 3e38, np.nan])
def test_odd_categories_go_as_in_lightgbm(booster, category):
    x = NEW[:50].copy()
    x[:, CATEGORY] = category
    model = from_lightgbm.load(booster)
    assert_close(imported.predict(model, jnp.asarray(x)), booster.predict(x))


def test_large_categories_take_no_room():
    x = X.copy()
    x[:, CATEGORY] *= 1000
    booster = train(x=x)
    model = from_lightgbm.load(booster)
    assert model.trees.categories.shape[-1] == 2
    new = NEW.copy()
    new[:, CATEGORY] *= 1000
    assert_close(imported.predict(model, jnp.asarray(new)), booster.predict(new))


def test_trees_of_one_leaf():
    booster = train("multiclass", min_data_in_leaf=900)
    model = from_lightgbm.load(booster)
    assert model.trees.children_left.shape[-1] == 1
    assert_close(imported.predict_proba(model, ROWS), booster.predict(NEW))


def test_first_iterations(booster):
    model = from_lightgbm.load(booster, iterations=2)
    assert_close(imported.predict(model, ROWS), booster.predict(NEW, num_iteration=2))
    with pytest.raises(ValueError, match="iterations must be from 1 to 4; got 5"):
        from_lightgbm.load(booster, iterations=5)


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_older_versions(text, version):
    lines = [line for line in text.split("\n") if not line.startswith("is_linear")]
    old = "\n".join(lines).replace("version=v4", f"version={version}")
    old = "\n".join(x for x in old.split("\n") if not x.startswith("tree_sizes"))
    assert_close(
        imported.predict(from_lightgbm.load(old), ROWS),
        imported.predict(from_lightgbm.load(text), ROWS),
        0,
    )


def test_reads_paths_bytes_and_estimators(text, booster, tmp_path):
    path = tmp_path / "model.txt"
    path.write_bytes(text.replace("\n", "\r\n").encode())
    expected = imported.predict(from_lightgbm.load(text), ROWS)
    estimator = type("LGBMRegressor", (), {"booster_": booster})()
    for source in (path, str(path), text.encode(), estimator):
        model = from_lightgbm.load(source)
        np.testing.assert_array_equal(imported.predict(model, ROWS), expected)


def test_xla_gives_what_the_kernel_gives(booster, monkeypatch):
    model = from_lightgbm.load(booster)
    expected = imported.predict(model, ROWS)
    monkeypatch.setattr(native, "enabled", lambda source: False)
    assert_close(imported.predict(model, ROWS), expected, 1e-6)


def test_model_is_a_pytree(text):
    model = from_lightgbm.load(text)
    x = jnp.asarray(NEW[:64])
    together = jax.jit(imported.predict)(model, x)
    np.testing.assert_array_equal(together, imported.predict(model, jnp.asarray(x)))
    halves = jax.vmap(lambda rows: imported.predict(model, rows))(x.reshape(2, 32, 5))
    assert_close(halves.reshape(-1), together)


REFUSED = {
    "no model": (lambda t: "hello\nworld", "not a model of LightGBM"),
    "other text": (lambda t: '{"learner":\n {}}', "not a model of LightGBM"),
    "bytes": (lambda t: b"tree\n\xff\xfe", "not a text of LightGBM"),
    "number": (lambda t: 7, "source must be text, bytes or a path"),
    "truncated": (lambda t: t[: t.index("end of trees")], "truncated"),
    "version": (lambda t: t.replace("=v4", "=v9"), "version must be v2, v3 or v4"),
    "changed": (lambda t: t.replace("num_cat=1", "num_cat=11"), "the text was changed"),
    "objective": (lambda t: t.replace("=regression", "=regret"), "objective 'regret'"),
    "classes": (
        lambda t: t.replace("=regression", "=multiclass num_class:3"),
        "3 outputs; num_tree_per_iteration=1",
    ),
    "slope": (
        lambda t: t.replace("=regression", "=binary sigmoid:-1"),
        "sigmoid must be above 0",
    ),
    "features": (
        lambda t: t.replace("max_feature_idx=4", "max_feature_idx=2"),
        "feature_names has 5",
    ),
}
REFUSED_TREES = {
    "linear": (r"is_linear=0", "is_linear=1", "linear trees"),
    "short": (r"leaf_value=", "leaf_value=1 ", "leaf_value must have 8 numbers; got 9"),
    "leaves": (r"num_leaves=8", "num_leaves=99999999999", "must have 99999999999 num"),
    "no leaf": (r"num_leaves=8", "num_leaves=0", "num_leaves must be at least 1"),
    "word": (r"left_child=", "left_child=x", "left_child must be whole numbers; got x"),
    "child": (r"left_child=\S+", "left_child=99", "child is out of range"),
    "cycle": (r"left_child=\S+", "left_child=0", "own ancestor"),
    "feature": (r"split_feature=\S+", "split_feature=8", "feature 8 is out of range"),
    "threshold": (r"threshold=\S+", "threshold=nan", "node 0: the threshold is NaN"),
    "value": (r"leaf_value=\S+", "leaf_value=nan", "tree 0: .* is not a finite"),
    "kind": (r"decision_type=\S+", "decision_type=99", "decision_type is out of range"),
    "twice": (r"num_cat=", "num_leaves=8\nnum_cat=", "'num_leaves' comes twice"),
    "missing": (r"leaf_value=", "leaf_walue=", "the key 'leaf_value' is missing"),
    "sets": (r"cat_boundaries=0", "cat_boundaries=1", "must begin with 0"),
    "name": (r"Tree=1", "Tree=2", "tree 1: its block is named Tree='2'"),
    "count": (r"num_tree_per_iteration=1", "num_tree_per_iteration=3", "divide the 4"),
}


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED)
def test_rejects_what_is_no_model(text, change, message):
    with pytest.raises(ValueError, match=message):
        from_lightgbm.load(change(text))


@pytest.mark.parametrize(
    ("old", "new", "message"), REFUSED_TREES.values(), ids=REFUSED_TREES
)
def test_rejects_damaged_trees(text, old, new, message):
    plain = text.replace("tree_sizes", "sizes_of_trees")
    damaged = re.sub(old, new, plain, count=1)
    assert damaged != plain
    with pytest.raises(ValueError, match=message):
        from_lightgbm.load(damaged)


def test_rejects_zeros_missing_here_and_not_there():
    text = train(zero_as_missing=True).model_to_string()
    text = text.replace("tree_sizes", "sizes_of_trees")
    lines = text.split("\n")
    at = next(i for i, line in enumerate(lines) if line.startswith("decision_type="))
    lines[at] = lines[at].replace("6", "10", 1).replace("4", "8", 1)
    with pytest.raises(ValueError, match="zeros as missing values at some nodes"):
        from_lightgbm.load("\n".join(lines))


def test_rejects_a_wrong_number_of_columns(text):
    with pytest.raises(ValueError, match="the model's 5 features; got 4"):
        imported.predict(from_lightgbm.load(text), ROWS[:, :4])


def test_rejects_doubles_without_x64(text):
    with pytest.raises(ValueError, match="needs jax"):
        from_lightgbm.load(text, dtype=np.float64)
    with pytest.raises(ValueError, match="float32 or float64; got int32"):
        from_lightgbm.load(text, dtype=np.int32)
