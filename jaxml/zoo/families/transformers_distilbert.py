"""DistilBERT as the transformers library writes it.

model = FAMILY.build(config, "DistilBertForMaskedLM")
rows = FAMILY.rows(model)
outputs = FAMILY.outputs(model, variables, {"input_ids": ids})
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from jaxml.models.language import bert_heads, distilbert
from jaxml.zoo.families import bert_outputs, bert_parts
from jaxml.zoo.families.bert_parts import dense, norm
from jaxml.zoo.family import Family
from jaxml.zoo.rows import Ignored, Line, Row

__all__ = ["FAMILY"]

_HEADS: dict[str, Any] = {
    "DistilBertModel": None,
    "DistilBertForMaskedLM": bert_heads.MaskedLM,
    "DistilBertForSequenceClassification": distilbert.DistilBertClassification,
    "DistilBertForMultipleChoice": bert_heads.MultipleChoice,
    "DistilBertForTokenClassification": bert_heads.TokenClassification,
    "DistilBertForQuestionAnswering": bert_heads.QuestionAnswering,
}
_FIELDS = {  # of the encoder -> name in config.json
    "vocab_size": "vocab_size",
    "width": "dim",
    "depth": "n_layers",
    "heads": "n_heads",
    "hidden": "hidden_dim",
    "max_positions": "max_position_embeddings",
    "dropout": "dropout",
    "attention_dropout": "attention_dropout",
    "activation": "activation",
}
_LM_HEAD = (
    "vocab_transform.weight",
    "vocab_transform.bias",
    "vocab_layer_norm.weight",
    "vocab_layer_norm.bias",
    "vocab_projector.weight",
    "vocab_projector.bias",
)


def build(config: Mapping[str, Any], name: str) -> nn.Module:
    """The network of a config.json.

    Args:
        config: as the file has it.
        name: of the class in transformers.
    """
    head = _HEADS[name]
    text = config.get("seq_classif_dropout", 0.2)
    dropout = {
        distilbert.DistilBertClassification: text,
        bert_heads.MultipleChoice: text,
        bert_heads.QuestionAnswering: config.get("qa_dropout", 0.1),
    }
    return bert_parts.with_head(
        distilbert.DistilBert(**bert_parts.encoder_fields(config, _FIELDS)),
        head,
        config,
        options={
            "dropout": dropout.get(head),
            "tied": config.get("tie_word_embeddings", True),
        },
        single=distilbert.DistilBertClassification,
    )


def rows(model: nn.Module) -> list[Line]:
    """The table of names of one network."""
    encoder, path = bert_parts.encoder_of(model)
    prefix = "" if encoder is model else "distilbert."
    embeddings = f"{prefix}embeddings"
    ours, theirs = f"{path}/layers_{{i}}", f"{prefix}transformer.layer.{{i}}"
    table: list[Line] = [
        Row(
            f"{path}/embeddings/{name}_embeddings/embedding",
            f"{embeddings}.{name}_embeddings.weight",
        )
        for name in ("word", "position")
    ]
    for our, their in (("query", "q"), ("key", "k"), ("value", "v"), ("out", "out")):
        table += dense(f"{ours}/attention/{our}", f"{theirs}.attention.{their}_lin")
    table += [
        *norm(f"{path}/embeddings/norm", f"{embeddings}.LayerNorm"),
        *norm(f"{ours}/attention_norm", f"{theirs}.sa_layer_norm"),
        *dense(f"{ours}/feed_forward/up", f"{theirs}.ffn.lin1"),
        *dense(f"{ours}/feed_forward/down", f"{theirs}.ffn.lin2"),
        *norm(f"{ours}/feed_forward_norm", f"{theirs}.output_layer_norm"),
        Ignored(f"{embeddings}.position_ids"),
        bert_parts.prefix_alias("distilbert", encoder is model),
    ]
    if isinstance(model, bert_heads.MaskedLM):
        return [
            *table,
            *dense("params/head/transform", "vocab_transform"),
            *norm("params/head/norm", "vocab_layer_norm"),
            *bert_parts.decoder_rows(
                model, "vocab_projector", "vocab_projector.bias", embeddings
            ),
        ]
    table += [Ignored(name) for name in _LM_HEAD]
    head, root = bert_parts.head_of(model)
    if isinstance(head, distilbert.DistilBertClassification):
        table += dense(f"{root}/dense", "pre_classifier")
    return table + bert_parts.classifier_rows(model)


_BASE = {
    "architectures": ["DistilBertForMaskedLM"],
    "model_type": "distilbert",
    "vocab_size": 30522,
    "dim": 768,
    "n_layers": 6,
    "n_heads": 12,
    "hidden_dim": 3072,
    "max_position_embeddings": 512,
}
FAMILY = Family(
    name="transformers/distilbert",
    classes=tuple(_HEADS),
    build=build,
    rows=rows,
    inputs=bert_outputs.inputs,
    outputs=bert_outputs.outputs,
    licence="Apache-2.0",
    source="https://huggingface.co/distilbert",
    sizes={
        "distilbert-base-uncased": _BASE,
        "distilbert-base-cased": _BASE | {"vocab_size": 28996},
        "distilbert-base-multilingual-cased": _BASE | {"vocab_size": 119547},
    },
)
