"""What BERT, RoBERTa and DistilBERT answer, by the names of the reference.

outputs(model, variables, {"input_ids": ids, "attention_mask": mask})
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxml.models.language import bert, bert_heads
from jaxml.zoo.families import bert_parts

__all__ = ["inner", "inputs", "outputs", "two_sides"]


def inputs(model: nn.Module) -> tuple[jax.ShapeDtypeStruct, ...]:
    """Smallest input of `init`: the ids of one token."""
    shape = (1, 1, 1) if isinstance(model, bert_heads.MultipleChoice) else (1, 1)
    return (jax.ShapeDtypeStruct(shape, jnp.int32),)


def outputs(
    model: nn.Module, variables: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Outputs of the reference by its names, from its inputs.

    Args:
        model: an encoder or a head.
        variables: its parameters.
        given: "input_ids", and "attention_mask", "token_type_ids" or "position_ids".
    """
    numbers = {k: jnp.asarray(np.asarray(x), jnp.int32) for k, x in given.items()}
    unknown = set(numbers) - {
        "input_ids",
        "attention_mask",
        "token_type_ids",
        "position_ids",
    }
    if unknown:
        raise ValueError(f"inputs that this network does not know: {sorted(unknown)}")
    answer, seen = _run(model, variables, numbers)
    encoder, path = bert_parts.encoder_of(model)
    for part in path.split("/")[1:]:
        seen = seen[part]
    return _named(answer) | inner(seen, encoder.depth)


@partial(jax.jit, static_argnums=0)
def _run(model, variables, given):
    mask = given.get("attention_mask")
    options = {"positions": given["position_ids"]} if "position_ids" in given else {}
    answer, state = model.apply(
        variables,
        given["input_ids"],
        None if mask is None else mask.astype(bool),
        given.get("token_type_ids"),
        **options,
        mutable=["intermediates"],
    )
    return answer, state["intermediates"]


def _named(answer):
    if isinstance(answer, bert.BertOutput):
        named = {"last_hidden_state": answer.last_hidden_state}
        return (
            named
            if answer.pooled is None
            else {
                **named,
                "pooler_output": answer.pooled,
            }
        )
    if isinstance(answer, bert_heads.PreTrainingOutput):
        return {
            "prediction_logits": answer.words,
            "seq_relationship_logits": answer.next_sentence,
        }
    if isinstance(answer, bert_heads.Span):
        return {"start_logits": answer.start, "end_logits": answer.end}
    return {"logits": answer}


def inner(seen: Mapping[str, Any], depth: int) -> dict[str, Any]:
    """Hidden states and attentions by the names of the reference.

    Args:
        seen: intermediates of one stack of blocks, looped or scanned.
        depth: how many blocks it has.
    """
    states = seen.get("hidden_states", ())
    found = {f"hidden_states.{i}": x for i, x in enumerate(states)}
    parts = (("attention", "attentions"), ("cross_attention", "cross_attentions"))
    for part, name in parts:
        for i in range(depth):
            layer = seen.get(f"layers_{i}", seen.get("layers", {})).get(part)
            if layer is not None:
                weights = layer["attention"][0]
                scanned = "layers" in seen
                found[f"{name}.{i}"] = weights[i] if scanned else weights
    return found


def two_sides(
    answer: Any, seen: Mapping[str, Any], depths: Mapping[str, int]
) -> dict[str, Any]:
    """Outputs of an encoder-decoder by the names of the reference.

    Args:
        answer: logits, last_hidden_state and encoded.
        seen: intermediates of both sides.
        depths: how many blocks each side has, by name.
    """
    named = {
        "logits": answer.logits,
        "last_hidden_state": answer.last_hidden_state,
        "encoder_last_hidden_state": answer.encoded,
    }
    for side, depth in depths.items():
        for name, value in inner(seen[side], depth).items():
            named[name if name.startswith("cross") else f"{side}_{name}"] = value
    return named
