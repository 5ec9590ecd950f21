"""The U-Net of Stable Diffusion: noise from a noisy latent, its timestep and a text.

    model = sd1_unet()
    variables = jax.jit(model.init)(key, latents, timesteps, text)
    noise = model.apply(variables, latents, timesteps, text)          # text [b, s, d]

Latents are [batch, height, width, channel]; the sides must be multiples of 2 to the
number of stages less one. Names follow the diffusers library (UNet2DConditionModel),
whose `attention_head_dim` is the number of heads.

References:
    Rombach et al., 2022. Latent diffusion. arXiv:2112.10752 (section 3.3, appendix E).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Real

from jaxml.models.generative import image_blocks
from jaxml.nn import activations, check
from jaxml.nn.attention import Attention
from jaxml.nn.feed_forward import GatedFeedForward

__all__ = ["SpatialTransformer", "UNet2DCondition", "sd1_unet", "sd2_unet"]


class UNet2DCondition(nn.Module):
    """Blocks down, a middle, and blocks up, which look at a text as they go.

    Args:
        out_channels: channels of the answer.
        widths: channels of each stage.
        attend_down: stages of the way down that look at the text.
        attend_up: stages of the way up that do, counted from the smallest.
        heads: attention heads of each stage of the way down.
        depths: transformer blocks of each stage of the way down.
        layers: blocks of each stage on the way down; one more on the way up.
        groups: of the norms.
        epsilon: of the norms of the residual blocks.
        activation: name in `jaxml.nn.activations`.
        dropout: chance of a value to be dropped in a block, in training.
        down_padding: of the strided convolutions, see `image_blocks.Downsample`.
        time_shift: how blocks take the time, see `image_blocks.ResnetBlock`.
        mid_factor: what the sums of the middle's residual blocks are divided by.
        flip_waves: whether cosines of the timestep stand before sines.
        wave_shift: see `positions.sinusoidal`.
        center: whether inputs come from 0 to 1, and are moved to [-1, 1] first.
        in_channels: of a latent, where it is to be held to one; any if None.
        text_features: of a text, where it is to be held to one; any if None.
        remat: whether the backward pass computes each block again instead of
            keeping what is inside it.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    out_channels: int = 4
    widths: tuple[int, ...] = (320, 640, 1280, 1280)
    attend_down: tuple[bool, ...] = (True, True, True, False)
    attend_up: tuple[bool, ...] = (False, True, True, True)
    heads: tuple[int, ...] = (8, 8, 8, 8)
    depths: tuple[int, ...] = (1, 1, 1, 1)
    layers: int = 2
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
    in_channels: int | None = None
    text_features: int | None = None
    remat: bool = False
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        latents: Float[Array, "b h w c"],
        timestep: Real[Array, " b"],
        text: Float[Array, "b s d"],
        *,
        text_mask: Bool[Array, "b s"] | None = None,
        train: bool = False,
    ) -> Float[Array, "b h w o"]:
        """The network's answer for every latent.

        Args:
            latents: noisy.
            timestep: of each.
            text: embedded tokens.
            text_mask: False for tokens that are not to be seen.
            train: whether blocks drop values (rng "dropout").

        Raises:
            ValueError: if the sides or the stages do not fit.
        """
        self._check(latents)
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        conv: Any = partial(nn.Conv, kernel_size=(3, 3), padding=1, **dtypes)
        waves = image_blocks.waves(
            timestep, self.widths[0], shift=self.wave_shift, flip=self.flip_waves
        )
        time = image_blocks.TimeEmbedding(
            4 * self.widths[0], self.activation, name="time_embedding", **dtypes
        )(waves)
        resnet, attend = self._makers(text, text_mask, train)
        x = 2 * latents - 1 if self.center else latents
        x = conv(self.widths[0], name="conv_in")(x)
        left = [x]
        stages = len(self.widths)
        for i, width in enumerate(self.widths):
            for j in range(self.layers):
                x = resnet(width, name=f"down_{i}_resnets_{j}")(x, time, train)
                if self.attend_down[i]:
                    x = attend(i)(name=f"down_{i}_attentions_{j}")(x)
                left.append(x)
            if i < stages - 1:
                x = image_blocks.Downsample(
                    width, self.down_padding, name=f"down_{i}_downsample", **dtypes
                )(x)
                left.append(x)
        x = image_blocks.MidBlock(
            partial(resnet, factor=self.mid_factor), attend(-1), name="mid_block"
        )(x, time, train=train)
        for i, width in enumerate(reversed(self.widths)):
            for j in range(self.layers + 1):
                x = jnp.concatenate([x, left.pop()], -1)
                x = resnet(width, name=f"up_{i}_resnets_{j}")(x, time, train)
                if self.attend_up[i]:
                    x = attend(stages - 1 - i)(name=f"up_{i}_attentions_{j}")(x)
            if i < stages - 1:
                x = image_blocks.Upsample(width, name=f"up_{i}_upsample", **dtypes)(x)
        norm = image_blocks.group_norm(
            self.groups, self.epsilon, self.dtype, self.param_dtype
        )
        x = activations.by_name(self.activation)(norm(name="conv_norm_out")(x))
        return conv(self.out_channels, name="conv_out")(x)

    def _makers(self, text, text_mask, train) -> tuple[Callable, Callable]:
        """Makers of a residual block, and of a transformer of some stage."""
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        block: Any = image_blocks.ResnetBlock
        transformer: Any = SpatialTransformer
        if self.remat:
            block = nn.remat(block, static_argnums=(3,))
            transformer = nn.remat(transformer, static_argnums=(4,))
        resnet = partial(
            block,
            groups=self.groups,
            epsilon=self.epsilon,
            activation=self.activation,
            dropout=self.dropout,
            time_shift=self.time_shift,
            **dtypes,
        )

        def attend(stage):
            make = partial(
                transformer,
                self.heads[stage],
                self.depths[stage],
                groups=self.groups,
                dropout=self.dropout,
                **dtypes,
            )
            return lambda name: lambda x: make(name=name)(x, text, text_mask, train)

        return resnet, attend

    def _check(self, latents):
        check.images(latents)
        stages = len(self.widths)
        each = (self.attend_down, self.attend_up, self.heads, self.depths)
        if any(len(values) != stages for values in each):
            raise ValueError(
                f"attend_down, attend_up, heads and depths must have {stages} entries, "
                f"as widths; got {[len(values) for values in each]}"
            )
        side = 2 ** (stages - 1)
        if latents.shape[1] % side or latents.shape[2] % side:
            raise ValueError(
                f"height and width must be multiples of {side}; "
                f"got {list(latents.shape)}"
            )


