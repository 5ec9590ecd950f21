"""RoBERTa and XLM-RoBERTa as the transformers library writes them.

model = FAMILY.build(config, "RobertaForMaskedLM")
rows = FAMILY.rows(model)
outputs = FAMILY.outputs(model, variables, {"input_ids": ids})
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from jaxml.models.language import bert_heads, roberta
from jaxml.zoo.families import bert_outputs, bert_parts
from jaxml.zoo.families.bert_parts import dense, norm
from jaxml.zoo.family import Family
from jaxml.zoo.rows import Ignored, Line, Row

__all__ = ["FAMILY"]

_HEADS = {  # end of the class's name -> (head, whether it reads the pooled token)
    "Model": (None, True),
    "ForMaskedLM": (bert_heads.MaskedLM, False),
    "ForSequenceClassification": (roberta.RobertaClassification, False),
    "ForMultipleChoice": (bert_heads.MultipleChoice, True),
    "ForTokenClassification": (bert_heads.TokenClassification, False),
    "ForQuestionAnswering": (bert_heads.QuestionAnswering, False),
}
_NETWORKS = ("Roberta", "XLMRoberta")
# What a configuration need not say, and what transformers takes then.
_DEFAULTS = {"max_positions": 512, "type_vocab_size": 2, "epsilon": 1e-12}
_LM_HEAD = (
    "bias",
    "decoder.bias",
    "decoder.weight",
    "dense.bias",
    "dense.weight",
    "layer_norm.bias",
    "layer_norm.weight",
)


def build(config: Mapping[str, Any], name: str) -> nn.Module:
    """The network of a config.json.

    Args:
        config: as the file has it.
        name: of the class in transformers.
    """
    bert_parts.refuse_decoder(config)
    head, pooler = _HEADS[name.removeprefix("XLM").removeprefix("Roberta")]
    fields = _DEFAULTS | bert_parts.encoder_fields(config)
    encoder = roberta.Roberta(
        **fields, pad_id=config.get("pad_token_id", 1), pooler=pooler
    )
    options = {
        # The head for masked words takes the exact GELU, whatever the blocks take.
        "activation": "gelu",
        "tied": config.get("tie_word_embeddings", True),
        "dropout": config.get("classifier_dropout"),
    }
    if head is bert_heads.QuestionAnswering:
        options["dropout"] = 0.0
    return bert_parts.with_head(encoder, head, config, options=options)


def rows(model: nn.Module) -> list[Line]:
    """The table of names of one network."""
    encoder, path = bert_parts.encoder_of(model)
    prefix = "" if encoder is model else "roberta."
    table: list[Line] = [
        *bert_parts.encoder_rows(path, prefix),
        Row(
            f"{path}/embeddings/token_type_embeddings/embedding",
            f"{prefix}embeddings.token_type_embeddings.weight",
        ),
        Ignored(f"{prefix}embeddings.position_ids"),
        Ignored(f"{prefix}embeddings.token_type_ids"),
        bert_parts.prefix_alias("roberta", encoder is model),
    ]
    if encoder.pooler:
        table += dense(f"{path}/pooler", f"{prefix}pooler.dense")
    else:
        table += [
            Ignored(f"{prefix}pooler.dense.{leaf}") for leaf in ("weight", "bias")
        ]
    if isinstance(model, bert_heads.MaskedLM):
        return [
            *table,
            *dense("params/head/transform", "lm_head.dense"),
            *norm("params/head/norm", "lm_head.layer_norm"),
            *bert_parts.decoder_rows(
                model, "lm_head.decoder", "lm_head.bias", "roberta.embeddings"
            ),
        ]
    table += [Ignored(f"lm_head.{name}") for name in _LM_HEAD]
    if isinstance(model, roberta.RobertaClassification):
        table += dense("params/dense", "classifier.dense")
        return table + dense("params/classifier", "classifier.out_proj")
    return table + bert_parts.classifier_rows(model)


_BASE = {
    "architectures": ["RobertaForMaskedLM"],
    "model_type": "roberta",
    "vocab_size": 50265,
    "num_hidden_layers": 12,
    "hidden_size": 768,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
    "pad_token_id": 1,
}
_LARGE = {
    "num_hidden_layers": 24,
    "hidden_size": 1024,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
}
_XLM = {
    "architectures": ["XLMRobertaForMaskedLM"],
    "model_type": "xlm-roberta",
    "vocab_size": 250002,
}
FAMILY = Family(
    name="transformers/roberta",
    classes=tuple(network + end for network in _NETWORKS for end in _HEADS),
    build=build,
    rows=rows,
    inputs=bert_outputs.inputs,
    outputs=bert_outputs.outputs,
    licence="MIT",
    source="https://huggingface.co/FacebookAI",
    sizes={
        "roberta-base": _BASE,
        "roberta-large": _BASE | _LARGE,
        "xlm-roberta-base": _BASE | _XLM,
        "xlm-roberta-large": _BASE | _LARGE | _XLM,
    },
)
