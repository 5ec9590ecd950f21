"""What the tables of Llama and its kin share.

network = llama.Llama(**fields(config))
rows = [*stem_rows(model), *attention_rows(model), *forward_rows(model)]
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from jaxml.zoo import rotary
from jaxml.zoo.families import causal_parts
from jaxml.zoo.rows import Alias, Ignored, Line, Row, Tied, linear

__all__ = [
    "attention_rows",
    "fields",
    "forward_rows",
    "rows",
    "sized",
    "stem_rows",
    "windows",
]

_FIELDS = {  # of the network -> name in config.json
    "vocab_size": "vocab_size",
    "width": "hidden_size",
    "depth": "num_hidden_layers",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "hidden": "intermediate_size",
    "epsilon": "rms_norm_eps",
    "attention_dropout": "attention_dropout",
}


def fields(config: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of the network that a configuration gives.

    Args:
        config: as config.json has it.
    """
    found = {ours: config[name] for ours, name in _FIELDS.items() if name in config}
    return found | {
        "activation": causal_parts.activation(config.get("hidden_act", "silu")),
        "rotary": rotary.from_config(config),
        "tied": config.get("tie_word_embeddings", False),
    }


def windows(config: Mapping[str, Any]) -> int | tuple[int | None, ...] | None:
    """How far each block of Qwen sees: the first `max_window_layers` as far as any.

    Args:
        config: as config.json has it, with or without `layer_types`.

    >>> windows({"num_hidden_layers": 3, "max_window_layers": 1,
    ...          "sliding_window": 8, "use_sliding_window": True})
    (None, 8, 8)
    """
    size = config.get("sliding_window", 4096)
    if not config.get("use_sliding_window", False) or size is None:
        return None
    kinds = config.get("layer_types")
    count = config["num_hidden_layers"]
    if kinds is not None:
        near = [kind == "sliding_attention" for kind in kinds]
    else:
        near = [i >= config.get("max_window_layers", 28) for i in range(count)]
    return tuple(size if short else None for short in near)


def names(model: nn.Module) -> tuple[Any, str, str]:
    """The network, the path of its parameters, the prefix of its tensors."""
    network, path = causal_parts.network_of(model)
    bare = network is model and not network.head
    return network, path, "" if bare else "model."


def stem_rows(model: nn.Module) -> list[Line]:
    """Rows of the words, the norms and the head."""
    network, path, prefix = names(model)
    ours, theirs = f"{path}/layers_{{i}}", f"{prefix}layers.{{i}}"
    table: list[Line] = [
        Row(f"{path}/word/embedding", f"{prefix}embed_tokens.weight"),
        Row(f"{path}/norm/scale", f"{prefix}norm.weight"),
        Row(f"{ours}/attention_norm/scale", f"{theirs}.input_layernorm.weight"),
        Row(
            f"{ours}/feed_forward_norm/scale",
            f"{theirs}.post_attention_layernorm.weight",
        ),
        Ignored(f"{theirs}.self_attn.rotary_emb.inv_freq"),
        *causal_parts.classifier_rows(model),
    ]
    if prefix:
        table.append(Alias(r"^(embed_tokens|layers|norm)\.", r"model.\1."))
    else:
        table.append(Alias(r"^model\.", ""))
    if network.head and not network.tied:
        table.append(Row(f"{path}/head/kernel", "lm_head.weight", linear))
    elif network.tied:
        table.append(Tied("lm_head.weight", f"{prefix}embed_tokens.weight"))
    else:
        table.append(Ignored("lm_head.weight"))
    return table


def attention_rows(model: nn.Module) -> list[Line]:
    """Rows of the projections of every block, and of the norms of their heads."""
    network, path, prefix = names(model)
    ours, theirs = f"{path}/layers_{{i}}/attention", f"{prefix}layers.{{i}}.self_attn"
    table: list[Line] = []
    qkv, out = getattr(network, "qkv_bias", False), getattr(network, "out_bias", False)
    for name, short, biased in (
        ("query", "q", qkv),
        ("key", "k", qkv),
        ("value", "v", qkv),
        ("out", "o", out),
    ):
        their = f"{theirs}.{short}_proj"
        table.append(Row(f"{ours}/{name}/kernel", f"{their}.weight", linear))
        if biased:
            table.append(Row(f"{ours}/{name}/bias", f"{their}.bias"))
    if getattr(network, "qk_norm", False):
        table += [
            Row(f"{ours}/query_norm/scale", f"{theirs}.q_norm.weight"),
            Row(f"{ours}/key_norm/scale", f"{theirs}.k_norm.weight"),
        ]
    return table


def forward_rows(model: nn.Module) -> list[Line]:
    """Rows of the gated feed-forward layers."""
    network, path, prefix = names(model)
    ours, theirs = f"{path}/layers_{{i}}/feed_forward", f"{prefix}layers.{{i}}.mlp"
    table: list[Line] = []
    for name in ("gate", "up", "down"):
        their = f"{theirs}.{name}_proj"
        table.append(Row(f"{ours}/{name}/kernel", f"{their}.weight", linear))
        if network.hidden_bias:
            table.append(Row(f"{ours}/{name}/bias", f"{their}.bias"))
    return table


def rows(model: nn.Module) -> list[Line]:
    """The whole table of a `jaxml.models.language.llama.Llama`."""
    return [*stem_rows(model), *attention_rows(model), *forward_rows(model)]


def sized(
    kind: str,
    words: int,
    width: int,
    depth: int,
    heads: int,
    kv_heads: int,
    hidden: int,
    theta: float,
    **more: Any,
) -> dict[str, Any]:
    """The configuration of a named size.

    Args:
        kind: model_type.
        words: vocab_size.
        width: hidden_size.
        depth: num_hidden_layers.
        heads: num_attention_heads.
        kv_heads: num_key_value_heads.
        hidden: intermediate_size.
        theta: rope_theta.
        more: anything else.
    """
    return {
        "architectures": [f"{kind.capitalize()}ForCausalLM"],
        "model_type": kind,
        "vocab_size": words,
        "hidden_size": width,
        "num_hidden_layers": depth,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": hidden,
        "rope_theta": theta,
        **more,
    }
