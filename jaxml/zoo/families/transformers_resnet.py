"""ResNet as the transformers library writes it.

model = FAMILY.build(config, "ResNetForImageClassification")
rows = FAMILY.rows(model)
outputs = FAMILY.outputs(model, variables, {"pixel_values": images})
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import flax.linen as nn

from jaxml.models.vision import resnet
from jaxml.zoo.families import cnn_parts
from jaxml.zoo.families.cnn_parts import batch_norm, dense, kernel
from jaxml.zoo.family import Family, Statistics
from jaxml.zoo.rows import Line

__all__ = ["FAMILY"]


def build(config: Mapping[str, Any], name: str) -> nn.Module:
    """The network of a config.json.

    Args:
        config: as the file has it.
        name: of the class in transformers.

    Raises:
        ValueError: if channels of a bottleneck are no multiple of four.
    """
    sizes = tuple(config.get("hidden_sizes", (256, 512, 1024, 2048)))
    basic = config.get("layer_type", "bottleneck") == "basic"
    if not basic and any(size % 4 for size in sizes):
        raise ValueError(f"hidden_sizes must be multiples of 4; got {list(sizes)}")
    bottleneck = partial(
        resnet.Bottleneck, stride_first=config.get("downsample_in_bottleneck", False)
    )
    halve = config.get("downsample_in_first_stage", False)
    return resnet.ResNet(
        tuple(config.get("depths", (3, 4, 6, 3))),
        resnet.BasicBlock if basic else bottleneck,
        num_classes=None if name == "ResNetModel" else cnn_parts.classes_of(config),
        stem_width=config.get("embedding_size", 64),
        widths=sizes if basic else tuple(size // 4 for size in sizes),
        strides=(2 if halve else 1, *(2 for _ in sizes[1:])),
        dilated=(False,) * len(sizes),
        activation=cnn_parts.activation(config.get("hidden_act", "relu")),
        channels=config.get("num_channels", 3),
    )


def rows(model: nn.Module) -> list[Line]:
    """The table of names; a file counts stages and layers from zero."""
    prefix = "" if model.num_classes is None else "resnet."
    stem = f"{prefix}embedder.embedder"
    table = [
        *kernel("conv1", f"{stem}.convolution"),
        *batch_norm("bn1", f"{stem}.normalization"),
    ]
    for stage in range(len(model.depths)):
        ours = f"layer{stage + 1}_{{j}}"
        block = f"{prefix}encoder.stages.{stage}.layers.{{j}}"
        for n in range(3):
            layer = f"{block}.layer.{n}"
            table += kernel(f"{ours}/conv{n + 1}", f"{layer}.convolution")
            table += batch_norm(f"{ours}/bn{n + 1}", f"{layer}.normalization")
        short = f"{block}.shortcut"
        table += kernel(f"{ours}/downsample_conv1", f"{short}.convolution")
        table += batch_norm(f"{ours}/downsample_bn1", f"{short}.normalization")
    if model.num_classes is None:
        return table + cnn_parts.headless("resnet.", "classifier.1")
    return table + dense("fc", "classifier.1")


def outputs(
    model: nn.Module, variables: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Outputs of the reference by its names.

    Args:
        model: network of `build`.
        variables: its variables.
        given: "pixel_values", [batch, channel, height, width].
    """
    states, answer = cnn_parts.run(model, variables, given)
    if model.num_classes is None:
        answer = answer[:, :, None, None]
    return cnn_parts.hugging_face(states, answer, model, states[-1])


def _size(depths, sizes, kind="bottleneck"):
    return {
        "architectures": ["ResNetForImageClassification"],
        "model_type": "resnet",
        "depths": depths,
        "hidden_sizes": sizes,
        "layer_type": kind,
        "embedding_size": 64,
        "num_labels": 1000,
    }


_NARROW, _WIDE = (64, 128, 256, 512), (256, 512, 1024, 2048)
FAMILY = Family(
    name="transformers/resnet",
    classes=("ResNetForImageClassification", "ResNetModel"),
    build=build,
    rows=rows,
    inputs=cnn_parts.inputs,
    outputs=outputs,
    sizes={
        "microsoft/resnet-18": _size((2, 2, 2, 2), _NARROW, "basic"),
        "microsoft/resnet-26": _size((2, 2, 2, 2), _WIDE),
        "microsoft/resnet-34": _size((3, 4, 6, 3), _NARROW, "basic"),
        "microsoft/resnet-50": _size((3, 4, 6, 3), _WIDE),
        "microsoft/resnet-101": _size((3, 4, 23, 3), _WIDE),
        "microsoft/resnet-152": _size((3, 8, 36, 3), _WIDE),
    },
    licence="Apache-2.0",
    source="https://huggingface.co/microsoft/resnet-50",
    statistics=Statistics(resize=256, interpolation="bicubic"),
)
