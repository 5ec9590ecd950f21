"""Tables of names: both directions, old names, ties, stacks, and every misfit."""

import jax
import numpy as np
import pytest

from jaxml.zoo import table
from jaxml.zoo.leaf import Leaf
from jaxml.zoo.table import Alias, Ignored, Row, Tied

RNG = np.random.default_rng(0)


def numbers(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def shapes(tree):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)


def assert_same(got, expected):
    assert got.keys() == expected.keys()
    for name, array in expected.items():
        assert got[name].dtype == array.dtype, name
        assert got[name].shape == array.shape, name
        assert got[name].tobytes() == array.tobytes(), name


def round_trip(rows, tensors, network):
    done = table.convert(rows, tensors, network)
    assert done.problems == []
    assert_same(table.revert(rows, done.variables, done.extras), tensors)
    return done.variables


CHANGES = {
    "same": (table.same, (2, 3), (2, 3)),
    "linear": (table.linear, (2, 3), (3, 2)),
    "conv": (table.conv, (2, 3, 4, 5), (4, 5, 3, 2)),
    "conv1d": (table.conv, (2, 3, 4), (4, 3, 2)),
    "conv_transpose": (table.conv_transpose, (2, 3, 4, 5), (4, 5, 2, 3)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_a_view_and_has_an_inverse(name):
    change, theirs, ours = CHANGES[name]
    tensor = numbers(*theirs)
    network = {"params": {"w": jax.ShapeDtypeStruct(ours, np.float32)}}
    variables = round_trip([Row("params/w", "w", change)], {"w": tensor}, network)
    assert np.shares_memory(variables["params"]["w"], tensor)


@pytest.mark.parametrize("transpose_kernel", [False, True])
def test_transposed_convolution_is_that_of_torch(transpose_kernel):
    torch = pytest.importorskip("torch")
    from flax import linen as nn

    weight, images = numbers(3, 2, 4, 4), numbers(1, 5, 5, 3)
    change = table.conv if transpose_kernel else table.conv_transpose
    kernel = change.load(weight)
    layer = nn.ConvTranspose(
        2, (4, 4), (2, 2), padding="VALID", use_bias=False,
        transpose_kernel=transpose_kernel,
    )  # fmt: skip
    got = layer.apply({"params": {"kernel": kernel.copy()}}, images)
    expected = torch.nn.functional.conv_transpose2d(
        torch.tensor(images.transpose(0, 3, 1, 2)), torch.tensor(weight), stride=2
    )
    # sums of 48 float32 products in another order
    np.testing.assert_allclose(
        np.transpose(got, (0, 3, 1, 2)), expected.numpy(), atol=1e-5, rtol=1e-5
    )


def test_one_tensor_of_theirs_is_several_of_ours():
    ours = ("params/{i}_q/kernel", "params/{i}_k/kernel", "params/{i}_v/kernel")
    rows = [
        Row(ours, "h.{i}.qkv.weight", table.linear_split((4, 2, 2))),
        Row(("params/a", "params/b"), "ab", table.split(2, axis=1)),
    ]
    tensors = {"h.0.qkv.weight": numbers(8, 3), "ab": numbers(2, 6)}
    network = {
        "params": {
            "0_q": {"kernel": numbers(3, 4)},
            "0_k": {"kernel": numbers(3, 2)},
            "0_v": {"kernel": numbers(3, 2)},
            "a": numbers(2, 3),
            "b": numbers(2, 3),
        }
    }
    found = round_trip(rows, tensors, shapes(network))
    key = found["params"]["0_k"]["kernel"]
    np.testing.assert_array_equal(key, tensors["h.0.qkv.weight"][4:6].T)


def test_experts_and_layers_are_stacked():
    rows = [
        Row("params/layers_{i}/up", "layers.{i}.experts.{e}.w1", table.linear),
        Row("params/layers_{i}/norm", "layers.{i}.norm"),
    ]
    tensors = {f"layers.{i}.norm": numbers(3) for i in range(2)}
    for i, e in np.ndindex(2, 4):
        tensors[f"layers.{i}.experts.{e}.w1"] = numbers(5, 3)
    plain = {
        f"layers_{i}": {"up": numbers(4, 3, 5), "norm": numbers(3)} for i in (0, 1)
    }
    scanned = {"layers": {"up": numbers(2, 4, 3, 5), "norm": numbers(2, 3)}}
    apart = round_trip(rows, tensors, shapes({"params": plain}))["params"]
    together = round_trip(rows, tensors, shapes({"params": scanned}))["params"]
    for i in range(2):
        jax.tree.map(
            np.testing.assert_array_equal,
            apart[f"layers_{i}"],
            jax.tree.map(lambda x: x[i], together["layers"]),  # noqa: B023
        )
    expected = tensors["layers.1.experts.2.w1"].T
    np.testing.assert_array_equal(together["layers"]["up"][1, 2], expected)


def test_a_piece_of_a_stack_is_read_alone():
    parts = tuple(numbers(3, 5) for _ in range(8))
    leaf, whole = Leaf(parts, (2, 4)), np.stack(parts).reshape(2, 4, 3, 5)
    assert leaf.shape == whole.shape
    for index in [
        (),
        (slice(0, 1),),
        (slice(None), slice(1, 3), slice(2), slice(1, 4)),
    ]:
        np.testing.assert_array_equal(leaf.read(index), whole[index])
    assert leaf.read((slice(1, 2),), np.float16).dtype == np.float16


TIED = [
    Alias("^(?!model\\.|head)", "model."),
    Alias("gamma$", "weight"),
    Row("params/embedding", "model.embed.weight"),
    Row("params/norm/scale", "model.norm.weight"),
    Tied("head.weight", "model.embed.weight"),
    Tied("head.copy", "model.embed.weight"),
    Ignored("model.h.{i}.mask"),
]
NETWORK = {"params": {"embedding": numbers(4, 2), "norm": {"scale": numbers(2)}}}
EMBEDDING, NORM = numbers(4, 2), numbers(2)


@pytest.mark.parametrize(
    "tensors",
    [
        {"model.embed.weight": EMBEDDING, "model.norm.weight": NORM},
        {"embed.weight": EMBEDDING, "norm.gamma": NORM, "h.3.mask": np.ones(2, bool)},
        {
            "model.embed.weight": EMBEDDING,
            "head.weight": EMBEDDING,
            "norm.weight": NORM,
        },
        {"head.weight": EMBEDDING, "norm.gamma": NORM},
        {"head.weight": EMBEDDING, "head.copy": EMBEDDING, "norm.weight": NORM},
    ],
    ids=["plain", "old names and a buffer", "both tied", "one tied", "two tied"],
)
def test_a_file_goes_back_as_it_came(tensors):
    variables = round_trip(TIED, tensors, shapes(NETWORK))
    np.testing.assert_array_equal(variables["params"]["embedding"], EMBEDDING)


def test_a_leaf_may_be_tied_in_the_file_and_untied_later():
    rows = [
        Row("params/embedding", "embed.weight"),
        Row("params/head/kernel", "head.weight", table.linear),
        Tied("head.weight", "embed.weight"),
    ]
    network = {
        "params": {"embedding": numbers(4, 2), "head": {"kernel": numbers(2, 4)}}
    }
    tensors = {"embed.weight": EMBEDDING}
    variables = round_trip(rows, tensors, shapes(network))
    assert table.revert(rows, variables).keys() == {"embed.weight"}
    _, extras, _ = table.convert(rows, tensors, shapes(network))
    variables["params"]["head"]["kernel"] = numbers(2, 4)
    assert table.revert(rows, variables, extras).keys() == {
        "embed.weight",
        "head.weight",
    }


def test_optional_tensors_may_be_absent():
    rows = [Row("params/a", "a"), Row("params/sinusoids", "pos", optional=True)]
    network = shapes({"params": {"a": numbers(2), "sinusoids": numbers(3)}})
    done = table.convert(rows, {"a": numbers(2)}, network)
    assert done.problems == []
    assert set(done.variables["params"]) == {"a"}
    round_trip(rows, {"a": numbers(2), "pos": numbers(3)}, network)


def test_what_does_not_fit_is_a_problem():
    tensors = {
        "model.embed.weight": EMBEDDING[:3],
        "head.copy": EMBEDDING,
        "norm.gamma": NORM,
        "norm.weight": NORM,
        "model.wrong": NORM,
    }
    network = shapes({**NETWORK, "more": {"leaf": NORM}})
    _, _, problems = table.convert(TIED, tensors, network)
    assert {(problem.kind, problem.name) for problem in problems} == {
        ("shape", "model.embed.weight"),
        ("tied", "head.copy"),
        ("double", "norm.weight"),
        ("extra", "model.wrong"),
        ("unfilled", "more/leaf"),
    }


def test_rejects_a_table_that_does_not_hold():
    rows = [Row("params/a", "a"), Row("params/{x}", "b{x}")]
    with pytest.raises(ValueError, match="two rows of the table fill"):
        table.convert([*rows, Row("params/a", "c")], {}, {"params": {"a": NORM}})
    with pytest.raises(ValueError, match="must have the placeholders"):
        table.convert([Row("params/{x}", "b")], {}, {"params": {"1": NORM}})
    with pytest.raises(KeyError, match="no row of the table names the leaf params/b"):
        table.revert(rows, {"params": {"b": NORM}})
