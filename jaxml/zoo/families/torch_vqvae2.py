"""The VQ-VAE-2 of rosinality/vq-vae-2-pytorch.

model = FAMILY.build(config, "VQVAE")
rows = FAMILY.rows(model)
outputs = FAMILY.outputs(model, variables, {"x": images})
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxml.models.generative.vq_vae2 import VQVAE2
from jaxml.zoo import builder
from jaxml.zoo.families import diffusers_parts as parts
from jaxml.zoo.families.cnn_parts import dense
from jaxml.zoo.family import Family
from jaxml.zoo.rows import Line, Row, conv, conv_transpose, linear

__all__ = ["FAMILY"]

_DEFAULTS: dict[str, Any] = {
    "in_channel": 3,
    "channel": 128,
    "n_res_block": 2,
    "n_res_channel": 32,
    "embed_dim": 64,
    "n_embed": 512,
    "decay": 0.99,
}


def build(config: Mapping[str, Any], name: str) -> VQVAE2:
    """The network that a call of VQVAE makes.

    Raises:
        ValueError: if an argument is not understood.
    """
    call = builder.called(config)
    given = dict(zip(_DEFAULTS, call.args, strict=False)) | call.kwargs
    strange = sorted(set(given) - set(_DEFAULTS))
    parts.refuse(bool(strange), f"arguments must be {list(_DEFAULTS)}", strange)
    given = _DEFAULTS | given
    return VQVAE2(
        given["in_channel"],
        given["channel"],
        given["n_res_block"],
        given["n_res_channel"],
        given["embed_dim"],
        given["n_embed"],
        given["decay"],
    )


def rows(model: Any) -> list[Line]:
    """The table of names: theirs count the layers of each part."""
    table: list[Line] = []
    for part, stride in (("enc_b", 4), ("enc_t", 2)):
        first = ["conv_0", "conv_1"][: stride // 2]
        for place, name in enumerate((*first, "conv_last")):
            table += dense(f"{part}/{name}", f"{part}.blocks.{2 * place}", conv)
        table += _blocks(model, part, 2 * len(first) + 1)
    for part, stride in (("dec", 4), ("dec_t", 2)):
        table += dense(f"{part}/conv_in", f"{part}.blocks.0", conv)
        table += _blocks(model, part, 1)
        last = ["grow_0", "grow_last"] if stride == 4 else ["grow_last"]
        for place, name in enumerate(last):
            theirs = f"{part}.blocks.{model.blocks + 2 + 2 * place}"
            table += dense(f"{part}/{name}", theirs, conv_transpose)
    for end in "tb":
        table += dense(f"quantize_conv_{end}", f"quantize_conv_{end}", conv)
        ours, theirs = f"codebook/quantize_{end}", f"quantize_{end}"
        table += [
            Row(f"{ours}/codes", f"{theirs}.embed", linear),
            Row(f"{ours}/uses", f"{theirs}.cluster_size"),
            Row(f"{ours}/total", f"{theirs}.embed_avg", linear),
        ]
    return table + dense("upsample_t", "upsample_t", conv_transpose)


def _blocks(model, part, begin) -> list[Line]:
    """Residual blocks, the first of which is the layer of number `begin`."""
    table: list[Line] = []
    for i in range(model.blocks):
        theirs = f"{part}.blocks.{begin + i}.conv"
        table += dense(f"{part}/blocks_{i}_conv1", f"{theirs}.1", conv)
        table += dense(f"{part}/blocks_{i}_conv2", f"{theirs}.3", conv)
    return table


def inputs(model: Any) -> tuple[jax.ShapeDtypeStruct, ...]:
    """The smallest image that passes."""
    return (jax.ShapeDtypeStruct((1, 8, 8, model.channels), jnp.float32),)


def outputs(
    model: Any, variables: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Coarse codes, indices of both tables, their loss and the reconstruction."""
    found = _apply(model, variables, parts.last(given["x"]))
    return {
        "quant": parts.first(found.top),
        "diff": found.commitment.mean()[None],
        "id_t": found.top_indices,
        "id_b": found.bottom_indices,
        "recon": parts.first(found.reconstruction),
    }


@partial(jax.jit, static_argnums=0)
def _apply(model, variables, images):
    return model.apply(variables, images)


FAMILY = Family(
    name="rosinality/vq-vae-2-pytorch/vqvae2",
    classes=("VQVAE",),
    build=build,
    rows=rows,
    inputs=inputs,
    outputs=outputs,
    sizes={"vqvae2-256": {"architecture": "vqvae2-256"}},
    licence="MIT",
    source="https://github.com/rosinality/vq-vae-2-pytorch",
)
