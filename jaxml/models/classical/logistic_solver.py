"""The loss of logistic regression, for two classes or more, and its two solvers.

    parts = logistic_solver.two(x, y, weight, bias=True)
    value, slopes = parts.loss(scores)
    solution = logistic_solver.smooth(x, start, parts, weight, ridge, True, options)

Letters: n rows, d features, k classes; m unknowns of a score: d, or d + 1 with the
intercept last.

References:
    Böhning, 1992. Multinomial logistic regression algorithm. Ann. Inst. Stat. Math. 44
    (the Hessian at 0 bounds all others).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxml.optim import irls, newton, proximal_newton
from jaxml.optim.solution import Solution

__all__ = ["Parts", "smooth", "softmax", "sparse", "two"]

DENSE = 300  # unknowns up to which the Hessian of softmax is formed ...
COUPLED = 1000  # ... and with absolute values, where its bound would do worse


class Parts(NamedTuple):
    """A weighted mean of losses, as functions of the scores."""

    loss: Callable  # -> value [], its derivative by each score
    hessian: Callable  # -> by the weights: [m, m], or [k m, k m] of all scores
    level: Callable  # -> the same where all scores are equal; cheaper
    bound: Callable  # -> [m, m], for the weights of each score alone
    mean: Callable  # -> value [], that JAX may differentiate twice


def two(
    x: Float[Array, "n d"],
    y: Int[Array, "n"],
    weight: Float[Array, "n"] | Float[Array, ""],
    *,
    bias: bool,
) -> Parts:
    """Two classes: one score, the log-odds of class 1."""
    sign = jnp.where(y == 1, 1, -1).astype(x.dtype)

    def loss(scores):
        margin = sign * scores
        small = jnp.exp(-jnp.abs(margin))
        value = jnp.log1p(small) + jnp.maximum(-margin, 0)
        wrong = jnp.where(margin > 0, small, 1) / (1 + small)
        return (weight * value).sum(), -weight * sign * wrong

    def hessian(scores):
        small = jnp.exp(-jnp.abs(scores))
        return irls.gram(x, weight * small / (1 + small) ** 2, bias)

    return Parts(
        loss,
        hessian,
        lambda scores: irls.gram(x, weight / 4, bias),
        hessian,
        lambda scores: (weight * jax.nn.softplus(-sign * scores)).sum(),
    )


def softmax(
    x: Float[Array, "n d"],
    y: Int[Array, "n"],
    weight: Float[Array, "n"] | Float[Array, ""],
    *,
    n_classes: int,
    bias: bool,
) -> Parts:
    """A score for each class; the same shift of all of a row has no effect."""
    n, k, m = len(x), n_classes, x.shape[1] + bias
    hot = (y[:, None] == jnp.arange(k)[None]).astype(x.dtype)
    column = weight[:, None] if weight.ndim else weight

    def loss(scores):
        top = scores.max(1, keepdims=True)
        powers = jnp.exp(scores - top)
        mass = powers.sum(1, keepdims=True)
        value = (jnp.log(mass) + top)[:, 0] - (hot * scores).sum(1)
        return (weight * value).sum(), column * (powers / mass - hot)

    def hessian(scores):
        p = jax.nn.softmax(scores)
        rows = jnp.concatenate([x, jnp.ones((n, 1), x.dtype)], 1) if bias else x
        each = (p[:, :, None] * rows[:, None]).reshape(n, k * m)
        heavy = (column * each).T
        cross = jnp.matmul(heavy, each, precision=irls.HIGHEST)
        own = jnp.matmul(heavy, rows, precision=irls.HIGHEST).reshape(k, m, m)
        same = jnp.eye(k, dtype=x.dtype)[:, None, :, None]
        return (own[:, :, None] * same).reshape(k * m, k * m) - cross

    def level(scores):
        # On weights whose sum over the classes is 0, as all gradients are.
        return jnp.kron(jnp.eye(k, dtype=x.dtype), irls.gram(x, weight / k, bias))

    def bound(scores):  # exact where all scores are equal
        p = jax.nn.softmax(scores)
        return irls.gram(x, weight * (1 - (p**2).sum(1)) / (k - 1), bias)

    def mean(scores):
        value = jax.nn.logsumexp(scores, 1) - (hot * scores).sum(1)
        return (weight * value).sum()

    return Parts(loss, hessian, level, bound, mean)


def smooth(
    x: Float[Array, "n d"],
    start: Float[Array, "..."],
    parts: Parts,
    weight: Float[Array, "n"] | Float[Array, ""],
    ridge: Float[Array, "m"],
    cold: bool,
    options: dict[str, Any],
) -> Solution:
    """Add ridge . w² / 2 and minimise, by Newton's method.

    Args:
        x: rows.
        start: weights [m] or [k, m].
        parts: the loss.
        weight: as in the loss.
        ridge: strength for each unknown of a score.
        cold: whether `start` is 0.
        options: `max_iter` and `tol`.
    """
    dense = start.size <= DENSE or start.ndim == 1
    every = jnp.broadcast_to(ridge, start.shape)

    def metric(scores, at_start):
        if not dense:
            solve = newton.cholesky_solver(parts.bound(scores) + jnp.diag(ridge))
        else:
            if cold and not weight.ndim:  # no scaled copy of x for the first one
                matrix = jax.lax.cond(at_start, parts.level, parts.hessian, scores)
            else:
                matrix = parts.hessian(scores)
            solve = newton.cholesky_solver(matrix + jnp.diag(every.ravel()))

        def centred(vector):  # the common shift of all classes stays 0
            solved = solve(vector)
            return solved - solved.mean(0)[None]

        return centred if start.ndim == 2 else solve

    def objective(point):
        value = parts.mean(irls.scores(x, point)) + 0.5 * (every * point**2).sum()
        if point.ndim == 1:
            return value
        # 0 at the optimum; it takes the common shift out of the null space.
        return value + (point.mean(0) ** 2).sum()

    return irls.minimize(
        x,
        start,
        parts.loss,
        metric,
        ridge=ridge,
        residual=jax.grad(objective),
        **options,
    )


def sparse(
    x: Float[Array, "n d"],
    start: Float[Array, "..."],
    parts: Parts,
    strength: Float[Array, "m"],
    l1_ratio: Float[Array, ""],
    options: dict[str, Any],
) -> Solution:
    """Add the elastic net of `strength` and minimise, by proximal Newton.

    The arguments are those of `smooth`; `l1_ratio` is the share of absolute values.
    """
    ridge = strength * (1 - l1_ratio)
    m = start.shape[-1]

    def bent(point):
        squares = jnp.broadcast_to(ridge, point.shape) * point**2
        value = parts.mean(irls.scores(x, point)) + 0.5 * squares.sum()
        if point.ndim == 1 or m == x.shape[1]:
            return value
        return value + point[:, -1].mean() ** 2  # 0 at the optimum, as above

    dense = start.size <= COUPLED or start.ndim == 1
    return proximal_newton.minimize(
        x,
        start,
        parts.loss,
        parts.hessian if dense else parts.bound,
        l1=strength * l1_ratio,
        ridge=ridge,
        smooth_gradient=jax.grad(bent),
        **options,
    )
