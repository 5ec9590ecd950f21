"""Regression by the mean of many fits of one model to drawn rows and features.

    model = bagging_regressor.fit(tree_regressor, x, y, key=key, n_estimators=500)
    y_hat = bagging_regressor.predict(tree_regressor, model, x_new)

The module is the estimator (`jaxml.models.classical.estimator`). All members are fitted
in one program; arrays among their options are traced, so they can be mapped.

`bootstrap=True` is bagging, False is pasting; `max_features` below 1.0 gives random
subspaces, with `max_samples` below 1.0 random patches.

Letters: n rows, m new rows, d features, t targets, e members, f features of a member.

References:
    Breiman, 1996. Bagging predictors. Machine Learning 24(2).
    Louppe and Geurts, 2012. Ensembles on random patches. ECML PKDD.
"""

from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, PyTree

from jaxml.models.classical import bagging
from jaxml.models.classical import estimator as inner

__all__ = ["BaggingRegressor", "fit", "predict"]


class BaggingRegressor(NamedTuple):
    """The fitted members."""

    models: PyTree  # every array has an axis of e members in front
    features: Int[Array, "e f"] | None  # the columns of a member; None: all
    oob_prediction: Float[Array, "n *t"] | None  # NaN where no member is left out
    oob_score: Float[Array, ""] | None  # R² where some member is left out


def fit(
    estimator: ModuleType | Any,
    x: Float[Array, "n d"],
    y: Float[Array, "n *t"],
    *,
    key: Key[Array, ""],
    n_estimators: int = 10,
    max_samples: int | float | Float[Array, ""] | None = None,
    max_features: int | float = 1.0,
    bootstrap: bool = True,
    bootstrap_features: bool = False,
    oob_score: bool = False,
    draw: str = "weights",
    options: inner.Options = None,
    predict_options: inner.Options = None,
    sample_weight: Float[Array, "n"] | None = None,
    batch_size: int = 1,
) -> BaggingRegressor:
    """Fit members to rows and features that each draws for itself.

    Args:
        estimator: the module of a member; its `fit` takes `sample_weight`, or `draw` is
            "rows".
        x: features.
        y: targets.
        key: random key; a member whose `fit` takes one gets its own.
        n_estimators: how many members are fitted.
        max_samples: how many rows a member draws: an int, or a share from 0 to 1 of the
            rows that have a weight, which is traced. Default: all of them.
        max_features: how many features a member draws: an int, or a share.
        bootstrap: whether a row may be drawn more than once.
        bootstrap_features: whether a feature may be.
        oob_score: whether members say what they think of the rows that they did not
            draw; only with `bootstrap`.
        draw: "weights": the drawn rows are weights of all rows; "rows": they are copied
            out, which is faster where `max_samples` is far below n, and a size then.
        options: what each `fit` is given; arrays are traced.
        predict_options: what each `predict` is given by `oob_score`.
        sample_weight: how likely each row is drawn; 0 is an absent row. Default: 1.
        batch_size: how many members are fitted side by side, by vmap; 1 takes the least
            memory.

    >>> from jaxml.models.classical import least_squares
    >>> x = jnp.arange(8.0)[:, None]
    >>> model = fit(least_squares, x, 2 * x[:, 0], key=jax.random.key(0))
    >>> float(predict(least_squares, model, jnp.array([[2.5]]))[0].round(3))
    5.0

    Raises:
        ValueError: if the data do not fit together, or a choice is impossible.
    """
    draws, share = bagging.door(
        estimator,
        x,
        y,
        sample_weight,
        n_estimators=n_estimators,
        max_samples=max_samples,
        max_features=max_features,
        bootstrap=bootstrap,
        bootstrap_features=bootstrap_features,
        oob_score=oob_score,
        draw=draw,
        batch_size=batch_size,
    )
    traced, static = inner.split(options)
    more_traced, more_static = inner.split(predict_options)
    return _fit(
        x,
        y,
        sample_weight,
        key,
        share,
        (traced, more_traced),
        estimator=estimator,
        static=(static, more_static),
        n_estimators=n_estimators,
        draws=draws,
        oob_score=oob_score,
        batch_size=batch_size,
    )


def predict(
    estimator: ModuleType | Any,
    model: BaggingRegressor,
    x: Float[Array, "m d"],
    *,
    options: inner.Options = None,
) -> Float[Array, "m *t"]:
    """Predict the mean of the members.

    Args:
        estimator: the module that fitted.
        model: what it fitted.
        x: features.
        options: what the `predict` of a member is given.
    """
    traced, static = inner.split(options)
    return _predict(model, x, traced, estimator=estimator, static=static)


@partial(
    jax.jit,
    static_argnames=(
        "estimator",
        "static",
        "n_estimators",
        "draws",
        "oob_score",
        "batch_size",
    ),
)
def _fit(
    x,
    y,
    weight,
    key,
    share,
    traced,
    *,
    estimator,
    static,
    n_estimators,
    draws,
    oob_score,
    batch_size,
):
    options, more = map(inner.options, traced, static)
    share = jnp.asarray(share, x.dtype)
    keys = jax.random.split(key, (n_estimators, 3))
    models, features = bagging.fit_each(
        estimator,
        x,
        y,
        keys,
        weight,
        share,
        options,
        draws=draws,
        batch_size=batch_size,
    )
    if not oob_score:
        return BaggingRegressor(models, features, None, None)
    wide = (len(x), *[1] * (y.ndim - 1))

    def left_out(model, part, key):
        drawn = bagging.counted(
            bagging.draw_rows(key, weight, share, draws, len(x)), x[:, 0]
        )
        out = drawn == 0
        said = estimator.predict(model, part, **more)
        return jnp.where(out.reshape(wide), said, 0), out.astype(x.dtype)

    total, times = bagging.each_sum(left_out, models, features, x, keys[:, 0])
    mean = total / times.reshape(wide)
    ones = jnp.ones_like(times) if weight is None else weight
    seen = jnp.where(times > 0, ones, 0).reshape(wide)
    wrong = (seen * (y - jnp.where(seen > 0, mean, y)) ** 2).sum(0)
    centre = (seen * y).sum(0) / seen.sum(0)
    spread = (seen * (y - centre[None]) ** 2).sum(0)
    return BaggingRegressor(models, features, mean, (1 - wrong / spread).mean())


@partial(jax.jit, static_argnames=("estimator", "static"))
def _predict(model, x, traced, *, estimator, static):
    options = inner.options(traced, static)
    one = lambda part, x: estimator.predict(part, x, **options)
    total = bagging.each_sum(one, model.models, model.features, x)
    return total / inner.size(model.models)
