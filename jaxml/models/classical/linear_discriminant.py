"""Linear discriminant analysis: normal classes that share one covariance.

    model = linear_discriminant.fit(x, y, n_classes=3)
    labels = linear_discriminant.predict(model, x_new)
    plane = linear_discriminant.transform(model, x_new)      # [m, k - 1]

Letters: n rows, m queries, d features, k classes, c components.

References:
    Hastie, Tibshirani and Friedman, 2009. The elements of statistical learning, 4.3.
    Friedman, 1989. Regularized discriminant analysis. JASA 84(405).
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from jaxml.models.classical import class_scatter
from jaxml.models.classical.class_scatter import merge, subtract
from jaxml.models.classical.class_scatter import pooled as stats
from jaxml.ops import check

__all__ = [
    "LinearDiscriminant",
    "decision_function",
    "fit",
    "merge",
    "predict",
    "predict_log_proba",
    "predict_proba",
    "solve",
    "stats",
    "subtract",
    "transform",
]

_SOLVERS = ("svd", "lsqr", "eigen")
_matmul = partial(jnp.matmul, precision=lax.Precision.HIGHEST)


class LinearDiscriminant(NamedTuple):
    """Hyperplanes between classes, and the axes that part them best."""

    coef: Float[Array, "q d"]  # one row for two classes, else k
    intercept: Float[Array, "q"]
    means: Float[Array, "k d"]
    priors: Float[Array, "k"]
    xbar: Float[Array, "d"]  # what `transform` subtracts: 0 with "eigen"
    covariance: Float[Array, "d d"]  # within classes
    scalings: Float[Array, "d c"]  # no column with "lsqr"; 0 beyond the rank
    explained_variance_ratio: Float[Array, "c"]


def fit(
    x: Float[Array, "n d"],
    y: Int[Array, "n"],
    *,
    n_classes: int = 2,
    solver: str = "svd",
    shrinkage: float | Float[Array, ""] | str | None = None,
    priors: Float[Array, "k"] | None = None,
    n_components: int | None = None,
    tol: float | Float[Array, ""] = 1e-4,
    sample_weight: Float[Array, "n"] | None = None,
) -> LinearDiscriminant:
    """Fit normal distributions with one covariance.

    `coef` and `intercept` are differentiable; `scalings` and the variance ratio are
    constants to a gradient, since eigenvectors have none where eigenvalues meet.

    Args:
        x: rows.
        y: labels from 0 to `n_classes` - 1. A class without rows is never predicted.
        n_classes: number of classes, at least 2.
        solver: "svd": directions within classes of standard deviation below `tol`
            (after scaling each feature to 1) are dropped. "lsqr" and "eigen": the
            covariance may be shrunk; "lsqr" has no `transform`. These are names of what
            scikit-learn computes; here all are the eigenvectors of one matrix.
        shrinkage: None, 0 to 1, or "auto" (Ledoit-Wolf in each class); not with "svd".
        priors: probability of each class. Default: its share of the weights.
        n_components: columns of `transform`, from 1 to min(k - 1, d), which is the
            default.
        tol: see `solver`. In float32 about 1e-3 is the least that can be told from 0.
        sample_weight: how much each row counts; 0 is an absent row. Default: 1.

    Raises:
        ValueError: if a shape is wrong, or a choice or number out of range.

    >>> x = jnp.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [4.0, 3.0], [3.0, 4.0]])
    >>> model = fit(x, jnp.array([0, 0, 0, 1, 1]))
    >>> predict(model, jnp.array([[1.0, 1.0], [3.0, 3.0]]))
    Array([0, 1], dtype=int32)
    """
    check.rows(x, y, sample_weight)
    check.labels(y, n_classes)
    _check(n_classes, x.shape[1], solver, shrinkage, n_components)
    found = stats(x, y, n_classes=n_classes, sample_weight=sample_weight)
    within = total = None
    auto = isinstance(shrinkage, str)
    if solver != "svd" and (auto or priors is not None):
        within, total = _covariances(
            x, y, found, priors, auto, n_classes, sample_weight
        )
    return solve(
        found,
        solver=solver,
        shrinkage=None if auto else shrinkage,
        priors=priors,
        n_components=n_components,
        tol=tol,
        within=within,
        total=total,
    )


def solve(
    stats: class_scatter.Scatter,
    *,
    solver: str = "svd",
    shrinkage: float | Float[Array, ""] | str | None = None,
    priors: Float[Array, "k"] | None = None,
    n_components: int | None = None,
    tol: float | Float[Array, ""] = 1e-4,
    within: Float[Array, "d d"] | None = None,
    total: Float[Array, "d d"] | None = None,
) -> LinearDiscriminant:
    """The model of given statistics.

    Args:
        stats: pooled statistics of all rows.
        solver, priors, n_components, tol: as in `fit`.
        shrinkage: as in `fit`, but not "auto", which needs the rows.
        within: covariance within classes, from an estimator of your own. Default: the
            scatter by the weights.
        total: covariance of all rows, for "eigen". Default: by `stats`.

    Raises:
        ValueError: if a choice or number is out of range.
    """
    k, d = stats.means.shape
    _check(k, d, solver, shrinkage, n_components)
    if isinstance(shrinkage, str):
        raise ValueError('shrinkage "auto" needs the rows: use fit')
    size = min(k - 1, d) if n_components is None else n_components
    return _solve(stats, solver, size, shrinkage, priors, tol, within, total)


@jax.jit
def decision_function(
    model: LinearDiscriminant, x: Float[Array, "m d"]
) -> Float[Array, "m"] | Float[Array, "m k"]:
    """Log odds of class 1 for two classes, else log posteriors up to a constant."""
    scores = _matmul(x, model.coef.T) + model.intercept[None]
    return scores[:, 0] if len(model.coef) == 1 else scores


@jax.jit
def predict(model: LinearDiscriminant, x: Float[Array, "m d"]) -> Int[Array, "m"]:
    """The most probable class."""
    return _scores(model, x).argmax(1)


@jax.jit
def predict_log_proba(
    model: LinearDiscriminant, x: Float[Array, "m d"]
) -> Float[Array, "m k"]:
    """Log probability of each class."""
    return jax.nn.log_softmax(_scores(model, x))


@jax.jit
def predict_proba(
    model: LinearDiscriminant, x: Float[Array, "m d"]
) -> Float[Array, "m k"]:
    """Probability of each class."""
    return jax.nn.softmax(_scores(model, x))


@jax.jit
def transform(model: LinearDiscriminant, x: Float[Array, "m d"]) -> Float[Array, "m c"]:
    """Coordinates on the axes that part the classes best, best first.

    Raises:
        ValueError: if the solver was "lsqr", which has no axes.
    """
    if model.scalings.shape[1] == 0:
        raise ValueError('transform needs solver "svd" or "eigen"; got "lsqr"')
    return _matmul(x - model.xbar[None], model.scalings)


def _check(k, d, solver, shrinkage, n_components):
    check.one_of("solver", solver, _SOLVERS)
    if n_components is not None:
        check.size("n_components", n_components, 1, min(k - 1, d))
    if shrinkage is None:
        return
    if solver == "svd":
        raise ValueError('shrinkage needs solver "lsqr" or "eigen"; got "svd"')
    if isinstance(shrinkage, str):
        check.one_of("shrinkage", shrinkage, ("auto",))
    else:
        check.between("shrinkage", shrinkage, 0, 1)


@partial(jax.jit, static_argnames=("auto", "n_classes"))
def _covariances(x, y, found, priors, auto, n_classes, sample_weight):
    """Covariance within classes weighted by the priors, and of all rows if "auto"."""
    count = found.class_count
    prior = _priors(count, priors)
    weight = jnp.ones(len(x), x.dtype) if sample_weight is None else sample_weight
    if not auto:
        ratio = jnp.where(count == 0, 0, prior / jnp.where(count == 0, 1, count))
        scatter = stats(
            x, y, n_classes=n_classes, sample_weight=weight * ratio[y]
        ).scatter
        return scatter, None
    each = class_scatter.class_ledoit_wolf(x, y, n_classes, sample_weight)
    each = jnp.where((count == 0)[:, None, None], 0, each)
    mean = count @ found.means / count.sum()
    total = class_scatter.ledoit_wolf(x - mean[None], weight)
    return jnp.einsum("k,kde->de", prior, each, precision=lax.Precision.HIGHEST), total


@partial(jax.jit, static_argnames=("solver", "size"))
def _solve(stats, solver, size, shrinkage, priors, tol, within, total):
    count, means, scatter = stats
    mass, k = count.sum(), len(count)
    prior = _priors(count, priors)
    empirical = scatter / mass
    within = empirical if within is None else within
    if shrinkage is not None:
        within = class_scatter.shrunk(within, jnp.asarray(shrinkage, means.dtype))
    xbar = jnp.where(prior > 0, prior, 0) @ means
    # With "lsqr" and "eigen" scikit-learn's scores of three and more classes are not
    # centred, and lose digits far from the origin; for two it makes no difference.
    shift = xbar if solver == "svd" or k == 2 else jnp.zeros_like(xbar)
    center = xbar if solver == "svd" else jnp.zeros_like(xbar)
    tol = jnp.asarray(tol if solver == "svd" else 0, means.dtype)
    whitening = class_scatter.whitening(within, means, tol)
    gaps = means - shift[None]
    coef = _divide(gaps, within, _matmul(whitening, whitening.T))
    intercept = jnp.log(prior) - ((means + shift[None]) * coef).sum(1) / 2
    if solver == "eigen":
        middle = count @ means / mass
        spread = means - middle[None]
        if total is None:
            total = empirical + _matmul(spread.T * (count / mass)[None], spread)
            if shrinkage is not None:
                total = class_scatter.shrunk(total, shrinkage)
        between = _matmul(_matmul(whitening.T, total - within), whitening)
    else:
        spread = jnp.sqrt(mass * prior / (k - 1))[:, None] * (means - xbar[None])
        spread = _matmul(spread, whitening)
        between = _matmul(spread.T, spread)
    axes, ratio = _axes(whitening, between, 0 if solver == "lsqr" else size, tol)
    if k == 2:
        coef, intercept = coef[1:] - coef[:1], intercept[1:] - intercept[:1]
    return LinearDiscriminant(
        coef, intercept, means, prior, center, within, axes, ratio
    )


def _divide(gaps, within, inverse):
    """gaps within⁻¹, on the directions kept.

    One step of refinement with a constant inverse: it wins back the digits that the
    inverse lost, and its derivative is that of the exact solution.
    """
    inverse = lax.stop_gradient(inverse)
    rough = lax.stop_gradient(_matmul(gaps, inverse))
    return rough + _matmul(gaps - _matmul(rough, within), inverse)


def _axes(whitening, between, size, tol):
    """The `size` whitened axes of largest variance between classes, and its shares."""
    between = lax.stop_gradient(between)
    values, vectors = jnp.linalg.eigh((between + between.T) / 2)
    values, vectors = values[::-1], vectors[:, ::-1]
    ratio = values / values.sum()
    real = ~(values <= tol**2 * values[0])
    axes = _matmul(whitening, (vectors * real[None])[:, :size])
    largest = jnp.take_along_axis(axes, jnp.abs(axes).argmax(0)[None], 0)
    return axes * jnp.where(largest < 0, -1, 1), ratio[:size]


def _priors(count, priors):
    prior = count if priors is None else priors.astype(count.dtype)
    return prior / prior.sum()


def _scores(model, x):
    """Scores of all classes, also where there are two."""
    scores = decision_function(model, x)
    if scores.ndim == 1:
        return jnp.stack([jnp.zeros_like(scores), scores], 1)
    return scores
