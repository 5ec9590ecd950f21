"""VQ-VAE: an image as a small grid of codes out of a table.

    model = VQVAE(channels=1)
    variables = model.init(key, images, jnp.zeros((1, 32)))
    book = codebook.init(key, codes=128, features=model.code)
    output = model.apply(variables, images, book.codes)
    values = square_error(output.reconstruction, images)
    values += 0.25 * output.found.commitment.mean((1, 2))             # [batch]
    book = codebook.update(book, output.latents, output.found.indices)

The table is state beside the parameters: `codebook` moves it, this module reads it.

References:
    van den Oord, Vinyals and Kavukcuoglu, 2017. Neural discrete representation
    learning. arXiv:1711.00937 (section 4.1: the network).
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxml.models.generative import codebook
from jaxml.nn import check, initializers

__all__ = ["Output", "VQVAE"]


class Output(NamedTuple):
    """What a VQ-VAE says of a batch."""

    reconstruction: Float[Array, "b h w c"]
    latents: Float[Array, "b u v d"]  # before the table
    found: codebook.Found


class VQVAE(nn.Module):
    """Two strided convolutions and residual blocks, the table, and the way back.

    Args:
        channels: of an image.
        width: channels of the hidden layers.
        code: features of a code.
        blocks: residual blocks on either side.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    channels: int
    width: int = 64
    code: int = 32
    blocks: int = 2
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def setup(self):
        options = {
            "kernel_init": initializers.by_name("he_normal"),
            "dtype": self.dtype,
            "param_dtype": self.param_dtype,
        }
        block = lambda: Residual(self.width, self.dtype, self.param_dtype)
        half = lambda width: nn.Conv(width, (4, 4), 2, padding=1, **options)
        double = lambda width: nn.ConvTranspose(width, (4, 4), (2, 2), **options)
        self.down = [half(self.width // 2), half(self.width)]
        self.into = nn.Conv(self.width, (3, 3), **options)
        self.encoder = [block() for _ in range(self.blocks)]
        self.to_code = nn.Conv(self.code, (1, 1), **options)
        self.from_code = nn.Conv(self.width, (3, 3), **options)
        self.decoder = [block() for _ in range(self.blocks)]
        self.up = [double(self.width // 2), double(self.channels)]

    def __call__(
        self,
        images: Float[Array, "b h w c"],
        codes: Float[Array, "n d"],
        *,
        train: bool = False,
    ) -> Output:
        """Encode, take the nearest codes of the table, decode."""
        latents = self.encode(images)
        found = codebook.nearest(codes.astype(latents.dtype), latents)
        return Output(self.decode(found.codes), latents, found)

    def encode(self, images: Float[Array, "b h w c"]) -> Float[Array, "b u v d"]:
        """Latents [b, h / 4, w / 4, code].

        Raises:
            ValueError: if the sides are not multiples of 4 or the channels others.
        """
        check.images(images)
        if (
            images.shape[1] % 4
            or images.shape[2] % 4
            or (images.shape[3] != self.channels)
        ):
            raise ValueError(
                f"images must be [batch, 4 n, 4 m, {self.channels}]; "
                f"got {list(images.shape)}"
            )
        x = images
        for layer in self.down:
            x = nn.relu(layer(x))
        x = self.into(x)
        for block in self.encoder:
            x = block(x)
        return self.to_code(nn.relu(x))

    def decode(self, codes: Float[Array, "b u v d"]) -> Float[Array, "b h w c"]:
        """Images that belong to the codes."""
        x = self.from_code(codes)
        for layer in self.decoder:
            x = layer(x)
        x = nn.relu(self.up[0](nn.relu(x)))
        return self.up[1](x)

    def lookup(
        self, index: Int[Array, "b u v"], codes: Float[Array, "n d"]
    ) -> Float[Array, "b h w c"]:
        """Images that belong to indices into the table."""
        return self.decode(codes[index])


class Residual(nn.Module):
    """ReLU, 3x3, ReLU, 1x1, beside a shortcut."""

    width: int
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x):
        options = {
            "kernel_init": initializers.by_name("he_normal"),
            "dtype": self.dtype,
            "param_dtype": self.param_dtype,
        }
        y = nn.Conv(self.width // 2, (3, 3), **options)(nn.relu(x))
        return x + nn.Conv(self.width, (1, 1), **options)(nn.relu(y))
