"""Vector quantisation: the nearest of a table of codes, learned by moving averages.

    book = codebook.init(key, codes=512, features=64)
    found = codebook.nearest(book.codes, latents)
    latents = found.codes                      # gradient passes straight through
    loss = reconstruction_error + 0.25 * found.commitment.mean()
    book = codebook.update(book, latents, found.indices)
    book = codebook.restart(book, latents, key=key, least=1.0)

All are pure functions; the table is state that the training step carries along.

References:
    van den Oord, Vinyals and Kavukcuoglu, 2017. Neural discrete representation
    learning. arXiv:1711.00937 (eq. 2, 3; appendix A.1: moving averages, eq. 6-8).
    Dhariwal et al., 2020. Jukebox. arXiv:2005.00341 (section 3.1: restarts).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

__all__ = [
    "Codebook",
    "Found",
    "init",
    "nearest",
    "perplexity",
    "restart",
    "update",
]


class Codebook(NamedTuple):
    """The table, and the moving averages that it follows."""

    codes: Float[Array, "n d"]
    uses: Float[Array, " n"]  # how many latents took each code
    total: Float[Array, "n d"]  # their sum


class Found(NamedTuple):
    """What the table says of a batch of latents."""

    codes: Float[Array, "*batch d"]  # of the nearest; its gradient is that of latents
    indices: Int[Array, "*batch"]
    commitment: Float[Array, "*batch"]  # mean square from latent to (fixed) code
    movement: Float[Array, "*batch"]  # the same from code to (fixed) latent


def init(key: Key[Array, ""], *, codes: int, features: int) -> Codebook:
    """A table of small uniform numbers, within ±1 / codes.

    Raises:
        ValueError: if there would be no code or no feature.
    """
    if codes < 1 or features < 1:
        raise ValueError(
            f"codes and features must be at least 1; got {codes} and {features}"
        )
    table = jax.random.uniform(
        key, (codes, features), minval=-1 / codes, maxval=1 / codes
    )
    return Codebook(table, jnp.ones(codes, table.dtype), table)


def nearest(codes: Float[Array, "n d"], latents: Float[Array, "*batch d"]) -> Found:
    """The nearest code of every latent (eq. 1 and 2).

    Without moving averages, add `movement` to the loss: it pulls the codes (eq. 3).

    Args:
        codes: the table.
        latents: what the encoder answers.

    Raises:
        ValueError: if the last axes differ.
    """
    if latents.shape[-1] != codes.shape[-1]:
        raise ValueError(
            f"latents must have the codes' {codes.shape[-1]} features; "
            f"got {list(latents.shape)}"
        )
    flat = latents.reshape(-1, latents.shape[-1])
    # |x|² is the same for all codes. "highest": TPUs would round the product.
    product = jnp.matmul(flat, codes.T, precision="highest")
    index = (jnp.square(codes).sum(-1)[None] - 2 * product).argmin(-1)
    index = index.astype(jnp.int32).reshape(latents.shape[:-1])
    chosen = codes[index]
    fixed = jax.lax.stop_gradient
    return Found(
        latents + fixed(chosen - latents),
        index,
        jnp.square(latents - fixed(chosen)).mean(-1),
        jnp.square(fixed(latents) - chosen).mean(-1),
    )


def update(
    book: Codebook,
    latents: Float[Array, "*batch d"],
    index: Int[Array, "*batch"],
    *,
    decay: float | Float[Array, ""] = 0.99,
    epsilon: float = 1e-5,
) -> Codebook:
    """The table moved towards the latents that took its codes (eq. 6-8).

    With the batch split over devices under jit, the sums are those of the whole batch.

    Args:
        book: the table so far.
        latents: a batch of them.
        index: the code that each took.
        decay: weight of the old averages, 0 to 1.
        epsilon: smooths counts, so that an unused code is not divided by 0.
    """
    flat = jax.lax.stop_gradient(latents).reshape(-1, latents.shape[-1])
    taken = index.ravel()
    size = book.codes.shape[0]
    count = jax.ops.segment_sum(jnp.ones_like(flat[:, 0]), taken, size)
    total = jax.ops.segment_sum(flat, taken, size)
    count = decay * book.uses + (1 - decay) * count
    total = decay * book.total + (1 - decay) * total
    every = count.sum()
    smooth = (count + epsilon) / (every + size * epsilon) * every
    return Codebook(total / smooth[:, None], count, total)


def restart(
    book: Codebook,
    latents: Float[Array, "*batch d"],
    *,
    key: Key[Array, ""],
    least: float | Float[Array, ""] = 1.0,
) -> Codebook:
    """Codes that hardly anything takes begin anew at latents of this batch.

    Args:
        book: the table so far.
        latents: a batch of them.
        key: which latents.
        least: count below which a code is given up.
    """
    flat = jax.lax.stop_gradient(latents).reshape(-1, latents.shape[-1])
    rows = jax.random.randint(key, book.uses.shape, 0, flat.shape[0])
    dead = book.uses < least
    fresh = flat[rows].astype(book.codes.dtype)
    pick = lambda new, old: jnp.where(dead[:, None], new, old)
    return Codebook(
        pick(fresh, book.codes),
        jnp.where(dead, 1, book.uses),
        pick(fresh, book.total),
    )


def perplexity(index: Int[Array, "*batch"], codes: int) -> Float[Array, ""]:
    """How many codes are in use: e to the entropy of their shares, 1 to `codes`.

    >>> float(perplexity(jnp.array([0, 0, 3, 3]), 8)).__round__(4)
    2.0
    """
    share = jnp.bincount(index.ravel(), length=codes) / index.size
    return jnp.exp(-jax.scipy.special.xlogy(share, share).sum())
