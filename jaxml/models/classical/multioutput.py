"""Several targets by one model for each.

    model = multioutput.fit(ridge, x, y, options={"alpha": 0.1})     # y: [n, t]
    y_hat = multioutput.predict(ridge, model, x_new)                 # [m, t]

The module is the estimator (`jaxml.models.classical.estimator`): any with
`fit(x, y, **options)` for one target [n], numbers or labels. All models are fitted in
one program.

Letters: n rows, m new rows, d features, t targets, k classes.
"""

from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree, Shaped

from jaxml.models.classical import estimator as inner
from jaxml.ops import check

__all__ = ["MultiOutput", "fit", "predict", "predict_proba"]


class MultiOutput(NamedTuple):
    """A model for each target."""

    models: PyTree  # every array has an axis of t models in front


def fit(
    estimator: ModuleType | Any,
    x: Float[Array, "n d"],
    y: Shaped[Array, "n t"],
    *,
    options: inner.Options = None,
    sample_weight: Float[Array, "n"] | None = None,
    key: Key[Array, ""] | None = None,
    batch_size: int = 1,
) -> MultiOutput:
    """Fit a model to each column of `y`.

    Args:
        estimator: the module of the model of one target.
        x: features.
        y: targets, or labels; all columns share the options, so also `n_classes`.
        options: what each `fit` is given; arrays are traced.
        sample_weight: how much each row counts; 0 is an absent row. Default: 1.
        key: random key, for an estimator that takes one: each target gets its own.
        batch_size: how many models are fitted side by side, by vmap; 1 takes the least
            memory, the number of targets the fewest steps.

    >>> from jaxml.models.classical import dummy_regressor
    >>> x, y = jnp.zeros((2, 1)), jnp.array([[1.0, 0.0], [3.0, 4.0]])
    >>> model = fit(dummy_regressor, x, y, options={"strategy": "mean"})
    >>> predict(dummy_regressor, model, x[:1])
    Array([[2., 2.]], dtype=float32)

    Raises:
        ValueError: if the data do not fit together.
    """
    check.rows(x, y, sample_weight)
    check.size("batch_size", batch_size, 1)
    if y.ndim != 2:
        raise ValueError(f"y must be [n, t]; got shape {y.shape}")
    traced, static = inner.split(options)
    return MultiOutput(
        _fit(
            x,
            y,
            sample_weight,
            key,
            traced,
            estimator=estimator,
            static=static,
            batch_size=batch_size,
        )
    )


def predict(
    estimator: ModuleType | Any,
    model: MultiOutput,
    x: Float[Array, "m d"],
    *,
    options: inner.Options = None,
) -> Shaped[Array, "m t"]:
    """Predict every target.

    Args:
        estimator: the module that fitted.
        model: what it fitted.
        x: features.
        options: what each `predict` is given.
    """
    traced, static = inner.split(options)
    return _call(model, x, traced, estimator=estimator, static=static, name="predict").T


def predict_proba(
    estimator: ModuleType | Any,
    model: MultiOutput,
    x: Float[Array, "m d"],
    *,
    options: inner.Options = None,
) -> Float[Array, "t m k"]:
    """Probability of every class of every target; see `predict`."""
    traced, static = inner.split(options)
    name = "predict_proba"
    return _call(model, x, traced, estimator=estimator, static=static, name=name)


@partial(jax.jit, static_argnames=("estimator", "static", "batch_size"))
def _fit(x, y, weight, key, traced, *, estimator, static, batch_size):
    options = inner.options(traced, static)

    def one(item):
        column, key = item
        return inner.fit(
            estimator, x, y[:, column], options, sample_weight=weight, key=key
        )

    count = y.shape[1]
    keys = None if key is None else jax.random.split(key, count)
    return inner.each(one, (jnp.arange(count), keys), batch_size)


@partial(jax.jit, static_argnames=("estimator", "static", "name"))
def _call(model, x, traced, *, estimator, static, name):
    function = partial(getattr(estimator, name), **inner.options(traced, static))
    return jax.lax.map(lambda part: function(part, x), model.models)
