"""Several different models of the same rows: what voting, stacking, blending share.

    members = voting.members((logistic, gaussian_nb), ({"C": 10.0}, None))
    models = voting.fit_each(members, x, y)
    columns = voting.response(members, models, x, "predict")

A member is a module that is an estimator (`jaxml.models.classical.estimator`) with the
options of its `fit`, or of the function that is called.
"""

import inspect
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
from jaxtyping import PyTree

from jaxml.models.classical import estimator as inner
from jaxml.ops import check

__all__ = [
    "Members",
    "OptionsOfEach",
    "door",
    "fit_each",
    "members",
    "response",
    "split",
    "takes",
    "weighable",
]

OptionsOfEach = Sequence[inner.Options] | None
Estimators = tuple[Any, ...]


class Members(NamedTuple):
    """Modules, each with its options."""

    estimators: Estimators
    options: tuple[dict[str, Any], ...]


def split(
    estimators: Sequence[Any], options: OptionsOfEach, name: str = "options"
) -> tuple[Estimators, tuple[dict, ...], tuple[tuple, ...]]:
    """The estimators, the arrays among their options, and the values compiled in.

    Raises:
        ValueError: if there is no estimator, or not one entry of `options` for each.
    """
    estimators = tuple(estimators)
    check.size("the number of estimators", len(estimators), 1)
    each = (None,) * len(estimators) if options is None else tuple(options)
    if len(each) != len(estimators):
        raise ValueError(
            f"{name} must have one entry for each of the {len(estimators)} "
            f"estimators; got {len(each)}"
        )
    parts = [inner.split(one) for one in each]
    return estimators, tuple(p[0] for p in parts), tuple(p[1] for p in parts)


def members(
    estimators: Sequence[Any],
    traced: Sequence[dict[str, Any]],
    static: Sequence[tuple],
) -> Members:
    """Undo `split`."""
    each = zip(traced, static, strict=True)
    return Members(tuple(estimators), tuple(inner.options(*parts) for parts in each))


def door(estimators: Sequence[Any], x: Any, y: Any, sample_weight: Any) -> None:
    """Refuse rows that do not fit together, and weights that a member cannot take.

    Raises:
        ValueError: saying which.
    """
    check.rows(x, y, sample_weight)
    if sample_weight is not None:
        weighable(estimators)


def weighable(estimators: Sequence[Any]) -> None:
    """Refuse estimators whose `fit` takes no weights.

    Raises:
        ValueError: naming the first.
    """
    for one in estimators:
        if not takes(one, "sample_weight"):
            raise ValueError(
                f"every estimator must take sample_weight; "
                f"{getattr(one, '__name__', one)!r} does not"
            )


def takes(estimator: Any, name: str) -> bool:
    """Whether the `fit` of an estimator has a keyword of that name."""
    parameters = inspect.signature(estimator.fit).parameters
    return name in parameters or any(
        p.kind == p.VAR_KEYWORD for p in parameters.values()
    )


def fit_each(
    members: Members,
    x: jax.Array,
    y: jax.Array,
    *,
    sample_weight: jax.Array | None = None,
    key: jax.Array | None = None,
    n_classes: int | None = None,
) -> tuple[PyTree, ...]:
    """Fit every member to the same rows.

    Args:
        members: modules and options of their `fit`.
        x: features.
        y: labels, or numbers.
        sample_weight: how much each row counts; 0 is an absent row. Default: 1.
        key: random key; each member that takes one gets its own.
        n_classes: given to each member, of which the options may say otherwise.
    """
    models = []
    for number, (estimator, options) in enumerate(zip(*members, strict=True)):
        own = None
        if key is not None and takes(estimator, "key"):
            own = jax.random.fold_in(key, number)
        given = {} if n_classes is None else {"n_classes": n_classes}
        models.append(
            inner.fit(
                estimator, x, y, given | options, sample_weight=sample_weight, key=own
            )
        )
    return tuple(models)


def response(
    members: Members, models: tuple[PyTree, ...], x: jax.Array, name: str
) -> list[jax.Array]:
    """What the function `name` of each member says of the rows.

    Raises:
        ValueError: if a member has no such function.
    """
    for estimator in members.estimators:
        if not hasattr(estimator, name):
            raise ValueError(
                f"every estimator must have {name}; "
                f"{getattr(estimator, '__name__', estimator)!r} has not"
            )
    return [
        getattr(estimator, name)(model, x, **options)
        for estimator, options, model in zip(*members, models, strict=True)
    ]
