"""The encoder of vision transformers: images to a vector for each patch.

    encoder = ViT(width=384, depth=12, heads=6, hidden=1536)
    output = encoder.apply(variables, images)       # .last_hidden_state, .pooled

Images: [batch, height, width, channel], float, normalised by the caller; any size that
holds a patch, for the positions are resampled to its grid. The learned tokens come
first, then the patches row by row. "hidden_states" (what enters each block, and what
leaves the last), "last_hidden_state" and each block's "attention" are sown into
"intermediates", if that collection is mutable.

References:
    Dosovitskiy et al., 2020. An image is worth 16x16 words. arXiv:2010.11929.
    Touvron et al., 2021. Going deeper (layer scale: eq. 4). arXiv:2103.17239.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxml.nn import attention, blocks, check, depth, positions, stochastic_depth
from jaxml.nn.feed_forward import FeedForward
from jaxml.nn.patch import PatchEmbedding

__all__ = ["ViT", "ViTOutput", "dense", "norm"]

_normal = nn.initializers.truncated_normal(0.02)


class ViTOutput(NamedTuple):
    """What the encoder answers."""

    last_hidden_state: Float[Array, "b t d"]
    pooled: Float[Array, "b d"]


class ViT(nn.Module):
    """Patches, learned tokens and positions, blocks that normalise first, a norm.

    Args:
        image_size: height and width that the table of positions is for.
        patch_size: height and width of a patch.
        channels: of the images.
        width: size of the vectors.
        depth: number of blocks.
        heads: number of attention heads.
        hidden: size of the feed-forward layer.
        tokens: names of the learned tokens that stand before the patches.
        registers: how many nameless ones follow them.
        placed: how many of all these have positions too; all if None.
        mask_token: whether there is a vector that takes the place of masked patches.
        patch_bias: whether the patch embedding has a bias.
        pre_norm: whether a norm stands before the first block.
        final_norm: whether one stands after the last.
        pooler: whether the first token is pooled by a dense layer and tanh.
        qkv_bias: whether query, key and value have a bias.
        qk_norm: whether each head of query and key is normalised.
        layer_scale: where the factors of each branch start; none if None.
        feed_forward: maker of the feed-forward layer of a block.
        activation: name in `jaxml.nn.activations`, or a function.
        epsilon: added to the variance in the norms.
        dropout: chance of a value to be dropped in training, from 0 to below 1.
        attention_dropout: the same for an attention weight.
        drop_path: chance of the last block to be left out; the first one never is.
        position_method: how positions are resampled (`positions.interpolate_grid`).
        position_shift: added to the height and width of the new grid where its ratio
            to the old one is taken; 0.1 in DINO's own code.
        scan: whether the blocks are one program run `depth` times, their parameters
            stacked (see `jaxml.nn.depth`); not with `drop_path`.
        remat: None, "full" or the name of a policy of `jax.checkpoint_policies`.
        backend: of the attention, see `jaxml.ops.attention`.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    image_size: tuple[int, int] = (224, 224)
    patch_size: tuple[int, int] = (16, 16)
    channels: int = 3
    width: int = 768
    depth: int = 12
    heads: int = 12
    hidden: int = 3072
    tokens: tuple[str, ...] = ("class_token",)
    registers: int = 0
    placed: int | None = None
    mask_token: bool = False
    patch_bias: bool = True
    pre_norm: bool = False
    final_norm: bool = True
    pooler: bool = False
    qkv_bias: bool = True
    qk_norm: bool = False
    layer_scale: float | None = None
    feed_forward: Callable = FeedForward
    activation: str | Callable = "gelu"
    epsilon: float = 1e-6
    dropout: float = 0.0
    attention_dropout: float = 0.0
    drop_path: float = 0.0
    position_method: str = "bicubic"
    position_shift: float = 0.0
    scan: bool = False
    remat: str | None = None
    backend: str = "auto"
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "b h w c"],
        patch_mask: Bool[Array, "b n"] | None = None,
        *,
        train: bool = False,
    ) -> ViTOutput:
        """Vectors of every token, and of the whole image.

        Args:
            images: normalised by the caller.
            patch_mask: True for patches that the mask token replaces.
            train: whether to drop values (rng "dropout").

        Returns:
            The vectors, and the pooled one: the first token, through the pooler if
            there is one, or the mean of the patches where there is no token.

        Raises:
            ValueError: if the images are not such, or masked without a mask token.
        """
        check.images(images)
        if images.shape[-1] != self.channels:
            raise ValueError(
                f"images must have {self.channels} channels; got {images.shape[-1]}"
            )
        normal = norm(self)
        x = self._embed(images, patch_mask)
        x = nn.Dropout(self.dropout, name="drop")(x, deterministic=not train)
        if self.pre_norm:
            x = normal(name="pre_norm")(x)
        x, _ = depth.repeat(
            self._blocks(),
            self.depth,
            scan=self.scan,
            remat=self.remat,
            record=depth.recorder(self),
        )(x, train=train)
        self.sow("intermediates", "hidden_states", x)
        if self.final_norm:
            x = normal(name="norm")(x)
        self.sow("intermediates", "last_hidden_state", x)
        pooled = x[:, 0] if self.tokens else x[:, self.prefix :].mean(1)
        if self.pooler:
            pooled = jnp.tanh(dense(self, self.width, "pooler")(pooled))
        return ViTOutput(x, pooled)

    @property
    def prefix(self) -> int:
        """How many vectors stand before those of the patches."""
        return len(self.tokens) + self.registers

    def _embed(self, images, patch_mask):
        """Tokens and patches, each with its position."""
        grid = PatchEmbedding(
            self.width,
            self.patch_size,
            use_bias=self.patch_bias,
            kernel_init=_normal,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            name="patch_embedding",
        )(images)
        batch, h, w, _ = grid.shape
        x = self._masked(grid.reshape(batch, h * w, -1), patch_mask)
        sides = zip(self.image_size, self.patch_size, strict=True)
        rows, columns = (image // patch for image, patch in sides)
        placed = self.prefix if self.placed is None else self.placed
        table = self._vectors("position_embedding", placed + rows * columns)
        scale = None
        if self.position_shift and (h, w) != (rows, columns):
            shift = self.position_shift
            scale = ((h + shift) / rows, (w + shift) / columns)
        places = positions.interpolate_grid(
            table[placed:].reshape(rows, columns, -1),
            (h, w),
            method=self.position_method,
            scale=scale,
        )
        x = x + places.reshape(1, h * w, -1).astype(x.dtype)
        if not self.prefix:
            return x
        learned = [self._vectors(name, 1) for name in self.tokens]
        if self.registers:
            learned.append(self._vectors("register_tokens", self.registers))
        first = jnp.concatenate(learned).at[:placed].add(table[:placed])
        first = jnp.broadcast_to(first[None].astype(x.dtype), (batch, *first.shape))
        return jnp.concatenate([first, x], 1)

    def _masked(self, x, patch_mask):
        if not self.mask_token:
            if patch_mask is not None:
                raise ValueError("patch_mask must be None without a mask token")
            return x
        token = self._vectors("mask_token", 1)[None].astype(x.dtype)
        return x if patch_mask is None else jnp.where(patch_mask[..., None], token, x)

    def _vectors(self, name, count):
        shape = (count, self.width)
        # parameters read from a file are NumPy arrays, which have no `at`
        return jnp.asarray(self.param(name, _normal, shape, self.param_dtype))

    def _blocks(self):
        """The maker of a block, or those of all where they differ."""
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        block = partial(
            blocks.Block,
            attention=partial(
                attention.Attention,
                heads=self.heads,
                qkv_bias=self.qkv_bias,
                qk_norm=norm(self) if self.qk_norm else None,
                dropout=self.attention_dropout,
                backend=self.backend,
                kernel_init=_normal,
                **dtypes,
            ),
            feed_forward=partial(
                self.feed_forward,
                self.hidden,
                activation=self.activation,
                dropout=self.dropout,
                kernel_init=_normal,
                **dtypes,
            ),
            norm=norm(self),
            dropout=self.dropout,
            layer_scale=self.layer_scale,
        )
        if not self.drop_path:
            return block
        rates = stochastic_depth.rates(self.drop_path, self.depth)
        return [partial(block, drop_path=rate) for rate in rates]


def norm(encoder: ViT) -> Callable:
    """Maker of a norm as the encoder has them, given a name."""
    return partial(
        nn.LayerNorm,
        epsilon=encoder.epsilon,
        use_fast_variance=False,
        dtype=encoder.dtype,
        param_dtype=encoder.param_dtype,
    )


def dense(encoder: ViT, features: int, name: str) -> nn.Dense:
    """A dense layer in the dtypes of the encoder."""
    return nn.Dense(
        features,
        kernel_init=_normal,
        dtype=encoder.dtype,
        param_dtype=encoder.param_dtype,
        name=name,
    )
