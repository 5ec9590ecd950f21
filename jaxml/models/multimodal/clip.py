"""CLIP: images and texts in one space, and the named sizes.

    model = clip_vit_base_patch32()
    output = model.apply(variables, ids, images, mask)
    classes = nn.softmax(output.logits_per_image)       # which text an image goes with
    image = model.apply(variables, images, method="encode_image")     # unit vectors
    loss = contrastive_loss(output.logits_per_image).mean()

Images: [batch, height, width, channel], float, normalised by the caller (with
`jaxml.data.images.CLIP_MEAN` and `CLIP_STD`). Token ids [texts, time] are whole
numbers; `mask` is False for padding. Images and texts need not be equally many.

References:
    Radford et al., 2021. Learning transferable visual models from natural language
    supervision (figure 3; sizes: table 20). arXiv:2103.00020.
"""

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxml.models.language.clip_text import ClipText, ClipTextOutput
from jaxml.models.vision import vit_encoder
from jaxml.models.vision.vit_encoder import ViT, ViTOutput

__all__ = [
    "CLIP",
    "CLIPOutput",
    "ClipVision",
    "ImageClassifier",
    "Projected",
    "clip",
    "clip_vit_base_patch16",
    "clip_vit_base_patch32",
    "clip_vit_large_patch14",
    "clip_vit_large_patch14_336",
    "contrastive_loss",
    "vision_encoder",
]


class CLIPOutput(NamedTuple):
    """How well each image goes with each text, and what that is made of."""

    logits_per_image: Float[Array, "i t"]
    logits_per_text: Float[Array, "t i"]
    image_embeds: Float[Array, "i p"]  # unit vectors
    text_embeds: Float[Array, "t p"]  # unit vectors


class ClipVision(nn.Module):
    """The image tower: an encoder, and a norm of its first token alone.

    Args:
        encoder: without a norm at its end; see `vision_encoder`.
    """

    encoder: ViT

    @nn.compact
    def __call__(
        self, images: Float[Array, "b h w c"], *, train: bool = False
    ) -> ViTOutput:
        """Vectors of every patch, not normalised, and of the whole image."""
        x = self.encoder(images, train=train).last_hidden_state
        return ViTOutput(x, vit_encoder.norm(self.encoder)(name="norm")(x[:, 0]))


class Projected(nn.Module):
    """One tower, with the projection into the common space.

    Args:
        tower: `ClipVision` or `ClipText`.
        projection: size of the common space.
    """

    tower: nn.Module
    projection: int = 512

    @nn.compact
    def __call__(
        self, *data: Any, train: bool = False
    ) -> tuple[Float[Array, "b p"], ViTOutput | ClipTextOutput]:
        """The projected vector of every row, of any length, and the tower's answer."""
        answer = self.tower(*data, train=train)  # type: ignore[operator]
        like = getattr(self.tower, "encoder", self.tower)
        return _projection(like, self.projection, "projection")(answer.pooled), answer


class ImageClassifier(nn.Module):
    """Logits of the mean of the patches of an image.

    Args:
        vision: the image tower.
        num_classes: number of logits.
    """

    vision: ClipVision
    num_classes: int = 1000

    @nn.compact
    def __call__(
        self, images: Float[Array, "b h w c"], *, train: bool = False
    ) -> Float[Array, "b k"]:
        """Logits of every image."""
        encoder = self.vision.encoder
        x = self.vision(images, train=train).last_hidden_state
        x = x[:, encoder.prefix :].mean(1)
        return vit_encoder.dense(encoder, self.num_classes, "head")(x)


