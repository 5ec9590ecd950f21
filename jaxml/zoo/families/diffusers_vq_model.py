"""VQModel of diffusers: an autoencoder with a table of codes.

model = FAMILY.build(config, "VQModel")
rows = FAMILY.rows(model)
outputs = FAMILY.outputs(model, variables, {"x": images})
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxml.models.generative.autoencoder_kl import VQModel
from jaxml.zoo.families import diffusers_parts as parts
from jaxml.zoo.families.cnn_parts import dense
from jaxml.zoo.families.diffusers_autoencoder_kl import check_blocks
from jaxml.zoo.family import Family
from jaxml.zoo.rows import Line, Row, conv

__all__ = ["FAMILY"]

_KNOWN: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ("DownEncoderBlock2D",),
    "up_block_types": ("UpDecoderBlock2D",),
    "block_out_channels": (64,),
    "layers_per_block": 1,
    "act_fn": "silu",
    "latent_channels": 3,
    "num_vq_embeddings": 256,
    "norm_num_groups": 32,
    "vq_embed_dim": None,
    "mid_block_add_attention": True,
}
_USUAL = {
    "sample_size": None,
    "scaling_factor": None,
    "norm_type": "group",
    "lookup_from_codebook": False,
    "force_upcast": None,
}


def build(config: Mapping[str, Any], name: str) -> VQModel:
    """The network that a call, or a config.json, of VQModel makes.

    Raises:
        ValueError: if an argument is not understood.
    """
    given = parts.settings(config, _KNOWN, _USUAL)
    check_blocks(given)
    return VQModel(
        given["in_channels"],
        given["latent_channels"],
        given["num_vq_embeddings"],
        given["vq_embed_dim"],
        tuple(given["block_out_channels"]),
        given["layers_per_block"],
        groups=given["norm_num_groups"],
        activation=given["act_fn"],
        mid_attention=given["mid_block_add_attention"],
    )


def rows(model: Any) -> list[Line]:
    """The table of names."""
    return [
        *parts.pathway("encoder/", "encoder."),
        *parts.pathway("decoder/", "decoder."),
        *dense("quant", "quant_conv", conv),
        *dense("post_quant", "post_quant_conv", conv),
        Row("params/codebook", "quantize.embedding.weight"),
        *parts.OLD_NAMES,
    ]


def inputs(model: Any) -> tuple[jax.ShapeDtypeStruct, ...]:
    """One image of the smallest size that passes."""
    side = 2 ** (len(model.widths) - 1)
    return (jax.ShapeDtypeStruct((1, side, side, model.channels), jnp.float32),)


def outputs(
    model: Any, variables: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Latents, their codes and the loss of the table, channels first."""
    found = _run(model, variables, parts.last(given["x"]))
    latents, codes, loss, index, reconstruction = found
    return {
        "h": parts.first(latents),
        "quant": parts.first(codes),
        "loss": loss,
        "idx": index,
        "recon": parts.first(reconstruction),
    }


@partial(jax.jit, static_argnums=0)
def _run(model, variables, images):
    output = model.apply(variables, images)
    found = output.found
    loss = found.movement.mean() + 0.25 * found.commitment.mean()
    return (
        output.latents,
        found.codes,
        loss,
        found.indices.ravel(),
        output.reconstruction,
    )


FAMILY = Family(
    name="diffusers/vq_model",
    classes=("VQModel",),
    build=build,
    rows=rows,
    inputs=inputs,
    outputs=outputs,
    licence="Apache-2.0",
    source="https://huggingface.co/CompVis",
)
