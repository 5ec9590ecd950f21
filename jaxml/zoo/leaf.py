"""Arrays that are not there yet: a leaf to be read, a tensor to be written.

    leaf = Leaf((view,))
    shard = leaf.read((slice(0, 4),), dtype=jnp.bfloat16)

Both stand for arrays that may be larger than what the memory has room for.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Leaf", "Pending", "flatten", "same_bytes", "unflatten"]

_BLOCK = 1 << 22  # elements compared at a time


class Leaf(NamedTuple):
    """A leaf of the variables: a view of a tensor, or many under leading axes."""

    parts: tuple[np.ndarray, ...]
    lead: tuple[int, ...] = ()  # sizes of the leading axes; () where there is one part

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.lead, *self.parts[0].shape)

    @property
    def dtype(self) -> np.dtype:
        return self.parts[0].dtype

    def read(self, index: Any = (), dtype: Any = None) -> np.ndarray:
        """Copy a piece of it into a new array.

        Args:
            index: slices of the leading dimensions, as `jax.make_array_from_callback`
                hands them out.
            dtype: to convert to.
        """
        index = index if isinstance(index, tuple) else (index,)
        if not self.lead:
            return np.array(self.parts[0][index], dtype, order="C")
        numbers = np.arange(len(self.parts)).reshape(self.lead)
        numbers, rest = numbers[index[: len(self.lead)]], index[len(self.lead) :]
        shape = self.parts[0][rest].shape
        out = np.empty((numbers.size, *shape), dtype or self.dtype)
        for place, number in enumerate(numbers.ravel()):
            out[place] = self.parts[number][rest]
        return out.reshape(*numbers.shape, *shape)

    def array(self) -> np.ndarray:
        """All of it: a view where it is one tensor, else a copy."""
        return self.read() if self.lead else self.parts[0]


class Pending(NamedTuple):
    """A tensor of a file that is to be written, made when it is read."""

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[], np.ndarray]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @classmethod
    def of(
        cls, save: Callable[..., Any], arrays: tuple[Any, ...], place: tuple[int, ...]
    ) -> "Pending":
        """`save` of the element `place` of each array, which may lie on devices."""
        # Zeros that take no memory tell the shape.
        ghosts = [
            np.broadcast_to(np.zeros((), np.dtype(a.dtype)), a.shape[len(place) :])
            for a in arrays
        ]
        ghost = save(*ghosts)
        read = lambda: save(*(np.asarray(a[place] if place else a) for a in arrays))
        return cls(ghost.shape, ghost.dtype, read)


def same_bytes(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays are equal bit by bit, compared in blocks."""
    if (a.shape, a.dtype) != (b.shape, b.dtype):
        return False
    if a.ndim == 0 or a.size == 0:
        return a.tobytes() == b.tobytes()
    step = max(1, _BLOCK * len(a) // a.size)
    return all(
        a[n : n + step].tobytes() == b[n : n + step].tobytes()
        for n in range(0, len(a), step)
    )


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The leaves of nested dicts by path.

    >>> flatten({"params": {"dense": {"bias": 0}}})
    {'params/dense/bias': 0}
    """
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}/")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Nested dicts from leaves by path: the inverse of `flatten`."""
    tree: dict[str, Any] = {}
    for path, value in flat.items():
        *parents, last = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    return tree
