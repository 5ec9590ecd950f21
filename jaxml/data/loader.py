"""Batches whose order is a function of (seed, epoch, index).

    loader = Loader({"image": image, "label": label}, batch_size=128, seed=0)
    for batch in loader.stream():  # endless, on the device
        ...

A run that took `step` batches goes on with `loader.stream(loader.state_at(step))`, on
any number of hosts. Shapes never change: the last batch of an epoch is filled up with
rows of weight 0. Letters: b rows in a batch, n rows of data.
"""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Int64

from jaxml.data import order
from jaxml.data.rows import Arrays, Batch, Rows
from jaxml.data.stream import Stream

__all__ = ["Loader", "LoaderState"]

Transform = Callable[[Batch, np.random.Generator], Batch]


class LoaderState(NamedTuple):
    """Which batch comes next."""

    seed: int
    epoch: int
    index: int  # type: ignore[assignment] # of the batch in the epoch


class Loader:
    """The same batches in the same order, wherever a run starts or goes on.

    Every batch is a dict with the keys of the data and `weight`, float32: 0 for a row
    that fills up the last batch (it repeats a real one), else 1, times the `weight` of
    the data if they have one. Means weighted by it are exact.
    """

    def __init__(
        self,
        arrays: Mapping[str, Any] | Rows,
        batch_size: int,
        *,
        seed: int = 0,
        shuffle: bool = True,
        drop_last: bool = False,
        sharding: jax.sharding.Sharding | None = None,
        prefetch: int = 2,
        transform: Transform | None = None,
        process_index: int | None = None,
        process_count: int | None = None,
    ):
        """Look at the data; nothing is read or copied yet.

        Args:
            arrays: arrays of n rows by name, memory-mapped ones too; or `Rows`. On the
                device, 64-bit numbers become 32-bit ones unless jax_enable_x64 is set.
            batch_size: rows in a batch, over all hosts, from 1 to n.
            seed: of the order and of `transform`, from 0 to 2**64 - 1.
            shuffle: whether each epoch has its own random order; else that of the data.
            drop_last: whether to leave out the last n % batch_size rows of the order.
            sharding: how to lay a batch over devices. Default: the default device.
            prefetch: batches that a thread keeps ready on the device; 0 for no thread.
            transform: `transform(batch, rng) -> batch` on the host, in that thread.
                `rng` depends on (seed, epoch, index) and the host's part of the batch.
            process_index: which contiguous part of each batch this host makes. Default:
                what `sharding` puts on its devices, else JAX's own.
            process_count: number of such parts. Default: as `process_index`.

        Raises:
            ValueError: if there are no rows, the arrays differ in length or hold no
                numbers, or the batch does not fit the data, the hosts or the devices.

        >>> loader = Loader({"x": np.arange(5)}, 2, shuffle=False)
        >>> [(str(batch["x"]), str(batch["weight"])) for batch in loader.epoch()]
        [('[0 1]', '[1. 1.]'), ('[2 3]', '[1. 1.]'), ('[4 0]', '[1. 0.]')]
        """
        rows = Arrays(arrays) if isinstance(arrays, Mapping) else arrays
        if not isinstance(rows, Rows):
            raise ValueError(
                "arrays must be a dict of arrays, or have __len__ and take; "
                f"got {type(arrays).__name__}"
            )
        if not 1 <= batch_size <= len(rows):
            raise ValueError(
                f"batch_size must be from 1 to the number of rows {len(rows)}; "
                f"got {batch_size}"
            )
        if not 0 <= seed < 2**64:
            raise ValueError(f"seed must be from 0 to 2**64 - 1; got {seed}")
        if prefetch < 0:
            raise ValueError(f"prefetch must be at least 0; got {prefetch}")
        self.batch_size, self.seed = batch_size, seed
        self.steps_per_epoch = len(rows) // batch_size
        if not drop_last and len(rows) % batch_size:
            self.steps_per_epoch += 1
        self._rows, self._shuffle, self._prefetch = rows, shuffle, prefetch
        self._transform, self._sharding = transform, sharding
        self._part = _part(batch_size, sharding, process_index, process_count)
        self._order: tuple[int, Any] = (-1, None)  # of the epoch last asked for

    def indices(self, epoch: int, index: int) -> Int64[np.ndarray, "b"]:
        """The rows in the batch `index` of an epoch, over all hosts; -1 fills up."""
        if epoch < 0 or not 0 <= index < self.steps_per_epoch:
            raise ValueError(
                f"epoch must be at least 0 and index from 0 to "
                f"{self.steps_per_epoch - 1}; got {epoch} and {index}"
            )
        start, stop = index * self.batch_size, (index + 1) * self.batch_size
        if self._shuffle:
            rows = self._epoch_order(epoch)[start:stop].copy()
        else:
            rows = np.arange(start, min(stop, len(self._rows)))
        if missing := self.batch_size - len(rows):
            rows = np.pad(rows, (0, missing), constant_values=-1)
        return rows

    def batch(self, epoch: int, index: int) -> Batch:
        """This host's part of a batch, in fresh arrays on the host."""
        rows = self.indices(epoch, index)[self._part]
        batch = self._rows.take(np.maximum(rows, 0))  # row 0 fills up
        real = rows >= 0
        if "weight" in batch:  # where, since 0 * NaN is NaN
            real = np.where(real, batch["weight"], 0)
        batch["weight"] = real.astype(np.float32)
        if self._transform is not None:
            rng = order.generator(self.seed, epoch, index, self._part.start)
            batch = self._transform(batch, rng)
            if "weight" not in batch:
                raise ValueError(
                    f"transform must keep the key weight; it gave {sorted(batch)}"
                )
        return batch

    def state_at(self, step: int) -> LoaderState:
        """The state before batch number `step` of the stream, counted from 0."""
        return LoaderState(self.seed, *divmod(step, self.steps_per_epoch))

    def stream(self, state: tuple[int, int, int] | None = None) -> Stream[LoaderState]:
        """Endless batches on the device, from `state` on. Default: from the first.

        Raises:
            ValueError: if `state` is not of this loader: another seed, or an index that
                an epoch does not have.
        """
        seed, epoch, index = self.state_at(0) if state is None else map(int, state)
        if seed != self.seed or epoch < 0 or not 0 <= index < self.steps_per_epoch:
            raise ValueError(
                f"state must have the seed {self.seed} and an index from 0 to "
                f"{self.steps_per_epoch - 1}; got {LoaderState(seed, epoch, index)}: "
                "was it saved with another seed, batch_size or data?"
            )
        start = epoch * self.steps_per_epoch + index
        return Stream(self._load, self.state_at, start=start, prefetch=self._prefetch)

    def epoch(self, epoch: int = 0) -> Stream[LoaderState]:
        """One pass over the data, in batches on the device."""
        start = epoch * self.steps_per_epoch
        return Stream(
            self._load,
            self.state_at,
            start=start,
            stop=start + self.steps_per_epoch,
            prefetch=self._prefetch,
        )

    def _epoch_order(self, epoch):
        known, rows = self._order  # one read: a thread may ask for another epoch
        if known != epoch:
            rows = order.permutation(len(self._rows), seed=self.seed, epoch=epoch)
            self._order = (epoch, rows)
        return rows

    def _load(self, state):
        """A batch on the device. It shares no memory with arrays of the user."""
        batch, sharding = self.batch(state.epoch, state.index), self._sharding
        if sharding is None:
            return _copy(batch)
        if self._transform is not None:
            # Sharded arrays may lie on the host's buffers. Those that `take` gave are
            # new; a transform may use its own again.
            batch = {name: np.array(array) for name, array in batch.items()}
        if sharding.is_fully_addressable:
            return jax.device_put(batch, sharding)
        put = partial(jax.make_array_from_process_local_data, sharding)
        return {
            name: put(array, (self.batch_size, *array.shape[1:]))
            for name, array in batch.items()
        }


