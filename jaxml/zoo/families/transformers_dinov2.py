"""DINOv2 as the transformers library writes it, with registers or without.

model = FAMILY.build(config, "Dinov2Model")
rows = FAMILY.rows(model)
outputs = FAMILY.outputs(model, variables, {"pixel_values": images})
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from jaxml.models.vision import dinov2, vit_encoder
from jaxml.zoo.families import vit_parts
from jaxml.zoo.families.vit_parts import dense, norm
from jaxml.zoo.family import Family, Statistics
from jaxml.zoo.rows import Ignored, Line, Row, linear_split, split

__all__ = ["FAMILY"]


def build(config: Mapping[str, Any], name: str) -> nn.Module:
    """The network of a config.json.

    Args:
        config: as the file has it.
        name: of the class in transformers.
    """
    fields = vit_parts.encoder_fields(config)
    width, ratio = fields["width"], config.get("mlp_ratio", 4)
    fields |= {
        "patch_size": vit_parts.pair(config.get("patch_size", 14)),
        "epsilon": config.get("layer_norm_eps", 1e-6),
        "layer_scale": config.get("layerscale_value", 1.0),
        "drop_path": config.get("drop_path_rate", 0.0),
        "mask_token": config.get("use_mask_token", True),
        "hidden": int(width * ratio),
    }
    if config.get("use_swiglu_ffn"):
        fields["feed_forward"] = dinov2.gated
        fields["hidden"] = dinov2.gated_hidden(width, ratio)
        fields["activation"] = "silu"
    if "Registers" in name:
        fields |= {
            "registers": config.get("num_register_tokens", 4),
            "placed": 1,
            "position_method": "bicubic_antialias",
        }
    encoder = vit_encoder.ViT(**fields)
    if name.endswith("ForImageClassification"):
        return dinov2.LinearProbe(encoder, vit_parts.classes_of(config))
    return encoder


def rows(model: nn.Module) -> list[Line]:
    """The table of names of one network."""
    bare = isinstance(model, vit_encoder.ViT)
    encoder: Any = model if bare else model.encoder  # type: ignore[attr-defined]
    network = "dinov2_with_registers" if encoder.registers else "dinov2"
    path, prefix = ("params", "") if bare else ("params/encoder", f"{network}.")
    theirs = f"{prefix}encoder.layer.{{i}}"
    names = {
        "patch_embedding": f"{prefix}embeddings.patch_embeddings.projection",
        "position_embedding": f"{prefix}embeddings.position_embeddings",
        "class_token": f"{prefix}embeddings.cls_token",
        "register_tokens": f"{prefix}embeddings.register_tokens",
        "norm": f"{prefix}layernorm",
    }
    table = vit_parts.embedding_rows(path, encoder, names)
    mask = f"{prefix}embeddings.mask_token"
    token: Line = Row(f"{path}/mask_token", mask)
    table.append(token if encoder.mask_token else Ignored(mask))
    table += _block_rows(encoder, f"{path}/layers_{{i}}", theirs)
    table.append(vit_parts.prefix_alias(network, bare))
    if bare:
        return [*table, Ignored("classifier.weight"), Ignored("classifier.bias")]
    return [*table, *dense("params/head", "classifier")]


def _block_rows(encoder, ours, theirs) -> list[Line]:
    layers = [f"{theirs}.attention.attention.{x}" for x in ("query", "key", "value")]
    table = [
        *vit_parts.separate(f"{ours}/attention", layers, bias=encoder.qkv_bias),
        *dense(f"{ours}/attention/out", f"{theirs}.attention.output.dense"),
        *norm(f"{ours}/attention_norm", f"{theirs}.norm1"),
        *norm(f"{ours}/feed_forward_norm", f"{theirs}.norm2"),
        Row(f"{ours}/attention_scale/scale", f"{theirs}.layer_scale1.lambda1"),
        Row(f"{ours}/feed_forward_scale/scale", f"{theirs}.layer_scale2.lambda1"),
    ]
    if encoder.feed_forward is not dinov2.gated:
        return [
            *table,
            *dense(f"{ours}/feed_forward/up", f"{theirs}.mlp.fc1"),
            *dense(f"{ours}/feed_forward/down", f"{theirs}.mlp.fc2"),
        ]
    both = lambda leaf: tuple(f"{ours}/feed_forward/{x}/{leaf}" for x in ("gate", "up"))
    return [
        *table,
        Row(both("kernel"), f"{theirs}.mlp.weights_in.weight", linear_split(2)),
        Row(both("bias"), f"{theirs}.mlp.weights_in.bias", split(2)),
        *dense(f"{ours}/feed_forward/down", f"{theirs}.mlp.weights_out"),
    ]


def outputs(
    model: nn.Module, variables: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Outputs of the reference by its names.

    Args:
        model: an encoder or a classifier.
        variables: its parameters.
        given: "pixel_values", channels first.
    """
    answer, seen = vit_parts.run(model, variables, vit_parts.images(given))
    if isinstance(answer, vit_encoder.ViTOutput):
        named = {
            "last_hidden_state": answer.last_hidden_state,
            "pooler_output": answer.pooled,
        }
        return named | vit_parts.inner(seen, model.depth)  # type: ignore[attr-defined]
    encoder: Any = model.encoder  # type: ignore[attr-defined]
    return {"logits": answer} | vit_parts.inner(seen["encoder"], encoder.depth)


def _sized(width, *, registers=0, **changed):
    return {
        "architectures": [
            "Dinov2WithRegistersModel" if registers else "Dinov2Model",
        ],
        "model_type": "dinov2_with_registers" if registers else "dinov2",
        "hidden_size": width,
        "num_hidden_layers": 24 if width == 1024 else 12,
        "num_attention_heads": width // 64,
        "image_size": 518,
        "patch_size": 14,
        **({"num_register_tokens": registers} if registers else {}),
        **changed,
    }


_GIANT = {"num_hidden_layers": 40, "use_swiglu_ffn": True}
_PLAIN = {
    "facebook/dinov2-small": _sized(384),
    "facebook/dinov2-base": _sized(768),
    "facebook/dinov2-large": _sized(1024),
    "facebook/dinov2-giant": _sized(1536, **_GIANT),
}
_REGISTERS = {
    "facebook/dinov2-with-registers-small": _sized(384, registers=4),
    "facebook/dinov2-with-registers-base": _sized(768, registers=4),
    "facebook/dinov2-with-registers-large": _sized(1024, registers=4),
    "facebook/dinov2-with-registers-giant": _sized(1536, registers=4, **_GIANT),
}
FAMILY = Family(
    name="transformers/dinov2",
    classes=(
        "Dinov2Model",
        "Dinov2ForImageClassification",
        "Dinov2WithRegistersModel",
        "Dinov2WithRegistersForImageClassification",
    ),
    build=build,
    rows=rows,
    inputs=vit_parts.inputs,
    outputs=outputs,
    sizes=_PLAIN | _REGISTERS,
    licence="Apache-2.0",
    source="https://huggingface.co/facebook/dinov2-base",
    statistics=Statistics(resize=256, interpolation="bicubic"),
)
