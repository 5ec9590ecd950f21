"""ResNet, Wide ResNet and ResNeXt as torchvision writes them.

model = FAMILY.build({"architecture": "resnet50"}, "resnet50")
rows = FAMILY.rows(model)
outputs = FAMILY.outputs(model, variables, {"x": images})
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import flax.linen as nn

from jaxml.models.vision import resnet
from jaxml.zoo import builder
from jaxml.zoo.families import cnn_parts
from jaxml.zoo.families.cnn_parts import batch_norm, dense, kernel
from jaxml.zoo.family import Family, Statistics
from jaxml.zoo.rows import Line

__all__ = ["FAMILY"]

_BLOCKS = {"BasicBlock": resnet.BasicBlock, "Bottleneck": resnet.Bottleneck}
_SIZES: dict[str, dict[str, Any]] = {
    "resnet18": {"block": "BasicBlock", "layers": (2, 2, 2, 2)},
    "resnet34": {"block": "BasicBlock", "layers": (3, 4, 6, 3)},
    "resnet50": {"layers": (3, 4, 6, 3)},
    "resnet101": {"layers": (3, 4, 23, 3)},
    "resnet152": {"layers": (3, 8, 36, 3)},
    "wide_resnet50_2": {"layers": (3, 4, 6, 3), "width_per_group": 128},
    "wide_resnet101_2": {"layers": (3, 4, 23, 3), "width_per_group": 128},
    "resnext50_32x4d": {"layers": (3, 4, 6, 3), "groups": 32, "width_per_group": 4},
    "resnext101_32x8d": {"layers": (3, 4, 23, 3), "groups": 32, "width_per_group": 8},
    "resnext101_64x4d": {"layers": (3, 4, 23, 3), "groups": 64, "width_per_group": 4},
}
_ARGUMENTS = (
    "block",
    "layers",
    "num_classes",
    "zero_init_residual",
    "groups",
    "width_per_group",
    "replace_stride_with_dilation",
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
    settings = {"block": "Bottleneck", **_SIZES.get(call.name, {})}
    settings |= dict(zip(_ARGUMENTS, call.args, strict=False)) | call.kwargs
    rest = {k: v for k, v in settings.items() if k not in _ARGUMENTS}
    usual = {"weights": None, "progress": None, "norm_layer": None}
    cnn_parts.refuse(rest, usual, call.name)
    block: Any = _BLOCKS[str(settings["block"]).rpartition(".")[2]]
    if block is resnet.Bottleneck:
        block = partial(
            block,
            groups=settings.get("groups", 1),
            base_width=settings.get("width_per_group", 64),
        )
    dilated = settings.get("replace_stride_with_dilation") or (False, False, False)
    return resnet.ResNet(
        tuple(settings["layers"]),
        block,
        num_classes=settings.get("num_classes", 1000),
        zero_init_residual=settings.get("zero_init_residual", False),
        dilated=(False, *dilated),
        channels=3,
    )


def rows(model: nn.Module) -> list[Line]:
    """The table of names: those of the network are torchvision's."""
    block, ours = "layer{i}.{j}", "layer{i}_{j}"
    table = [*kernel("conv1", "conv1"), *batch_norm("bn1", "bn1")]
    for n in (1, 2, 3):
        table += kernel(f"{ours}/conv{n}", f"{block}.conv{n}")
        table += batch_norm(f"{ours}/bn{n}", f"{block}.bn{n}")
    table += kernel(f"{ours}/downsample_conv1", f"{block}.downsample.0")
    table += batch_norm(f"{ours}/downsample_bn1", f"{block}.downsample.1")
    return table + dense("fc", "fc")


FAMILY = Family(
    name="torchvision/resnet",
    classes=("ResNet",),
    build=build,
    rows=rows,
    inputs=cnn_parts.inputs,
    outputs=cnn_parts.timm,
    sizes={name: {"architecture": name} for name in _SIZES},
    licence="BSD-3-Clause",
    source="https://pytorch.org/vision/stable/models/resnet.html",
    statistics=Statistics(resize=256),
)
