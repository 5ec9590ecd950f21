"""Mixtral as the transformers library writes it.

    model = FAMILY.build(config, "MixtralForCausalLM")
    rows = FAMILY.rows(model)
    outputs = FAMILY.outputs(model, variables, {"input_ids": ids})

A file holds the three kernels of each expert apart (w1 is the gate, w3 up, w2 down);
ours are stacked along a leading axis of experts.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import flax.linen as nn

from jaxml.models.language import mixtral
from jaxml.zoo.families import causal_parts, llama_parts
from jaxml.zoo.family import Family
from jaxml.zoo.rows import Line, Row, linear

__all__ = ["FAMILY"]


def build(config: Mapping[str, Any], name: str) -> nn.Module:
    """The network of a config.json.

    Args:
        config: as the file has it.
        name: of the class in transformers.
    """
    config = {"num_key_value_heads": 8, "rope_theta": 1e6, **config}
    network = mixtral.Mixtral(
        **llama_parts.fields(config),
        experts=config.get("num_local_experts", 8),
        top_k=config.get("num_experts_per_tok", 2),
        jitter=config.get("router_jitter_noise", 0.0),
        window=config.get("sliding_window"),
    )
    return causal_parts.with_head(network, config, name)


def rows(model: nn.Module) -> list[Line]:
    """The table of names of one network."""
    _, path, prefix = llama_parts.names(model)
    ours = f"{path}/layers_{{i}}/feed_forward"
    theirs = f"{prefix}layers.{{i}}.block_sparse_moe"
    table: list[Line] = [
        *llama_parts.stem_rows(model),
        *llama_parts.attention_rows(model),
        Row(f"{ours}/router/kernel", f"{theirs}.gate.weight", linear),
    ]
    for name, short in (("gate", "w1"), ("down", "w2"), ("up", "w3")):
        their = f"{theirs}.experts.{{e}}.{short}.weight"
        table.append(Row(f"{ours}/experts/{name}/kernel", their, linear))
    return table


def _routers(model, sown, mask):
    """What transformers calls router_logits [b·t, experts] and aux_loss."""
    network, path = causal_parts.network_of(model)
    for part in path.split("/")[1:]:
        sown = sown[part]
    logits = mixtral.routers(sown)
    found = {
        f"router_logits.{i}": layer.reshape(-1, layer.shape[-1])
        for i, layer in enumerate(logits)
    }
    loss = mixtral.balance(sown, top_k=network.top_k, mask=mask)
    return found | {"aux_loss": loss}


def _sized(words, width, depth, heads, hidden):
    more = {"rms_norm_eps": 1e-5, "num_local_experts": 8, "num_experts_per_tok": 2}
    return llama_parts.sized(
        "mixtral", words, width, depth, heads, 8, hidden, 1e6, **more
    )


FAMILY = Family(
    name="transformers/mixtral",
    classes=(
        "MixtralForCausalLM",
        "MixtralModel",
        "MixtralForSequenceClassification",
    ),
    build=build,
    rows=rows,
    inputs=causal_parts.inputs,
    outputs=partial(causal_parts.outputs, routers=_routers),
    sizes={
        "Mixtral-8x7B-v0.1": _sized(32000, 4096, 32, 32, 14336),
        "Mixtral-8x22B-v0.1": _sized(32768, 6144, 56, 48, 16384),
    },
    licence="Apache-2.0",
    source="https://huggingface.co/mistralai",
)
