"""ConvNeXt as torchvision writes it.

model = FAMILY.build({"architecture": "convnext_tiny"}, "convnext_tiny")
rows = FAMILY.rows(model)
outputs = FAMILY.outputs(model, variables, {"x": images})
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from jaxml.models.vision import convnext
from jaxml.zoo import builder
from jaxml.zoo.families import cnn_parts
from jaxml.zoo.families.cnn_parts import dense, layer_norm
from jaxml.zoo.family import Family, Statistics
from jaxml.zoo.rows import Change, Line, Row, conv

__all__ = ["FAMILY"]

_SIZES = {
    "convnext_tiny": (convnext.convnext_tiny, 0.1),
    "convnext_small": (convnext.convnext_small, 0.4),
    "convnext_base": (convnext.convnext_base, 0.5),
    "convnext_large": (convnext.convnext_large, 0.5),
}
_SETTING = ("input_channels", "out_channels", "num_layers")
_ARGUMENTS = ("block_setting", "stochastic_depth_prob", "layer_scale", "num_classes")
# [channels, 1, 1] -> [channels]
_column = Change(lambda x: x.reshape(x.shape[0]), lambda x: x.reshape(-1, 1, 1))


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
    usual = {"weights": None, "progress": None, "block": None, "norm_layer": None}
    cnn_parts.refuse(rest, usual, call.name)
    make, dropped = _SIZES.get(call.name, (None, 0.0))
    options = {
        "num_classes": given.get("num_classes", 1000),
        "layer_scale": given.get("layer_scale", 1e-6),
        "drop_path": given.get("stochastic_depth_prob", dropped),
        "channels": 3,
    }
    if make is not None:
        return make(**options)
    settings = [
        dict(zip(_SETTING, setting["args"], strict=False)) | setting["kwargs"]
        for setting in given["block_setting"]
    ]
    widths = [setting["input_channels"] for setting in settings]
    after = [setting["out_channels"] for setting in settings]
    if after != [*widths[1:], None]:
        raise ValueError(
            "out_channels of a stage must be what enters the next, of the last None; "
            f"got {after} for {widths}"
        )
    depths = tuple(setting["num_layers"] for setting in settings)
    return convnext.ConvNeXt(depths, tuple(widths), **options)


def rows(model: nn.Module) -> list[Line]:
    """The table of names; stages and halvings take turns."""
    table = [
        *dense("stem_conv", "features.0.0", conv),
        *layer_norm("stem_norm", "features.0.1"),
    ]
    for i in range(len(model.depths)):
        ours, theirs = f"stage{i}_block{{j}}", f"features.{2 * i + 1}.{{j}}"
        table += dense(f"{ours}/depthwise", f"{theirs}.block.0", conv)
        table += layer_norm(f"{ours}/norm", f"{theirs}.block.2")
        table += dense(f"{ours}/up", f"{theirs}.block.3")
        table += dense(f"{ours}/down", f"{theirs}.block.5")
        table.append(Row(f"params/{ours}/scale", f"{theirs}.layer_scale", _column))
        if i > 0:
            table += layer_norm(f"downsample_norm_{i}", f"features.{2 * i}.0")
            table += dense(f"downsample_conv_{i}", f"features.{2 * i}.1", conv)
    return [
        *table,
        *layer_norm("norm", "classifier.0"),
        *dense("head", "classifier.2"),
    ]


FAMILY = Family(
    name="torchvision/convnext",
    classes=("ConvNeXt",),
    build=build,
    rows=rows,
    inputs=cnn_parts.inputs,
    outputs=cnn_parts.timm,
    sizes={name: {"architecture": name} for name in _SIZES},
    licence="BSD-3-Clause",
    source="https://pytorch.org/vision/stable/models/convnext.html",
    statistics=Statistics(resize=236),
)
