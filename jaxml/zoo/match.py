"""Which leaves of a network a row of a table means, and which tensors of a file."""

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxml.zoo.rows import Line, Row

__all__ = ["Place", "pattern", "places"]


class Place(NamedTuple):
    """One use of a row."""

    row: Row
    ours: tuple[str, ...]
    theirs: tuple[str, ...]  # as many as the leading axes have places
    lead: tuple[int, ...]


def places(rows: Sequence[Line], leaves: Mapping[str, Any]) -> Iterator[Place]:
    """Each use of each row on the leaves of a network."""
    for row in rows:
        if not isinstance(row, Row):
            continue
        ours = (row.ours,) if isinstance(row.ours, str) else row.ours
        lost = set(_fields(ours[0])) - set(_fields(row.theirs))
        if lost:
            raise ValueError(f"{row.theirs} must have the placeholders {sorted(lost)}")
        expression = _our_pattern(ours[0])
        if "{" not in ours[0]:
            matches = [re.fullmatch(expression, ours[0])] if ours[0] in leaves else []
        else:
            matches = [re.fullmatch(expression, path) for path in leaves]
        for match in matches:
            if match is None:
                continue
            known = {k: v for k, v in match.groupdict().items() if v is not None}
            paths = tuple(_our_path(name, known) for name in ours)
            if not all(path in leaves for path in paths):
                continue
            free = [f for f in _fields(ours[0]) if f not in known]
            free += [f for f in _fields(row.theirs) if f not in (*known, *free)]
            lead = tuple(leaves[paths[0]].shape[: len(free)])
            if len(lead) < len(free) or 0 in lead:
                continue
            theirs = tuple(
                row.theirs.format(**known, **dict(zip(free, numbers, strict=True)))
                for numbers in np.ndindex(*lead)
            )
            yield Place(row, paths, theirs, lead)


def _fields(name: str) -> list[str]:
    """The placeholders of a name, in order."""
    return list(dict.fromkeys(re.findall(r"\{(\w+)\}", name)))


def _our_pattern(name: str) -> str:
    """A regular expression for leaves; a numbered part may be stacked, unnumbered."""
    parts = []
    for part in name.split("/"):
        stackable = re.fullmatch(r"([A-Za-z]\w*)_\{(\w+)\}", part)
        parts.append(
            rf"{stackable[1]}(?:_(?P<{stackable[2]}>\d+))?"
            if stackable
            else pattern(part)
        )
    return "/".join(parts)


@functools.cache
def pattern(name: str) -> str:
    """A regular expression for names of the file."""
    pieces = re.split(r"\{(\w+)\}", name)
    texts, fields = pieces[::2], pieces[1::2]
    out = re.escape(texts[0])
    for number, field in enumerate(fields):
        again = field in fields[:number]
        out += rf"(?P={field})" if again else rf"(?P<{field}>\d+)"
        out += re.escape(texts[number + 1])
    return out


def _our_path(name: str, known: Mapping[str, str]) -> str:
    """The path with its numbers, and without those that are stacked."""
    name = re.sub(r"_\{(\w+)\}(?=/|$)", lambda m: m[0] if m[1] in known else "", name)
    return name.format(**known)
