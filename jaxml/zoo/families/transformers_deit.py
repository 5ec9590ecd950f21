"""DeiT as the transformers library writes it.

model = FAMILY.build(config, "DeiTForImageClassificationWithTeacher")
rows = FAMILY.rows(model)
outputs = FAMILY.outputs(model, variables, {"pixel_values": images})
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from jaxml.models.vision import deit, vit, vit_encoder
from jaxml.zoo.families import transformers_vit, vit_parts
from jaxml.zoo.families.vit_parts import dense
from jaxml.zoo.family import Family, Statistics
from jaxml.zoo.rows import Ignored, Line

__all__ = ["FAMILY"]

_HEADS = ("cls_classifier", "distillation_classifier", "classifier", "pooler.dense")


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
    fields["tokens"] = deit.TOKENS
    classes = vit_parts.classes_of(config)
    if name == "DeiTForImageClassificationWithTeacher":
        return deit.distilled(classes, **fields)
    if name == "DeiTForImageClassification":
        return vit.classifier(classes, **fields)
    transformers_vit.check_pooler(config)
    return vit_encoder.ViT(**fields, pooler=True)


def rows(model: nn.Module) -> list[Line]:
    """The table of names of one network."""
    bare = isinstance(model, vit_encoder.ViT)
    encoder: Any = model if bare else model.encoder  # type: ignore[attr-defined]
    path, prefix = ("params", "") if bare else ("params/encoder", "deit.")
    table = [
        *transformers_vit.encoder_rows(encoder, path, prefix),
        vit_parts.prefix_alias("deit", bare),
        Ignored(f"{prefix}embeddings.mask_token"),
    ]
    if bare:
        held = {"pooler.dense"}
        table += dense(f"{path}/pooler", "pooler.dense")
    elif isinstance(model, deit.DeiT):
        held = {"cls_classifier", "distillation_classifier"}
        table += dense("params/head", "cls_classifier")
        table += dense("params/distillation_head", "distillation_classifier")
    else:
        held = {"classifier"}
        table += dense("params/head", "classifier")
    for name in _HEADS:
        if name not in held:
            name = f"{prefix}{name}" if name == "pooler.dense" else name
            table += [Ignored(f"{name}.{leaf}") for leaf in ("weight", "bias")]
    return table


def outputs(
    model: nn.Module, variables: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Outputs of the reference by its names.

    Args:
        model: an encoder or a classifier.
        variables: its parameters.
        given: "pixel_values", channels first.
    """
    if not isinstance(model, deit.DeiT):
        return transformers_vit.FAMILY.outputs(model, variables, given)
    answer, seen = vit_parts.run(model, variables, vit_parts.images(given))
    named = {
        "logits": answer.logits,
        "cls_logits": answer.class_logits,
        "distillation_logits": answer.distillation_logits,
    }
    return named | vit_parts.inner(seen["encoder"], model.encoder.depth)


def _sized(width, *, taught=True, **changed):
    name = "WithTeacher" if taught else ""
    return transformers_vit.sized(width, 16, 1000) | {
        "architectures": [f"DeiTForImageClassification{name}"],
        "model_type": "deit",
        **changed,
    }


FAMILY = Family(
    name="transformers/deit",
    classes=(
        "DeiTModel",
        "DeiTForImageClassification",
        "DeiTForImageClassificationWithTeacher",
    ),
    build=build,
    rows=rows,
    inputs=vit_parts.inputs,
    outputs=outputs,
    sizes={
        "facebook/deit-tiny-distilled-patch16-224": _sized(192),
        "facebook/deit-small-distilled-patch16-224": _sized(384),
        "facebook/deit-base-distilled-patch16-224": _sized(768),
        "facebook/deit-base-distilled-patch16-384": _sized(768, image_size=384),
    },
    licence="Apache-2.0",
    source="https://huggingface.co/facebook/deit-base-distilled-patch16-224",
    statistics=Statistics(resize=256, interpolation="bicubic"),
)
