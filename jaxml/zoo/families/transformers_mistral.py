"""Mistral as the transformers library writes it.

model = FAMILY.build(config, "MistralForCausalLM")
rows = FAMILY.rows(model)
outputs = FAMILY.outputs(model, variables, {"input_ids": ids})
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from jaxml.models.language import llama
from jaxml.zoo.families import causal_parts, llama_parts
from jaxml.zoo.families.llama_parts import sized
from jaxml.zoo.family import Family

__all__ = ["FAMILY"]


def build(config: Mapping[str, Any], name: str) -> nn.Module:
    """The network of a config.json.

    Args:
        config: as the file has it.
        name: of the class in transformers.
    """
    network = llama.Llama(
        **llama_parts.fields({"num_key_value_heads": 8, **config}),
        window=config.get("sliding_window", 4096),
    )
    return causal_parts.with_head(network, config, name)


_common = {"rms_norm_eps": 1e-5}


FAMILY = Family(
    name="transformers/mistral",
    classes=("MistralForCausalLM", "MistralModel", "MistralForSequenceClassification"),
    build=build,
    rows=llama_parts.rows,
    inputs=causal_parts.inputs,
    outputs=causal_parts.outputs,
    sizes={
        "Mistral-7B-v0.1": sized(
            "mistral", 32000, 4096, 32, 32, 8, 14336, 1e4, **_common
        ),
        "Mistral-7B-v0.3": sized(
            "mistral",
            32768,
            4096,
            32,
            32,
            8,
            14336,
            1e6,
            sliding_window=None,
            **_common,
        ),
    },
    licence="Apache-2.0",
    source="https://huggingface.co/mistralai",
)
