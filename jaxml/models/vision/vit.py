"""Vision transformers that classify, and their named sizes.

    model = vit_base_patch16_224(num_classes=10)
    variables = jax.jit(model.init)(key, images)
    logits = model.apply(variables, images)

Images: [batch, height, width, channel], float, normalised by the caller; any size that
holds a patch. The encoder stands in `jaxml.models.vision.vit_encoder`: it gives the
vectors of the patches, its hidden states and attention maps.

References:
    Dosovitskiy et al., 2020. An image is worth 16x16 words (table 1; the token, and
    the mean instead: appendix D.3). arXiv:2010.11929.
    Steiner et al., 2021. How to train your ViT? (tiny and small). arXiv:2106.10270.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxml.models.vision import vit_encoder
from jaxml.models.vision.vit_encoder import ViT
from jaxml.nn import attention, check, feed_forward

__all__ = [
    "AttentionPool",
    "Classifier",
    "classifier",
    "vit_base_patch16_224",
    "vit_base_patch32_224",
    "vit_huge_patch14_224",
    "vit_large_patch16_224",
    "vit_large_patch32_224",
    "vit_small_patch16_224",
    "vit_small_patch32_224",
    "vit_tiny_patch16_224",
]


class Classifier(nn.Module):
    """Logits of images.

    Args:
        encoder: gives the vectors of the tokens.
        num_classes: number of logits; 0 for the vector they would be made of.
        pool: "token" (the first one), "mean" (of the patches) or "attention"
            (`AttentionPool` over all).
        pool_norm: whether what is pooled is normalised.
        pool_hidden: size of the feed-forward layer of the attention pool; four times
            the width if None.
        representation: size of a dense layer with tanh before the logits; none if None.
        dropout: chance of a value to be dropped before the logits.
    """

    encoder: ViT
    num_classes: int = 1000
    pool: str = "token"
    pool_norm: bool = False
    pool_hidden: int | None = None
    representation: int | None = None
    dropout: float = 0.0

    @nn.compact
    def __call__(
        self, images: Float[Array, "b h w c"], *, train: bool = False
    ) -> Float[Array, "b k"]:
        """Logits of every image.

        Args:
            images: normalised by the caller.
            train: whether to drop values (rng "dropout").

        Raises:
            ValueError: if the images are not such, or there is no token to pool.
        """
        check.one_of(self.pool, ("token", "mean", "attention"), "pool")
        if self.pool == "token" and not self.encoder.tokens:
            raise ValueError("pool must be mean where there are no tokens; got token")
        x = self.encoder(images, train=train).last_hidden_state
        if self.pool == "attention":
            hidden = self.pool_hidden or 4 * self.encoder.width
            x = AttentionPool(self.encoder, hidden, name="attention_pool")(x)
        else:
            x = x[:, 0] if self.pool == "token" else x[:, self.encoder.prefix :].mean(1)
        if self.pool_norm:
            x = vit_encoder.norm(self.encoder)(name="pool_norm")(x)
        if self.representation is not None:
            layer = vit_encoder.dense(
                self.encoder, self.representation, "representation"
            )
            x = jnp.tanh(layer(x))
        x = nn.Dropout(self.dropout, name="drop")(x, deterministic=not train)
        if not self.num_classes:
            return x
        return vit_encoder.dense(self.encoder, self.num_classes, "head")(x)


class AttentionPool(nn.Module):
    """One learned question, asked of all tokens, and a feed-forward layer.

    Args:
        encoder: whose tokens are pooled; it has as many heads.
        hidden: size of the feed-forward layer.

    References:
        Zhai et al., 2021. Scaling vision transformers (section 3.2: the MAP head).
        arXiv:2106.04560.
    """

    encoder: ViT
    hidden: int

    @nn.compact
    def __call__(self, x: Float[Array, "b t d"]) -> Float[Array, "b d"]:
        """A vector for each image."""
        encoder = self.encoder
        dtypes = {"dtype": encoder.dtype, "param_dtype": encoder.param_dtype}
        start = nn.initializers.truncated_normal(0.02)
        question = self.param(
            "question", start, (1, encoder.width), encoder.param_dtype
        )
        shape = (x.shape[0], *question.shape)
        asked = jnp.broadcast_to(question[None].astype(x.dtype), shape)
        y, _ = attention.Attention(encoder.heads, name="attention", **dtypes)(asked, x)
        forward = feed_forward.FeedForward(
            self.hidden, activation=encoder.activation, name="feed_forward", **dtypes
        )
        y = y + forward(vit_encoder.norm(encoder)(name="norm")(y))
        return y[:, 0]


def classifier(
    num_classes: int = 1000,
    *,
    pool: str = "token",
    pool_norm: bool = False,
    pool_hidden: int | None = None,
    representation: int | None = None,
    head_dropout: float = 0.0,
    **encoder: Any,
) -> Classifier:
    """A classifier from the settings of its encoder and its own.

    Args:
        num_classes: number of logits; 0 for the vector they would be made of.
        pool: "token", "mean" or "attention".
        pool_norm: whether what is pooled is normalised.
        pool_hidden: size of the feed-forward layer of the attention pool.
        representation: size of a dense layer before the logits; none if None.
        head_dropout: chance of a value to be dropped before the logits.
        encoder: fields of `ViT`.
    """
    return Classifier(
        ViT(**encoder),
        num_classes,
        pool=pool,
        pool_norm=pool_norm,
        pool_hidden=pool_hidden,
        representation=representation,
        dropout=head_dropout,
    )


def _size(width, depth, heads, patch, **options):
    """A size for images of 224 whose hidden layer is four times the width."""
    return partial(
        classifier,
        width=width,
        depth=depth,
        heads=heads,
        hidden=4 * width,
        patch_size=(patch, patch),
        **options,
    )


vit_tiny_patch16_224 = _size(192, 12, 3, 16)  # 5.7 M parameters
vit_small_patch16_224 = _size(384, 12, 6, 16)  # 22.1 M
vit_small_patch32_224 = _size(384, 12, 6, 32)  # 22.9 M
vit_base_patch16_224 = _size(768, 12, 12, 16)  # 86.6 M
vit_base_patch32_224 = _size(768, 12, 12, 32)  # 88.2 M
vit_large_patch16_224 = _size(1024, 24, 16, 16)  # 304.3 M
vit_large_patch32_224 = _size(1024, 24, 16, 32)  # 306.5 M
vit_huge_patch14_224 = _size(1280, 32, 16, 14)  # 632.0 M
