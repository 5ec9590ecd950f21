"""ResNet-D, and ResNets whose blocks weigh their channels.

    model = resnet50d(num_classes=10)
    variables = jax.jit(model.init)(key, images)
    logits = model.apply(variables, images)

All else is `resnet.ResNet`. The D variant begins with three 3x3 convolutions and
averages each 2x2 window of a shortcut before it projects, where the plain one drops
three pixels of four. Names and numbers follow timm.

References:
    He et al., 2018. Bag of tricks. arXiv:1812.01187 (section 4.2: fig. 2 c, stem: C).
    Hu, Shen and Sun, 2017. Squeeze-and-excitation networks. arXiv:1709.01507 (fig. 3).
    Wang et al., 2019. ECA-Net. arXiv:1910.03151.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxml.models.vision import resnext
from jaxml.models.vision.resnet import (
    BasicBlock,
    Bottleneck,
    ResNet,
    resnet18,
    resnet34,
    resnet50,
    resnet101,
    resnet152,
)
from jaxml.nn.conv import EfficientChannelAttention, SqueezeExcitation

__all__ = [
    "average_projection",
    "channel_attention",
    "deep_stem",
    "ecaresnet50d",
    "ecaresnet101d",
    "resnet18d",
    "resnet34d",
    "resnet50d",
    "resnet101d",
    "resnet152d",
    "seresnet18",
    "seresnet34",
    "seresnet50",
    "seresnet101",
    "seresnet152",
    "seresnext50_32x4d",
    "squeeze_excitation",
]


def deep_stem(network, images, conv, norm, mode, *, widths=(32, 32)):
    """Three 3x3 convolutions, the first with the stride, each with its norm.

    Args:
        network: the network, which says its activation, stride and width.
        images: its input.
        conv: maker of a convolution, given features, kernel, stride and name.
        norm: maker of a norm, given a name.
        mode: what the norms are told.
        widths: channels of the first two.
    """
    x = images
    last = network.stem_width or network.width
    for i, width in enumerate((*widths, last)):
        stride = network.stem_stride if i == 0 else 1
        # The last two names are those of the plain stem, as in timm.
        name = f"stem_conv{i + 1}" if i < 2 else "conv1"
        x = conv(width, 3, stride, name=name)(x)
        x = norm(name=f"stem_bn{i + 1}" if i < 2 else "bn1")(x, **mode)
        x = network.activation(x)
    return x


def average_projection(block, x, features, mode):
    """The shortcut: the mean of each 2x2 window, then a 1x1 projection.

    An image of odd side has windows of one row or column at its end, whose mean is
    over what there is. A block that widens its kernels instead of striding averages
    with stride 1, and the zeros after the end count, as in timm.
    """
    if x.shape[-1] == features and block.stride == 1:
        return x
    mean = partial(nn.avg_pool, x, (2, 2))
    if block.stride > 1:
        edges = [(0, side % 2) for side in x.shape[1:3]]
        strides = (block.stride, block.stride)
        x = mean(strides, edges, count_include_pad=False).astype(x.dtype)
    elif block.dilation[1] > 1:
        x = mean((1, 1), [(0, 1), (0, 1)])
    x = block.conv(features, 1, name="downsample_conv1")(x)
    return block.norm(name="downsample_bn1")(x, **mode)


def squeeze_excitation(
    features: int,
    *,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
    name: str | None = None,
) -> SqueezeExcitation:
    """The squeeze-and-excitation of a block: a sixteenth of its channels, by eights."""
    reduced = max(8, int(features / 16 + 4) // 8 * 8)
    return SqueezeExcitation(reduced, dtype=dtype, param_dtype=param_dtype, name=name)


def channel_attention(
    features: int,
    *,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
    name: str | None = None,
) -> EfficientChannelAttention:
    """The efficient channel attention of a block; its kernel grows with `features`."""
    return EfficientChannelAttention(dtype=dtype, param_dtype=param_dtype, name=name)


_basic = partial(
    ResNet, block=partial(BasicBlock, shortcut=average_projection), stem=deep_stem
)
_deep = partial(
    ResNet, block=partial(Bottleneck, shortcut=average_projection), stem=deep_stem
)
resnet18d = partial(_basic, (2, 2, 2, 2))  # 11.7 M parameters
resnet34d = partial(_basic, (3, 4, 6, 3))  # 21.8 M
resnet50d = partial(_deep, (3, 4, 6, 3))  # 25.6 M
resnet101d = partial(_deep, (3, 4, 23, 3))  # 44.6 M
resnet152d = partial(_deep, (3, 8, 36, 3))  # 60.2 M
ecaresnet50d = partial(resnet50d, attention=channel_attention)  # 25.6 M
ecaresnet101d = partial(resnet101d, attention=channel_attention)  # 44.6 M
seresnet18 = partial(resnet18, attention=squeeze_excitation)  # 11.8 M
seresnet34 = partial(resnet34, attention=squeeze_excitation)  # 22.0 M
seresnet50 = partial(resnet50, attention=squeeze_excitation)  # 28.1 M
seresnet101 = partial(resnet101, attention=squeeze_excitation)  # 49.3 M
seresnet152 = partial(resnet152, attention=squeeze_excitation)  # 66.8 M
seresnext50_32x4d = partial(  # 27.6 M
    resnext.resnext50_32x4d, attention=squeeze_excitation
)
