"""BERT as the transformers library writes it.

    model = FAMILY.build(config, "BertForMaskedLM")
    rows = FAMILY.rows(model)
    outputs = FAMILY.outputs(model, variables, {"input_ids": ids})

The files of 2018 name the leaves of the norms gamma and beta, hold the pre-training
heads whatever they are used for, and a copy of the tied decoder: all that is read.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from jaxml.models.language import bert, bert_heads
from jaxml.zoo.families import bert_outputs, bert_parts
from jaxml.zoo.families.bert_parts import dense, norm
from jaxml.zoo.family import Family
from jaxml.zoo.rows import Alias, Ignored, Line, Row, Tied

__all__ = ["FAMILY"]

_HEADS = {  # class -> (head, whether it reads the pooled token)
    "BertModel": (None, True),
    "BertForPreTraining": (bert_heads.PreTraining, True),
    "BertForMaskedLM": (bert_heads.MaskedLM, False),
    "BertForNextSentencePrediction": (bert_heads.NextSentence, True),
    "BertForSequenceClassification": (bert_heads.SequenceClassification, True),
    "BertForMultipleChoice": (bert_heads.MultipleChoice, True),
    "BertForTokenClassification": (bert_heads.TokenClassification, False),
    "BertForQuestionAnswering": (bert_heads.QuestionAnswering, False),
}
# What released files hold beside the part that is asked for.
_PRE_TRAINING = (
    "cls.predictions.bias",
    "cls.predictions.decoder.bias",
    "cls.predictions.decoder.weight",
    "cls.predictions.transform.dense.bias",
    "cls.predictions.transform.dense.weight",
    "cls.predictions.transform.LayerNorm.bias",
    "cls.predictions.transform.LayerNorm.weight",
    "cls.seq_relationship.bias",
    "cls.seq_relationship.weight",
)
_POOLER = ("pooler.dense.bias", "pooler.dense.weight")


def build(config: Mapping[str, Any], name: str) -> nn.Module:
    """The network of a config.json.

    Args:
        config: as the file has it.
        name: of the class in transformers.
    """
    bert_parts.refuse_decoder(config)
    head, pooler = _HEADS[name]
    fields = bert_parts.encoder_fields(config)
    encoder = bert.Bert(**fields, pooler=pooler)
    options = {
        "tied": config.get("tie_word_embeddings", True),
        "dropout": config.get("classifier_dropout"),
    }
    if head is bert_heads.QuestionAnswering:
        options["dropout"] = 0.0
    return bert_parts.with_head(encoder, head, config, options=options)


def rows(model: nn.Module) -> list[Line]:
    """The table of names of one network."""
    encoder, path = bert_parts.encoder_of(model)
    prefix = "" if encoder is model else "bert."
    table: list[Line] = [
        *bert_parts.encoder_rows(path, prefix),
        Row(
            f"{path}/embeddings/token_type_embeddings/embedding",
            f"{prefix}embeddings.token_type_embeddings.weight",
        ),
        Ignored(f"{prefix}embeddings.position_ids"),
        Alias(r"LayerNorm\.gamma$", "LayerNorm.weight"),
        Alias(r"LayerNorm\.beta$", "LayerNorm.bias"),
        bert_parts.prefix_alias("bert", encoder is model),
    ]
    if encoder.pooler:
        table += dense(f"{path}/pooler", f"{prefix}pooler.dense")
    else:
        table += [Ignored(prefix + name) for name in _POOLER]
    table += _head_rows(model)
    named = {line.theirs for line in table if isinstance(line, Row | Tied)}
    return table + [Ignored(name) for name in _PRE_TRAINING if name not in named]


def _head_rows(model) -> list[Line]:
    if isinstance(model, bert_heads.MaskedLM | bert_heads.PreTraining):
        table: list[Line] = [
            *dense("params/head/transform", "cls.predictions.transform.dense"),
            *norm("params/head/norm", "cls.predictions.transform.LayerNorm"),
            *bert_parts.decoder_rows(
                model,
                "cls.predictions.decoder",
                "cls.predictions.bias",
                "bert.embeddings",
            ),
        ]
        if isinstance(model, bert_heads.PreTraining):
            table += dense("params/next_sentence", "cls.seq_relationship")
        return table
    if isinstance(model, bert_heads.NextSentence):
        return list(dense("params/next_sentence", "cls.seq_relationship"))
    return list(bert_parts.classifier_rows(model))


def _sized(depth, width, words=30522):
    return {
        "architectures": ["BertForPreTraining"],
        "model_type": "bert",
        "vocab_size": words,
        "num_hidden_layers": depth,
        "hidden_size": width,
        "num_attention_heads": width // 64,
        "intermediate_size": 4 * width,
    }


FAMILY = Family(
    name="transformers/bert",
    classes=tuple(_HEADS),
    build=build,
    rows=rows,
    inputs=bert_outputs.inputs,
    outputs=bert_outputs.outputs,
    licence="Apache-2.0",
    source="https://huggingface.co/google-bert",
    sizes={
        "bert-base-uncased": _sized(12, 768),
        "bert-base-cased": _sized(12, 768, 28996),
        "bert-large-uncased": _sized(24, 1024),
        "bert-large-cased": _sized(24, 1024, 28996),
        "bert-base-multilingual-cased": _sized(12, 768, 119547),
        "google/bert_uncased_L-2_H-128_A-2": _sized(2, 128),
        "google/bert_uncased_L-4_H-256_A-4": _sized(4, 256),
        "google/bert_uncased_L-4_H-512_A-8": _sized(4, 512),
        "google/bert_uncased_L-8_H-512_A-8": _sized(8, 512),
    },
)
