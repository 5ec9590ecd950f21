"""The generator of StyleGAN2: images whose every layer is told a style.

    model = StyleGAN2((512, 512, 512, 512, 512), style=512)           # 64 x 64
    variables = jax.jit(model.init)(key, latents)
    images = model.apply(variables, latents)                          # about -1 to 1
    styles = model.apply(variables, latents, method="styles")
    images = model.apply(variables, styles, method="synthesize")

Small noise is added in each layer: stored noise (collection "noise"), or in training
fresh noise from the rng "dropout". Names follow rosinality/stylegan2-pytorch.

References:
    Karras et al., 2020. Analyzing and improving the image quality of StyleGAN.
    arXiv:1912.04958 (eq. 1-3: modulation; figure 7: skip generator).
    Karras, Laine and Aila, 2019. StyleGAN. arXiv:1812.04948 (truncation: section 2).
    Karras et al., 2018. Progressive growing of GANs. arXiv:1710.10196 (equalised
    learning rates: section 4.1; pixel norm: section 4.2).
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxml.nn import check

__all__ = ["EqualDense", "StyleGAN2", "truncate"]

_BLUR = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 16  # four times a kernel of sum one


class StyleGAN2(nn.Module):
    """A mapping of latents to styles, and layers that double an image they style.

    Args:
        widths: channels at 4 x 4, 8 x 8, and so on; as many sizes as there are.
        style: width of latents and styles.
        depth: layers of the mapping.
        channels: of an image.
        mapping_rate: learning rate of the mapping beside that of the other layers.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    widths: tuple[int, ...]
    style: int = 512
    depth: int = 8
    channels: int = 3
    mapping_rate: float = 0.01
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def setup(self):
        if not self.widths or min(*self.widths, self.style, self.depth) < 1:
            raise ValueError(
                "widths, style and depth must name sizes of at least 1; "
                f"got {list(self.widths)}, {self.style} and {self.depth}"
            )
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        self.mapping = [
            EqualDense(self.style, rate=self.mapping_rate, activate=True, **dtypes)
            for _ in range(self.depth)
        ]
        self.const = self.param(
            "const",
            nn.initializers.normal(1.0),
            (4, 4, self.widths[0]),
            self.param_dtype,
        )
        self.conv1 = StyledConv(self.widths[0], **dtypes)
        self.to_rgb1 = ToRGB(self.channels, **dtypes)
        self.convs = [
            StyledConv(width, upsample=first, **dtypes)
            for width in self.widths[1:]
            for first in (True, False)
        ]
        self.to_rgbs = [ToRGB(self.channels, **dtypes) for _ in self.widths[1:]]

    def __call__(
        self, latents: Float[Array, "b z"], *, train: bool = False
    ) -> Float[Array, "b h w c"]:
        """Images of these latents."""
        return self.synthesize(self.styles(latents), train=train)

    def styles(self, latents: Float[Array, "b z"]) -> Float[Array, "b s"]:
        """The style of each latent.

        Raises:
            ValueError: if the latents have another width.
        """
        check.rows(latents, "latents")
        if latents.shape[1:] != (self.style,):
            raise ValueError(
                f"latents must be [batch, {self.style}]; got {list(latents.shape)}"
            )
        mean = jnp.square(latents).mean(-1, keepdims=True)
        x = latents * jax.lax.rsqrt(mean + 1e-8)
        for layer in self.mapping:
            x = layer(x)
        return x

    def synthesize(
        self, styles: Float[Array, "b s"], *, train: bool = False
    ) -> Float[Array, "b h w c"]:
        """Images of these styles; see `truncate`."""
        x = jnp.broadcast_to(self.const, (styles.shape[0], *self.const.shape))
        x = self.conv1(x.astype(styles.dtype), styles, train)
        image = self.to_rgb1(x, styles)
        for i, to_rgb in enumerate(self.to_rgbs):
            x = self.convs[2 * i](x, styles, train)
            x = self.convs[2 * i + 1](x, styles, train)
            image = _upsample(image) + to_rgb(x, styles)
        return image


def truncate(
    styles: Float[Array, "b s"],
    center: Float[Array, " s"],
    share: float | Float[Array, ""],
) -> Float[Array, "b s"]:
    """Styles nearer to the mean style: more usual images, fewer kinds of them.

    Args:
        styles: of some latents.
        center: mean of the styles of many latents.
        share: of the way from the center that is kept, 0 to 1.
    """
    return center[None] + share * (styles - center[None])


