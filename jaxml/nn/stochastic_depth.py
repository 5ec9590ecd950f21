"""Stochastic depth: a residual branch left out for some rows of the batch.

x = x + DropPath(0.1, name="drop_path")(branch(x), deterministic=not train)

References:
    Huang et al., 2016. Deep networks with stochastic depth. arXiv:1603.09382 (the
    kept rows are scaled up in training, as torchvision and timm do, instead of all
    rows down in inference).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

__all__ = ["DropPath", "rates"]


class DropPath(nn.Module):
    """Zero a whole row with a given chance, drawing from the rng "dropout".

    Args:
        rate: chance of a row to be dropped, from 0 to below 1.
    """

    rate: float

    @nn.compact
    def __call__(
        self, x: Float[Array, "b ..."], *, deterministic: bool = True
    ) -> Float[Array, "b ..."]:
        """Drop rows and scale the others up, or give `x` back if told.

        Raises:
            ValueError: if the rate is out of its range.
        """
        if not 0 <= self.rate < 1:
            raise ValueError(f"rate must be from 0 to below 1; got {self.rate}")
        if deterministic or self.rate == 0:
            return x
        kept = 1 - self.rate
        shape = (x.shape[0],) + (1,) * (x.ndim - 1)
        keep = jax.random.bernoulli(self.make_rng("dropout"), kept, shape)
        return jnp.where(keep, x / jnp.asarray(kept, x.dtype), 0)


def rates(largest: float, depth: int) -> list[float]:
    """The rate of each block, growing evenly from 0 to the largest.

    Args:
        largest: rate of the last block.
        depth: number of blocks.

    >>> rates(0.2, 3)
    [0.0, 0.1, 0.2]
    """
    return [float(rate) for rate in np.linspace(0, largest, depth)]
