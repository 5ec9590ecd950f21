"""BART as the transformers library writes it.

model = FAMILY.build(config, "BartForConditionalGeneration")
rows = FAMILY.rows(model)
outputs = FAMILY.outputs(model, variables, {"input_ids": a, "decoder_input_ids": b})
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxml.models.language import bart
from jaxml.zoo.families import bert_outputs, bert_parts
from jaxml.zoo.families.bert_parts import dense, norm
from jaxml.zoo.family import Family
from jaxml.zoo.rows import Alias, Line, Row, Tied

__all__ = ["FAMILY"]

_FIELDS = {  # of the network -> name in config.json
    "vocab_size": "vocab_size",
    "width": "d_model",
    "depth": "encoder_layers",
    "decoder_depth": "decoder_layers",
    "heads": "encoder_attention_heads",
    "decoder_heads": "decoder_attention_heads",
    "hidden": "encoder_ffn_dim",
    "decoder_hidden": "decoder_ffn_dim",
    "max_positions": "max_position_embeddings",
    "activation": "activation_function",
    "scale_embedding": "scale_embedding",
    "dropout": "dropout",
    "attention_dropout": "attention_dropout",
    "hidden_dropout": "activation_dropout",
}


def build(config: Mapping[str, Any], name: str) -> nn.Module:
    """The network of a config.json.

    Args:
        config: as the file has it.
        name: of the class in transformers.
    """
    if not config.get("tie_word_embeddings", True):
        raise ValueError("tie_word_embeddings must be true: the words are scored so")
    # What a configuration need not say, and what transformers takes then.
    missing = {"depth": 12, "width": 1024, "heads": 16, "hidden": 4096}
    return bart.Bart(**missing | bert_parts.encoder_fields(config, _FIELDS))


def rows(model: nn.Module) -> list[Line]:
    """The table of names of one network."""
    shared = "model.shared.weight"
    table: list[Line] = [
        Alias(r"^(shared|encoder|decoder)\.", r"model.\1."),
        Row("params/shared/embedding", shared),
        Row("buffers/logits_bias", "final_logits_bias"),
        Tied("lm_head.weight", shared),
    ]
    for side in ("encoder", "decoder"):
        ours, theirs = f"params/{side}", f"model.{side}"
        table += [
            Tied(f"{theirs}.embed_tokens.weight", shared),
            Row(f"{ours}/position/embedding", f"{theirs}.embed_positions.weight"),
            *norm(f"{ours}/norm", f"{theirs}.layernorm_embedding"),
            *_block(f"{ours}/layers_{{i}}", f"{theirs}.layers.{{i}}", side),
        ]
    return table


def _block(ours, theirs, side):
    parts = {"attention": "self_attn"}
    if side == "decoder":
        parts["cross_attention"] = "encoder_attn"
    table = []
    for part, their in parts.items():
        for layer in ("query", "key", "value", "out"):
            short = "out" if layer == "out" else layer[0]
            table += dense(f"{ours}/{part}/{layer}", f"{theirs}.{their}.{short}_proj")
        table += norm(f"{ours}/{part}_norm", f"{theirs}.{their}_layer_norm")
    return [
        *table,
        *dense(f"{ours}/feed_forward/up", f"{theirs}.fc1"),
        *dense(f"{ours}/feed_forward/down", f"{theirs}.fc2"),
        *norm(f"{ours}/feed_forward_norm", f"{theirs}.final_layer_norm"),
    ]


def inputs(model: nn.Module) -> tuple[jax.ShapeDtypeStruct, ...]:
    """Smallest input of `init`: one token a side."""
    token = jax.ShapeDtypeStruct((1, 1), jnp.int32)
    return token, token


def outputs(
    model: nn.Module, variables: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Outputs of the reference by its names, from its inputs.

    Args:
        model: a `Bart`.
        variables: its parameters.
        given: "input_ids" and "decoder_input_ids", and the mask of either.
    """
    numbers = {k: jnp.asarray(np.asarray(x), jnp.int32) for k, x in given.items()}
    return _run(model, variables, numbers)


@partial(jax.jit, static_argnums=0)
def _run(model, variables, given):
    mask = lambda name: given[name].astype(bool) if name in given else None
    answer, state = model.apply(
        variables,
        given["input_ids"],
        given["decoder_input_ids"],
        mask("attention_mask"),
        mask("decoder_attention_mask"),
        mutable=["intermediates"],
    )
    return bert_outputs.two_sides(
        answer,
        state["intermediates"],
        {"encoder": model.depth, "decoder": model.decoder_sizes[0]},
    )


_BASE = {
    "architectures": ["BartForConditionalGeneration"],
    "model_type": "bart",
    "vocab_size": 50265,
    "max_position_embeddings": 1024,
}


def _sized(width, depth, heads):
    sides = {
        f"{side}_{name}": number
        for side in ("encoder", "decoder")
        for name, number in (
            ("layers", depth),
            ("attention_heads", heads),
            ("ffn_dim", 4 * width),
        )
    }
    return _BASE | {"d_model": width} | sides


FAMILY = Family(
    name="transformers/bart",
    classes=("BartForConditionalGeneration",),
    build=build,
    rows=rows,
    inputs=inputs,
    outputs=outputs,
    sizes={
        "facebook/bart-base": _sized(768, 6, 12),
        "facebook/bart-large": _sized(1024, 12, 16),
    },
    licence="Apache-2.0",
    source="https://huggingface.co/facebook",
)
