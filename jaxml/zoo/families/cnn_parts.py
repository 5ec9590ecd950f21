"""What the tables of convolutional networks share.

rows = [*kernel("conv1", "conv1"), *batch_norm("bn1", "bn1"), *dense("fc", "fc")]
states, answer = run(model, variables, {"x": images})
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxml.zoo.rows import Alias, Change, Ignored, Line, Row, conv, linear

__all__ = [
    "activation",
    "batch_norm",
    "classes_of",
    "conv_norm",
    "dense",
    "excitation",
    "headless",
    "hugging_face",
    "inputs",
    "kernel",
    "layer_norm",
    "pointwise",
    "refuse",
    "run",
    "timm",
    "timm_options",
]

_ACTIVATIONS: dict[str, Callable] = {
    "relu": nn.relu,
    "relu6": jax.nn.relu6,
    "silu": nn.silu,
    "swish": nn.silu,
    "gelu": partial(nn.gelu, approximate=False),
    "gelu_new": partial(nn.gelu, approximate=True),
    "leaky_relu": nn.leaky_relu,
    "hardswish": jax.nn.hard_swish,
    "tanh": jnp.tanh,
    "sigmoid": nn.sigmoid,
}


def activation(name: str) -> Callable:
    """The function that transformers means by that name.

    Raises:
        ValueError: if there is none.
    """
    if name not in _ACTIVATIONS:
        raise ValueError(f"activation must be one of {list(_ACTIVATIONS)}; got {name}")
    return _ACTIVATIONS[name]


def classes_of(config: Mapping[str, Any]) -> int:
    """How many classes a config.json names; transformers takes two if none."""
    if config.get("id2label"):
        return len(config["id2label"])
    return int(config.get("num_labels", 2))


def refuse(rest: Mapping[str, Any], usual: Mapping[str, Any], network: str) -> None:
    """Refuse arguments that would change the network in a way not written here.

    Args:
        rest: arguments that nothing has read.
        usual: those that may be there all the same, and their only value; None for
            any.
        network: its name, for the message.

    Raises:
        ValueError: naming the arguments.
    """
    strange = {
        name: value
        for name, value in rest.items()
        if name not in usual or usual[name] not in (None, value)
    }
    if strange:
        raise ValueError(f"{network} must have the usual settings; got {strange}")


def kernel(ours: str, theirs: str, change: Change = conv) -> list[Line]:
    """A convolution without bias."""
    return [Row(f"params/{ours}/kernel", f"{theirs}.weight", change)]


def dense(ours: str, theirs: str, change: Change = linear) -> list[Line]:
    """A linear map, or a convolution, with bias."""
    return [
        *kernel(ours, theirs, change),
        Row(f"params/{ours}/bias", f"{theirs}.bias"),
    ]


def layer_norm(ours: str, theirs: str) -> list[Line]:
    """Scale and bias."""
    return [
        Row(f"params/{ours}/scale", f"{theirs}.weight"),
        Row(f"params/{ours}/bias", f"{theirs}.bias"),
    ]


def batch_norm(ours: str, theirs: str) -> list[Line]:
    """Scale, bias and running statistics; torch counts batches too."""
    return [
        *layer_norm(ours, theirs),
        Row(f"batch_stats/{ours}/mean", f"{theirs}.running_mean"),
        Row(f"batch_stats/{ours}/var", f"{theirs}.running_var"),
        Ignored(f"{theirs}.num_batches_tracked"),
    ]


def conv_norm(ours: str, convolution: str, norm: str) -> list[Line]:
    """A `ConvNorm`, whose parts have the names that follow."""
    return [*kernel(f"{ours}/conv", convolution), *batch_norm(f"{ours}/norm", norm)]


# A linear map that the file holds as a 1x1 convolution: [out, in, 1, 1] -> [in, out].
pointwise = Change(
    lambda x: x.reshape(x.shape[:2]).T, lambda x: x.T.reshape(*x.T.shape, 1, 1)
)


def excitation(ours: str, reduce: str, expand: str) -> list[Line]:
    """A `SqueezeExcitation`, whose parts have the names that follow."""
    return [
        *dense(f"{ours}/reduce", reduce, pointwise),
        *dense(f"{ours}/expand", expand, pointwise),
    ]


def headless(prefix: str, *heads: str) -> list[Line]:
    """Lines that let a network without head read the file of one with a head.

    Args:
        prefix: what the names of the whole network begin with, "resnet.".
        heads: names of the layers of the head.
    """
    leaves = [f"{head}.{leaf}" for head in heads for leaf in ("weight", "bias")]
    return [Alias(rf"^{prefix}", ""), *map(Ignored, leaves)]


def inputs(model: nn.Module) -> tuple[jax.ShapeDtypeStruct]:
    """Smallest images that pass through the network."""
    return (jax.ShapeDtypeStruct((1, 32, 32, model.channels or 3), jnp.float32),)


def run(
    model: nn.Module, variables: Mapping[str, Any], given: Mapping[str, Any]
) -> tuple[list[Any], Any]:
    """What the network sows as hidden states, and what it returns; channels first.

    Args:
        model: network of images.
        variables: its variables.
        given: "x" or "pixel_values", [batch, channel, height, width].
    """
    images = given["pixel_values"] if "pixel_values" in given else given["x"]
    return _run(model, variables, jnp.asarray(np.asarray(images)))


@partial(jax.jit, static_argnums=0)
def _run(model, variables, images):
    first = lambda x: x.transpose(0, 3, 1, 2) if x.ndim == 4 else x
    answer, state = model.apply(
        variables, images.transpose(0, 2, 3, 1), mutable=["intermediates"]
    )
    states = state["intermediates"]["hidden_states"]
    return [first(x) for x in states], jax.tree.map(first, answer)


def hugging_face(
    states: Iterable[Any], answer: Any, model: nn.Module, last: Any
) -> dict[str, Any]:
    """Outputs by the names of transformers.

    Args:
        states: hidden states as transformers counts them.
        answer: logits, or pooled features where there is no head.
        model: the network.
        last: last hidden state.
    """
    named = {f"hidden_states.{i}": state for i, state in enumerate(states)}
    if model.num_classes is None:
        return {"last_hidden_state": last, "pooler_output": answer, **named}
    return {"logits": answer, **named}


def timm(
    model: nn.Module, variables: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Outputs by the names of timm and torchvision: features and logits."""
    states, answer = run(model, variables, given)
    return {"features": states[-1], "logits": answer}


def timm_options(
    given: Mapping[str, Any], network: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fields that arguments of timm's networks of inverted residuals mean.

    Args:
        given: arguments by name.
        network: its name, for the message.

    Returns:
        What is left of the arguments, and the fields.

    Raises:
        ValueError: if an argument is not understood.
    """
    names = ("num_classes", "in_chans", "drop_rate", "pad_type", "bn_eps")
    rest = {k: v for k, v in given.items() if k not in names}
    usual: dict[str, Any] = dict.fromkeys(("pretrained", "pretrained_cfg"))
    usual |= {"drop_path_rate": None, "output_stride": None, "global_pool": "avg"}
    refuse(rest, usual, network)
    return {k: v for k, v in rest.items() if k == "output_stride"}, {
        "num_classes": given.get("num_classes", 1000) or None,
        "channels": given.get("in_chans", 3),
        "dropout": given.get("drop_rate", 0.0),
        "padding": given.get("pad_type") or "torch",
        "norm_epsilon": given.get("bn_eps", 1e-5),
    }
