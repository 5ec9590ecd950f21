"""EfficientNet: inverted residuals with squeeze-and-excitation, scaled as one.

    model = efficientnet_b0(num_classes=10)
    variables = jax.jit(model.init)(key, images)
    logits = model.apply(variables, images)
    logits, updates = model.apply(
        variables, images, train=True, mutable=["batch_stats"], rngs={"dropout": key}
    )

Images: [batch, height, width, channel], float, normalised by the caller. The named
sizes pad as torch does. Weights that come from TensorFlow want `norm_epsilon=1e-3` and
`padding="same"` (timm's `tf_` ones) or "keras" with `first_shortcut=False` (those of
the Hugging Face hub, which were Keras's).

References:
    Tan and Le, 2019. EfficientNet. arXiv:1905.11946 (table 1, eq. 3).
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxml.nn.conv import ConvNorm, SqueezeExcitation, check_images, divisible
from jaxml.nn.norm import BatchNorm
from jaxml.nn.stochastic_depth import DropPath

__all__ = [
    "EfficientNet",
    "MBConv",
    "Stage",
    "efficientnet_b0",
    "efficientnet_b1",
    "efficientnet_b2",
    "efficientnet_b3",
    "efficientnet_b4",
    "efficientnet_b5",
    "efficientnet_b6",
    "efficientnet_b7",
    "scaled",
]


class Stage(NamedTuple):
    """Blocks in a row; the first has the stride."""

    expansion: float  # channels inside a block, of each that enters it
    kernel: int
    stride: int
    features: int
    repeats: int
    block: Callable | None = None  # `MBConv` if None


STAGES = (  # table 1
    Stage(1, 3, 1, 16, 1),
    Stage(6, 3, 2, 24, 2),
    Stage(6, 5, 2, 40, 2),
    Stage(6, 3, 2, 80, 3),
    Stage(6, 5, 1, 112, 3),
    Stage(6, 5, 2, 192, 4),
    Stage(6, 3, 1, 320, 1),
)


class EfficientNet(nn.Module):
    """Stem, stages of blocks, one more 1x1 convolution, mean over space, linear head.

    Args:
        stages: what each stage is.
        stem_features: channels of the first convolution.
        last_features: channels of the last.
        num_classes: number of logits; None for no head: the means are the result.
        squeeze: units of the excitation, of each channel that enters a block.
        dropout: chance of a feature to be dropped before the head, 0 to below 1.
        drop_path: chance of the last block to be dropped for a row; it grows from 0.
        padding: "torch", "same" or "keras"; see `jaxml.nn.conv.padding_of`.
        torch_padded: numbers of the blocks that pad as torch whatever `padding` is.
        first_shortcut: whether the first block of a stage, too, has a shortcut where
            it keeps the shape.
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
    squeeze: float = 0.25
    dropout: float = 0.2
    drop_path: float = 0.2
    padding: str = "torch"
    torch_padded: tuple[int, ...] = ()
    first_shortcut: bool = True
    divisor: int = 8
    activation: str | Callable = "silu"
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
            ValueError: if the rank or dtype of the images is off.
        """
        check_images(images, self.channels)
        mode = {"train": train, "mask": mask}
        conv = self._conv()
        x = conv(self.stem_features, stride=2, name="stem")(images, **mode)
        self.sow("intermediates", "hidden_states", x)
        total = sum(stage.repeats for stage in self.stages)
        number = 0
        for stage in self.stages:
            kind: Callable = stage.block or MBConv
            if self.remat:
                kind = nn.remat(kind, static_argnums=(2,))
            for i in range(stage.repeats):
                alone = i == 0 and not self.first_shortcut
                options = {"padding": "torch"} if number in self.torch_padded else {}
                x = kind(
                    stage.features,
                    divisible(x.shape[-1] * stage.expansion, self.divisor),
                    kernel=stage.kernel,
                    stride=stage.stride if i == 0 else 1,
                    squeeze=self.squeeze,
                    drop_path=None if alone else self.drop_path * number / total,
                    conv=partial(conv, **options),
                    name=f"blocks_{number}",
                )(x, train, mask)
                self.sow("intermediates", "hidden_states", x)
                number += 1
        x = conv(self.last_features, kernel=1, name="last")(x, **mode)
        self.sow("intermediates", "hidden_states", x)
        x = x.mean((1, 2))
        if self.num_classes is None:
            return x
        x = nn.Dropout(self.dropout, name="dropout")(x, deterministic=not train)
        init = nn.initializers.variance_scaling(1 / 3, "fan_out", "uniform")
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        return nn.Dense(self.num_classes, kernel_init=init, name="head", **dtypes)(x)

    def _conv(self):
        norm = partial(
            BatchNorm,
            epsilon=self.norm_epsilon,
            momentum=self.norm_momentum,
            axis_name=self.axis_name,
        )
        return partial(
            ConvNorm,
            padding=self.padding,
            activation=self.activation,
            norm=norm,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
        )


class MBConv(nn.Module):
    """1x1 up, depthwise, excitation, 1x1 down without activation; beside itself.

    Args:
        features: channels that leave the block.
        inside: channels of its depthwise convolution; where as many enter, there is no
            first 1x1 convolution.
        kernel: side of the depthwise kernel.
        stride: stride of the depthwise convolution.
        squeeze: units of the excitation, of each channel that enters.
        drop_path: chance of the branch to be dropped for a row; None for no shortcut.
        conv: maker of a convolution with norm and activation.
    """

    features: int
    inside: int
    kernel: int = 3
    stride: int = 1
    squeeze: float = 0.25
    drop_path: float | None = 0.0
    conv: Callable = partial(ConvNorm, activation="silu")

    @nn.compact
    def __call__(self, x, train, mask):
        mode = {"train": train, "mask": mask}
        y = x
        if self.inside != x.shape[-1]:
            y = self.conv(self.inside, kernel=1, name="expand")(y, **mode)
        depthwise = self.conv(
            self.inside,
            kernel=self.kernel,
            stride=self.stride,
            groups=self.inside,
            name="depthwise",
        )
        y = depthwise(y, **mode)
        y = SqueezeExcitation(
            max(1, int(x.shape[-1] * self.squeeze)),
            activation=depthwise.activation,
            dtype=depthwise.dtype,
            param_dtype=depthwise.param_dtype,
            name="excite",
        )(y)
        y = self.conv(self.features, kernel=1, activation=None, name="project")(
            y, **mode
        )
        return joined(self, x, y, train)


def joined(block, x, y, train):
    """The branch, beside the shortcut where the shape is the same."""
    if block.drop_path is None or block.stride > 1 or x.shape != y.shape:
        return y
    return x + DropPath(block.drop_path, name="drop_path")(y, deterministic=not train)


def scaled(width: float | int, depth: float | int) -> dict:
    """Settings of a network with more channels and blocks (eq. 3).

    Args:
        width: factor of the channels, which stay multiples of 8.
        depth: factor of the blocks of each stage, rounded up.

    >>> scaled(1.4, 1.8)["last_features"]
    1792
    """
    stages = tuple(
        stage._replace(
            features=divisible(stage.features * width),
            repeats=math.ceil(stage.repeats * depth),
        )
        for stage in STAGES
    )
    return {
        "stages": stages,
        "stem_features": divisible(32 * width),
        "last_features": divisible(1280 * width),
    }


efficientnet_b0 = EfficientNet  # 5.3 M parameters, images of 224
efficientnet_b1 = partial(EfficientNet, **scaled(1.0, 1.1))  # 7.8 M, 240
efficientnet_b2 = partial(EfficientNet, **scaled(1.1, 1.2), dropout=0.3)  # 9.1 M, 260
efficientnet_b3 = partial(EfficientNet, **scaled(1.2, 1.4), dropout=0.3)  # 12.2 M, 300
efficientnet_b4 = partial(EfficientNet, **scaled(1.4, 1.8), dropout=0.4)  # 19.3 M, 380
_large: dict[str, Any] = {"norm_epsilon": 1e-3, "norm_momentum": 0.99}
efficientnet_b5 = partial(  # 30.4 M, 456
    EfficientNet, **scaled(1.6, 2.2), dropout=0.4, **_large
)
efficientnet_b6 = partial(  # 43.0 M, 528
    EfficientNet, **scaled(1.8, 2.6), dropout=0.5, **_large
)
efficientnet_b7 = partial(  # 66.3 M, 600
    EfficientNet, **scaled(2.0, 3.1), dropout=0.5, **_large
)
