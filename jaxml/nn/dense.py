"""The hidden layer of a multilayer perceptron.

x = DenseBlock(100, activation="gelu", norm="layer", name="hidden_0")(x)
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxml.nn import activations, check, initializers
from jaxml.nn.dropout import AlphaDropout
from jaxml.nn.norm import BatchNorm

__all__ = ["DenseBlock"]


class DenseBlock(nn.Module):
    """Linear map, norm and activation (in either order), dropout.

    Args:
        features: number of units, at least 1.
        activation: name in `jaxml.nn.activations`, or a function.
        norm: "batch", "layer" or None.
        norm_position: "before" or "after" the activation.
        dropout: chance of a unit to be dropped in training, from 0 to below 1.
        dropout_kind: "plain", or "alpha" (for SELU).
        kernel_init: name in `jaxml.nn.initializers`, or an initialiser.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    features: int
    activation: str | Callable = "relu"
    norm: str | None = None
    norm_position: str = "before"
    dropout: float = 0.0
    dropout_kind: str = "plain"
    kernel_init: str | Callable = "he_normal"
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b d"],
        train: bool = False,
        mask: Bool[Array, " b"] | None = None,
    ) -> Float[Array, "b k"]:
        """Apply the layer; `mask` is False for rows of padding."""
        self._check()
        x = nn.Dense(
            self.features * activations.pieces(self.activation),
            kernel_init=initializers.by_name(self.kernel_init),
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            name="dense",
        )(x)
        if self.norm_position == "before":
            x = self._normalise(x, train, mask)
        x = activations.activate(
            x,
            self.activation,
            train=train,
            param_dtype=self.param_dtype,
            name="activation",
        )
        if self.norm_position == "after":
            x = self._normalise(x, train, mask)
        kind = AlphaDropout if self.dropout_kind == "alpha" else nn.Dropout
        return kind(self.dropout, name="dropout")(x, deterministic=not train)

    def _normalise(self, x, train, mask):
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        if self.norm == "batch":
            return BatchNorm(name="norm", **dtypes)(x, train=train, mask=mask)
        if self.norm == "layer":
            return nn.LayerNorm(epsilon=1e-5, name="norm", **dtypes)(x)
        return x

    def _check(self):
        if self.features < 1:
            raise ValueError(f"features must be at least 1; got {self.features}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be from 0 to below 1; got {self.dropout}")
        if self.norm is not None:
            check.one_of(self.norm, ("batch", "layer"), "norm")
        check.one_of(self.norm_position, ("before", "after"), "norm_position")
        check.one_of(self.dropout_kind, ("plain", "alpha"), "dropout_kind")
