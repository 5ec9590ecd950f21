"""An LSTM over time as one operation, with a C++ kernel on a CPU.

    if lstm.enabled():
        y, state = lstm.run(x, state, input_kernel, hidden_kernel, bias)

XLA runs the loop at about half the speed of the products in it: it packs the weights
again at each step, splits each small product over the threads, and does not vectorise
gates that it reads from a slice. The kernel lets each thread take its rows through all
steps. Derivatives are those of reverse mode; the weights' come from one product over
all steps. Gates stand as i, f, g, o. Letters: t steps, b batch, d inputs, h features.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxml.ops import native

__all__ = ["enabled", "run"]

State = tuple[Float[Array, "b h"], Float[Array, "b h"]]


def enabled() -> bool:
    """Whether the kernel is built, wanted and loaded."""
    return native.enabled("lstm")


def run(
    x: Float[Array, "t b d"],
    state: State,
    input_kernel: Float[Array, "d g"],
    hidden_kernel: Float[Array, "h g"],
    bias: Float[Array, " g"],
    *,
    reverse: bool = False,
) -> tuple[Float[Array, "t b h"], State]:
    """All steps; float32, and `enabled()` must be true.

    Args:
        x: inputs.
        state: hidden state and memory before the first step.
        input_kernel: weights of the inputs.
        hidden_kernel: weights of the hidden state.
        bias: of the sums.
        reverse: whether to run from the last step to the first.

    Returns:
        The hidden state at every step, and both states after the last.

    Raises:
        ValueError: if there is no step, or the weights are not those of four gates.
    """
    (t, _, d), h = x.shape, state[0].shape[1]
    if t < 1:
        raise ValueError("x must have at least one step; got none")
    for name, weights, rows in (
        ("input_kernel", input_kernel, (d,)),
        ("hidden_kernel", hidden_kernel, (h,)),
        ("bias", bias, ()),
    ):
        if weights.shape != (*rows, 4 * h):
            raise ValueError(
                f"{name} must be {[*rows, 4 * h]}: four gates of {h} features; "
                f"got {list(weights.shape)}"
            )
    y, memory = _run(x, *state, input_kernel, hidden_kernel, bias, reverse)
    return y, (y[0 if reverse else -1], memory)


@partial(jax.custom_vjp, nondiff_argnums=(6,))
def _run(x, hidden, memory, input_kernel, hidden_kernel, bias, reverse):
    arrays = (x, hidden, memory, input_kernel, hidden_kernel, bias)
    return _forward(arrays, reverse, keep=False)[:2]


def _remember(x, hidden, memory, input_kernel, hidden_kernel, bias, reverse):
    arrays = (x, hidden, memory, input_kernel, hidden_kernel, bias)
    y, last, memories, gates = _forward(arrays, reverse, keep=True)
    return (y, last), (*arrays, y, memories, gates)


def _slopes(reverse, kept, slopes):
    x, hidden, memory, input_kernel, hidden_kernel, _, y, memories, gates = kept
    t, b, h = y.shape
    dy, dlast = slopes
    dz, dhidden, dmemory = native.call(
        "lstm",
        "lstm_backward",
        partial(_backward, reverse=reverse),
        [
            jax.ShapeDtypeStruct(gates.shape, y.dtype),
            *[jax.ShapeDtypeStruct((b, h), y.dtype)] * 2,
        ],
        gates,
        memories,
        memory,
        hidden_kernel,
        dy,
        jnp.zeros_like(dlast),
        dlast,
        reverse=reverse,
    )
    before = jnp.concatenate(
        [y[1:], hidden[None]] if reverse else [hidden[None], y[:-1]]
    )
    flat = dz.reshape(t * b, 4 * h)
    return (
        (flat @ input_kernel.T).reshape(x.shape),
        dhidden,
        dmemory,
        x.reshape(t * b, -1).T @ flat,
        before.reshape(t * b, h).T @ flat,
        flat.sum(0),
    )


_run.defvjp(_remember, _slopes)


def _forward(arrays, reverse, *, keep):
    """Hidden states, last memory, and with `keep` all memories and gates."""
    x, hidden = arrays[:2]
    (t, b, _), h = x.shape, hidden.shape[1]
    shape = lambda *sizes: jax.ShapeDtypeStruct(sizes if keep else (0,), x.dtype)
    return native.call(
        "lstm",
        "lstm_forward",
        partial(_scan, reverse=reverse, keep=keep),
        [
            jax.ShapeDtypeStruct((t, b, h), x.dtype),
            jax.ShapeDtypeStruct((b, h), x.dtype),
            shape(t, b, h),
            shape(t, b, 4, h),
        ],
        *arrays,
        keep=keep,
        reverse=reverse,
    )


def _scan(x, hidden, memory, input_kernel, hidden_kernel, bias, *, reverse, keep):
    """What the kernel `lstm_forward` does."""

    def step(state, now):
        hidden, memory = state
        total = now @ input_kernel + hidden @ hidden_kernel + bias[None]
        i, f, g, o = jnp.split(total, 4, axis=-1)
        i, f, o = jax.nn.sigmoid(i), jax.nn.sigmoid(f), jax.nn.sigmoid(o)
        g = jnp.tanh(g)
        memory = f * memory + i * g
        hidden = o * jnp.tanh(memory)
        kept = (memory, jnp.stack([i, f, g, o], axis=1)) if keep else ()
        return (hidden, memory), (hidden, kept)

    (_, last), (y, kept) = jax.lax.scan(step, (hidden, memory), x, reverse=reverse)
    nothing = jnp.zeros(0, x.dtype)
    return y, last, *(kept or (nothing, nothing))


def _backward(gates, memories, memory, hidden_kernel, dy, dhidden, dmemory, *, reverse):
    """What the kernel `lstm_backward` does."""
    ends = [memories[1:], memory[None]] if reverse else [memory[None], memories[:-1]]
    before = jnp.concatenate(ends)

    def step(slopes, now):
        dhidden, dmemory = slopes
        gate, memory, old, dy = now
        i, f, g, o = (gate[:, n] for n in range(4))
        tanh = jnp.tanh(memory)
        dhidden = dhidden + dy
        dmemory = dmemory + dhidden * o * (1 - tanh**2)
        dz = (
            dmemory * g * i * (1 - i),
            dmemory * old * f * (1 - f),
            dmemory * i * (1 - g**2),
            dhidden * tanh * o * (1 - o),
        )
        flat = jnp.concatenate(dz, axis=-1)
        return (flat @ hidden_kernel.T, dmemory * f), jnp.stack(dz, axis=1)

    slopes, dz = jax.lax.scan(
        step, (dhidden, dmemory), (gates, memories, before, dy), reverse=not reverse
    )
    return dz, *slopes
