"""T5, T5 v1.1, Flan-T5 and mT5 as the transformers library writes them.

    model = FAMILY.build(config, "T5ForConditionalGeneration")
    rows = FAMILY.rows(model)
    outputs = FAMILY.outputs(model, variables, {"input_ids": a, "decoder_input_ids": b})

From version 5 on the library writes that words and scores are tied whatever they are,
and keeps what the configuration of v1.1 meant in `scale_decoder_outputs`: false where
the scores have a kernel of their own. A file without that kernel is read as tied.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxml.models.language import t5
from jaxml.zoo.families import bert_outputs, bert_parts
from jaxml.zoo.family import Family
from jaxml.zoo.rows import Ignored, Line, Row, Tied, linear

__all__ = ["FAMILY", "FIELDS", "inputs", "last", "outputs", "side_rows"]

_ENDS = ("ForConditionalGeneration", "Model", "EncoderModel")
FIELDS = {  # of the network -> name in config.json
    "vocab_size": "vocab_size",
    "width": "d_model",
    "heads": "num_heads",
    "head_dim": "d_kv",
    "hidden": "d_ff",
    "depth": "num_layers",
    "buckets": "relative_attention_num_buckets",
    "max_distance": "relative_attention_max_distance",
    "epsilon": "layer_norm_epsilon",
    "dropout": "dropout_rate",
}


def build(config: Mapping[str, Any], name: str) -> nn.Module:
    """The network of a config.json.

    Args:
        config: as the file has it.
        name: of the class in transformers.
    """
    fields = {ours: config[their] for ours, their in FIELDS.items() if their in config}
    kind = config.get("feed_forward_proj", "relu")
    gated, _, act = kind.rpartition("gated-")
    fields["gated"] = bool(gated) or kind.startswith("gated-")
    # "gated-gelu" means the approximation by tanh, "gelu" the exact function.
    fields["activation"] = "gelu_tanh" if kind == "gated-gelu" else act
    fields["activation"] = bert_parts.activation(fields["activation"])
    if name.endswith("EncoderModel"):
        return t5.T5Encoder(**fields)
    tied = config.get("tie_word_embeddings", True) is not False
    scaled = config.get("scale_decoder_outputs", tied) is not False
    return t5.T5(
        **fields,
        decoder_depth=config.get("num_decoder_layers"),
        tied=(tied and scaled) or name.endswith("5Model"),
        scale_logits=scaled,
    )


def rows(model: nn.Module) -> list[Line]:
    """The table of names of one network."""
    shared = "shared.weight"
    table: list[Line] = [
        Row("params/shared/embedding", shared),
        Tied("encoder.embed_tokens.weight", shared),
        Tied("decoder.embed_tokens.weight", shared),
        Ignored(
            "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
        ),
        *_stack(model, "encoder"),
    ]
    if not isinstance(model, t5.T5):
        # A file of the whole network serves its encoder.
        return [*table, Ignored("lm_head.weight"), *_ignored(_stack(model, "decoder"))]
    table += [*_stack(model, "decoder"), Tied("lm_head.weight", shared)]
    if not model.tied:
        table.append(Row("params/lm_head/kernel", "lm_head.weight", linear))
    elif not model.scale_logits:  # v1.1 without its head
        table.append(Ignored("lm_head.weight"))
    return table


def _stack(model, name) -> list[Row]:
    ours = f"params/{name}/layers_{{i}}/feed_forward"
    theirs = f"{name}.block.{{i}}.layer.{last(name)}.DenseReluDense"
    inner = {"up": "wi", "down": "wo"}
    if model.gated:
        inner = {"gate": "wi_0", "up": "wi_1", "down": "wo"}
    return side_rows(name) + [
        Row(f"{ours}/{layer}/kernel", f"{theirs}.{their}.weight", linear)
        for layer, their in inner.items()
    ]


def last(name: str) -> int:
    """Number of the feed-forward layer in a block of the encoder or decoder."""
    return 2 if name == "decoder" else 1


def side_rows(name: str) -> list[Row]:
    """Rows of one side, but for its feed-forward layers.

    Args:
        name: "encoder" or "decoder".
    """
    ours, theirs = f"params/{name}/layers_{{i}}", f"{name}.block.{{i}}.layer"
    table = [
        Row(
            f"params/{name}/relative_bias/embedding",
            f"{name}.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
        ),
        Row(f"params/{name}/norm/scale", f"{name}.final_layer_norm.weight"),
    ]
    parts = {"attention": "SelfAttention", "cross_attention": "EncDecAttention"}
    if name == "encoder":
        parts.pop("cross_attention")
    for number, (part, their) in enumerate(parts.items()):
        table += [
            Row(
                f"{ours}/{part}/{layer}/kernel",
                f"{theirs}.{number}.{their}.{layer[0]}.weight",
                linear,
            )
            for layer in ("query", "key", "value", "out")
        ]
    return table + [
        Row(f"{ours}/{part}_norm/scale", f"{theirs}.{number}.layer_norm.weight")
        for number, part in enumerate((*parts, "feed_forward"))
    ]


def _ignored(table):
    return [Ignored(row.theirs) for row in table]


def inputs(model: nn.Module) -> tuple[jax.ShapeDtypeStruct, ...]:
    """Smallest input of `init`: one token a side."""
    token = jax.ShapeDtypeStruct((1, 1), jnp.int32)
    return (token,) if not isinstance(model, t5.T5) else (token, token)


def outputs(
    model: nn.Module, variables: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Outputs of the reference by its names, from its inputs.

    Args:
        model: a `T5` or `T5Encoder`.
        variables: its parameters.
        given: "input_ids", and "attention_mask", "decoder_input_ids" or
            "decoder_attention_mask".
    """
    numbers = {k: jnp.asarray(np.asarray(x), jnp.int32) for k, x in given.items()}
    return _run(model, variables, numbers)


