"""`torch.nn.Sequential` of the common layers, from the expression that makes it."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxml.models.vision.sequential import KNOWN, Sequential
from jaxml.zoo import builder, table
from jaxml.zoo.family import Family
from jaxml.zoo.table import Ignored, Row

__all__ = ["FAMILY"]


def build(config: Mapping[str, Any], name: str) -> Sequential:
    """The network of "nn.Sequential(nn.Linear(4, 8), ...)", parsed.

    Raises:
        ValueError: a layer that is not among `KNOWN`.
    """
    layers = []
    for layer in config["args"]:
        kind = layer["builder"].rpartition(".")[2]
        if kind not in KNOWN:
            raise ValueError(f"a layer must be one of {', '.join(KNOWN)}; got {kind}")
        layers.append((kind, tuple(layer["args"]), tuple(layer["kwargs"].items())))
    return Sequential(tuple(layers))


def rows(model: Sequential) -> list[table.Line]:
    """The table of one network: by the place of each layer."""
    lines: list[table.Line] = []
    for n, (kind, _, _) in enumerate(model.layers):
        ours = f"params/layer_{n}"
        if kind in ("Linear", "Conv2d"):
            change = table.linear if kind == "Linear" else table.conv
            lines.append(Row(f"{ours}/kernel", f"{n}.weight", change))
            lines.append(Row(f"{ours}/bias", f"{n}.bias"))
        elif kind in ("BatchNorm1d", "BatchNorm2d", "LayerNorm"):
            lines.append(Row(f"{ours}/scale", f"{n}.weight"))
            lines.append(Row(f"{ours}/bias", f"{n}.bias"))
        if kind.startswith("BatchNorm"):
            stats = f"batch_stats/layer_{n}"
            lines.append(Row(f"{stats}/mean", f"{n}.running_mean"))
            lines.append(Row(f"{stats}/var", f"{n}.running_var"))
            lines.append(Ignored(f"{n}.num_batches_tracked"))
    return lines


def inputs(model: Sequential) -> tuple[jax.ShapeDtypeStruct, ...]:
    """One row or image of the size that the first layer with parameters takes."""
    for kind, args, _ in model.layers:
        if kind == "Linear":
            return (jax.ShapeDtypeStruct((1, args[0]), jnp.float32),)
        if kind == "Conv2d":
            # the images of LeNet; a head after `Flatten` fixes the size
            return (jax.ShapeDtypeStruct((1, 28, 28, args[0]), jnp.float32),)
    raise ValueError("a Sequential must have a Linear or a Conv2d layer")


def outputs(
    model: Sequential, variables: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """The reference's outputs from its inputs."""
    x = jnp.asarray(given["x"])
    if x.ndim == 4:
        x = x.transpose(0, 2, 3, 1)
    return {"out": jax.jit(model.apply)(variables, x)}


LENET5 = """nn.Sequential(
    nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2),
    nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2),
    nn.Conv2d(16, 120, 5), nn.Tanh(), nn.Flatten(),
    nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10))"""

FAMILY = Family(
    "torch/sequential",
    ("Sequential",),
    build,
    rows,
    inputs,
    outputs,
    sizes={"lenet5": builder.parse(LENET5)},
)
