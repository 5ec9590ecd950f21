"""The expressions that make networks in timm and torchvision, read but never run.

    config = parse("timm.create_model('resnet50', num_classes=10)")
    name, args, kwargs = called(config)         # "resnet50", [], {"num_classes": 10}

An `eval` of a text from a file could run anything; this reads its syntax tree.
"""

import ast
from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["Called", "called", "parse"]

_LONGEST = 10_000  # characters, and items of a repeated sequence


class Called(NamedTuple):
    """A maker of a network and what it is given."""

    name: str  # the last part of its dotted name; of `timm.create_model` the argument
    args: list[Any]
    kwargs: dict[str, Any]


def called(config: Mapping[str, Any]) -> Called:
    """Which architecture or class a config asks for, and with what.

    Args:
        config: of `parse`, or `{"architecture": "resnet50", "num_classes": 10}`.

    >>> called({"architecture": "resnet50", "num_classes": 10})
    Called(name='resnet50', args=[], kwargs={'num_classes': 10})
    """
    if "architecture" in config:
        # the Hub's configs of timm: "resnet50.a1_in1k", and more than arguments
        foreign = {"architecture", "model_args", "num_features", "pretrained_cfg"}
        rest = {k: v for k, v in config.items() if k not in foreign}
        name = str(config["architecture"]).partition(".")[0]
        return Called(name, [], {**config.get("model_args", {}), **rest})
    name = config["builder"].rpartition(".")[2]
    args, kwargs = list(config.get("args", ())), dict(config.get("kwargs", {}))
    if name == "create_model":
        name, args = args[0], args[1:]
    return Called(name, args, kwargs)


def parse(text: str) -> dict[str, Any]:
    """Read a call as data.

    Names stay strings ("timm.layers.SwiGLUPacked"), nested calls become dicts of the
    same kind, `dict(a=1)` a dict, `*f(x)` {"unpack": ...}, and `f(x).features` gains
    {"attribute": "features"}.

    Args:
        text: such as "torchvision.models.resnet50(num_classes=10)".

    Returns:
        {"builder": dotted name, "args": [...], "kwargs": {...}}.

    Raises:
        ValueError: the text is no such call.

    >>> parse("models.resnet50(num_classes=10)")
    {'builder': 'models.resnet50', 'args': [], 'kwargs': {'num_classes': 10}}
    """
    if len(text) > _LONGEST:
        raise ValueError(f"a builder has at most {_LONGEST} signs; got {len(text)}")
    try:
        value = _value(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"a builder must be one call; got {text!r}") from error
    if not isinstance(value, dict) or "builder" not in value:
        raise ValueError(f"a builder must be one call; got {text!r}")
    return value


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Constant():
            return node.value
        case ast.Tuple():
            return tuple(map(_value, node.elts))
        case ast.List():
            return list(map(_value, node.elts))
        case ast.Dict() if all(node.keys):
            keys = [_value(key) for key in node.keys if key]
            return dict(zip(keys, map(_value, node.values), strict=True))
        case ast.Starred():
            return {"unpack": _value(node.value)}
        case ast.Name():
            return node.id
        case ast.Attribute():
            owner = _value(node.value)
            if isinstance(owner, dict):
                return {**owner, "attribute": node.attr}
            return f"{owner}.{node.attr}"
        case ast.Call():
            return _call(node)
        case ast.UnaryOp() | ast.BinOp():
            return _arithmetic(node)
    raise ValueError(
        f"a builder is of names, calls and values; got {ast.unparse(node)}"
    )


def _call(node: ast.Call) -> dict[str, Any]:
    name = _value(node.func)
    if not isinstance(name, str) or any(word.arg is None for word in node.keywords):
        raise ValueError(f"a builder calls by name; got {ast.unparse(node)}")
    kwargs = {str(word.arg): _value(word.value) for word in node.keywords}
    if name == "dict" and not node.args:
        return kwargs
    return {"builder": name, "args": list(map(_value, node.args)), "kwargs": kwargs}


def _arithmetic(node: ast.UnaryOp | ast.BinOp) -> Any:
    """-1, 8*2, 1+1 and (x,)*4."""
    numbers, sequences = (int, float), (tuple, list)
    if isinstance(node, ast.UnaryOp):
        value = _value(node.operand)
        if isinstance(node.op, ast.USub) and isinstance(value, numbers):
            return -value
    else:
        a, b = _value(node.left), _value(node.right)
        both = isinstance(a, numbers) and isinstance(b, numbers)
        if both and isinstance(node.op, ast.Mult | ast.Add | ast.Sub | ast.Div):
            return _compute(node.op, a, b)
        if isinstance(node.op, ast.Mult) and isinstance(a, sequences):
            if isinstance(b, int) and 0 <= b * len(a) <= _LONGEST:
                return a * b
        if isinstance(node.op, ast.Add) and type(a) is type(b) in sequences:
            return a + b
    raise ValueError(
        f"a builder is of names, calls and values; got {ast.unparse(node)}"
    )


def _compute(op: ast.operator, a: int | float, b: int | float) -> int | float:
    if isinstance(op, ast.Mult):
        return a * b
    if isinstance(op, ast.Add):
        return a + b
    if isinstance(op, ast.Sub):
        return a - b
    if b == 0:
        raise ValueError("a builder divides by nothing; got a zero")
    return a / b
