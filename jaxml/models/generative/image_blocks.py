"""Blocks that the networks of diffusion and its autoencoders share.

    x = ResnetBlock(128, groups=32)(x, time)              # time [b, d], or None
    x = SpatialAttention(head_dim=64, groups=32)(x)
    x = Downsample(128)(x)
    x = Upsample(128)(x)

Images are [batch, height, width, channel]; names follow the diffusers library.

References:
    Ho, Jain and Abbeel, 2020. DDPM. arXiv:2006.11239 (appendix B).
    Dhariwal and Nichol, 2021. arXiv:2105.05233 (eq. 1: scale and shift by the time).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from jaxml.nn import activations, check, positions
from jaxml.nn.attention import Attention

__all__ = [
    "Downsample",
    "MidBlock",
    "ResnetBlock",
    "SpatialAttention",
    "TimeEmbedding",
    "Upsample",
    "group_norm",
    "waves",
]


def waves(
    timestep: Real[Array, " b"],
    features: int,
    *,
    shift: float = 0.0,
    flip: bool = False,
) -> Float[Array, "b d"]:
    """Sines, then cosines, of the timestep; the other way round if `flip`."""
    y = positions.sinusoidal(timestep, features, interleaved=False, shift=shift)
    return jnp.roll(y, features // 2, -1) if flip else y


def group_norm(groups: int, epsilon: float, dtype: Any, param_dtype: Any) -> Callable:
    """Maker of a group norm, given its name."""
    return partial(
        nn.GroupNorm,
        num_groups=groups,
        epsilon=epsilon,
        use_fast_variance=False,
        dtype=dtype,
        param_dtype=param_dtype,
    )


class TimeEmbedding(nn.Module):
    """Two dense layers over the waves of a timestep.

    Args:
        features: width of both.
        activation: name in `jaxml.nn.activations`, between them.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    features: int
    activation: str = "silu"
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b d"]) -> Float[Array, "b f"]:
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        x = nn.Dense(self.features, name="linear_1", **dtypes)(x)
        x = activations.by_name(self.activation)(x)
        return nn.Dense(self.features, name="linear_2", **dtypes)(x)


class ResnetBlock(nn.Module):
    """Two 3x3 convolutions, each after norm and activation, beside a shortcut.

    Args:
        features: output channels.
        groups: of the norms.
        epsilon: of the norms.
        activation: name in `jaxml.nn.activations`.
        dropout: chance of a value to be dropped before the second convolution.
        time_shift: "default", the time is added between the convolutions;
            "scale_shift", it scales and shifts after the second norm.
        factor: what the sum with the shortcut is divided by.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    features: int
    groups: int = 32
    epsilon: float = 1e-6
    activation: str = "silu"
    dropout: float = 0.0
    time_shift: str = "default"
    factor: float = 1.0
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        time: Float[Array, "b d"] | None = None,
        train: bool = False,
    ) -> Float[Array, "b h w f"]:
        """Apply the block; `time` is the embedding of the timestep.

        `train` is no keyword alone, since `nn.remat` wants its static arguments so.
        """
        check.one_of(self.time_shift, ("default", "scale_shift"), "time_shift")
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        act = activations.by_name(self.activation)
        norm = group_norm(self.groups, self.epsilon, self.dtype, self.param_dtype)
        conv = partial(nn.Conv, self.features, (3, 3), padding=1, **dtypes)
        by_time = self.time_shift == "scale_shift"
        y = conv(name="conv1")(act(norm(name="norm1")(x)))
        if time is not None:
            width = self.features * (2 if by_time else 1)
            shift = nn.Dense(width, name="time_emb_proj", **dtypes)(act(time))
            shift = shift[:, None, None, :]
        if time is not None and not by_time:
            y = y + shift
        y = norm(name="norm2")(y)
        if time is not None and by_time:
            scale, shift = jnp.split(shift, 2, -1)
            y = y * (1 + scale) + shift
        y = nn.Dropout(self.dropout, name="dropout")(act(y), deterministic=not train)
        y = conv(name="conv2")(y)
        if x.shape[-1] != self.features:
            x = nn.Conv(self.features, (1, 1), name="conv_shortcut", **dtypes)(x)
        return (x + y) / self.factor


class SpatialAttention(nn.Module):
    """Norm, and attention of every pixel to all others, beside a shortcut.

    Args:
        head_dim: width of a head; one head of all channels if None.
        groups: of the norm.
        epsilon: of the norm.
        factor: what the sum with the shortcut is divided by.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    head_dim: int | None = None
    groups: int = 32
    epsilon: float = 1e-6
    factor: float = 1.0
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        norm = group_norm(self.groups, self.epsilon, self.dtype, self.param_dtype)
        channels = x.shape[-1]
        head_dim = self.head_dim or channels
        if channels % head_dim:
            raise ValueError(
                f"attention_head_dim must divide the {channels} channels; "
                f"got {head_dim}"
            )
        y = norm(name="group_norm")(x).reshape(x.shape[0], -1, channels)
        y, _ = Attention(
            channels // head_dim,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            name="attention",
        )(y)
        return (x + y.reshape(x.shape)) / self.factor


class Downsample(nn.Module):
    """A 3x3 convolution of stride 2.

    Args:
        features: output channels.
        padding: 1, a pixel on every side; 0, a pixel below and to the right.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    features: int
    padding: int = 1
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b u v f"]:
        edge = (1, 1) if self.padding else (0, 1)
        return nn.Conv(
            self.features,
            (3, 3),
            2,
            padding=(edge, edge),
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            name="conv",
        )(x)


class Upsample(nn.Module):
    """Every pixel four times, then a 3x3 convolution.

    Args:
        features: output channels.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    features: int
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b u v f"]:
        x = jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
        return nn.Conv(
            self.features,
            (3, 3),
            padding=1,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            name="conv",
        )(x)


class MidBlock(nn.Module):
    """Block, attention, block, at the smallest size.

    Args:
        resnet: maker of a `ResnetBlock`, given features and name.
        attention: maker of a `SpatialAttention`, given a name; none if None.
    """

    resnet: Callable
    attention: Callable | None

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        time: Float[Array, "b d"] | None = None,
        *,
        train: bool = False,
    ) -> Float[Array, "b h w c"]:
        x = self.resnet(x.shape[-1], name="resnets_0")(x, time, train)
        if self.attention is not None:
            x = self.attention(name="attentions_0")(x)
        return self.resnet(x.shape[-1], name="resnets_1")(x, time, train)
