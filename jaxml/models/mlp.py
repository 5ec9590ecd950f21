"""Multilayer perceptron for rows, or for images that it flattens.

    model = MLP((300, 100), num_outputs=10)
    variables = model.init(key, x)
    logits = model.apply(variables, x)
    logits, updates = model.apply(
        variables, x, train=True, mutable=["batch_stats"], rngs={"dropout": key}
    )

A regression has `num_outputs=1`. `selu_mlp` normalises itself: SELU, LeCun normal
kernels and alpha dropout want inputs of mean 0 and deviation 1.

References:
    He, Zhang, Ren and Sun, 2015. Initialisation for ReLU. arXiv:1502.01852.
    Klambauer, Unterthiner, Mayr and Hochreiter, 2017. Self-normalizing networks.
    arXiv:1706.02515.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxml.nn import check, initializers
from jaxml.nn.dense import DenseBlock

__all__ = ["MLP", "selu_mlp"]


class MLP(nn.Module):
    """Hidden layers, each linear, norm, activation and dropout; then a linear head.

    Args:
        hidden: units of each hidden layer.
        num_outputs: classes, or numbers to predict.
        activation: name in `jaxml.nn.activations` or a function; or a tuple of
            them, one for each hidden layer.
        norm: "batch", "layer" or None; or a tuple, one for each hidden layer.
        norm_position: "before" or "after" the activation.
        dropout: chance of a hidden unit to be dropped, from 0 to below 1.
        input_dropout: chance of an input to be dropped, from 0 to below 1.
        dropout_kind: "plain", or "alpha" (for SELU).
        kernel_init: name in `jaxml.nn.initializers`, or an initialiser, of the
            hidden layers.
        head_init: the same for the head.
        remat: whether the backward pass computes each hidden layer again instead
            of keeping what is inside it.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    hidden: tuple[int, ...]
    num_outputs: int
    activation: str | Callable | tuple = "relu"
    norm: str | tuple | None = None
    norm_position: str = "before"
    dropout: float = 0.0
    input_dropout: float = 0.0
    dropout_kind: str = "plain"
    kernel_init: str | Callable = "he_normal"
    head_init: str | Callable = "lecun_normal"
    remat: bool = False
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b *shape"],
        *,
        train: bool = False,
        mask: Bool[Array, " b"] | None = None,
    ) -> Float[Array, "b k"]:
        """Logits or predictions of every row.

        Args:
            x: rows [batch, features], or images, flattened in row order.
            train: whether dropout is on and batch norm uses this batch.
            mask: False for rows of padding, which batch norm then leaves out.

        Raises:
            ValueError: if the rank or dtype is off, or an option unknown.
        """
        check.rows(x)
        block = nn.remat(DenseBlock, static_argnums=(2,)) if self.remat else DenseBlock
        x = x.reshape(x.shape[0], -1)
        x = nn.Dropout(self.input_dropout, name="input_dropout")(
            x, deterministic=not train
        )
        each = zip(
            self.hidden,
            _each(self.activation, len(self.hidden), "activation"),
            _each(self.norm, len(self.hidden), "norm"),
            strict=True,
        )
        for i, (features, activation, norm) in enumerate(each):
            x = block(
                features,
                activation=activation,
                norm=norm,
                norm_position=self.norm_position,
                dropout=self.dropout,
                dropout_kind=self.dropout_kind,
                kernel_init=self.kernel_init,
                dtype=self.dtype,
                param_dtype=self.param_dtype,
                name=f"hidden_{i}",
            )(x, train, mask)
        return nn.Dense(
            self.num_outputs,
            kernel_init=initializers.by_name(self.head_init),
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            name="head",
        )(x)


selu_mlp = partial(
    MLP, activation="selu", kernel_init="lecun_normal", dropout_kind="alpha"
)


def _each(option, depth, what) -> tuple:
    """The option of each hidden layer."""
    if not isinstance(option, tuple):
        return (option,) * depth
    if len(option) != depth:
        raise ValueError(
            f"{what} must be one, or one for each of the {depth} hidden layers; "
            f"got {len(option)}"
        )
    return option
