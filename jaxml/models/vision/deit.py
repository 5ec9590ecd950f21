"""DeiT: a vision transformer taught by another network, and its named sizes.

    model = deit_tiny_distilled_patch16_224(num_classes=10)
    output = model.apply(variables, images, train=True, rngs={"dropout": key})
    loss = distillation_loss(output, labels, teacher_logits).mean()

Beside the class token stands a distillation token, whose own head learns what the
teacher says; without training, the logits are the mean of both heads. The sizes without
distillation are those of `jaxml.models.vision.vit`. Images: [batch, height, width,
channel], float, normalised by the caller.

References:
    Touvron et al., 2020. Training data-efficient image transformers and distillation
    through attention (hard distillation: eq. 3). arXiv:2012.12877.
"""

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
from jaxtyping import Array, Float, Int

from jaxml import losses
from jaxml.models.vision import vit_encoder
from jaxml.models.vision.vit_encoder import ViT

__all__ = [
    "DeiT",
    "DeiTOutput",
    "TOKENS",
    "deit_base_distilled_patch16_224",
    "deit_base_distilled_patch16_384",
    "deit_small_distilled_patch16_224",
    "deit_tiny_distilled_patch16_224",
    "distilled",
    "distillation_loss",
]

TOKENS = ("class_token", "distillation_token")


class DeiTOutput(NamedTuple):
    """Logits of both heads, and their mean."""

    logits: Float[Array, "b k"]
    class_logits: Float[Array, "b k"]
    distillation_logits: Float[Array, "b k"]


class DeiT(nn.Module):
    """Two heads over an encoder with the two tokens of `TOKENS`.

    Args:
        encoder: gives the vectors of the tokens.
        num_classes: number of logits of each head; 0 for what they would be made of.
    """

    encoder: ViT
    num_classes: int = 1000

    @nn.compact
    def __call__(
        self, images: Float[Array, "b h w c"], *, train: bool = False
    ) -> DeiTOutput:
        """Logits of every image.

        Args:
            images: normalised by the caller.
            train: whether to drop values (rng "dropout").

        Raises:
            ValueError: if the images are not such, or a token is missing.
        """
        if self.encoder.tokens[:2] != TOKENS:
            raise ValueError(f"tokens must begin {TOKENS}; got {self.encoder.tokens}")
        x = self.encoder(images, train=train).last_hidden_state
        first, second = x[:, 0], x[:, 1]
        if self.num_classes:
            head = partial(vit_encoder.dense, self.encoder, self.num_classes)
            first = head(name="head")(first)
            second = head(name="distillation_head")(second)
        return DeiTOutput((first + second) / 2, first, second)


def distillation_loss(
    output: DeiTOutput, labels: Int[Array, " b"], teacher_logits: Float[Array, "b k"]
) -> Float[Array, " b"]:
    """Half the cross-entropy of the labels and half that of the teacher's choice.

    Args:
        output: of the network in training.
        labels: classes of the images.
        teacher_logits: of the teacher, on the same images.
    """
    own = losses.cross_entropy(output.class_logits, labels)
    choice = teacher_logits.argmax(-1)
    return (own + losses.cross_entropy(output.distillation_logits, choice)) / 2  # eq. 3


def distilled(num_classes: int = 1000, **encoder: Any) -> DeiT:
    """A network with both tokens, from the settings of its encoder.

    Args:
        num_classes: number of logits.
        encoder: fields of `ViT`.
    """
    return DeiT(ViT(**{"tokens": TOKENS, **encoder}), num_classes)


def _size(width, heads, **options):
    return partial(distilled, width=width, heads=heads, hidden=4 * width, **options)


deit_tiny_distilled_patch16_224 = _size(192, 3)  # 5.9 M parameters
deit_small_distilled_patch16_224 = _size(384, 6)  # 22.4 M
deit_base_distilled_patch16_224 = _size(768, 12)  # 87.3 M
deit_base_distilled_patch16_384 = _size(768, 12, image_size=(384, 384))  # 87.6 M