class EqualDense(nn.Module):
    """A dense layer whose scale is applied at run time, so that all learn alike.

    Args:
        features: number of units.
        rate: learning rate beside that of other layers.
        bias: where the bias starts.
        activate: whether a leaky ReLU of gain √2 follows.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    features: int
    rate: float = 1.0
    bias: float = 0.0
    activate: bool = False
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b d"]) -> Float[Array, "b f"]:
        start = nn.initializers.normal(1 / self.rate)
        shape = (x.shape[-1], self.features)
        kernel = self.param("kernel", start, shape, self.param_dtype)
        begin = nn.initializers.constant(self.bias)
        bias = self.param("bias", begin, (self.features,), self.param_dtype)
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        x = x @ (kernel * (self.rate * shape[0] ** -0.5)) + self.rate * bias[None]
        return _leaky(x) if self.activate else x


class StyledConv(nn.Module):
    """A 3x3 convolution told a style, noise, bias and a leaky ReLU."""

    features: int
    upsample: bool = False
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        styles: Float[Array, "b s"],
        train: bool = False,
    ) -> Float[Array, "b u v f"]:
        x = _modulated(self, x, styles, side=3, demodulate=True, up=self.upsample)
        zeros = nn.initializers.zeros
        strength = self.param("noise", zeros, (), self.param_dtype)
        bias = self.param("bias", zeros, (self.features,), self.param_dtype)
        start = lambda: jax.random.normal(self.make_rng("params"), x.shape[1:3])
        stored = self.variable("noise", "map", start)
        noise = jnp.broadcast_to(stored.value[None], x.shape[:3])
        if train:
            noise = jax.random.normal(self.make_rng("dropout"), x.shape[:3])
        noise = noise[..., None].astype(x.dtype) * strength.astype(x.dtype)
        return _leaky(x + noise + bias.astype(x.dtype).reshape(1, 1, 1, -1))


class ToRGB(nn.Module):
    """A 1x1 convolution told a style, and a bias."""

    channels: int
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @property
    def features(self) -> int:
        return self.channels

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], styles: Float[Array, "b s"]
    ) -> Float[Array, "b h w o"]:
        x = _modulated(self, x, styles, side=1, demodulate=False, up=False)
        bias = self.param(
            "bias", nn.initializers.zeros, (self.channels,), self.param_dtype
        )
        return x + bias.astype(x.dtype).reshape(1, 1, 1, -1)


def _modulated(layer, x, styles, *, side, demodulate, up):
    """A convolution of weights that the style scales for each image (eq. 1 and 3).

    The scales go to the image before, and to the result after: one convolution of
    shared weights for the whole batch, instead of one for each image.
    """
    width = x.shape[-1]
    dtypes = {"dtype": layer.dtype, "param_dtype": layer.param_dtype}
    scale = EqualDense(width, bias=1.0, name="modulation", **dtypes)(styles)
    shape = (side, side, width, layer.features)
    start = nn.initializers.normal(1.0)
    kernel = layer.param("kernel", start, shape, layer.param_dtype)
    x, scale, kernel = nn.dtypes.promote_dtype(x, scale, kernel, dtype=layer.dtype)
    kernel = kernel * (width * side**2) ** -0.5
    x = x * scale[:, None, None, :]
    axes = ("NHWC", "HWIO", "NHWC")
    if up:
        # The gradient of a convolution, hence the turned kernel.
        x = jax.lax.conv_transpose(
            x, jnp.flip(kernel, (0, 1)), (2, 2), "VALID", dimension_numbers=axes
        )
        x = _blur(x, (1, 1))
    else:
        x = jax.lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=axes
        )
    if not demodulate:
        return x
    power = jnp.square(scale) @ jnp.square(kernel).sum((0, 1))
    return x * jax.lax.rsqrt(power + 1e-8)[:, None, None, :]


def _blur(x, padding, *, spread=1):
    """Each channel blurred; zeros stand between its pixels if `spread` is 2."""
    channels = x.shape[-1]
    kernel = jnp.asarray(_BLUR, x.dtype)[:, :, None, None]
    return jax.lax.conv_general_dilated(
        x,
        jnp.tile(kernel, (1, 1, 1, channels)),
        (1, 1),
        (padding, padding),
        lhs_dilation=(spread, spread),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=channels,
    )


def _upsample(image):
    """Twice as large. Zeros go behind every pixel, the last one too: hence 2 and 2."""
    return _blur(image, (2, 2), spread=2)


def _leaky(x):
    return nn.leaky_relu(x, 0.2) * 2**0.5
