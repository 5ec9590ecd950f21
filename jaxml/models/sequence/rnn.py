"""Recurrent networks: a sequence to a vector, to a sequence, or a vector to a sequence.

    model = SequenceToVector(partial(lstm, features=32, layers=2), num_outputs=14)
    variables = jax.jit(model.init)(key, x)                # x: [batch, time, features]
    y = model.apply(variables, x, mask=mask)               # [batch, 14]

The named stacks are `jaxml.nn.recurrent.Recurrent` of one kind of cell; they are
networks of their own, which take a carry and give it back. Letters: b batch, t steps,
d inputs, k outputs, s future steps.

References:
    Sutskever, Martens and Hinton, 2011. Generating text with recurrent neural networks.
    Karpathy, 2015. The unreasonable effectiveness of recurrent neural networks.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxml.nn import cells, check
from jaxml.nn.recurrent import Recurrent
from jaxml.nn.sequence import check_sequence

__all__ = [
    "SequenceToSequence",
    "SequenceToVector",
    "VectorToSequence",
    "forecast",
    "gru",
    "lstm",
    "relu_rnn",
    "rnn",
    "stack",
]

rnn = partial(Recurrent, cells.RNNCell)
relu_rnn = partial(Recurrent, partial(cells.RNNCell, activation=jax.nn.relu))
lstm = partial(Recurrent, cells.LSTMCell)
gru = partial(Recurrent, cells.GRUCell)

_CELLS: dict[str, Callable[..., cells.Cell]] = {
    "rnn": cells.RNNCell,
    "relu_rnn": partial(cells.RNNCell, activation=jax.nn.relu),
    "lstm": cells.LSTMCell,
    "gru": cells.GRUCell,
}


def stack(name: str, *, use_bias: bool = True, **fields: Any) -> Recurrent:
    """A stack by the name of its cell.

    Args:
        name: "rnn", "relu_rnn", "lstm" or "gru".
        use_bias: whether the products have biases.
        fields: of `Recurrent`.

    Raises:
        ValueError: if there is no such cell; the message tells the nearest.

    >>> stack("lstm", features=8).features
    8
    """
    cell = _CELLS[check.one_of(name, _CELLS, "cell")]
    return Recurrent(partial(cell, use_bias=use_bias), **fields)


class SequenceToVector(nn.Module):
    """A stack, and a linear map of its last hidden state.

    Args:
        recurrent: maker of the stack, such as `partial(lstm, features=32)`.
        num_outputs: size of the vector.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    recurrent: Callable[..., Recurrent]
    num_outputs: int = 1
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b t d"],
        *,
        mask: Bool[Array, "b t"] | None = None,
        train: bool = False,
    ) -> Float[Array, "b k"]:
        """The vector of each sequence.

        Args:
            x: sequences, at least one step.
            mask: False for steps of padding. A row of padding alone gives the bias.
            train: whether dropout is on.

        Raises:
            ValueError: if the rank or dtype of `x` is off, or there is no step.
        """
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        recurrent = self.recurrent(name="recurrent", **dtypes)
        ended = recurrent(x, mask=mask, train=train).carry
        last = ended[-2:] if recurrent.bidirectional else ended[-1:]
        hidden = [state[0] if isinstance(state, tuple) else state for state in last]
        return nn.Dense(self.num_outputs, name="head", **dtypes)(
            jnp.concatenate(hidden, axis=-1)
        )


class SequenceToSequence(nn.Module):
    """A stack, and one linear map of the hidden state at every step.

    With a stack of one direction, output t depends on the inputs up to t alone.

    Args:
        recurrent: maker of the stack, such as `partial(lstm, features=32)`.
        num_outputs: size of the output of a step.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    recurrent: Callable[..., Recurrent]
    num_outputs: int = 1
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b t d"],
        *,
        mask: Bool[Array, "b t"] | None = None,
        train: bool = False,
    ) -> Float[Array, "b t k"]:
        """An output at every step; arguments as of `SequenceToVector`."""
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        recurrent = self.recurrent(name="recurrent", **dtypes)
        hidden = recurrent(x, mask=mask, train=train).outputs
        return nn.Dense(self.num_outputs, name="head", **dtypes)(hidden)


class VectorToSequence(nn.Module):
    """A vector, given to a stack at every step of the sequence to be made.

    Args:
        recurrent: maker of the stack, such as `partial(lstm, features=32)`.
        steps: length of the sequence, at least 1.
        num_outputs: size of the output of a step.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    recurrent: Callable[..., Recurrent]
    steps: int
    num_outputs: int = 1
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "b d"], *, train: bool = False
    ) -> Float[Array, "b s k"]:
        """The sequence of each vector.

        Args:
            x: vectors.
            train: whether dropout is on.

        Raises:
            ValueError: if the rank or dtype of `x` is off, or `steps` is below 1.
        """
        check.rows(x)
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1; got {self.steps}")
        x = x.reshape(len(x), -1)
        every = jnp.broadcast_to(x[:, None], (len(x), self.steps, x.shape[1]))
        made = SequenceToSequence(
            self.recurrent,
            self.num_outputs,
            self.dtype,
            self.param_dtype,
            name="sequence",
        )
        return made(every, train=train)


def forecast(
    step: Callable[[Float[Array, "b t d"]], Float[Array, "b d"]],
    x: Float[Array, "b t d"],
    *,
    steps: int,
) -> Float[Array, "b s d"]:
    """Predict one step ahead again and again, each time over its own predictions.

    Args:
        step: prediction of the next step from a window, such as
            `partial(model.apply, variables)`.
        x: the last window that was seen.
        steps: how far to go, at least 1.

    Raises:
        ValueError: if `x` is no batch of sequences, or `steps` is below 1.

    >>> double = lambda window: 2 * window[:, -1]
    >>> forecast(double, jnp.ones((1, 3, 1)), steps=3).ravel()
    Array([2., 4., 8.], dtype=float32)
    """
    check_sequence(x)
    if steps < 1:
        raise ValueError(f"steps must be at least 1; got {steps}")

    def once(window, _):
        y = step(window)
        return jnp.concatenate([window[:, 1:], y[:, None]], axis=1), y

    return jax.lax.scan(once, x, length=steps)[1].swapaxes(0, 1)
