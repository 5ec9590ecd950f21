"""MobileNet, the first, as timm writes it.

model = FAMILY.build({"architecture": "mobilenetv1_100"}, "mobilenetv1_100")
rows = FAMILY.rows(model)
outputs = FAMILY.outputs(model, variables, {"x": images})
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from jaxml.models.vision import mobilenet_v1
from jaxml.models.vision.mobilenet_v1 import divisible
from jaxml.zoo import builder
from jaxml.zoo.families import cnn_parts
from jaxml.zoo.families.cnn_parts import conv_norm, dense
from jaxml.zoo.family import Family, Statistics
from jaxml.zoo.rows import Line

__all__ = ["FAMILY"]

_SIZES = {"mobilenetv1_100": 1.0, "mobilenetv1_125": 1.25}
_REPEATS = (1, 2, 2, 6, 2)  # blocks of a file's stages


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
    cnn_parts.refuse(given, {"output_stride": 32}, call.name)
    width = _SIZES[call.name]
    return mobilenet_v1.MobileNetV1(
        stem_features=divisible(32 * width),
        widths=tuple(divisible(c * width) for c in mobilenet_v1.WIDTHS),
        **options,
    )


def rows(model: nn.Module) -> list[Line]:
    """The table of names."""
    table = conv_norm("stem", "conv_stem", "bn1")
    blocks = [(s, b) for s, repeats in enumerate(_REPEATS) for b in range(repeats)]
    for i, (s, b) in enumerate(blocks):
        theirs = f"blocks.{s}.{b}"
        table += conv_norm(f"depthwise_{i}", f"{theirs}.conv_dw", f"{theirs}.bn1")
        table += conv_norm(f"pointwise_{i}", f"{theirs}.conv_pw", f"{theirs}.bn2")
    return table + dense("head", "classifier")


FAMILY = Family(
    name="timm/mobilenet_v1",
    classes=tuple(_SIZES),
    build=build,
    rows=rows,
    inputs=cnn_parts.inputs,
    outputs=cnn_parts.timm,
    sizes={name: {"architecture": name} for name in _SIZES},
    licence="Apache-2.0",
    source="https://huggingface.co/timm",
    statistics=Statistics(
        mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), resize=256, interpolation="bicubic"
    ),
)
