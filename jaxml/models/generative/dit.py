"""DiT: a transformer over patches of a latent image, told time and class.

    model = dit_xl_2()
    variables = jax.jit(model.init)(key, latents, timesteps, labels)
    answer = model.apply(variables, latents, timesteps, labels)

Latents are [batch, height, width, channel], of one size; the answer has twice the
channels where the variance is learned. The label `num_classes` stands for no class, as
classifier-free guidance wants it. Names follow the diffusers library
(DiTTransformer2DModel), which gives every block its own embedding of time and class.

References:
    Peebles and Xie, 2023. Scalable diffusion models with transformers.
    arXiv:2212.09748 (section 3.2: adaLN-Zero; table 1: sizes).
"""

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Real

from jaxml.models.generative import image_blocks
from jaxml.nn import check, depth
from jaxml.nn.attention import Attention
from jaxml.nn.feed_forward import FeedForward
from jaxml.nn.patch import PatchEmbedding

__all__ = ["DiT", "DiTBlock", "dit_b_2", "dit_s_2", "dit_xl_2"]


class DiT(nn.Module):
    """Patches, blocks whose norms are told time and class, patches back.

    Args:
        heads: attention heads.
        head_dim: width of each; the blocks are `heads * head_dim` wide.
        depth: number of blocks.
        channels: of a latent.
        out_channels: of the answer.
        size: height and width of a latent.
        patch: side of a patch.
        num_classes: number of labels, beside the one for no class.
        qkv_bias: whether query, key and value have a bias.
        activation: of the feed-forward half, a name in `jaxml.nn.activations`.
        epsilon: of the norm before it.
        dropout: chance of a hidden feature to be dropped in training.
        label_dropout: chance of a label to become that of no class in training.
        scan: whether one block is scanned over stacked parameters.
        remat: what the backward pass keeps, see `jaxml.nn.depth.repeat`.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    heads: int = 16
    head_dim: int = 72
    depth: int = 28
    channels: int = 4
    out_channels: int = 8
    size: tuple[int, int] = (32, 32)
    patch: int = 2
    num_classes: int = 1000
    qkv_bias: bool = True
    activation: str = "gelu_tanh"
    epsilon: float = 1e-5
    dropout: float = 0.0
    label_dropout: float = 0.1
    scan: bool = False
    remat: str | None = None
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        latents: Float[Array, "b h w c"],
        timestep: Real[Array, " b"],
        labels: Int[Array, " b"],
        *,
        train: bool = False,
    ) -> Float[Array, "b h w o"]:
        """The network's answer for every latent.

        Args:
            latents: noisy.
            timestep: of each.
            labels: class of each; `num_classes` for none.
            train: whether labels and features are dropped (rng "dropout").

        Raises:
            ValueError: if the latents have another size.
        """
        self._check(latents)
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        width = self.heads * self.head_dim
        grid = PatchEmbedding(
            width, (self.patch, self.patch), name="patch_embedding", **dtypes
        )(latents)
        rows, columns = grid.shape[1:3]
        places = jnp.asarray(_places(rows, columns, width), grid.dtype)
        x = grid.reshape(grid.shape[0], -1, width) + places[None]
        if train and self.label_dropout:
            drop = jax.random.bernoulli(
                self.make_rng("dropout"), self.label_dropout, labels.shape
            )
            labels = jnp.where(drop, self.num_classes, labels)
        waves = image_blocks.waves(timestep, 256, shift=1.0, flip=True)
        block = partial(
            DiTBlock,
            self.heads,
            self.num_classes,
            qkv_bias=self.qkv_bias,
            activation=self.activation,
            epsilon=self.epsilon,
            dropout=self.dropout,
            **dtypes,
        )
        run = depth.repeat(block, self.depth, scan=self.scan, remat=self.remat)
        dtype = self.dtype or jnp.promote_types(x.dtype, self.param_dtype)
        carry = Carry(
            x.astype(dtype), jnp.zeros_like(x[:, 0], dtype), jnp.zeros((), int)
        )
        carry, _ = run(carry, waves=waves, labels=labels, train=train)
        return self._head(carry, rows, columns)

    def _head(self, carry, rows, columns):
        """Scaled and shifted by what the first block knows of time and class."""
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        x, time, _ = carry
        zeros = nn.initializers.zeros
        shift_scale = nn.Dense(
            2 * x.shape[-1], kernel_init=zeros, name="modulation_out", **dtypes
        )(nn.silu(time))
        shift, scale = jnp.split(shift_scale[:, None], 2, -1)
        x = _norm(1e-6, self.dtype)(x) * (1 + scale) + shift
        x = nn.Dense(
            self.patch**2 * self.out_channels, kernel_init=zeros, name="out", **dtypes
        )(x)
        x = x.reshape(-1, rows, columns, self.patch, self.patch, self.out_channels)
        return x.transpose(0, 1, 3, 2, 4, 5).reshape(
            -1, rows * self.patch, columns * self.patch, self.out_channels
        )

    def _check(self, latents):
        check.images(latents)
        if latents.shape[1:] != (*self.size, self.channels):
            raise ValueError(
                f"latents must be [batch, {', '.join(map(str, self.size))}, "
                f"{self.channels}]; got {list(latents.shape)}"
            )
        if self.size[0] % self.patch or self.size[1] % self.patch:
            raise ValueError(
                f"patch must divide the size {list(self.size)}; got {self.patch}"
            )


class Carry(NamedTuple):
    """What a block hands on."""

    x: Float[Array, "b t d"]
    time: Float[Array, "b d"]  # the first block's embedding of time and class
    place: Int[Array, ""]  # of the block to come


class DiTBlock(nn.Module):
    """Attention and feed-forward, each scaled, shifted and gated by time and class.

    Args:
        heads: attention heads.
        num_classes: number of labels, beside the one for no class.
        qkv_bias: whether query, key and value have a bias.
        activation: of the feed-forward half.
        epsilon: of the norm before it.
        dropout: chance of a hidden feature to be dropped in training.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    heads: int
    num_classes: int
    qkv_bias: bool = True
    activation: str = "gelu_tanh"
    epsilon: float = 1e-5
    dropout: float = 0.0
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, carry, cache=None, *, waves, labels, train=False):
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        x, first, place = carry
        width = x.shape[-1]
        time = image_blocks.TimeEmbedding(width, name="time_embedding", **dtypes)(waves)
        time = time + nn.Embed(
            self.num_classes + 1, width, name="class_embedding", **dtypes
        )(labels)
        # adaLN-Zero: gates of 0, so that the block begins as the identity.
        moves = nn.Dense(
            6 * width,
            kernel_init=nn.initializers.zeros,
            name="modulation",
            **dtypes,
        )(nn.silu(time))
        moves = jnp.split(moves[:, None], 6, -1)
        y = _norm(1e-6, self.dtype)(x) * (1 + moves[1]) + moves[0]
        y, _ = Attention(
            self.heads, qkv_bias=self.qkv_bias, name="attention", **dtypes
        )(y)
        x = x + moves[2] * y
        y = _norm(self.epsilon, self.dtype)(x) * (1 + moves[4]) + moves[3]
        y = FeedForward(
            4 * width,
            activation=self.activation,
            dropout=self.dropout,
            name="feed_forward",
            **dtypes,
        )(y, train=train)
        first = jnp.where(place == 0, time, first)
        return Carry(x + moves[5] * y, first, place + 1), cache


def _norm(epsilon, dtype):
    """Mean 0 and variance 1, with nothing learned."""
    return nn.LayerNorm(
        epsilon=epsilon,
        use_bias=False,
        use_scale=False,
        use_fast_variance=False,
        dtype=dtype,
    )


def _places(rows: int, columns: int, width: int) -> np.ndarray:
    """Sines and cosines of the column of each patch, then of its row."""
    if width % 4:
        raise ValueError(f"heads * head_dim must be a multiple of 4; got {width}")
    turn = 1 / 10_000 ** (np.arange(width // 4) / (width // 4))
    row, column = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    angles = [np.outer(place.ravel(), turn) for place in (column, row)]
    return np.concatenate([f(a) for a in angles for f in (np.sin, np.cos)], 1)


# The paper's sizes; in this form, with embeddings of each block, they are larger.
dit_s_2 = partial(DiT, 6, 64, 12)
dit_b_2 = partial(DiT, 12, 64, 12)
dit_xl_2 = partial(DiT, 16, 72, 28)  # 749.8 M parameters
