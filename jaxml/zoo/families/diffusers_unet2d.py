"""UNet2DModel of diffusers: the U-Net of DDPM.

model = FAMILY.build(config, "UNet2DModel")
rows = FAMILY.rows(model)
outputs = FAMILY.outputs(model, variables, {"sample": images, "t": timesteps})
"""

import ast
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxml.models.generative.unet2d import UNet2D
from jaxml.zoo.families import diffusers_parts as parts
from jaxml.zoo.families.cnn_parts import dense
from jaxml.zoo.family import Family
from jaxml.zoo.rows import Line, Row

__all__ = ["FAMILY"]

_KNOWN: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "center_input_sample": False,
    "freq_shift": 0,
    "flip_sin_to_cos": True,
    "down_block_types": ("DownBlock2D", *("AttnDownBlock2D",) * 3),
    "up_block_types": (*("AttnUpBlock2D",) * 3, "UpBlock2D"),
    "block_out_channels": (224, 448, 672, 896),
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "downsample_padding": 1,
    "dropout": 0.0,
    "act_fn": "silu",
    "attention_head_dim": 8,
    "norm_num_groups": 32,
    "norm_eps": 1e-5,
    "resnet_time_scale_shift": "default",
    "add_attention": True,
    "class_embed_type": None,
    "num_class_embeds": None,
}
_USUAL = {
    "sample_size": None,
    "time_embedding_type": "positional",
    "downsample_type": "conv",
    "upsample_type": "conv",
    "attn_norm_num_groups": None,
    "num_train_timesteps": None,
    "mid_block_type": "UNetMidBlock2D",
}
_CIFAR10: dict[str, Any] = {
    "sample_size": 32,
    "freq_shift": 1,
    "flip_sin_to_cos": False,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", *("DownBlock2D",) * 2),
    "up_block_types": (*("UpBlock2D",) * 2, "AttnUpBlock2D", "UpBlock2D"),
    "block_out_channels": (128, 256, 256, 256),
    "downsample_padding": 0,
    "attention_head_dim": None,
    "norm_eps": 1e-6,
}


def build(config: Mapping[str, Any], name: str) -> UNet2D:
    """The network that a call, or a config.json, of UNet2DModel makes.

    Raises:
        ValueError: if an argument is not understood.
    """
    config = _summary(config["text"]) if "text" in config else config
    given = parts.settings(config, _KNOWN, _USUAL)
    downs, ups = given["down_block_types"], given["up_block_types"]
    strange = set(downs) - {"DownBlock2D", "AttnDownBlock2D"}
    strange |= set(ups) - {"UpBlock2D", "AttnUpBlock2D"}
    parts.refuse(bool(strange), "blocks must be (Attn)DownBlock2D and -Up-", strange)
    kind = given["class_embed_type"]
    parts.refuse(kind is not None, "class_embed_type must be None", kind)
    return UNet2D(
        given["out_channels"],
        tuple(given["block_out_channels"]),
        tuple(block == "AttnDownBlock2D" for block in downs),
        tuple(block == "AttnUpBlock2D" for block in ups),
        layers=given["layers_per_block"],
        head_dim=given["attention_head_dim"],
        mid_attention=given["add_attention"],
        groups=given["norm_num_groups"],
        epsilon=given["norm_eps"],
        activation=given["act_fn"],
        dropout=given["dropout"],
        down_padding=given["downsample_padding"],
        time_shift=given["resnet_time_scale_shift"],
        mid_factor=float(given["mid_block_scale_factor"]),
        flip_waves=given["flip_sin_to_cos"],
        wave_shift=float(given["freq_shift"]),
        center=given["center_input_sample"],
        num_classes=given["num_class_embeds"],
        in_channels=given["in_channels"],
    )


def _summary(text: str) -> dict[str, Any]:
    """Arguments out of a shortened call, whose blocks read "Down/AttnDown, AttnUp/Up".

    >>> _summary("UNet2DModel(norm_eps=1e-6, Down/AttnDown, Up)")["down_block_types"]
    ('DownBlock2D', 'AttnDownBlock2D')
    """
    named = re.findall(r"(\w+)=(\([^()]*\)|[^,()]+)", text)
    given = {name: ast.literal_eval(value) for name, value in named}
    for way in ("Down", "Up"):
        found = re.search(rf"\b(?:Attn)?{way}(?:/(?:Attn)?{way})*\b", text)
        if found:
            blocks = found[0].split("/")
            given[f"{way.lower()}_block_types"] = tuple(f"{b}Block2D" for b in blocks)
    return given


def rows(model: Any) -> list[Line]:
    """The table of names."""
    return [
        *dense("time_embedding/linear_{i}", "time_embedding.linear_{i}"),
        Row("params/class_embedding/embedding", "class_embedding.weight"),
        *parts.pathway("", ""),
        *parts.OLD_NAMES,
    ]


def inputs(model: Any) -> tuple[jax.ShapeDtypeStruct, ...]:
    """One image of the smallest size that passes, its timestep, and its label."""
    side = 2 ** (len(model.widths) - 1)
    image = jax.ShapeDtypeStruct((1, side, side, model.in_channels), jnp.float32)
    number = jax.ShapeDtypeStruct((1,), jnp.int32)
    return (image, number) if model.num_classes is None else (image, number, number)


def outputs(
    model: Any, variables: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """The reference's answer, channels first."""
    names = [name for name in ("t", "y") if name in given]
    numbers = [jnp.asarray(np.asarray(given[name]).astype(np.int32)) for name in names]
    numbers[0] = jnp.broadcast_to(numbers[0], given["sample"].shape[:1])
    out = _apply(model, variables, parts.last(given["sample"]), *numbers)
    return {"out": parts.first(out)}


@partial(jax.jit, static_argnums=0)
def _apply(model, variables, *given):
    return model.apply(variables, *given)


FAMILY = Family(
    name="diffusers/unet2d",
    classes=("UNet2DModel",),
    build=build,
    rows=rows,
    inputs=inputs,
    outputs=outputs,
    sizes={"ddpm-cifar10-32": _CIFAR10},
    licence="Apache-2.0",
    source="https://huggingface.co/google/ddpm-cifar10-32",
)
