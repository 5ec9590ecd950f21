"""Convolutions below a recurrent stack: down-sampling, and a net for chorales.

    model = ConvRNN(partial(gru, features=32, layers=2), num_outputs=14)
    y = model.apply(variables, x)               # [b, t, d] -> [b, (t - 4)//2 + 1, 14]

    model = ChoraleNet(num_tokens=47)
    logits = model.apply(variables, tokens)         # [b, t] -> [b, t, 47]

Letters: b batch, t steps, d inputs, k outputs.

References:
    Géron, 2022. Hands-on machine learning, third edition, chapter 15.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxml.models.sequence.wavenet import CausalConv
from jaxml.nn import cells
from jaxml.nn.norm import BatchNorm
from jaxml.nn.recurrent import Recurrent
from jaxml.nn.sequence import check_sequence

__all__ = ["ChoraleNet", "ConvRNN"]


class ConvRNN(nn.Module):
    """One strided convolution, a recurrent stack, a linear map at every step.

    Args:
        recurrent: maker of the stack, such as `partial(gru, features=32)`.
        num_outputs: size of the output of a step.
        channels: of the convolution.
        kernel: its taps.
        stride: its steps, by which the sequence gets shorter.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    recurrent: Callable[..., Recurrent]
    num_outputs: int = 1
    channels: int = 32
    kernel: int = 4
    stride: int = 2
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b t d"],
        *,
        mask: Bool[Array, "b t"] | None = None,
        train: bool = False,
    ) -> Float[Array, "b s k"]:
        """An output for every window of the convolution.

        Args:
            x: sequences, at least `kernel` long.
            mask: False for steps of padding; an output is real where its whole window
                is.
            train: whether dropout is on.

        Raises:
            ValueError: if the rank or dtype of `x` is off, or it is too short.
        """
        check_sequence(x)
        if x.shape[1] < self.kernel:
            raise ValueError(
                f"x must have at least kernel = {self.kernel} steps; got {x.shape[1]}"
            )
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        x = nn.Conv(
            self.channels,
            (self.kernel,),
            self.stride,
            padding="VALID",
            kernel_init=nn.initializers.glorot_uniform(),
            name="conv",
            **dtypes,
        )(x)
        if mask is not None:
            starts = jnp.arange(x.shape[1]) * self.stride
            taps = starts[:, None] + jnp.arange(self.kernel)[None]
            mask = mask[:, taps].all(-1)
        stack = self.recurrent(name="recurrent", **dtypes)
        hidden = stack(nn.relu(x), mask=mask, train=train).outputs
        return nn.Dense(self.num_outputs, name="head", **dtypes)(hidden)


class ChoraleNet(nn.Module):
    """Embedding, causal dilated convolutions with batch norm, LSTM, linear map.

    Args:
        num_tokens: different tokens, at input and output.
        embedding: size of an embedding.
        channels: of the convolutions, whose dilations are 1, 2, 4, ...
        features: hidden size of the LSTM.
        dtype: dtype of the computation; that of the parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    num_tokens: int = 47
    embedding: int = 5
    channels: tuple[int, ...] = (32, 48, 64, 96)
    features: int = 256
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        tokens: Int[Array, "b t"],
        *,
        mask: Bool[Array, "b t"] | None = None,
        train: bool = False,
    ) -> Float[Array, "b t k"]:
        """Logits of the token after each step.

        Args:
            tokens: numbers from 0 to below `num_tokens`.
            mask: False for steps of padding.
            train: whether the norms use, and learn from, the statistics of the batch.

        Raises:
            ValueError: if the tokens are no integers [batch, time], or there is none.
        """
        if tokens.ndim != 2 or not jnp.issubdtype(tokens.dtype, jnp.integer):
            raise ValueError(
                f"tokens must be integers [batch, time]; got {tokens.dtype} "
                f"{list(tokens.shape)}"
            )
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        x = nn.Embed(self.num_tokens, self.embedding, name="embedding", **dtypes)(
            tokens
        )
        check_sequence(x)
        conv: Callable = partial(CausalConv, kernel=2, **dtypes)
        rows = None if mask is None else mask.ravel()
        real = (lambda x: x) if mask is None else lambda x: x * mask[..., None]
        for layer, width in enumerate(self.channels):
            x = nn.relu(conv(width, dilation=2**layer, name=f"conv_{layer}")(real(x)))
            norm = BatchNorm(name=f"norm_{layer}", **dtypes)
            # each step is a row of its own for the statistics
            flat = norm(x.reshape(-1, width), train=train, mask=rows)
            x = flat.reshape(x.shape)
        lstm = Recurrent(cells.LSTMCell, self.features, name="recurrent", **dtypes)
        hidden = lstm(real(x), mask=mask, train=train).outputs
        return nn.Dense(self.num_tokens, name="head", **dtypes)(hidden)
