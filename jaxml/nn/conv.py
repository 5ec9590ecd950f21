"""Convolution with norm and activation, and the attention of channels.

    x = ConvNorm(64, kernel=3, stride=2, name="stem")(x, train=train, mask=mask)
    x = ConvNorm(64, kernel=3, groups=64, activation="silu", padding="same")(x)
    x = SqueezeExcitation(16, name="excite")(x)

Images are [batch, height, width, channel]; kernels [height, width, in, out].

References:
    Hu, Shen and Sun, 2017. Squeeze-and-excitation networks. arXiv:1709.01507 (eq. 2-4).
    Wang et al., 2019. ECA-Net. arXiv:1910.03151 (eq. 9, 12).
    Sandler et al., 2018. MobileNetV2. arXiv:1801.04381 (channels in multiples of 8).
"""

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxml.nn import activations, check, initializers
from jaxml.nn.norm import BatchNorm

__all__ = [
    "ConvNorm",
    "EfficientChannelAttention",
    "SqueezeExcitation",
    "check_images",
    "convolution",
    "divisible",
    "padding_of",
]

PADDINGS = ("torch", "same", "keras")


def check_images(x: Float[Array, "..."], channels: int | None = None) -> None:
    """Refuse all but a batch of floating-point images with so many channels.

    Args:
        x: images [batch, height, width, channel], already scaled by the caller.
        channels: how many there must be; any number if None.

    Raises:
        ValueError: if rank, dtype or number of channels is off.
    """
    check.images(x)
    if channels not in (None, x.shape[-1]):
        raise ValueError(f"images must have {channels} channels; got {x.shape[-1]}")


def padding_of(
    padding: str | int, kernel: int, stride: int = 1, dilation: int = 1
) -> str | tuple[tuple[int, int], tuple[int, int]]:
    """What `flax.linen.Conv` must be told for that padding.

    Args:
        padding: "torch" (half the kernel at every border), "same" (TensorFlow's: what
            is odd goes to the end, and how much depends on the size of the image) or
            "keras" (as "same" for images of even size, whatever their size is); or
            the pixels at every border.
        kernel: side of the kernel, odd.
        stride: pixels from one window to the next.
        dilation: pixels from one tap of the kernel to the next.

    Raises:
        ValueError: if there is no such padding; the message tells the nearest.

    >>> padding_of("torch", kernel=3), padding_of("keras", kernel=5, stride=2)
    (((1, 1), (1, 1)), ((1, 2), (1, 2)))
    """
    if isinstance(padding, int):
        return ((padding, padding),) * 2
    check.one_of(padding, PADDINGS, "padding")
    if padding == "same":
        return "SAME"
    half = dilation * (kernel - 1) // 2
    low = half - 1 if padding == "keras" and stride > 1 else half
    return ((low, half),) * 2


