"""How a model made of other models calls them: the module is the estimator.

    estimator.fit(logistic, x, y, {"C": 10.0}, sample_weight=weight)
    estimator.decision(logistic, model, x, {})

An estimator is anything with `fit(x, y, **options)` and functions of (model, x), as the
modules of `jaxml.models.classical` are; it must be hashable. Of its options, arrays are
traced (so they can be mapped and differentiated) and Python values are static.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["decision", "each", "fit", "held_out", "options", "size", "split"]

Options = Mapping[str, Any] | None


def split(options: Options) -> tuple[dict[str, Any], tuple[tuple[str, Any], ...]]:
    """Tell arrays, which jit traces, from values that it compiles in."""
    options = options or {}
    is_array = lambda value: isinstance(value, jax.Array | np.ndarray)
    traced = {name: v for name, v in options.items() if is_array(v)}
    return traced, tuple(sorted((n, v) for n, v in options.items() if not is_array(v)))


def options(traced: Mapping[str, Any], static: tuple) -> dict[str, Any]:
    """Undo `split`."""
    return dict(static) | dict(traced)


def fit(
    estimator: Any,
    x: jax.Array,
    y: jax.Array,
    options: Mapping[str, Any],
    *,
    sample_weight: jax.Array | None = None,
    key: jax.Array | None = None,
) -> Any:
    """Fit one model; no weights and no key where there are none."""
    more = {"sample_weight": sample_weight, "key": key}
    given = {name: value for name, value in more.items() if value is not None}
    return estimator.fit(x, y, **options, **given)


def decision(
    estimator: Any, model: Any, x: jax.Array, options: Mapping[str, Any]
) -> tuple[jax.Array, float]:
    """Score of the positive class of each row [m], and the threshold of the class.

    Raises:
        ValueError: if the estimator has no `decision_function` and no `predict_proba`.
    """
    if hasattr(estimator, "decision_function"):
        return estimator.decision_function(model, x, **options), 0.0
    if hasattr(estimator, "predict_proba"):
        return estimator.predict_proba(model, x, **options)[:, 1], 0.5
    raise ValueError(
        "estimator must have decision_function or predict_proba; "
        f"got {getattr(estimator, '__name__', estimator)!r}"
    )


def each(function: Callable, items: Any, batch_size: int) -> Any:
    """The results for every item, `batch_size` at a time, stacked."""
    if batch_size <= 1:
        return jax.lax.map(function, items)
    if batch_size >= len(jax.tree.leaves(items)[0]):
        return jax.vmap(function)(items)
    return jax.lax.map(function, items, batch_size=batch_size)


def held_out(
    run: Callable[..., Any],
    folds: jax.Array,
    n_folds: int,
    sample_weight: jax.Array,
    batch_size: int = 1,
) -> Any:
    """What a fit that has not seen a row says of it.

    Args:
        run: from the weights of a fit to what it says of all rows, [n, ...].
        folds: the fold of each row; it is left out of that fit.
        n_folds: how many folds there are.
        sample_weight: weights of the rows.
        batch_size: how many fits run side by side.
    """

    def one(fold):
        return run(jnp.where(folds == fold, 0, sample_weight))

    results = each(one, jnp.arange(n_folds), batch_size)  # [folds, n, ...]
    index = folds.reshape(1, -1, *[1] * (results.ndim - 2))
    return jnp.take_along_axis(results, index, axis=0)[0]


def size(models: Any) -> int:
    """How many models are stacked."""
    return len(jax.tree.leaves(models)[0])
