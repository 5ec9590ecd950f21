"""What the tables of BERT, RoBERTa and DistilBERT share.

encoder = bert.Bert(**encoder_fields(config, bert.Bert))
rows = encoder_rows("params/encoder", "bert.")
outputs(model, variables, {"input_ids": ids, "attention_mask": mask})
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from jaxml.models.language import bert, bert_heads
from jaxml.zoo.rows import Alias, Ignored, Line, Row, Tied, linear

__all__ = [
    "activation",
    "classes_of",
    "classifier_rows",
    "decoder_rows",
    "dense",
    "encoder_fields",
    "encoder_of",
    "encoder_rows",
    "head_of",
    "norm",
    "prefix_alias",
    "refuse_decoder",
    "with_head",
]

_ACTIVATIONS = {
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_python": "gelu",
}
_FIELDS = {  # of the encoder -> name in config.json
    "vocab_size": "vocab_size",
    "width": "hidden_size",
    "depth": "num_hidden_layers",
    "heads": "num_attention_heads",
    "hidden": "intermediate_size",
    "max_positions": "max_position_embeddings",
    "type_vocab_size": "type_vocab_size",
    "epsilon": "layer_norm_eps",
    "dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
    "activation": "hidden_act",
}


def activation(name: str) -> str:
    """The name in `jaxml.nn.activations` of one in transformers.

    >>> activation("gelu_new"), activation("relu")
    ('gelu_tanh', 'relu')
    """
    return _ACTIVATIONS.get(name, name)


def classes_of(config: Mapping[str, Any]) -> int:
    """How many classes a configuration names; transformers takes two if none."""
    if config.get("id2label"):
        return len(config["id2label"])
    return int(config.get("num_labels", 2))


def refuse_decoder(config: Mapping[str, Any]) -> None:
    """Refuse a network turned into a decoder, which reads the past only.

    Raises:
        ValueError: if the configuration asks for it.
    """
    if config.get("is_decoder") or config.get("add_cross_attention"):
        raise ValueError(
            "is_decoder and add_cross_attention must be false: this is the encoder"
        )
    kind = config.get("position_embedding_type", "absolute")
    if kind != "absolute":
        raise ValueError(f"position_embedding_type must be absolute; got {kind!r}")


def encoder_fields(
    config: Mapping[str, Any], names: Mapping[str, str] = _FIELDS
) -> dict[str, Any]:
    """Fields of the encoder that a configuration gives.

    Args:
        config: as config.json has it.
        names: field of the encoder -> name in the configuration.
    """
    fields = {ours: config[name] for ours, name in names.items() if name in config}
    if "activation" in fields:
        fields["activation"] = activation(fields["activation"])
    return fields


def with_head(
    encoder: nn.Module,
    head: Any,
    config: Mapping[str, Any],
    *,
    options: Mapping[str, Any],
    single: Any = bert_heads.SequenceClassification,
) -> nn.Module:
    """The encoder under a head with as many classes as the configuration names.

    Args:
        encoder: the encoder.
        head: class of the head; None for the encoder alone.
        config: as config.json has it.
        options: fields of the head; those that it does not have are left out.
        single: class of the classifier that judges one choice of several.
    """
    if head is None:
        return encoder
    given = {"num_classes": classes_of(config), **options}
    if given.get("dropout") is None:
        given.pop("dropout", None)
    if head is bert_heads.MultipleChoice:
        given["num_classes"] = 1
        return head(with_head(encoder, single, config, options=given))
    known = head.__dataclass_fields__
    return head(encoder, **{k: v for k, v in given.items() if k in known})


def encoder_of(model: nn.Module) -> tuple[Any, str]:
    """The encoder of a model, and the path of its parameters."""
    if isinstance(model, bert.Bert):
        return model, "params"
    head, path = head_of(model)
    return head.encoder, f"{path}/encoder"


def head_of(model: nn.Module) -> tuple[Any, str]:
    """The head of a model, and the path of its parameters."""
    if isinstance(model, bert_heads.MultipleChoice):
        return model.classifier, "params/classifier"
    return model, "params"


def dense(ours: str, theirs: str) -> list[Row]:
    """Rows of a dense layer."""
    return [
        Row(f"{ours}/kernel", f"{theirs}.weight", linear),
        Row(f"{ours}/bias", f"{theirs}.bias"),
    ]


def norm(ours: str, theirs: str) -> list[Row]:
    """Rows of a LayerNorm."""
    return [
        Row(f"{ours}/scale", f"{theirs}.weight"),
        Row(f"{ours}/bias", f"{theirs}.bias"),
    ]


def encoder_rows(path: str, prefix: str) -> list[Line]:
    """Rows of words, positions and blocks as BERT and RoBERTa name them.

    Args:
        path: of the encoder's parameters.
        prefix: of its tensors, with the dot, or nothing.
    """
    ours, theirs = f"{path}/layers_{{i}}", f"{prefix}encoder.layer.{{i}}"
    table: list[Line] = [
        Row(
            f"{path}/embeddings/{name}_embeddings/embedding",
            f"{prefix}embeddings.{name}_embeddings.weight",
        )
        for name in ("word", "position")
    ]
    table += norm(f"{path}/embeddings/norm", f"{prefix}embeddings.LayerNorm")
    for name in ("query", "key", "value"):
        table += dense(f"{ours}/attention/{name}", f"{theirs}.attention.self.{name}")
    return [
        *table,
        *dense(f"{ours}/attention/out", f"{theirs}.attention.output.dense"),
        *norm(f"{ours}/attention_norm", f"{theirs}.attention.output.LayerNorm"),
        *dense(f"{ours}/feed_forward/up", f"{theirs}.intermediate.dense"),
        *dense(f"{ours}/feed_forward/down", f"{theirs}.output.dense"),
        *norm(f"{ours}/feed_forward_norm", f"{theirs}.output.LayerNorm"),
    ]


def prefix_alias(network: str, bare: bool) -> Alias:
    """A file of a bare encoder read by a head, or the other way round.

    Args:
        network: its name, the prefix in a file with a head.
        bare: whether the network to be read is the bare encoder.
    """
    if bare:
        return Alias(rf"^{network}\.", "")
    return Alias(r"^(embeddings|encoder|transformer|pooler)\.", rf"{network}.\1.")


def decoder_rows(model: Any, theirs: str, bias: str, embeddings: str) -> list[Line]:
    """Rows of the scores of the words: a copy of the table, or their own kernel.

    Args:
        model: a head with a field `tied`.
        theirs: prefix of the layer in the file.
        bias: name of the bias, in the layer or beside it.
        embeddings: prefix of the embeddings in the file.
    """
    table: list[Line] = [
        Tied(f"{theirs}.weight", f"{embeddings}.word_embeddings.weight")
        if model.tied
        else Row("params/head/decoder/kernel", f"{theirs}.weight", linear)
    ]
    own = f"{theirs}.bias"
    if bias == own:
        return [*table, Row("params/head/bias", own)]
    if model.tied:
        return [*table, Row("params/head/bias", bias), Tied(own, bias)]
    # Untied, the bias of the layer counts; the other may be a copy or left over.
    return [*table, Row("params/head/bias", own), Tied(bias, own), Ignored(bias)]


def classifier_rows(model: nn.Module) -> list[Line]:
    """Rows of the last layer of the heads that classify, if it is one of them."""
    if isinstance(model, bert.Bert):
        return []
    head, path = head_of(model)
    answers = isinstance(head, bert_heads.QuestionAnswering)
    return list(dense(f"{path}/classifier", "qa_outputs" if answers else "classifier"))
