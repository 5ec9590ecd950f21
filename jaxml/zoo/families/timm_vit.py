"""Vision transformers as timm writes them.

model = FAMILY.build({"architecture": "vit_base_patch16_224"}, "VisionTransformer")
rows = FAMILY.rows(model)
outputs = FAMILY.outputs(model, variables, {"x": images})
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from jaxml.models.vision import dinov2, vit
from jaxml.zoo.builder import called
from jaxml.zoo.families import timm_vit_sizes, vit_parts
from jaxml.zoo.families.vit_parts import dense, norm
from jaxml.zoo.family import Family, Statistics
from jaxml.zoo.problem import nearest
from jaxml.zoo.rows import Line, Row, linear_split, split

__all__ = ["FAMILY", "arguments", "encoder_fields", "encoder_rows"]

_KNOWN = {  # arguments of timm's VisionTransformer and their defaults
    "img_size": 224,
    "patch_size": 16,
    "in_chans": 3,
    "num_classes": 1000,
    "global_pool": "token",
    "embed_dim": 768,
    "depth": 12,
    "num_heads": 12,
    "mlp_ratio": 4.0,
    "qkv_bias": True,
    "qk_norm": False,
    "init_values": None,
    "class_token": True,
    "no_embed_class": False,
    "reg_tokens": 0,
    "pre_norm": False,
    "final_norm": True,
    "fc_norm": None,
    "drop_rate": 0.0,
    "pos_drop_rate": 0.0,
    "proj_drop_rate": 0.0,
    "attn_drop_rate": 0.0,
    "drop_path_rate": 0.0,
    "act_layer": None,
    "mlp_layer": None,
    "dynamic_img_size": True,  # this network always takes other sizes
}
_POOLS = {"token": "token", "avg": "mean", "map": "attention"}
_LOADING = {"pretrained", "pretrained_cfg", "features_only", "scriptable", "strict"}
_ACTIVATIONS = {
    None: "gelu",
    "gelu": "gelu",
    "GELU": "gelu",
    "quick_gelu": "quick_gelu",
    "QuickGELU": "quick_gelu",
    "gelu_tanh": "gelu_tanh",
    "GELUTanh": "gelu_tanh",
    "silu": "silu",
    "SiLU": "silu",
}


def build(config: Mapping[str, Any], name: str) -> nn.Module:
    """The network of a call, or of the name of an architecture.

    Args:
        config: what `zoo.builder.parse` makes of the call, or `{"architecture": ...}`.
        name: of the class or architecture.

    Raises:
        ValueError: if an argument asks for what this network has not.
    """
    given = arguments(config, timm_vit_sizes.ALL)
    fields = encoder_fields(given)
    pool = given["global_pool"]
    if pool not in _POOLS:
        raise ValueError(f"global_pool must be one of {list(_POOLS)}; got {pool!r}")
    # timm normalises what is pooled where it pools more than one vector.
    pooled = pool == "avg" if given["fc_norm"] is None else given["fc_norm"]
    fields["final_norm"] = given["final_norm"] and not pooled
    return vit.classifier(
        given["num_classes"],
        pool=_POOLS[pool],
        pool_hidden=int(given["embed_dim"] * given["mlp_ratio"]),
        pool_norm=bool(given["final_norm"] and pooled),
        head_dropout=given["drop_rate"],
        **fields,
    )


def arguments(
    config: Mapping[str, Any], sizes: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """All arguments of a call: its own, those of its named size, the defaults.

    Raises:
        ValueError: if one is unknown.
    """
    name, args, kwargs = called(config)
    kwargs = dict(zip(_KNOWN, args, strict=False)) | kwargs
    kwargs = {k: v for k, v in kwargs.items() if k not in _LOADING}
    for key in kwargs:
        if key not in _KNOWN:
            raise ValueError(
                f"no argument {key!r} of {name} is known here{nearest(key, _KNOWN)}"
            )
    return {**_KNOWN, **sizes.get(name, {}), **kwargs}


def encoder_fields(given: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of `ViT` that timm's arguments ask for.

    Raises:
        ValueError: if an activation or feed-forward layer is not known.
    """
    width, act, mlp = given["embed_dim"], given["act_layer"], given["mlp_layer"]
    last = lambda name: name.rpartition(".")[2] if isinstance(name, str) else name
    if last(act) not in _ACTIVATIONS or last(mlp) not in (None, "Mlp", "SwiGLUPacked"):
        raise ValueError(f"no act_layer {act!r} or mlp_layer {mlp!r} is known here")
    hidden = int(width * given["mlp_ratio"])
    fields = {
        "image_size": vit_parts.pair(given["img_size"]),
        "patch_size": vit_parts.pair(given["patch_size"]),
        "channels": given["in_chans"],
        "width": width,
        "depth": given["depth"],
        "heads": given["num_heads"],
        "hidden": hidden,
        "tokens": ("class_token",) if given["class_token"] else (),
        "registers": given["reg_tokens"],
        "placed": 0 if given["no_embed_class"] else None,
        "patch_bias": not given["pre_norm"],
        "pre_norm": given["pre_norm"],
        "qkv_bias": given["qkv_bias"],
        "qk_norm": given["qk_norm"],
        "layer_scale": given["init_values"] or None,
        "activation": _ACTIVATIONS[last(act)],
        "dropout": given["proj_drop_rate"],
        "attention_dropout": given["attn_drop_rate"],
        "drop_path": given["drop_path_rate"],
        "position_method": "bicubic_antialias",
    }
    if last(mlp) == "SwiGLUPacked":
        fields |= {
            "feed_forward": dinov2.gated,
            "hidden": hidden // 2,
            "activation": "silu",
        }
    return fields


