"""The U-Net of DDPM: noise from a noisy image and its timestep.

    model = ddpm_cifar10()
    variables = jax.jit(model.init)(key, images, timesteps)
    noise = model.apply(variables, images, timesteps)                 # timesteps [b]

Images are [batch, height, width, channel] from -1 to 1; the sides must be multiples of
2 to the number of stages less one. Names follow the diffusers library (UNet2DModel).

References:
    Ho, Jain and Abbeel, 2020. DDPM. arXiv:2006.11239 (appendix B).
    Ronneberger, Fischer and Brox, 2015. U-Net. arXiv:1505.04597.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Real

from jaxml.models.generative import image_blocks
from jaxml.nn import activations, check

__all__ = ["UNet2D", "ddpm_cifar10", "small_unet"]


class UNet2D(nn.Module):
    """Blocks down, a middle, and blocks up that also see what the way down left.

    Args:
        out_channels: channels of the answer; twice the image's to learn a variance.
        widths: channels of each stage.
        attend_down: stages of the way down that attend.
        attend_up: stages of the way up that attend, counted from the smallest.
        layers: blocks of each stage on the way down; one more on the way up.
        head_dim: width of an attention head; one head if None.
        mid_attention: whether the middle attends.
        groups: of the norms.
        epsilon: of the norms.
        activation: name in `jaxml.nn.activations`.
        dropout: chance of a value to be dropped in a block, in training.
        down_padding: of the strided convolutions, see `image_blocks.Downsample`.
        time_shift: how blocks take the time, see `image_blocks.ResnetBlock`.
        mid_factor: what the sums of the middle are divided by.
        flip_waves: whether cosines of the timestep stand before sines.
        wave_shift: see `positions.sinusoidal`.
        center: whether images come from 0 to 1, and are moved to [-1, 1] first.
        num_classes: number of labels; none if None.
        in_channels: of an image, where it is to be held to one; any if None.
        remat: whether the backward pass computes each block again instead of
            keeping what is inside it.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    out_channels: int
    widths: tuple[int, ...] = (224, 448, 672, 896)
    attend_down: tuple[bool, ...] = (False, True, True, True)
    attend_up: tuple[bool, ...] = (True, True, True, False)
    layers: int = 2
    head_dim: int | None = 8
    mid_attention: bool = True
    groups: int = 32
    epsilon: float = 1e-5
    activation: str = "silu"
    dropout: float = 0.0
    down_padding: int = 1
    time_shift: str = "default"
    mid_factor: float = 1.0
    flip_waves: bool = True
    wave_shift: float = 0.0
    center: bool = False
    num_classes: int | None = None
    in_channels: int | None = None
    remat: bool = False
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "b h w c"],
        timestep: Real[Array, " b"],
        labels: Int[Array, " b"] | None = None,
        *,
        train: bool = False,
    ) -> Float[Array, "b h w o"]:
        """The network's answer for every image.

        Args:
            images: noisy.
            timestep: of each.
            labels: class of each, where the network has classes.
            train: whether blocks drop values (rng "dropout").

        Raises:
            ValueError: if the sides do not divide or labels are missing.
        """
        self._check(images, labels)
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        conv: Any = partial(nn.Conv, kernel_size=(3, 3), padding=1, **dtypes)
        time = self._time(timestep, labels)
        resnet, attention = self._makers()
        x = 2 * images - 1 if self.center else images
        x = conv(self.widths[0], name="conv_in")(x)
        left = [x]
        for i, width in enumerate(self.widths):
            for j in range(self.layers):
                x = resnet(width, name=f"down_{i}_resnets_{j}")(x, time, train)
                if self.attend_down[i]:
                    x = attention(name=f"down_{i}_attentions_{j}")(x)
                left.append(x)
            if i < len(self.widths) - 1:
                x = image_blocks.Downsample(
                    width, self.down_padding, name=f"down_{i}_downsample", **dtypes
                )(x)
                left.append(x)
        x = self._middle(x, time, train)
        for i, width in enumerate(reversed(self.widths)):
            for j in range(self.layers + 1):
                x = jnp.concatenate([x, left.pop()], -1)
                x = resnet(width, name=f"up_{i}_resnets_{j}")(x, time, train)
                if self.attend_up[i]:
                    x = attention(name=f"up_{i}_attentions_{j}")(x)
            if i < len(self.widths) - 1:
                x = image_blocks.Upsample(width, name=f"up_{i}_upsample", **dtypes)(x)
        x = self._norm()(name="conv_norm_out")(x)
        x = activations.by_name(self.activation)(x)
        return conv(self.out_channels, name="conv_out")(x)

    def _time(self, timestep, labels):
        """Embedding of timestep and class."""
        y = image_blocks.waves(
            timestep, self.widths[0], shift=self.wave_shift, flip=self.flip_waves
        )
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        width = 4 * self.widths[0]
        time = image_blocks.TimeEmbedding(
            width, self.activation, name="time_embedding", **dtypes
        )(y)
        if self.num_classes is None:
            return time
        return time + nn.Embed(
            self.num_classes, width, name="class_embedding", **dtypes
        )(labels)

    def _norm(self):
        return image_blocks.group_norm(
            self.groups, self.epsilon, self.dtype, self.param_dtype
        )

    def _makers(self, factor: float = 1.0):
        """Makers of the two kinds of block."""
        options = {
            "groups": self.groups,
            "epsilon": self.epsilon,
            "factor": factor,
            "dtype": self.dtype,
            "param_dtype": self.param_dtype,
        }
        block: Any = image_blocks.ResnetBlock
        if self.remat:
            block = nn.remat(block, static_argnums=(3,))
        resnet = partial(
            block,
            activation=self.activation,
            dropout=self.dropout,
            time_shift=self.time_shift,
            **options,
        )
        attention = partial(
            image_blocks.SpatialAttention, head_dim=self.head_dim, **options
        )
        return resnet, attention

    def _middle(self, x, time, train):
        resnet, attention = self._makers(self.mid_factor)
        return image_blocks.MidBlock(
            resnet, attention if self.mid_attention else None, name="mid_block"
        )(x, time, train=train)

    def _check(self, images, labels):
        check.images(images)
        stages = len(self.widths)
        if not stages == len(self.attend_down) == len(self.attend_up):
            raise ValueError(
                f"attend_down and attend_up must have {stages} entries, as widths; "
                f"got {len(self.attend_down)} and {len(self.attend_up)}"
            )
        side = 2 ** (stages - 1)
        if images.shape[1] % side or images.shape[2] % side:
            raise ValueError(
                f"height and width must be multiples of {side}; "
                f"got {list(images.shape)}"
            )
        if (labels is None) != (self.num_classes is None):
            raise ValueError(
                "labels must be given where num_classes is, and only there; got "
                f"{'none' if labels is None else 'some'} with {self.num_classes}"
            )


# google/ddpm-cifar10-32, 35.7 M parameters; images of 32 x 32.
ddpm_cifar10 = partial(
    UNet2D,
    3,
    (128, 256, 256, 256),
    (False, True, False, False),
    (False, False, True, False),
    head_dim=None,
    epsilon=1e-6,
    down_padding=0,
    flip_waves=False,
    wave_shift=1.0,
)
# 1.6 M parameters; gray images whose sides are multiples of 4, such as 28 x 28.
small_unet = partial(
    UNet2D,
    1,
    (32, 64, 128),
    (False, False, True),
    (True, False, False),
    layers=1,
    head_dim=32,
    groups=8,
)
