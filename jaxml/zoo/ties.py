"""Which tensor of a file a name means: old names, tied tensors, buffers to ignore."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from jaxml.zoo.leaf import Pending, same_bytes
from jaxml.zoo.match import pattern
from jaxml.zoo.problem import Problem
from jaxml.zoo.rows import Alias, Ignored, Line, Tied

__all__ = ["canonical", "held", "is_copy", "is_kept", "partners", "untied"]


def canonical(
    rows: Sequence[Line], tensors: Mapping[str, np.ndarray], problems: list[Problem]
) -> dict[str, str]:
    """Name in the table -> name in the file."""
    aliases = [row for row in rows if isinstance(row, Alias)]
    names: dict[str, str] = {}
    for name in tensors:
        known = name
        for alias in aliases:
            known = re.sub(alias.old, alias.new, known, count=1)
        if known in names:
            problems.append(Problem("double", name, f"{names[known]} is the other"))
        else:
            names[known] = name
    return names


def targets(name: str, rows: Sequence[Line]) -> Iterator[str]:
    """The tensors that the table says `name` is tied to."""
    for row in rows:
        if isinstance(row, Tied) and (match := re.fullmatch(pattern(row.theirs), name)):
            yield row.to.format(**match.groupdict())


def partners(name: str, rows: Sequence[Line], names: Iterable[str]) -> list[str]:
    """The tensors that equal `name`: those it is tied to, and those tied to it."""
    back = [other for other in names if name in targets(other, rows)]
    return [*targets(name, rows), *back]


def held(name: str, names: Mapping[str, str], rows: Sequence[Line]) -> str | None:
    """The tensor of the file that holds `name`: itself, or one it is tied to."""
    if name in names:
        return name
    return next(
        (other for other in partners(name, rows, names) if other in names), None
    )


def is_kept(name: str, rows: Sequence[Line]) -> bool:
    """Whether it is a buffer that the table ignores."""
    return any(
        isinstance(row, Ignored) and re.fullmatch(pattern(row.theirs), name)
        for row in rows
    )


def untied(
    rows: Sequence[Line],
    names: Mapping[str, str],
    spare: set[str],
    tensors: Mapping[str, np.ndarray],
    problems: list[Problem],
) -> set[str]:
    """The spare tensors that are tied to one that is used."""
    found = set()
    for name in sorted(spare):
        for target in targets(name, rows):
            holder = held(target, names, rows)
            if holder and holder not in spare:
                found.add(name)
                if not same_bytes(tensors[names[name]], tensors[names[holder]]):
                    text = f"it must equal {names[holder]}"
                    problems.append(Problem("tied", names[name], text))
    return found


def is_copy(
    name: str,
    made: Mapping[str, Pending],
    read: Mapping[str, str],
    rows: Sequence[Line],
) -> bool:
    """Whether a tensor that was not read is held by one that is written."""
    for partner in partners(name, rows, read):
        written = partner in read or (not read and partner in made)
        if partner not in made:
            if written:
                return True
        elif written or partner in targets(name, rows):
            if same_bytes(made[name].read(), made[partner].read()):
                return True
    return False
