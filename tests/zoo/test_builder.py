"""Calls that build networks, read as data: nothing in them runs."""

import pytest

from jaxml.zoo import builder


def test_reads_names_calls_and_values():
    text = (
        "torchvision.models.X([a.Y(1, None), a.Y(-2.5, 3*2)], *f('s', w=0.25), "
        "norm=torch.nn.LayerNorm, kinds=('A',)*2 + ('B',), args=dict(attn='se'), "
        "more={'k': [True]}).features"
    )
    y = lambda *args: {"builder": "a.Y", "args": list(args), "kwargs": {}}
    assert builder.parse(text) == {
        "builder": "torchvision.models.X",
        "args": [
            [y(1, None), y(-2.5, 6)],
            {"unpack": {"builder": "f", "args": ["s"], "kwargs": {"w": 0.25}}},
        ],
        "kwargs": {
            "norm": "torch.nn.LayerNorm",
            "kinds": ("A", "A", "B"),
            "args": {"attn": "se"},
            "more": {"k": [True]},
        },
        "attribute": "features",
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "resnet50",
        "1",
        "f(x",
        "f(); g()",
        "f(**x)",
        "f(lambda: 0)",
        "f([x for x in y])",
        "f(x[0])",
        "f(2**999999999)",
        "f((1,)*10**9)",
        "f((1,)*999999999)",
        "f(1/0)",
        "__import__('os').system('true')(1)" + "(" * 500,
        "f(" + "[" * 9000,
        "f(" + "1," * 6000 + ")",
    ],
)
def test_rejects_what_is_no_call(text):
    with pytest.raises(ValueError, match="a builder "):
        builder.parse(text)


def test_architecture_is_found_in_every_form():
    for config in (
        builder.parse("timm.create_model('resnet50', num_classes=7)"),
        builder.parse("torchvision.models.resnet50(num_classes=7)"),
        {"architecture": "resnet50.a1_in1k", "num_classes": 7, "pretrained_cfg": {}},
    ):
        assert builder.called(config) == ("resnet50", [], {"num_classes": 7})
