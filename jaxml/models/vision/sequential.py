"""Layers one after another, named and told as in `torch.nn.Sequential`.

    model = Sequential((("Linear", (4, 8), ()), ("ReLU", (), ())))
    variables = jax.jit(model.init)(key, rows)
    outputs = model.apply(variables, rows)

Rows: [batch, feature]; images: [batch, height, width, channel]. Before a `Flatten` the
channels go first, as in torch, so that the weights behind it mean the same.
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxml.nn.norm import BatchNorm

__all__ = ["KNOWN", "Layer", "Sequential"]

Layer = tuple[str, tuple[Any, ...], tuple[tuple[str, Any], ...]]  # class, args, kwargs
ACTIVATIONS: dict[str, Callable] = {
    "ReLU": nn.relu,
    "Tanh": jnp.tanh,
    "Sigmoid": nn.sigmoid,
    "SiLU": nn.silu,
    "GELU": functools.partial(nn.gelu, approximate=False),
}
KNOWN = (
    *ACTIVATIONS,
    "Flatten",
    "Linear",
    "Conv2d",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "LayerNorm",
    "Identity",
    "Dropout",
)


class Sequential(nn.Module):
    """Layers one after another; the parameters of the n-th stand under `layer_n`.

    Args:
        layers: class, positional and named arguments of each, as in torch.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    layers: tuple[Layer, ...]
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b ..."], *, train: bool = False) -> Array:
        """Apply the layers to rows [batch, feature] or images [batch, h, w, channel].

        Args:
            x: rows or images.
            train: whether dropout drops and batch norms learn.
        """
        for number, (kind, args, named) in enumerate(self.layers):
            x = self._layer(x, f"layer_{number}", kind, args, dict(named), train)
        return x

    def _layer(self, x, name, kind, args, named, train):
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype, "name": name}
        first = args[0] if args else None
        if kind in ACTIVATIONS:
            return ACTIVATIONS[kind](x)
        if kind == "Flatten":
            if x.ndim == 4:  # torch flattens channel, height, width
                x = x.transpose(0, 3, 1, 2)
            return x.reshape(x.shape[0], -1)
        if kind == "Linear":
            return nn.Dense(args[1], use_bias=named.get("bias", True), **dtypes)(x)
        if kind == "Conv2d":
            return nn.Conv(
                args[1],
                _pair(args[2]),
                _pair(named.get("stride", args[3] if len(args) > 3 else 1)),
                padding=[(n, n) for n in _pair(named.get("padding", 0))],
                feature_group_count=named.get("groups", 1),
                use_bias=named.get("bias", True),
                **dtypes,
            )(x)
        if kind == "AvgPool2d":
            return nn.avg_pool(x, _pair(first), _pair(named.get("stride", first)))
        if kind.startswith("BatchNorm"):
            return BatchNorm(epsilon=named.get("eps", 1e-5), **dtypes)(x, train=train)
        if kind == "LayerNorm":
            epsilon = named.get("eps", 1e-5)
            return nn.LayerNorm(epsilon, use_fast_variance=False, **dtypes)(x)
        if kind == "Dropout":
            rate = named.get("p", 0.5 if first is None else first)
            return nn.Dropout(rate, deterministic=not train)(x)
        return x


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)
