"""ConvNeXt: a convolutional network with the habits of a transformer.

    model = convnext_tiny(num_classes=10)
    variables = jax.jit(model.init)(key, images)
    logits = model.apply(variables, images)
    logits = model.apply(variables, images, train=True, rngs={"dropout": key})

Images: [batch, height, width, channel], float, normalised by the caller. The second
version (`convnext_v2_...`) has other blocks: global response normalisation inside,
no layer scale.

References:
    Liu et al., 2022. A ConvNet for the 2020s. arXiv:2201.03545 (fig. 4, section 2.6).
    Woo et al., 2023. ConvNeXt V2. arXiv:2301.00808 (alg. 1, fig. 5).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxml.nn import activations, stochastic_depth
from jaxml.nn.conv import check_images
from jaxml.nn.stochastic_depth import DropPath

__all__ = [
    "Block",
    "BlockV2",
    "ConvNeXt",
    "convnext_base",
    "convnext_large",
    "convnext_small",
    "convnext_tiny",
    "convnext_v2_atto",
    "convnext_v2_base",
    "convnext_v2_femto",
    "convnext_v2_huge",
    "convnext_v2_large",
    "convnext_v2_nano",
    "convnext_v2_pico",
    "convnext_v2_tiny",
    "convnext_xlarge",
]

_init = nn.initializers.truncated_normal(0.02)


class ConvNeXt(nn.Module):
    """Patches, stages of blocks between halvings, mean over space, norm, linear head.

    Args:
        depths: number of blocks of each stage.
        widths: channels of each stage.
        num_classes: number of logits; None for no head: the normalised means are the
            result.
        block: `Block`, or `BlockV2` for the second version.
        patch: side of the patches that the stem makes one pixel of.
        layer_scale: where the scale of each block's branch starts; None for none.
        drop_path: chance of the last block to be dropped for a row; it grows from 0.
        activation: function, or name in `jaxml.nn.activations`.
        epsilon: added to the variance in the norms.
        head_epsilon: likewise in the norm before the head.
        remat: whether the backward pass computes each block again.
        channels: channels that the images must have; any number if None.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    num_classes: int | None = 1000
    block: Callable | None = None
    patch: int = 4
    layer_scale: float | None = 1e-6
    drop_path: float = 0.0
    activation: str | Callable = "gelu"
    epsilon: float = 1e-6
    head_epsilon: float = 1e-6
    remat: bool = False
    channels: int | None = None
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "b h w c"],
        *,
        train: bool = False,
        mask: Bool[Array, " b"] | None = None,
    ) -> Float[Array, "b k"]:
        """Logits of every image.

        Sows "hidden_states" in "intermediates": after the stem and after every stage.

        Args:
            images: normalised by the caller.
            train: whether whole blocks are dropped (rng "dropout").
            mask: for the contract of networks; no row sees another.

        Raises:
            ValueError: if the rank or dtype of the images is off.
        """
        check_images(images, self.channels)
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        conv: Callable = partial(nn.Conv, padding="VALID", kernel_init=_init, **dtypes)
        norm: Callable = partial(nn.LayerNorm, use_fast_variance=False, **dtypes)
        block: Callable = self.block or Block
        if self.remat:
            block = nn.remat(block, static_argnums=(2,))
        rates = stochastic_depth.rates(self.drop_path, sum(self.depths))
        side = (self.patch, self.patch)
        x = conv(self.widths[0], side, side, name="stem_conv")(images)
        x = norm(epsilon=self.epsilon, name="stem_norm")(x)
        self.sow("intermediates", "hidden_states", x)
        number = 0
        for i, (depth, width) in enumerate(zip(self.depths, self.widths, strict=True)):
            if i > 0:
                x = norm(epsilon=self.epsilon, name=f"downsample_norm_{i}")(x)
                x = conv(width, (2, 2), (2, 2), name=f"downsample_conv_{i}")(x)
            for j in range(depth):
                x = block(
                    layer_scale=self.layer_scale,
                    drop_path=rates[number],
                    activation=self.activation,
                    epsilon=self.epsilon,
                    name=f"stage{i}_block{j}",
                    **dtypes,
                )(x, train)
                number += 1
            self.sow("intermediates", "hidden_states", x)
        x = norm(epsilon=self.head_epsilon, name="norm")(x.mean((1, 2)))
        if self.num_classes is None:
            return x
        return nn.Dense(self.num_classes, kernel_init=_init, name="head", **dtypes)(x)


