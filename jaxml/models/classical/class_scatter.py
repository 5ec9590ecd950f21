"""Counts, means and scatter matrices of classes: what discriminants are made of.

    whole = class_scatter.pooled(x, y, n_classes=3)        # one matrix for all
    whole = class_scatter.merge(part, other)
    each = class_scatter.separate(x, y, n_classes=3)       # one for each class

Letters: n rows, d features, k classes.

References:
    Chan, Golub and LeVeque, 1983. Algorithms for computing the sample variance. The
        American Statistician 37(3).
    Ledoit and Wolf, 2004. A well-conditioned estimator for large-dimensional
        covariance matrices. J. Multivariate Analysis 88(2).
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from jaxml.models.classical import gaussian_nb
from jaxml.ops import check

__all__ = [
    "Scatter",
    "ledoit_wolf",
    "merge",
    "pooled",
    "separate",
    "shrunk",
    "subtract",
]

_matmul = partial(jnp.matmul, precision=lax.Precision.HIGHEST)


class Scatter(NamedTuple):
    """Sufficient statistics of normal classes."""

    class_count: Float[Array, "k"]  # sum of the weights
    means: Float[Array, "k d"]  # 0 where a class is empty
    scatter: Float[Array, "d d"] | Float[Array, "k d d"]
    # weighted outer products of the rows minus the mean of their class


def pooled(
    x: Float[Array, "n d"],
    y: Int[Array, "n"],
    *,
    n_classes: int = 2,
    sample_weight: Float[Array, "n"] | None = None,
) -> Scatter:
    """Statistics with the scatter matrices of all classes added up.

    Args:
        x: rows.
        y: labels from 0 to `n_classes` - 1.
        n_classes: number of classes, at least 2.
        sample_weight: how much each row counts. Default: 1.

    Raises:
        ValueError: if a shape is wrong or `n_classes` is below 2.
    """
    check.rows(x, y, sample_weight)
    check.labels(y, n_classes)
    return _pooled(x, y, n_classes, sample_weight)


def separate(
    x: Float[Array, "n d"],
    y: Int[Array, "n"],
    *,
    n_classes: int = 2,
    sample_weight: Float[Array, "n"] | None = None,
) -> Scatter:
    """Statistics with a scatter matrix of each class; arguments as in `pooled`.

    Raises:
        ValueError: if a shape is wrong or `n_classes` is below 2.
    """
    check.rows(x, y, sample_weight)
    check.labels(y, n_classes)
    return _separate(x, y, n_classes, sample_weight)


@jax.jit
def merge(a: Scatter, b: Scatter) -> Scatter:
    """The statistics of the rows of both."""
    count = a.class_count + b.class_count
    share = _ratio(b.class_count, count)
    gap = b.means - a.means
    between = _outer(a.class_count * share, gap, a.scatter.ndim)
    means = a.means + share[:, None] * gap
    return Scatter(count, means, a.scatter + b.scatter + between)


@jax.jit
def subtract(a: Scatter, b: Scatter) -> Scatter:
    """The statistics of the rows of `a` without those of `b`, to rounding."""
    count = jnp.maximum(a.class_count - b.class_count, 0)
    means = a.means + _ratio(b.class_count, count)[:, None] * (a.means - b.means)
    means = jnp.where((count == 0)[:, None], 0, means)
    # count times the share of b; 0 where nothing is left of the class
    mass = count * _ratio(b.class_count, a.class_count)
    between = _outer(mass, means - b.means, a.scatter.ndim)
    return Scatter(count, means, a.scatter - b.scatter - between)


def shrunk(
    covariance: Float[Array, "*s d d"], shrinkage: float | Float[Array, ""]
) -> Float[Array, "*s d d"]:
    """Drawn by `shrinkage`, from 0 to 1, towards the mean variance times identity."""
    d = covariance.shape[-1]
    mean = jnp.trace(covariance, axis1=-2, axis2=-1)[..., None, None] / d
    flat = mean * jnp.eye(d, dtype=covariance.dtype).reshape(
        (1,) * (mean.ndim - 2) + (d, d)
    )
    return covariance + shrinkage * (flat - covariance)


def ledoit_wolf(
    gap: Float[Array, "n d"], weight: Float[Array, "n"]
) -> Float[Array, "d d"]:
    """Covariance, shrunk by the Ledoit-Wolf rule on standardised features.

    Args:
        gap: rows minus their mean.
        weight: how much each row counts.
    """
    total, d = weight.sum(), gap.shape[1]
    scale = jnp.sqrt(weight @ gap**2 / total)
    scale = jnp.where(scale == 0, 1, scale)
    z = gap / scale[None]
    covariance = _matmul(z.T * weight[None], z) / total
    size = (covariance**2).sum()
    # lemmas 3.2 to 3.4: error of the covariance, and its distance from the target
    error = (weight @ (z**2).sum(1) ** 2 / total - size) / (d * total)
    distance = (size - jnp.trace(covariance) ** 2 / d) / d
    error = jnp.minimum(error, distance)
    shrinkage = jnp.where(error > 0, error / jnp.where(error > 0, distance, 1), 0)
    return shrunk(covariance, shrinkage) * scale[:, None] * scale[None]


def whitening(
    within: Float[Array, "d d"],
    means: Float[Array, "k d"],
    tol: Float[Array, ""],
) -> Float[Array, "d d"]:
    """Columns w with wᵀ within w = 1; 0 for directions without variance.

    A constant to a gradient.

    Args:
        within: covariance.
        means: of the classes, which say how large a rounded constant is.
        tol: standard deviation, of features scaled to 1, up to which it is none.
    """
    within, means = lax.stop_gradient((within, means))
    eps = jnp.finfo(within.dtype).eps
    scale = jnp.sqrt(jnp.maximum(jnp.diag(within), 0))
    # A constant feature has the rounding of its mean for a deviation.
    real = ~(scale <= 4 * eps * jnp.abs(means).max(0))
    scale = jnp.where(real, scale, 1)
    both = real[:, None] & real[None]
    values, vectors = jnp.linalg.eigh(
        jnp.where(both, within / scale[:, None] / scale[None], 0)
    )
    # The values come with an error of some eps times the largest.
    keep = ~(values <= jnp.maximum(tol**2, 10 * eps * values[-1]))
    root = jnp.where(keep, 1 / jnp.sqrt(jnp.where(keep, values, 1)), 0)
    return vectors * root[None] / scale[:, None]


def _gaps(x, y, n_classes, sample_weight):
    """Weights by class [k, n], their sums, means, and rows minus their mean."""
    member = gaussian_nb.members(y, n_classes, sample_weight, x.dtype)
    count = member.sum(1)
    means = _ratio(_matmul(member, x), count[:, None])
    # The means were rounded: what they miss is known from the gaps.
    means = means + _ratio(_matmul(member, x - means[y]), count[:, None])
    return member, count, means, x - means[y]


@partial(jax.jit, static_argnames=("n_classes",))
def _pooled(x, y, n_classes, sample_weight):
    _, count, means, gap = _gaps(x, y, n_classes, sample_weight)
    left = gap.T if sample_weight is None else gap.T * sample_weight[None]
    return Scatter(count, means, _matmul(left, gap))


@partial(jax.jit, static_argnames=("n_classes",))
def _separate(x, y, n_classes, sample_weight):
    member, count, means, gap = _gaps(x, y, n_classes, sample_weight)
    scatter = lax.map(lambda weight: _matmul(gap.T * weight[None], gap), member)
    return Scatter(count, means, scatter)


@partial(jax.jit, static_argnames=("n_classes",))
def class_ledoit_wolf(x, y, n_classes, sample_weight):
    """Ledoit-Wolf covariance of each class [k, d, d]."""
    member, _, _, gap = _gaps(x, y, n_classes, sample_weight)
    return lax.map(lambda weight: ledoit_wolf(gap, weight), member)


def _outer(mass, gap, rank):
    """Sum over the classes (rank 2), or for each (rank 3), of mass gap gapᵀ."""
    if rank == 2:
        return _matmul(gap.T * mass[None], gap)
    return mass[:, None, None] * gap[:, :, None] * gap[:, None, :]


def _ratio(a, b):
    """a / b, and 0 where b is 0."""
    return jnp.where(b == 0, 0, a / jnp.where(b == 0, 1, b))
