"""Recurrent cells: one step of a simple RNN, an LSTM or a GRU.

    cell = LSTMCell(features=32)
    variables = cell.init(key, cell.start(len(x)), x)              # x: [batch, inputs]
    carry, output = cell.apply(variables, carry, x)

`jaxml.nn.recurrent.Recurrent` runs one over time: it takes `cell.weights(inputs)` once,
outside the loop, and the pure function `cell.advance` into it. All gates come from one
product with the input and one with the hidden state. Order of the gates and the two
biases are torch's, so torch's weights are ours transposed. Letters: b batch, d inputs,
h features, g gates times features.

References:
    Hochreiter and Schmidhuber, 1997. Long short-term memory.
    Gers and Schmidhuber, 2000. Recurrent nets that time and count (peepholes).
    Cho et al., 2014. Learning phrase representations. arXiv:1406.1078 (GRU).
    Ba, Kiros and Hinton, 2016. Layer normalization. arXiv:1607.06450 (eq. 20 to 22).
"""

from collections.abc import Callable
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxml.nn import check, initializers

__all__ = [
    "Cell",
    "GRUCell",
    "LSTMCell",
    "LayerNormLSTMCell",
    "LayerNormRNNCell",
    "PeepholeLSTMCell",
    "RNNCell",
]

Weights = dict[str, Array]


