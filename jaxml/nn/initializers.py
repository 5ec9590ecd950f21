"""Initialisers of parameters by name, on `jax.nn.initializers`.

    nn.Dense(100, kernel_init=by_name("he_normal"))
    nn.Dense(100, kernel_init=variance_scaling(2.0, "fan_avg", "uniform"))

"glorot", "he" and "lecun" scale by the mean of fan-in and fan-out, by twice the
inverse of fan-in and by the inverse of fan-in. The normal ones are truncated at two
standard deviations and rescaled, as in Keras; torch does not truncate. "torch" is
what torch gives to the kernel of a linear layer or convolution.

References:
    Glorot and Bengio, 2010. Understanding the difficulty of training deep networks.
    He, Zhang, Ren and Sun, 2015. Delving deep into rectifiers. arXiv:1502.01852.
    LeCun, Bottou, Orr and Müller, 1998. Efficient BackProp.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jax.nn.initializers import (
    constant,
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    lecun_normal,
    lecun_uniform,
    normal,
    ones,
    orthogonal,
    truncated_normal,
    uniform,
    variance_scaling,
    zeros,
)

from jaxml.nn import check

__all__ = ["NAMES", "by_name", "constant", "torch_bias", "variance_scaling"]


def _orthogonal(key, shape, dtype=float):
    # The QR decomposition has no half precision.
    wide = jnp.promote_types(dtype, jnp.float32)
    return orthogonal()(key, shape, wide).astype(dtype)


_TABLE: dict[str, Callable] = {
    "glorot_normal": glorot_normal(),
    "glorot_uniform": glorot_uniform(),
    "he_normal": he_normal(),
    "he_uniform": he_uniform(),
    "he_normal_fan_out": variance_scaling(2.0, "fan_out", "normal"),
    "lecun_normal": lecun_normal(),
    "lecun_uniform": lecun_uniform(),
    "orthogonal": _orthogonal,
    "normal": normal(0.05),
    "truncated_normal": truncated_normal(0.05),
    "uniform": uniform(0.05),
    "zeros": zeros,
    "ones": ones,
    # Kaiming's uniform with a = √5, whatever its name: within ±1/√fan_in.
    "torch": variance_scaling(1 / 3, "fan_in", "uniform"),
}
NAMES = tuple(_TABLE)


def by_name(name: str | Callable) -> Callable:
    """The initialiser of that name; an initialiser is given back as it is.

    Args:
        name: one of `NAMES`, or an initialiser.

    Returns:
        A function of (key, shape, dtype), as Flax and JAX take it.

    Raises:
        ValueError: if there is none; the message tells the nearest.
    """
    if callable(name):
        return name
    return _TABLE[check.one_of(name, _TABLE, "initialiser")]


def torch_bias(fan_in: int) -> Callable:
    """What torch gives to the bias of a linear layer or convolution: ±1/√fan_in.

    Args:
        fan_in: inputs of the layer (times the area of the kernel), at least 1.
    """
    bound = fan_in**-0.5

    def init(key, shape, dtype=float):
        return uniform(2 * bound)(key, shape, dtype) - bound

    return init
