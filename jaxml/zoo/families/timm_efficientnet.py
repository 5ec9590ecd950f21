"""EfficientNet and EfficientNetV2 as timm writes them.

    model = FAMILY.build({"architecture": "efficientnet_b0"}, "efficientnet_b0")
    rows = FAMILY.rows(model)
    outputs = FAMILY.outputs(model, variables, {"x": images})

The names in `tf_` are of weights trained in TensorFlow: its padding, epsilon 1e-3. The
class `EfficientNet` of timm is that of MobileNets too: theirs go to their own files.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from jaxml.models.vision import (
    efficientnet,
    efficientnet_v2,
    mobilenet_v1,
    mobilenet_v2,
)
from jaxml.zoo import builder
from jaxml.zoo.families import (
    cnn_parts,
    timm_mobilenet_v1,
    timm_mobilenet_v2,
    torchvision_efficientnet,
)
from jaxml.zoo.families.cnn_parts import conv_norm, dense
from jaxml.zoo.family import Family, Statistics
from jaxml.zoo.rows import Line

__all__ = ["FAMILY"]

_TF = {"norm_epsilon": 1e-3, "norm_momentum": 0.99, "padding": "same"}
_PLAIN = {
    f"efficientnet_b{n}": getattr(efficientnet, f"efficientnet_b{n}") for n in range(8)
}
_V2 = {
    f"efficientnetv2_{n}": getattr(efficientnet_v2, f"efficientnet_v2_{n}")
    for n in "sml"
}
_SIZES: dict[str, tuple[Any, dict[str, Any]]] = {
    **{name: (make, {}) for name, make in {**_PLAIN, **_V2}.items()},
    **{f"tf_{name}": (make, _TF) for name, make in {**_PLAIN, **_V2}.items()},
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
    for other in (timm_mobilenet_v1, timm_mobilenet_v2):
        if call.name in other.FAMILY.classes:
            return other.build(config, name)
    if call.name not in _SIZES:
        raise ValueError(f"the network must be one of {list(_SIZES)}; got {call.name}")
    given, options = cnn_parts.timm_options(call.kwargs, call.name)
    cnn_parts.refuse(given, {"output_stride": 32}, call.name)
    make, usual = _SIZES[call.name]
    # timm has epsilon 1e-5 for every size that is not of TensorFlow.
    usual = {"norm_epsilon": 1e-5, "norm_momentum": 0.9, "padding": "torch", **usual}
    for field, argument in (("norm_epsilon", "bn_eps"), ("padding", "pad_type")):
        if argument not in call.kwargs:
            options[field] = usual[field]
    return make(
        **options,
        norm_momentum=usual["norm_momentum"],
        drop_path=call.kwargs.get("drop_path_rate", 0.0),
    )


_NAMES = {  # parts of a block -> names in a file
    ("depthwise", "excite", "project"): ("conv_dw", "se", "conv_pw"),
    ("expand", "depthwise", "excite", "project"): (
        "conv_pw",
        "conv_dw",
        "se",
        "conv_pwl",
    ),
    ("fused",): ("conv",),
    ("fused", "project"): ("conv_exp", "conv_pwl"),
}


def rows(model: nn.Module) -> list[Line]:
    """The table of names; the norms of a block are counted."""
    if isinstance(model, mobilenet_v1.MobileNetV1):
        return timm_mobilenet_v1.rows(model)
    if isinstance(model, mobilenet_v2.MobileNetV2):
        return timm_mobilenet_v2.rows(model)
    table = conv_norm("stem", "conv_stem", "bn1")
    number, entering = 0, model.stem_features
    for s, stage in enumerate(model.stages):
        for b in range(stage.repeats):
            parts = torchvision_efficientnet.block_names(model, stage, entering)
            table += _block(f"blocks_{number}", f"blocks.{s}.{b}", tuple(parts))
            number, entering = number + 1, stage.features
    return [
        *table,
        *conv_norm("last", "conv_head", "bn2"),
        *dense("head", "classifier"),
    ]


def _block(ours, theirs, parts):
    table: list[Line] = []
    norms = 0
    for part, layer in zip(parts, _NAMES[parts], strict=True):
        if part == "excite":
            se = f"{theirs}.{layer}"
            table += cnn_parts.excitation(
                f"{ours}/{part}", f"{se}.conv_reduce", f"{se}.conv_expand"
            )
        else:
            norms += 1
            table += conv_norm(
                f"{ours}/{part}", f"{theirs}.{layer}", f"{theirs}.bn{norms}"
            )
    return table


FAMILY = Family(
    name="timm/efficientnet",
    classes=("EfficientNet",),
    build=build,
    rows=rows,
    inputs=cnn_parts.inputs,
    outputs=cnn_parts.timm,
    sizes={name: {"architecture": name} for name in _SIZES},
    licence="Apache-2.0",
    source="https://huggingface.co/timm",
    statistics=Statistics(resize=256, interpolation="bicubic"),
)
