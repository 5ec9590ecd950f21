"""The convolutional autoencoders of latent diffusion: KL and vector-quantised.

    model = sd_vae()
    variables = jax.jit(model.init)(key, images)
    posterior = model.apply(variables, images, method="encode")       # vae.Normal
    images = model.apply(variables, posterior.mean, method="decode")

Images are [batch, height, width, channel] from -1 to 1; the sides must be multiples of
2 to the number of stages less one. Latents are meant to be multiplied by
`scaling_factor` before a diffusion model sees them. Names follow the diffusers library
(AutoencoderKL, VQModel).

References:
    Rombach et al., 2022. Latent diffusion. arXiv:2112.10752 (section 3.1).
    Esser, Rombach and Ommer, 2021. Taming transformers (VQGAN). arXiv:2012.09841.
"""

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxml.models.generative import codebook, image_blocks, vae
from jaxml.nn import activations, check

__all__ = ["AutoencoderKL", "VQModel", "VQOutput", "sd_vae"]


class AutoencoderKL(nn.Module):
    """Image to a normal distribution of a smaller latent image, and back.

    Args:
        channels: of an image.
        latent_channels: of a latent.
        widths: channels of each stage, the largest images first.
        layers: blocks of each stage of the encoder; the decoder has one more.
        groups: of the norms.
        activation: name in `jaxml.nn.activations`.
        mid_attention: whether the middles attend.
        quant_conv: whether a 1x1 convolution follows the encoder.
        post_quant_conv: whether one precedes the decoder.
        scaling_factor: what makes the deviation of a latent about 1.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    channels: int = 3
    latent_channels: int = 4
    widths: tuple[int, ...] = (64,)
    layers: int = 1
    groups: int = 32
    activation: str = "silu"
    mid_attention: bool = True
    quant_conv: bool = True
    post_quant_conv: bool = True
    scaling_factor: float = 0.18215
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def setup(self):
        part = partial(_part, self)
        self.encoder = part(Encoder, 2 * self.latent_channels)
        self.decoder = part(Decoder, self.channels)
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        if self.quant_conv:
            self.quant = nn.Conv(2 * self.latent_channels, (1, 1), **dtypes)
        if self.post_quant_conv:
            self.post_quant = nn.Conv(self.latent_channels, (1, 1), **dtypes)

    def __call__(
        self, images: Float[Array, "b h w c"], *, train: bool = False
    ) -> vae.Output:
        """Encode, draw (from the rng "dropout", in training), decode."""
        posterior = self.encode(images)
        code = posterior.mean
        if train:
            key = self.make_rng("dropout")
            code = vae.draw(posterior, jax.random.normal(key, code.shape, code.dtype))
        return vae.Output(self.decode(code), posterior, code)

    def encode(self, images: Float[Array, "b h w c"]) -> vae.Normal:
        """Distribution of the latent; its log variance lies within [-30, 20]."""
        mean, log_variance = jnp.split(self.moments(images), 2, axis=-1)
        return vae.Normal(mean, jnp.clip(log_variance, -30, 20))

    def moments(self, images: Float[Array, "b h w c"]) -> Float[Array, "b u v d"]:
        """Mean and log variance side by side, not clipped."""
        x = self.encoder(images)
        return self.quant(x) if self.quant_conv else x

    def decode(self, latents: Float[Array, "b u v d"]) -> Float[Array, "b h w c"]:
        """Images that belong to the latents."""
        if self.post_quant_conv:
            latents = self.post_quant(latents)
        return self.decoder(latents)


class VQOutput(NamedTuple):
    """What a `VQModel` says of a batch."""

    reconstruction: Float[Array, "b h w c"]
    latents: Float[Array, "b u v d"]  # before the table
    found: codebook.Found


class VQModel(nn.Module):
    """Image to a smaller grid of codes of a learned table, and back.

    Args:
        channels: of an image.
        latent_channels: of a latent.
        codes: length of the table.
        code_features: features of a code; `latent_channels` if None.
        widths: channels of each stage, the largest images first.
        layers: blocks of each stage of the encoder; the decoder has one more.
        groups: of the norms.
        activation: name in `jaxml.nn.activations`.
        mid_attention: whether the middles attend.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    channels: int = 3
    latent_channels: int = 3
    codes: int = 256
    code_features: int | None = None
    widths: tuple[int, ...] = (64,)
    layers: int = 1
    groups: int = 32
    activation: str = "silu"
    mid_attention: bool = True
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def setup(self):
        features = self.code_features or self.latent_channels
        part = partial(_part, self)
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        self.encoder = part(Encoder, self.latent_channels)
        self.decoder = part(Decoder, self.channels)
        self.quant = nn.Conv(features, (1, 1), **dtypes)
        self.post_quant = nn.Conv(self.latent_channels, (1, 1), **dtypes)
        scale = 2 / self.codes
        init = lambda *given: nn.initializers.uniform(scale)(*given) - scale / 2
        self.table = self.param(
            "codebook", init, (self.codes, features), self.param_dtype
        )

    def __call__(
        self, images: Float[Array, "b h w c"], *, train: bool = False
    ) -> VQOutput:
        """Encode, take the nearest codes, decode."""
        latents = self.encode(images)
        found = self.quantize(latents)
        return VQOutput(self.decode_codes(found.codes), latents, found)

    def encode(self, images: Float[Array, "b h w c"]) -> Float[Array, "b u v d"]:
        """Latents, before the table."""
        return self.quant(self.encoder(images))

    def quantize(self, latents: Float[Array, "b u v d"]) -> codebook.Found:
        """The nearest codes. The table learns by `found.movement` in the loss."""
        return codebook.nearest(self.table.astype(latents.dtype), latents)

    def decode(self, latents: Float[Array, "b u v d"]) -> Float[Array, "b h w c"]:
        """Images that belong to latents, by way of their nearest codes."""
        return self.decode_codes(self.quantize(latents).codes)

    def decode_codes(self, codes: Float[Array, "b u v d"]) -> Float[Array, "b h w c"]:
        """Images that belong to codes."""
        return self.decoder(self.post_quant(codes))


