"""DINOv2: vision transformers taught without labels, and their named sizes.

    encoder = dinov2_small()
    output = encoder.apply(variables, images)     # .last_hidden_state, .pooled
    logits = LinearProbe(encoder, 10).apply(variables, images)

The encoder is `jaxml.models.vision.vit_encoder.ViT` with layer scale, a mask token and
patches of 14 pixels; the giant has gated feed-forward layers. Images: [batch, height,
width, channel], float, normalised by the caller; any size that holds a patch. The table
of positions is for images of 518.

References:
    Oquab et al., 2023. DINOv2. arXiv:2304.07193.
    Darcet et al., 2023. Vision transformers need registers. arXiv:2309.16588.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxml.models.vision import vit_encoder
from jaxml.models.vision.vit_encoder import ViT
from jaxml.nn.feed_forward import GatedFeedForward

__all__ = [
    "LinearProbe",
    "dinov2",
    "dinov2_base",
    "dinov2_giant",
    "dinov2_large",
    "dinov2_small",
    "gated",
    "gated_hidden",
]

gated = partial(GatedFeedForward, use_bias=True)


class LinearProbe(nn.Module):
    """Logits of the class token beside the mean of the patches.

    Args:
        encoder: gives the vectors of the tokens.
        num_classes: number of logits.
    """

    encoder: ViT
    num_classes: int = 1000

    @nn.compact
    def __call__(
        self, images: Float[Array, "b h w c"], *, train: bool = False
    ) -> Float[Array, "b k"]:
        """Logits of every image.

        Args:
            images: normalised by the caller.
            train: whether to drop values (rng "dropout").

        Raises:
            ValueError: if the images are not such.
        """
        x = self.encoder(images, train=train).last_hidden_state
        patches = x[:, self.encoder.prefix :].mean(1)
        x = jnp.concatenate([x[:, 0], patches], -1)
        return vit_encoder.dense(self.encoder, self.num_classes, "head")(x)


def dinov2(**settings: Any) -> ViT:
    """An encoder with the settings that all sizes share.

    Args:
        settings: fields of `ViT`, instead of these.

    >>> dinov2(depth=2).patch_size
    (14, 14)
    """
    shared = {
        "image_size": (518, 518),
        "patch_size": (14, 14),
        "layer_scale": 1.0,
        "mask_token": True,
    }
    return ViT(**{**shared, **settings})


def gated_hidden(width: int, ratio: float | int = 4) -> int:
    """Size of a gated layer with about the parameters of a plain one.

    Args:
        width: size of the vectors.
        ratio: how many times as large the plain layer would be.

    >>> gated_hidden(1536)
    4096
    """
    return (int(int(width * ratio) * 2 / 3) + 7) // 8 * 8


def _size(width, depth, **options):
    """A size of which heads are 64 wide."""
    fields = {"width": width, "depth": depth, "heads": width // 64}
    return partial(dinov2, **{**fields, "hidden": 4 * width, **options})


dinov2_small = _size(384, 12)  # 22.1 M parameters
dinov2_base = _size(768, 12)  # 86.6 M
dinov2_large = _size(1024, 24)  # 304.4 M
dinov2_giant = _size(  # 1,136.5 M
    1536, 40, feed_forward=gated, hidden=gated_hidden(1536), activation="silu"
)
