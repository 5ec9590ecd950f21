"""From the parameters of an estimator to the keywords of a functional model.

A keyword of the same name as a parameter gets its value: a number that is traced as a
float, a size as an int, an array in the precision of the data, a choice as it is.
"""

import inspect
import numbers
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from sklearn import utils
from sklearn.utils import class_weight as weights

from jaxml.sklearn.row import Data, Row

__all__ = [
    "Plan",
    "class_weights",
    "given",
    "plain",
    "plan",
    "refuse",
    "unsupported",
]

SILENT = "copy_X n_jobs verbose cache_size"  # how it is computed, not what
GIVEN = ("sample_weight", "class_weight", "key", "n_classes")  # not by their names


@dataclass(frozen=True)
class Plan:
    """Which keywords a function of a module takes, and from where."""

    numbers: tuple[str, ...]  # parameters that are floats, whatever their type was
    others: tuple[str, ...]  # parameters that pass as they are
    given: frozenset[str]  # of the names in GIVEN, those that it takes
    names: frozenset[str]  # all that it takes

    def values(self, estimator: Any, dtype: Any, resolved: Mapping) -> dict[str, Any]:
        """The keywords of the function; what `fit` resolved goes before parameters."""
        values = {k: v for k, v in resolved.items() if k in self.names}
        for names, cast in ((self.numbers, float), (self.others, int)):
            for name in names:
                if name not in values:
                    values[name] = plain(getattr(estimator, name), dtype, cast)
        return values


def plan(function: Callable, parameters: Mapping[str, inspect.Parameter]) -> Plan:
    """Match the keywords of `function` with the parameters of an estimator."""
    keywords = {
        name: parameter.annotation
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind == parameter.KEYWORD_ONLY
    }
    names = [k for k in keywords if k in parameters and k not in GIVEN]
    traced = tuple(k for k in names if float in _options(keywords[k]))
    return Plan(
        traced,
        tuple(k for k in names if k not in traced),
        frozenset(keywords).intersection(GIVEN),
        frozenset(keywords),
    )


def unsupported(
    parameters: Mapping[str, inspect.Parameter], plans: Mapping[str, Plan], row: Row
) -> dict[str, tuple]:
    """The parameters that have no meaning here, with the values that change nothing."""
    known = {*SILENT.split(), *row.silent.split(), *row.handled.split(), "class_weight"}
    known = known.union(*(p.names for p in plans.values())) - {"sample_weight"}
    known |= {"random_state"}  # where nothing is random, it changes nothing
    allowed = {}
    for name, parameter in parameters.items():
        if name in row.only or name not in known:
            allowed[name] = (parameter.default, *row.only.get(name, ()))
    return allowed


def refuse(estimator: Any, allowed: Mapping[str, tuple]) -> None:
    """Refuse values that ask for what the functional model does not compute.

    Raises:
        NotImplementedError: naming the parameter and the values it may have.
    """
    for name, values in allowed.items():
        value = getattr(estimator, name)
        if not any(_same(value, v) for v in values):
            choices = " or ".join(map(repr, values))
            raise NotImplementedError(
                f"{name} of {type(estimator).__name__} must be {choices}, "
                f"which is all that jaxml computes; got {value!r}"
            )


def given(plan: Plan, estimator: Any, classes: np.ndarray | None) -> dict[str, Any]:
    """The keywords that come from the labels and the random state."""
    values: dict[str, Any] = {}
    if "n_classes" in plan.given and classes is not None:
        values["n_classes"] = max(2, len(classes))
    draws = estimator._row.random
    if "key" in plan.given and (draws is None or draws(estimator)):
        random = utils.check_random_state(estimator.random_state)
        values["key"] = jax.random.key(random.randint(np.iinfo(np.int32).max))
    return values


def class_weights(estimator: Any, data: Data) -> np.ndarray | None:
    """What a row of each class counts [k], or None where all count the same."""
    asked = getattr(estimator, "class_weight", None)
    if asked is None or data.classes is None or data.y is None:
        return None
    each = weights.compute_class_weight(
        asked,
        classes=data.classes,
        y=data.classes[data.y],
        sample_weight=data.weight,
    )
    each = np.append(each, 1) if len(each) == 1 else each
    return each.astype(data.x.dtype)


def plain(value: Any, dtype: Any, cast: Callable = float) -> Any:
    """A value as the functional model takes it."""
    if value is None or isinstance(value, str | bool) or callable(value):
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, numbers.Integral):
        return cast(value)
    if isinstance(value, numbers.Real):
        return float(value)
    return jax.device_put(np.asarray(value, dtype))


def _same(value: Any, other: Any) -> bool:
    return value is other or (type(value) is type(other) and bool(value == other))


def _options(annotation: Any) -> tuple:
    """The types that an annotation joins, through its aliases."""
    parts = typing.get_args(annotation)
    return tuple(o for part in parts for o in _options(part)) or (annotation,)