def divisible(
    value: float | int, divisor: int = 8, *, minimum: int | None = None
) -> int:
    """The multiple of `divisor` next to a number of channels, at most 10 % below it.

    Args:
        value: wished number of channels, above 0.
        divisor: what the result is a multiple of.
        minimum: the least result; the divisor itself if None.

    >>> divisible(24 * 1.1), divisible(11)
    (24, 16)
    """
    rounded = max(minimum or divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def convolution(
    features: int,
    kernel: int,
    stride: int = 1,
    *,
    groups: int = 1,
    dilation: int = 1,
    padding: str | int = "torch",
    use_bias: bool = False,
    kernel_init: str | Callable = "he_normal_fan_out",
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
    name: str | None = None,
) -> nn.Conv:
    """A convolution as after it comes a norm: padded as in torch, without bias.

    With stride 2, "SAME" would pad one side only, and pretrained weights would see
    the image shifted by a pixel.

    Args:
        features: output channels.
        kernel: side of the kernel, odd.
        stride: pixels from one window to the next.
        groups: groups of channels that do not see each other; the number of input
            channels makes it depthwise.
        dilation: pixels from one tap of the kernel to the next.
        padding: "torch", "same", "keras" or pixels; see `padding_of`.
        use_bias: whether there is a bias; it starts at zero.
        kernel_init: name in `jaxml.nn.initializers`, or an initialiser.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
        name: name of the layer.
    """
    return nn.Conv(
        features,
        (kernel, kernel),
        stride,
        padding=padding_of(padding, kernel, stride, dilation),
        kernel_dilation=dilation,
        feature_group_count=groups,
        use_bias=use_bias,
        kernel_init=initializers.by_name(kernel_init),
        dtype=dtype,
        param_dtype=param_dtype,
        name=name,
    )


class ConvNorm(nn.Module):
    """Convolution without bias, batch norm, activation.

    Args:
        features: output channels.
        kernel: side of the kernel, odd.
        stride: pixels from one window to the next.
        groups: groups of channels that do not see each other; the number of input
            channels makes it depthwise.
        dilation: pixels from one tap of the kernel to the next.
        padding: "torch", "same", "keras" or pixels; see `padding_of`.
        activation: name in `jaxml.nn.activations`, a function, or None for none.
        norm: maker of the norm, given name and dtypes.
        kernel_init: name in `jaxml.nn.initializers`, or an initialiser.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    features: int
    kernel: int = 3
    stride: int = 1
    groups: int = 1
    dilation: int = 1
    padding: str | int = "torch"
    activation: str | Callable | None = "relu"
    norm: Callable = BatchNorm
    kernel_init: str | Callable = "he_normal_fan_out"
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        *,
        train: bool = False,
        mask: Bool[Array, " b"] | None = None,
    ) -> Float[Array, "b p q k"]:
        """Apply all three.

        Args:
            x: images or feature maps.
            train: whether the norm uses, and learns from, the statistics of the batch.
            mask: False for rows of padding, which the norm then leaves out.

        Raises:
            ValueError: if the groups divide the channels unevenly, or a name is off.
        """
        if x.shape[-1] % self.groups or self.features % self.groups:
            raise ValueError(
                "groups must divide the channels; "
                f"got {self.groups} for {x.shape[-1]} -> {self.features}"
            )
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        x = convolution(
            self.features,
            self.kernel,
            self.stride,
            groups=self.groups,
            dilation=self.dilation,
            padding=self.padding,
            kernel_init=self.kernel_init,
            name="conv",
            **dtypes,
        )(x)
        x = self.norm(name="norm", **dtypes)(x, train=train, mask=mask)
        return x if self.activation is None else _function(self.activation)(x)


class SqueezeExcitation(nn.Module):
    """Scale each channel by what a small network makes of the means of all.

    Args:
        reduced: units between the two linear maps, at least 1.
        activation: after the first map: name in `jaxml.nn.activations`, or a function.
        gate: after the second map, likewise.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    reduced: int
    activation: str | Callable = "relu"
    gate: str | Callable = "sigmoid"
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Scale the channels of `x`."""
        if self.reduced < 1:
            raise ValueError(f"reduced must be at least 1; got {self.reduced}")
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        y = nn.Dense(self.reduced, name="reduce", **dtypes)(x.mean((1, 2)))
        y = _function(self.activation)(y)
        y = nn.Dense(x.shape[-1], name="expand", **dtypes)(y)
        return x * _function(self.gate)(y)[:, None, None, :]


class EfficientChannelAttention(nn.Module):
    """Scale each channel by what a short convolution makes of the means beside it.

    Args:
        kernel: channels that are seen at once, odd; from their number if None.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    kernel: int | None = None
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Scale the channels of `x`."""
        kernel = self.kernel
        if kernel is None:  # eq. 12, with gamma = 2 and b = 1
            kernel = int(abs(math.log2(x.shape[-1]) + 1) / 2)
            kernel = max(3, kernel + 1 - kernel % 2)
        y = nn.Conv(
            1,
            (kernel,),
            padding=kernel // 2,
            use_bias=False,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            name="conv",
        )(x.mean((1, 2))[..., None])
        return x * nn.sigmoid(y[..., 0])[:, None, None, :]


def _function(activation):
    """The function of that name; ReLU6 lives in convolutional networks alone."""
    if callable(activation):
        return activation
    return jax.nn.relu6 if activation == "relu6" else activations.by_name(activation)