class CLIP(nn.Module):
    """Two towers, two projections, and a learned temperature.

    Args:
        vision: the image tower.
        text: the text tower.
        projection: size of the common space.
        logit_scale_init: logarithm of the factor of the cosines, where it starts.
    """

    vision: ClipVision
    text: ClipText
    projection: int = 512
    logit_scale_init: float = 2.6592

    def setup(self):
        encoder, size = self.vision.encoder, self.projection
        self.image_projection = _projection(encoder, size, None)
        self.text_projection = _projection(self.text, size, None)
        start = nn.initializers.constant(self.logit_scale_init)
        self.logit_scale = self.param("logit_scale", start, (), self.text.param_dtype)

    def __call__(
        self,
        ids: Int[Array, "n t"],
        images: Float[Array, "b h w c"],
        mask: Bool[Array, "n t"] | None = None,
        *,
        train: bool = False,
    ) -> CLIPOutput:
        """How well each image goes with each text.

        Args:
            ids: tokens.
            images: normalised by the caller.
            mask: False for padding of the texts.
            train: whether to drop values (rng "dropout").

        Raises:
            ValueError: if images or ids are not such.
        """
        image = self.encode_image(images, train=train)
        text = self.encode_text(ids, mask, train=train)
        # In float32: the factor is about a hundred, and so is the error of a cosine.
        wide = jnp.promote_types(image.dtype, jnp.float32)
        cosine = jnp.einsum("ip,tp->it", image.astype(wide), text.astype(wide))
        logits = (cosine * jnp.exp(self.logit_scale.astype(wide))).astype(image.dtype)
        return CLIPOutput(logits, logits.T, image, text)

    def encode_image(
        self, images: Float[Array, "b h w c"], *, train: bool = False
    ) -> Float[Array, "b p"]:
        """Images as unit vectors of the common space."""
        pooled = self.vision(images, train=train).pooled
        return self._unit("image", self.image_projection(pooled))

    def encode_text(
        self,
        ids: Int[Array, "n t"],
        mask: Bool[Array, "n t"] | None = None,
        *,
        train: bool = False,
    ) -> Float[Array, "n p"]:
        """Texts as unit vectors of the common space."""
        answer = self.text(ids, mask, train=train)
        self.sow("intermediates", "text_last_hidden_state", answer.last_hidden_state)
        return self._unit("text", self.text_projection(answer.pooled))

    def _unit(self, name, vector):
        self.sow("intermediates", f"{name}_projected", vector)
        wide = vector.astype(jnp.promote_types(vector.dtype, jnp.float32))
        length = jnp.sqrt(jnp.square(wide).sum(-1, keepdims=True))
        return (wide / length).astype(vector.dtype)


def contrastive_loss(logits: Float[Array, "n n"]) -> Float[Array, " n"]:
    """Cross-entropy of each image's own text and of each text's own image, halved.

    Args:
        logits: image i goes with text i.

    Raises:
        ValueError: if images and texts are not equally many.

    >>> contrastive_loss(jnp.zeros((2, 2))).round(4).tolist()  # log(2) each
    [0.6930999755859375, 0.6930999755859375]
    """
    if logits.shape[0] != logits.shape[1]:
        raise ValueError(f"logits must be square; got {logits.shape}")
    own = lambda x: jnp.diagonal(jax.nn.log_softmax(x))
    return -(own(logits) + own(logits.T)) / 2


def vision_encoder(**settings: Any) -> ViT:
    """The encoder of an image tower.

    Args:
        settings: fields of `ViT`, instead of those that all sizes share.
    """
    shared = {
        "patch_bias": False,
        "pre_norm": True,
        "final_norm": False,
        "activation": "quick_gelu",
        "epsilon": 1e-5,
    }
    return ViT(**{**shared, **settings})


def clip(
    *, vision: dict[str, Any], text: dict[str, Any], projection: int = 512
) -> CLIP:
    """A network from the settings of its towers.

    Args:
        vision: fields of `ViT`.
        text: fields of `ClipText`.
        projection: size of the common space.
    """
    return CLIP(ClipVision(vision_encoder(**vision)), ClipText(**text), projection)


def _projection(like, size, name):
    return nn.Dense(
        size,
        use_bias=False,
        kernel_init=nn.initializers.normal(like.width**-0.5),
        dtype=like.dtype,
        param_dtype=like.param_dtype,
        name=name,
    )


def _size(width, depth, patch, text_width, image=224, **shared):
    """A size whose heads are 64 wide; `shared` are fields of both towers."""
    tower = lambda width: {"width": width, "heads": width // 64, "hidden": 4 * width}
    sides = {"patch_size": (patch, patch), "image_size": (image, image)}
    return clip(
        vision={"depth": depth, **tower(width), **sides, **shared},
        text={**tower(text_width), **shared},
        projection=text_width,
    )


clip_vit_base_patch32 = partial(_size, 768, 12, 32, 512)  # 151.3 M parameters
clip_vit_base_patch16 = partial(_size, 768, 12, 16, 512)  # 149.6 M
clip_vit_large_patch14 = partial(_size, 1024, 24, 14, 768)  # 427.6 M
clip_vit_large_patch14_336 = partial(_size, 1024, 24, 14, 768, 336)  # 427.9 M
