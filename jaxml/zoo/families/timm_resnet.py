"""ResNet and its variants as timm writes them.

model = FAMILY.build({"architecture": "resnet50d"}, "resnet50d")
rows = FAMILY.rows(model)
outputs = FAMILY.outputs(model, variables, {"x": images})
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import flax.linen as nn

from jaxml.models.vision import resnet, resnet_d, resnet_features
from jaxml.zoo import builder
from jaxml.zoo.families import cnn_parts, torchvision_resnet
from jaxml.zoo.families.cnn_parts import batch_norm, kernel
from jaxml.zoo.family import Family, Statistics
from jaxml.zoo.rows import Line

__all__ = ["FAMILY"]

_BLOCKS = {"BasicBlock": resnet.BasicBlock, "Bottleneck": resnet.Bottleneck}
_ATTENTION = {
    "se": resnet_d.squeeze_excitation,
    "eca": resnet_d.channel_attention,
}
_DEEP: dict[str, Any] = {"stem_width": 32, "stem_type": "deep", "avg_down": True}
_TIERED = {**_DEEP, "stem_type": "deep_tiered"}
_SE: dict[str, Any] = {"block_args": {"attn_layer": "se"}}
_ECA: dict[str, Any] = {"block_args": {"attn_layer": "eca"}}
_BASIC: dict[str, Any] = {"block": "BasicBlock"}
_DEPTHS: dict[str, dict[str, Any]] = {
    "18": {"layers": (2, 2, 2, 2), **_BASIC},
    "34": {"layers": (3, 4, 6, 3), **_BASIC},
    "26": {"layers": (2, 2, 2, 2)},
    "50": {"layers": (3, 4, 6, 3)},
    "101": {"layers": (3, 4, 23, 3)},
    "152": {"layers": (3, 8, 36, 3)},
    "200": {"layers": (3, 24, 36, 3)},
}
_SIZES: dict[str, dict[str, Any]] = {
    **{f"resnet{n}": size for n, size in _DEPTHS.items()},
    **{f"resnet{n}d": {**size, **_DEEP} for n, size in _DEPTHS.items()},
    **{f"seresnet{n}": {**_DEPTHS[n], **_SE} for n in ("18", "34", "50", "101", "152")},
    **{f"ecaresnet{n}d": {**_DEPTHS[n], **_DEEP, **_ECA} for n in ("50", "101")},
    **{f"ecaresnet{n}t": {**_DEPTHS[n], **_TIERED, **_ECA} for n in ("26", "50")},
    "seresnet50t": {**_DEPTHS["50"], **_TIERED, **_SE},
    "resnet26t": {**_DEPTHS["26"], **_TIERED},
    "resnet50t": {**_DEPTHS["50"], **_TIERED},
    "wide_resnet50_2": {**_DEPTHS["50"], "base_width": 128},
    "wide_resnet101_2": {**_DEPTHS["101"], "base_width": 128},
    "resnext50_32x4d": {**_DEPTHS["50"], "cardinality": 32, "base_width": 4},
    "resnext50d_32x4d": {**_DEPTHS["50"], "cardinality": 32, "base_width": 4, **_DEEP},
    "resnext101_32x4d": {**_DEPTHS["101"], "cardinality": 32, "base_width": 4},
    "resnext101_32x8d": {**_DEPTHS["101"], "cardinality": 32, "base_width": 8},
    "resnext101_64x4d": {**_DEPTHS["101"], "cardinality": 64, "base_width": 4},
    "seresnext50_32x4d": {
        **_DEPTHS["50"],
        "cardinality": 32,
        "base_width": 4,
        **_SE,
    },
}
_ARGUMENTS = ("block", "layers", "num_classes", "in_chans", "output_stride")
# Arguments without influence on a forward pass, or known at one value only.
_USUAL = {
    "pretrained": None,
    "drop_rate": None,
    "zero_init_last": None,
    "pretrained_cfg": None,
    "global_pool": "avg",
    "drop_path_rate": 0.0,
    "drop_block_rate": 0.0,
    "down_kernel_size": 1,
    "block_reduce_first": 1,
    "replace_stem_pool": False,
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
    if call.name not in ("ResNet", *_SIZES):
        raise ValueError(f"the network must be one of {list(_SIZES)}; got {call.name}")
    given = {"block": "Bottleneck", **_SIZES.get(call.name, {})}
    if not config.get("builder", "create_model").endswith("create_model"):
        given |= dict(zip(_ARGUMENTS, call.args, strict=False))
    given |= call.kwargs
    take = given.pop
    block_args = dict(take("block_args", {}))
    attention = block_args.pop("attn_layer", None)
    if attention not in (None, *_ATTENTION):
        raise ValueError(
            f"attn_layer must be one of {list(_ATTENTION)}; got {attention}"
        )
    features, indices = take("features_only", False), take("out_indices", range(5))
    num_classes = take("num_classes", 1000) or None
    options = {
        "depths": tuple(take("layers")),
        "block": _block(
            str(take("block")),
            take("cardinality", 1),
            take("base_width", 64),
            take("avg_down", False),
        ),
        "attention": _ATTENTION.get(attention),
        "widths": tuple(take("channels", (64, 128, 256, 512))),
        "channels": take("in_chans", 3),
        **_stem(take("stem_type", ""), take("stem_width", 64)),
        **_strides(take("output_stride", 32)),
    }
    cnn_parts.refuse({**given, **block_args}, _USUAL, call.name)
    if not features:
        return resnet.ResNet(**options, num_classes=num_classes)
    # timm leaves out the stages that nothing is asked of.
    options["depths"] = options["depths"][: max(indices)]
    return resnet_features.ResNetFeatures(**options, maps=tuple(indices))


def _block(name, groups, base_width, average):
    block = _BLOCKS[name.rpartition(".")[2]]
    options: dict[str, Any] = {}
    if block is resnet.Bottleneck:
        options = {"groups": groups, "base_width": base_width}
    if average:
        options["shortcut"] = resnet_d.average_projection
    return partial(block, **options)


def _stem(kind, width):
    """Only a deep stem listens to its width."""
    if "deep" not in kind:
        return {"stem_width": 64}
    first = (3 * (width // 4), width) if "tiered" in kind else (width, width)
    stem = partial(resnet_d.deep_stem, widths=first)
    return {"stem": stem, "stem_width": 2 * width}


def _strides(output_stride):
    if output_stride not in (8, 16, 32):
        raise ValueError(f"output_stride must be 8, 16 or 32; got {output_stride}")
    return {"dilated": (False, False, output_stride < 16, output_stride < 32)}


def rows(model: nn.Module) -> list[Line]:
    """The table of names: torchvision's, a deep stem, and weighed channels."""
    block, ours = "layer{i}.{j}", "layer{i}_{j}"
    table = torchvision_resnet.rows(model)
    if model.block.keywords.get("shortcut"):
        # A pool without weights counts as the first layer of the shortcut.
        table = [row for row in table if "downsample" not in getattr(row, "theirs", "")]
        table += kernel(f"{ours}/downsample_conv1", f"{block}.downsample.1")
        table += batch_norm(f"{ours}/downsample_bn1", f"{block}.downsample.2")
    if model.stem is not resnet.plain_stem:
        table = [row for row in table if row not in kernel("conv1", "conv1")]
        for n, place in ((1, 0), (2, 3)):
            table += kernel(f"stem_conv{n}", f"conv1.{place}")
            table += batch_norm(f"stem_bn{n}", f"conv1.{place + 1}")
        table += kernel("conv1", "conv1.6")
    table += kernel(f"{ours}/se/conv", f"{block}.se.conv")
    return table + cnn_parts.excitation(
        f"{ours}/se", f"{block}.se.fc1", f"{block}.se.fc2"
    )


def outputs(
    model: nn.Module, variables: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Outputs by the names of the cases: features and logits, or maps f0, f1, ..."""
    if isinstance(model, resnet.ResNet):
        return cnn_parts.timm(model, variables, given)
    _, maps = cnn_parts.run(model, variables, given)
    return {f"f{i}": x for i, x in enumerate(maps)}


FAMILY = Family(
    name="timm/resnet",
    classes=("ResNet", "FeatureListNet"),
    build=build,
    rows=rows,
    inputs=cnn_parts.inputs,
    outputs=outputs,
    sizes={name: {"architecture": name} for name in _SIZES},
    licence="Apache-2.0",
    source="https://huggingface.co/timm",
    statistics=Statistics(resize=256, interpolation="bicubic"),
)
