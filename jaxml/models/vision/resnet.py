"""ResNet for images, the "v1.5" of torchvision.

    model = resnet50(num_classes=10)
    variables = jax.jit(model.init)(key, images)
    logits = model.apply(variables, images)
    logits, updates = model.apply(
        variables, images, train=True, mutable=["batch_stats"]
    )

Images: [batch, height, width, channel], float, normalised by the caller. The named
sizes are for large images (224 x 224); those in `_small` begin with a 3x3
convolution and no pool, for images of 32 x 32. Names of layers follow torchvision.

References:
    He, Zhang, Ren and Sun, 2015. Deep residual learning. arXiv:1512.03385
    (table 1; small images: section 4.2).
    v1.5: the stride of a bottleneck sits on its 3x3 convolution, not on its first 1x1.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxml.nn import check, initializers
from jaxml.nn.norm import BatchNorm
from jaxml.ops import pool

__all__ = [
    "BasicBlock",
    "Bottleneck",
    "ResNet",
    "resnet18",
    "resnet18_small",
    "resnet34",
    "resnet34_small",
    "resnet50",
    "resnet50_small",
]


class ResNet(nn.Module):
    """Stem, four stages of blocks, mean over space, linear head.

    Args:
        depths: number of blocks of each stage.
        block: `BasicBlock` or `Bottleneck`.
        num_classes: number of logits.
        stem_kernel: side of the first convolution.
        stem_stride: stride of the first convolution.
        stem_pool: whether a 3x3 max-pool of stride 2 follows it.
        width: channels of the first stage; each further stage doubles them.
        zero_init_residual: whether the last norm of each block starts at zero, so
            that the network starts as its shortcuts alone.
        axis_name: mesh axis over which the batch is split, in shard_map or pmap.
        remat: whether the backward pass computes each block again instead of
            keeping what is inside it.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    depths: tuple[int, int, int, int]
    block: type[nn.Module]
    num_classes: int = 1000
    stem_kernel: int = 7
    stem_stride: int = 2
    stem_pool: bool = True
    width: int = 64
    zero_init_residual: bool = False
    axis_name: str | None = None
    remat: bool = False
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "b h w c"],
        *,
        train: bool = False,
        mask: Bool[Array, " b"] | None = None,
    ) -> Float[Array, "b k"]:
        """Logits of every image.

        Args:
            images: normalised by the caller.
            train: whether the norms use, and learn from, the statistics of the batch.
            mask: False for rows of padding, which the norms then leave out.

        Raises:
            ValueError: if the rank or dtype of the images is off.
        """
        check.images(images)
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        conv: Callable = partial(convolution, **dtypes)
        norm = partial(BatchNorm, axis_name=self.axis_name, **dtypes)
        block = self.block
        if self.remat:
            block = nn.remat(block, static_argnums=(2,))

        x = conv(self.width, self.stem_kernel, self.stem_stride, name="conv1")(images)
        x = nn.relu(norm(name="bn1")(x, train=train, mask=mask))
        if self.stem_pool:
            x = pool.max_pool(x, window=3, stride=2, padding=1)
        for stage, depth in enumerate(self.depths):
            for i in range(depth):
                x = block(
                    self.width * 2**stage,
                    stride=2 if stage > 0 and i == 0 else 1,
                    conv=conv,
                    norm=norm,
                    zero_init=self.zero_init_residual,
                    name=f"layer{stage + 1}_{i}",
                )(x, train, mask)
        head = initializers.by_name("torch")
        return nn.Dense(self.num_classes, kernel_init=head, name="fc", **dtypes)(
            x.mean((1, 2))
        )


def convolution(
    features: int,
    kernel: int,
    stride: int = 1,
    *,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
    name: str | None = None,
) -> nn.Conv:
    """A convolution without bias, padded as in torch.

    With stride 2, "SAME" would pad one side only, and pretrained weights would see
    the image shifted by a pixel.

    Args:
        features: output channels.
        kernel: side of the kernel, odd.
        stride: pixels from one window to the next.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
        name: name of the layer.
    """
    return nn.Conv(
        features,
        (kernel, kernel),
        stride,
        padding=kernel // 2,
        use_bias=False,
        kernel_init=initializers.by_name("he_normal_fan_out"),
        dtype=dtype,
        param_dtype=param_dtype,
        name=name,
    )


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut (fig. 5, left).

    Args:
        width: channels of the block.
        stride: stride of the first convolution.
        zero_init: whether the last norm starts at zero.
        conv: maker of a convolution, given features, kernel, stride and name.
        norm: maker of a norm, given a name.
    """

    width: int
    stride: int = 1
    zero_init: bool = False
    conv: Callable = convolution
    norm: Callable = BatchNorm

    @nn.compact
    def __call__(self, x, train, mask):
        mode = {"train": train, "mask": mask}
        y = self.conv(self.width, 3, self.stride, name="conv1")(x)
        y = nn.relu(self.norm(name="bn1")(y, **mode))
        y = self.conv(self.width, 3, name="conv2")(y)
        y = self.norm(name="bn2", scale_init=_last_scale(self))(y, **mode)
        return nn.relu(y + _shortcut(self, x, self.width, mode))


class Bottleneck(nn.Module):
    """1x1 down, 3x3, 1x1 up by four, beside a shortcut (fig. 5, right).

    Args:
        width: channels inside the block, a quarter of those that leave it.
        stride: stride of the 3x3 convolution.
        zero_init: whether the last norm starts at zero.
        conv: maker of a convolution, given features, kernel, stride and name.
        norm: maker of a norm, given a name.
    """

    width: int
    stride: int = 1
    zero_init: bool = False
    conv: Callable = convolution
    norm: Callable = BatchNorm

    @nn.compact
    def __call__(self, x, train, mask):
        mode = {"train": train, "mask": mask}
        y = self.conv(self.width, 1, name="conv1")(x)
        y = nn.relu(self.norm(name="bn1")(y, **mode))
        y = self.conv(self.width, 3, self.stride, name="conv2")(y)
        y = nn.relu(self.norm(name="bn2")(y, **mode))
        y = self.conv(4 * self.width, 1, name="conv3")(y)
        y = self.norm(name="bn3", scale_init=_last_scale(self))(y, **mode)
        return nn.relu(y + _shortcut(self, x, 4 * self.width, mode))


def _last_scale(block):
    return nn.initializers.zeros if block.zero_init else nn.initializers.ones


def _shortcut(block, x, width, mode):
    """`x` itself, or its 1x1 projection where the block changes the shape."""
    if x.shape[-1] == width and block.stride == 1:
        return x
    x = block.conv(width, 1, block.stride, name="downsample_conv1")(x)
    return block.norm(name="downsample_bn1")(x, **mode)


_small = {"stem_kernel": 3, "stem_stride": 1, "stem_pool": False}
resnet18 = partial(ResNet, (2, 2, 2, 2), BasicBlock)  # 11.7 M parameters
resnet34 = partial(ResNet, (3, 4, 6, 3), BasicBlock)  # 21.8 M
resnet50 = partial(ResNet, (3, 4, 6, 3), Bottleneck)  # 25.6 M
resnet18_small = partial(resnet18, **_small)
resnet34_small = partial(resnet34, **_small)
resnet50_small = partial(resnet50, **_small)
