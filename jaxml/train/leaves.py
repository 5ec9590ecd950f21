"""A tree of arrays as orbax stores it: small leaves in one array, large ones alone.

    leaves = snapshot(state)                 # copies: the state may be donated now
    entries, arrays = pack(leaves)           # what to write: an index and a flat dict
    state = unpack(entries, stored, template)

Orbax spends about a millisecond on an array whatever its size, and the arrays of a
small network are many; packed, they are one.
"""

from collections import defaultdict
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jaxtyping import PyTree

from jaxml import sharding

__all__ = ["Entry", "differences", "pack", "restore_args", "snapshot", "unpack"]

SMALL = 1 << 20  # bytes; from here on an array costs more than its entry
PACKED = "small"


class Entry(NamedTuple):
    """Where and how a leaf is stored; of JSON types."""

    path: str  # "params/Dense_0/kernel"
    shape: list[int]
    dtype: str  # "float32"; of random keys "key<fry>"
    impl: str | None  # of random keys: the generator, "threefry2x32"
    start: int | None  # its first byte in the packed array; None: an array of its own


class Leaves(NamedTuple):
    """A copy of a state that nothing can change any more."""

    treedef: Any
    specs: list[tuple[Any, Any, Any]]  # shape, dtype, generator of random keys
    arrays: list[Any]  # NumPy's or JAX's; of random keys, their data


@jax.jit
def _copy(arrays):
    return [jnp.copy(array) for array in arrays]


def snapshot(state: PyTree) -> Leaves:
    """Copy a state, so that the next step may overwrite it.

    The copy is only dispatched: it follows the step that makes the state, and a later
    donation waits for it. Of what every device holds alike, one copy is made.
    """
    leaves, treedef = jax.tree.flatten(state)
    arrays: list[Any] = [None] * len(leaves)
    groups = defaultdict(list)
    for number, leaf in enumerate(leaves):
        if not isinstance(leaf, jax.Array):
            arrays[number] = np.array(leaf)
            continue
        if _is_key(leaf):
            leaf = jax.random.key_data(leaf)
        if leaf.is_fully_replicated:
            leaf = leaf.addressable_data(0)
        arrays[number] = leaf
        groups[_devices(leaf.sharding)].append(number)
    for numbers in groups.values():
        for number, copy in zip(
            numbers, _away([arrays[n] for n in numbers]), strict=True
        ):
            arrays[number] = copy
    return Leaves(treedef, [_spec(leaf) for leaf in leaves], arrays)


def _away(arrays: list[jax.Array]) -> list[jax.Array]:
    """Copies on the host, which on a CPU is where the arrays are."""
    device: Any = next(iter(arrays[0].sharding.device_set))
    return _copy(arrays) if device.platform == "cpu" else _to_host(arrays)


def _to_host(arrays: list[jax.Array]) -> list[jax.Array]:
    """Copies that take no memory of the device, still sharded as the arrays are."""
    hosts = [array.sharding.with_memory_kind("pinned_host") for array in arrays]
    return jax.device_put(arrays, hosts)


def _devices(layout: jax.sharding.Sharding) -> Any:
    """Arrays that one program may copy have this in common."""
    if isinstance(layout, jax.sharding.NamedSharding):
        return tuple(layout.mesh.devices.flat)
    return frozenset(layout.device_set)


def pack(leaves: Leaves) -> tuple[list[Entry], dict[str, np.ndarray | jax.Array]]:
    """The entries in the order of the leaves, and the arrays to write by name."""
    paths = sharding.paths(jax.tree.unflatten(leaves.treedef, leaves.arrays))
    if len(set(paths)) < len(paths):
        raise ValueError(f"the paths of a state must differ; got {sorted(paths)}")
    entries: list[Entry] = []
    stored: dict[str, Any] = {}
    small, start = [], 0
    for number, (path, spec, array) in enumerate(
        zip(paths, leaves.specs, leaves.arrays, strict=True)
    ):
        on_host = isinstance(array, np.ndarray)
        if (on_host or array.is_fully_addressable) and array.nbytes < SMALL:
            data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            entries.append(Entry(path, *_shown(spec), start))
            small.append(data)
            start += data.size
        else:
            whole = on_host or array.is_fully_replicated
            entries.append(Entry(path, *_shown(spec), None))
            stored[_name(number)] = np.asarray(array) if whole else array
    if start:
        stored[PACKED] = np.concatenate(small)
    return entries, stored


def differences(entries: list[Entry], template: PyTree) -> list[str]:
    """What keeps a stored tree from being the template, a line for each leaf."""
    saved = {entry.path: (entry.shape, entry.dtype) for entry in entries}
    specs = [_shown(_spec(leaf))[:2] for leaf in jax.tree.leaves(template)]
    wanted = dict(zip(sharding.paths(template), specs, strict=True))
    lines = []
    for path in saved | wanted:
        if path not in wanted:
            lines.append(f"{path}: only in the checkpoint, {_show(saved[path])}")
        elif path not in saved:
            lines.append(f"{path}: not in the checkpoint, {_show(wanted[path])} wanted")
        elif saved[path] != wanted[path]:
            lines.append(
                f"{path}: {_show(saved[path])} saved, {_show(wanted[path])} wanted"
            )
    return lines


