"""GPT-2 as the transformers library writes it.

    model = FAMILY.build(config, "GPT2LMHeadModel")
    rows = FAMILY.rows(model)
    outputs = FAMILY.outputs(model, variables, {"input_ids": ids})

The released files have no prefix "transformer.", and hold the causal masks as buffers.
Kernels are [in, out], as ours are; query, key and value are one tensor.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from jaxml.models.language import gpt2
from jaxml.zoo.families import causal_parts
from jaxml.zoo.families.causal_parts import activation, norm
from jaxml.zoo.family import Family
from jaxml.zoo.rows import Alias, Ignored, Line, Row, Tied, linear, split

__all__ = ["FAMILY"]

_FIELDS = {  # of the network -> name in config.json
    "vocab_size": "vocab_size",
    "width": "n_embd",
    "depth": "n_layer",
    "heads": "n_head",
    "hidden": "n_inner",
    "max_positions": "n_positions",
    "epsilon": "layer_norm_epsilon",
    "dropout": "resid_pdrop",
    "attention_dropout": "attn_pdrop",
    "embedding_dropout": "embd_pdrop",
    "scaled": "scale_attn_weights",
    "scaled_by_depth": "scale_attn_by_inverse_layer_idx",
    "tied": "tie_word_embeddings",
}


def build(config: Mapping[str, Any], name: str) -> nn.Module:
    """The network of a config.json.

    Args:
        config: as the file has it.
        name: of the class in transformers.

    Raises:
        ValueError: if the configuration asks for cross-attention.
    """
    if config.get("add_cross_attention"):
        raise ValueError("add_cross_attention must be false: this is a decoder alone")
    fields = {ours: config[name] for ours, name in _FIELDS.items() if name in config}
    kind = config.get("activation_function", "gelu_new")
    network = gpt2.GPT2(**fields, activation=activation(kind))
    return causal_parts.with_head(network, config, name)


def rows(model: nn.Module) -> list[Line]:
    """The table of names of one network."""
    network, path = causal_parts.network_of(model)
    bare = network is model and not network.head
    prefix = "" if bare else "transformer."
    ours, theirs = f"{path}/layers_{{i}}", f"{prefix}h.{{i}}"
    table: list[Line] = [
        Row(f"{path}/word/embedding", f"{prefix}wte.weight"),
        Row(f"{path}/position/embedding", f"{prefix}wpe.weight"),
        *norm(f"{ours}/attention_norm", f"{theirs}.ln_1"),
        *norm(f"{ours}/feed_forward_norm", f"{theirs}.ln_2"),
        *norm(f"{path}/norm", f"{prefix}ln_f"),
        Ignored(f"{theirs}.attn.bias"),
        Ignored(f"{theirs}.attn.masked_bias"),
    ]
    for leaf, name, change in (
        ("kernel", "weight", split(3, axis=1)),
        ("bias", "bias", split(3)),
    ):
        whole = tuple(f"{ours}/attention/{n}/{leaf}" for n in ("query", "key", "value"))
        table += [
            Row(whole, f"{theirs}.attn.c_attn.{name}", change),
            Row(f"{ours}/attention/out/{leaf}", f"{theirs}.attn.c_proj.{name}"),
            Row(f"{ours}/feed_forward/up/{leaf}", f"{theirs}.mlp.c_fc.{name}"),
            Row(f"{ours}/feed_forward/down/{leaf}", f"{theirs}.mlp.c_proj.{name}"),
        ]
    if bare:
        table.append(Alias(r"^transformer\.", ""))
    else:
        table.append(Alias(r"^(wte|wpe|h|ln_f)\.", r"transformer.\1."))
    if network.head and not network.tied:
        table.append(Row(f"{path}/head/kernel", "lm_head.weight", linear))
    else:
        table.append(Tied("lm_head.weight", f"{prefix}wte.weight"))
    return table + causal_parts.classifier_rows(model)


def _sized(depth, width, heads):
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "n_layer": depth,
        "n_embd": width,
        "n_head": heads,
    }


FAMILY = Family(
    name="transformers/gpt2",
    classes=("GPT2LMHeadModel", "GPT2Model", "GPT2ForSequenceClassification"),
    build=build,
    rows=rows,
    inputs=causal_parts.inputs,
    outputs=causal_parts.outputs,
    sizes={
        "gpt2": _sized(12, 768, 12),
        "gpt2-medium": _sized(24, 1024, 16),
        "gpt2-large": _sized(36, 1280, 20),
        "gpt2-xl": _sized(48, 1600, 25),
        "distilgpt2": _sized(6, 768, 12),
    },
    licence="MIT",
    source="https://huggingface.co/openai-community",
)
