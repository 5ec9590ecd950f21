"""Vision transformers as torchvision writes them.

model = FAMILY.build({"architecture": "vit_b_16"}, "VisionTransformer")
rows = FAMILY.rows(model)
outputs = FAMILY.outputs(model, variables, {"x": images})
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from jaxml.models.vision import vit
from jaxml.zoo.builder import called
from jaxml.zoo.families import vit_parts
from jaxml.zoo.families.vit_parts import dense, norm
from jaxml.zoo.family import Family, Statistics
from jaxml.zoo.problem import nearest
from jaxml.zoo.rows import Alias, Line

__all__ = ["FAMILY"]

_KNOWN = (  # arguments of torchvision's VisionTransformer, in their order
    "image_size",
    "patch_size",
    "num_layers",
    "num_heads",
    "hidden_dim",
    "mlp_dim",
    "dropout",
    "attention_dropout",
    "num_classes",
    "representation_size",
)


def build(config: Mapping[str, Any], name: str) -> nn.Module:
    """The network of a call, or of the name of an architecture.

    Args:
        config: what `zoo.builder.parse` makes of the call, or `{"architecture": ...}`.
        name: of the class or architecture.

    Raises:
        ValueError: if an argument is unknown, or a size is missing.
    """
    size, args, kwargs = called(config)
    given = _SIZES.get(size, {}) | dict(zip(_KNOWN, args, strict=False)) | kwargs
    given = {k: v for k, v in given.items() if k not in ("weights", "progress")}
    for key in given:
        if key not in _KNOWN:
            hint = nearest(key, _KNOWN)
            raise ValueError(f"no argument {key!r} of {size} is known here{hint}")
    missing = [key for key in _KNOWN[:6] if key not in given]
    if missing:
        raise ValueError(f"{size} needs {', '.join(missing)}; got {sorted(given)}")
    return vit.classifier(
        given.get("num_classes", 1000),
        representation=given.get("representation_size"),
        image_size=vit_parts.pair(given["image_size"]),
        patch_size=vit_parts.pair(given["patch_size"]),
        width=given["hidden_dim"],
        depth=given["num_layers"],
        heads=given["num_heads"],
        hidden=given["mlp_dim"],
        dropout=given.get("dropout", 0.0),
        attention_dropout=given.get("attention_dropout", 0.0),
    )


def rows(model: nn.Module) -> list[Line]:
    """The table of names of one network."""
    classifier: Any = model
    ours = "params/encoder/layers_{i}"
    theirs = "encoder.layers.encoder_layer_{i}"
    names = {
        "patch_embedding": "conv_proj",
        "position_embedding": "encoder.pos_embedding",
        "class_token": "class_token",
        "norm": "encoder.ln",
    }
    attention = f"{theirs}.self_attention"
    table = [
        *vit_parts.embedding_rows("params/encoder", classifier.encoder, names),
        *vit_parts.fused(
            f"{ours}/attention",
            f"{attention}.in_proj_weight",
            f"{attention}.in_proj_bias",
        ),
        *dense(f"{ours}/attention/out", f"{attention}.out_proj"),
        *norm(f"{ours}/attention_norm", f"{theirs}.ln_1"),
        *norm(f"{ours}/feed_forward_norm", f"{theirs}.ln_2"),
        *dense(f"{ours}/feed_forward/up", f"{theirs}.mlp.0"),
        *dense(f"{ours}/feed_forward/down", f"{theirs}.mlp.3"),
        # as the released files name the layers; torchvision renames them on loading
        Alias(r"\.mlp\.linear_1\.", ".mlp.0."),
        Alias(r"\.mlp\.linear_2\.", ".mlp.3."),
        *dense("params/head", "heads.head"),
    ]
    if classifier.representation is not None:
        table += dense("params/representation", "heads.pre_logits")
    return table


def outputs(
    model: nn.Module, variables: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Outputs of the reference by its names.

    Args:
        model: a classifier.
        variables: its parameters.
        given: "x", images with channels first.
    """
    answer, seen = vit_parts.run(model, variables, vit_parts.images(given))
    encoder: Any = model.encoder  # type: ignore[attr-defined]
    return {"logits": answer} | vit_parts.inner(seen["encoder"], encoder.depth)


def _size(width, depth, heads, patch):
    return {
        "image_size": 224,
        "patch_size": patch,
        "num_layers": depth,
        "num_heads": heads,
        "hidden_dim": width,
        "mlp_dim": 4 * width,
    }


_SIZES: dict[str, dict[str, Any]] = {
    "vit_b_16": _size(768, 12, 12, 16),
    "vit_b_32": _size(768, 12, 12, 32),
    "vit_l_16": _size(1024, 24, 16, 16),
    "vit_l_32": _size(1024, 24, 16, 32),
    "vit_h_14": _size(1280, 32, 16, 14),
}
FAMILY = Family(
    name="torchvision/vit",
    classes=("VisionTransformer", *_SIZES),
    build=build,
    rows=rows,
    inputs=vit_parts.inputs,
    outputs=outputs,
    sizes={name: {"architecture": name} for name in _SIZES},
    licence="BSD-3-Clause",
    source="https://download.pytorch.org/models",
    statistics=Statistics(resize=256),
)