class Block(nn.Module):
    """Depthwise 7x7, norm, up by four, activation, down, scale; beside itself (fig. 4).

    Args:
        layer_scale: where the scale of the branch starts; None for none.
        drop_path: chance of the branch to be dropped for a row.
        activation: function, or name in `jaxml.nn.activations`.
        epsilon: added to the variance in the norm.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    layer_scale: float | None = 1e-6
    drop_path: float = 0.0
    activation: str | Callable = "gelu"
    epsilon: float = 1e-6
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, train):
        width = x.shape[-1]
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        dense: Callable = partial(nn.Dense, kernel_init=_init, **dtypes)
        y = nn.Conv(
            width,
            (7, 7),
            padding=3,
            feature_group_count=width,
            kernel_init=_init,
            name="depthwise",
            **dtypes,
        )(x)
        y = nn.LayerNorm(self.epsilon, use_fast_variance=False, name="norm", **dtypes)(
            y
        )
        y = activations.activate(dense(4 * width, name="up")(y), self.activation)
        y = dense(width, name="down")(self._respond(y))
        if self.layer_scale is not None:
            start = nn.initializers.constant(self.layer_scale)
            scale = self.param("scale", start, (width,), self.param_dtype)
            y = y * scale.astype(y.dtype).reshape(1, 1, 1, -1)
        return x + DropPath(self.drop_path, name="drop_path")(
            y, deterministic=not train
        )

    def _respond(self, y):
        return y


class BlockV2(Block):
    """`Block` with global response normalisation before the way down (fig. 5).

    Args:
        layer_scale: as in `Block`; the paper has none.
    """

    def _respond(self, y):
        return GlobalResponseNorm(
            dtype=self.dtype, param_dtype=self.param_dtype, name="response"
        )(y)


class GlobalResponseNorm(nn.Module):
    """Each channel by its length over the image, against the mean of all (alg. 1).

    Args:
        epsilon: added to the mean of the lengths.
        dtype: dtype of the result; that of the input and the parameters if None.
        param_dtype: dtype of scale and bias.
    """

    epsilon: float = 1e-6
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Normalise `x`, scale, shift, and add `x` itself."""
        width = x.shape[-1]
        zeros = nn.initializers.zeros
        scale = self.param("scale", zeros, (width,), self.param_dtype)
        bias = self.param("bias", zeros, (width,), self.param_dtype)
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        # The gradient of a root is infinite at zero: an image may be black.
        square = jnp.square(wide).sum((1, 2), keepdims=True)
        length = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
        response = length / (length.mean(-1, keepdims=True) + self.epsilon)
        y = wide * (1 + scale.reshape(1, 1, 1, -1) * response)
        y = y + bias.reshape(1, 1, 1, -1)
        return y.astype(self.dtype or jnp.promote_types(x.dtype, self.param_dtype))


_v2 = partial(ConvNeXt, block=BlockV2, layer_scale=None)
convnext_tiny = partial(ConvNeXt, (3, 3, 9, 3), (96, 192, 384, 768))  # 28.6 M
convnext_small = partial(ConvNeXt, (3, 3, 27, 3), (96, 192, 384, 768))  # 50.2 M
convnext_base = partial(ConvNeXt, (3, 3, 27, 3), (128, 256, 512, 1024))  # 88.6 M
convnext_large = partial(ConvNeXt, (3, 3, 27, 3), (192, 384, 768, 1536))  # 197.8 M
convnext_xlarge = partial(ConvNeXt, (3, 3, 27, 3), (256, 512, 1024, 2048))  # 350.2 M
convnext_v2_atto = partial(_v2, (2, 2, 6, 2), (40, 80, 160, 320))  # 3.7 M
convnext_v2_femto = partial(_v2, (2, 2, 6, 2), (48, 96, 192, 384))  # 5.2 M
convnext_v2_pico = partial(_v2, (2, 2, 6, 2), (64, 128, 256, 512))  # 9.1 M
convnext_v2_nano = partial(_v2, (2, 2, 8, 2), (80, 160, 320, 640))  # 15.6 M
convnext_v2_tiny = partial(_v2, (3, 3, 9, 3), (96, 192, 384, 768))  # 28.6 M
convnext_v2_base = partial(_v2, (3, 3, 27, 3), (128, 256, 512, 1024))  # 88.7 M
convnext_v2_large = partial(_v2, (3, 3, 27, 3), (192, 384, 768, 1536))  # 198.0 M
convnext_v2_huge = partial(_v2, (3, 3, 27, 3), (352, 704, 1408, 2816))  # 660.3 M
