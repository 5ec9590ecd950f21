"""Linear state-space layers: one recurrence, as a scan or as a convolution.

    layer = StateSpace(states=64)                     # each feature has its own system
    y = layer.apply(variables, x)                                  # [b, t, d]
    y_next, state = layer.apply(variables, x_next, state, method="step")

The system h' = A h + B x, y = C h + D x has a diagonal A in complex numbers, of which
half is kept, since the other half is its conjugate. With an input that is constant over
a step (zero-order hold) it is a recurrence, whose impulse response is a kernel as long
as the sequence: training convolves by FFT, generation steps. Letters: b batch, t steps,
d features, n states of a feature.

References:
    Gu, Dao, Ermon, Rudra and Ré, 2020. HiPPO. arXiv:2008.07669 (LegS: theorem 2).
    Gu, Goel and Ré, 2021. Efficiently modeling long sequences. arXiv:2111.00396.
    Gupta, Gu and Berant, 2022. Diagonal state spaces. arXiv:2203.14343.
    Gu, Gupta, Goel and Ré, 2022. S4D. arXiv:2206.11893 (eq. 2, 9; sec. 4.3).
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jaxml.nn import check
from jaxml.nn.sequence import check_sequence

__all__ = ["StateSpace", "convolve", "discretize", "hippo", "poles", "recur"]


def hippo(states: int) -> tuple[Float[np.ndarray, "n n"], Float[np.ndarray, " n"]]:
    """A and B whose state holds the Legendre coefficients of the whole past (LegS).

    Args:
        states: number of coefficients, at least 1.

    Returns:
        Both in float64; the system is h' = (A h + B x) / time, or without the division
        a memory that fades exponentially.

    >>> hippo(2)[0].round(3).tolist()
    [[-1.0, -0.0], [-1.732, -2.0]]
    """
    if states < 1:
        raise ValueError(f"states must be at least 1; got {states}")
    root = np.sqrt(2 * np.arange(states) + 1)
    a = -np.tril(np.outer(root, root), -1) - np.diag(np.arange(states) + 1.0)
    return a, root


def poles(states: int, kind: str = "legs") -> Complex[np.ndarray, " half"]:
    """The diagonal of A where a layer begins; one of each conjugate pair.

    Args:
        states: even; half as many poles come back.
        kind: "legs" (of HiPPO's matrix without its part of rank one), "lin" or "inv"
            (their simple forms).

    Raises:
        ValueError: if `states` is odd or below 2, or the kind is unknown.

    >>> poles(4, "lin").round(2).tolist()
    [(-0.5+0j), (-0.5+3.14j)]
    """
    check.one_of(kind, ("legs", "lin", "inv"), "kind of poles")
    if states < 2 or states % 2:
        raise ValueError(f"states must be even, at least 2; got {states}")
    half = states // 2
    if kind == "lin":
        return -0.5 + 1j * np.pi * np.arange(half)
    if kind == "inv":
        return -0.5 + 1j * states / np.pi * (states / (2 * np.arange(half) + 1) - 1)
    a, b = hippo(states)
    # A + b bᵀ / 2 is -1/2 plus a skew-symmetric matrix: all real parts are -1/2
    skew = a + np.outer(b, b) / 2 + np.eye(states) / 2
    frequency = np.sort(np.linalg.eigvalsh(-1j * skew))[half:]
    return -0.5 + 1j * frequency


def discretize(
    a: Complex[Array, "d n"], step: Float[Array, " d"]
) -> tuple[Complex[Array, "d n"], Complex[Array, "d n"]]:
    """The recurrence of a system whose input is held constant over a step.

    Args:
        a: poles, real parts below 0.
        step: length of a step of each feature.

    Returns:
        Factor on the state, and factor on B x.
    """
    wide = a * step[:, None]
    factor = jnp.exp(wide)
    # expm1(z) / z without the cancellation of exp(z) - 1 for small steps
    return factor, _expm1(wide) / a


def recur(
    factor: Complex[Array, "d n"],
    gain: Complex[Array, "d n"],
    x: Float[Array, "b t d"],
    state: Complex[Array, "b d n"] | None = None,
) -> tuple[Float[Array, "b t d"], Complex[Array, "b d n"]]:
    """The recurrence step by step: y = 2 Re Σ gain · h, h' = factor · h + x.

    Returns:
        Outputs, and the state after the last step.
    """
    if state is None:
        state = jnp.zeros((x.shape[0], *factor.shape), factor.dtype)

    def step(state, now):
        state = factor[None] * state + now[..., None]
        return state, 2 * (gain[None] * state).sum(-1).real

    last, y = jax.lax.scan(step, state, x.swapaxes(0, 1))
    return y.swapaxes(0, 1), last


def convolve(
    factor: Complex[Array, "d n"],
    gain: Complex[Array, "d n"],
    x: Float[Array, "b t d"],
) -> Float[Array, "b t d"]:
    """The same outputs as of `recur` from zeros, by FFT."""
    steps = x.shape[1]
    # powers by their logarithm: a product of t factors would pile up rounding
    power = jnp.exp(jnp.log(factor)[..., None] * jnp.arange(steps)[None, None])
    kernel = 2 * jnp.einsum("dn,dnt->td", gain, power).real
    size = 2 * steps  # room, so that the end does not wrap to the beginning
    product = jnp.fft.rfft(x, size, axis=1) * jnp.fft.rfft(kernel, size, axis=0)[None]
    return jnp.fft.irfft(product, size, axis=1)[:, :steps].astype(x.dtype)


class StateSpace(nn.Module):
    """A system of its own for each feature, with a diagonal A (S4D).

    Args:
        states: of each feature, even.
        kind: where the poles begin, as of `poles`.
        form: "convolution" or "scan"; the numbers are the same.
        shortest: shortest step that a feature begins with, in steps of the sequence.
        longest: longest.
        dtype: dtype of the output; that of the input if None. Inside it is float32.
        param_dtype: dtype the parameters are stored in.
    """

    states: int = 64
    kind: str = "legs"
    form: str = "convolution"
    shortest: float = 1e-3
    longest: float = 1e-1
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def __call__(self, x: Float[Array, "b t d"]) -> Float[Array, "b t d"]:
        """Run over sequences, from a state of zeros.

        Raises:
            ValueError: if the rank or dtype of `x` is off, or a choice is unknown.
        """
        check_sequence(x)
        check.one_of(self.form, ("convolution", "scan"), "form")
        factor, gain, skip = self.system(x.shape[-1])
        wide = x.astype(jnp.float32)
        if self.form == "scan":
            y, _ = recur(factor, gain, wide)
        else:
            y = convolve(factor, gain, wide)
        return (y + skip[None, None] * wide).astype(self.dtype or x.dtype)

    def step(
        self, x: Float[Array, "b d"], state: Complex[Array, "b d n"] | None = None
    ) -> tuple[Float[Array, "b d"], Complex[Array, "b d n"]]:
        """One step, for generation: output, and the state to go on from."""
        factor, gain, skip = self.system(x.shape[-1])
        wide = x.astype(jnp.float32)
        y, state = recur(factor, gain, wide[:, None], state)
        return (y[:, 0] + skip[None] * wide).astype(self.dtype or x.dtype), state

    @nn.compact
    def system(self, features: int):
        """Factor and gain of the recurrence, and the direct path."""
        half = self.states // 2
        start = poles(self.states, self.kind)
        low, high = np.log(self.shortest), np.log(self.longest)
        every = (features, half)
        kept = self.param_dtype

        def constant(value):
            return lambda key: jnp.broadcast_to(jnp.asarray(value, kept), every)

        decay = self.param("log_decay", constant(np.log(-start.real)))
        frequency = self.param("frequency", constant(start.imag))
        step = self.param(
            "log_step",
            lambda key: jax.random.uniform(key, (features,), kept, low, high),
        )
        normal = nn.initializers.normal(0.5**0.5)
        c = [self.param(name, normal, every, kept) for name in ("c_real", "c_imag")]
        skip = self.param("skip", nn.initializers.ones, (features,), kept)
        decay, frequency, step, skip, real, imaginary = (
            jnp.asarray(v, jnp.float32) for v in (decay, frequency, step, skip, *c)
        )
        a = jax.lax.complex(-jnp.exp(decay), frequency)
        factor, held = discretize(a, jnp.exp(step))
        return factor, held * jax.lax.complex(real, imaginary), skip


def _expm1(z):
    """exp(z) - 1 of a complex number, without cancellation near 0."""
    half = jnp.sin(z.imag / 2)
    real = jnp.expm1(z.real) * jnp.cos(z.imag) - 2 * half**2
    return jax.lax.complex(real, jnp.exp(z.real) * jnp.sin(z.imag))
