"""MobileNetV2 as timm writes it.

model = FAMILY.build({"architecture": "mobilenetv2_100"}, "mobilenetv2_100")
rows = FAMILY.rows(model)
outputs = FAMILY.outputs(model, variables, {"x": images})
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from jaxml.models.vision import mobilenet_v2
from jaxml.zoo import builder
from jaxml.zoo.families import cnn_parts
from jaxml.zoo.families.cnn_parts import conv_norm, dense
from jaxml.zoo.family import Family, Statistics
from jaxml.zoo.rows import Line

__all__ = ["FAMILY"]

_SIZES: dict[str, dict[str, Any]] = {
    "mobilenetv2_035": {"width": 0.35},
    "mobilenetv2_050": {"width": 0.5},
    "mobilenetv2_075": {"width": 0.75},
    "mobilenetv2_100": {"width": 1.0},
    "mobilenetv2_110d": {"width": 1.1, "depth": 1.2, "fixed_ends": True},
    "mobilenetv2_120d": {"width": 1.2, "depth": 1.4, "fixed_ends": True},
    "mobilenetv2_140": {"width": 1.4},
}


def build(config: Mapping[str, Any], name: str) -> nn.Module:
    """The network that a call of timm makes.

    Args:
        config: of `builder.parse`, or {"architecture": ...}.
        name: of the class; the config says more.

    Raises:
        ValueError: if an argument or the name is not understood.
    """
    call = builder.called(config)
    if call.name not in _SIZES:
        raise ValueError(f"the network must be one of {list(_SIZES)}; got {call.name}")
    given, options = cnn_parts.timm_options(call.kwargs, call.name)
    return mobilenet_v2.MobileNetV2(
        **mobilenet_v2.scaled(**_SIZES[call.name]),
        **options,
        output_stride=given.get("output_stride", 32),
    )


def rows(model: nn.Module) -> list[Line]:
    """The table of names; a block without expansion counts its norms from depthwise."""
    table = conv_norm("stem", "conv_stem", "bn1")
    number = 0
    for s, stage in enumerate(model.stages):
        names = {"depthwise": "conv_dw", "project": "conv_pw"}
        if stage.expansion != 1:
            names = {"expand": "conv_pw", **names, "project": "conv_pwl"}
        for b in range(stage.repeats):
            ours, theirs = f"blocks_{number}", f"blocks.{s}.{b}"
            for n, (layer, their) in enumerate(names.items(), 1):
                table += conv_norm(
                    f"{ours}/{layer}", f"{theirs}.{their}", f"{theirs}.bn{n}"
                )
            number += 1
    return [
        *table,
        *conv_norm("last", "conv_head", "bn2"),
        *dense("head", "classifier"),
    ]


FAMILY = Family(
    name="timm/mobilenet_v2",
    classes=tuple(_SIZES),
    build=build,
    rows=rows,
    inputs=cnn_parts.inputs,
    outputs=cnn_parts.timm,
    sizes={name: {"architecture": name} for name in _SIZES},
    licence="Apache-2.0",
    source="https://huggingface.co/timm",
    statistics=Statistics(resize=256, interpolation="bicubic"),
)
