"""Qwen2 as the transformers library writes it.

model = FAMILY.build(config, "Qwen2ForCausalLM")
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
        **llama_parts.fields(config),
        window=llama_parts.windows(config),
        qkv_bias=True,
    )
    return causal_parts.with_head(network, config, name)


_tied = {"rms_norm_eps": 1e-6, "tie_word_embeddings": True}
_own = {"rms_norm_eps": 1e-6}
_wide = {"rms_norm_eps": 1e-5}


FAMILY = Family(
    name="transformers/qwen2",
    classes=("Qwen2ForCausalLM", "Qwen2Model", "Qwen2ForSequenceClassification"),
    build=build,
    rows=llama_parts.rows,
    inputs=causal_parts.inputs,
    outputs=causal_parts.outputs,
    sizes={
        "Qwen2.5-0.5B": sized("qwen2", 151936, 896, 24, 14, 2, 4864, 1e6, **_tied),
        "Qwen2.5-1.5B": sized("qwen2", 151936, 1536, 28, 12, 2, 8960, 1e6, **_tied),
        "Qwen2.5-3B": sized("qwen2", 151936, 2048, 36, 16, 2, 11008, 1e6, **_tied),
        "Qwen2.5-7B": sized("qwen2", 152064, 3584, 28, 28, 4, 18944, 1e6, **_own),
        "Qwen2.5-14B": sized("qwen2", 152064, 5120, 48, 40, 8, 13824, 1e6, **_wide),
        "Qwen2.5-32B": sized("qwen2", 152064, 5120, 64, 40, 8, 27648, 1e6, **_wide),
        "Qwen2.5-72B": sized("qwen2", 152064, 8192, 80, 64, 8, 29568, 1e6, **_wide),
    },
    licence="Apache-2.0 (3B and 72B: Qwen licences)",
    source="https://huggingface.co/Qwen",
)
