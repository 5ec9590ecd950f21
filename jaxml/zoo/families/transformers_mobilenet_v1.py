"""MobileNet, the first, as the transformers library writes it.

    model = FAMILY.build(config, "MobileNetV1ForImageClassification")
    rows = FAMILY.rows(model)
    outputs = FAMILY.outputs(model, variables, {"pixel_values": images})

transformers gives torch the momentum of its norms, 0.9997, as the weight of the new
value, where TensorFlow, from where it comes, means the old. Here it is the old.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from jaxml.models.vision import mobilenet_v1
from jaxml.zoo.families import cnn_parts
from jaxml.zoo.families.cnn_parts import conv_norm, dense
from jaxml.zoo.family import Family, Statistics
from jaxml.zoo.rows import Line

__all__ = ["FAMILY"]


def build(config: Mapping[str, Any], name: str) -> nn.Module:
    """The network of a config.json.

    Args:
        config: as the file has it.
        name: of the class in transformers.
    """
    multiplier = config.get("depth_multiplier", 1.0)
    width = lambda c: max(int(c * multiplier), config.get("min_depth", 8))
    headless = name == "MobileNetV1Model"
    return mobilenet_v1.MobileNetV1(
        stem_features=width(32),
        widths=tuple(map(width, mobilenet_v1.WIDTHS)),
        num_classes=None if headless else cnn_parts.classes_of(config),
        # The configuration's own word for the chance of being dropped.
        dropout=config.get("classifier_dropout_prob", 0.999),
        padding="same" if config.get("tf_padding", True) else "torch",
        activation=cnn_parts.activation(config.get("hidden_act", "relu6")),
        norm_epsilon=config.get("layer_norm_eps", 1e-3),
        norm_momentum=0.9997,
        channels=config.get("num_channels", 3),
    )


def rows(model: nn.Module) -> list[Line]:
    """The table of names; a file counts depthwise and 1x1 convolutions in one row."""
    prefix = "" if model.num_classes is None else "mobilenet_v1."

    def layer(ours, theirs):
        theirs = f"{prefix}{theirs}"
        return conv_norm(ours, f"{theirs}.convolution", f"{theirs}.normalization")

    table = layer("stem", "conv_stem")
    for i in range(len(model.widths)):
        table += layer(f"depthwise_{i}", f"layer.{2 * i}")
        table += layer(f"pointwise_{i}", f"layer.{2 * i + 1}")
    if model.num_classes is None:
        return table + cnn_parts.headless("mobilenet_v1.", "classifier")
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
    return cnn_parts.hugging_face(states[1:], answer, model, states[-1])


def _size(multiplier, side):
    return {
        "architectures": ["MobileNetV1ForImageClassification"],
        "model_type": "mobilenet_v1",
        "depth_multiplier": multiplier,
        "image_size": side,
        "num_labels": 1001,
    }


FAMILY = Family(
    name="transformers/mobilenet_v1",
    classes=("MobileNetV1ForImageClassification", "MobileNetV1Model"),
    build=build,
    rows=rows,
    inputs=cnn_parts.inputs,
    outputs=outputs,
    sizes={
        "google/mobilenet_v1_0.75_192": _size(0.75, 192),
        "google/mobilenet_v1_1.0_224": _size(1.0, 224),
    },
    licence="Apache-2.0",
    source="https://huggingface.co/google/mobilenet_v1_1.0_224",
    statistics=Statistics(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), resize=256),
)
