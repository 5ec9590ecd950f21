"""Weights of the other libraries, read and written without them.

    loaded = zoo.load("bert-base-uncased")       # a Hugging Face folder
    zoo.save("bert-finetuned", loaded._replace(variables=variables))

Everything here is imported when it is first asked for.
"""

import importlib
from typing import Any

__all__ = ["describe", "list", "load", "save", "verify"]

_WHERE = {
    "describe": ("catalog", "describe"),
    "list": ("catalog", "names"),
    "load": ("loading", "load"),
    "save": ("saving", "save"),
    "verify": ("verifying", "verify"),
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, function = _WHERE[name]
    return getattr(importlib.import_module(f"jaxml.zoo.{module}"), function)
