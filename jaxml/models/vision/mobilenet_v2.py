"""MobileNetV2: inverted residuals with linear bottlenecks.

    model = mobilenet_v2(num_classes=10)
    variables = jax.jit(model.init)(key, images)
    logits = model.apply(variables, images)

Images: [batch, height, width, channel], float, normalised by the caller. The named
sizes pad as torch does and have its epsilon; the weights of TensorFlow (and those of
the Hugging Face hub, which are the same) want `padding="same", norm_epsilon=1e-3`.

References:
    Sandler et al., 2018. MobileNetV2. arXiv:1801.04381 (fig. 3, tables 1 and 2).
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxml.nn.conv import ConvNorm, check_images, divisible
from jaxml.nn.norm import BatchNorm

__all__ = [
    "InvertedResidual",
    "MobileNetV2",
    "Stage",
    "mobilenet_v2",
    "mobilenet_v2_035",
    "mobilenet_v2_050",
    "mobilenet_v2_075",
    "mobilenet_v2_140",
    "scaled",
]


class Stage(NamedTuple):
    """Blocks in a row; the first has the stride (table 2)."""

    expansion: float  # channels inside a block, of each that enters it
    features: int
    repeats: int
    stride: int


STAGES = (
    Stage(1, 16, 1, 1),
    Stage(6, 24, 2, 2),
    Stage(6, 32, 3, 2),
    Stage(6, 64, 4, 2),
    Stage(6, 96, 3, 1),
    Stage(6, 160, 3, 2),
    Stage(6, 320, 1, 1),
)


class MobileNetV2(nn.Module):
    """Stem, inverted residuals, one more 1x1 convolution, mean over space, head.

    Args:
        stages: what each stage is.
        stem_features: channels of the first convolution.
        last_features: channels of the last.
        num_classes: number of logits; None for no head: the means are the result.
        dropout: chance of a feature to be dropped before the head, 0 to below 1.
        output_stride: pixels of the image to one of the last map: 8, 16 or 32; below
            32, late blocks widen their kernels instead of striding.
        padding: "torch", or "same" as in TensorFlow.
        divisor: the channels inside a block are a multiple of it.
        activation: function, or name in `jaxml.nn.activations`.
        norm_epsilon: added to the variance in the norms.
        norm_momentum: weight of the old value in their running statistics.
        axis_name: mesh axis over which the batch is split, in shard_map or pmap.
        remat: whether the backward pass computes each block again.
        channels: channels that the images must have; any number if None.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    stages: tuple[Stage, ...] = STAGES
    stem_features: int = 32
    last_features: int = 1280
    num_classes: int | None = 1000
    dropout: float = 0.2
    output_stride: int = 32
    padding: str = "torch"
    divisor: int = 8
    activation: str | Callable = jax.nn.relu6
    norm_epsilon: float = 1e-5
    norm_momentum: float = 0.9
    axis_name: str | None = None
    remat: bool = False
    channels: int | None = None
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "b h w c"],
        *,
        train: bool = False,
        mask: Bool[Array, " b"] | None = None,
    ) -> Float[Array, "b k"]:
        """Logits of every image.

        Sows "hidden_states" in "intermediates": after the stem, after every block and
        after the last convolution.

        Args:
            images: normalised by the caller.
            train: whether dropout is on and the norms use this batch.
            mask: False for rows of padding, which the norms then leave out.

        Raises:
            ValueError: if the rank or dtype of the images, or a setting, is off.
        """
        check_images(images, self.channels)
        if self.output_stride not in (8, 16, 32):
            raise ValueError(
                f"output_stride must be 8, 16 or 32; got {self.output_stride}"
            )
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        conv: Callable = partial(
            ConvNorm,
            padding=self.padding,
            activation=self.activation,
            norm=partial(
                BatchNorm,
                epsilon=self.norm_epsilon,
                momentum=self.norm_momentum,
                axis_name=self.axis_name,
            ),
            **dtypes,
        )
        block = InvertedResidual
        if self.remat:
            block = nn.remat(block, static_argnums=(2,))
        mode = {"train": train, "mask": mask}
        x = conv(self.stem_features, stride=2, name="stem")(images, **mode)
        self.sow("intermediates", "hidden_states", x)
        for i, (expansion, features, stride, dilation) in enumerate(self._plan()):
            inside = divisible(round(x.shape[-1] * expansion), self.divisor)
            x = block(
                features,
                inside if expansion != 1 else None,
                stride=stride,
                dilation=dilation,
                conv=conv,
                name=f"blocks_{i}",
            )(x, train, mask)
            self.sow("intermediates", "hidden_states", x)
        x = conv(self.last_features, kernel=1, name="last")(x, **mode)
        self.sow("intermediates", "hidden_states", x)
        x = x.mean((1, 2))
        if self.num_classes is None:
            return x
        x = nn.Dropout(self.dropout, name="dropout")(x, deterministic=not train)
        init = nn.initializers.normal(0.01)
        return nn.Dense(self.num_classes, kernel_init=init, name="head", **dtypes)(x)

    def _plan(self):
        """Expansion, features, stride and dilation of every block."""
        reached, dilation = 2, 1
        for stage in self.stages:
            for i in range(stage.repeats):
                stride = stage.stride if i == 0 else 1
                if reached < self.output_stride:
                    yield stage.expansion, stage.features, stride, 1
                    reached *= stride
                else:
                    yield stage.expansion, stage.features, 1, dilation
                    dilation *= stride  # the next block sees the wider grid


