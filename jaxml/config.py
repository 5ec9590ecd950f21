"""Override a frozen dataclass by text: the command line of every run.

    config = override(Config(), ["epochs=3", "optimizer.rate=3e-4"])
    saved = json.dumps(to_dict(config))
    config = from_dict(Config, json.loads(saved))

Keys are the names of the fields, those of a nested dataclass after a dot. Types are
int, float, bool, str, Path, Enum, Literal, tuple, a union of these (None included) and
a nested dataclass.
"""

import dataclasses
import difflib
import math
import typing
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from enum import Enum
from pathlib import Path
from types import NoneType
from typing import Any, Literal, NamedTuple, TypeVar, get_args, get_origin

from jaxml import spelling

__all__ = [
    "Key",
    "describe",
    "difference",
    "flatten",
    "from_dict",
    "nearest",
    "override",
    "to_dict",
]

Config = TypeVar("Config")

NONE = ("none", "null")
SHORT = 12  # so many names are listed in full in an error


class Key(NamedTuple):
    """One key that `override` takes."""

    name: str  # dotted
    type: str  # as one would write it
    default: str  # as one would type it; "required" where there is none


def override(config: Config | type[Config], assignments: Sequence[str]) -> Config:
    """Copy `config` with some of its fields set from text.

    Args:
        config: an instance of a frozen dataclass; or the class, whose fields without
            a default must then be among the assignments.
        assignments: each "key=value". A tuple is "1,2,3", None is "none", an Enum goes
            by its name.

    Returns:
        A new instance; nested dataclasses are built once, from all their keys, so that
        their own checks see the values together.

        >>> @dataclasses.dataclass(frozen=True)
        ... class Config:
        ...     epochs: int = 10
        ...     sizes: tuple[int, ...] = (300, 100)
        >>> override(Config(), ["epochs=3", "sizes=64,"])
        Config(epochs=3, sizes=(64,))

    Raises:
        ValueError: on a key that is unknown (it names the nearest), given twice, or a
            value of the wrong type, or one that the dataclass itself refuses.
    """
    texts: dict[str, str] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise ValueError(f'write key=value; got "{assignment}" without "="')
        if name in texts:
            raise ValueError(f'{name} is given twice: "{texts[name]}" and "{text}"')
        texts[name] = spelling.Text(text)
    tree: dict[str, Any] = {}
    for name, text in texts.items():
        for other in texts:
            if other.startswith(f"{name}."):
                raise ValueError(f"{name} and {other} are both given: leave one out")
        *heads, last = name.split(".")
        branch = tree
        for head in heads:
            branch = branch.setdefault(head, {})
        branch[last] = text
    return _build(config, tree, "", [key.name for key in describe(config)])


def to_dict(config: Any) -> dict[str, Any]:
    """`config` as what JSON can hold: tuples are lists, paths and enums their text."""
    return {name: _encode(value, name) for name, value in _values(config).items()}


def from_dict(cls: type[Config], values: Mapping[str, Any]) -> Config:
    """Build `cls` from what `to_dict` gave.

    A missing key takes its default, so that a class may gain fields.

    Raises:
        ValueError: on an unknown key, a value of the wrong type, or a field without
            value and default.
    """
    return _build(cls, values, "", [key.name for key in describe(cls)])


def flatten(config: Any) -> dict[str, Any]:
    """All values of `config` by dotted key, in the order of the fields."""
    flat: dict[str, Any] = {}
    for name, value in _values(config).items():
        if dataclasses.is_dataclass(value):
            flat |= {f"{name}.{inner}": leaf for inner, leaf in flatten(value).items()}
        else:
            flat[name] = value
    return flat


def difference(a: Any, b: Any) -> dict[str, tuple[Any, Any]]:
    """The keys whose values differ, as (value in `a`, value in `b`).

    A key that one of them lacks counts as None there.
    """
    left, right = flatten(a), flatten(b)
    pairs = {key: (left.get(key), right.get(key)) for key in left | right}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def describe(config: Any) -> list[Key]:
    """The keys of `config`, an instance or a class, with types and defaults."""
    keys = []
    kinds = _kinds(config)
    for name, value in _values(config).items():
        inner = _nested(kinds[name], value)
        if inner is None or value is None:
            text = "required" if value is dataclasses.MISSING else spelling.spell(value)
            keys.append(Key(name, spelling.type_name(kinds[name]), text))
        if inner is not None:
            keys += [key._replace(name=f"{name}.{key.name}") for key in describe(inner)]
    return keys


def nearest(name: str, names: Iterable[str]) -> str:
    """How to end an error about an unknown `name`: the nearest of `names`, or all."""
    names = list(names)
    last = {n: n.rpartition(".")[2] for n in names}
    same = [n for n in names if last[n] == name.rpartition(".")[2]]
    lower = {n.lower(): n for n in names}
    close = difflib.get_close_matches(name.lower(), list(lower), n=3, cutoff=0.6)
    near = list(dict.fromkeys(same + [lower[n] for n in close]))[:3]
    ends = [f"did you mean {' or '.join(near)}?"] if near else []
    if len(names) <= SHORT or not near:
        ends.append(f"there are: {', '.join(names)}")
    return "; ".join(ends)


