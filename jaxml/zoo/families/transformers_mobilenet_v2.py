"""MobileNetV2 as the transformers library writes it.

    model = FAMILY.build(config, "MobileNetV2ForImageClassification")
    rows = FAMILY.rows(model)
    outputs = FAMILY.outputs(model, variables, {"pixel_values": images})

transformers gives torch the momentum of its norms, 0.997, as the weight of the new
value, where TensorFlow, from where it comes, means the old: a network trained in torch
hardly averages. Here it is the weight of the old value, as in the original.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from jaxml.models.vision import mobilenet_v2
from jaxml.models.vision.mobilenet_v2 import divisible
from jaxml.zoo.families import cnn_parts
from jaxml.zoo.families.cnn_parts import conv_norm, dense
from jaxml.zoo.family import Family, Statistics
from jaxml.zoo.rows import Line

__all__ = ["FAMILY"]

_LAYERS = {"expand": "expand_1x1", "depthwise": "conv_3x3", "project": "reduce_1x1"}


def build(config: Mapping[str, Any], name: str) -> nn.Module:
    """The network of a config.json.

    Args:
        config: as the file has it.
        name: of the class in transformers.

    Raises:
        ValueError: if the first block expands, which no released network does.
    """
    if not config.get("first_layer_is_expansion", True):
        raise ValueError("first_layer_is_expansion must be true; got false")
    multiplier = config.get("depth_multiplier", 1.0)
    divisor = config.get("depth_divisible_by", 8)
    minimum = config.get("min_depth", 8)

    def width(channels):
        return divisible(round(channels * multiplier), divisor, minimum=minimum)

    expansion = config.get("expand_ratio", 6.0)
    first, *others = mobilenet_v2.STAGES
    stages = [first._replace(features=width(first.features))]
    for stage in others:
        features = width(stage.features)
        stages.append(stage._replace(expansion=expansion, features=features))
    fine = config.get("finegrained_output", True) and multiplier < 1.0
    headless = name == "MobileNetV2Model"
    return mobilenet_v2.MobileNetV2(
        stages=tuple(stages),
        stem_features=width(32),
        last_features=1280 if fine else width(1280),
        num_classes=None if headless else cnn_parts.classes_of(config),
        # The configuration's own word for the chance of being dropped.
        dropout=config.get("classifier_dropout_prob", 0.8),
        output_stride=config.get("output_stride", 32),
        padding="same" if config.get("tf_padding", True) else "torch",
        divisor=divisor,
        activation=cnn_parts.activation(config.get("hidden_act", "relu6")),
        norm_epsilon=config.get("layer_norm_eps", 1e-3),
        norm_momentum=0.997,
        channels=config.get("num_channels", 3),
    )


def rows(model: nn.Module) -> list[Line]:
    """The table of names; the first block belongs to the stem."""
    prefix = "" if model.num_classes is None else "mobilenet_v2."

    def layer(ours, theirs):
        theirs = f"{prefix}{theirs}"
        return conv_norm(ours, f"{theirs}.convolution", f"{theirs}.normalization")

    table = layer("stem", "conv_stem.first_conv")
    for i in range(sum(stage.repeats for stage in model.stages)):
        block = f"layer.{i - 1}" if i else "conv_stem"
        for ours, theirs in _LAYERS.items():
            table += layer(f"blocks_{i}/{ours}", f"{block}.{theirs}")
    table += layer("last", "conv_1x1")
    if model.num_classes is None:
        return table + cnn_parts.headless("mobilenet_v2.", "classifier")
    return table + dense("head", "classifier")


def outputs(
    model: nn.Module, variables: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Outputs of the reference by its names; its hidden states begin after the stem.

    Args:
        model: network of `build`.
        variables: its variables.
        given: "pixel_values", [batch, channel, height, width].
    """
    states, answer = cnn_parts.run(model, variables, given)
    return cnn_parts.hugging_face(states[2:-1], answer, model, states[-1])


def _size(multiplier, side):
    return {
        "architectures": ["MobileNetV2ForImageClassification"],
        "model_type": "mobilenet_v2",
        "depth_multiplier": multiplier,
        "image_size": side,
        "num_labels": 1001,
    }


FAMILY = Family(
    name="transformers/mobilenet_v2",
    classes=("MobileNetV2ForImageClassification", "MobileNetV2Model"),
    build=build,
    rows=rows,
    inputs=cnn_parts.inputs,
    outputs=outputs,
    sizes={
        "google/mobilenet_v2_0.35_96": _size(0.35, 96),
        "google/mobilenet_v2_0.75_160": _size(0.75, 160),
        "google/mobilenet_v2_1.0_224": _size(1.0, 224),
        "google/mobilenet_v2_1.4_224": _size(1.4, 224),
    },
    licence="Apache-2.0",
    source="https://huggingface.co/google/mobilenet_v2_1.0_224",
    statistics=Statistics(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), resize=256),
)
