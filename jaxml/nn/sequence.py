"""What networks over sequences check at their door, and masks of lengths.

check_sequence(x)                                            # [batch, time, features]
mask = mask_of(lengths, steps=x.shape[1])
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

__all__ = ["check_sequence", "mask_of"]


def mask_of(lengths: Int[Array, " b"], steps: int) -> Bool[Array, "b t"]:
    """True for the first `lengths` steps of each row.

    >>> mask_of(jnp.array([1, 3]), 3).astype(int)
    Array([[1, 0, 0],
           [1, 1, 1]], dtype=int32)
    """
    return jnp.arange(steps)[None] < lengths[:, None]


def check_sequence(x: Array, axes: str | None = None) -> None:
    """Refuse all but a batch of floating-point sequences with at least one step.

    Args:
        x: sequences.
        axes: their axes for the message; "[batch, time, features]" if None.

    Raises:
        ValueError: if the rank is not 3, the dtype not floating, or an axis empty.
    """
    axes = axes or "[batch, time, features]"
    if x.ndim != 3 or not jnp.issubdtype(x.dtype, jnp.floating):
        hint = ""
        if jnp.issubdtype(x.dtype, jnp.integer):
            hint = "; embed tokens, or scale numbers, for example x / 255"
        raise ValueError(
            f"x must be floating-point {axes}; got {x.dtype} {list(x.shape)}{hint}"
        )
    if 0 in x.shape[:2]:
        raise ValueError(
            f"x must have at least one row and one step {axes}; got {list(x.shape)}"
        )
