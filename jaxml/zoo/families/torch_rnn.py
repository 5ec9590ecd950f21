"""Recurrent stacks of torch: `nn.RNN`, `nn.LSTM` and `nn.GRU`.

    model = FAMILY.build(builder.parse("nn.LSTM(6, 8, num_layers=2)"), "LSTM")
    outputs, carry = model.apply(variables, x)

Gates stand in torch's order in both, so that a kernel is a transpose. An LSTM's carry
is (hidden, memory) for each layer and direction, where torch stacks each of the two.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxml.models.sequence import rnn
from jaxml.zoo.builder import called
from jaxml.zoo.family import Family
from jaxml.zoo.rows import Line, Row, linear, same

__all__ = ["FAMILY"]

_ORDER = ("num_layers", "bias", "batch_first", "dropout", "bidirectional", "proj_size")


def build(config: Mapping[str, Any], name: str) -> nn.Module:
    """The stack that a call of torch makes.

    Args:
        config: `{"builder": "nn.LSTM", "args": [6, 8], "kwargs": {...}}`.
        name: "RNN", "LSTM" or "GRU".

    Raises:
        ValueError: the stack projects its hidden state, which ours does not.
    """
    _, args, kwargs = called(config)
    order: tuple[str, ...] = ("input_size", "hidden_size", *_ORDER)
    if name == "RNN":
        order = (*order[:3], "nonlinearity", *order[3:])
    given = dict(zip(order, args, strict=False)) | kwargs
    if given.get("proj_size"):
        raise ValueError(f"proj_size must be 0; got {given['proj_size']}")
    relu = name == "RNN" and given.get("nonlinearity", "tanh") == "relu"
    return rnn.stack(
        "relu_rnn" if relu else name.lower(),
        use_bias=given.get("bias", True),
        features=given["hidden_size"],
        inputs=given["input_size"],
        layers=given.get("num_layers", 1),
        bidirectional=given.get("bidirectional", False),
        dropout=given.get("dropout", 0.0),
        time_major=not given.get("batch_first", False),
    )


def rows(model: nn.Module) -> list[Line]:
    """Names of the weights of each layer and direction."""
    lines: list[Line] = []
    for ours, theirs in (("forward", ""), ("backward", "_reverse")):
        for kind, change in (("kernel", linear), ("bias", same)):
            word = "weight" if kind == "kernel" else "bias"
            for source, letter in (("input", "i"), ("hidden", "h")):
                lines.append(
                    Row(
                        f"params/{ours}_{{i}}/{source}_{kind}",
                        f"{word}_{letter}h_l{{i}}{theirs}",
                        change,
                    )
                )
    return lines


def inputs(model: Any) -> tuple:
    """One step of one row."""
    return (jax.ShapeDtypeStruct((1, 1, model.inputs), jnp.float32),)


def outputs(
    model: nn.Module, variables: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Outputs `out` and last states `h` (of an LSTM `h.0` and `h.1`) for `x`.

    `lengths`, if given, stand for a packed sequence.
    """
    found = _run(model, variables, given["x"], given.get("lengths"))
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *found.carry)
    if isinstance(stacked, tuple):
        return {"out": found.outputs, "h.0": stacked[0], "h.1": stacked[1]}
    return {"out": found.outputs, "h": stacked}


@partial(jax.jit, static_argnums=0)
def _run(model, variables, x, lengths):
    return model.apply(variables, x, lengths=lengths)


FAMILY = Family("torch/rnn", ("RNN", "LSTM", "GRU"), build, rows, inputs, outputs)
