"""ConvNeXt and ConvNeXt V2 as the transformers library writes them.

model = FAMILY.build(config, "ConvNextForImageClassification")
rows = FAMILY.rows(model)
outputs = FAMILY.outputs(model, variables, {"pixel_values": images})
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from jaxml.models.vision import convnext
from jaxml.zoo.families import cnn_parts
from jaxml.zoo.families.cnn_parts import dense, layer_norm
from jaxml.zoo.family import Family, Statistics
from jaxml.zoo.rows import Change, Line, Row, conv

__all__ = ["FAMILY"]

# [1, 1, 1, channels] -> [channels]
_last = Change(lambda x: x.reshape(x.shape[-1]), lambda x: x.reshape(1, 1, 1, -1))


def build(config: Mapping[str, Any], name: str) -> nn.Module:
    """The network of a config.json.

    Args:
        config: as the file has it.
        name: of the class in transformers.
    """
    second = name.startswith("ConvNextV2")
    scale = None if second else config.get("layer_scale_init_value", 1e-6)
    return convnext.ConvNeXt(
        tuple(config.get("depths") or (3, 3, 9, 3)),
        tuple(config.get("hidden_sizes") or (96, 192, 384, 768)),
        num_classes=None if name.endswith("Model") else cnn_parts.classes_of(config),
        block=convnext.BlockV2 if second else convnext.Block,
        patch=config.get("patch_size", 4),
        layer_scale=scale if scale else None,
        drop_path=config.get("drop_path_rate", 0.0),
        activation=cnn_parts.activation(config.get("hidden_act", "gelu")),
        # The configured epsilon is that of the last norm alone.
        head_epsilon=config.get("layer_norm_eps", 1e-12),
        channels=config.get("num_channels", 3),
    )


def rows(model: nn.Module) -> list[Line]:
    """The table of names."""
    second = model.block is convnext.BlockV2
    name = "convnextv2." if second else "convnext."
    prefix = "" if model.num_classes is None else name
    table = [
        *dense("stem_conv", f"{prefix}embeddings.patch_embeddings", conv),
        *layer_norm("stem_norm", f"{prefix}embeddings.layernorm"),
    ]
    for i in range(len(model.depths)):
        stage = f"{prefix}encoder.stages.{i}"
        ours, theirs = f"stage{i}_block{{j}}", f"{stage}.layers.{{j}}"
        table += dense(f"{ours}/depthwise", f"{theirs}.dwconv", conv)
        table += layer_norm(f"{ours}/norm", f"{theirs}.layernorm")
        table += dense(f"{ours}/up", f"{theirs}.pwconv1")
        table += dense(f"{ours}/down", f"{theirs}.pwconv2")
        table += [
            Row(f"params/{ours}/response/scale", f"{theirs}.grn.weight", _last),
            Row(f"params/{ours}/response/bias", f"{theirs}.grn.bias", _last),
            Row(f"params/{ours}/scale", f"{theirs}.layer_scale_parameter"),
        ]
        halving = f"{stage}.downsampling_layer"
        table += layer_norm(f"downsample_norm_{i}", f"{halving}.0")
        table += dense(f"downsample_conv_{i}", f"{halving}.1", conv)
    table += layer_norm("norm", f"{prefix}layernorm")
    if model.num_classes is None:
        return table + cnn_parts.headless(name, "classifier")
    return table + dense("head", "classifier")


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
    return cnn_parts.hugging_face(states, answer, model, states[-1])


def _size(depths, width, second=False):
    kind = "ConvNextV2" if second else "ConvNext"
    return {
        "architectures": [f"{kind}ForImageClassification"],
        "model_type": kind.lower(),
        "depths": depths,
        "hidden_sizes": tuple(width * 2**i for i in range(4)),
        "num_labels": 1000,
    }


_TINY, _SMALL, _NANO, _ATTO = (3, 3, 9, 3), (3, 3, 27, 3), (2, 2, 8, 2), (2, 2, 6, 2)
FAMILY = Family(
    name="transformers/convnext",
    classes=(
        "ConvNextForImageClassification",
        "ConvNextModel",
        "ConvNextV2ForImageClassification",
        "ConvNextV2Model",
    ),
    build=build,
    rows=rows,
    inputs=cnn_parts.inputs,
    outputs=outputs,
    sizes={
        "facebook/convnext-tiny-224": _size(_TINY, 96),
        "facebook/convnext-small-224": _size(_SMALL, 96),
        "facebook/convnext-base-224": _size(_SMALL, 128),
        "facebook/convnext-large-224": _size(_SMALL, 192),
        "facebook/convnextv2-atto-1k-224": _size(_ATTO, 40, second=True),
        "facebook/convnextv2-femto-1k-224": _size(_ATTO, 48, second=True),
        "facebook/convnextv2-pico-1k-224": _size(_ATTO, 64, second=True),
        "facebook/convnextv2-nano-1k-224": _size(_NANO, 80, second=True),
        "facebook/convnextv2-tiny-1k-224": _size(_TINY, 96, second=True),
        "facebook/convnextv2-base-1k-224": _size(_SMALL, 128, second=True),
        "facebook/convnextv2-large-1k-224": _size(_SMALL, 192, second=True),
        "facebook/convnextv2-huge-1k-224": _size(_SMALL, 352, second=True),
    },
    licence="Apache-2.0",
    source="https://huggingface.co/facebook/convnext-tiny-224",
    statistics=Statistics(resize=256, interpolation="bicubic"),
)
