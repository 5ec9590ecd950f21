"""One table of names per family of networks, read in both directions.

    rows = [Row("params/dense_{i}/kernel", "layers.{i}.weight", linear)]
    variables, extras, problems = convert(rows, tensors, shapes)
    tensors = revert(rows, variables, extras)

`resolve` and `pending` do the same for tensors that are yet to be read: with them a
file larger than the memory of the host is loaded and saved tensor by tensor.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from jaxml.zoo import ties
from jaxml.zoo.leaf import Leaf, Pending, flatten, unflatten
from jaxml.zoo.match import Place, places
from jaxml.zoo.problem import Problem, nearest, report
from jaxml.zoo.rows import (
    Alias,
    Change,
    Ignored,
    Line,
    Row,
    Tied,
    conv,
    conv_transpose,
    linear,
    linear_split,
    same,
    split,
)

__all__ = [
    "Alias",
    "Change",
    "Converted",
    "Extras",
    "Ignored",
    "Line",
    "Resolved",
    "Row",
    "Tied",
    "conv",
    "conv_transpose",
    "convert",
    "flatten",
    "linear",
    "linear_split",
    "pending",
    "report",
    "resolve",
    "revert",
    "same",
    "split",
    "unflatten",
]


class Extras(NamedTuple):
    """What a file held beside the variables, so that it can be written back."""

    names: Mapping[str, str] = MappingProxyType(
        {}
    )  # name in the table -> name that was read
    # ignored tensors, by the name that was read
    kept: Mapping[str, np.ndarray] = MappingProxyType({})
    metadata: Mapping[str, str] = MappingProxyType({})


class Resolved(NamedTuple):
    """Where each leaf is to be read from; nothing is read yet."""

    leaves: dict[str, Leaf]
    extras: Extras
    problems: list[Problem]


class Converted(NamedTuple):
    """Variables of a network, and what did not fit."""

    variables: dict[str, Any]
    extras: Extras
    problems: list[Problem]


def convert(
    rows: Sequence[Line],
    tensors: Mapping[str, np.ndarray],
    shapes: Mapping[str, Any],
) -> Converted:
    """Fill the variables of a network with the tensors of a file.

    Args:
        rows: the table of the family.
        tensors: arrays by the names of the file; views of a memory map stay views.
        shapes: what `jax.eval_shape` makes of `model.init`, or any such tree.

    Returns:
        Nested dicts of arrays, without the leaves that a problem concerns and those
        of optional rows that the file lacks.

    Raises:
        ValueError: two rows of the table fill the same leaf.

    >>> rows = [Row("params/kernel", "weight", linear)]
    >>> weight = np.zeros((3, 2), np.float32)
    >>> done = convert(rows, {"weight": weight}, {"params": {"kernel": weight.T}})
    >>> done.variables["params"]["kernel"].shape, done.problems
    ((2, 3), [])
    """
    leaves, extras, problems = resolve(rows, tensors, shapes)
    flat = {path: leaf.array() for path, leaf in leaves.items()}
    return Converted(unflatten(flat), extras, problems)


def revert(
    rows: Sequence[Line], variables: Mapping[str, Any], extras: Extras | None = None
) -> dict[str, np.ndarray]:
    """Name and lay out the variables as the file has them.

    Args:
        rows: the table of the family.
        variables: of the network.
        extras: what `convert` returned: the names as they were read, and the buffers.
            Without it the names are those of the table. A tensor that was not read is
            written unless it is tied to an equal one or optional.

    Raises:
        KeyError: no row names a leaf.
    """
    return {name: p.read() for name, p in pending(rows, variables, extras).items()}


def resolve(
    rows: Sequence[Line],
    tensors: Mapping[str, np.ndarray],
    shapes: Mapping[str, Any],
) -> Resolved:
    """Say where each leaf is to be read from; arguments are those of `convert`."""
    problems: list[Problem] = []
    names = ties.canonical(rows, tensors, problems)
    wanted = flatten(shapes)
    leaves: dict[str, Leaf] = {}
    filled: set[str] = set()
    used: set[str] = set()
    absent: set[str] = set()
    for place in places(rows, wanted):
        if filled & set(place.ours):
            raise ValueError(f"two rows of the table fill one of {place.ours}")
        filled |= set(place.ours)
        found = {name: ties.held(name, names, rows) for name in place.theirs}
        used |= {name for name in found.values() if name}
        if None in found.values():
            lost = {name for name, held in found.items() if held is None}
            absent |= set() if place.row.optional else lost
            continue
        arrays = [tensors[names[held]] for held in found.values() if held]
        leaves |= _views(place, arrays, wanted, problems)
    for path in sorted(set(wanted) - filled):
        near = nearest(path, filled - set(leaves))
        problems.append(Problem("unfilled", path, near.removeprefix("; ")))
    spare = {name for name in names if name not in used}
    kept = {names[n]: tensors[names[n]] for n in sorted(spare) if ties.is_kept(n, rows)}
    spare -= {name for name in spare if names[name] in kept}
    spare -= ties.untied(rows, names, spare, tensors, problems)
    for name in sorted(absent):
        near = nearest(name, spare)
        problems.append(Problem("missing", name, near.removeprefix("; ")))
    for name in sorted(spare):
        near = nearest(name, absent)
        problems.append(Problem("extra", names[name], near.removeprefix("; ")))
    metadata = getattr(tensors, "metadata", None) or {}
    return Resolved(leaves, Extras(names, kept, dict(metadata)), problems)


def pending(
    rows: Sequence[Line], variables: Mapping[str, Any], extras: Extras | None = None
) -> dict[str, Pending]:
    """What `revert` returns, each tensor made only when it is read."""
    leaves = flatten(variables)
    made: dict[str, Pending] = {}
    optional, named = set(), set()
    for row, ours, theirs, lead in places(rows, leaves):
        named |= set(ours)
        arrays = tuple(leaves[path] for path in ours)
        for place, name in zip(np.ndindex(*lead), theirs, strict=True):
            made[name] = Pending.of(row.change.save, arrays, place)
        optional |= set(theirs) if row.optional else set()
    for path in leaves:
        if path not in named:
            near = nearest(path, named)
            raise KeyError(f"no row of the table names the leaf {path}{near}")
    read = extras.names if extras else {}
    kept = extras.kept if extras else {}
    out = {}
    for name, tensor in made.items():
        if name not in read:
            if ties.is_copy(name, made, read, rows) or (extras and name in optional):
                continue
        out[read.get(name, name)] = tensor
    for name, was in read.items():
        if was in kept:
            out[was] = Pending.of(same.save, (kept[was],), ())
        elif name not in made:
            partners = [p for p in ties.partners(name, rows, made) if p in made]
            if partners:
                out[was] = made[partners[0]]
    return out


def _views(
    place: Place,
    arrays: Sequence[np.ndarray],
    wanted: Mapping[str, Any],
    problems: list[Problem],
) -> list[tuple[str, Leaf]]:
    """The leaves that the tensors of a row make; none if one does not fit."""
    parts: list[list[np.ndarray]] = [[] for _ in place.ours]
    before = len(problems)
    for name, array in zip(place.theirs, arrays, strict=True):
        came = f"{list(array.shape)} in the file"
        try:
            made = place.row.change.load(array)
        except (ValueError, IndexError) as error:
            problems.append(Problem("shape", name, f"{came} does not fit: {error}"))
            continue
        made = made if len(place.ours) > 1 else (made,)
        for path, views, view in zip(place.ours, parts, made, strict=True):
            right = list(wanted[path].shape[len(place.lead) :])
            if list(view.shape) != right:
                makes = f", which makes {list(view.shape)}"
                text = came + ("" if view.shape == array.shape else makes)
                text += f"; {path} must be {right}"
                text += " at each place" if place.lead else ""
                problems.append(Problem("shape", name, text))
                break
            if views and views[0].dtype != view.dtype:
                text = f"{array.dtype} in the file, but {place.theirs[0]} is another"
                problems.append(Problem("shape", name, text))
                break
            views.append(view)
    if len(problems) > before:
        return []
    leaves = [Leaf(tuple(views), place.lead) for views in parts]
    return list(zip(place.ours, leaves, strict=True))
