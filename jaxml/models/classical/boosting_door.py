"""What the boosters check and gather at their door.

ready = boosting_door.prepare(x, y, options, loss="log_loss", outputs=1, quantile=0.5)
model = boosting.fit(*ready.arrays, ready.numbers, plan=ready.plan)

Letters: n rows, d features.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxml.models.classical import boosting_growth, boosting_losses
from jaxml.models.classical.boosting import Boosting, Numbers, Plan
from jaxml.ops import check, native

__all__ = ["Options", "Ready", "prepare"]

LARGE = 10_000  # rows above which early_stopping="auto" stops early
MOST_LEAVES = 1 << 16  # of a tree whose leaves are not limited


class Options(NamedTuple):
    """The keywords of `fit`, as they came."""

    learning_rate: Any
    max_iter: int
    max_leaf_nodes: int | None
    max_depth: int | None
    min_samples_leaf: Any
    l2_regularization: Any
    l1_regularization: Any
    max_features: Any
    max_bins: int
    categorical_features: Sequence[int] | None
    monotonic_cst: Sequence[int] | None
    interaction_cst: Sequence[Sequence[int]] | str | None
    early_stopping: bool | str
    validation_fraction: Any
    n_iter_no_change: Any
    tol: Any
    subsample: Any
    colsample: Any
    min_child_weight: Any
    min_gain: Any
    max_step: Any
    cat_smooth: Any
    validation: tuple | None
    initial: Boosting | None
    key: Any
    sample_weight: Any


class Ready(NamedTuple):
    """Arguments of `boosting.fit`."""

    arrays: tuple
    numbers: Numbers
    plan: Plan


def prepare(
    x: Any,
    y: Any,
    options: Options,
    *,
    loss: boosting_losses.Loss,
    outputs: int,
    quantile: Any,
) -> Ready:
    """Check the data and the options, and tell what is static from what is traced.

    Args:
        x: rows.
        y: targets or labels.
        options: the keywords.
        loss: name or function.
        outputs: trees of an iteration.
        quantile: of the loss "quantile".

    Raises:
        ValueError: if something is out of its range, or does not fit the data.
    """
    o, d = options, x.shape[1]
    _check_sizes(o, d)
    _check_numbers(o, quantile)
    x, y, weight, extra = _with_validation(x, y, o)
    stops = len(x) - extra > LARGE if o.early_stopping == "auto" else o.early_stopping
    holds_out = stops and not extra and o.validation_fraction is not None
    samples, columns = _draws(o.subsample), _draws(o.colsample)
    needs = [
        name
        for name, drawn in {
            "early_stopping (rows for validation)": holds_out,
            "subsample": samples,
            "colsample": columns,
            "max_features": _draws(o.max_features),
        }.items()
        if drawn
    ]
    if needs and o.key is None:
        raise ValueError(f"key must be given where {needs[0]} draws; got None")
    categorical = _features("categorical_features", o.categorical_features, d)
    _check_categories(x, categorical, o.max_bins)
    monotone = _monotone(o.monotonic_cst, categorical, d)
    known = jnp.dtype(x.dtype).name in ("float32", "float64")
    plan = Plan(
        loss=loss,
        outputs=outputs,
        max_iter=o.max_iter,
        leaves=_leaves(o, len(x) - extra),
        max_depth=o.max_depth,
        max_bins=o.max_bins,
        categorical=categorical,
        monotone=monotone,
        groups=_groups(o.interaction_cst, d),
        stops=bool(stops),
        holds_out=bool(holds_out),
        extra=extra,
        samples=samples,
        columns=columns,
        bins_native=known and native.enabled("bins"),
        native=known and native.enabled("boost"),
    )
    growth = boosting_growth.Numbers(
        l1=o.l1_regularization,
        l2=o.l2_regularization,
        min_child_weight=o.min_child_weight,
        min_samples_leaf=o.min_samples_leaf,
        min_gain=o.min_gain,
        max_step=o.max_step,
        max_features=o.max_features,
        smooth=o.cat_smooth,
    )
    fraction = 0.0 if o.validation_fraction is None else o.validation_fraction
    numbers = Numbers(
        o.learning_rate,
        quantile,
        o.subsample,
        o.colsample,
        fraction,
        o.n_iter_no_change,
        o.tol,
        growth,
    )
    held = jnp.arange(len(x)) >= len(x) - extra if extra else None
    key = o.key if needs else None
    return Ready((x, y, weight, held, o.initial, key), numbers, plan)


def _check_sizes(o, d):
    check.size("max_iter", o.max_iter, 1)
    if o.max_leaf_nodes is not None:
        check.size("max_leaf_nodes", o.max_leaf_nodes, 2)
    if o.max_depth is not None:
        check.size("max_depth", o.max_depth, 1)
    check.size("max_bins", o.max_bins, 2, 255)
    check.one_of("early_stopping", o.early_stopping, ("auto", True, False))
    if o.initial is not None:
        made = len(o.initial.trees.node_count)
        if made > o.max_iter:
            raise ValueError(
                f"max_iter must be at least the {made} iterations of the initial "
                f"model; got {o.max_iter}"
            )


def _check_numbers(o, quantile):
    check.above("learning_rate", o.learning_rate, 0)
    check.at_least("min_samples_leaf", o.min_samples_leaf, 1)
    for name in ("l1_regularization", "l2_regularization", "min_child_weight"):
        check.at_least(name, getattr(o, name), 0)
    for name in ("min_gain", "tol", "cat_smooth"):
        check.at_least(name, getattr(o, name), 0)
    check.above("max_step", o.max_step, 0)
    check.at_least("n_iter_no_change", o.n_iter_no_change, 1)
    for name in ("max_features", "subsample", "colsample"):
        check.above(name, getattr(o, name), 0)
        check.between(name, getattr(o, name), 0, 1)
    if o.validation_fraction is not None:
        check.above("validation_fraction", o.validation_fraction, 0)
        check.between("validation_fraction", o.validation_fraction, 0, 1)
    check.between("quantile", quantile, 0, 1)


def _draws(share):
    """Whether a share may be below 1."""
    return not (isinstance(share, int | float) and share >= 1)


def _with_validation(x, y, o):
    """Rows with those for validation after them, weights, and how many those are."""
    check.rows(x, y, o.sample_weight)
    if o.validation is None:
        return x, y, o.sample_weight, 0
    if len(o.validation) not in (2, 3):
        raise ValueError(
            f"validation must be (x, y) or (x, y, sample_weight); "
            f"got {len(o.validation)} parts"
        )
    more, target = o.validation[:2]
    given = o.validation[2] if len(o.validation) == 3 else None
    check.rows(more, target, given)
    if more.shape[1] != x.shape[1]:
        raise ValueError(
            f"the rows of validation must have {x.shape[1]} features; "
            f"got {more.shape[1]}"
        )
    ones = (jnp.ones(len(x), x.dtype), jnp.ones(len(more), x.dtype))
    weights = [o.sample_weight, given]
    weights = [
        w if w is not None else one for w, one in zip(weights, ones, strict=True)
    ]
    return (
        jnp.concatenate([x, more.astype(x.dtype)]),
        jnp.concatenate([y, target.astype(y.dtype)]),
        jnp.concatenate([weight.astype(x.dtype) for weight in weights]),
        len(more),
    )


def _leaves(o, n):
    """Static bound on the leaves of a tree."""
    most = min(n, MOST_LEAVES)
    if o.max_leaf_nodes is not None:
        return max(1, min(o.max_leaf_nodes, most))
    if isinstance(o.min_samples_leaf, int | float):
        most = min(most, math.floor(n / o.min_samples_leaf))
    if o.max_depth is not None and o.max_depth < 17:
        most = min(most, 2**o.max_depth)
    return max(1, most)


def _features(name, chosen, d):
    """Indices of features as a tuple."""
    if chosen is None:
        return ()
    chosen = tuple(int(feature) for feature in chosen)
    if any(not 0 <= feature < d for feature in chosen):
        raise ValueError(f"{name} must be features from 0 to {d - 1}; got {chosen}")
    return tuple(sorted(set(chosen)))


def _check_categories(x, categorical, max_bins):
    """Refuse categories that have no bin, where the values can be looked at."""
    if not categorical:
        return
    try:
        most = jnp.nanmax(x[:, jnp.array(categorical)], 0, initial=0)
        values = [float(value) for value in most]
    except jax.errors.ConcretizationTypeError:
        return
    for feature, value in zip(categorical, values, strict=True):
        if value >= max_bins:
            raise ValueError(
                f"categories must be integers below max_bins = {max_bins}; "
                f"got {value:g} in feature {feature}"
            )


def _monotone(constraints, categorical, d):
    if constraints is None:
        return None
    constraints = tuple(int(sign) for sign in constraints)
    if len(constraints) != d or any(abs(sign) > 1 for sign in constraints):
        raise ValueError(
            f"monotonic_cst must be -1, 0 or 1 for each of the {d} features; "
            f"got {constraints}"
        )
    both = [f for f in categorical if constraints[f]]
    if both:
        raise ValueError(
            f"categorical features have no order and cannot be monotonic; got {both} "
            f"in both"
        )
    return constraints if any(constraints) else None


def _groups(groups, d):
    """Groups of features that may meet; those in none are one more."""
    if groups is None:
        return ()
    if isinstance(groups, str):
        check.one_of("interaction_cst", groups, ("pairwise", "no_interactions"))
        size = 2 if groups == "pairwise" else 1
        return tuple(itertools.combinations(range(d), min(size, d)))
    found = tuple(_features("interaction_cst", group, d) for group in groups)
    rest = tuple(sorted(set(range(d)) - set().union(*found)))
    return (*found, rest) if rest else found
