"""Qwen3 as the transformers library writes it.

model = FAMILY.build(config, "Qwen3ForCausalLM")
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
        **llama_parts.fields({"head_dim": 128, **config}),
        window=llama_parts.windows(config),
        qkv_bias=biased,
        out_bias=biased,
        qk_norm=True,
    )
    return causal_parts.with_head(network, config, name)


_own = {"rms_norm_eps": 1e-6, "head_dim": 128}
_tied = {**_own, "tie_word_embeddings": True}


FAMILY = Family(
    name="transformers/qwen3",
    classes=("Qwen3ForCausalLM", "Qwen3Model", "Qwen3ForSequenceClassification"),
    build=build,
    rows=llama_parts.rows,
    inputs=causal_parts.inputs,
    outputs=causal_parts.outputs,
    sizes={
        "Qwen3-0.6B": sized("qwen3", 151936, 1024, 28, 16, 8, 3072, 1e6, **_tied),
        "Qwen3-1.7B": sized("qwen3", 151936, 2048, 28, 16, 8, 6144, 1e6, **_tied),
        "Qwen3-4B": sized("qwen3", 151936, 2560, 36, 32, 8, 9728, 1e6, **_tied),
        "Qwen3-8B": sized("qwen3", 151936, 4096, 36, 32, 8, 12288, 1e6, **_own),
        "Qwen3-14B": sized("qwen3", 151936, 5120, 40, 40, 8, 17408, 1e6, **_own),
        "Qwen3-32B": sized("qwen3", 151936, 5120, 64, 64, 8, 25600, 1e6, **_own),
    },
    licence="Apache-2.0",
    source="https://huggingface.co/Qwen",
)
