"""The maps of a ResNet, as networks for detection and segmentation read them.

    model = ResNetFeatures((3, 4, 6, 3), resnet.Bottleneck, maps=(1, 2, 3, 4))
    variables = jax.jit(model.init)(key, images)
    large, half, quarter, eighth = model.apply(variables, images)

All settings, and the variables but for the head, are those of `resnet.ResNet`.
"""

import flax.linen as nn
from jaxtyping import Array, Bool, Float

from jaxml.models.vision import resnet

__all__ = ["ResNetFeatures"]


class ResNetFeatures(resnet.Trunk):
    """Stem and stages of blocks, without head.

    Args:
        maps: which maps to give, the largest first: 0 is the stem (before its pool), 1
            to 4 are the stages. All else as in `resnet.Trunk`.
    """

    maps: tuple[int, ...] = (0, 1, 2, 3, 4)

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "b h w c"],
        *,
        train: bool = False,
        mask: Bool[Array, " b"] | None = None,
    ) -> tuple[Float[Array, "b _ _ _"], ...]:
        """Maps of stem and stages.

        Args:
            images: normalised by the caller.
            train: whether the norms use, and learn from, the statistics of the batch.
            mask: False for rows of padding, which the norms then leave out.

        Raises:
            ValueError: if a map is named that there is not, or the images are off.
        """
        if not all(0 <= i <= len(self.depths) for i in self.maps):
            raise ValueError(
                f"maps must be from 0 to {len(self.depths)}; got {self.maps}"
            )
        maps = self.trunk(images, {"train": train, "mask": mask})
        return tuple(maps[i] for i in self.maps)
