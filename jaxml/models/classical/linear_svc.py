"""Linear support vector classification: hinge or squared hinge, one against the rest.

model = linear_svc.fit(x, y, n_classes=3, C=0.1)
labels = linear_svc.predict(model, x)

Letters: n rows, d features, k classes.

References:
    Fan, Chang, Hsieh, Wang and Lin, 2008. LIBLINEAR. JMLR 9.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxml.models.classical import linear_svm
from jaxml.models.classical.linear_svm import Number
from jaxml.ops import check

__all__ = ["LinearSVC", "decision_function", "fit", "predict"]


class LinearSVC(NamedTuple):
    """Margins that are linear in the features."""

    coef: Float[Array, "scores d"]  # one row for two classes, else one for each
    intercept: Float[Array, "scores"]
    n_iter: Int[Array, ""]  # of the slowest class
    converged: Bool[Array, ""]  # of all classes


def fit(
    x: Float[Array, "n d"],
    y: Int[Array, "n"],
    *,
    n_classes: int = 2,
    loss: str = "squared_hinge",
    C: Number = 1.0,  # noqa: N803
    fit_intercept: bool = True,
    intercept_scaling: Number = 1.0,
    class_weight: Float[Array, "k"] | None = None,
    tol: Number = 1e-4,
    max_iter: int = 1000,
    sample_weight: Float[Array, "n"] | None = None,
) -> LinearSVC:
    """Fit min ½|w|² + ½ (b / scale)² + Σ C_i loss(y_i f(x_i)) for each class.

        >>> x = jnp.array([[-2.0], [-1.0], [1.0], [2.0]])
        >>> model = fit(x, jnp.array([0, 0, 1, 1]), loss="hinge")
        >>> model.coef.round(2), predict(model, x)
        (Array([[1.]], dtype=float32), Array([0, 0, 1, 1], dtype=int32))

    Args:
        x: rows. The penalty mixes the units of all features: scale them first.
        y: labels from 0 to n_classes - 1.
        n_classes: k.
        loss: "hinge", max(0, 1 - margin), or "squared_hinge".
        C: weight of the losses against the penalty, above 0.
        fit_intercept: whether there is an intercept.
        intercept_scaling: how little the intercept is penalised, above 0.
        class_weight: factor of C for the rows of each class. Against the rest of more
            than two classes, the rest counts 1, as in LIBLINEAR.
        tol: relative precision of the coefficients; that of the objective is its
            square, or the last digits.
        max_iter: bound on the steps, of which some 10 to 30 are needed.
        sample_weight: factor of C for each row; 0 is an absent row.

    Returns:
        The model; differentiable with respect to the data, the weights and C.

    Raises:
        ValueError: if shapes disagree, the loss is unknown or a number is senseless.
    """
    check.rows(x, y, sample_weight)
    check.labels(y, n_classes)
    check.one_of("loss", loss, ("hinge", "squared_hinge"))
    check.above("C", C, 0)
    check.above("intercept_scaling", intercept_scaling, 0)
    check.at_least("tol", tol, 0)
    check.size("max_iter", max_iter, 1)
    return _fit(
        x,
        y,
        C,
        intercept_scaling,
        tol,
        class_weight,
        sample_weight,
        n_classes=n_classes,
        squared=loss == "squared_hinge",
        fit_intercept=fit_intercept,
        max_iter=max_iter,
    )


@partial(jax.jit, static_argnames=("n_classes", "squared", "fit_intercept", "max_iter"))
def _fit(
    x,
    y,
    cost,
    intercept_scaling,
    tol,
    class_weight,
    weight,
    *,
    n_classes,
    squared,
    fit_intercept,
    max_iter,
):
    cost = jnp.asarray(cost, x.dtype)
    costs = jnp.broadcast_to(cost, y.shape)
    if weight is not None:
        costs = costs * weight.astype(x.dtype)
    share = None if class_weight is None else class_weight.astype(x.dtype)

    def one(label):
        mine = y == label
        sign = jnp.where(mine, 1, -1).astype(x.dtype)
        own = costs
        if share is not None:
            other = share[0] if n_classes == 2 else jnp.ones((), x.dtype)
            own = costs * jnp.where(mine, share[label], other)
        solution = linear_svm.minimize(
            x,
            sign[None],
            jnp.ones_like(sign)[None],
            own,
            squared=squared,
            fit_intercept=fit_intercept,
            intercept_scaling=intercept_scaling,
            tol=tol,
            max_iter=max_iter,
        )
        return solution.value, solution.info.n_iter, solution.info.converged

    if n_classes == 2:
        value, n_iter, converged = jax.tree.map(lambda leaf: leaf[None], one(1))
    else:
        value, n_iter, converged = jax.lax.map(one, jnp.arange(n_classes))
    coef, intercept = linear_svm.split(value, x)
    return LinearSVC(coef, intercept, n_iter.max(), converged.all())


@jax.jit
def decision_function(
    model: LinearSVC, x: Float[Array, "m d"]
) -> Float[Array, "m"] | Float[Array, "m k"]:
    """Margin of class 1 of two classes [m]; that of each of more [m, k]."""
    margins = jnp.matmul(x, model.coef.T, precision=jax.lax.Precision.HIGHEST)
    margins = margins + model.intercept[None]
    return margins[:, 0] if len(model.coef) == 1 else margins


@jax.jit
def predict(model: LinearSVC, x: Float[Array, "m d"]) -> Int[Array, "m"]:
    """Label every row with the class of the greatest margin."""
    margins = decision_function(model, x)
    best = margins > 0 if margins.ndim == 1 else margins.argmax(1)
    return best.astype(jnp.int32)
