import jax
import pytest

from jaxml import sharding
from jaxml.nn import rules


def spec(path, table):
    """Of a leaf with three axes, so that any spec has room."""
    tree = jax.ShapeDtypeStruct((8, 8, 8), "float32")
    for name in reversed(path.split("/")):
        tree = {name: tree}
    return jax.tree.leaves(
        sharding.specs(tree, table, every_rule=False),
        is_leaf=lambda x: isinstance(x, jax.P),
    )[0]


@pytest.mark.parametrize(
    ("path", "tensor", "both"),
    [
        ("layers_3/attention/query/kernel", (None, "m"), ("d", "m")),
        ("layers_3/attention/query/bias", ("m",), ("m",)),
        ("layers_3/attention/out/kernel", ("m", None), ("m", "d")),
        ("layers_3/attention/out/bias", (), ()),
        ("layers/attention/out/kernel", (None, "m", None), (None, "m", "d")),
        ("encoder/layers/feed_forward/up/bias", (None, "m"), (None, "m")),
        ("layers_0/feed_forward/down/kernel", ("m", None), ("m", "d")),
        (
            "layers_0/feed_forward/experts/up/kernel",
            ("m", None, None),
            ("m", "d", None),
        ),
        (
            "layers/feed_forward/experts/down/kernel",
            (None, "m", None, None),
            (None, "m", None, "d"),
        ),
        ("layers_0/feed_forward/router/kernel", (), ()),
        ("layers_0/attention/query_norm/scale", (), ()),
        ("word/embedding", (None, "m"), (None, ("d", "m"))),
        ("embeddings/word/embedding", (None, "m"), (None, ("d", "m"))),
        ("head/kernel", ("m", None), (("d", "m"), None)),
    ],
)
def test_each_kind_of_leaf_has_its_place(path, tensor, both):
    assert spec(path, rules.tensor_parallel("m")) == jax.P(*tensor)
    assert spec(path, rules.fsdp_tensor_parallel("d", "m")) == jax.P(*both)
    alone = spec(path, rules.fsdp_tensor_parallel("d"))
    assert "m" not in jax.tree.leaves(tuple(alone))


def test_words_may_be_split_by_number():
    table = rules.tensor_parallel("m", words="number")
    assert spec("word/embedding", table) == jax.P("m", None)
    assert spec("head/kernel", table) == jax.P(None, "m")
    with pytest.raises(ValueError, match="nearest: number"):
        rules.tensor_parallel(words="numbers")
