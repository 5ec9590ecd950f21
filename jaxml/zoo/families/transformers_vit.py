"""ViT as the transformers library writes it; DINO's first networks are such files.

model = FAMILY.build(config, "ViTForImageClassification")
rows = FAMILY.rows(model)
outputs = FAMILY.outputs(model, variables, {"pixel_values": images})
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from jaxml.models.vision import vit, vit_encoder
from jaxml.zoo.families import vit_parts
from jaxml.zoo.families.vit_parts import dense, norm
from jaxml.zoo.family import Family, Statistics
from jaxml.zoo.rows import Ignored, Line

__all__ = ["FAMILY", "encoder_rows"]


def build(config: Mapping[str, Any], name: str) -> nn.Module:
    """The network of a config.json.

    Args:
        config: as the file has it.
        name: of the class in transformers.

    Raises:
        ValueError: if the pooler is none that this network has.
    """
    fields = vit_parts.encoder_fields(config)
    fields["hidden"] = config.get("intermediate_size", 3072)
    if name == "ViTForImageClassification":
        return vit.classifier(vit_parts.classes_of(config), **fields)
    check_pooler(config)
    return vit_encoder.ViT(**fields, pooler=True)


def rows(model: nn.Module) -> list[Line]:
    """The table of names of one network."""
    bare = isinstance(model, vit_encoder.ViT)
    encoder: Any = model if bare else model.encoder  # type: ignore[attr-defined]
    path, prefix = ("params", "") if bare else ("params/encoder", "vit.")
    table = [
        *encoder_rows(encoder, path, prefix),
        vit_parts.prefix_alias("vit", bare),
        Ignored(f"{prefix}embeddings.mask_token"),
    ]
    if bare:
        table += dense(f"{path}/pooler", "pooler.dense")
        return [*table, Ignored("classifier.weight"), Ignored("classifier.bias")]
    pooler = [Ignored(f"vit.pooler.dense.{leaf}") for leaf in ("weight", "bias")]
    return [*table, *dense("params/head", "classifier"), *pooler]


def encoder_rows(encoder: vit_encoder.ViT, path: str, prefix: str) -> list[Line]:
    """Rows of the encoder as ViT and DeiT name them.

    Args:
        encoder: the network.
        path: of its parameters.
        prefix: of its tensors, with the dot, or nothing.
    """
    ours, theirs = f"{path}/layers_{{i}}", f"{prefix}encoder.layer.{{i}}"
    names = {
        "patch_embedding": f"{prefix}embeddings.patch_embeddings.projection",
        "position_embedding": f"{prefix}embeddings.position_embeddings",
        "class_token": f"{prefix}embeddings.cls_token",
        "distillation_token": f"{prefix}embeddings.distillation_token",
        "norm": f"{prefix}layernorm",
    }
    layers = [f"{theirs}.attention.attention.{x}" for x in ("query", "key", "value")]
    return [
        *vit_parts.embedding_rows(path, encoder, names),
        *vit_parts.separate(f"{ours}/attention", layers, bias=encoder.qkv_bias),
        *dense(f"{ours}/attention/out", f"{theirs}.attention.output.dense"),
        *norm(f"{ours}/attention_norm", f"{theirs}.layernorm_before"),
        *dense(f"{ours}/feed_forward/up", f"{theirs}.intermediate.dense"),
        *dense(f"{ours}/feed_forward/down", f"{theirs}.output.dense"),
        *norm(f"{ours}/feed_forward_norm", f"{theirs}.layernorm_after"),
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


def check_pooler(config: Mapping[str, Any]) -> None:
    """Refuse a pooler that is not as wide as the vectors, or has no tanh.

    Raises:
        ValueError: if the config.json asks for one.
    """
    width = config.get("hidden_size", 768)
    asked = config.get("pooler_output_size") or width, config.get("pooler_act", "tanh")
    if asked != (width, "tanh"):
        raise ValueError(f"the pooler must be {width} wide with tanh; got {asked}")


def sized(width: int, patch: int, labels: int | None = None, **changed: Any) -> dict:
    """The config.json of a named size with heads of 64.

    Args:
        width: of the vectors.
        patch: side of a patch.
        labels: number of classes; none if None.
        changed: other settings.
    """
    name = "ViTModel" if labels is None else "ViTForImageClassification"
    config = {
        "architectures": [name],
        "model_type": "vit",
        "hidden_size": width,
        "num_hidden_layers": 24 if width == 1024 else 12,
        "num_attention_heads": width // 64,
        "intermediate_size": 4 * width,
        "patch_size": patch,
        "image_size": 224,
    }
    return {**config, **({} if labels is None else {"num_labels": labels}), **changed}


FAMILY = Family(
    name="transformers/vit",
    classes=("ViTModel", "ViTForImageClassification"),
    build=build,
    rows=rows,
    inputs=vit_parts.inputs,
    outputs=outputs,
    sizes={
        "google/vit-base-patch16-224": sized(768, 16, 1000),
        "google/vit-base-patch16-384": sized(768, 16, 1000, image_size=384),
        "google/vit-base-patch32-384": sized(768, 32, 1000, image_size=384),
        "google/vit-large-patch16-224": sized(1024, 16, 1000),
        "google/vit-base-patch16-224-in21k": sized(768, 16),
        "google/vit-large-patch16-224-in21k": sized(1024, 16),
        "facebook/dino-vits16": sized(384, 16),
        "facebook/dino-vits8": sized(384, 8),
        "facebook/dino-vitb16": sized(768, 16),
        "facebook/dino-vitb8": sized(768, 8),
    },
    licence="Apache-2.0",
    source="https://huggingface.co/google/vit-base-patch16-224",
    statistics=Statistics((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
)
