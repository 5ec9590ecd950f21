"""Small convolutional networks for small images.

    model = CNN(num_classes=10)                          # 28 x 28 or 32 x 32
    variables = jax.jit(model.init)(key, images)
    logits = model.apply(variables, images)
    logits, updates = model.apply(
        variables, images, train=True, mutable=["batch_stats"], rngs={"dropout": key}
    )

`CNN` is the one to take: every stage pools before it normalises, so that norm and
activation touch a quarter of the values. `BookCNN` is the larger, older kind without
norms, as textbooks teach it.

References:
    Simonyan and Zisserman, 2014. Stacks of 3x3 convolutions. arXiv:1409.1556.
    Ioffe and Szegedy, 2015. Batch normalization. arXiv:1502.03167.
    Lin, Chen and Yan, 2013. Mean over space as the head. arXiv:1312.4400.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxml.nn import check, initializers
from jaxml.nn.norm import BatchNorm
from jaxml.ops import pool

__all__ = ["CNN", "BookCNN"]


class CNN(nn.Module):
    """Stages of 3x3 convolution, max-pool, norm and ReLU; mean over space; head.

    Args:
        num_classes: number of logits.
        widths: channels of each stage; the side of the image halves at each.
        dropout: chance of a feature to be dropped before the head, 0 to below 1.
        axis_name: mesh axis over which the batch is split, in shard_map or pmap.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    num_classes: int = 10
    widths: tuple[int, ...] = (32, 64, 128)
    dropout: float = 0.0
    axis_name: str | None = None
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
            images: at least 2 to the number of stages on a side, normalised by the
                caller.
            train: whether dropout is on and the norms use this batch.
            mask: False for rows of padding, which the norms then leave out.

        Raises:
            ValueError: if the rank, dtype or size of the images is off.
        """
        check.images(images)
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        x = images
        for i, width in enumerate(self.widths):
            x = nn.Conv(
                width,
                (3, 3),
                padding=1,
                use_bias=False,
                kernel_init=initializers.by_name("he_normal"),
                name=f"conv{i + 1}",
                **dtypes,
            )(x)
            x = pool.max_pool(x)
            norm = BatchNorm(axis_name=self.axis_name, name=f"bn{i + 1}", **dtypes)
            x = nn.relu(norm(x, train=train, mask=mask))
        x = x.mean((1, 2))
        x = nn.Dropout(self.dropout, name="dropout")(x, deterministic=not train)
        return nn.Dense(self.num_classes, name="head", **dtypes)(x)


class BookCNN(nn.Module):
    """Five convolutions, three max-pools, two dense layers with dropout; no norm.

    A first kernel of 7x7 with 64 channels, then twice 128 and twice 256 of 3x3; on
    28 x 28 x 1 it has 1.4 M parameters and costs 0.18 GFLOPs an image, some twelve
    times those of `CNN`.

    Args:
        num_classes: number of logits.
        dropout: chance of a unit of the dense layers to be dropped, 0 to below 1.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    num_classes: int = 10
    dropout: float = 0.5
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
        """Logits of every image; the arguments are those of `CNN`.

        Args:
            images: at least 8 on a side, normalised by the caller.
            train: whether dropout is on.
            mask: for the contract of networks.

        Raises:
            ValueError: if the rank, dtype or size of the images is off.
        """
        check.images(images)
        options = {
            "kernel_init": initializers.by_name("he_normal"),
            "dtype": self.dtype,
            "param_dtype": self.param_dtype,
        }
        x = images
        widths = ((64,), (128, 128), (256, 256))
        number = 0
        for stage in widths:
            for width in stage:
                number += 1
                kernel = 7 if number == 1 else 3
                x = nn.Conv(
                    width,
                    (kernel, kernel),
                    padding=kernel // 2,
                    name=f"conv{number}",
                    **options,
                )(x)
                x = nn.relu(x)
            x = pool.max_pool(x)
        x = x.reshape(x.shape[0], -1)
        for i, width in enumerate((128, 64)):
            x = nn.relu(nn.Dense(width, name=f"fc{i + 1}", **options)(x))
            x = nn.Dropout(self.dropout, name=f"dropout{i + 1}")(
                x, deterministic=not train
            )
        head = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        return nn.Dense(self.num_classes, name="head", **head)(x)