def restore_args(entries: list[Entry], template: PyTree) -> dict[str, ocp.RestoreArgs]:
    """How orbax reads each stored array: in pieces where the template is sharded."""
    args: dict[str, ocp.RestoreArgs] = {}
    for name, entry, leaf in _pairs(entries, template):
        layout = getattr(leaf, "sharding", None)
        if entry.start is not None:
            if _bytes(entry):
                args[PACKED] = ocp.RestoreArgs(restore_type=np.ndarray)
        elif entry.impl or layout is None or layout.is_fully_replicated:
            args[name] = ocp.RestoreArgs(restore_type=np.ndarray)
        else:
            args[name] = ocp.ArrayRestoreArgs(
                restore_type=jax.Array,
                sharding=layout,
                global_shape=tuple(entry.shape),
                dtype=leaf.dtype,
            )
    return args


def unpack(entries: list[Entry], stored: dict[str, Any], template: PyTree) -> PyTree:
    """The stored leaves as the template's: structure, types, devices."""
    packed = stored.get(PACKED, np.zeros(0, np.uint8))
    leaves = []
    for name, entry, leaf in _pairs(entries, template):
        if entry.start is None:
            value = stored[name]
        else:
            data = packed[entry.start : entry.start + _bytes(entry)]
            shape, dtype = _storage(entry)
            value = np.frombuffer(data.tobytes(), dtype).reshape(shape)
        leaves.append(_place(value, entry, leaf))
    return jax.tree.unflatten(jax.tree.structure(template), leaves)


def _place(value: Any, entry: Entry, leaf: Any) -> Any:
    """A restored value where and as the template's leaf is."""
    if isinstance(leaf, np.ndarray | np.generic):
        return np.array(value) if isinstance(leaf, np.ndarray) else value[()]
    if isinstance(leaf, bool | int | float | complex):
        return type(leaf)(value.item())
    if isinstance(value, jax.Array):
        return value
    layout = getattr(leaf, "sharding", None)
    if not getattr(leaf, "committed", True):
        layout = None  # free to follow the arrays it meets, as the template is
    if entry.impl:
        return _keys(value, entry.impl, layout)
    if layout is None:
        return _weak(value) if getattr(leaf, "weak_type", False) else jnp.asarray(value)
    return jax.make_array_from_callback(value.shape, layout, lambda at: value[at])


def _keys(data: Any, impl: str, layout: jax.sharding.Sharding | None) -> jax.Array:
    if layout is None:
        return jax.random.wrap_key_data(jnp.asarray(data), impl=impl)
    if isinstance(layout, jax.sharding.NamedSharding):
        whole = jax.NamedSharding(layout.mesh, jax.P())
        data = jax.make_array_from_callback(data.shape, whole, lambda at: data[at])
    wrap = jax.jit(
        lambda data: jax.random.wrap_key_data(data, impl=impl), out_shardings=layout
    )
    return wrap(data)


def _weak(value: np.ndarray) -> jax.Array:
    """An array of weak type, as `jnp.asarray(0)` is, for the step to compile once."""
    zeros = jnp.full(value.shape, value.dtype.type(0).item())
    return (
        zeros.at[...].set(value) if zeros.dtype == value.dtype else jnp.asarray(value)
    )


def _pairs(entries: list[Entry], template: PyTree) -> list[tuple[str, Entry, Any]]:
    """For each leaf of the template: the name of its array, its entry, itself."""
    numbers = {entry.path: number for number, entry in enumerate(entries)}
    leaves = zip(sharding.paths(template), jax.tree.leaves(template), strict=True)
    return [
        (_name(numbers[path]), entries[numbers[path]], leaf) for path, leaf in leaves
    ]


def _is_key(leaf: Any) -> bool:
    dtype = getattr(leaf, "dtype", None)
    return dtype is not None and jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key)


def _spec(leaf: Any) -> tuple[Any, Any, Any]:
    """Shape, dtype and, of random keys, the generator."""
    if not hasattr(leaf, "dtype"):
        leaf = np.asarray(leaf)
    known = isinstance(leaf, jax.Array) and _is_key(leaf)
    return leaf.shape, leaf.dtype, jax.random.key_impl(leaf) if known else None


def _shown(spec: tuple[Any, Any, Any]) -> tuple[list[int], str, str | None]:
    """A spec in JSON types: slower, so not before the state is copied."""
    shape, dtype, impl = spec
    return list(shape), str(dtype), None if impl is None else str(impl)


def _storage(entry: Entry) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and dtype of what is written: of random keys, their data."""
    if entry.impl is None:
        return tuple(entry.shape), jnp.dtype(entry.dtype)
    data = jax.eval_shape(
        lambda: jax.random.key_data(jax.random.key(0, impl=entry.impl))
    )
    return (*entry.shape, *data.shape), data.dtype


def _bytes(entry: Entry) -> int:
    shape, dtype = _storage(entry)
    return int(np.prod(shape, dtype=np.int64)) * dtype.itemsize


def _name(number: int) -> str:
    return f"leaf_{number}"


def _show(spec: tuple[list[int], str]) -> str:
    return f"{spec[1]}{spec[0]}"
