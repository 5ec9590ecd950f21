"""Damaged files of other libraries, and trees that are none."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.models.classical import (
    from_lightgbm,
    from_xgboost,
    imported,
    imported_nodes,
    imported_ubjson,
)
from jaxml.models.classical.imported_nodes import Nodes
from jaxml.ops import trees
from tests.models.classical.foreign import one_thread, peer, rows, signal

WORDS = (
    b"nan inf -1 1e999 99999999999999999999999 2147483648 0 1.5 -5 4 [ {} null true "
    b'"" \xff'
).split()


@pytest.fixture(scope="module")
def files():
    """Small models with categories, as bytes; how much of each is a model."""
    x = rows(200)
    y = signal(x)
    lightgbm, xgboost = peer("lightgbm"), peer("xgboost")
    with one_thread():
        text = (
            lightgbm.train(
                {"num_leaves": 4, "num_threads": 1, "verbose": -1},
                lightgbm.Dataset(x, y, categorical_feature=[2]),
                2,
            )
            .model_to_string()
            .encode()
        )
        data = xgboost.DMatrix(
            x, y, feature_types=["q", "q", "c", "q", "q"], enable_categorical=True
        )
        booster = xgboost.train({"max_depth": 2, "nthread": 1}, data, 2)
    text = text[: text.index(b"parameters:")]
    return {
        "text": (from_lightgbm.load, text),
        "unsized": (from_lightgbm.load, text.replace(b"tree_sizes", b"sizes")),
        "json": (from_xgboost.load, bytes(booster.save_raw("json"))),
        "ubj": (from_xgboost.load, bytes(booster.save_raw("ubj"))),
    }


def mutated(data, rng):
    """Some bytes of a file changed, lost, doubled or moved."""
    at, to = (int(place) for place in rng.integers(0, len(data), 2))
    number = at
    while number < len(data) and data[number : number + 1] in b"0123456789.-e+":
        number += 1
    return [
        data[:at],
        data[:at] + bytes([int(rng.integers(0, 256))]) + data[at + 1 :],
        data[:at] + data[at + 1 + to % 60 :],
        data[:at] + WORDS[to % len(WORDS)] + data[number:],
        data[:at] + data[to : to + 30] + data[at:],
    ][int(rng.integers(0, 5))]


@pytest.mark.parametrize("kind", ["text", "unsized", "json", "ubj"])
def test_a_damaged_file_is_refused_or_is_a_model(files, kind):
    load, data = files[kind]
    load(data)
    rng = np.random.default_rng(0)
    messages = []
    for _ in range(250):
        try:
            model = load(mutated(data, rng))
        except ValueError as error:
            messages.append(str(error))
            continue
        check_trees(model)
    assert len(messages) > 100
    assert all(messages)


def check_trees(model):
    """Every node but the root is the child of one before it; leaves are finite."""
    left, right, feature, value, count = (
        np.asarray(getattr(model.trees, name)).reshape(-1, *shape)
        for name, shape in (
            ("children_left", model.numbers.shape[-1:]),
            ("children_right", model.numbers.shape[-1:]),
            ("feature", model.numbers.shape[-1:]),
            ("value", model.trees.value.shape[-2:]),
            ("node_count", ()),
        )
    )
    for tree in range(len(left)):
        inner = np.flatnonzero(left[tree] >= 0)
        children = np.concatenate([left[tree][inner], right[tree][inner]])
        np.testing.assert_array_equal(np.sort(children), np.arange(1, count[tree]))
        np.testing.assert_array_equal(left[tree][inner], inner + 1)
        assert (right[tree][inner] > inner + 1).all()
        assert (feature[tree][inner] < model.rules.n_features).all()
    assert np.isfinite(value[left < 0]).all()


@pytest.mark.parametrize("kind", ["text", "json", "ubj"])
def test_every_truncation_is_refused(files, kind):
    load, data = files[kind]
    last = data.index(b"end of trees") if kind == "text" else len(data)
    for end in np.linspace(0, last, 40, endpoint=False).astype(int):
        with pytest.raises(ValueError, match=r".+"):
            load(data[:end])


# Trees, as a file lists them.


def nodes(left, right, **changes):
    count = len(left)
    fields = {
        "feature": np.zeros(count, int),
        "threshold": np.arange(count, dtype=float),
        "missing_left": np.zeros(count, bool),
        "value": np.arange(count, dtype=float)[:, None],
        "chosen": [None] * count,
    }
    fields.update(changes)
    return Nodes(np.array(left), np.array(right), **fields)


def build(*parts, dtype=np.float32, **options):
    return imported_nodes.build(
        imported_nodes.join(parts),
        n_features=2,
        dtype=dtype,
        shape=(len(parts),),
        **options,
    )


def test_nodes_are_numbered_depth_first():
    level_by_level = nodes([1, 3, 5, -1, -1, -1, -1], [2, 4, 6, -1, -1, -1, -1])
    built, numbers, _ = build(level_by_level, nodes([-1], [-1]))
    np.testing.assert_array_equal(numbers[0], [0, 1, 3, 4, 2, 5, 6])
    np.testing.assert_array_equal(numbers[1], [0, -1, -1, -1, -1, -1, -1])
    np.testing.assert_array_equal(built.children_left[0], [1, 2, -1, -1, 5, -1, -1])
    np.testing.assert_array_equal(built.children_right[0], [4, 3, -1, -1, 6, -1, -1])
    np.testing.assert_array_equal(built.node_count, [7, 1])
    np.testing.assert_array_equal(built.threshold[0], [0, 1, -2, -2, 2, -2, -2])


def test_a_long_chain_is_a_tree():
    count = 4001
    inner = np.arange(count) < count // 2
    left = np.where(inner, np.arange(count) + count // 2 + 1, -1)
    right = np.where(inner, np.arange(count) + 1, -1)
    built, _, _ = build(nodes(left, right))
    assert int(built.node_count[0]) == count
    x = jnp.array([[0.5, 0.0], [1e9, 0.0]])
    values = trees.sum_values(built, x)[:, 0]
    np.testing.assert_array_equal(values, [count // 2 + 2, count // 2])


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [
        (0.1, np.nextafter(np.float32(0.1), np.float32(0))),
        (-0.1, np.float32(-0.1)),  # the float32 is below
        (1e300, np.finfo(np.float32).max),
        (-1e300, -np.inf),
        (np.inf, np.inf),
        (1e-40, 0.0),
        (-1e-45, -np.finfo(np.float32).tiny),
        (0.0, 0.0),
    ],
)
def test_thresholds_go_down_to_a_normal_float32(threshold, expected):
    one = nodes([1, -1, -1], [2, -1, -1], threshold=np.full(3, threshold))
    built, _, _ = build(one)
    assert built.threshold[0, 0] == np.float32(expected)


def test_categories_that_the_dtype_cannot_hold_never_come():
    chosen = np.array([1.0, 2**24 + 1])  # the latter is 2^24 in float32
    one = nodes([1, -1, -1], [2, -1, -1], chosen=[chosen, None, None])
    _, _, tables = build(one)
    np.testing.assert_array_equal(tables.values, [[1.0]])


@pytest.mark.parametrize("left", [False, True])
def test_a_feature_with_categories_and_thresholds(left):
    """x0 <= 5: category 2 apart from the others; also from those never seen."""
    one = nodes(
        [1, 3, -1, -1, -1],
        [2, 4, -1, -1, -1],
        threshold=np.full(5, 5.0),
        chosen=[None, np.array([2.0]), None, None, None],
        chosen_left=left,
    )
    built, _, tables = build(one)
    assert len(tables.columns) == 0
    x = jnp.array([[2.0, 0.0], [3.0, 0.0], [-7.0, 0.0], [9.0, 0.0]])
    values = trees.sum_values(built, x)[:, 0]
    apart, others = (3, 4) if left else (4, 3)
    np.testing.assert_array_equal(values, [apart, others, others, 2])


REFUSED = {
    "range": (nodes([1, -1, -1], [3, -1, -1]), "tree 1, node 0: child 3 is out of"),
    "negative": (nodes([1, -1, -1], [-2, -1, -1]), "child -2 is out of range"),
    "itself": (nodes([0, -1], [1, -1]), "tree 1, node 0 is the child of two"),
    "twice": (nodes([1, -1], [1, -1]), "tree 1, node 1 is the child of two"),
    "cycle": (nodes([1, 2, 1, -1], [3, 3, 3, -1]), "is the child of two nodes"),
    "lost": (nodes([1, -1, -1, -1], [2, -1, -1, -1]), "node 3 is no child of any"),
    "feature": (
        nodes([1, -1, -1], [2, -1, -1], feature=np.full(3, 2)),
        "tree 1, node 0: feature 2 is out of range: there are 2 features",
    ),
    "nan": (
        nodes([1, -1, -1], [2, -1, -1], threshold=np.full(3, np.nan)),
        "tree 1, node 0: the threshold is NaN",
    ),
    "huge": (
        nodes([1, -1, -1], [2, -1, -1], value=np.full((3, 1), 1e300)),
        "tree 1: the value of a leaf is not a finite float32 number",
    ),
    "both": (
        nodes(
            [1, -1, 3, -1, -1],
            [2, -1, 4, -1, -1],
            chosen=[np.array([1.0, 5000]), None, None, None, None],
        ),
        "feature 0 is split by categories and by thresholds",
    ),
}


@pytest.mark.parametrize(("tree", "message"), REFUSED.values(), ids=REFUSED)
def test_rejects_what_is_no_tree(tree, message):
    with pytest.raises(ValueError, match=message):
        build(nodes([-1], [-1]), tree)


def test_nodes_that_are_not_reached_may_be_dropped():
    built, numbers, _ = build(nodes([2, 3, -1, -1], [3, 3, -1, -1]), spare=True)
    np.testing.assert_array_equal(numbers[0], [0, 2, 3])
    assert int(built.node_count[0]) == 3


def test_ubjson_is_json():
    document = {"a": [1, -2, 300, 70_000, 2**40], "b": {"c": None, "d": [True, False]}}
    written = (
        b"{U\x01a[i\x01i\xfeI\x01\x2cl\x00\x01\x11\x70L\x00\x00\x01\x00\x00\x00\x00\x00]"
        b"U\x01b{U\x01cZU\x01d[#U\x02TF}}"
    )
    assert imported_ubjson.parse(written) == json.loads(json.dumps(document))
    typed = b"{$d#U\x02U\x01x\x3f\x80\x00\x00U\x01y\x40\x00\x00\x00"
    assert imported_ubjson.parse(typed) == {"x": 1.0, "y": 2.0}
    numbers = imported_ubjson.parse(b"[$I#U\x02\x00\x01\xff\xff")
    np.testing.assert_array_equal(numbers, [1, -1])
    assert imported_ubjson.parse(b"[SU\x03fooCxD" + b"\x00" * 8 + b"]") == [
        "foo",
        "x",
        0,
    ]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "truncated: byte 0 asks for 1 bytes"),
        (b"[i", "truncated"),
        (b"[x]", "b'x' at byte 1 is no type"),
        (b"SU\x02\xff\xfe", "not UTF-8"),
        (b"SZ", "no type of a length"),
        (b"Si\xff", "asks for -1 bytes"),
        (b"[$iU\x01", "a type without a number"),
        (b"{U\x01aZU\x01aZ}", "the key 'a' comes twice"),
        (b"ZZ", "bytes are left behind"),
        (b"[#l\x7f\xff\xff\xff", "members .* are impossible"),
    ],
)
def test_rejects_damaged_ubjson(data, message):
    with pytest.raises(ValueError, match=message):
        imported_ubjson.parse(data)


def test_one_model_for_rows_of_any_kind(files):
    """Encoded rows and the trees are all that others need."""
    load, data = files["json"]
    model = load(data)
    x = jnp.asarray(rows(50, seed=3))
    total = trees.sum_values(model.trees, imported.encode(model, x))[:, 0]
    scores = imported.decision_function(model, x)
    np.testing.assert_allclose(total + model.start[0], scores, rtol=1e-6)
