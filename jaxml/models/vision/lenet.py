"""LeNet-5, the first convolutional network in wide use.

    model = LeNet5(num_classes=10)
    variables = model.init(key, images)                  # [batch, 28, 28, 1]
    logits = model.apply(variables, images)

Tanh and mean pooling as in the paper; its sparse connections, scaled tanh and
radial output are replaced by their plain forms, as everywhere since.

References:
    LeCun, Bottou, Bengio and Haffner, 1998. Gradient-based learning applied to
    document recognition. Proceedings of the IEEE 86 (fig. 2).
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxml.nn import check
from jaxml.ops import pool

__all__ = ["LeNet5"]


class LeNet5(nn.Module):
    """Three 5x5 convolutions with mean pooling between, then two dense layers.

    Args:
        num_classes: number of logits.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    num_classes: int = 10
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
        """Logits of every image; `train` and `mask` change nothing here.

        Args:
            images: 28 x 28 in the paper; at least 16 x 16, normalised by the caller.
            train: for the contract of networks.
            mask: for the contract of networks.

        Raises:
            ValueError: if the rank, dtype or size of the images is off.
        """
        check.images(images)
        if min(images.shape[1:3]) < 16:
            raise ValueError(
                "images must be at least 16 x 16; "
                f"got {images.shape[1]} x {images.shape[2]}"
            )
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        x = nn.Conv(6, (5, 5), padding=2, name="conv1", **dtypes)(images)
        x = pool.avg_pool(nn.tanh(x))
        x = nn.Conv(16, (5, 5), padding=0, name="conv2", **dtypes)(x)
        x = pool.avg_pool(nn.tanh(x))
        # On 28 x 28 its kernel covers all there is, so one pixel is left.
        kernel = min(5, x.shape[1], x.shape[2])
        x = nn.Conv(120, (kernel, kernel), padding=0, name="conv3", **dtypes)(x)
        x = nn.tanh(x).reshape(x.shape[0], -1)
        x = nn.tanh(nn.Dense(84, name="fc1", **dtypes)(x))
        return nn.Dense(self.num_classes, name="fc2", **dtypes)(x)
