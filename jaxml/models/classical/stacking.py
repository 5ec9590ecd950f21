"""A model of what other models say: what stacking and blending share.

    model = stacking.stack(x, y, folds, ..., estimators=(ridge, svr), final=ridge, ...)
    y_hat = stacking.respond(estimators, final, model, x_new, output="predict")

Letters: n rows, m new rows, d features, k classes, c members, s columns.

References:
    Wolpert, 1992. Stacked generalization. Neural Networks 5(2).
"""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxml.models.classical import estimator as inner
from jaxml.models.classical import voting
from jaxml.ops import check

__all__ = [
    "Plan",
    "Stacking",
    "blend",
    "check_folds",
    "door",
    "respond",
    "stack",
    "transform",
]

METHODS = ("predict_proba", "decision_function", "predict")  # as "auto" prefers them


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["models", "final"],
    meta_fields=["stack_method", "passthrough"],
)
@dataclasses.dataclass(frozen=True)
class Stacking:
    """The fitted members, and the model of what they say."""

    models: tuple[PyTree, ...]
    final: PyTree
    stack_method: tuple[str, ...]  # which function of each member is heard
    passthrough: bool  # whether the last model also sees the features


@dataclasses.dataclass(frozen=True)
class Plan:
    """What of a fit is static."""

    estimators: tuple[Any, ...]
    final: Any
    static: tuple  # of the options of members, of their predictions, of the last model
    stack_method: tuple[str, ...]
    passthrough: bool
    n_classes: int | None  # None: targets are numbers


def door(
    estimators: Sequence[Any],
    final_estimator: Any,
    x: Any,
    y: Any,
    sample_weight: Any,
    *,
    weighs_final: bool,
    stack_method: str,
    passthrough: bool,
    n_classes: int | None,
    options: voting.OptionsOfEach,
    predict_options: voting.OptionsOfEach,
    final_options: inner.Options,
) -> tuple[Plan, tuple]:
    """What is static, and the arrays among the options.

    Raises:
        ValueError: if the data do not fit together, or a member lacks what is needed.
    """
    estimators, traced, static = voting.split(estimators, options)
    _, more, more_static = voting.split(estimators, predict_options, "predict_options")
    last, last_static = inner.split(final_options)
    check.rows(x, y, sample_weight)
    voting.weighable([*estimators, *([final_estimator] if weighs_final else [])])
    check.one_of("stack_method", stack_method, ("auto", *METHODS))
    names = METHODS if stack_method == "auto" else (stack_method,)
    heard = tuple(
        next((name for name in names if hasattr(one, name)), "") for one in estimators
    )
    if "" in heard:
        one = estimators[heard.index("")]
        raise ValueError(
            f"every estimator must have {' or '.join(names)}; "
            f"{getattr(one, '__name__', one)!r} has not"
        )
    every = (static, more_static, last_static)
    plan = Plan(estimators, final_estimator, every, heard, passthrough, n_classes)
    return plan, (traced, more, last)


def check_folds(folds: Any, n_folds: int, n: int) -> None:
    """Refuse what are not the folds of n rows.

    Raises:
        ValueError: saying how many numbers there must be.
    """
    check.size("n_folds", n_folds, 2)
    if folds.shape != (n,):
        raise ValueError(
            f"folds must be one number for each of the {n} rows of x; "
            f"got shape {folds.shape}"
        )


@partial(jax.jit, static_argnames=("plan", "n_folds", "batch_size"))
def stack(x, y, folds, weight, key, traced, *, plan, n_folds, batch_size) -> Stacking:
    """Fit the last model to what members say of rows that they have not seen.

    A fold is held out by weights of 0, so all fits are one program; the members that
    are kept are fitted to all rows.
    """
    members, said, _ = _options(plan, traced)
    fit, finish = _steps(plan, traced, x, y, key)
    ones = jnp.ones(len(x), x.dtype) if weight is None else weight

    def run(weight):
        return _columns(plan, said, fit(members, weight), x)

    columns = inner.held_out(run, folds, n_folds, ones, batch_size)
    return finish(fit(members, weight), columns, weight)


@partial(jax.jit, static_argnames=("plan",))
def blend(x, y, held, weight, key, traced, *, plan) -> Stacking:
    """Fit the members without the rows that are `held` out, the last model to these."""
    members, said, _ = _options(plan, traced)
    fit, finish = _steps(plan, traced, x, y, key)
    ones = jnp.ones(len(x), x.dtype) if weight is None else weight
    models = fit(members, jnp.where(held, 0, ones))
    columns = _columns(plan, said, models, x)
    return finish(models, columns, jnp.where(held, ones, 0))


def respond(
    estimators: Sequence[Any],
    final_estimator: Any,
    model: Stacking,
    x: Float[Array, "m d"],
    *,
    options: voting.OptionsOfEach,
    final_options: inner.Options,
    output: str,
) -> Any:
    """What the function `output` of the last model says of what the members say."""
    estimators, traced, static = voting.split(estimators, options)
    last, last_static = inner.split(final_options)
    return _respond(
        model,
        x,
        (traced, last),
        estimators=estimators,
        final=final_estimator,
        static=(static, last_static),
        output=output,
    )


def transform(
    estimators: Sequence[Any],
    model: Stacking,
    x: Float[Array, "m d"],
    *,
    options: voting.OptionsOfEach = None,
) -> Float[Array, "m s"]:
    """The columns that the last model sees.

    Args:
        estimators: the modules of the members.
        model: what they fitted.
        x: features.
        options: what the function of each member that is heard is given.
    """
    return respond(
        estimators, None, model, x, options=options, final_options=None, output=""
    )


@partial(jax.jit, static_argnames=("estimators", "final", "static", "output"))
def _respond(model, x, traced, *, estimators, final, static, output):
    said = voting.members(estimators, traced[0], static[0])
    columns = _columns(model, said, model.models, x)
    if not output:
        return columns
    options = inner.options(traced[1], static[1])
    return getattr(final, output)(model.final, columns, **options)


def _options(plan, traced):
    members, said = (
        voting.members(plan.estimators, traced[i], plan.static[i]) for i in (0, 1)
    )
    return members, said, inner.options(traced[2], plan.static[2])


def _steps(plan, traced, x, y, key):
    """How members are fitted, and how the last model is."""
    keys = (None, None) if key is None else jax.random.split(key)

    def fit(members, weight):
        return voting.fit_each(
            members, x, y, sample_weight=weight, key=keys[0], n_classes=plan.n_classes
        )

    def finish(models, columns, weight):
        last = voting.Members((plan.final,), (_options(plan, traced)[2],))
        (final,) = voting.fit_each(
            last,
            columns,
            y,
            sample_weight=weight,
            key=keys[1],
            n_classes=plan.n_classes,
        )
        return Stacking(models, final, plan.stack_method, plan.passthrough)

    return fit, finish


def _columns(plan, said, models, x):
    """What members say [m, s]; of two classes the probability of the second alone."""
    parts = []
    each = zip(said.estimators, said.options, models, plan.stack_method, strict=True)
    for estimator, options, model, name in each:
        value = getattr(estimator, name)(model, x, **options).astype(x.dtype)
        if name == "predict_proba" and value.shape[1] == 2:
            value = value[:, 1]
        parts.append(value.reshape(len(x), -1))
    return jnp.concatenate([*parts, *([x] if plan.passthrough else [])], axis=1)
