"""The feed-forward half of a transformer block, plain and gated.

    x = FeedForward(4 * width, activation="gelu", name="feed_forward")(x, train=train)
    x = GatedFeedForward(11008, activation="silu", use_bias=False)(x)

References:
    Vaswani et al., 2017. Attention is all you need (eq. 2). arXiv:1706.03762.
    Shazeer, 2020. GLU variants improve transformer (eq. 5-6). arXiv:2002.05202.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxml.nn import activations

__all__ = ["FeedForward", "GatedFeedForward"]


class FeedForward(nn.Module):
    """Up, activation, dropout, down.

    Args:
        hidden: features in between.
        features: features of the result; those of the input if None.
        activation: name in `jaxml.nn.activations`, or a function.
        dropout: chance of a hidden feature to be dropped in training.
        use_bias: whether both layers have a bias.
        kernel_init: initialiser of `up`, and of `down` if that has none of its own.
        down_init: initialiser of the kernel of `down`.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    hidden: int
    features: int | None = None
    activation: str | Callable = "gelu"
    dropout: float = 0.0
    use_bias: bool = True
    kernel_init: Callable = nn.initializers.xavier_uniform()
    down_init: Callable | None = None
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "*b d"], *, train: bool = False
    ) -> Float[Array, "*b k"]:
        """Apply it to every position alone."""
        up, down = _layers(self, x.shape[-1])
        y = activations.activate(
            up(name="up")(x), self.activation, train=train, name="activation"
        )
        y = nn.Dropout(self.dropout, name="dropout")(y, deterministic=not train)
        return down(name="down")(y)


class GatedFeedForward(nn.Module):
    """Activation of the gate times up, dropout, down.

    Args:
        hidden: features in between.
        features: features of the result; those of the input if None.
        activation: name in `jaxml.nn.activations`, or a function.
        dropout: chance of a hidden feature to be dropped in training.
        use_bias: whether the three layers have a bias.
        kernel_init: initialiser of `gate` and `up`, and of `down` if that has none.
        down_init: initialiser of the kernel of `down`.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    hidden: int
    features: int | None = None
    activation: str | Callable = "silu"
    dropout: float = 0.0
    use_bias: bool = False
    kernel_init: Callable = nn.initializers.xavier_uniform()
    down_init: Callable | None = None
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "*b d"], *, train: bool = False
    ) -> Float[Array, "*b k"]:
        """Apply it to every position alone."""
        up, down = _layers(self, x.shape[-1])
        gate = activations.activate(
            up(name="gate")(x), self.activation, train=train, name="activation"
        )
        y = nn.Dropout(self.dropout, name="dropout")(
            gate * up(name="up")(x), deterministic=not train
        )
        return down(name="down")(y)


def _layers(module, width):
    """Makers of the layers into and out of the hidden features."""

    def make(features, kernel_init):
        return lambda name: nn.Dense(
            features,
            use_bias=module.use_bias,
            kernel_init=kernel_init,
            dtype=module.dtype,
            param_dtype=module.param_dtype,
            name=name,
        )

    out = width if module.features is None else module.features
    return (
        make(module.hidden, module.kernel_init),
        make(out, module.down_init or module.kernel_init),
    )
