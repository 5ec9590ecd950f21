"""What the tables of ViT, DeiT and DINOv2 share, in whichever library.

fields = encoder_fields(config)                    # of a config.json
table = embedding_rows(path, prefix) + block_rows(path, "encoder.layer.{i}", names)
answer, seen = run(model, variables, images(given))
outputs = {"logits": answer} | inner(seen, depth)
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxml.zoo.rows import Alias, Change, Line, Row, conv, linear, linear_split, split

__all__ = [
    "activation",
    "classes_of",
    "dense",
    "embedding_rows",
    "encoder_fields",
    "first",
    "fused",
    "images",
    "inner",
    "inputs",
    "norm",
    "pair",
    "prefix_alias",
    "run",
    "separate",
]

first = Change(lambda x: x[0], lambda x: x[None])  # [1, t, d] -> [t, d]
_ACTIVATIONS = {
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_python": "gelu",
}


def activation(name: str) -> str:
    """The name in `jaxml.nn.activations` of one in transformers.

    >>> activation("gelu_new"), activation("quick_gelu")
    ('gelu_tanh', 'quick_gelu')
    """
    return _ACTIVATIONS.get(name, name)


def classes_of(config: Mapping[str, Any]) -> int:
    """How many classes a config.json names; transformers takes two if none."""
    if config.get("id2label"):
        return len(config["id2label"])
    return int(config.get("num_labels", 2))


def pair(size: int | Sequence[int]) -> tuple[int, int]:
    """Height and width, of one number or of two.

    >>> pair(224), pair([24, 40])
    ((224, 224), (24, 40))
    """
    if isinstance(size, int):
        return size, size
    height, width = size
    return height, width


def encoder_fields(config: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of `ViT` that the config.json of ViT, DeiT and DINOv2 all have.

    Args:
        config: as the file has it; what is missing is the default of transformers.
    """
    return {
        "image_size": pair(config.get("image_size", 224)),
        "patch_size": pair(config.get("patch_size", 16)),
        "channels": config.get("num_channels", 3),
        "width": config.get("hidden_size", 768),
        "depth": config.get("num_hidden_layers", 12),
        "heads": config.get("num_attention_heads", 12),
        "qkv_bias": config.get("qkv_bias", True),
        "activation": activation(config.get("hidden_act", "gelu")),
        "epsilon": config.get("layer_norm_eps", 1e-12),
        "dropout": config.get("hidden_dropout_prob", 0.0),
        "attention_dropout": config.get("attention_probs_dropout_prob", 0.0),
    }


def dense(ours: str, theirs: str, *, bias: bool = True) -> list[Line]:
    """Rows of a dense layer."""
    rows: list[Line] = [Row(f"{ours}/kernel", f"{theirs}.weight", linear)]
    return [*rows, Row(f"{ours}/bias", f"{theirs}.bias")] if bias else rows


def norm(ours: str, theirs: str) -> list[Line]:
    """Rows of a LayerNorm."""
    return [
        Row(f"{ours}/scale", f"{theirs}.weight"),
        Row(f"{ours}/bias", f"{theirs}.bias"),
    ]


def separate(ours: str, theirs: Sequence[str], *, bias: bool = True) -> list[Line]:
    """Rows of query, key and value, each a tensor of its own.

    Args:
        ours: path of the attention.
        theirs: names of the three layers.
        bias: whether they have a bias.
    """
    rows: list[Line] = []
    for name, layer in zip(("query", "key", "value"), theirs, strict=True):
        rows += dense(f"{ours}/{name}", layer, bias=bias)
    return rows


def fused(ours: str, weight: str, bias: str | None) -> list[Line]:
    """Rows of query, key and value in one tensor.

    Args:
        ours: path of the attention.
        weight: name of the kernel.
        bias: name of the bias; None if there is none.
    """
    of = lambda leaf: tuple(f"{ours}/{x}/{leaf}" for x in ("query", "key", "value"))
    rows: list[Line] = [Row(of("kernel"), weight, linear_split(3))]
    return rows if bias is None else [*rows, Row(of("bias"), bias, split(3))]


def embedding_rows(path: str, encoder: Any, names: Mapping[str, str]) -> list[Line]:
    """Rows of what stands before the blocks, and of the last norm.

    Args:
        path: of the encoder's parameters.
        encoder: a `ViT`.
        names: theirs of "patch_embedding", "position_embedding", "norm", of the tokens
            and perhaps of "pre_norm", "mask_token" and "register_tokens".
    """
    patch = names["patch_embedding"]
    rows: list[Line] = [
        Row(f"{path}/patch_embedding/kernel", f"{patch}.weight", conv),
        Row(f"{path}/position_embedding", names["position_embedding"], first),
    ]
    if encoder.patch_bias:
        rows.append(Row(f"{path}/patch_embedding/bias", f"{patch}.bias"))
    learned = [*encoder.tokens, *["register_tokens"] * bool(encoder.registers)]
    rows += [Row(f"{path}/{name}", names[name], first) for name in learned]
    if encoder.pre_norm:
        rows += norm(f"{path}/pre_norm", names["pre_norm"])
    if encoder.final_norm:
        rows += norm(f"{path}/norm", names["norm"])
    return rows


def prefix_alias(network: str, bare: bool) -> Alias:
    """A file of a bare encoder read by a head, or the other way round.

    Args:
        network: its name, the prefix in a file with a head.
        bare: whether the network to be read is the bare encoder.
    """
    if bare:
        return Alias(rf"^{network}\.", "")
    return Alias(r"^(embeddings|encoder|layernorm|pooler)\.", rf"{network}.\1.")


def images(given: Mapping[str, Any]) -> Float[Array, "b h w c"]:
    """The images among inputs by the names of a reference, channels last.

    Raises:
        ValueError: if there are others, or none.
    """
    if set(given) not in ({"pixel_values"}, {"x"}):
        raise ValueError(f"inputs must be pixel_values or x; got {sorted(given)}")
    (x,) = given.values()
    return jnp.asarray(np.asarray(x, np.float32).transpose(0, 2, 3, 1))


def inputs(model: nn.Module) -> tuple[jax.ShapeDtypeStruct, ...]:
    """Smallest input of `init`: an image of one patch."""
    encoder: Any = getattr(model, "encoder", model)
    shape = (1, *encoder.patch_size, encoder.channels)
    return (jax.ShapeDtypeStruct(shape, jnp.float32),)


@partial(jax.jit, static_argnums=0)
def run(model: nn.Module, variables: Any, *given: Any) -> tuple[Any, Any]:
    """What a network answers, and what it sows."""
    answer, state = model.apply(variables, *given, mutable=["intermediates"])
    return answer, state["intermediates"]


def inner(seen: Mapping[str, Any], depth: int) -> dict[str, Any]:
    """Hidden states and attentions by the names of the reference.

    Args:
        seen: intermediates of one stack of blocks, looped or scanned.
        depth: how many blocks it has.
    """
    found = {f"hidden_states.{i}": x for i, x in enumerate(seen["hidden_states"])}
    for i in range(depth):
        scanned = "layers" in seen
        weights = seen["layers" if scanned else f"layers_{i}"]["attention"]
        weights = weights["attention"][0]
        found[f"attentions.{i}"] = weights[i] if scanned else weights
    return found