def _build(config, tree: Mapping[str, Any], prefix: str, known: list[str]):
    """`config`, a class or an instance, with the values of `tree`."""
    kinds, now = _kinds(config), _values(config)
    values = {}
    for name, raw in tree.items():
        key, branch = prefix + name, isinstance(raw, Mapping)
        inner = _nested(kinds[name], now[name]) if name in now else None
        if name not in now or (branch and inner is None):
            key += f".{next(iter(raw), '')}" if branch else ""
            raise ValueError(f"no key {key}; {nearest(key, known)}")
        if branch:
            values[name] = _build(inner, raw, f"{key}.", known)
            continue
        try:
            values[name] = _convert(raw, kinds[name])
        except ValueError:
            right = f"be {spelling.type_name(kinds[name])}"
            if inner is not None:
                inside = ", ".join(f"{key}.{part.name}" for part in describe(inner))
                right = f"be set by its keys {inside}"
            got = f'"{raw}"' if isinstance(raw, str) else repr(raw)
            raise ValueError(f"{key} must {right}; got {got}") from None
    return _make(config, values, prefix, tree)


def _make(config, values: dict[str, Any], prefix: str, tree: Mapping[str, Any]):
    """`config` with `values`; what its own checks refuse names what was typed."""
    now = _values(config) | values
    missing = [prefix + name for name in now if now[name] is dataclasses.MISSING]
    if missing:
        raise ValueError(f"{', '.join(missing)} must be given: there is no default")
    try:
        if isinstance(config, type):
            return config(**values)
        return dataclasses.replace(config, **values)
    except (TypeError, ValueError) as error:
        typed = [
            f"{prefix}{n}={v}" for n, v in tree.items() if isinstance(v, spelling.Text)
        ]
        cause = ", ".join(typed) or prefix.rstrip(".") or "config"
        raise ValueError(f"{cause}: {error}") from error


def _convert(raw: Any, kind: Any) -> Any:
    """The value of type `kind` that `raw`, typed or from JSON, stands for."""
    typed, members, choices = (
        isinstance(raw, spelling.Text),
        get_args(kind),
        spelling.choices(kind),
    )
    if get_origin(kind) in spelling.UNIONS:
        # Any text is a str or a Path: these are tried last.
        for member in sorted(members, key=lambda member: member in (str, Path)):
            with suppress(ValueError):
                return _convert(raw, member)
    elif kind is NoneType and (raw is None or (typed and raw.lower() in NONE)):
        return None
    elif typed and raw in choices:
        return choices[raw]
    elif get_origin(kind) is Literal and raw in members:
        return raw
    elif spelling.is_enum(kind) and isinstance(raw, str) and raw in choices:
        return choices[raw]
    elif get_origin(kind) is tuple and (typed or isinstance(raw, list | tuple)):
        items = spelling.split(raw) if typed else raw
        kinds = members[:1] * len(items) if members[1:] == (...,) else members
        return tuple(_convert(i, k) for i, k in zip(items, kinds, strict=True))
    elif kind is float and (typed or type(raw) in (int, float)):
        if not math.isnan(float(raw)):  # NaN is unequal to itself
            return float(raw)
    elif kind in (int, str) and (typed or type(raw) is kind):
        return kind(raw)
    elif kind is bool and type(raw) is bool:
        return raw
    elif kind is Path and isinstance(raw, str):
        return Path(raw).expanduser() if typed else Path(raw)
    raise ValueError


def _encode(value: Any, key: str) -> Any:
    """`value` in the types of JSON."""
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, Path):
        return str(value)
    if dataclasses.is_dataclass(value):
        return {n: _encode(inner, f"{key}.{n}") for n, inner in _values(value).items()}
    if isinstance(value, tuple):
        return [_encode(item, key) for item in value]
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise ValueError(
        f"{key} must be None, bool, int, float, str, Path, Enum, tuple or dataclass "
        f"to be written as JSON; got {type(value).__name__}"
    )


def _kinds(config: Any) -> dict[str, Any]:
    """The type of each field, strings resolved."""
    if not dataclasses.is_dataclass(config):
        raise ValueError(f"a config must be a dataclass; got {config!r}")
    kind = config if isinstance(config, type) else type(config)
    try:
        return typing.get_type_hints(kind)
    except NameError as error:
        raise ValueError(f"a type in {kind.__name__} is unknown: {error}") from error


def _values(config: Any) -> dict[str, Any]:
    """The value of each field; of a class, the default or MISSING."""
    fields = [field for field in dataclasses.fields(config) if field.init]
    if not isinstance(config, type):
        return {field.name: getattr(config, field.name) for field in fields}
    return {
        field.name: field.default
        if field.default_factory is dataclasses.MISSING
        else field.default_factory()
        for field in fields
    }


def _nested(kind: Any, value: Any) -> Any:
    """The dataclass behind a field: its value, else the class of its type."""
    if dataclasses.is_dataclass(value):
        return value
    found = [k for k in (kind, *get_args(kind)) if dataclasses.is_dataclass(k)]
    if len(found) > 1:
        raise ValueError(f"{kind} holds several dataclasses: keys cannot tell which")
    return found[0] if found else None
