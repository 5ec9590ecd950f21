"""Convolutional and recurrent autoencoders of images.

    model = ConvAutoencoder((16, 32, 64), code=30, shape=(28, 28, 1))
    reconstruction = model.apply(variables, images)
    code = model.apply(variables, images, method="encode")

`RecurrentAutoencoder` reads an image as a sequence of its rows, and writes it so.

References:
    Masci, Meier, Cireşan and Schmidhuber, 2011. Stacked convolutional auto-encoders.
    Srivastava, Mansimov and Salakhutdinov, 2015. Unsupervised learning of video
    representations using LSTMs. arXiv:1502.04681 (encoder and decoder of section 2).
"""

import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxml.models.generative.autoencoder import Corruption
from jaxml.nn import check, initializers
from jaxml.nn.cells import LSTMCell
from jaxml.nn.recurrent import Recurrent

__all__ = ["ConvAutoencoder", "RecurrentAutoencoder"]


class ConvAutoencoder(nn.Module):
    """Strided convolutions to a code, transposed ones back.

    Args:
        widths: channels of each convolution; each halves the sides, rounding up.
        code: width of the code; None keeps the last feature map as the code.
        shape: height, width and channels of an image.
        out_activation: "linear" or "sigmoid".
        noise: deviation of normal noise added to the input in training.
        input_dropout: chance of an input to be dropped in training.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    widths: tuple[int, ...]
    code: int | None
    shape: tuple[int, int, int]
    out_activation: str = "linear"
    noise: float = 0.0
    input_dropout: float = 0.0
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def setup(self):
        check.one_of(self.out_activation, ("linear", "sigmoid"), "out_activation")
        options = {
            "kernel_init": initializers.by_name("he_normal"),
            "dtype": self.dtype,
            "param_dtype": self.param_dtype,
        }
        self.down = [
            nn.Conv(width, (3, 3), 2, padding=1, **options) for width in self.widths
        ]
        back = (*reversed(self.widths[:-1]), self.shape[-1])
        self.up = [nn.ConvTranspose(width, (4, 4), (2, 2), **options) for width in back]
        # Sides after each convolution, the image's own first.
        self.sides = _sides(self.shape[:2], len(self.widths))
        self.small = (*self.sides[-1], self.widths[-1])
        if self.code is not None:
            self.to_code = nn.Dense(self.code, **options)
            self.from_code = nn.Dense(math.prod(self.small), **options)
        self.corrupt = Corruption(self.noise, self.input_dropout)

    def __call__(
        self, images: Float[Array, "b h w c"], *, train: bool = False
    ) -> Float[Array, "b h w c"]:
        """Reconstructions, from corrupted images in training if so told.

        Raises:
            ValueError: if the images have another shape.
        """
        return self.decode(self.encode(self.corrupt(images, train=train)))

    def encode(self, images: Float[Array, "b h w c"]) -> Float[Array, "b ..."]:
        """Code of each image."""
        _check(images, self.shape)
        x = images
        for layer in self.down:
            x = nn.relu(layer(x))
        if self.code is None:
            return x
        return self.to_code(x.reshape(x.shape[0], -1))

    def decode(self, code: Float[Array, "b ..."]) -> Float[Array, "b h w c"]:
        """Images that belong to the codes."""
        x = code
        if self.code is not None:
            x = nn.relu(self.from_code(code)).reshape(-1, *self.small)
        for i, layer in enumerate(self.up):
            height, width = self.sides[-2 - i]
            x = layer(x)[:, :height, :width]
            x = nn.relu(x) if i < len(self.up) - 1 else x
        return nn.sigmoid(x) if self.out_activation == "sigmoid" else x


class RecurrentAutoencoder(nn.Module):
    """Two LSTMs over the rows of an image to a code, two over copies of it back.

    Args:
        hidden: units of the first LSTM, and of the last.
        code: units of the second, the width of the code.
        shape: height, width and channels of an image.
        out_activation: "linear" or "sigmoid".
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    hidden: int
    code: int
    shape: tuple[int, int, int]
    out_activation: str = "linear"
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def setup(self):
        check.one_of(self.out_activation, ("linear", "sigmoid"), "out_activation")
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        layer = lambda width: Recurrent(LSTMCell, width, **dtypes)
        self.encoder = [layer(self.hidden), layer(self.code)]
        self.decoder = [layer(self.code), layer(self.hidden)]
        self.out = nn.Dense(self.shape[1] * self.shape[2], **dtypes)

    def __call__(
        self, images: Float[Array, "b h w c"], *, train: bool = False
    ) -> Float[Array, "b h w c"]:
        """Reconstructions.

        Raises:
            ValueError: if the images have another shape.
        """
        return self.decode(self.encode(images))

    def encode(self, images: Float[Array, "b h w c"]) -> Float[Array, "b k"]:
        """Code of each image: the last state of the second LSTM."""
        _check(images, self.shape)
        x = images.reshape(*images.shape[:2], -1)
        for layer in self.encoder:
            x, _ = layer(x)
        return x[:, -1]

    def decode(self, code: Float[Array, "b k"]) -> Float[Array, "b h w c"]:
        """Images that belong to the codes."""
        x = jnp.repeat(code[:, None], self.shape[0], axis=1)
        for layer in self.decoder:
            x, _ = layer(x)
        x = self.out(x).reshape(-1, *self.shape)
        return nn.sigmoid(x) if self.out_activation == "sigmoid" else x


def _sides(sides, count):
    every = [tuple(sides)]
    for _ in range(count):
        every.append(tuple(-(-side // 2) for side in every[-1]))
    return tuple(every)


def _check(images, shape):
    check.images(images)
    if images.shape[1:] != tuple(shape):
        raise ValueError(
            f"images must be [batch, {', '.join(map(str, shape))}]; "
            f"got {list(images.shape)}"
        )
