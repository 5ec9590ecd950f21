"""ResNet for images, the "v1.5" of torchvision, and its relatives.

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
    Yu, Koltun and Funkhouser, 2017. Dilated residual networks. arXiv:1705.09914.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxml.nn import initializers
from jaxml.nn.conv import check_images, convolution
from jaxml.nn.norm import BatchNorm
from jaxml.ops import pool

__all__ = [
    "BasicBlock",
    "Bottleneck",
    "ResNet",
    "Trunk",
    "resnet18",
    "resnet18_small",
    "resnet34",
    "resnet34_small",
    "resnet50",
    "resnet50_small",
    "resnet101",
    "resnet152",
]


def projection(block, x, features, mode):
    """The shortcut: `x` itself, or its 1x1 projection where the shape changes."""
    if x.shape[-1] == features and block.stride == 1:
        return x
    x = block.conv(features, 1, block.stride, name="downsample_conv1")(x)
    return block.norm(name="downsample_bn1")(x, **mode)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut (fig. 5, left).

    Args:
        width: channels of the block.
        stride: stride of the first convolution.
        zero_init: whether the last norm starts at zero.
        conv: maker of a convolution, given features, kernel, stride and name.
        norm: maker of a norm, given a name.
        dilation: of the two convolutions, first and second.
        activation: function after the sum.
        attention: maker of a module that scales channels before the sum, given
            features and name; None for none.
        shortcut: function of (block, x, features, mode) that gives the shortcut.
    """

    width: int
    stride: int = 1
    zero_init: bool = False
    conv: Callable = convolution
    norm: Callable = BatchNorm
    dilation: tuple[int, int] = (1, 1)
    activation: Callable = nn.relu
    attention: Callable | None = None
    shortcut: Callable = projection

    @nn.compact
    def __call__(self, x, train, mask):
        mode = {"train": train, "mask": mask}
        first, second = ({"dilation": d} for d in self.dilation)
        y = self.conv(self.width, 3, self.stride, name="conv1", **first)(x)
        y = nn.relu(self.norm(name="bn1")(y, **mode))
        y = self.conv(self.width, 3, name="conv2", **second)(y)
        y = self.norm(name="bn2", scale_init=_last_scale(self))(y, **mode)
        return _join(self, x, y, mode)


class Bottleneck(nn.Module):
    """1x1 down, 3x3, 1x1 up by four, beside a shortcut (fig. 5, right).

    Args:
        width: channels inside the block, a quarter of those that leave it.
        stride: stride of the 3x3 convolution.
        dilation: of the 3x3 convolution (its first number). All up to `shortcut` as
            in `BasicBlock`.
        groups: groups of channels of the 3x3 convolution.
        base_width: channels of a group, for each 64 of `width`.
        stride_first: whether the stride sits on the first 1x1 convolution (v1).
    """

    width: int
    stride: int = 1
    zero_init: bool = False
    conv: Callable = convolution
    norm: Callable = BatchNorm
    dilation: tuple[int, int] = (1, 1)
    activation: Callable = nn.relu
    attention: Callable | None = None
    shortcut: Callable = projection
    groups: int = 1
    base_width: int = 64
    stride_first: bool = False

    @nn.compact
    def __call__(self, x, train, mask):
        mode = {"train": train, "mask": mask}
        inside = int(self.width * self.base_width / 64) * self.groups
        strides = (self.stride, 1) if self.stride_first else (1, self.stride)
        middle = {"groups": self.groups, "dilation": self.dilation[0]}
        y = self.conv(inside, 1, strides[0], name="conv1")(x)
        y = nn.relu(self.norm(name="bn1")(y, **mode))
        y = self.conv(inside, 3, strides[1], name="conv2", **middle)(y)
        y = nn.relu(self.norm(name="bn2")(y, **mode))
        y = self.conv(4 * self.width, 1, name="conv3")(y)
        y = self.norm(name="bn3", scale_init=_last_scale(self))(y, **mode)
        return _join(self, x, y, mode)


def _last_scale(block):
    return nn.initializers.zeros if block.zero_init else nn.initializers.ones


def _join(block, x, y, mode):
    """The sum of shortcut and branch, once its channels are weighed."""
    if block.attention is not None:
        y = block.attention(y.shape[-1], name="se")(y)
    return block.activation(y + block.shortcut(block, x, y.shape[-1], mode))


def plain_stem(network, images, conv, norm, mode):
    """One convolution, norm and activation."""
    width = network.stem_width or network.width
    x = conv(width, network.stem_kernel, network.stem_stride, name="conv1")(images)
    return network.activation(norm(name="bn1")(x, **mode))


