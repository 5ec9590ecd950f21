"""DeiT as timm writes it, with its distillation token and without.

model = FAMILY.build({"architecture": "deit_tiny_distilled_patch16_224"}, "")
rows = FAMILY.rows(model)
outputs = FAMILY.outputs(model, variables, {"x": images})
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from jaxml.models.vision import deit
from jaxml.zoo.builder import called
from jaxml.zoo.families import timm_vit, timm_vit_sizes, vit_parts
from jaxml.zoo.families.vit_parts import dense
from jaxml.zoo.family import Family, Statistics
from jaxml.zoo.rows import Line

__all__ = ["FAMILY"]


def build(config: Mapping[str, Any], name: str) -> nn.Module:
    """The network of a call, or of the name of an architecture.

    Args:
        config: what `zoo.builder.parse` makes of the call, or `{"architecture": ...}`.
        name: of the class or architecture.

    Raises:
        ValueError: if an argument asks for what this network has not.
    """
    if called(config).name in timm_vit_sizes.DEIT:
        return timm_vit.build(config, name)
    given = timm_vit.arguments(config, _SIZES)
    if given["global_pool"] != "token":
        raise ValueError(f"global_pool must be token; got {given['global_pool']!r}")
    fields = timm_vit.encoder_fields(given)
    return deit.distilled(given["num_classes"], **{**fields, "tokens": deit.TOKENS})


def rows(model: nn.Module) -> list[Line]:
    """The table of names of one network."""
    network: Any = model
    if not isinstance(model, deit.DeiT):
        return timm_vit.rows(model)
    table = timm_vit.encoder_rows(network.encoder)
    if not network.num_classes:
        return table
    table += dense("params/head", "head")
    return table + dense("params/distillation_head", "head_dist")


_SIZES = {
    f"deit_{name}_distilled_patch16_{image}": {
        "embed_dim": width,
        "num_heads": width // 64,
        "img_size": image,
    }
    for name, width, image in (
        ("tiny", 192, 224),
        ("small", 384, 224),
        ("base", 768, 224),
        ("base", 768, 384),
    )
}
FAMILY = Family(
    name="timm/deit",
    classes=("VisionTransformerDistilled", *_SIZES, *timm_vit_sizes.DEIT),
    build=build,
    rows=rows,
    inputs=vit_parts.inputs,
    outputs=timm_vit.outputs,
    sizes={name: {"architecture": name} for name in (*_SIZES, *timm_vit_sizes.DEIT)},
    licence="Apache-2.0",
    source="https://huggingface.co/timm",
    statistics=Statistics(resize=248, interpolation="bicubic"),
)