class InvertedResidual(nn.Module):
    """1x1 up, depthwise 3x3, 1x1 down without activation; beside itself (fig. 3 b).

    Args:
        features: channels that leave the block.
        inside: channels of its depthwise convolution; None for those that enter,
            without the first 1x1 convolution.
        stride: stride of the depthwise convolution.
        dilation: of the depthwise convolution.
        conv: maker of a convolution with norm and activation.
    """

    features: int
    inside: int | None = None
    stride: int = 1
    dilation: int = 1
    conv: Callable = ConvNorm

    @nn.compact
    def __call__(self, x, train, mask):
        mode = {"train": train, "mask": mask}
        y = x
        if self.inside is not None:
            y = self.conv(self.inside, kernel=1, name="expand")(y, **mode)
        width = y.shape[-1]
        y = self.conv(
            width,
            stride=self.stride,
            dilation=self.dilation,
            groups=width,
            name="depthwise",
        )(y, **mode)
        y = self.conv(self.features, kernel=1, activation=None, name="project")(
            y, **mode
        )
        return x + y if self.stride == 1 and x.shape[-1] == self.features else y


def scaled(
    width: float | int, *, depth: float | int = 1.0, fixed_ends: bool = False
) -> dict:
    """Settings of a network with more or fewer channels and blocks.

    Args:
        width: factor of the channels, which stay multiples of 8.
        depth: factor of the blocks of a stage, rounded up.
        fixed_ends: whether stem and last convolution, and the number of blocks of the
            first and last stage, stay as they are (timm's deep variants).

    >>> scaled(0.5)["stem_features"], scaled(1.4)["last_features"]
    (16, 1792)
    """
    ends = (0, len(STAGES) - 1) if fixed_ends else ()
    stages = tuple(
        stage._replace(
            features=divisible(stage.features * width),
            repeats=stage.repeats if i in ends else math.ceil(stage.repeats * depth),
        )
        for i, stage in enumerate(STAGES)
    )
    return {
        "stages": stages,
        "stem_features": 32 if fixed_ends else divisible(32 * width),
        "last_features": 1280 if fixed_ends else divisible(1280 * max(1.0, width)),
    }


mobilenet_v2 = MobileNetV2  # 3.5 M parameters
mobilenet_v2_035 = partial(MobileNetV2, **scaled(0.35))  # 1.7 M
mobilenet_v2_050 = partial(MobileNetV2, **scaled(0.5))  # 2.0 M
mobilenet_v2_075 = partial(MobileNetV2, **scaled(0.75))  # 2.6 M
mobilenet_v2_140 = partial(MobileNetV2, **scaled(1.4))  # 6.1 M
