"""What the tables of the causal language models share.

network, path = network_of(model)                # below a classifier or not
outputs(model, variables, {"input_ids": ids, "attention_mask": mask})
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxml.models.language import causal
from jaxml.zoo.rows import Line, Row, linear

__all__ = [
    "activation",
    "classifier_rows",
    "inputs",
    "network_of",
    "norm",
    "outputs",
    "with_head",
]

_ACTIVATIONS = {
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
}


def activation(name: str) -> str:
    """The name in `jaxml.nn.activations` of one in transformers.

    >>> activation("gelu_new"), activation("silu")
    ('gelu_tanh', 'silu')
    """
    return _ACTIVATIONS.get(name, name)


def norm(ours: str, theirs: str) -> list[Line]:
    """Rows of a LayerNorm."""
    return [
        Row(f"{ours}/scale", f"{theirs}.weight"),
        Row(f"{ours}/bias", f"{theirs}.bias"),
    ]


def with_head(network: nn.Module, config: Mapping[str, Any], name: str) -> nn.Module:
    """The network of a class: with its head, without, or under a classifier.

    Args:
        network: the causal model.
        config: as config.json has it.
        name: of the class in transformers.
    """
    if name.endswith(("ForCausalLM", "LMHeadModel")):
        return network
    network = network.clone(head=False)
    if not name.endswith("ForSequenceClassification"):
        return network
    # transformers takes two classes where a configuration names none.
    return causal.Classifier(network, len(config.get("id2label") or "01"))


def network_of(model: nn.Module) -> tuple[Any, str]:
    """The causal model, and the path of its parameters."""
    if isinstance(model, causal.Classifier):
        return model.network, "params/network"
    return model, "params"


def classifier_rows(model: nn.Module) -> list[Line]:
    """Rows of the classifier, if the model is one."""
    if not isinstance(model, causal.Classifier):
        return []
    return [Row("params/classifier/kernel", "score.weight", linear)]


def inputs(model: nn.Module) -> tuple[jax.ShapeDtypeStruct, ...]:
    """Smallest input of `init`: the ids of one token."""
    return (jax.ShapeDtypeStruct((1, 1), jnp.int32),)


def outputs(
    model: nn.Module,
    variables: Mapping[str, Any],
    given: Mapping[str, Any],
    routers: Callable | None = None,
) -> dict[str, Any]:
    """Outputs of the reference by its names, from its inputs.

    Args:
        model: a causal model or a classifier on one.
        variables: its parameters.
        given: "input_ids", and "attention_mask" or "position_ids".
        routers: makes further outputs of what the routers of experts sowed, a function
            of (network, sown, mask).

    Raises:
        ValueError: if something else is given.
    """
    unknown = set(given) - {"input_ids", "attention_mask", "position_ids"}
    if unknown:
        raise ValueError(f"inputs that this network does not know: {sorted(unknown)}")
    numbers = {k: np.asarray(x).astype(np.int32) for k, x in given.items()}
    if "position_ids" not in numbers:
        numbers["position_ids"] = _positions(**numbers)
    answer, seen, more = _run(model, variables, numbers, routers)
    if not isinstance(answer, causal.CausalOutput):
        return {"logits": answer}
    found = {"last_hidden_state": answer.last_hidden_state}
    if answer.logits is not None:
        found["logits"] = answer.logits
        # Of a large vocabulary the vectors keep a sample, and sums.
        found["logits_sample"] = answer.logits[..., ::37]
        total = np.asarray(answer.logits, np.float64).sum(-1)
        found["logits_sum"] = total.astype(np.float32)
    return found | _inner(seen, model.depth) | more


def _inner(seen, depth):
    """Hidden states and attentions, of blocks in a loop or scanned."""
    found = {f"hidden_states.{i}": x for i, x in enumerate(seen["hidden_states"])}
    for i in range(depth):
        if "layers" in seen:
            weights = seen["layers"]["attention"]["attention"][0][i]
        else:
            weights = seen[f"layers_{i}"]["attention"]["attention"][0]
        found[f"attentions.{i}"] = weights
    return found


def _positions(input_ids, attention_mask=None):
    """Those of transformers without a mask; real tokens are counted, as in `generate`.

    For padding on the right both are the same at every token that counts.
    """
    place = np.broadcast_to(np.arange(input_ids.shape[1]), input_ids.shape)
    if attention_mask is None:
        return place.astype(np.int32)
    counted = np.cumsum(attention_mask, 1) - 1
    return np.where(attention_mask != 0, counted, place).astype(np.int32)


@partial(jax.jit, static_argnums=(0, 3))
def _run(model, variables, given, routers):
    mask = given.get("attention_mask")
    mask = None if mask is None else mask.astype(bool)
    answer, state = model.apply(
        variables,
        given["input_ids"],
        mask,
        given["position_ids"],
        mutable=["intermediates", "router"],
    )
    more = routers(model, state["router"], mask) if routers is not None else {}
    return answer, state.get("intermediates", {}), more
