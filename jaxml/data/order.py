"""The order of the rows of a data set: a function of (seed, epoch), on any machine."""

import numpy as np
from jaxtyping import Int64

__all__ = ["generator", "permutation"]


def permutation(rows: int, *, seed: int, epoch: int) -> Int64[np.ndarray, "rows"]:
    """The rows 0..rows-1 in the random order of one epoch.

    A run resumed next year, on another machine, must see the same order. NumPy keeps
    the raw bits of a bit generator for ever, but may change how its `Generator` turns
    bits into a permutation. So the order is the argsort of raw bits, one uint64 a row.
    The sort is stable: a tie must not be broken by how a processor sorts.

    Args:
        rows: how many.
        seed: from 0 to 2**64 - 1.
        epoch: from 0 to 2**64 - 1; each has its own order.

    References:
        Salmon et al., 2011. Parallel random numbers: as easy as 1, 2, 3. SC'11.

    >>> permutation(6, seed=0, epoch=0), permutation(6, seed=0, epoch=1)
    (array([0, 2, 1, 5, 4, 3]), array([5, 3, 2, 4, 1, 0]))
    """
    bits = np.random.Philox(key=_key(seed, epoch)).random_raw(rows)
    return np.argsort(bits, kind="stable").astype(np.int64, copy=False)


def generator(seed: int, epoch: int, index: int, start: int) -> np.random.Generator:
    """Random numbers of the batch `index` of an epoch, from its row `start` on.

    Philox is a cipher of a counter: batches take far distant parts of it, which can
    overlap neither each other nor the order of the rows (its first part).
    """
    counter = np.array([0, 0, index + 1, start], np.uint64)
    return np.random.Generator(np.random.Philox(key=_key(seed, epoch), counter=counter))


def _key(seed, epoch):
    return np.array([seed, epoch], np.uint64)
