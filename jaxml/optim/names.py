"""Find a function by its name and say what is right when the name or an option is not.

function = names.find("optimizer", TABLE, "adamw")
names.check("optimizer adamw", function, {"b1": 0.9})
"""

import difflib
import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

__all__ = ["check", "find"]


def find(kind: str, table: Mapping[str, Callable], name: str) -> Callable:
    """The function that `table` holds under `name`.

    Args:
        kind: what the functions are, for the message.
        table: the functions by name.
        name: the name asked for.

    Raises:
        ValueError: on an unknown name; the message holds the nearest and all others.
    """
    if name not in table:
        raise ValueError(
            f"{kind} must be one of {', '.join(table)}; got {name!r}"
            f"{_nearest(name, table)}"
        )
    return table[name]


def check(what: str, function: Callable, options: Collection[str]) -> None:
    """Refuse the `options` that `function` does not take as keywords.

    Raises:
        ValueError: on an unknown option, or on one that is missing.
    """
    parameters = list(inspect.signature(function).parameters.values())[1:]
    right = [p.name for p in parameters]
    for name in options:
        if name not in right:
            raise ValueError(
                f"options of {what} are {', '.join(right) or 'none'}; got {name!r}"
                f"{_nearest(name, right)}"
            )
    missing = [
        p.name for p in parameters if p.default is p.empty and p.name not in options
    ]
    if missing:
        raise ValueError(f"{what} needs {', '.join(missing)}; got {_listed(options)}")


def _nearest(name: Any, right: Collection[str]) -> str:
    near = difflib.get_close_matches(str(name), right, n=3, cutoff=0.6)
    return f" (nearest: {', '.join(near)})" if near else ""


def _listed(options: Collection[str]) -> str:
    return ", ".join(options) or "no options"
