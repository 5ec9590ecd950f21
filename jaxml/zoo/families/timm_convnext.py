"""ConvNeXt and ConvNeXt V2 as timm writes them.

model = FAMILY.build({"architecture": "convnext_tiny"}, "convnext_tiny")
rows = FAMILY.rows(model)
outputs = FAMILY.outputs(model, variables, {"x": images})
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from jaxml.models.vision import convnext
from jaxml.zoo import builder
from jaxml.zoo.families import cnn_parts
from jaxml.zoo.families.cnn_parts import dense, layer_norm, pointwise
from jaxml.zoo.family import Family, Statistics
from jaxml.zoo.rows import Line, Row, conv, linear

__all__ = ["FAMILY"]


class PointwiseConvNeXt(convnext.ConvNeXt):
    """A ConvNeXt whose file holds the linear maps of its blocks as 1x1 convolutions.

    Args:
        depths: as all others, see `ConvNeXt`.
    """


_TINY, _SMALL, _NANO, _ATTO = (3, 3, 9, 3), (3, 3, 27, 3), (2, 2, 8, 2), (2, 2, 6, 2)
_SHAPES: dict[str, tuple[tuple[int, ...], int]] = {  # depths, width of the first stage
    "atto": (_ATTO, 40),
    "femto": (_ATTO, 48),
    "pico": (_ATTO, 64),
    "nano": (_NANO, 80),
    "tiny": (_TINY, 96),
    "small": (_SMALL, 96),
    "base": (_SMALL, 128),
    "large": (_SMALL, 192),
    "xlarge": (_SMALL, 256),
    "huge": (_SMALL, 352),
}
_CONVOLVED = ("atto", "femto", "pico", "nano")


def _arguments(size, second):
    depths, width = _SHAPES[size]
    dims = tuple(width * 2**i for i in range(4))
    given = {"depths": depths, "dims": dims, "conv_mlp": size in _CONVOLVED}
    return {**given, "use_grn": True, "ls_init_value": None} if second else given


_SIZES = {
    **{
        f"convnext_{size}": _arguments(size, False)
        for size in _SHAPES
        if size != "huge"
    },
    **{
        f"convnextv2_{size}": _arguments(size, True)
        for size in _SHAPES
        if size != "xlarge"
    },
}
_USUAL = {
    "pretrained": None,
    "pretrained_cfg": None,
    "drop_rate": None,
    "head_init_scale": None,
    "global_pool": "avg",
    "output_stride": 32,
    "kernel_sizes": 7,
    "stem_type": "patch",
    "head_norm_first": False,
    "head_hidden_size": None,
    "conv_bias": True,
}


def build(config: Mapping[str, Any], name: str) -> nn.Module:
    """The network that a call of timm makes.

    Args:
        config: of `builder.parse`, or {"architecture": ...}.
        name: of the class; the config says more.

    Raises:
        ValueError: if an argument is not understood.
    """
    call = builder.called(config)
    given = {**_SIZES.get(call.name, {}), **call.kwargs}
    if call.args and not config.get("builder", "").endswith("create_model"):
        raise ValueError(f"arguments must be by name; got {call.args}")
    take = given.pop
    if given.get("head_hidden_size"):
        raise ValueError("head_hidden_size must be None: there is no hidden layer")
    make = PointwiseConvNeXt if take("conv_mlp", False) else convnext.ConvNeXt
    epsilon = take("norm_eps", None) or 1e-6
    kind = str(take("act_layer", "gelu"))
    model = make(
        tuple(take("depths", _TINY)),
        tuple(take("dims", (96, 192, 384, 768))),
        num_classes=take("num_classes", 1000) or None,
        block=convnext.BlockV2 if take("use_grn", False) else convnext.Block,
        patch=take("patch_size", 4),
        layer_scale=take("ls_init_value", 1e-6),
        drop_path=take("drop_path_rate", 0.0),
        activation=kind,
        epsilon=epsilon,
        head_epsilon=epsilon,
        channels=take("in_chans", 3),
    )
    cnn_parts.refuse(given, _USUAL, call.name)
    return model


def rows(model: nn.Module) -> list[Line]:
    """The table of names."""
    change = pointwise if isinstance(model, PointwiseConvNeXt) else linear
    table = [*dense("stem_conv", "stem.0", conv), *layer_norm("stem_norm", "stem.1")]
    for i in range(len(model.depths)):
        ours, theirs = f"stage{i}_block{{j}}", f"stages.{i}.blocks.{{j}}"
        table += dense(f"{ours}/depthwise", f"{theirs}.conv_dw", conv)
        table += layer_norm(f"{ours}/norm", f"{theirs}.norm")
        table += dense(f"{ours}/up", f"{theirs}.mlp.fc1", change)
        table += dense(f"{ours}/down", f"{theirs}.mlp.fc2", change)
        table += layer_norm(f"{ours}/response", f"{theirs}.mlp.grn")
        table.append(Row(f"params/{ours}/scale", f"{theirs}.gamma"))
        table += layer_norm(f"downsample_norm_{i}", f"stages.{i}.downsample.0")
        table += dense(f"downsample_conv_{i}", f"stages.{i}.downsample.1", conv)
    return [*table, *layer_norm("norm", "head.norm"), *dense("head", "head.fc")]


FAMILY = Family(
    name="timm/convnext",
    classes=("ConvNeXt",),
    build=build,
    rows=rows,
    inputs=cnn_parts.inputs,
    outputs=cnn_parts.timm,
    sizes={name: {"architecture": name} for name in _SIZES},
    licence="Apache-2.0; those of ConvNeXt V2: CC-BY-NC-4.0",
    source="https://huggingface.co/timm",
    statistics=Statistics(resize=256, interpolation="bicubic"),
)
