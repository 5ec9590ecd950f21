"""DCGAN: generator and discriminator of convolutions alone.

    generator, discriminator = Generator(3), Discriminator()          # 64 x 64
    generator = Generator(1, start=7, doublings=2)                    # 28 x 28
    images = generator.apply(variables, latents)                      # from -1 to 1
    scores = discriminator.apply(variables, images)

With `norm="spectral"` in the discriminator (or "none", beside a gradient penalty) every
image is judged on its own.

References:
    Radford, Metz and Chintala, 2016. Unsupervised representation learning with DCGAN.
    arXiv:1511.06434 (figure 1).
    Miyato et al., 2018. Spectral normalization for GANs. arXiv:1802.05957 (alg. 1).
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxml.nn import check
from jaxml.nn.norm import BatchNorm

__all__ = ["Discriminator", "Generator"]

_INIT = nn.initializers.normal(0.02)


class Generator(nn.Module):
    """A first image of `start` x `start` out of the latent, doubled some times.

    Args:
        channels: of an image.
        width: channels before the last convolution; twice as many in each one before.
        start: side of the first image.
        doublings: how often it is doubled, at least 1.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    channels: int
    width: int = 64
    start: int = 4
    doublings: int = 4
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, latents: Float[Array, "b z"], *, train: bool = False
    ) -> Float[Array, "b h w c"]:
        """Images from -1 to 1.

        Raises:
            ValueError: if there is no doubling.
        """
        _check_size(self.start, self.doublings)
        check.rows(latents, "latents")
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        x = latents.reshape(latents.shape[0], 1, 1, -1)
        for i in range(self.doublings):
            width = self.width * 2 ** (self.doublings - 1 - i)
            x = self._grow(width, i, dtypes)(x)
            norm = BatchNorm(name=f"norm_{i}", **dtypes)
            x = nn.relu(norm(x, train=train))
        return jnp.tanh(self._grow(self.channels, self.doublings, dtypes)(x))

    def _grow(self, features, i, dtypes):
        side = self.start if i == 0 else 4
        return nn.ConvTranspose(
            features,
            (side, side),
            strides=None if i == 0 else (2, 2),
            padding="VALID" if i == 0 else "SAME",
            use_bias=False,
            kernel_init=_INIT,
            name=f"conv_{i}",
            **dtypes,
        )


class Discriminator(nn.Module):
    """Strided convolutions down to one score.

    Args:
        width: channels of the first convolution; twice as many in each one after.
        start: side of the image that is left, all of which the last one sees.
        doublings: how often the side is halved, at least 1.
        norm: "batch", "spectral" or "none"; the first and last layer have no batch
            norm.
        slope: of the leaky ReLU.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    width: int = 64
    start: int = 4
    doublings: int = 4
    norm: str = "batch"
    slope: float = 0.2
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, images: Float[Array, "b h w c"], *, train: bool = False
    ) -> Float[Array, " b"]:
        """One score for each image, higher for what looks real.

        Raises:
            ValueError: if the images have another size, or there is no such norm.
        """
        check.one_of(self.norm, ("batch", "spectral", "none"), "norm")
        check.images(images)
        _check_size(self.start, self.doublings)
        side = self.start * 2**self.doublings
        if images.shape[1:3] != (side, side):
            raise ValueError(
                f"images must be [batch, {side}, {side}, channels]; "
                f"got {list(images.shape)}"
            )
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        x = images
        for i in range(self.doublings):
            x = self._layer(self.width * 2**i, i, (4, 4), 2, 1, train)(x)
            if self.norm == "batch" and i > 0:
                x = BatchNorm(name=f"norm_{i}", **dtypes)(x, train=train)
            x = nn.leaky_relu(x, self.slope)
        sides = (self.start, self.start)
        x = self._layer(1, self.doublings, sides, 1, 0, train)(x)
        return x.reshape(x.shape[0])

    def _layer(self, features, i, sides, stride, padding, train):
        layer = nn.Conv(
            features,
            sides,
            stride,
            padding=padding,
            use_bias=False,
            kernel_init=_INIT,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            name=f"conv_{i}",
        )
        if self.norm != "spectral":
            return layer
        wrapped = nn.SpectralNorm(layer, name=f"spectral_{i}")
        return lambda x: wrapped(x, update_stats=train)


def _check_size(start, doublings):
    if start < 1 or doublings < 1:
        raise ValueError(
            f"start and doublings must be at least 1; got {start} and {doublings}"
        )
