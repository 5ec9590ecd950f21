"""Classification by many fits of one model to drawn rows: bagging, pasting, subspaces.

    model = bagging_classifier.fit(tree_classifier, x, y, key=key, n_estimators=500)
    labels = bagging_classifier.predict(tree_classifier, model, x_new)

The module is the estimator (`jaxml.models.classical.estimator`). All members are fitted
in one program; arrays among their options are traced, so they can be mapped.

`bootstrap=True` is bagging, False is pasting; `max_features` below 1.0 gives random
subspaces, with `max_samples` below 1.0 random patches.

Letters: n rows, m new rows, d features, k classes, e members, f features of a member.

References:
    Breiman, 1996. Bagging predictors. Machine Learning 24(2).
    Louppe and Geurts, 2012. Ensembles on random patches. ECML PKDD.
"""

import dataclasses
from functools import partial
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, PyTree

from jaxml.models.classical import bagging
from jaxml.models.classical import estimator as inner
from jaxml.ops import check

__all__ = ["BaggingClassifier", "decision_function", "fit", "predict", "predict_proba"]


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["models", "features", "oob_decision_function", "oob_score"],
    meta_fields=["n_classes"],
)
@dataclasses.dataclass(frozen=True)
class BaggingClassifier:
    """The fitted members."""

    models: PyTree  # every array has an axis of e members in front
    features: PyTree[Int[Array, "e f"]]  # the columns of a member; None: all
    oob_decision_function: PyTree[Float[Array, "n k"]]  # NaN: no member is left out
    oob_score: PyTree[Float[Array, ""]]  # accuracy where some member is left out
    n_classes: int


def fit(
    estimator: ModuleType | Any,
    x: Float[Array, "n d"],
    y: Int[Array, "n"],
    *,
    key: Key[Array, ""],
    n_classes: int = 2,
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
) -> BaggingClassifier:
    """Fit members to rows and features that each draws for itself.

    Args:
        estimator: the module of a member; its `fit` takes `sample_weight`, or `draw` is
            "rows".
        x: features.
        y: labels from 0 to `n_classes` - 1.
        key: random key; a member whose `fit` takes one gets its own.
        n_classes: how many classes there are.
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
        predict_options: what each `predict_proba` or `predict` is given by `oob_score`.
        sample_weight: how likely each row is drawn; 0 is an absent row. Default: 1.
        batch_size: how many members are fitted side by side, by vmap; 1 takes the least
            memory.

    >>> from jaxml.models.classical import gaussian_nb
    >>> x, y = jnp.array([[-2.0], [-1.0], [1.0], [2.0]]), jnp.array([0, 0, 1, 1])
    >>> model = fit(gaussian_nb, x, y, key=jax.random.key(0), n_estimators=20)
    >>> predict(gaussian_nb, model, jnp.array([[-1.5], [1.5]]))
    Array([0, 1], dtype=int32)

    Raises:
        ValueError: if the data do not fit together, or a choice is impossible.
    """
    check.labels(y, n_classes)
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
        n_classes=n_classes,
        n_estimators=n_estimators,
        draws=draws,
        oob_score=oob_score,
        batch_size=batch_size,
    )


def predict_proba(
    estimator: ModuleType | Any,
    model: BaggingClassifier,
    x: Float[Array, "m d"],
    *,
    options: inner.Options = None,
) -> Float[Array, "m k"]:
    """Probability of every class: the mean of the members'.

    Of an estimator without `predict_proba`, the shares of the members' votes.

    Args:
        estimator: the module that fitted.
        model: what it fitted.
        x: features.
        options: what the `predict_proba` or `predict` of a member is given.
    """
    traced, static = inner.split(options)
    return _proba(model, x, traced, estimator=estimator, static=static)


def predict(
    estimator: ModuleType | Any,
    model: BaggingClassifier,
    x: Float[Array, "m d"],
    *,
    options: inner.Options = None,
) -> Int[Array, "m"]:
    """Label every row with the class of the greatest mean probability, or most votes.

    See `predict_proba`.
    """
    proba = predict_proba(estimator, model, x, options=options)
    return jnp.argmax(proba, axis=1).astype(jnp.int32)


def decision_function(
    estimator: ModuleType | Any,
    model: BaggingClassifier,
    x: Float[Array, "m d"],
    *,
    options: inner.Options = None,
) -> Float[Array, "m"] | Float[Array, "m k"]:
    """Score every class: the mean of the members' decision values.

    Args:
        estimator: the module that fitted; it has `decision_function`.
        model: what it fitted.
        x: features.
        options: what the `decision_function` of a member is given.
    """
    traced, static = inner.split(options)
    return _decide(model, x, traced, estimator=estimator, static=static)


@partial(
    jax.jit,
    static_argnames=(
        "estimator",
        "static",
        "n_classes",
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
    n_classes,
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
        {"n_classes": n_classes} | options,
        draws=draws,
        batch_size=batch_size,
    )
    if not oob_score:
        return BaggingClassifier(models, features, None, None, n_classes)

    def left_out(model, part, key):
        drawn = bagging.counted(
            bagging.draw_rows(key, weight, share, draws, len(x)), x[:, 0]
        )
        proba = _shares(estimator, model, part, more, n_classes)
        return jnp.where((drawn > 0)[:, None], 0, proba)

    votes = bagging.each_sum(left_out, models, features, x, keys[:, 0])
    total = votes.sum(1)
    ones = jnp.ones_like(total) if weight is None else weight
    seen = jnp.where(total > 0, ones, 0)
    right = (jnp.argmax(votes, axis=1) == y).astype(x.dtype)
    score = (right * seen).sum() / seen.sum()
    decision = votes / total[:, None]
    return BaggingClassifier(models, features, decision, score, n_classes)


@partial(jax.jit, static_argnames=("estimator", "static"))
def _proba(model, x, traced, *, estimator, static):
    options = inner.options(traced, static)
    one = lambda part, x: _shares(estimator, part, x, options, model.n_classes)
    total = bagging.each_sum(one, model.models, model.features, x)
    return total / inner.size(model.models)


@partial(jax.jit, static_argnames=("estimator", "static"))
def _decide(model, x, traced, *, estimator, static):
    options = inner.options(traced, static)
    one = lambda part, x: estimator.decision_function(part, x, **options)
    total = bagging.each_sum(one, model.models, model.features, x)
    return total / inner.size(model.models)


def _shares(estimator, model, x, options, n_classes):
    """Probabilities of one member, or its vote."""
    if hasattr(estimator, "predict_proba"):
        return estimator.predict_proba(model, x, **options)
    return jax.nn.one_hot(
        estimator.predict(model, x, **options), n_classes, dtype=x.dtype
    )
