"""AutoencoderKL of diffusers: the autoencoder of Stable Diffusion.

model = FAMILY.build(config, "AutoencoderKL")
rows = FAMILY.rows(model)
outputs = FAMILY.outputs(model, variables, {"x": images})
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxml.models.generative import vae
from jaxml.models.generative.autoencoder_kl import AutoencoderKL
from jaxml.zoo.families import diffusers_parts as parts
from jaxml.zoo.families.cnn_parts import dense
from jaxml.zoo.family import Family
from jaxml.zoo.rows import Line, conv

__all__ = ["FAMILY"]

_KNOWN: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ("DownEncoderBlock2D",),
    "up_block_types": ("UpDecoderBlock2D",),
    "block_out_channels": (64,),
    "layers_per_block": 1,
    "act_fn": "silu",
    "latent_channels": 4,
    "norm_num_groups": 32,
    "scaling_factor": 0.18215,
    "use_quant_conv": True,
    "use_post_quant_conv": True,
    "mid_block_add_attention": True,
}
_USUAL = {
    "sample_size": None,
    "force_upcast": None,
    "shift_factor": None,
    "latents_mean": None,
    "latents_std": None,
}
_SD: dict[str, Any] = {
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "sample_size": 256,
}


def build(config: Mapping[str, Any], name: str) -> AutoencoderKL:
    """The network that a call, or a config.json, of AutoencoderKL makes.

    Raises:
        ValueError: if an argument is not understood.
    """
    given = parts.settings(config, _KNOWN, _USUAL)
    check_blocks(given)
    return AutoencoderKL(
        given["in_channels"],
        given["latent_channels"],
        tuple(given["block_out_channels"]),
        given["layers_per_block"],
        groups=given["norm_num_groups"],
        activation=given["act_fn"],
        mid_attention=given["mid_block_add_attention"],
        quant_conv=given["use_quant_conv"],
        post_quant_conv=given["use_post_quant_conv"],
        scaling_factor=given["scaling_factor"],
    )


def check_blocks(given: Mapping[str, Any]) -> None:
    """Refuse blocks that are not the plain ones, and channels that differ."""
    strange = set(given["down_block_types"]) - {"DownEncoderBlock2D"}
    strange |= set(given["up_block_types"]) - {"UpDecoderBlock2D"}
    parts.refuse(bool(strange), "blocks must be the plain ones", strange)
    channels = given["in_channels"], given["out_channels"]
    parts.refuse(
        channels[0] != channels[1], "in_channels must be out_channels", channels
    )


def rows(model: Any) -> list[Line]:
    """The table of names."""
    return [
        *parts.pathway("encoder/", "encoder."),
        *parts.pathway("decoder/", "decoder."),
        *dense("quant", "quant_conv", conv),
        *dense("post_quant", "post_quant_conv", conv),
        *parts.OLD_NAMES,
    ]


def inputs(model: Any) -> tuple[jax.ShapeDtypeStruct, ...]:
    """One image of the smallest size that passes."""
    side = 2 ** (len(model.widths) - 1)
    return (jax.ShapeDtypeStruct((1, side, side, model.channels), jnp.float32),)


def outputs(
    model: Any, variables: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Moments, mode, its reconstruction and the KL of an image, channels first."""
    moments, mode, recon, kl = _run(model, variables, parts.last(given["x"]))
    first = parts.first
    return {
        "moments": first(moments),
        "mode": first(mode),
        "recon": first(recon),
        "kl": kl,
    }


@partial(jax.jit, static_argnums=0)
def _run(model, variables, images):
    moments = model.apply(variables, images, method="moments")
    output = model.apply(variables, images)
    kl = vae.kl(output.posterior).sum((1, 2, 3))
    return moments, output.code, output.reconstruction, kl


FAMILY = Family(
    name="diffusers/autoencoder_kl",
    classes=("AutoencoderKL",),
    build=build,
    rows=rows,
    inputs=inputs,
    outputs=outputs,
    sizes={"sd-vae-ft-mse": _SD},
    licence="MIT",
    source="https://huggingface.co/stabilityai/sd-vae-ft-mse",
)