def rows(model: nn.Module) -> list[Line]:
    """The table of names of one network."""
    classifier: Any = model
    table = encoder_rows(classifier.encoder)
    if classifier.pool_norm:
        table += norm("params/pool_norm", "fc_norm")
    if classifier.pool == "attention":
        table += _pool_rows("params/attention_pool")
    return table + (dense("params/head", "head") if classifier.num_classes else [])


def _pool_rows(ours) -> list[Line]:
    both = lambda leaf: tuple(f"{ours}/attention/{x}/{leaf}" for x in ("key", "value"))
    return [
        Row(f"{ours}/question", "attn_pool.latent", vit_parts.first),
        *dense(f"{ours}/attention/query", "attn_pool.q"),
        Row(both("kernel"), "attn_pool.kv.weight", linear_split(2)),
        Row(both("bias"), "attn_pool.kv.bias", split(2)),
        *dense(f"{ours}/attention/out", "attn_pool.proj"),
        *norm(f"{ours}/norm", "attn_pool.norm"),
        *dense(f"{ours}/feed_forward/up", "attn_pool.mlp.fc1"),
        *dense(f"{ours}/feed_forward/down", "attn_pool.mlp.fc2"),
    ]


def encoder_rows(encoder: Any) -> list[Line]:
    """Rows of the encoder of a classifier.

    Args:
        encoder: a `ViT`.
    """
    ours, theirs = "params/encoder/layers_{i}", "blocks.{i}"
    names = {
        "patch_embedding": "patch_embed.proj",
        "position_embedding": "pos_embed",
        "class_token": "cls_token",
        "distillation_token": "dist_token",
        "register_tokens": "reg_token",
        "pre_norm": "norm_pre",
        "norm": "norm",
    }
    bias = f"{theirs}.attn.qkv.bias" if encoder.qkv_bias else None
    table = [
        *vit_parts.embedding_rows("params/encoder", encoder, names),
        *vit_parts.fused(f"{ours}/attention", f"{theirs}.attn.qkv.weight", bias),
        *dense(f"{ours}/attention/out", f"{theirs}.attn.proj"),
        *norm(f"{ours}/attention_norm", f"{theirs}.norm1"),
        *norm(f"{ours}/feed_forward_norm", f"{theirs}.norm2"),
        *dense(f"{ours}/feed_forward/down", f"{theirs}.mlp.fc2"),
    ]
    if encoder.qk_norm:
        table += norm(f"{ours}/attention/query_norm", f"{theirs}.attn.q_norm")
        table += norm(f"{ours}/attention/key_norm", f"{theirs}.attn.k_norm")
    if encoder.layer_scale is not None:
        table += [
            Row(f"{ours}/attention_scale/scale", f"{theirs}.ls1.gamma"),
            Row(f"{ours}/feed_forward_scale/scale", f"{theirs}.ls2.gamma"),
        ]
    if encoder.feed_forward is not dinov2.gated:
        return table + dense(f"{ours}/feed_forward/up", f"{theirs}.mlp.fc1")
    both = lambda leaf: tuple(f"{ours}/feed_forward/{x}/{leaf}" for x in ("gate", "up"))
    return [
        *table,
        Row(both("kernel"), f"{theirs}.mlp.fc1.weight", linear_split(2)),
        Row(both("bias"), f"{theirs}.mlp.fc1.bias", split(2)),
    ]


def outputs(
    model: nn.Module, variables: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Outputs of the reference by its names: "logits" and "features".

    Args:
        model: a classifier.
        variables: its parameters.
        given: "x", images with channels first.
    """
    answer, seen = vit_parts.run(model, variables, vit_parts.images(given))
    encoder: Any = model.encoder  # type: ignore[attr-defined]
    seen = seen["encoder"]
    named = {
        "logits": getattr(answer, "logits", answer),
        "features": seen["last_hidden_state"][0],
    }
    return named | vit_parts.inner(seen, encoder.depth)


FAMILY = Family(
    name="timm/vit",
    classes=("VisionTransformer", *timm_vit_sizes.VIT),
    build=build,
    rows=rows,
    inputs=vit_parts.inputs,
    outputs=outputs,
    sizes={name: {"architecture": name} for name in timm_vit_sizes.VIT},
    licence="Apache-2.0",
    source="https://huggingface.co/timm",
    statistics=Statistics((0.5,) * 3, (0.5,) * 3, resize=248, interpolation="bicubic"),
)
