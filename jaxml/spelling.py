"""Types and values of a config as one types and reads them.

spell((1, 2))             # "1,2"
type_name(int | None)     # "int | none"
choices(bool)["yes"]      # True
"""

from enum import Enum
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

__all__ = ["UNIONS", "Text", "choices", "is_enum", "spell", "split", "type_name"]

UNIONS = (Union, UnionType)


class Text(str):
    """A value as it was typed: it may spell any type."""


def split(text: str) -> list[str]:
    """The items of a tuple as one types it: "1,2", "(1, 2)", "1,", "" for none."""
    inside = text.strip()
    if inside[:1] + inside[-1:] in ("()", "[]"):
        inside = inside[1:-1]
    return [Text(t.strip()) for t in inside.removesuffix(",").split(",") if inside]


def choices(kind: Any) -> dict[str, Any]:
    """What may be typed for a type of few values, and what it means."""
    if kind is bool:
        yes, no = ("true", "True", "yes", "1"), ("false", "False", "no", "0")
        return dict.fromkeys(yes, True) | dict.fromkeys(no, False)
    if get_origin(kind) is Literal:
        return {spell(option): option for option in get_args(kind)}
    if is_enum(kind):
        return {member.name: member for member in kind}
    return {}


def type_name(kind: Any) -> str:
    """The type `kind` in a help or an error."""
    if get_origin(kind) in UNIONS:
        return " | ".join(map(type_name, get_args(kind)))
    if kind is bool or kind is NoneType:
        return "true | false" if kind is bool else "none"
    if choices(kind):
        return " | ".join(choices(kind))
    return kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind)


def spell(value: Any) -> str:
    """`value` as one would type it."""
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, tuple):
        return ",".join(map(spell, value)) + "," * (len(value) == 1)
    return str(value).lower() if isinstance(value, bool | None) else str(value)


def is_enum(kind: Any) -> bool:
    """Whether a type is an Enum."""
    return isinstance(kind, type) and issubclass(kind, Enum)