# A jitted call takes host arrays to the device in C++: 5 times as fast as `device_put`.
_copy = jax.jit(lambda batch: batch)


def _part(batch_size, sharding, index, count) -> slice:
    """The rows of each batch that this host makes."""
    spread = sharding is not None and not sharding.is_fully_addressable
    if spread and index is None and count is None:
        _check_cuts(batch_size, sharding, 1)
        return _addressable(batch_size, sharding)
    count = jax.process_count() if count is None else count
    index = jax.process_index() if index is None else index
    if not 0 <= index < count:
        raise ValueError(f"process_index must be from 0 to {count - 1}; got {index}")
    if batch_size % count:
        raise ValueError(
            f"batch_size must be a multiple of the {count} processes; got {batch_size}"
        )
    if sharding is not None:
        _check_cuts(batch_size, sharding, 1 if spread else count)
    rows = batch_size // count
    return slice(index * rows, (index + 1) * rows)


def _check_cuts(batch_size, sharding, count):
    """Each of `count` hosts cuts its part of a batch as `sharding` says."""
    devices = len(sharding.device_set)
    cuts = devices // sharding.shard_shape((devices,))[0] * count
    if batch_size % cuts:
        raise ValueError(
            f"batch_size must be a multiple of the {cuts} parts that the devices get; "
            f"got {batch_size}"
        )


def _addressable(batch_size, sharding) -> slice:
    """The rows that lie on this host's devices: all, if a model axis spans hosts."""
    places = sharding.addressable_devices_indices_map((batch_size,)).values()
    ranges = sorted({rows.indices(batch_size)[:2] for (rows,) in places})
    if any(start != stop for (_, stop), (start, _) in pairwise(ranges)):
        raise ValueError(
            "the devices of one process must hold adjoining rows of a batch; "
            f"the sharding gives it the rows {ranges}"
        )
    return slice(ranges[0][0], ranges[-1][1])
