"""Stacks of recurrent cells over time, in one direction or both.

    model = Recurrent(LSTMCell, features=128, layers=2, bidirectional=True)
    outputs, carry = model.apply(variables, x, lengths=lengths)      # x: [b, t, d]
    outputs, carry = model.apply(variables, x_next, carry)    # goes on from there

A padded batch gives exactly what each row gives alone: a masked step leaves the state
as it is and puts out zeros, so the backward direction starts at the last real step.
Such steps may stand anywhere. Letters: b batch, t steps, d inputs, h features.

The loop is one `lax.scan` with the products inside of it. On a CPU that is the fastest
form in XLA: products that are taken out of the loop come back as slices, which XLA
fuses into code that it does not vectorise. An `LSTMCell` over float32 without a mask
runs by the kernel of `jaxml.ops.lstm` there, twice as fast; it has derivatives in
reverse mode alone. Say `native=False` for `jax.jvp`, or where rows are on many devices.

References:
    Schuster and Paliwal, 1997. Bidirectional recurrent neural networks.
    Gal and Ghahramani, 2015. Dropout in recurrent neural networks. arXiv:1512.05287.
    Chen et al., 2016. Training deep nets with sublinear memory. arXiv:1604.06174.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from jaxml.nn import cells
from jaxml.nn.sequence import check_sequence, mask_of
from jaxml.ops import lstm

__all__ = ["Recurrent", "RecurrentOutput", "scan"]


class RecurrentOutput(NamedTuple):
    """What a stack gives."""

    outputs: Float[Array, "b t h"]  # of the last layer; both directions side by side
    carry: tuple  # of each layer after its last step; forward, backward by turns


class Recurrent(nn.Module):
    """Layers of one kind of cell, each over the outputs of the last.

    Args:
        cell: maker of a cell, such as `LSTMCell`, or a partial of one.
        features: hidden size of each direction.
        inputs: size of an input, where it is to be held to one; any if None.
        layers: number of layers, at least 1.
        bidirectional: whether each layer also runs from the end to the beginning.
        dropout: chance of a value between two layers to be dropped in training.
        input_dropout: the same for the input of each layer, one draw for all steps
            (variational).
        hidden_dropout: the same for the hidden state inside of the cell.
        time_major: whether time is the first axis, [t, b, d], of input, mask and
            outputs.
        remat: steps of a block that the backward pass computes again instead of
            keeping; about √t saves most. None keeps everything.
        unroll: steps of the loop that are written out after each other.
        native: whether a C++ kernel may stand for the loop on a CPU.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    cell: Callable[..., cells.Cell] = cells.LSTMCell
    features: int = 128
    inputs: int | None = None
    layers: int = 1
    bidirectional: bool = False
    dropout: float = 0.0
    input_dropout: float = 0.0
    hidden_dropout: float = 0.0
    time_major: bool = False
    remat: int | None = None
    unroll: int = 1
    native: bool = True
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b t d"],
        carry: tuple | None = None,
        *,
        mask: Bool[Array, "b t"] | None = None,
        lengths: Int[Array, " n"] | None = None,
        train: bool = False,
    ) -> RecurrentOutput:
        """Run over time.

        Args:
            x: inputs.
            carry: of a call before, to go on from; zeros if None.
            mask: False for steps of padding, axes as in `x`.
            lengths: real steps of each row, instead of a mask; 0 leaves the carry.
            train: whether dropout is on; asks for the rng "dropout".

        Raises:
            ValueError: if a shape, dtype or setting is off, or there is no step.
        """
        self._check(x, carry, mask, lengths)
        steps_axis = 0 if self.time_major else 1
        if lengths is not None:
            mask = mask_of(lengths, x.shape[steps_axis])
            mask = mask.T if self.time_major else mask
        if not self.time_major:
            x, mask = x.swapaxes(0, 1), None if mask is None else mask.T
        directions = ("forward", "backward") if self.bidirectional else ("forward",)
        given = carry or (None,) * (self.layers * len(directions))
        starts, ended = iter(given), []
        for layer in range(self.layers):
            if layer:
                x = nn.Dropout(self.dropout)(x, deterministic=not train)
            x = self._mask(self.input_dropout, x.shape, train, x)
            outputs = []
            for direction in directions:
                name = f"{direction}_{layer}"
                end, y = self._run(name, x, next(starts), mask, train)
                ended.append(end)
                outputs.append(y)
            x = jnp.concatenate(outputs, axis=-1) if len(outputs) > 1 else outputs[0]
        return RecurrentOutput(x if self.time_major else x.swapaxes(0, 1), tuple(ended))

    def _run(self, name, x, start, mask, train):
        """One layer in one direction, over [t, b, d]."""
        cell = self.cell(
            features=self.features,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            name=name,
        )
        weights = cell.weights(x.shape[-1], x.dtype)
        kind = weights["hidden_kernel"].dtype
        start = cell.start(x.shape[1], kind) if start is None else start
        keep = self._mask(self.hidden_dropout, (1, x.shape[1], self.features), train)
        return scan(
            cell,
            weights,
            jax.tree.map(lambda leaf: leaf.astype(kind), start),
            x.astype(kind),
            mask=mask,
            keep=None if keep is None else keep[0].astype(kind),
            reverse=name.startswith("backward"),
            remat=self.remat,
            unroll=self.unroll,
            native=self.native,
        )

    def _mask(self, rate, shape, train, x=None):
        """Factors for all steps at once, or `x` times them; nothing if not needed."""
        if not train or rate == 0 or self.is_initializing():
            return x
        kept = jax.random.bernoulli(self.make_rng("dropout"), 1 - rate, (1, *shape[1:]))
        factor = kept / jnp.float32(1 - rate)
        return factor if x is None else x * factor.astype(x.dtype)

    def _check(self, x, carry, mask, lengths):
        axes = "[time, batch, features]" if self.time_major else None
        check_sequence(x, axes)
        if self.inputs is not None and x.shape[-1] != self.inputs:
            raise ValueError(f"x must have {self.inputs} features; got {x.shape[-1]}")
        if self.layers < 1:
            raise ValueError(f"layers must be at least 1; got {self.layers}")
        for name in ("dropout", "input_dropout", "hidden_dropout"):
            rate = getattr(self, name)
            if not 0 <= rate < 1:
                raise ValueError(f"{name} must be from 0 to below 1; got {rate}")
        if self.remat is not None and self.remat < 1:
            raise ValueError(f"remat must be at least 1 step or None; got {self.remat}")
        if mask is not None and lengths is not None:
            raise ValueError("give mask or lengths, not both")
        if mask is not None and mask.shape != x.shape[:2]:
            raise ValueError(
                f"mask must have the first axes of x {list(x.shape[:2])}; got "
                f"{list(mask.shape)}"
            )
        batch = x.shape[1 if self.time_major else 0]
        if lengths is not None and lengths.shape != (batch,):
            raise ValueError(
                f"lengths must be one number for each of the {batch} rows; got "
                f"{list(lengths.shape)}"
            )
        number = self.layers * (2 if self.bidirectional else 1)
        if carry is not None and len(carry) != number:
            raise ValueError(
                f"carry must be that of {number} runs (layers times directions); got "
                f"{len(carry)}"
            )


