"""MobileNet, the first: depthwise and 1x1 convolutions in turns.

    model = mobilenet_v1(num_classes=10)
    variables = jax.jit(model.init)(key, images)
    logits = model.apply(variables, images)

Images: [batch, height, width, channel], float, normalised by the caller. The named
sizes pad as torch does; the weights of TensorFlow (and of the Hugging Face hub) want
`padding="same", norm_epsilon=1e-3`.

References:
    Howard et al., 2017. MobileNets. arXiv:1704.04861 (table 1).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxml.nn.conv import ConvNorm, check_images, divisible
from jaxml.nn.norm import BatchNorm

__all__ = [
    "MobileNetV1",
    "mobilenet_v1",
    "mobilenet_v1_025",
    "mobilenet_v1_050",
    "mobilenet_v1_075",
]

WIDTHS = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)


class MobileNetV1(nn.Module):
    """Stem, thirteen pairs of convolutions, mean over space, linear head.

    Args:
        stem_features: channels of the first convolution.
        widths: channels after each pair.
        strides: stride of each pair, on its depthwise convolution.
        num_classes: number of logits; None for no head: the means are the result.
        dropout: chance of a feature to be dropped before the head, 0 to below 1.
        padding: "torch", or "same" as in TensorFlow.
        activation: function, or name in `jaxml.nn.activations`.
        norm_epsilon: added to the variance in the norms.
        norm_momentum: weight of the old value in their running statistics.
        axis_name: mesh axis over which the batch is split, in shard_map or pmap.
        channels: channels that the images must have; any number if None.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    stem_features: int = 32
    widths: tuple[int, ...] = WIDTHS
    strides: tuple[int, ...] = STRIDES
    num_classes: int | None = 1000
    dropout: float = 0.001
    padding: str = "torch"
    activation: str | Callable = jax.nn.relu6
    norm_epsilon: float = 1e-5
    norm_momentum: float = 0.9
    axis_name: str | None = None
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

        Sows "hidden_states" in "intermediates": after the stem and every convolution.

        Args:
            images: normalised by the caller.
            train: whether dropout is on and the norms use this batch.
            mask: False for rows of padding, which the norms then leave out.

        Raises:
            ValueError: if the rank or dtype of the images is off.
        """
        check_images(images, self.channels)
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
        mode = {"train": train, "mask": mask}
        x = conv(self.stem_features, stride=2, name="stem")(images, **mode)
        self.sow("intermediates", "hidden_states", x)
        for i, (width, stride) in enumerate(
            zip(self.widths, self.strides, strict=True)
        ):
            before = x.shape[-1]
            x = conv(before, stride=stride, groups=before, name=f"depthwise_{i}")(
                x, **mode
            )
            self.sow("intermediates", "hidden_states", x)
            x = conv(width, kernel=1, name=f"pointwise_{i}")(x, **mode)
            self.sow("intermediates", "hidden_states", x)
        x = x.mean((1, 2))
        if self.num_classes is None:
            return x
        x = nn.Dropout(self.dropout, name="dropout")(x, deterministic=not train)
        init = nn.initializers.normal(0.01)
        return nn.Dense(self.num_classes, kernel_init=init, name="head", **dtypes)(x)


def _scaled(width):
    return {
        "stem_features": divisible(32 * width),
        "widths": tuple(divisible(w * width) for w in WIDTHS),
    }


mobilenet_v1 = MobileNetV1  # 4.2 M parameters
mobilenet_v1_025 = partial(MobileNetV1, **_scaled(0.25))  # 0.5 M
mobilenet_v1_050 = partial(MobileNetV1, **_scaled(0.5))  # 1.3 M
mobilenet_v1_075 = partial(MobileNetV1, **_scaled(0.75))  # 2.6 M
