"""Logistic regression: two classes, or softmax over more.

    model = logistic.fit(x, y, C=1.0)
    labels, p = logistic.predict(model, x), logistic.predict_proba(model, x)
    models = logistic.path(x, y, Cs=jnp.logspace(-3, 3, 20))      # one program, warm

Minimises the mean loss plus (1 - l1_ratio) |w|² / (2 C W) + l1_ratio |w|₁ / (C W), W
the sum of the weights: scikit-learn's objective over C W. The intercept is free.

Letters: n rows, d features, k classes; m = d, or d + 1 with the intercept last.

References:
    Hastie, Tibshirani and Friedman, 2009. The elements of statistical learning, 4.4.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxml.models.classical import logistic_solver
from jaxml.ops import check
from jaxml.optim import irls

__all__ = [
    "Logistic",
    "decision_function",
    "fit",
    "path",
    "predict",
    "predict_log_proba",
    "predict_proba",
]

Number = float | Float[Array, ""]
_STATIC = ("n_classes", "fit_intercept", "max_iter", "smooth")


class Logistic(NamedTuple):
    """Scores that are linear in the features: log-odds, up to a constant."""

    coef: Float[Array, "scores d"]  # one row for two classes, else one for each
    intercept: Float[Array, "scores"]
    n_iter: Int[Array, ""]
    converged: Bool[Array, ""]  # False: separable without a penalty, or max_iter


def fit(
    x: Float[Array, "n d"],
    y: Int[Array, "n"],
    *,
    n_classes: int = 2,
    C: Number = 1.0,  # noqa: N803
    l1_ratio: Number = 0.0,
    fit_intercept: bool = True,
    class_weight: Float[Array, "k"] | None = None,
    tol: Number = 1e-4,
    max_iter: int = 100,
    sample_weight: Float[Array, "n"] | None = None,
) -> Logistic:
    """Fit the coefficients.

        >>> x = jnp.array([[-2.0], [-1.0], [1.0], [2.0]])
        >>> model = fit(x, jnp.array([0, 0, 1, 1]))
        >>> model.coef.round(2), predict(model, x)
        (Array([[1.01]], dtype=float32), Array([0, 0, 1, 1], dtype=int32))

    Args:
        x: rows. The penalty mixes the units of the features: scale them first.
        y: labels from 0 to n_classes - 1.
        n_classes: how many classes there are.
        C: inverse strength of the penalty, above 0; infinity for none.
        l1_ratio: share of the absolute penalty, 0 to 1. Where it is a 0 that is known
            before tracing, the problem is smooth and solved by Newton's method.
        fit_intercept: whether there is an intercept, which is never penalised.
        class_weight: factor on the weight of the rows of each class. Default: 1.
        tol: stop when no component of the gradient of the mean loss is larger.
        max_iter: bound on the steps.
        sample_weight: how much each row counts; 0 is an absent row. Default: 1.

    Returns:
        The model; differentiable by the data, the weights, `C` and `class_weight`.

    Raises:
        ValueError: if a shape, `C`, `l1_ratio`, `tol` or `max_iter` is out of range.
    """
    _door(x, y, n_classes, l1_ratio, class_weight, tol, max_iter, sample_weight)
    check.above("C", C, 0)
    smooth = isinstance(l1_ratio, int | float) and l1_ratio == 0
    return _fit(
        x,
        y,
        C,
        l1_ratio,
        tol,
        sample_weight,
        class_weight,
        None,
        n_classes=n_classes,
        fit_intercept=fit_intercept,
        max_iter=max_iter,
        smooth=smooth,
    )


def path(
    x: Float[Array, "n d"],
    y: Int[Array, "n"],
    *,
    Cs: Float[Array, "c"],  # noqa: N803
    n_classes: int = 2,
    l1_ratio: Number = 0.0,
    fit_intercept: bool = True,
    class_weight: Float[Array, "k"] | None = None,
    tol: Number = 1e-4,
    max_iter: int = 100,
    sample_weight: Float[Array, "n"] | None = None,
) -> Logistic:
    """Fit for every one of `Cs`, each from the end of the one before.

    Args:
        x: rows.
        y: labels.
        Cs: inverse strengths; rising, so that each model is near the one before.
        n_classes: as in `fit`.
        l1_ratio: as in `fit`.
        fit_intercept: as in `fit`.
        class_weight: as in `fit`.
        tol: as in `fit`.
        max_iter: as in `fit`, for each.
        sample_weight: as in `fit`.

    Returns:
        A model whose leaves have one leading axis, the one of `Cs`.

    Raises:
        ValueError: as `fit`.
    """
    _door(x, y, n_classes, l1_ratio, class_weight, tol, max_iter, sample_weight)
    return _path(
        x,
        y,
        Cs,
        l1_ratio,
        tol,
        sample_weight,
        class_weight,
        n_classes=n_classes,
        fit_intercept=fit_intercept,
        max_iter=max_iter,
        smooth=isinstance(l1_ratio, int | float) and l1_ratio == 0,
    )


@jax.jit
def decision_function(
    model: Logistic, x: Float[Array, "n d"]
) -> Float[Array, "n"] | Float[Array, "n k"]:
    """Log-odds of class 1 of two classes [n]; the score of each of more [n, k]."""
    weights = jnp.concatenate([model.coef, model.intercept[:, None]], 1)
    return irls.scores(x, weights[0] if len(weights) == 1 else weights)


@jax.jit
def predict(model: Logistic, x: Float[Array, "n d"]) -> Int[Array, "n"]:
    """Label every row with its most probable class."""
    values = decision_function(model, x)
    likely = values > 0 if values.ndim == 1 else values.argmax(1)
    return likely.astype(jnp.int32)


@jax.jit
def predict_log_proba(model: Logistic, x: Float[Array, "n d"]) -> Float[Array, "n k"]:
    """Logarithm of the probability of each class."""
    values = decision_function(model, x)
    if values.ndim == 1:
        return jax.nn.log_sigmoid(jnp.stack([-values, values], 1))
    return jax.nn.log_softmax(values)


@jax.jit
def predict_proba(model: Logistic, x: Float[Array, "n d"]) -> Float[Array, "n k"]:
    """Probability of each class."""
    return jnp.exp(predict_log_proba(model, x))


@partial(jax.jit, static_argnames=_STATIC)
def _path(x, y, cs, *rest, **static):
    def following(start, c):
        model = _fit(x, y, c, *rest, start, **static)
        return jax.lax.stop_gradient(_joined(model, static["fit_intercept"])), model

    shape = (_rows(static["n_classes"]), x.shape[1] + static["fit_intercept"])
    return jax.lax.scan(following, jnp.zeros(shape, x.dtype), cs)[1]


@partial(jax.jit, static_argnames=_STATIC)
def _fit(
    x,
    y,
    c,
    l1_ratio,
    tol,
    sample_weight,
    class_weight,
    start,
    *,
    n_classes,
    fit_intercept,
    max_iter,
    smooth,
):
    weight, total = _shares(x, y, sample_weight, class_weight)
    d, m = x.shape[1], x.shape[1] + fit_intercept
    strength = 1 / (jnp.asarray(c, x.dtype) * total)
    strength = strength * jnp.where(jnp.arange(m) < d, 1, 0).astype(x.dtype)
    if n_classes == 2:
        parts = logistic_solver.two(x, y, weight, bias=fit_intercept)
    else:
        parts = logistic_solver.softmax(
            x, y, weight, n_classes=n_classes, bias=fit_intercept
        )
    cold = start is None
    if cold:
        start = jnp.zeros((_rows(n_classes), m), x.dtype)
    start = start[0] if n_classes == 2 else start
    options = {"max_iter": max_iter, "tol": tol}
    if smooth:
        value, info = logistic_solver.smooth(
            x, start, parts, weight, strength, cold, options
        )
    else:
        share = jnp.asarray(l1_ratio, x.dtype)
        value, info = logistic_solver.sparse(x, start, parts, strength, share, options)
    value = value.reshape(-1, m)
    intercept = value[:, -1] if fit_intercept else jnp.zeros(len(value), x.dtype)
    if n_classes > 2:  # any common shift is as good
        intercept = intercept - intercept.mean()
    return Logistic(value[:, :d], intercept, info.n_iter, info.converged)


def _door(x, y, n_classes, l1_ratio, class_weight, tol, max_iter, sample_weight):
    check.rows(x, y, sample_weight)
    check.labels(y, n_classes)
    check.between("l1_ratio", l1_ratio, 0, 1)
    check.at_least("tol", tol, 0)
    check.size("max_iter", max_iter, 1)
    if class_weight is not None and class_weight.shape != (n_classes,):
        raise ValueError(
            f"class_weight must be one number for each of the {n_classes} classes; "
            f"got {list(class_weight.shape)}"
        )


def _shares(x, y, sample_weight, class_weight):
    """Weight of each row, of sum 1 (one number if all are equal), and the sum."""
    if class_weight is not None:
        rows = jnp.ones(len(x), x.dtype) if sample_weight is None else sample_weight
        sample_weight = rows * class_weight[y]
    return irls.shares(x, sample_weight)


def _rows(n_classes):
    return 1 if n_classes == 2 else n_classes


def _joined(model, fit_intercept):
    """The weights as the solver holds them."""
    if not fit_intercept:
        return model.coef
    return jnp.concatenate([model.coef, model.intercept[:, None]], 1)
