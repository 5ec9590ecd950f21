"""Lines of a table of names, and the changes of layout between its two sides.

    [Row("params/dense_{i}/kernel", "layers.{i}.weight", linear),
     Ignored("layers.{i}.num_batches_tracked")]

"Theirs" is a tensor in a file of weights, "ours" a leaf of the variables of a network.
A change works on NumPy views, so that nothing is read before it is asked for.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

__all__ = [
    "Alias",
    "Change",
    "Ignored",
    "Line",
    "Row",
    "Tied",
    "conv",
    "conv_transpose",
    "linear",
    "linear_split",
    "same",
    "split",
]


class Change(NamedTuple):
    """How an array of theirs becomes ours, and back."""

    load: Callable[[Any], Any]  # theirs -> ours, or a tuple where ours are several
    save: Callable[..., Any]  # ours, each an argument -> theirs


def _swap(x: np.ndarray) -> np.ndarray:
    if x.ndim != 2:
        raise ValueError("the kernel of a dense layer has 2 dimensions")
    return x.T


def _spatial_first(x: np.ndarray) -> np.ndarray:
    return x.transpose(*range(2, x.ndim), 1, 0)


def _spatial_last(x: np.ndarray) -> np.ndarray:
    return x.transpose(x.ndim - 1, x.ndim - 2, *range(x.ndim - 2))


def _turned_first(x: np.ndarray) -> np.ndarray:
    return np.flip(x, tuple(range(2, x.ndim))).transpose(*range(2, x.ndim), 0, 1)


def _turned_last(x: np.ndarray) -> np.ndarray:
    n = x.ndim
    return np.flip(x.transpose(n - 2, n - 1, *range(n - 2)), tuple(range(2, n)))


same = Change(lambda x: x, lambda x: x)
linear = Change(_swap, _swap)  # [out, in] -> [in, out]
conv = Change(_spatial_first, _spatial_last)  # [out, in, h, w] -> [h, w, in, out]
# [in, out, h, w] -> [h, w, in, out], turned round: torch's transposed convolution is
# the gradient of a convolution, that of `nn.ConvTranspose` the convolution of a spread
# input. (With `transpose_kernel=True`, which wants [h, w, out, in], `conv` is right.)
conv_transpose = Change(_turned_first, _turned_last)


def split(parts: int | Sequence[int], axis: int = 0) -> Change:
    """One tensor of theirs is several leaves of ours, one after another.

    Args:
        parts: how many equal ones, or the size of each.
        axis: of the tensor in the file.

    >>> [x.tolist() for x in split(2).load(np.arange(4))]
    [[0, 1], [2, 3]]
    """

    def load(x: np.ndarray) -> tuple[np.ndarray, ...]:
        if isinstance(parts, int):
            return tuple(np.split(x, parts, axis))
        if sum(parts) != x.shape[axis]:
            raise ValueError(f"axis {axis} must be {sum(parts)} long to be split")
        return tuple(np.split(x, np.cumsum(parts)[:-1], axis))

    return Change(load, lambda *ours: np.concatenate(ours, axis))


def linear_split(parts: int | Sequence[int]) -> Change:
    """Several dense kernels that the file joins along their outputs: [sum(out), in].

    Args:
        parts: how many equal ones, or the outputs of each.
    """
    rows = split(parts)
    return Change(
        lambda x: tuple(_swap(part) for part in rows.load(x)),
        lambda *ours: rows.save(*(_swap(part) for part in ours)),
    )


class Row(NamedTuple):
    """A tensor of the file and the leaf, or leaves, it fills.

    `{i}` stands for a number. One that only `theirs` has counts along a leading axis of
    ours: expert e is `leaf[e]`. A network that keeps its depth stacked has "layers"
    where the row says "layers_{i}": {i} then counts along a leading axis too.
    """

    ours: str | tuple[str, ...]  # "params/layers_{i}/attention/query/kernel"
    theirs: str  # "encoder.layer.{i}.attention.self.query.weight"
    change: Change = same
    optional: bool = False  # may be absent from the file: the network computes it


class Ignored(NamedTuple):
    """A buffer of the file that no network needs; it is written back as it was."""

    theirs: str


class Tied(NamedTuple):
    """A tensor that equals another; a file holds both, or one of them."""

    theirs: str
    to: str


class Alias(NamedTuple):
    """An old name, as a regular expression, and what replaces its first match."""

    old: str
    new: str


Line = Row | Ignored | Tied | Alias