class SpatialTransformer(nn.Module):
    """Pixels attend to each other and to the text, beside a shortcut.

    Args:
        heads: attention heads.
        depth: number of blocks.
        groups: of the norm before them.
        dropout: chance of a value to be dropped in training.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    heads: int
    depth: int = 1
    groups: int = 32
    dropout: float = 0.0
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        text: Float[Array, "b s d"],
        text_mask: Bool[Array, "b s"] | None = None,
        train: bool = False,
    ) -> Float[Array, "b h w c"]:
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        norm = image_blocks.group_norm(self.groups, 1e-6, self.dtype, self.param_dtype)
        layer_norm = partial(
            nn.LayerNorm, epsilon=1e-5, use_fast_variance=False, **dtypes
        )
        attention = partial(
            Attention, self.heads, qkv_bias=False, dropout=self.dropout, **dtypes
        )
        width = x.shape[-1]
        mask = None if text_mask is None else text_mask[:, None, None, :]
        y = norm(name="norm")(x).reshape(x.shape[0], -1, width)
        y = nn.Dense(width, name="proj_in", **dtypes)(y)
        for i in range(self.depth):
            z = layer_norm(name=f"layers_{i}_norm1")(y)
            y = y + attention(name=f"layers_{i}_attention")(z, train=train)[0]
            z = layer_norm(name=f"layers_{i}_norm2")(y)
            z, _ = attention(name=f"layers_{i}_cross_attention")(
                z, text, mask=mask, train=train
            )
            y = y + z
            z = layer_norm(name=f"layers_{i}_norm3")(y)
            y = y + GatedFeedForward(
                4 * width,
                activation="gelu",
                dropout=self.dropout,
                use_bias=True,
                name=f"layers_{i}_feed_forward",
                **dtypes,
            )(z, train=train)
        y = nn.Dense(width, name="proj_out", **dtypes)(y)
        return x + y.reshape(x.shape)


# runwayml/stable-diffusion-v1-5, 859.5 M parameters; text of CLIP ViT-L/14.
sd1_unet = partial(UNet2DCondition, in_channels=4, text_features=768)
# stabilityai/stable-diffusion-2-1, 865.9 M; text of OpenCLIP ViT-H/14.
sd2_unet = partial(
    UNet2DCondition, heads=(5, 10, 20, 20), in_channels=4, text_features=1024
)
