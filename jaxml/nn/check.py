"""What a network checks at its door, before anything is traced.

check.images(x)
check.rows(x)
name = check.one_of(name, ("batch", "layer"), "norm")
"""

import difflib
from collections.abc import Iterable

import jax.numpy as jnp
from jaxtyping import Array, Shaped

__all__ = ["images", "one_of", "rows"]


def images(x: Shaped[Array, "..."]) -> None:
    """Refuse all but a batch of floating-point images.

    Args:
        x: images [batch, height, width, channel], already scaled by the caller.

    Raises:
        ValueError: if the rank is not 4 or the dtype not floating.
    """
    if x.ndim != 4 or not jnp.issubdtype(x.dtype, jnp.floating):
        _refuse("images", "[batch, height, width, channel]", x)


def rows(x: Shaped[Array, "..."], what: str = "x") -> None:
    """Refuse all but a batch of floating-point rows (or of images to be flattened).

    Args:
        x: rows [batch, ...], already scaled by the caller.
        what: their name in the message.

    Raises:
        ValueError: if the rank is below 2 or the dtype not floating.
    """
    if x.ndim < 2 or not jnp.issubdtype(x.dtype, jnp.floating):
        _refuse(what, "[batch, features, ...]", x)


def one_of(name: str, choices: Iterable[str], what: str) -> str:
    """`name` itself, if it is one of the choices.

    Args:
        name: what the user wrote.
        choices: the names there are.
        what: what is named, for the message.

    Raises:
        ValueError: if it is none of them; the message tells the nearest.

    >>> one_of("gelo", ("relu", "gelu", "silu"), "activation")
    Traceback (most recent call last):
    ...
    ValueError: no activation 'gelo'; nearest: gelu, relu; all: relu, gelu, silu
    """
    choices = tuple(choices)
    if name in choices:
        return name
    near = difflib.get_close_matches(str(name), choices, n=2, cutoff=0.5)
    hint = f"; nearest: {', '.join(near)}" if near else ""
    raise ValueError(f"no {what} {name!r}{hint}; all: {', '.join(choices)}")


def _refuse(what, axes, x):
    raise ValueError(
        f"{what} must be floating-point {axes}; got {x.dtype} {list(x.shape)}"
        + (
            "; convert and scale them first, for example x.astype(float32) / 255"
            if jnp.issubdtype(x.dtype, jnp.integer)
            else ""
        )
    )
