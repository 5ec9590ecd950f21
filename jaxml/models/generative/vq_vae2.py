"""VQ-VAE-2: an image as two grids of codes, a coarse and a fine one.

    model = VQVAE2()
    variables = jax.jit(model.init)(key, images)
    output, state = model.apply(variables, images, train=True, mutable=["codebook"])
    values = square_error(output.reconstruction, images)
    values += 0.25 * output.commitment                                # [batch]

The two tables are variables of the collection "codebook"; in training they follow the
latents by moving averages. Images are [batch, height, width, channel], the sides
multiples of 8. Names and details follow rosinality/vq-vae-2-pytorch.

References:
    Razavi, van den Oord and Vinyals, 2019. Generating diverse high-fidelity images with
    VQ-VAE-2. arXiv:1906.00446 (algorithm 1).
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxml.models.generative import codebook
from jaxml.nn import check, initializers

__all__ = ["Output", "VQVAE2"]


class Output(NamedTuple):
    """What a VQ-VAE-2 says of a batch."""

    reconstruction: Float[Array, "b h w c"]
    top: Float[Array, "b u v d"]  # coarse codes
    bottom: Float[Array, "b p q d"]  # fine codes
    top_indices: Int[Array, "b u v"]
    bottom_indices: Int[Array, "b p q"]
    commitment: Float[Array, " b"]  # mean square from latents to codes, both grids


class VQVAE2(nn.Module):
    """Two encoders, two tables, two decoders.

    Args:
        channels: of an image.
        width: channels of the hidden layers.
        blocks: residual blocks of each encoder and decoder.
        block_width: channels inside of a residual block.
        code: features of a code.
        codes: length of each table.
        decay: weight of the old averages of the tables in training, 0 to 1.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    channels: int = 3
    width: int = 128
    blocks: int = 2
    block_width: int = 32
    code: int = 64
    codes: int = 512
    decay: float = 0.99
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def setup(self):
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        hidden = (self.width, self.blocks, self.block_width)
        self.enc_b = Encoder(*hidden, 4, **dtypes)
        self.enc_t = Encoder(*hidden, 2, **dtypes)
        self.quantize_conv_t = nn.Conv(self.code, (1, 1), **dtypes)
        self.quantize_conv_b = nn.Conv(self.code, (1, 1), **dtypes)
        self.quantize_t = Quantize(self.codes, self.code, self.decay)
        self.quantize_b = Quantize(self.codes, self.code, self.decay)
        self.dec_t = Decoder(self.code, *hidden, 2, **dtypes)
        self.upsample_t = nn.ConvTranspose(self.code, (4, 4), (2, 2), **dtypes)
        self.dec = Decoder(self.channels, *hidden, 4, **dtypes)

    def __call__(
        self, images: Float[Array, "b h w c"], *, train: bool = False
    ) -> Output:
        """Encode, take the nearest codes, decode.

        Args:
            images: a batch of them.
            train: whether the tables follow the latents; "codebook" must be mutable.

        Raises:
            ValueError: if the sides are not multiples of 8 or the channels others.
        """
        top, bottom = self.encode(images, train=train)
        rows = lambda found: found.commitment.reshape(images.shape[0], -1).mean(-1)
        return Output(
            self.decode(top.codes, bottom.codes),
            top.codes,
            bottom.codes,
            top.indices,
            bottom.indices,
            rows(top) + rows(bottom),
        )

    def encode(
        self, images: Float[Array, "b h w c"], *, train: bool = False
    ) -> tuple[codebook.Found, codebook.Found]:
        """What the coarse and the fine table say."""
        check.images(images)
        if (
            images.shape[1] % 8
            or images.shape[2] % 8
            or images.shape[3] != self.channels
        ):
            raise ValueError(
                f"images must be [batch, 8 n, 8 m, {self.channels}]; "
                f"got {list(images.shape)}"
            )
        fine = self.enc_b(images)
        top = self.quantize_t(self.quantize_conv_t(self.enc_t(fine)), train=train)
        told = jnp.concatenate([self.dec_t(top.codes), fine], -1)
        return top, self.quantize_b(self.quantize_conv_b(told), train=train)

    def decode(
        self, top: Float[Array, "b u v d"], bottom: Float[Array, "b p q d"]
    ) -> Float[Array, "b h w c"]:
        """Images that belong to codes of both tables."""
        return self.dec(jnp.concatenate([self.upsample_t(top), bottom], -1))


class Quantize(nn.Module):
    """A table of codes that follows the latents in training.

    Args:
        codes: its length.
        features: of a code.
        decay: weight of the old averages, 0 to 1.
    """

    codes: int
    features: int
    decay: float = 0.99

    @nn.compact
    def __call__(
        self, latents: Float[Array, "b u v d"], *, train: bool = False
    ) -> codebook.Found:
        start = lambda: jax.random.normal(
            self.make_rng("params"), (self.codes, self.features)
        )
        table = self.variable("codebook", "codes", start)
        uses = self.variable("codebook", "uses", jnp.zeros, (self.codes,))
        total = self.variable("codebook", "total", lambda: table.value)
        found = codebook.nearest(table.value.astype(latents.dtype), latents)
        if train and not self.is_initializing():
            book = codebook.Codebook(table.value, uses.value, total.value)
            book = codebook.update(
                book,
                latents.astype(table.value.dtype),
                found.indices,
                decay=self.decay,
            )
            table.value, uses.value, total.value = book
        return found


class Encoder(nn.Module):
    """Strided convolutions (to a quarter or a half) and residual blocks."""

    width: int
    blocks: int
    block_width: int
    stride: int
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b u v d"]:
        conv = _maker(nn.Conv, self)
        half = {"strides": 2, "padding": 1}
        x = nn.relu(conv(self.width // 2, (4, 4), name="conv_0", **half)(x))
        if self.stride == 4:
            x = nn.relu(conv(self.width, (4, 4), name="conv_1", **half)(x))
        x = conv(self.width, (3, 3), name="conv_last")(x)
        return nn.relu(_blocks(self, x))


class Decoder(nn.Module):
    """Residual blocks and transposed convolutions (four times or twice as large)."""

    out_channels: int
    width: int
    blocks: int
    block_width: int
    stride: int
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b u v d"]) -> Float[Array, "b h w c"]:
        conv, grow = _maker(nn.Conv, self), _maker(nn.ConvTranspose, self)
        x = conv(self.width, (3, 3), name="conv_in")(x)
        x = nn.relu(_blocks(self, x))
        double = {"strides": (2, 2)}
        if self.stride == 4:
            x = nn.relu(grow(self.width // 2, (4, 4), name="grow_0", **double)(x))
        return grow(self.out_channels, (4, 4), name="grow_last", **double)(x)


def _maker(layer, module) -> Any:
    """Maker of a convolution, given features, sides and options."""

    def make(*given, **options):
        return layer(
            *given,
            kernel_init=initializers.by_name("torch"),
            dtype=module.dtype,
            param_dtype=module.param_dtype,
            **options,
        )

    return make


def _blocks(module, x):
    """ReLU, 3x3, ReLU, 1x1, beside a shortcut."""
    conv = _maker(nn.Conv, module)
    for i in range(module.blocks):
        y = conv(module.block_width, (3, 3), name=f"blocks_{i}_conv1")(nn.relu(x))
        y = nn.relu(y)
        x = x + conv(module.width, (1, 1), name=f"blocks_{i}_conv2")(y)
    return x