class Trunk(nn.Module):
    """Stem and stages of blocks: what `ResNet` and `ResNetFeatures` share.

    Args:
        depths: number of blocks of each stage.
        block: `BasicBlock` or `Bottleneck`, or a partial of them.
        stem_kernel: side of the first convolution.
        stem_stride: stride of the first convolution.
        stem_pool: whether a 3x3 max-pool of stride 2 follows it.
        stem_width: channels of the stem; those of the first stage if None.
        stem: function of (network, images, conv, norm, mode) that makes the stem.
        width: channels of the first stage; each further stage doubles them.
        widths: channels of each stage, where they do not double.
        strides: stride of each stage, in its first block.
        dilated: stages that keep the size of the image and, instead of the stride,
            widen all their kernels but those of the first block, and those after.
        activation: function in the stem and after the sum of each block (those inside
            a block are ReLU).
        attention: maker of a module that scales the channels of a block, given
            features, name and dtypes; None for none.
        zero_init_residual: whether the last norm of each block starts at zero.
        axis_name: mesh axis over which the batch is split, in shard_map or pmap.
        remat: whether the backward pass computes each block again.
        channels: channels that the images must have; any number if None.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    depths: tuple[int, ...]
    block: Callable
    stem_kernel: int = 7
    stem_stride: int = 2
    stem_pool: bool = True
    stem_width: int | None = None
    stem: Callable = plain_stem
    width: int = 64
    widths: tuple[int, ...] | None = None
    strides: tuple[int, ...] = (1, 2, 2, 2)
    dilated: tuple[bool, ...] = (False, False, False, False)
    activation: Callable = nn.relu
    attention: Callable | None = None
    zero_init_residual: bool = False
    axis_name: str | None = None
    remat: bool = False
    channels: int | None = None
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def trunk(self, images: Float[Array, "b h w c"], mode: dict[str, Any]) -> list:
        """Maps of the stem (before its pool) and of every stage, the largest first.

        Sows "hidden_states" in "intermediates": after the stem's pool and every stage.
        """
        check_images(images, self.channels)
        conv: Callable = partial(convolution, **self._dtypes())
        norm = partial(BatchNorm, axis_name=self.axis_name, **self._dtypes())
        x = self.stem(self, images, conv, norm, mode)
        maps = [x]
        if self.stem_pool:
            x = pool.max_pool(x, window=3, stride=2, padding=1)
        self.sow("intermediates", "hidden_states", x)
        make = partial(
            _rematerialised(self.block) if self.remat else self.block,
            conv=conv,
            norm=norm,
            zero_init=self.zero_init_residual,
            activation=self.activation,
            attention=self.attention and partial(self.attention, **self._dtypes()),
        )
        for name, width, stride, dilation, last in self._plan():
            block = make(width, stride, dilation=dilation, name=name)
            x = block(x, mode["train"], mode["mask"])
            if last:
                maps.append(x)
                self.sow("intermediates", "hidden_states", x)
        return maps

    def _plan(self):
        """Name, width, stride, dilations of every block; whether it ends a stage."""
        before = now = 1
        for stage, depth in enumerate(self.depths):
            width = self.widths[stage] if self.widths else self.width * 2**stage
            stride = self.strides[stage]
            if self.dilated[stage]:
                now, stride = now * stride, 1
            for i in range(depth):
                name = f"layer{stage + 1}_{i}"
                yield name, width, stride, (before, now), i == depth - 1
                before, stride = now, 1

    def _dtypes(self):
        return {"dtype": self.dtype, "param_dtype": self.param_dtype}


class ResNet(Trunk):
    """Stem, stages of blocks, mean over space, linear head.

    Args:
        num_classes: number of logits; None for no head: the means are the result.
            All else as in `Trunk`.
    """

    num_classes: int | None = 1000

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
            ValueError: if rank, dtype or channels of the images are off.
        """
        mode = {"train": train, "mask": mask}
        x = self.trunk(images, mode)[-1].mean((1, 2))
        if self.num_classes is None:
            return x
        head = initializers.by_name("torch")
        return nn.Dense(
            self.num_classes, kernel_init=head, name="fc", **self._dtypes()
        )(x)


def _rematerialised(block):
    """The block, whose backward pass computes its inside again."""
    again = partial(nn.remat, static_argnums=(2,))
    if isinstance(block, partial):
        return partial(again(block.func), *block.args, **block.keywords)
    return again(block)


_small = {"stem_kernel": 3, "stem_stride": 1, "stem_pool": False}
resnet18 = partial(ResNet, (2, 2, 2, 2), BasicBlock)  # 11.7 M parameters
resnet34 = partial(ResNet, (3, 4, 6, 3), BasicBlock)  # 21.8 M
resnet50 = partial(ResNet, (3, 4, 6, 3), Bottleneck)  # 25.6 M
resnet101 = partial(ResNet, (3, 4, 23, 3), Bottleneck)  # 44.5 M
resnet152 = partial(ResNet, (3, 8, 36, 3), Bottleneck)  # 60.2 M
resnet18_small = partial(resnet18, **_small)
resnet34_small = partial(resnet34, **_small)
resnet50_small = partial(resnet50, **_small)
