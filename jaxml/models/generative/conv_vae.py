"""Variational autoencoder of convolutions.

    model = ConvVAE((32, 64), code=16, shape=(28, 28, 1))
    output = model.apply(variables, images, train=True, rngs={"dropout": key})
    values = vae.loss(output, images, vae.bernoulli)                  # [batch], nats

References:
    Kingma and Welling, 2014. Auto-encoding variational Bayes. arXiv:1312.6114.
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxml.models.generative import vae
from jaxml.nn import check, initializers

__all__ = ["ConvVAE"]


class ConvVAE(nn.Module):
    """Strided convolutions to mean and log variance, transposed ones back.

    Args:
        widths: channels of each convolution; each halves the sides, rounding up.
        code: width of the code.
        shape: height, width and channels of an image.
        dense: width of the dense layers beside the code.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    widths: tuple[int, ...]
    code: int
    shape: tuple[int, int, int]
    dense: int = 128
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def setup(self):
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        options = {"kernel_init": initializers.by_name("he_normal"), **dtypes}
        self.down = [
            nn.Conv(width, (3, 3), 2, padding=1, **options) for width in self.widths
        ]
        self.encoder = nn.Dense(self.dense, **options)
        self.mean = nn.Dense(self.code, **dtypes)
        self.log_variance = nn.Dense(self.code, **dtypes)
        sides = [tuple(self.shape[:2])]
        for _ in self.widths:
            sides.append(tuple(-(-side // 2) for side in sides[-1]))
        self.sides = tuple(sides)
        self.small = (*sides[-1], self.widths[-1])
        self.decoder = nn.Dense(self.dense, **options)
        self.grow = nn.Dense(math.prod(self.small), **options)
        back = (*reversed(self.widths[:-1]), self.shape[-1])
        self.up = [nn.ConvTranspose(width, (4, 4), (2, 2), **options) for width in back]

    def __call__(
        self, images: Float[Array, "b h w c"], *, train: bool = False
    ) -> vae.Output:
        """Encode, draw (from the rng "dropout", in training), decode."""
        posterior = self.encode(images)
        code = posterior.mean
        if train:
            noise = jax.random.normal(
                self.make_rng("dropout"), code.shape, posterior.mean.dtype
            )
            code = vae.draw(posterior, noise)
        return vae.Output(self.decode(code), posterior, code)

    def encode(self, images: Float[Array, "b h w c"]) -> vae.Normal:
        """q(z|x) of each image.

        Raises:
            ValueError: if the images have another shape.
        """
        check.images(images)
        if images.shape[1:] != tuple(self.shape):
            raise ValueError(
                f"images must be [batch, {', '.join(map(str, self.shape))}]; "
                f"got {list(images.shape)}"
            )
        x = images
        for layer in self.down:
            x = nn.relu(layer(x))
        x = nn.relu(self.encoder(x.reshape(x.shape[0], -1)))
        return vae.Normal(self.mean(x), self.log_variance(x))

    def decode(self, code: Float[Array, "b k"]) -> Float[Array, "b h w c"]:
        """Parameters of p(x|z): logits or means, as the likelihood takes them."""
        x = nn.relu(self.grow(nn.relu(self.decoder(code))))
        x = x.reshape(-1, *self.small)
        for i, layer in enumerate(self.up):
            height, width = self.sides[-2 - i]
            x = layer(x)[:, :height, :width]
            x = nn.relu(x) if i < len(self.up) - 1 else x
        return x
