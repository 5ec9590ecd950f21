"""Conditional DCGAN: both players are told the class of an image.

    generator = ConditionalGenerator(10, channels=1, start=7, doublings=2)
    discriminator = ConditionalDiscriminator(10, start=7, doublings=2)
    images = generator.apply(variables, latents, labels)
    scores = discriminator.apply(variables, images, labels)

The generator sees an embedding of the class beside the latent, the discriminator one
more channel of the image that depends on the class.

References:
    Mirza and Osindero, 2014. Conditional generative adversarial nets. arXiv:1411.1784.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxml.models.generative import dcgan

__all__ = ["ConditionalDiscriminator", "ConditionalGenerator"]


class ConditionalGenerator(nn.Module):
    """`dcgan.Generator` over latent and class.

    Args:
        num_classes: at least 2.
        channels: of an image.
        embedding: features of a class.
        width: see `dcgan.Generator`.
        start: see there.
        doublings: see there.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    num_classes: int
    channels: int
    embedding: int = 32
    width: int = 64
    start: int = 4
    doublings: int = 4
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        latents: Float[Array, "b z"],
        labels: Int[Array, " b"],
        *,
        train: bool = False,
    ) -> Float[Array, "b h w c"]:
        """Images of these classes, from -1 to 1.

        Raises:
            ValueError: if there is one class alone.
        """
        _check_classes(self.num_classes)
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        told = nn.Embed(self.num_classes, self.embedding, name="embedding", **dtypes)
        x = jnp.concatenate([latents, told(labels).astype(latents.dtype)], -1)
        return dcgan.Generator(
            self.channels,
            self.width,
            self.start,
            self.doublings,
            name="generator",
            **dtypes,
        )(x, train=train)


class ConditionalDiscriminator(nn.Module):
    """`dcgan.Discriminator` over an image and a channel that tells its class.

    Args:
        num_classes: at least 2.
        width: see `dcgan.Discriminator`.
        start: see there.
        doublings: see there.
        norm: see there.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    num_classes: int
    width: int = 64
    start: int = 4
    doublings: int = 4
    norm: str = "batch"
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "b h w c"],
        labels: Int[Array, " b"],
        *,
        train: bool = False,
    ) -> Float[Array, " b"]:
        """One score for each image as one of its class.

        Raises:
            ValueError: if there is one class alone, or the images have another size.
        """
        _check_classes(self.num_classes)
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        sides = images.shape[1:3]
        told = nn.Embed(
            self.num_classes, sides[0] * sides[1], name="embedding", **dtypes
        )(labels)
        plane = told.reshape(-1, *sides, 1).astype(images.dtype)
        return dcgan.Discriminator(
            self.width,
            self.start,
            self.doublings,
            self.norm,
            name="discriminator",
            **dtypes,
        )(jnp.concatenate([images, plane], -1), train=train)


def _check_classes(count):
    if count < 2:
        raise ValueError(
            f"a conditional GAN needs 2 classes or more; got {count} (dcgan has one)"
        )
