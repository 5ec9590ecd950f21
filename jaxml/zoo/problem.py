"""What does not fit between a file of weights and a network, told all at once.

    raise ValueError(report(problems))

A user who loads the wrong file sees every name that is off, and the nearest to each.
"""

import difflib
import heapq
from collections.abc import Iterable, Sequence
from typing import NamedTuple

__all__ = ["Problem", "nearest", "report"]

_MANY = 16


class Problem(NamedTuple):
    """One tensor or leaf that does not fit."""

    kind: str  # "missing", "extra", "shape", "tied", "double" or "unfilled"
    name: str  # of the tensor; of the leaf where no tensor is meant for it
    text: str  # what is right, what came, which names are near


def nearest(name: str, names: Iterable[str]) -> str:
    """The end of a sentence: the names nearest to `name`, if any are near.

    >>> nearest("1.wieght", ["1.weight", "2.bias"])
    '; near: 1.weight'
    """
    names = list(names)
    if len(names) > _MANY:  # to compare all is slow; the right one ends or begins alike
        alike = lambda other: _alike(name, other) + _alike(name[::-1], other[::-1])
        names = heapq.nlargest(_MANY, names, alike)
    close = difflib.get_close_matches(name, names, n=2, cutoff=0.6)
    return f"; near: {', '.join(close)}" if close else ""


def _alike(a: str, b: str) -> int:
    """How many characters both begin with."""
    pairs = zip(a, b, strict=False)
    shortest = min(len(a), len(b))
    return next((n for n, (x, y) in enumerate(pairs) if x != y), shortest)


def report(problems: Sequence[Problem], where: str = "the weights") -> str:
    """One text that lists all problems, kind by kind."""
    heads = {
        "missing": "missing from the file",
        "extra": "in the file, but not of this network",
        "shape": "of a wrong shape",
        "tied": "not equal to the tensor they are tied to",
        "double": "twice in the file under two names",
        "unfilled": "in the network, but in no row of the table",
    }
    lines = [f"{where} must hold just the tensors of the network; {len(problems)} "
             f"do not fit"]  # fmt: skip
    for kind, head in heads.items():
        found = [p for p in problems if p.kind == kind]
        lines += [f"{head} ({len(found)}):"] if found else []
        lines += [f"  {p.name}: {p.text}" if p.text else f"  {p.name}" for p in found]
    return "\n".join(lines)
