"""EfficientNet as the transformers library writes it, which has it from Keras.

    model = FAMILY.build(config, "EfficientNetForImageClassification")
    rows = FAMILY.rows(model)
    outputs = FAMILY.outputs(model, variables, {"pixel_values": images})

transformers gives torch the momentum of its norms, 0.99, as the weight of the new
value, where Keras means the old. Here it is the weight of the old value, as in Keras.
"""

import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from jaxml.models.vision import efficientnet
from jaxml.models.vision.efficientnet import Stage, divisible
from jaxml.zoo.families import cnn_parts
from jaxml.zoo.families.cnn_parts import batch_norm, dense, excitation, kernel
from jaxml.zoo.family import Family, Statistics
from jaxml.zoo.rows import Line

__all__ = ["FAMILY"]

_USUAL = {  # per stage, where a config.json does not say
    "expand_ratios": (1, 6, 6, 6, 6, 6, 6),
    "kernel_sizes": (3, 3, 5, 3, 5, 5, 3),
    "strides": (1, 2, 2, 2, 1, 2, 1),
    "out_channels": (16, 24, 40, 80, 112, 192, 320),
    "num_block_repeats": (1, 2, 2, 3, 3, 4, 1),
}
_LAYERS = {  # of a block -> group, convolution, norm
    "expand": ("expansion", "expand_conv", "expand_bn"),
    "depthwise": ("depthwise_conv", "depthwise_conv", "depthwise_norm"),
    "project": ("projection", "project_conv", "project_bn"),
}


def build(config: Mapping[str, Any], name: str) -> nn.Module:
    """The network of a config.json.

    Args:
        config: as the file has it.
        name: of the class in transformers.

    Raises:
        ValueError: if the pooling is not the mean, or the width of the last layer
            does not follow from the factor of widths, which transformers needs too.
    """
    pooling = config.get("pooling_type", "mean")
    if pooling != "mean":
        raise ValueError(f"pooling_type must be mean; got {pooling}")
    factor, divisor = (
        config.get("width_coefficient", 2.0),
        config.get("depth_divisor", 8),
    )
    depth = config.get("depth_coefficient", 3.1)
    width = lambda channels: divisible(channels * factor, divisor)
    last = config.get("hidden_dim", 2560)
    if last != width(1280):
        raise ValueError(f"hidden_dim must be {width(1280)}; got {last}")
    stages = zip(
        *(config.get(key, usual) for key, usual in _USUAL.items()), strict=True
    )
    headless = name == "EfficientNetModel"
    return efficientnet.EfficientNet(
        stages=tuple(
            Stage(expansion, side, stride, width(features), math.ceil(depth * repeats))
            for expansion, side, stride, features, repeats in stages
        ),
        stem_features=width(32),
        last_features=last,
        num_classes=None if headless else cnn_parts.classes_of(config),
        squeeze=config.get("squeeze_expansion_ratio", 0.25),
        dropout=config.get("dropout_rate", 0.5),
        drop_path=config.get("drop_connect_rate", 0.2),
        padding="keras",
        torch_padded=tuple(config.get("depthwise_padding", ())),
        first_shortcut=False,
        divisor=1,
        activation=cnn_parts.activation(config.get("hidden_act", "swish")),
        norm_epsilon=config.get("batch_norm_eps", 1e-3),
        norm_momentum=config.get("batch_norm_momentum", 0.99),
        channels=config.get("num_channels", 3),
    )


def rows(model: nn.Module) -> list[Line]:
    """The table of names; a block without expansion has no such group."""
    prefix = "" if model.num_classes is None else "efficientnet."

    def layer(ours, convolution, norm):
        return [
            *kernel(f"{ours}/conv", f"{prefix}{convolution}"),
            *batch_norm(f"{ours}/norm", f"{prefix}{norm}"),
        ]

    table = layer("stem", "embeddings.convolution", "embeddings.batchnorm")
    ours, theirs = "blocks_{i}", "encoder.blocks.{i}"
    for part, (group, convolution, norm) in _LAYERS.items():
        group = f"{theirs}.{group}"
        table += layer(f"{ours}/{part}", f"{group}.{convolution}", f"{group}.{norm}")
    se = f"{prefix}{theirs}.squeeze_excite"
    table += excitation(f"{ours}/excite", f"{se}.reduce", f"{se}.expand")
    table += layer("last", "encoder.top_conv", "encoder.top_bn")
    if model.num_classes is None:
        return table + cnn_parts.headless("efficientnet.", "classifier")
    return table + dense("head", "classifier")


def outputs(
    model: nn.Module, variables: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Outputs of the reference by its names; its hidden states end with the blocks.

    Args:
        model: network of `build`.
        variables: its variables.
        given: "pixel_values", [batch, channel, height, width].
    """
    states, answer = cnn_parts.run(model, variables, given)
    return cnn_parts.hugging_face(states[:-1], answer, model, states[-1])


def _size(width, depth, side, dropout, padding):
    return {
        "architectures": ["EfficientNetForImageClassification"],
        "model_type": "efficientnet",
        "width_coefficient": width,
        "depth_coefficient": depth,
        "hidden_dim": divisible(1280 * width),
        "image_size": side,
        "dropout_rate": dropout,
        "depthwise_padding": padding,
        "num_labels": 1000,
    }


FAMILY = Family(
    name="transformers/efficientnet",
    classes=("EfficientNetForImageClassification", "EfficientNetModel"),
    build=build,
    rows=rows,
    inputs=cnn_parts.inputs,
    outputs=outputs,
    sizes={
        "google/efficientnet-b0": _size(1.0, 1.0, 224, 0.2, ()),
        "google/efficientnet-b1": _size(1.0, 1.1, 240, 0.2, (16,)),
        "google/efficientnet-b2": _size(1.1, 1.2, 260, 0.3, (5, 8, 16)),
        "google/efficientnet-b3": _size(1.2, 1.4, 300, 0.3, (5, 18)),
        "google/efficientnet-b4": _size(1.4, 1.8, 380, 0.4, (6,)),
        "google/efficientnet-b5": _size(1.6, 2.2, 456, 0.4, (13, 27)),
        "google/efficientnet-b6": _size(1.8, 2.6, 528, 0.5, (31,)),
        "google/efficientnet-b7": _size(2.0, 3.1, 600, 0.5, (18,)),
    },
    licence="Apache-2.0",
    source="https://huggingface.co/google/efficientnet-b0",
    statistics=Statistics(std=(0.47853944, 0.4732864, 0.47434163)),
)
