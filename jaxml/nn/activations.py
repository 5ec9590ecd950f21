"""Activations: plain functions, a table by name, and those that learn or draw.

    y = gelu(x)
    y = by_name("silu")(x)
    y = activate(x, "prelu", train=train, name="prelu")     # inside a module

Where a name means two things, it means what torch does: `gelu` is the exact one
(`gelu_tanh` the approximation), the slope of `leaky_relu` is 0.01, `hard_sigmoid`
is relu6(x + 3) / 6. `swiglu` and `maxout` make one unit of two neighbouring pieces
of the last axis: `pieces(name)` tells how much wider the layer before must be.

References:
    Clevert, Unterthiner and Hochreiter, 2015. ELU. arXiv:1511.07289.
    Klambauer, Unterthiner, Mayr and Hochreiter, 2017. SELU. arXiv:1706.02515.
    Hendrycks and Gimpel, 2016. GELU. arXiv:1606.08415.
    Ramachandran, Zoph and Le, 2017. Swish. arXiv:1710.05941.
    Misra, 2019. Mish. arXiv:1908.08681.
    Shazeer, 2020. SwiGLU (eq. 6). arXiv:2002.05202.
    So et al., 2021. Squared ReLU. arXiv:2109.08668.
    He, Zhang, Ren and Sun, 2015. PReLU. arXiv:1502.01852.
    Xu, Wang, Chen and Li, 2015. RReLU. arXiv:1505.00853.
    Goodfellow et al., 2013. Maxout. arXiv:1302.4389.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxml.nn import check

__all__ = [
    "NAMES",
    "PReLU",
    "RReLU",
    "activate",
    "by_name",
    "elu",
    "gelu",
    "gelu_tanh",
    "hard_sigmoid",
    "leaky_relu",
    "maxout",
    "mish",
    "pieces",
    "quick_gelu",
    "relu",
    "relu2",
    "rrelu",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "step",
    "swiglu",
    "swish",
    "tanh",
]

sigmoid = jax.nn.sigmoid
tanh = jnp.tanh
relu = jax.nn.relu
leaky_relu = jax.nn.leaky_relu
elu = jax.nn.elu
selu = jax.nn.selu
softplus = jax.nn.softplus
softmax = jax.nn.softmax
gelu = partial(jax.nn.gelu, approximate=False)
gelu_tanh = partial(jax.nn.gelu, approximate=True)
silu = swish = jax.nn.silu
mish = jax.nn.mish
hard_sigmoid = jax.nn.hard_sigmoid


def step(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """One from zero upwards, zero below; its gradient is zero everywhere."""
    return (x >= 0).astype(x.dtype)


def quick_gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """The GELU of OpenAI's CLIP, x · sigmoid(1.702 x)."""
    return x * sigmoid(1.702 * x)


def relu2(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """The square of ReLU."""
    return jnp.square(relu(x))


def swiglu(x: Float[Array, "... d"]) -> Float[Array, "... h"]:
    """The first half of the last axis, through SiLU, times the second half."""
    gate, value = _split(x, 2)
    return silu(gate) * value


def maxout(x: Float[Array, "... d"], *, parts: int = 2) -> Float[Array, "... h"]:
    """The largest of `parts` equal parts of the last axis, part by part."""
    return jnp.stack(_split(x, parts)).max(0)


def rrelu(
    x: Float[Array, "..."],
    *,
    key: Key[Array, ""] | None,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
) -> Float[Array, "..."]:
    """Leaky ReLU whose slope is drawn anew for every value.

    Args:
        x: values.
        key: randomness of the slopes; None takes their mean, as in inference.
        lower: smallest slope.
        upper: largest slope.
    """
    if key is None:
        return leaky_relu(x, (lower + upper) / 2)
    slope = jax.random.uniform(key, x.shape, x.dtype, lower, upper)
    return jnp.where(x >= 0, x, slope * x)


class PReLU(nn.Module):
    """Leaky ReLU with a learned slope, one for all values.

    Args:
        slope: where the slope starts.
        param_dtype: dtype the slope is stored in.
    """

    slope: float = 0.25
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        start = nn.initializers.constant(self.slope)
        slope = self.param("slope", start, (), self.param_dtype)
        return jnp.where(x >= 0, x, slope.astype(x.dtype) * x)


class RReLU(nn.Module):
    """`rrelu` that draws from the rng "dropout" in training.

    Args:
        lower: smallest slope.
        upper: largest slope.
    """

    lower: float = 1 / 8
    upper: float = 1 / 3

    @nn.compact
    def __call__(
        self, x: Float[Array, "..."], *, train: bool = False
    ) -> Float[Array, "..."]:
        key = self.make_rng("dropout") if train else None
        return rrelu(x, key=key, lower=self.lower, upper=self.upper)


_FUNCTIONS: dict[str, Callable] = {
    "linear": lambda x: x,
    "step": step,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "relu": relu,
    "leaky_relu": leaky_relu,
    "elu": elu,
    "selu": selu,
    "softplus": softplus,
    "softmax": softmax,
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "quick_gelu": quick_gelu,
    "silu": silu,
    "swish": swish,
    "mish": mish,
    "relu2": relu2,
    "hard_sigmoid": hard_sigmoid,
    "swiglu": swiglu,
    "maxout": maxout,
}
NAMES = (*_FUNCTIONS, "prelu", "rrelu")


def by_name(name: str) -> Callable:
    """The function of that name.

    Args:
        name: one of `NAMES`, but for "prelu" and "rrelu", which are the modules
            `PReLU` and `RReLU`.

    Raises:
        ValueError: if there is none; the message tells the nearest.

    >>> float(by_name("relu2")(jnp.array(3.0)))
    9.0
    """
    return _FUNCTIONS[check.one_of(name, _FUNCTIONS, "activation function")]


def pieces(activation: str | Callable) -> int:
    """How many inputs make one unit: 2 for `swiglu` and `maxout`, else 1."""
    return 2 if activation in ("swiglu", "maxout", swiglu, maxout) else 1


def activate(
    x: Float[Array, "..."],
    activation: str | Callable,
    *,
    train: bool = False,
    param_dtype: Any = jnp.float32,
    name: str | None = None,
) -> Float[Array, "..."]:
    """Apply any activation from inside a compact module.

    Args:
        x: values.
        activation: one of `NAMES`, or a function.
        train: whether "rrelu" draws its slopes (from the rng "dropout").
        param_dtype: dtype the slope of "prelu" is stored in.
        name: name of the submodule that "prelu" and "rrelu" become.

    Raises:
        ValueError: if there is no such name; the message tells the nearest.
    """
    if callable(activation):
        return activation(x)
    check.one_of(activation, NAMES, "activation")
    if activation == "prelu":
        return PReLU(param_dtype=param_dtype, name=name)(x)
    if activation == "rrelu":
        return RReLU(name=name)(x, train=train)
    return by_name(activation)(x)


def _split(x, parts):
    """Equal parts of the last axis."""
    if x.shape[-1] % parts:
        raise ValueError(
            f"the last axis must split into {parts} equal parts; got {x.shape[-1]}"
        )
    return jnp.split(x, parts, axis=-1)
