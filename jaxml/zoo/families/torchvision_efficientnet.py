"""EfficientNet and EfficientNetV2 as torchvision writes them.

model = FAMILY.build({"architecture": "efficientnet_b0"}, "efficientnet_b0")
rows = FAMILY.rows(model)
outputs = FAMILY.outputs(model, variables, {"x": images})
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn

from jaxml.models.vision import efficientnet, efficientnet_v2
from jaxml.models.vision.efficientnet import Stage, divisible
from jaxml.zoo import builder
from jaxml.zoo.families import cnn_parts
from jaxml.zoo.families.cnn_parts import conv_norm, dense
from jaxml.zoo.family import Family, Statistics
from jaxml.zoo.rows import Line

__all__ = ["FAMILY"]

_SIZES = {
    **{
        f"efficientnet_b{n}": getattr(efficientnet, f"efficientnet_b{n}")
        for n in range(8)
    },
    **{
        f"efficientnet_v2_{n}": getattr(efficientnet_v2, f"efficientnet_v2_{n}")
        for n in "sml"
    },
}
_SETTING = (
    "expand_ratio",
    "kernel",
    "stride",
    "input_channels",
    "out_channels",
    "num_layers",
    "width_mult",
    "depth_mult",
)
_ARGUMENTS = (
    "inverted_residual_setting",
    "dropout",
    "stochastic_depth_prob",
    "num_classes",
    "norm_layer",
    "last_channel",
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
    given = dict(call.kwargs)
    if call.name not in _SIZES:
        given |= dict(zip(_ARGUMENTS, call.args, strict=False))
    rest = {k: v for k, v in given.items() if k not in _ARGUMENTS}
    cnn_parts.refuse(rest, {"weights": None, "progress": None}, call.name)
    options: dict[str, Any] = {
        "num_classes": given.get("num_classes", 1000),
        "drop_path": given.get("stochastic_depth_prob", 0.2),
        "channels": 3,
        **_norm(given.get("norm_layer")),
    }
    if "dropout" in given:
        options["dropout"] = given["dropout"]
    if call.name in _SIZES:
        return _SIZES[call.name](**options)
    entering, stages = zip(
        *map(_stage, given["inverted_residual_setting"]), strict=True
    )
    return efficientnet.EfficientNet(
        stages=stages,
        stem_features=entering[0],
        last_features=given.get("last_channel") or 4 * stages[-1].features,
        **options,
    )


def _stage(setting: Mapping[str, Any]) -> tuple[int, Stage]:
    """Channels that enter a stage, and the stage."""
    fused = setting["builder"].endswith("FusedMBConvConfig")
    given = dict(zip(_SETTING, setting["args"], strict=False)) | setting["kwargs"]
    cnn_parts.refuse(
        {k: v for k, v in given.items() if k not in _SETTING}, {"block": None}, "stage"
    )
    # A fused stage has no factors, and its channels need not be multiples of 8.
    scale = (
        (lambda c: c) if fused else lambda c: divisible(c * given.get("width_mult", 1))
    )
    stage = Stage(
        given["expand_ratio"],
        given["kernel"],
        given["stride"],
        scale(given["out_channels"]),
        math.ceil(given["num_layers"] * given.get("depth_mult", 1)),
        efficientnet_v2.FusedMBConv if fused else None,
    )
    return scale(given["input_channels"]), stage


def _norm(given: Any) -> dict[str, float]:
    """Fields of the norm: None, or a partial of torch's with keywords."""
    if given is None:
        return {}
    keywords = dict(given["kwargs"]) if isinstance(given, Mapping) else {}
    fields = {}
    if "eps" in keywords:
        fields["norm_epsilon"] = keywords.pop("eps")
    if "momentum" in keywords:  # torch: weight of the new value
        fields["norm_momentum"] = 1 - keywords.pop("momentum")
    cnn_parts.refuse(keywords, {}, "norm_layer")
    return fields


def rows(model: nn.Module) -> list[Line]:
    """The table of names; a block without expansion lacks its first layer."""
    table = conv_norm("stem", "features.0.0", "features.0.1")
    number, entering = 0, model.stem_features
    for s, stage in enumerate(model.stages):
        for b in range(stage.repeats):
            names = block_names(model, stage, entering)
            ours, theirs = f"blocks_{number}", f"features.{s + 1}.{b}.block"
            table += _block(ours, theirs, names)
            number, entering = number + 1, stage.features
    last = f"features.{len(model.stages) + 1}"
    return [
        *table,
        *conv_norm("last", f"{last}.0", f"{last}.1"),
        *dense("head", "classifier.1"),
    ]


def block_names(model: nn.Module, stage: Stage, entering: int) -> Sequence[str]:
    """Parts of a block of our network, in order.

    Args:
        model: the network.
        stage: that of the block.
        entering: channels that enter the block.
    """
    expands = divisible(entering * stage.expansion, model.divisor) != entering
    if stage.block is efficientnet_v2.FusedMBConv:
        return ("fused", "project") if expands else ("fused",)
    rest = ("depthwise", "excite", "project")
    return ("expand", *rest) if expands else rest


def _block(ours, theirs, names):
    table: list[Line] = []
    for n, part in enumerate(names):
        layer = f"{theirs}.{n}"
        if part == "excite":
            table += cnn_parts.excitation(
                f"{ours}/{part}", f"{layer}.fc1", f"{layer}.fc2"
            )
        else:
            table += conv_norm(f"{ours}/{part}", f"{layer}.0", f"{layer}.1")
    return table


FAMILY = Family(
    name="torchvision/efficientnet",
    classes=("EfficientNet",),
    build=build,
    rows=rows,
    inputs=cnn_parts.inputs,
    outputs=cnn_parts.timm,
    sizes={name: {"architecture": name} for name in _SIZES},
    licence="BSD-3-Clause",
    source="https://pytorch.org/vision/stable/models/efficientnet.html",
    statistics=Statistics(resize=256, interpolation="bicubic"),
)
