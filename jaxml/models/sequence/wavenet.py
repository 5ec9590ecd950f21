"""WaveNet: a causal stack of dilated, gated convolutions over a sequence.

    model = WaveNet(num_outputs=256, layers=10, stacks=3)
    logits = model.apply(variables, jax.nn.one_hot(samples, 256))       # [b, t, 256]

Output t depends on the inputs up to t, and on `model.receptive_field` of them. Shift
the targets by one step to predict the next. `DilatedStack` is the plain form: ReLU, no
gates, no skips. Letters: b batch, t steps, d inputs, k outputs.

References:
    Van den Oord et al., 2016. WaveNet. arXiv:1609.03499 (eq. 2, fig. 4).
    Salimans and Kingma, 2016. Weight normalization. arXiv:1602.07868 (eq. 2).
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxml.nn import initializers
from jaxml.nn.sequence import check_sequence

__all__ = ["CausalConv", "DilatedStack", "WaveNet"]


class CausalConv(nn.Module):
    """A convolution over time that sees the past alone, zeros before the beginning.

    Args:
        features: output channels.
        kernel: taps, at least 1.
        dilation: steps from one tap to the next.
        weight_norm: whether the kernel of each channel is a direction and a length.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    features: int
    kernel: int = 2
    dilation: int = 1
    weight_norm: bool = False
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b t d"]) -> Float[Array, "b t k"]:
        """Convolve over the second axis."""
        shape = (self.kernel, x.shape[-1], self.features)
        init = initializers.by_name("glorot_uniform")
        kernel = self.param("kernel", init, shape, self.param_dtype)
        bias = self.param("bias", nn.initializers.zeros, shape[2:], self.param_dtype)
        if self.weight_norm:
            length = jnp.sqrt(jnp.square(kernel).sum((0, 1)))
            scale = self.param("scale", lambda *_: length.astype(self.param_dtype))
            kernel = kernel * (scale / length)[None, None]
        dtype = self.dtype or jnp.promote_types(x.dtype, self.param_dtype)
        y = jax.lax.conv_general_dilated(
            x.astype(dtype),
            jnp.asarray(kernel, dtype),
            window_strides=(1,),
            padding=[((self.kernel - 1) * self.dilation, 0)],
            rhs_dilation=(self.dilation,),
            dimension_numbers=("NHC", "HIO", "NHC"),
        )
        return y + jnp.asarray(bias, dtype)[None, None]


class WaveNet(nn.Module):
    """Stacks of gated layers with residual and skip connections, and a head.

    Args:
        num_outputs: channels of an output.
        layers: gated layers in all, a multiple of `stacks`.
        stacks: how often the dilations 1, 2, 4, ... begin again.
        channels: of the residual path.
        gate_channels: of both halves of a gate together, even.
        skip_channels: of the sum of the skips.
        kernel: taps of a gated convolution.
        residual_scale: factor on a layer's output plus its input; √½ keeps their
            variance.
        skip_scale: factor on the sum of the skips; 1/√layers keeps its variance.
        dropout: chance of an input of a layer to be dropped in training.
        weight_norm: whether all kernels are normalised.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    num_outputs: int
    layers: int = 10
    stacks: int = 1
    channels: int = 32
    gate_channels: int = 64
    skip_channels: int = 32
    kernel: int = 2
    residual_scale: float = 1.0
    skip_scale: float = 1.0
    dropout: float = 0.0
    weight_norm: bool = False
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @property
    def receptive_field(self) -> int:
        """How many inputs an output depends on."""
        return 1 + (self.kernel - 1) * sum(self._dilations())

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b t d"],
        *,
        mask: Bool[Array, "b t"] | None = None,
        train: bool = False,
    ) -> Float[Array, "b t k"]:
        """An output at every step.

        Args:
            x: inputs; samples or tokens as one-hot vectors or embeddings.
            mask: False for padding, before or after the sequence; it counts as the
                zeros that stand before the beginning.
            train: whether dropout is on.

        Raises:
            ValueError: if a shape, dtype or setting is off, or there is no step.
        """
        check_sequence(x)
        if self.stacks < 1 or self.layers < 1 or self.layers % self.stacks:
            raise ValueError(
                f"layers must be a multiple of stacks, at least 1; got {self.layers} "
                f"layers, {self.stacks} stacks"
            )
        if self.gate_channels % 2:
            raise ValueError(f"gate_channels must be even; got {self.gate_channels}")
        conv = partial(
            CausalConv,
            weight_norm=self.weight_norm,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
        )
        real = _keeper(mask)
        x = real(conv(self.channels, 1, name="first")(real(x)))
        skips = jnp.zeros((), x.dtype)
        for layer, dilation in enumerate(self._dilations()):
            y = nn.Dropout(self.dropout)(x, deterministic=not train)
            name = f"layer_{layer}"
            y = conv(self.gate_channels, self.kernel, dilation, name=f"{name}_gate")(y)
            content, gate = jnp.split(y, 2, axis=-1)
            y = jnp.tanh(content) * jax.nn.sigmoid(gate)  # eq. 2
            skips += conv(self.skip_channels, 1, name=f"{name}_skip")(y)
            if layer < self.layers - 1:
                y = conv(self.channels, 1, name=f"{name}_out")(y)
                x = real((x + y) * self.residual_scale)
        y = nn.relu(skips * self.skip_scale)
        y = nn.relu(conv(self.skip_channels, 1, name="head")(y))
        return conv(self.num_outputs, 1, name="last")(y)

    def _dilations(self):
        each = self.layers // max(1, self.stacks)
        return [2 ** (layer % each) for layer in range(self.layers)]


class DilatedStack(nn.Module):
    """Causal convolutions with ReLU, and a linear map at every step.

    Args:
        num_outputs: channels of an output.
        channels: of each layer.
        dilations: of the layers.
        kernel: taps of a convolution.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    num_outputs: int
    channels: int = 20
    dilations: tuple[int, ...] = (1, 2, 4, 8) * 2
    kernel: int = 2
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b t d"],
        *,
        mask: Bool[Array, "b t"] | None = None,
        train: bool = False,
    ) -> Float[Array, "b t k"]:
        """An output at every step; arguments as of `WaveNet`."""
        check_sequence(x)
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        real = _keeper(mask)
        x = real(x)
        for layer, dilation in enumerate(self.dilations):
            conv = CausalConv(
                self.channels, self.kernel, dilation, name=f"layer_{layer}", **dtypes
            )
            x = real(nn.relu(conv(x)))
        return nn.Dense(self.num_outputs, name="head", **dtypes)(x)


def _keeper(mask):
    """Put zeros where there is padding, as before the beginning."""
    if mask is None:
        return lambda x: x
    return lambda x: jnp.where(mask[..., None], x, 0)
