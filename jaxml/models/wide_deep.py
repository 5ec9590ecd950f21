"""Wide & Deep: what is memorised beside what is generalised, two inputs, two heads.

    model = WideDeep()
    variables = model.init(key, x[:, :5], x[:, 2:])
    main, auxiliary = model.apply(variables, x[:, :5], x[:, 2:])
    values = loss(Prediction(main, auxiliary), y)           # one for each row

The wide input goes straight to the main head, beside the last hidden layer of the
deep input. The auxiliary head sees the deep input alone and keeps it learning.

References:
    Cheng et al., 2016. Wide & deep learning for recommender systems.
    arXiv:1606.07792 (eq. 3).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxml.nn import check
from jaxml.nn.dense import DenseBlock

__all__ = ["Prediction", "WideDeep", "loss"]


class Prediction(NamedTuple):
    """What the two heads say."""

    main: Float[Array, "b k"]
    auxiliary: Float[Array, "b k"]


class WideDeep(nn.Module):
    """A perceptron over the deep input, joined by the wide input before the head.

    Args:
        hidden: units of each hidden layer.
        num_outputs: numbers to predict, or classes.
        activation: name in `jaxml.nn.activations`, or a function.
        norm: "batch", "layer" or None, of the hidden layers.
        dropout: chance of a hidden unit to be dropped, from 0 to below 1.
        kernel_init: name in `jaxml.nn.initializers`, or an initialiser.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    hidden: tuple[int, ...] = (30, 30)
    num_outputs: int = 1
    activation: str | Callable = "relu"
    norm: str | None = None
    dropout: float = 0.0
    kernel_init: str | Callable = "glorot_uniform"
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        wide: Float[Array, "b w"],
        deep: Float[Array, "b d"],
        *,
        train: bool = False,
        mask: Bool[Array, " b"] | None = None,
    ) -> Prediction:
        """Both predictions of every row.

        Args:
            wide: features for the main head itself, normalised by the caller.
            deep: features for the hidden layers; the two may share columns.
            train: whether dropout is on and batch norm uses this batch.
            mask: False for rows of padding, which batch norm then leaves out.

        Raises:
            ValueError: if a rank or dtype is off, or the rows do not pair.
        """
        check.rows(wide, "wide")
        check.rows(deep, "deep")
        if wide.shape[0] != deep.shape[0]:
            raise ValueError(
                "wide and deep must have a row for each other; "
                f"got {wide.shape[0]} and {deep.shape[0]}"
            )
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        x = deep.reshape(deep.shape[0], -1)
        for i, features in enumerate(self.hidden):
            x = DenseBlock(
                features,
                activation=self.activation,
                norm=self.norm,
                dropout=self.dropout,
                kernel_init=self.kernel_init,
                name=f"hidden_{i}",
                **dtypes,
            )(x, train, mask)
        joined = jnp.concatenate([wide.reshape(wide.shape[0], -1), x], axis=-1)
        return Prediction(
            nn.Dense(self.num_outputs, name="main", **dtypes)(joined),
            nn.Dense(self.num_outputs, name="auxiliary", **dtypes)(x),
        )


def loss(
    prediction: Prediction,
    target: Float[Array, "b k"],
    *,
    main: float = 0.9,
    auxiliary: float = 0.1,
) -> Float[Array, " b"]:
    """Squared error of both heads, weighted, for each row.

    Args:
        prediction: what the two heads say.
        target: the truth, the same for both heads.
        main: weight of the main head.
        auxiliary: weight of the auxiliary head.

    Raises:
        ValueError: if the target has not the shape of the predictions.
    """
    if target.shape != prediction.main.shape:
        raise ValueError(
            f"target must be {list(prediction.main.shape)}, as the predictions; "
            f"got {list(target.shape)}"
        )
    error = lambda head: jnp.square(head - target).mean(-1)
    return main * error(prediction.main) + auxiliary * error(prediction.auxiliary)
