"""Wide ResNet and ResNeXt: bottlenecks that are wider, or split into groups.

    model = resnext50_32x4d(num_classes=10)
    variables = jax.jit(model.init)(key, images)
    logits = model.apply(variables, images)

All but the width of the 3x3 convolution is `resnet.ResNet`. The names tell it:
"32x4d" is 32 groups of 4 channels (in the first stage), "_2" is twice the width.

References:
    Zagoruyko and Komodakis, 2016. Wide residual networks. arXiv:1605.07146.
    Xie et al., 2016. ResNeXt. arXiv:1611.05431 (fig. 3 c, table 1).
"""

from functools import partial

from jaxml.models.vision.resnet import Bottleneck, ResNet

__all__ = [
    "resnext50_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "wide_resnet50_2",
    "wide_resnet101_2",
]

_wide = partial(Bottleneck, base_width=128)
wide_resnet50_2 = partial(ResNet, (3, 4, 6, 3), _wide)  # 68.9 M parameters
wide_resnet101_2 = partial(ResNet, (3, 4, 23, 3), _wide)  # 126.9 M
resnext50_32x4d = partial(  # 25.0 M
    ResNet, (3, 4, 6, 3), partial(Bottleneck, groups=32, base_width=4)
)
resnext101_32x8d = partial(  # 88.8 M
    ResNet, (3, 4, 23, 3), partial(Bottleneck, groups=32, base_width=8)
)
resnext101_64x4d = partial(  # 83.5 M
    ResNet, (3, 4, 23, 3), partial(Bottleneck, groups=64, base_width=4)
)
