"""Mamba: a recurrence whose step depends on its input, as an associative scan.

    block = MambaBlock(states=16)
    y = block.apply(variables, x)                                  # [b, t, d]

    y = selective_scan(x, step, a, b, c, skip)     # the recurrence alone

Letters: b batch, t steps, d features of the scan, n states of a feature.

References:
    Gu and Dao, 2023. Mamba. arXiv:2312.00752 (alg. 2, fig. 3).
    Blelloch, 1990. Prefix sums and their applications (sec. 1.4).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxml.nn.sequence import check_sequence

__all__ = ["MambaBlock", "selective_scan"]


def selective_scan(
    x: Float[Array, "b t d"],
    step: Float[Array, "b t d"],
    a: Float[Array, "d n"],
    b: Float[Array, "b t n"],
    c: Float[Array, "b t n"],
    skip: Float[Array, " d"],
    *,
    state: Float[Array, "b d n"] | None = None,
) -> tuple[Float[Array, "b t d"], Float[Array, "b d n"]]:
    """h_t = exp(step_t a) h_{t-1} + step_t b_t x_t; y_t = c_t h_t + skip x_t.

    All steps at once, in about log₂ t rounds; memory is that of all states.

    Args:
        x: inputs.
        step: lengths of the steps, above 0.
        a: poles, below 0.
        b: how an input enters the states.
        c: how the states leave.
        skip: factor of the direct path.
        state: before the first step; zeros if None.

    Returns:
        Outputs, and the state after the last step.
    """
    factor = jnp.exp(step[..., None] * a[None, None])
    push = (step * x)[..., None] * b[:, :, None]
    if state is not None:
        push = push.at[:, 0].add(factor[:, 0] * state)

    def compose(first, second):
        (f, p), (g, q) = first, second
        return f * g, g * p + q

    _, states = jax.lax.associative_scan(compose, (factor, push), axis=1)
    y = jnp.einsum("btdn,btn->btd", states, c) + skip[None, None] * x
    return y, states[:, -1]


class MambaBlock(nn.Module):
    """Linear map in, causal convolution, selective scan, gate, linear map out.

    Args:
        expand: features of the scan over those of the input.
        states: of each feature.
        kernel: taps of the convolution.
        rank: of the map to the steps; a sixteenth of the input's features if None.
        dtype: dtype of the products; that of input and parameters if None. The scan
            is float32.
        param_dtype: dtype the parameters are stored in.
    """

    expand: int = 2
    states: int = 16
    kernel: int = 4
    rank: int | None = None
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b t d"]) -> Float[Array, "b t d"]:
        """Run over sequences, from a state of zeros.

        Raises:
            ValueError: if the rank or dtype of `x` is off, or there is no step.
        """
        check_sequence(x)
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        dense: Callable = partial(nn.Dense, use_bias=False, **dtypes)
        features, inner = x.shape[-1], self.expand * x.shape[-1]
        rank = self.rank or -(-features // 16)
        both = dense(2 * inner, name="in_proj")(x)
        content, gate = jnp.split(both, 2, axis=-1)
        content = nn.Conv(
            inner,
            (self.kernel,),
            padding="CAUSAL",
            feature_group_count=inner,
            name="conv1d",
            **dtypes,
        )(content)
        content = nn.silu(content)
        seen = dense(rank + 2 * self.states, name="x_proj")(content)
        low, b, c = jnp.split(seen, [rank, rank + self.states], axis=-1)
        step = nn.Dense(
            inner,
            kernel_init=nn.initializers.uniform(2 * rank**-0.5),
            bias_init=_step_bias,
            name="dt_proj",
            **dtypes,
        )(low)
        log_a = self.param("A_log", _log_poles, (inner, self.states), self.param_dtype)
        skip = self.param("D", nn.initializers.ones, (inner,), self.param_dtype)
        wide = lambda v: jnp.asarray(v, jnp.float32)
        y, _ = selective_scan(
            wide(content),
            nn.softplus(wide(step)),
            -jnp.exp(wide(log_a)),
            wide(b),
            wide(c),
            wide(skip),
        )
        return dense(features, name="out_proj")(y.astype(gate.dtype) * nn.silu(gate))


def _step_bias(key, shape, dtype=jnp.float32):
    """Steps from 0.001 to 0.1, even in their logarithm, through the softplus."""
    step = jnp.exp(jax.random.uniform(key, shape, dtype, np.log(1e-3), np.log(1e-1)))
    return step + jnp.log(-jnp.expm1(-step))


def _log_poles(key, shape, dtype=jnp.float32):
    """Poles -1, -2, ..., -n of every feature (S4D-Real)."""
    return jnp.broadcast_to(jnp.log(jnp.arange(1, shape[1] + 1, dtype=dtype)), shape)
