"""EfficientNetV2: full convolutions in the early stages.

    model = efficientnet_v2_s(num_classes=10)
    variables = jax.jit(model.init)(key, images)
    logits = model.apply(variables, images)

The network is `efficientnet.EfficientNet`; only the block is new.

References:
    Tan and Le, 2021. EfficientNetV2. arXiv:2104.00298 (fig. 2, table 4).
"""

from collections.abc import Callable
from functools import partial

import flax.linen as nn

from jaxml.models.vision import efficientnet
from jaxml.nn.conv import ConvNorm

__all__ = [
    "FusedMBConv",
    "efficientnet_v2_l",
    "efficientnet_v2_m",
    "efficientnet_v2_s",
]


class FusedMBConv(nn.Module):
    """`MBConv` with one full convolution for two, and without excitation (fig. 2).

    Args:
        features: channels that leave the block.
        inside: channels of the full convolution; where as many enter, it is the only
            one, and makes `features`.
        kernel: side of the full kernel.
        stride: stride of the full convolution.
        squeeze: not used; there is no excitation.
        drop_path: chance of the branch to be dropped for a row; None for no shortcut.
        conv: maker of a convolution with norm and activation.
    """

    features: int
    inside: int
    kernel: int = 3
    stride: int = 1
    squeeze: float = 0.0
    drop_path: float | None = 0.0
    conv: Callable = partial(ConvNorm, activation="silu")

    @nn.compact
    def __call__(self, x, train, mask):
        mode = {"train": train, "mask": mask}
        size = {"kernel": self.kernel, "stride": self.stride}
        if self.inside == x.shape[-1]:
            y = self.conv(self.features, name="fused", **size)(x, **mode)
        else:
            y = self.conv(self.inside, name="fused", **size)(x, **mode)
            y = self.conv(self.features, kernel=1, activation=None, name="project")(
                y, **mode
            )
        return efficientnet.joined(self, x, y, train)


def _network(stem, dropout, *rows):
    """Rows of table 4: expansion, stride, features, repeats; the first three fused."""
    stages = tuple(
        efficientnet.Stage(
            expansion, 3, stride, features, repeats, FusedMBConv if i < 3 else None
        )
        for i, (expansion, stride, features, repeats) in enumerate(rows)
    )
    return partial(
        efficientnet.EfficientNet,
        stages=stages,
        stem_features=stem,
        dropout=dropout,
        norm_epsilon=1e-3,
    )


efficientnet_v2_s = _network(  # 21.5 M, 384
    24,
    0.2,
    (1, 1, 24, 2),
    (4, 2, 48, 4),
    (4, 2, 64, 4),
    (4, 2, 128, 6),
    (6, 1, 160, 9),
    (6, 2, 256, 15),
)
efficientnet_v2_m = _network(  # 54.1 M, 480
    24,
    0.3,
    (1, 1, 24, 3),
    (4, 2, 48, 5),
    (4, 2, 80, 5),
    (4, 2, 160, 7),
    (6, 1, 176, 14),
    (6, 2, 304, 18),
    (6, 1, 512, 5),
)
efficientnet_v2_l = _network(  # 118.5 M, 480
    32,
    0.4,
    (1, 1, 32, 4),
    (4, 2, 64, 7),
    (4, 2, 96, 7),
    (4, 2, 192, 10),
    (6, 1, 224, 19),
    (6, 2, 384, 25),
    (6, 1, 640, 7),
)