def scan(
    cell: cells.Cell,
    weights: dict[str, Array],
    carry: PyTree,
    x: Float[Array, "t b d"],
    *,
    mask: Bool[Array, "t b"] | None = None,
    keep: Float[Array, "b h"] | None = None,
    reverse: bool = False,
    remat: int | None = None,
    unroll: int = 1,
    native: bool = False,
) -> tuple[PyTree, Float[Array, "t b h"]]:
    """Run one cell over time, the first axis.

    Args:
        cell: whose `advance` is taken.
        weights: its weights.
        carry: state before the first step.
        x: inputs.
        mask: False where a step is not there.
        keep: factor on the hidden state, of a variational dropout.
        reverse: whether to run from the last step to the first.
        remat: steps of a block whose inside is computed again in the backward pass.
        unroll: steps written out after each other.
        native: whether a C++ kernel may stand for the loop on a CPU.

    Returns:
        State after the last step, and the outputs, zero where masked.
    """

    plain = mask is None and keep is None and remat is None and unroll == 1
    if native and plain and _has_kernel(cell, x):
        zeros = jnp.zeros(weights["input_kernel"].shape[1:], x.dtype)
        bias = weights.get("input_bias", zeros) + weights.get("hidden_bias", zeros)
        kernels = weights["input_kernel"], weights["hidden_kernel"]
        y, carry = lstm.run(x, carry, *kernels, bias, reverse=reverse)
        return carry, y

    def step(carry, now):
        x, real = now
        after, y = cell.advance(weights, carry, x, keep)
        if real is None:
            return after, y
        real = real[:, None]
        after = jax.tree.map(lambda new, old: jnp.where(real, new, old), after, carry)
        return after, jnp.where(real, y, 0)

    def run(carry, part):
        return jax.lax.scan(step, carry, part, reverse=reverse, unroll=unroll)

    whole = (x, mask)
    steps = len(x)
    if remat is None or remat >= steps:
        return run(carry, whole)
    # Blocks of equal length; what is left over runs at the end of the direction.
    left = steps % remat
    cut = left if reverse else steps - left
    first, last = _parts(whole, cut)
    blocks, rest = (last, first) if reverse else (first, last)
    blocks = jax.tree.map(lambda a: a.reshape(-1, remat, *a.shape[1:]), blocks)
    carry, y = jax.lax.scan(jax.checkpoint(run), carry, blocks, reverse=reverse)
    y = y.reshape(-1, *y.shape[2:])
    if not left:
        return carry, y
    carry, more = jax.checkpoint(run)(carry, rest)
    return carry, jnp.concatenate([more, y] if reverse else [y, more])


def _has_kernel(cell, x):
    """Whether there is one for this cell; a few steps would not pay for packing."""
    fits = type(cell) is cells.LSTMCell and x.dtype == jnp.float32 and len(x) >= 4
    return fits and lstm.enabled()


def _parts(tree, cut):
    return (
        jax.tree.map(lambda a: a[:cut], tree),
        jax.tree.map(lambda a: a[cut:], tree),
    )
