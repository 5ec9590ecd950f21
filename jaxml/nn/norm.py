"""Batch normalisation as torch does it, which leaves out rows of padding.

    x = BatchNorm(name="bn1")(x, train=train, mask=mask)

It differs from `flax.linen.BatchNorm` in what trained weights feel: the running
variance takes the unbiased variance of the batch, and epsilon and momentum are
torch's (momentum here is the weight of the old value, 0.9, where torch writes 0.1).
Layer, group and root-mean-square norms are right in Flax: use those.

Under `jax.jit` with a sharded batch the statistics are those of the whole batch; in
`jax.shard_map` and `jax.pmap` name the axis of the mesh as `axis_name`.

References:
    Ioffe and Szegedy, 2015. Batch normalization. arXiv:1502.03167 (alg. 1).
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

__all__ = ["BatchNorm"]


class BatchNorm(nn.Module):
    """Shift and scale each channel to mean 0 and variance 1 over the batch.

    Args:
        momentum: weight of the old value in the running statistics, 0 to 1.
        epsilon: added to the variance.
        axis_name: mesh axis over which the batch is split, in shard_map or pmap.
        dtype: dtype of the result; that of the input and the parameters if None.
            Statistics are float32 at least, whatever it is.
        param_dtype: dtype of scale and bias.
        scale_init: initialiser of the scale.
        bias_init: initialiser of the bias.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    axis_name: str | None = None
    dtype: Any = None
    param_dtype: Any = jnp.float32
    scale_init: nn.initializers.Initializer = nn.initializers.ones
    bias_init: nn.initializers.Initializer = nn.initializers.zeros

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b *space c"],
        *,
        train: bool = False,
        mask: Bool[Array, " b"] | None = None,
    ) -> Float[Array, "b *space c"]:
        """Normalise `x`, by the batch in training, else by the running statistics.

        Args:
            x: activations; the last axis is the channel.
            train: whether to use, and learn from, the statistics of this batch.
            mask: False for rows of padding, which then count for nothing.

        Raises:
            ValueError: in training, if one value a channel is all there is.
        """
        width = x.shape[-1]
        wide = jnp.promote_types(x.dtype, jnp.float32)
        scale = self.param("scale", self.scale_init, (width,), self.param_dtype)
        bias = self.param("bias", self.bias_init, (width,), self.param_dtype)
        mean = self.variable("batch_stats", "mean", jnp.zeros, (width,), wide)
        var = self.variable("batch_stats", "var", jnp.ones, (width,), wide)

        if not train:
            center, spread = mean.value, var.value
        else:
            axis_name = None if self.is_initializing() else self.axis_name
            count, center, spread = _moments(x.astype(wide), mask, axis_name)
            if not self.is_initializing():
                unbiased = spread * count / jnp.maximum(count - 1, 1)
                # A batch of padding alone (count 0) teaches nothing.
                keep = jnp.where(count > 0, self.momentum, 1)
                mean.value = keep * mean.value + (1 - keep) * center
                var.value = keep * var.value + (1 - keep) * unbiased

        every = (1,) * (x.ndim - 1) + (width,)
        factor = jax.lax.rsqrt(spread + self.epsilon) * scale
        y = (x - center.reshape(every)) * factor.reshape(every) + bias.reshape(every)
        return y.astype(self.dtype or jnp.promote_types(x.dtype, self.param_dtype))


def _moments(x, mask, axis_name):
    """Number of values a channel, their mean and their biased variance."""
    axes = tuple(range(x.ndim - 1))
    area = x[0, ..., 0].size
    total = (lambda v: jax.lax.psum(v, axis_name)) if axis_name else (lambda v: v)
    if mask is None:
        count = jnp.array(x.shape[0] * area, x.dtype)
        if x.shape[0] * area == 1 and axis_name is None:
            raise ValueError(
                "batch normalisation needs more than one value a channel in "
                f"training; got {list(x.shape)}"
            )
        real = lambda v: v
    else:
        keep = mask.reshape((-1,) + (1,) * (x.ndim - 1))
        count = mask.sum().astype(x.dtype) * area
        real = lambda v: jnp.where(keep, v, 0)
    count = total(count)
    share = 1 / jnp.maximum(count, 1)
    center = total(real(x).sum(axes)) * share
    # Two passes: E[x²] - E[x]² would cancel where the mean is far from zero.
    apart = real(x - center.reshape((1,) * len(axes) + (-1,)))
    return count, center, total(jnp.square(apart).sum(axes)) * share
