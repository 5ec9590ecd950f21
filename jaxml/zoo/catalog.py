"""What the zoo has: names of networks, and what each costs before it is loaded.

    names()                       # ["timm/resnet/resnet50", ...]
    describe("resnet50").parameters

Nothing is loaded or computed: the networks are only shaped and lowered.
"""

import difflib
import math
from typing import Any, NamedTuple

import jax

from jaxml.zoo import families, loading
from jaxml.zoo.family import Family, Statistics
from jaxml.zoo.leaf import flatten

__all__ = ["Description", "describe", "names"]


class Description(NamedTuple):
    """A network that the zoo reads."""

    name: str
    family: str
    classes: tuple[str, ...]  # of the reference, that the family serves
    parameters: int
    bytes: int  # of all variables, as they are stored by default
    flops: float  # of one forward pass on `inputs`, as XLA counts them
    inputs: tuple[tuple[int, ...], ...]
    shapes: dict[str, tuple[int, ...]]  # by path
    statistics: Statistics | None  # of the images it takes
    licence: str
    source: str


def names() -> list[str]:
    """Every named network, "library/family/size"; the size may be a repository."""
    return list(_known())


def _known() -> dict[str, tuple[str, str]]:
    """Family and size of each name."""
    return {
        f"{family}/{size}": (family, size)
        for family in sorted(families.FAMILIES)
        for size in families.load(family).sizes
    }


def describe(name: str) -> Description:
    """Sizes and costs of a network; nothing is computed or loaded.

    Args:
        name: as in `names`, or only the size.

    Raises:
        KeyError: there is none of this name, or several; the nearest are named.
    """
    known = _known()
    ends = {
        full: {full, size, size.rpartition("/")[2]} for full, (_, size) in known.items()
    }
    found = [full for full in known if name in ends[full]]
    if len(found) > 1:
        raise KeyError(f"{name} is the name of {', '.join(found)}; give one in full")
    if not found:
        short = {end: full for full in known for end in ends[full]}
        close = difflib.get_close_matches(name, short, n=2)
        close = list(dict.fromkeys(short[each] for each in close))
        near = f"; near: {', '.join(close)}" if close else ""
        raise KeyError(f"the zoo has no network {name}{near}")
    family_name, size = known[found[0]]
    family = families.load(family_name)
    request = loading.request({"architecture": size}, family_name)
    model = family.build(request.config, request.name)
    shapes = loading.shapes_of(family, model)
    inputs = _inputs(family, model)
    leaves = flatten(shapes)
    count = lambda paths: sum(math.prod(leaves[path].shape) for path in paths)
    return Description(
        found[0],
        family_name,
        family.classes,
        count(path for path in leaves if path.startswith("params/")),
        sum(math.prod(x.shape) * x.dtype.itemsize for x in leaves.values()),
        _flops(model, shapes, inputs),
        tuple(tuple(x.shape) for x in inputs),
        {path: tuple(leaf.shape) for path, leaf in leaves.items()},
        family.statistics,
        family.licence,
        family.source,
    )


def _inputs(family: Family, model: Any) -> tuple[jax.ShapeDtypeStruct, ...]:
    """One image of the usual size, one token, or what else the network takes."""
    first, *rest = family.inputs(model)
    if family.statistics and len(first.shape) == 4:
        shape = (1, *family.statistics.size, first.shape[-1])
        first = jax.ShapeDtypeStruct(shape, first.dtype)
    return first, *rest


def _flops(model: Any, shapes: Any, inputs: Any) -> float:
    """Of the program before XLA optimises it: it is lowered, not compiled."""
    lowered = jax.jit(model.apply).lower(shapes, *inputs)
    costs: Any = lowered.cost_analysis() or {}
    return float(costs.get("flops", math.nan))
