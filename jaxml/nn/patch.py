"""Images cut into patches, each one vector.

    grid = PatchEmbedding(768, (16, 16), name="patch_embedding")(images)  # [b, h, w, d]
    x = grid.reshape(grid.shape[0], -1, grid.shape[-1])                   # [b, t, d]

References:
    Dosovitskiy et al., 2020. An image is worth 16x16 words (eq. 1). arXiv:2010.11929.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

__all__ = ["PatchEmbedding"]


class PatchEmbedding(nn.Module):
    """One linear map of every patch: a convolution whose stride is its kernel.

    Pixels below and to the right of the last whole patch are left out. The kernel has
    the shape of a convolution's, [patch height, patch width, channels, features].

    Args:
        features: size of the vectors.
        patch: height and width of a patch, in pixels.
        use_bias: whether a bias is added.
        kernel_init: initialiser of the kernel.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    features: int
    patch: tuple[int, int]
    use_bias: bool = True
    kernel_init: Callable = nn.initializers.lecun_normal()
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Float[Array, "b H W c"]) -> Float[Array, "b h w d"]:
        """A vector for each patch, in the order of the image.

        Raises:
            ValueError: if the image is smaller than a patch.
        """
        batch, height, width, channels = images.shape
        p, q = self.patch
        h, w = height // p, width // q
        if min(h, w) < 1:
            raise ValueError(
                f"images must be at least {p} x {q}, one patch; got {height} x {width}"
            )
        shape = (p, q, channels, self.features)
        kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
        bias = None
        if self.use_bias:
            zeros = nn.initializers.zeros
            bias = self.param("bias", zeros, (self.features,), self.param_dtype)
        images, kernel, bias = nn.dtypes.promote_dtype(
            images, kernel, bias, dtype=self.dtype
        )
        # A matrix product, which vmap over parameters leaves one.
        pixels = images[:, : h * p, : w * q].reshape(batch, h, p, w, q, channels)
        rows = pixels.transpose(0, 1, 3, 2, 4, 5).reshape(batch, h, w, -1)
        grid = rows @ kernel.reshape(-1, self.features)
        return grid if bias is None else grid + bias.reshape(1, 1, 1, -1)