class Cell(nn.Module):
    """What the cells share: their fields, and their weights by name.

    Args:
        features: size of the hidden state, at least 1.
        use_bias: whether the products have biases.
        kernel_init: initialiser of the input's kernel, or its name.
        hidden_init: initialiser of the hidden state's kernel, or its name.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    features: int
    use_bias: bool = True
    kernel_init: str | Callable = "glorot_uniform"
    hidden_init: str | Callable = "orthogonal"
    dtype: Any = None
    param_dtype: Any = jnp.float32

    gates: ClassVar[int] = 1
    pair: ClassVar[bool] = False  # whether the carry is (hidden, memory)
    forget: ClassVar[slice | None] = None  # the gate whose bias starts at 1

    def __call__(
        self, carry: PyTree, x: Float[Array, "b d"]
    ) -> tuple[PyTree, Float[Array, "b h"]]:
        """One step: the next carry, and the output (the hidden state).

        Args:
            carry: as `start` makes it, or as the last step gave it.
            x: input of this step.

        Raises:
            ValueError: if the rank or dtype of `x` is off.
        """
        check.rows(x)
        return self.advance(self.weights(x.shape[-1], x.dtype), carry, x)

    @nn.nowrap
    def start(self, batch: int, dtype: Any = jnp.float32) -> PyTree:
        """The carry before the first step: zeros.

        Args:
            batch: number of rows.
            dtype: dtype of the carry where the cell has none of its own.
        """
        zeros = jnp.zeros((batch, self.features), self.dtype or dtype)
        return (zeros, zeros) if self.pair else zeros

    @nn.compact
    def weights(self, inputs: int, dtype: Any = jnp.float32) -> Weights:
        """The parameters, in the dtype of the computation.

        Args:
            inputs: size of an input, at least 1.
            dtype: dtype of the input.

        Raises:
            ValueError: if `features` is below 1.
        """
        if self.features < 1:
            raise ValueError(f"features must be at least 1; got {self.features}")
        wide = self.gates * self.features
        shapes: dict[str, tuple[Callable | str, tuple[int, ...]]] = {
            "input_kernel": (self.kernel_init, (inputs, wide)),
            "hidden_kernel": (self.hidden_init, (self.features, wide)),
        }
        if self.use_bias:
            shapes["input_bias"] = (self._first_bias, (wide,))
            shapes["hidden_bias"] = ("zeros", (wide,))
        made = {
            name: self.param(name, initializers.by_name(init), shape, self.param_dtype)
            for name, (init, shape) in (shapes | self.more()).items()
        }
        wanted = self.dtype or jnp.promote_types(dtype, self.param_dtype)
        return {name: jnp.asarray(value, wanted) for name, value in made.items()}

    @nn.nowrap
    def more(self) -> dict[str, tuple[Callable | str, tuple[int, ...]]]:
        """Further parameters: name to initialiser and shape."""
        return {}

    @nn.nowrap
    def advance(
        self,
        weights: Weights,
        carry: PyTree,
        x: Float[Array, "b d"],
        keep: Float[Array, "b h"] | None = None,
    ) -> tuple[PyTree, Float[Array, "b h"]]:
        """One step as a pure function of `weights`; differentiable, safe in a scan.

        Args:
            weights: of `Cell.weights`.
            carry: the state before.
            x: input of this step.
            keep: factor on the hidden state where a product takes it: the mask of a
                variational dropout, the same at each step.
        """
        raise NotImplementedError

    @nn.nowrap
    def _first_bias(self, key, shape, dtype=jnp.float32):
        # A forget gate that starts open lets gradients through from the first step.
        bias = jnp.zeros(shape, dtype)
        if self.forget is None:
            return bias
        return bias.reshape(self.gates, -1).at[self.forget].set(1).reshape(shape)


class RNNCell(Cell):
    """h' = activation(W x + U h + b).

    Args:
        activation: tanh, `jax.nn.relu`, or another function.
    """

    activation: Callable = jnp.tanh

    @nn.nowrap
    def advance(self, weights, carry, x, keep=None):
        """One step; see `Cell.advance`."""
        hidden = self.activation(_total(weights, x, _dropped(carry, keep)))
        return hidden, hidden


class LayerNormRNNCell(RNNCell):
    """A simple RNN whose sum of products is normalised before the activation."""

    @nn.nowrap
    def more(self):
        """Scale and bias of the norm."""
        return _norm_weights("norm", self.features)

    @nn.nowrap
    def advance(self, weights, carry, x, keep=None):
        """One step; see `Cell.advance`."""
        total = _total(weights, x, _dropped(carry, keep))
        hidden = self.activation(_norm(weights, "norm", total))
        return hidden, hidden


class LSTMCell(Cell):
    """Long short-term memory; gates i, f, g, o; carry (hidden, memory)."""

    gates: ClassVar[int] = 4
    pair: ClassVar[bool] = True
    forget: ClassVar[slice | None] = slice(1, 2)

    @nn.nowrap
    def advance(self, weights, carry, x, keep=None):
        """One step; see `Cell.advance`."""
        hidden, memory = carry
        total = _total(weights, x, _dropped(hidden, keep))
        i, f, g, o = jnp.split(total, 4, axis=-1)
        memory = jax.nn.sigmoid(f) * memory + jax.nn.sigmoid(i) * jnp.tanh(g)
        hidden = jax.nn.sigmoid(o) * jnp.tanh(memory)
        return (hidden, memory), hidden


class PeepholeLSTMCell(LSTMCell):
    """An LSTM whose gates see the memory: i and f the old one, o the new."""

    @nn.nowrap
    def more(self):
        """A factor for each gate and feature."""
        return {f"peephole_{gate}": ("zeros", (self.features,)) for gate in "ifo"}

    @nn.nowrap
    def advance(self, weights, carry, x, keep=None):
        """One step; see `Cell.advance`."""
        hidden, memory = carry
        total = _total(weights, x, _dropped(hidden, keep))
        i, f, g, o = jnp.split(total, 4, axis=-1)
        i = jax.nn.sigmoid(i + memory * weights["peephole_i"][None])
        f = jax.nn.sigmoid(f + memory * weights["peephole_f"][None])
        memory = f * memory + i * jnp.tanh(g)
        o = jax.nn.sigmoid(o + memory * weights["peephole_o"][None])
        hidden = o * jnp.tanh(memory)
        return (hidden, memory), hidden


class LayerNormLSTMCell(LSTMCell):
    """An LSTM with norms on both products and on the memory that goes out."""

    @nn.nowrap
    def more(self):
        """Scale and bias of the three norms."""
        wide = self.gates * self.features
        return {
            **_norm_weights("input_norm", wide),
            **_norm_weights("hidden_norm", wide),
            **_norm_weights("memory_norm", self.features),
        }

    @nn.nowrap
    def advance(self, weights, carry, x, keep=None):
        """One step; see `Cell.advance`."""
        hidden, memory = carry
        dropped = _dropped(hidden, keep)
        total = _norm(weights, "input_norm", x @ weights["input_kernel"])
        total += _norm(weights, "hidden_norm", dropped @ weights["hidden_kernel"])
        if self.use_bias:
            total += (weights["input_bias"] + weights["hidden_bias"])[None]
        i, f, g, o = jnp.split(total, 4, axis=-1)
        memory = jax.nn.sigmoid(f) * memory + jax.nn.sigmoid(i) * jnp.tanh(g)
        seen = _norm(weights, "memory_norm", memory)
        hidden = jax.nn.sigmoid(o) * jnp.tanh(seen)
        return (hidden, memory), hidden


class GRUCell(Cell):
    """Gated recurrent unit; gates r, z, n; the reset acts after the product.

    n = tanh(W x + b + r · (U h + c)): the bias c stands inside of the reset.
    """

    gates: ClassVar[int] = 3

    @nn.nowrap
    def advance(self, weights, carry, x, keep=None):
        """One step; see `Cell.advance`."""
        seen = x @ weights["input_kernel"]
        felt = _dropped(carry, keep) @ weights["hidden_kernel"]
        if self.use_bias:
            seen += weights["input_bias"][None]
            felt += weights["hidden_bias"][None]
        h = self.features
        gates = jax.nn.sigmoid(seen[:, : 2 * h] + felt[:, : 2 * h])
        r, z = jnp.split(gates, 2, axis=-1)
        n = jnp.tanh(seen[:, 2 * h :] + r * felt[:, 2 * h :])
        hidden = n + z * (carry - n)
        return hidden, hidden


def _total(weights, x, hidden):
    """Sum of both products and both biases [b, g]."""
    total = x @ weights["input_kernel"] + hidden @ weights["hidden_kernel"]
    if "input_bias" not in weights:
        return total
    return total + (weights["input_bias"] + weights["hidden_bias"])[None]


def _dropped(hidden, keep):
    return hidden if keep is None else hidden * keep


def _norm_weights(name, size):
    return {f"{name}_scale": ("ones", (size,)), f"{name}_bias": ("zeros", (size,))}


def _norm(weights, name, x):
    """Layer norm over the last axis, its statistics in float32 at least."""
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    apart = wide - wide.mean(-1, keepdims=True)
    spread = jax.lax.rsqrt(jnp.square(apart).mean(-1, keepdims=True) + 1e-5)
    y = (apart * spread).astype(x.dtype)
    return y * weights[f"{name}_scale"][None] + weights[f"{name}_bias"][None]
