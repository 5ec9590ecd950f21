"""UNet2DConditionModel of diffusers: the U-Net of Stable Diffusion 1 and 2.

model = FAMILY.build(config, "UNet2DConditionModel")
rows = FAMILY.rows(model)
given = {"sample": latents, "t": timesteps, "ctx": text}
outputs = FAMILY.outputs(model, variables, given)
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxml.models.generative.unet2d_condition import UNet2DCondition
from jaxml.zoo.families import diffusers_parts as parts
from jaxml.zoo.families.cnn_parts import dense, kernel, layer_norm, pointwise
from jaxml.zoo.family import Family
from jaxml.zoo.rows import Change, Line, Row, linear, linear_split, split

__all__ = ["FAMILY"]

_KNOWN: dict[str, Any] = {
    "in_channels": 4,
    "out_channels": 4,
    "center_input_sample": False,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "down_block_types": (*("CrossAttnDownBlock2D",) * 3, "DownBlock2D"),
    "up_block_types": ("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
    "block_out_channels": (320, 640, 1280, 1280),
    "layers_per_block": 2,
    "downsample_padding": 1,
    "mid_block_scale_factor": 1,
    "dropout": 0.0,
    "act_fn": "silu",
    "norm_num_groups": 32,
    "norm_eps": 1e-5,
    "cross_attention_dim": 1280,
    "transformer_layers_per_block": 1,
    "attention_head_dim": 8,
    "use_linear_projection": False,
    "resnet_time_scale_shift": "default",
}
_USUAL = {
    "sample_size": None,
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "only_cross_attention": False,
    "dual_cross_attention": False,
    "num_attention_heads": None,
    "upcast_attention": None,
    "class_embed_type": None,
    "num_class_embeds": None,
    "time_embedding_type": "positional",
    "conv_in_kernel": 3,
    "conv_out_kernel": 3,
    "resnet_skip_time_act": False,
    "resnet_out_scale_factor": 1.0,
    "attention_type": "default",
}
_NONE = ("class_embed_type", "num_class_embeds", "num_attention_heads")


class _UNet2DCondition(UNet2DCondition):
    """`UNet2DCondition` that knows how its file keeps two projections."""

    as_convolutions: bool = True


def build(config: Mapping[str, Any], name: str) -> UNet2DCondition:
    """The network that a call, or a config.json, of UNet2DConditionModel makes.

    Raises:
        ValueError: if an argument is not understood.
    """
    config = dict(config.get("kwargs", config))
    empty = [key for key, value in config.items() if value is None]
    config = {k: v for k, v in config.items() if k in _KNOWN or k not in empty}
    for key in _NONE:
        parts.refuse(key in config, f"{key} must be None", config.get(key))
    given = parts.settings(config, _KNOWN, _USUAL)
    downs, ups = given["down_block_types"], given["up_block_types"]
    strange = set(downs) - {"DownBlock2D", "CrossAttnDownBlock2D"}
    strange |= set(ups) - {"UpBlock2D", "CrossAttnUpBlock2D"}
    parts.refuse(bool(strange), "blocks must be (CrossAttn)Down- and Up-", strange)
    stages = len(given["block_out_channels"])
    return _UNet2DCondition(
        given["out_channels"],
        tuple(given["block_out_channels"]),
        tuple(block == "CrossAttnDownBlock2D" for block in downs),
        tuple(block == "CrossAttnUpBlock2D" for block in ups),
        _each(given["attention_head_dim"], stages),
        _each(given["transformer_layers_per_block"], stages),
        given["layers_per_block"],
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
        in_channels=given["in_channels"],
        text_features=given["cross_attention_dim"],
        as_convolutions=not given["use_linear_projection"],
    )


def _each(value: int | Sequence[int], stages: int) -> tuple[int, ...]:
    """A number for every stage."""
    return (value,) * stages if isinstance(value, int) else tuple(value)


def rows(model: Any) -> list[Line]:
    """The table of names."""
    change = pointwise if model.as_convolutions else linear
    return [
        *dense("time_embedding/linear_{i}", "time_embedding.linear_{i}"),
        *parts.pathway("", ""),
        *_transformer("mid_block/attentions_0", "mid_block.attentions.0", change),
        *_transformer(
            "down_{i}_attentions_{j}", "down_blocks.{i}.attentions.{j}", change
        ),
        *_transformer("up_{i}_attentions_{j}", "up_blocks.{i}.attentions.{j}", change),
    ]


def _transformer(ours: str, theirs: str, change: Change) -> list[Line]:
    """A `SpatialTransformer`."""
    lines = layer_norm(f"{ours}/norm", f"{theirs}.norm")
    for name in ("proj_in", "proj_out"):
        lines += dense(f"{ours}/{name}", f"{theirs}.{name}", change)
    mine, block = f"{ours}/layers_{{k}}_", f"{theirs}.transformer_blocks.{{k}}"
    for n in (1, 2, 3):
        lines += layer_norm(f"{mine}norm{n}", f"{block}.norm{n}")
    for name, other in (("attention", "attn1"), ("cross_attention", "attn2")):
        for part, letter in (("query", "q"), ("key", "k"), ("value", "v")):
            lines += kernel(
                f"{mine}{name}/{part}", f"{block}.{other}.to_{letter}", linear
            )
        lines += dense(f"{mine}{name}/out", f"{block}.{other}.to_out.0")
    # One map of twice the width: what is gated, then its gate.
    both = [f"params/{mine}feed_forward/{part}" for part in ("up", "gate")]
    kernels, biases = (
        tuple(f"{p}/{leaf}" for p in both) for leaf in ("kernel", "bias")
    )
    return [
        *lines,
        Row(kernels, f"{block}.ff.net.0.proj.weight", linear_split(2)),
        Row(biases, f"{block}.ff.net.0.proj.bias", split(2)),
        *dense(f"{mine}feed_forward/down", f"{block}.ff.net.2"),
    ]


def inputs(model: Any) -> tuple[jax.ShapeDtypeStruct, ...]:
    """One latent of the smallest size that passes, its timestep and one token."""
    side = 2 ** (len(model.widths) - 1)
    return (
        jax.ShapeDtypeStruct((1, side, side, model.in_channels), jnp.float32),
        jax.ShapeDtypeStruct((1,), jnp.int32),
        jax.ShapeDtypeStruct((1, 1, model.text_features), jnp.float32),
    )


def outputs(
    model: Any, variables: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """The reference's answer, channels first."""
    times = jnp.asarray(np.asarray(given["t"]).astype(np.int32))
    times = jnp.broadcast_to(times, given["sample"].shape[:1])
    text = jnp.asarray(np.asarray(given["ctx"]))
    out = _apply(model, variables, parts.last(given["sample"]), times, text)
    return {"out": parts.first(out)}


@partial(jax.jit, static_argnums=0)
def _apply(model, variables, *given):
    return model.apply(variables, *given)


FAMILY = Family(
    name="diffusers/unet2d_condition",
    classes=("UNet2DConditionModel",),
    build=build,
    rows=rows,
    inputs=inputs,
    outputs=outputs,
    sizes={
        "stable-diffusion-v1-5-unet": {"cross_attention_dim": 768},
        "stable-diffusion-2-1-unet": {
            "cross_attention_dim": 1024,
            "attention_head_dim": (5, 10, 20, 20),
            "use_linear_projection": True,
        },
    },
    licence="CreativeML-OpenRAIL-M",
    source="https://huggingface.co/stable-diffusion-v1-5/stable-diffusion-v1-5",
)
