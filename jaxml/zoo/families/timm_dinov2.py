"""DINOv2 as timm writes it: the class of `timm_vit`, with statistics of its own.

model = FAMILY.build({"architecture": "vit_small_patch14_dinov2"}, "")
rows = FAMILY.rows(model)
outputs = FAMILY.outputs(model, variables, {"x": images})
"""

from jaxml.zoo.families import timm_vit, timm_vit_sizes
from jaxml.zoo.family import Statistics

__all__ = ["FAMILY"]

FAMILY = timm_vit.FAMILY._replace(
    name="timm/dinov2",
    classes=tuple(timm_vit_sizes.DINOV2),
    sizes={name: {"architecture": name} for name in timm_vit_sizes.DINOV2},
    statistics=Statistics(size=(518, 518), resize=518, interpolation="bicubic"),
)
