"""Vision transformers as the code of DINO itself writes them.

    model = FAMILY.build({"architecture": "dino_vits16"}, "VisionTransformer")
    rows = FAMILY.rows(model)
    outputs = FAMILY.outputs(model, variables, {"x": images})

The names are timm's; there is no head. The released files of the whole training, with
student and teacher, are not read: those of the backbone alone are.
"""

import re
from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from jaxml.models.vision import vit
from jaxml.zoo import builder
from jaxml.zoo.families import timm_vit, vit_parts
from jaxml.zoo.family import Family, Statistics

__all__ = ["FAMILY"]


def build(config: Mapping[str, Any], name: str) -> nn.Module:
    """The network of a call, or of the name of an architecture.

    Args:
        config: what `zoo.builder.parse` makes of the call, `{"architecture": ...}`, or
            `{"text": ...}` with the call, whose norm is taken to have epsilon 1e-6.
        name: of the class or architecture.

    Raises:
        ValueError: if an argument asks for what this network has not.
    """
    if "text" in config:
        text = re.sub(r",\s*norm_layer=.*\)$", ")", config["text"].strip())
        config = builder.parse(text)
    called, args, kwargs = builder.called(config)
    kwargs = _SIZES.get(called, {}) | {"num_classes": 0} | kwargs
    size = kwargs.get("img_size", 224)
    kwargs["img_size"] = size[0] if isinstance(size, list | tuple) else size
    given = timm_vit.arguments({"builder": called, "args": args, "kwargs": kwargs}, {})
    fields = timm_vit.encoder_fields(given)
    fields |= {"position_method": "bicubic", "position_shift": 0.1}
    return vit.classifier(given["num_classes"], **fields)


def outputs(
    model: nn.Module, variables: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Outputs of the reference: its answer, last attention and last block.

    Args:
        model: a classifier without a head.
        variables: its parameters.
        given: "x", images with channels first.
    """
    answer, seen = vit_parts.run(model, variables, vit_parts.images(given))
    seen, depth = seen["encoder"], model.encoder.depth  # type: ignore[attr-defined]
    inner = vit_parts.inner(seen, depth)
    return {
        "cls": answer,
        "inter": seen["last_hidden_state"][0],
        "last_attn": inner[f"attentions.{depth - 1}"],
        **inner,
    }


def _size(width, patch):
    return {"embed_dim": width, "num_heads": width // 64, "patch_size": patch}


_SIZES: dict[str, dict[str, Any]] = {
    "dino_vits16": _size(384, 16),
    "dino_vits8": _size(384, 8),
    "dino_vitb16": _size(768, 16),
    "dino_vitb8": _size(768, 8),
}
FAMILY = Family(
    name="facebookresearch/dino/vit",
    classes=("VisionTransformer", *_SIZES),
    build=build,
    rows=timm_vit.rows,
    inputs=vit_parts.inputs,
    outputs=outputs,
    sizes={name: {"architecture": name} for name in _SIZES},
    licence="Apache-2.0",
    source="https://github.com/facebookresearch/dino",
    statistics=Statistics(resize=256, interpolation="bicubic"),
)
