"""What the tables of diffusers' networks share.

fields = settings(config, "UNet2DModel", {"in_channels": 3})
rows = resnet("mid_block/resnets_0", "mid_block.resnets.0")
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxml.zoo.families.cnn_parts import dense, layer_norm
from jaxml.zoo.rows import Alias, Line, conv

__all__ = [
    "OLD_NAMES",
    "attention",
    "first",
    "last",
    "mid_block",
    "pathway",
    "refuse",
    "resnet",
    "settings",
    "spatial_attention",
]

# Names of attention in files of before 2023.
OLD_NAMES = [
    Alias(r"(?<=attentions\.\d)\.query\.", ".to_q."),
    Alias(r"(?<=attentions\.\d)\.key\.", ".to_k."),
    Alias(r"(?<=attentions\.\d)\.value\.", ".to_v."),
    Alias(r"(?<=attentions\.\d)\.proj_attn\.", ".to_out.0."),
]


def settings(
    config: Mapping[str, Any], known: Mapping[str, Any], usual: Mapping[str, Any]
) -> dict[str, Any]:
    """Arguments of a network of diffusers, from a call or a config.json.

    Args:
        config: of `builder.parse`, or of the file.
        known: arguments that are read, and their defaults.
        usual: arguments that may be there, and the only value they may have; None
            for any.

    Raises:
        ValueError: naming arguments that would change the network otherwise.
    """
    given = dict(config["kwargs"]) if "builder" in config else dict(config)
    if config.get("args"):
        raise ValueError(f"arguments must be named; got {list(config['args'])}")
    strange = {
        name: value
        for name, value in given.items()
        if name not in known
        and name not in ("architecture", "builder", "args", "kwargs")
        and not name.startswith("_")
        and not (name in usual and usual[name] in (None, value))
    }
    if strange:
        raise ValueError(f"the network must have the usual settings; got {strange}")
    return {**known, **{k: v for k, v in given.items() if k in known}}


def refuse(condition: bool, what: str, got: Any) -> None:
    """Raise a ValueError that says what is right and what came."""
    if condition:
        raise ValueError(f"{what}; got {got}")


def attention(ours: str, theirs: str) -> list[Line]:
    """The four projections."""
    names = {"query": "to_q", "key": "to_k", "value": "to_v", "out": "to_out.0"}
    return [
        line
        for mine, name in names.items()
        for line in dense(f"{ours}/{mine}", f"{theirs}.{name}")
    ]


def spatial_attention(ours: str, theirs: str) -> list[Line]:
    """A `SpatialAttention`."""
    return [
        *layer_norm(f"{ours}/group_norm", f"{theirs}.group_norm"),
        *attention(f"{ours}/attention", theirs),
    ]


def resnet(ours: str, theirs: str) -> list[Line]:
    """A `ResnetBlock`, with time or without, and perhaps with a shortcut."""
    lines: list[Line] = []
    for n in (1, 2):
        lines += layer_norm(f"{ours}/norm{n}", f"{theirs}.norm{n}")
        lines += dense(f"{ours}/conv{n}", f"{theirs}.conv{n}", conv)
    lines += dense(f"{ours}/conv_shortcut", f"{theirs}.conv_shortcut", conv)
    return lines + dense(f"{ours}/time_emb_proj", f"{theirs}.time_emb_proj")


def mid_block(ours: str, theirs: str) -> list[Line]:
    """A `MidBlock`."""
    return [
        *resnet(f"{ours}/resnets_{{i}}", f"{theirs}.resnets.{{i}}"),
        *spatial_attention(f"{ours}/attentions_0", f"{theirs}.attentions.0"),
    ]


def pathway(ours: str, theirs: str) -> list[Line]:
    """Everything below `prefix` of a U-Net, or of one half of an autoencoder.

    Args:
        ours: what the names of ours begin with, "params" left out; it ends in "/".
        theirs: what theirs begin with; it ends in ".".
    """
    lines = [
        *dense(f"{ours}conv_in", f"{theirs}conv_in", conv),
        *layer_norm(f"{ours}conv_norm_out", f"{theirs}conv_norm_out"),
        *dense(f"{ours}conv_out", f"{theirs}conv_out", conv),
        *mid_block(f"{ours}mid_block", f"{theirs}mid_block"),
    ]
    for way, sampler in (("down", "downsample"), ("up", "upsample")):
        block = f"{theirs}{way}_blocks.{{i}}"
        lines += resnet(f"{ours}{way}_{{i}}_resnets_{{j}}", f"{block}.resnets.{{j}}")
        lines += spatial_attention(
            f"{ours}{way}_{{i}}_attentions_{{j}}", f"{block}.attentions.{{j}}"
        )
        lines += dense(
            f"{ours}{way}_{{i}}_{sampler}/conv", f"{block}.{sampler}rs.0.conv", conv
        )
    return lines


def last(images: Any) -> jnp.ndarray:
    """Channels last."""
    return jnp.asarray(np.asarray(images)).transpose(0, 2, 3, 1)


def first(images: Any) -> jnp.ndarray:
    """Channels first."""
    return images.transpose(0, 3, 1, 2)
