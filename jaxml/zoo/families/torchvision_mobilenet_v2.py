"""MobileNetV2 as torchvision writes it.

model = FAMILY.build({"architecture": "mobilenet_v2"}, "mobilenet_v2")
rows = FAMILY.rows(model)
outputs = FAMILY.outputs(model, variables, {"x": images})
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from jaxml.models.vision import mobilenet_v2
from jaxml.models.vision.mobilenet_v2 import divisible
from jaxml.zoo import builder
from jaxml.zoo.families import cnn_parts
from jaxml.zoo.families.cnn_parts import conv_norm, dense
from jaxml.zoo.family import Family, Statistics
from jaxml.zoo.rows import Line

__all__ = ["FAMILY"]

_ARGUMENTS = (
    "num_classes",
    "width_mult",
    "inverted_residual_setting",
    "round_nearest",
)


def build(config: Mapping[str, Any], name: str) -> nn.Module:
    """The network that a call of torchvision makes.

    Args:
        config: of `builder.parse`, or {"architecture": ...}.
        name: of the class; the config says more.

    Raises:
        ValueError: if an argument is not understood.
    """
    call = builder.called(config)
    given = dict(zip(_ARGUMENTS, call.args, strict=False)) | call.kwargs
    rest = {k: v for k, v in given.items() if k not in (*_ARGUMENTS, "dropout")}
    usual = {"weights": None, "progress": None, "norm_layer": None, "block": None}
    cnn_parts.refuse(rest, usual, call.name)
    width, multiple = given.get("width_mult", 1.0), given.get("round_nearest", 8)
    stages = given.get("inverted_residual_setting") or mobilenet_v2.STAGES
    return mobilenet_v2.MobileNetV2(
        stages=tuple(
            mobilenet_v2.Stage(expansion, divisible(c * width, multiple), *rest)
            for expansion, c, *rest in stages
        ),
        stem_features=divisible(32 * width, multiple),
        last_features=divisible(1280 * max(1.0, width), multiple),
        num_classes=given.get("num_classes", 1000),
        dropout=given.get("dropout", 0.2),
        divisor=1,
        channels=3,
    )


def rows(model: nn.Module) -> list[Line]:
    """The table of names; a block without expansion lacks its first layer."""
    table = conv_norm("stem", "features.0.0", "features.0.1")
    expansions = [
        stage.expansion for stage in model.stages for _ in range(stage.repeats)
    ]
    for i, expansion in enumerate(expansions):
        ours, theirs = f"blocks_{i}", f"features.{i + 1}.conv"
        names = ["depthwise"] if expansion == 1 else ["expand", "depthwise"]
        for n, layer in enumerate(names):
            table += conv_norm(f"{ours}/{layer}", f"{theirs}.{n}.0", f"{theirs}.{n}.1")
        n = len(names)
        table += conv_norm(f"{ours}/project", f"{theirs}.{n}", f"{theirs}.{n + 1}")
    last = f"features.{len(expansions) + 1}"
    return [
        *table,
        *conv_norm("last", f"{last}.0", f"{last}.1"),
        *dense("head", "classifier.1"),
    ]


FAMILY = Family(
    name="torchvision/mobilenet_v2",
    classes=("MobileNetV2",),
    build=build,
    rows=rows,
    inputs=cnn_parts.inputs,
    outputs=cnn_parts.timm,
    sizes={"mobilenet_v2": {"architecture": "mobilenet_v2"}},
    licence="BSD-3-Clause",
    source="https://pytorch.org/vision/stable/models/mobilenetv2.html",
    statistics=Statistics(resize=256),
)
