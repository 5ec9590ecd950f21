"""Llama as the transformers library writes it.

model = FAMILY.build(config, "LlamaForCausalLM")
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
    biased = config.get("attention_bias", False)
    network = llama.Llama(
        **llama_parts.fields(config),
        qkv_bias=biased,
        out_bias=biased,
        hidden_bias=config.get("mlp_bias", False),
    )
    return causal_parts.with_head(network, config, name)


def _stretched(factor):
    return {
        "rope_scaling": {
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        }
    }


_two = {"rms_norm_eps": 1e-5}
_three = {"rms_norm_eps": 1e-5, "max_position_embeddings": 8192}
_one_b = {**_two, **_stretched(32.0), "head_dim": 64, "tie_word_embeddings": True}
_three_b = {**_one_b, "head_dim": 128}


FAMILY = Family(
    name="transformers/llama",
    classes=("LlamaForCausalLM", "LlamaModel", "LlamaForSequenceClassification"),
    build=build,
    rows=llama_parts.rows,
    inputs=causal_parts.inputs,
    outputs=causal_parts.outputs,
    sizes={
        "Llama-2-7b": sized("llama", 32000, 4096, 32, 32, 32, 11008, 1e4, **_two),
        "Llama-2-13b": sized("llama", 32000, 5120, 40, 40, 40, 13824, 1e4, **_two),
        "Llama-2-70b": sized("llama", 32000, 8192, 80, 64, 8, 28672, 1e4, **_two),
        "Llama-3-8B": sized("llama", 128256, 4096, 32, 32, 8, 14336, 5e5, **_three),
        "Llama-3-70B": sized("llama", 128256, 8192, 80, 64, 8, 28672, 5e5, **_three),
        "Llama-3.1-8B": sized(
            "llama", 128256, 4096, 32, 32, 8, 14336, 5e5, **_two, **_stretched(8.0)
        ),
        "Llama-3.2-1B": sized("llama", 128256, 2048, 16, 32, 8, 8192, 5e5, **_one_b),
        "Llama-3.2-3B": sized("llama", 128256, 3072, 28, 24, 8, 8192, 5e5, **_three_b),
    },
    licence="Llama community licence",
    source="https://huggingface.co/meta-llama",
)