class Encoder(nn.Module):
    """Blocks and strided convolutions, then the middle; see `AutoencoderKL`."""

    out_channels: int
    widths: tuple[int, ...]
    layers: int
    groups: int
    activation: str
    mid_attention: bool
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Float[Array, "b h w c"]) -> Float[Array, "b u v d"]:
        check.images(images)
        side = 2 ** (len(self.widths) - 1)
        if images.shape[1] % side or images.shape[2] % side:
            raise ValueError(
                f"height and width must be multiples of {side}; "
                f"got {list(images.shape)}"
            )
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        resnet, conv, end = _blocks(self)
        x = conv(self.widths[0], name="conv_in")(images)
        for i, width in enumerate(self.widths):
            for j in range(self.layers):
                x = resnet(width, name=f"down_{i}_resnets_{j}")(x)
            if i < len(self.widths) - 1:
                # Padded below and to the right alone.
                x = image_blocks.Downsample(
                    width, 0, name=f"down_{i}_downsample", **dtypes
                )(x)
        return conv(self.out_channels, name="conv_out")(end(_middle(self, x)))


class Decoder(nn.Module):
    """The middle, then blocks and doubled images; see `AutoencoderKL`."""

    out_channels: int
    widths: tuple[int, ...]
    layers: int
    groups: int
    activation: str
    mid_attention: bool
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, latents: Float[Array, "b u v d"]) -> Float[Array, "b h w c"]:
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        resnet, conv, end = _blocks(self)
        x = _middle(self, conv(self.widths[-1], name="conv_in")(latents))
        for i, width in enumerate(reversed(self.widths)):
            for j in range(self.layers + 1):
                x = resnet(width, name=f"up_{i}_resnets_{j}")(x)
            if i < len(self.widths) - 1:
                x = image_blocks.Upsample(width, name=f"up_{i}_upsample", **dtypes)(x)
        return conv(self.out_channels, name="conv_out")(end(x))


def _part(model, kind, out_channels):
    """Encoder or decoder with the model's settings."""
    return kind(
        out_channels,
        model.widths,
        model.layers,
        model.groups,
        model.activation,
        model.mid_attention,
        dtype=model.dtype,
        param_dtype=model.param_dtype,
    )


def _blocks(part):
    """Makers of block and convolution, and the norm and activation at the end."""
    dtypes = {"dtype": part.dtype, "param_dtype": part.param_dtype}
    resnet = partial(
        image_blocks.ResnetBlock,
        groups=part.groups,
        activation=part.activation,
        **dtypes,
    )
    conv = partial(nn.Conv, kernel_size=(3, 3), padding=1, **dtypes)
    norm = image_blocks.group_norm(part.groups, 1e-6, part.dtype, part.param_dtype)
    act = activations.by_name(part.activation)
    return resnet, conv, lambda x: act(norm(name="conv_norm_out")(x))


def _middle(part, x):
    resnet, _, _ = _blocks(part)
    attention = partial(
        image_blocks.SpatialAttention,
        groups=part.groups,
        dtype=part.dtype,
        param_dtype=part.param_dtype,
    )
    return image_blocks.MidBlock(
        resnet, attention if part.mid_attention else None, name="mid_block"
    )(x)


# stabilityai/sd-vae-ft-mse, 83.7 M parameters; images to latents an eighth as wide.
sd_vae = partial(AutoencoderKL, widths=(128, 256, 512, 512), layers=2)