@partial(jax.jit, static_argnums=0)
def _run(model, variables, given):
    mask = lambda name: given[name].astype(bool) if name in given else None
    apply = partial(model.apply, variables, mutable=["intermediates"])
    if not isinstance(model, t5.T5):
        answer, state = apply(given["input_ids"], mask("attention_mask"))
        inner = bert_outputs.inner(state["intermediates"]["encoder"], model.depth)
        return {"last_hidden_state": answer} | inner
    answer, state = apply(
        given["input_ids"],
        given["decoder_input_ids"],
        mask("attention_mask"),
        mask("decoder_attention_mask"),
    )
    return bert_outputs.two_sides(
        answer,
        state["intermediates"],
        {"encoder": model.depth, "decoder": model.decoder_blocks},
    )


def _v1_0(width, depth, heads, hidden, **more):
    return {
        "architectures": ["T5ForConditionalGeneration"],
        "model_type": "t5",
        "d_model": width,
        "num_layers": depth,
        "num_heads": heads,
        "d_ff": hidden,
        **more,
    }


def _v1_1(width, depth, heads, hidden, **more):
    gated = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
    return _v1_0(width, depth, heads, hidden, **gated, **more)


_MT5 = {
    "architectures": ["MT5ForConditionalGeneration"],
    "model_type": "mt5",
    "vocab_size": 250112,
}
_SIZES_V1_1 = {
    "small": (512, 8, 6, 1024),
    "base": (768, 12, 12, 2048),
    "large": (1024, 24, 16, 2816),
    "xl": (2048, 24, 32, 5120),
    "xxl": (4096, 24, 64, 10240),
}
FAMILY = Family(
    name="transformers/t5",
    classes=tuple(network + end for network in ("T5", "MT5") for end in _ENDS),
    build=build,
    rows=rows,
    inputs=inputs,
    outputs=outputs,
    sizes={
        "t5-small": _v1_0(512, 6, 8, 2048),
        "t5-base": _v1_0(768, 12, 12, 3072),
        "t5-large": _v1_0(1024, 24, 16, 4096),
        "t5-3b": _v1_0(1024, 24, 32, 16384, d_kv=128),
        "t5-11b": _v1_0(1024, 24, 128, 65536, d_kv=128),
    }
    | {
        f"google/{name}-{size}": _v1_1(*numbers)
        for name in ("t5-v1_1", "flan-t5")
        for size, numbers in _SIZES_V1_1.items()
    }
    | {
        f"google/mt5-{size}": _v1_1(*numbers) | _MT5
        for size, numbers in _SIZES_V1_1.items()
    },
    licence="Apache-2.0",
    source="https://huggingface.co/google",
)
