"""Switch Transformers as the transformers library writes them.

model = FAMILY.build(config, "SwitchTransformersForConditionalGeneration")
rows = FAMILY.rows(model)
outputs = FAMILY.outputs(model, variables, {"input_ids": a, "decoder_input_ids": b})
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from jaxml.models.language import switch
from jaxml.zoo.families import bert_parts, transformers_t5
from jaxml.zoo.families.transformers_t5 import side_rows
from jaxml.zoo.family import Family
from jaxml.zoo.rows import Ignored, Line, Row, Tied, linear

__all__ = ["FAMILY"]


def build(config: Mapping[str, Any], name: str) -> nn.Module:
    """The network of a config.json.

    Args:
        config: as the file has it.
        name: of the class in transformers.
    """
    if config.get("router_bias") or config.get("router_ignore_padding_tokens"):
        raise ValueError(
            "router_bias and router_ignore_padding_tokens must be false: the routers "
            "have no bias and see every token"
        )
    if not config.get("tie_word_embeddings", True):
        raise ValueError("tie_word_embeddings must be true: the words are scored so")
    depth = config.get("num_layers", 12)
    decoder_depth = config.get("num_decoder_layers") or depth
    fields = bert_parts.encoder_fields(config, transformers_t5.FIELDS)
    return switch.Switch(
        **{"width": 768, "heads": 12, "depth": depth} | fields,
        activation=bert_parts.activation(config.get("dense_act_fn", "relu")),
        decoder_depth=decoder_depth,
        experts=config.get("num_experts", 8),
        sparse_step=_step(config, "encoder", depth),
        decoder_sparse_step=_step(config, "decoder", decoder_depth),
        capacity=config.get("expert_capacity", 64),
        jitter=config.get("router_jitter_noise", 0.01),
    )


def _step(config, side, depth):
    """How far apart the sparse layers are."""
    sparse = config.get(f"num_sparse_{side}_layers", 3)
    # Without any, transformers takes the depth, which leaves layer 1 sparse.
    return config.get(f"{side}_sparse_step", depth // sparse if sparse else depth)


def rows(model: nn.Module) -> list[Line]:
    """The table of names of one network."""
    shared = "shared.weight"
    table: list[Line] = [
        Row("params/shared/embedding", shared),
        Tied("encoder.embed_tokens.weight", shared),
        Tied("decoder.embed_tokens.weight", shared),
        Tied("lm_head.weight", shared),
        Ignored(
            "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
        ),
    ]
    for side in ("encoder", "decoder"):
        ours = f"params/{side}/layers_{{i}}/feed_forward"
        theirs = f"{side}.block.{{i}}.layer.{transformers_t5.last(side)}.mlp"
        table += side_rows(side)
        table.append(
            Row(f"{ours}/router/kernel", f"{theirs}.router.classifier.weight", linear)
        )
        for layer, their in (("up", "wi"), ("down", "wo")):
            table += [
                Row(f"{ours}/{layer}/kernel", f"{theirs}.{their}.weight", linear),
                Row(
                    f"{ours}/experts/{layer}/kernel",
                    f"{theirs}.experts.expert_{{e}}.{their}.weight",
                    linear,
                ),
            ]
    return table


_BASE = {
    "architectures": ["SwitchTransformersForConditionalGeneration"],
    "model_type": "switch_transformers",
    "vocab_size": 32128,
    "d_model": 768,
    "d_kv": 64,
    "d_ff": 3072,
    "num_layers": 12,
    "num_heads": 12,
    "num_sparse_encoder_layers": 6,
    "num_sparse_decoder_layers": 6,
}
FAMILY = Family(
    name="transformers/switch",
    classes=("SwitchTransformersForConditionalGeneration",),
    build=build,
    rows=rows,
    inputs=transformers_t5.inputs,
    outputs=transformers_t5.outputs,
    sizes={
        f"google/switch-base-{count}": _BASE | {"num_experts": count}
        for count in (8, 16, 32, 64, 128, 256)
    },
    licence="Apache-2.0",
    source="https://huggingface.co/google",
)
