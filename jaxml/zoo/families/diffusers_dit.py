"""DiTTransformer2DModel of diffusers.

model = FAMILY.build(config, "DiTTransformer2DModel")
rows = FAMILY.rows(model)
given = {"sample": latents, "t": timesteps, "y": labels}
outputs = FAMILY.outputs(model, variables, given)
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxml.models.generative.dit import DiT
from jaxml.zoo.families import diffusers_parts as parts
from jaxml.zoo.families.cnn_parts import dense
from jaxml.zoo.family import Family
from jaxml.zoo.rows import Ignored, Line, Row, conv

__all__ = ["FAMILY"]

_KNOWN: dict[str, Any] = {
    "num_attention_heads": 16,
    "attention_head_dim": 72,
    "in_channels": 4,
    "out_channels": None,
    "num_layers": 28,
    "dropout": 0.0,
    "attention_bias": True,
    "sample_size": 32,
    "patch_size": 2,
    "activation_fn": "gelu-approximate",
    "num_embeds_ada_norm": 1000,
    "norm_eps": 1e-5,
}
_USUAL = {
    "norm_num_groups": None,
    "norm_type": "ada_norm_zero",
    "norm_elementwise_affine": False,
    "upcast_attention": None,
    "only_cross_attention": False,
    "double_self_attention": False,
    "use_linear_projection": None,
    "num_vector_embeds": None,
    "cross_attention_dim": None,
}
_ACTIVATIONS = {"gelu-approximate": "gelu_tanh", "gelu": "gelu"}


def build(config: Mapping[str, Any], name: str) -> DiT:
    """The network that a call, or a config.json, of DiTTransformer2DModel makes.

    Raises:
        ValueError: if an argument is not understood.
    """
    given = parts.settings(config, _KNOWN, _USUAL)
    activation = given["activation_fn"]
    parts.refuse(
        activation not in _ACTIVATIONS,
        f"activation_fn must be one of {list(_ACTIVATIONS)}",
        activation,
    )
    return DiT(
        given["num_attention_heads"],
        given["attention_head_dim"],
        given["num_layers"],
        given["in_channels"],
        given["out_channels"] or given["in_channels"],
        (given["sample_size"],) * 2,
        given["patch_size"],
        given["num_embeds_ada_norm"],
        qkv_bias=given["attention_bias"],
        activation=_ACTIVATIONS[activation],
        epsilon=given["norm_eps"],
        dropout=given["dropout"],
    )


def rows(model: Any) -> list[Line]:
    """The table of names."""
    ours, block = "layers_{i}", "transformer_blocks.{i}"
    embedding = f"{block}.norm1.emb"
    table: list[Line] = [
        *dense("patch_embedding", "pos_embed.proj", conv),
        Ignored("pos_embed.pos_embed"),
        *dense(
            f"{ours}/time_embedding/linear_{{j}}",
            f"{embedding}.timestep_embedder.linear_{{j}}",
        ),
        Row(
            f"params/{ours}/class_embedding/embedding",
            f"{embedding}.class_embedder.embedding_table.weight",
        ),
        *dense(f"{ours}/modulation", f"{block}.norm1.linear"),
    ]
    biased = parts.attention(f"{ours}/attention", f"{block}.attn1")
    return [
        *table,
        *biased,
        *dense(f"{ours}/feed_forward/up", f"{block}.ff.net.0.proj"),
        *dense(f"{ours}/feed_forward/down", f"{block}.ff.net.2"),
        *dense("modulation_out", "proj_out_1"),
        *dense("out", "proj_out_2"),
    ]


def inputs(model: Any) -> tuple[jax.ShapeDtypeStruct, ...]:
    """One latent, its timestep and its label."""
    number = jax.ShapeDtypeStruct((1,), jnp.int32)
    latent = jax.ShapeDtypeStruct((1, *model.size, model.channels), jnp.float32)
    return latent, number, number


def outputs(
    model: Any, variables: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """The reference's answer, channels first."""
    numbers = [jnp.asarray(np.asarray(given[name]).astype(np.int32)) for name in "ty"]
    out = _apply(model, variables, parts.last(given["sample"]), *numbers)
    return {"out": parts.first(out)}


@partial(jax.jit, static_argnums=0)
def _apply(model, variables, *given):
    return model.apply(variables, *given)


FAMILY = Family(
    name="diffusers/dit",
    classes=("DiTTransformer2DModel",),
    build=build,
    rows=rows,
    inputs=inputs,
    outputs=outputs,
    sizes={"DiT-XL-2-256": {"out_channels": 8}},
    licence="CC-BY-NC-4.0",
    source="https://huggingface.co/facebook/DiT-XL-2-256",
)
