"""Penalised least squares by normal equations, as accurate as an SVD of the rows.

coef, intercept, spectrum = normal.fit(x, y, alpha, sample_weight, fit_intercept)

XᵀX has the squared condition of X, so half of the digits are lost at once. Two
remedies: the solution is refined with residuals taken from the rows (each step
multiplies the error by that of the inverse); and where XᵀX is singular in this dtype,
the singular values are taken from the rows (see `spectrum`). Both reduce over rows, so
they shard.

Letters: n rows, d features, t targets, a values of alpha, s = min(n, d).

References:
    Björck, 1996. Numerical Methods for Least Squares Problems, section 6.6.5.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxml.ops import linalg
from jaxml.ops import moments as sums
from jaxml.optim import implicit, spectrum
from jaxml.optim.spectrum import Spectrum

__all__ = ["fit", "path", "solve", "solve_path"]

SMALL = 256  # columns up to which LAPACK is not needed


def fit(
    x: Float[Array, "n d"],
    y: Float[Array, "n t"],
    alpha: float | Float[Array, ""],
    sample_weight: Float[Array, "n"] | None = None,
    fit_intercept: bool = True,
) -> tuple[Float[Array, "t d"], Float[Array, "t"], Spectrum]:
    """Minimise Σ w |y - x coefᵀ - intercept|² + alpha |coef|².

    Args:
        x: rows.
        y: targets.
        alpha: at least 0. With 0 and no full rank: the coefficients of least norm.
        sample_weight: at least 0; all 1 if None.
        fit_intercept: False: no intercept.

    Returns:
        Coefficients, intercepts and the spectrum. The first two are differentiable in
        every traced argument where the minimiser is unique.
    """
    problem = _Problem(x, y, sample_weight, fit_intercept)
    fixed = jax.lax.stop_gradient(problem)
    alpha = jnp.asarray(alpha, x.dtype)
    if len(x) < x.shape[1]:
        found, seen = _wide(fixed, jax.lax.stop_gradient(alpha))
    else:
        found, seen = _tall(fixed, jax.lax.stop_gradient(alpha))
    coef = _attach(problem, alpha, found)
    return coef, problem.intercept(coef), seen


def path(
    x: Float[Array, "n d"],
    y: Float[Array, "n t"],
    alphas: Float[Array, "a"],
    sample_weight: Float[Array, "n"] | None = None,
    fit_intercept: bool = True,
) -> tuple[Float[Array, "a t d"], Float[Array, "a t"]]:
    """The same for many values of alpha above 0, from one factorisation."""
    problem = _Problem(x, y, sample_weight, fit_intercept)
    fixed = jax.lax.stop_gradient(problem)
    grid = jax.lax.stop_gradient(alphas)[:, None, None]
    with jax.default_matmul_precision("highest"):
        if len(x) < x.shape[1]:
            rows, targets = fixed.weighted_rows()
            values, vectors = jnp.linalg.eigh(rows @ rows.T)
            turned = targets.T @ vectors  # [t n]
            found = turned[None] / (values[None, None] + grid) @ (vectors.T @ rows)
        else:
            values, vectors = jnp.linalg.eigh(fixed.gram)
            apply = lambda g: g @ vectors / (values[None, None] + grid) @ vectors.T
            found = apply(fixed.cross[None])
            found = found + apply(-fixed.slope(found, grid))
    coef = jax.vmap(lambda alpha, found: _attach(problem, alpha, found))(alphas, found)
    return coef, jax.vmap(problem.intercept)(coef)


def solve(
    moments: sums.Moments, alpha: float | Float[Array, ""], fit_intercept: bool = True
) -> tuple[Float[Array, "t d"], Float[Array, "t"], Spectrum]:
    """The same from moments alone, not refined."""
    gram, cross = _sums(moments, fit_intercept)
    alpha = jnp.asarray(alpha, gram.dtype)
    with jax.default_matmul_precision("highest"):
        values, vectors = jnp.linalg.eigh(gram)
        # Eigenvalues below rounding are those of directions that no row has.
        known = values + alpha > len(gram) * jnp.finfo(gram.dtype).eps * values[-1]
        gain = jnp.where(known, 1 / jnp.where(known, values + alpha, 1), 0)
        coef = (cross @ vectors) * gain[None] @ vectors.T
    singular = jnp.sqrt(jnp.maximum(values[::-1], 0))
    seen = Spectrum(singular, known.sum().astype(jnp.int32))
    return coef, _intercept(moments, coef, fit_intercept), seen


def solve_path(
    moments: sums.Moments, alphas: Float[Array, "a"], fit_intercept: bool = True
) -> tuple[Float[Array, "a t d"], Float[Array, "a t"]]:
    """The same from moments alone for many values of alpha above 0."""
    gram, cross = _sums(moments, fit_intercept)
    with jax.default_matmul_precision("highest"):
        values, vectors = jnp.linalg.eigh(gram)
        turned = (cross @ vectors)[None]
        coef = turned / (values[None, None] + alphas[:, None, None]) @ vectors.T
    intercept = jax.vmap(lambda coef: _intercept(moments, coef, fit_intercept))(coef)
    return coef, intercept


@jax.tree_util.register_pytree_node_class
class _Problem:
    """The rows, their moments, and the slope of the squared error at coefficients."""

    def __init__(self, x, y, sample_weight, fit_intercept):
        self.x, self.y, self.weight = x, y, sample_weight
        self.fit_intercept = fit_intercept
        self.moments = sums.stats(x, y, sample_weight)
        self.gram, self.cross = _sums(self.moments, fit_intercept)

    def tree_flatten(self):
        parts = (self.x, self.y, self.weight, self.moments, self.gram, self.cross)
        return parts, self.fit_intercept

    @classmethod
    def tree_unflatten(cls, fit_intercept, parts):
        self = object.__new__(cls)
        self.fit_intercept = fit_intercept
        self.x, self.y, self.weight, self.moments, self.gram, self.cross = parts
        return self

    def intercept(self, coef):
        return _intercept(self.moments, coef, self.fit_intercept)

    def slope(self, coef, alpha):
        """Half the gradient of the objective at coef [*a t d], from the rows."""
        t, d = coef.shape[-2:]
        flat = coef.reshape(-1, d)
        copies = flat.shape[0] // t
        shift = self.moments.mean_y[None] if self.fit_intercept else 0
        left = jnp.tile(self.y - shift, (1, copies))
        centre = self.moments.mean_x[None] if self.fit_intercept else 0
        left = left - jnp.matmul(self.x, flat.T, precision="highest")
        if self.fit_intercept:
            left = left + (flat * centre).sum(1)[None]
        if self.weight is not None:
            left = self.weight[:, None] * left
        pull = jnp.einsum("nk,nd->kd", left, self.x, precision="highest")
        if self.fit_intercept:
            pull = pull - left.sum(0)[:, None] * centre
        return alpha * coef - pull.reshape(coef.shape)

    def weighted_rows(self):
        """Centred rows and targets times the root of their weights."""
        x, y = self.x, self.y
        if self.fit_intercept:
            x = x - self.moments.mean_x[None]
            y = y - self.moments.mean_y[None]
        if self.weight is None:
            return x, y
        root = jnp.sqrt(self.weight)[:, None]
        return root * x, root * y


def _attach(problem, alpha, found):
    """`found`, with the derivative of the minimiser."""
    residual = lambda coef: problem.slope(coef, alpha)
    return implicit.root(residual, jnp.zeros_like(found), lambda _: (found, ()))[0]


def _tall(problem, alpha):
    """More rows than columns: the cheapest way that keeps the digits."""
    moments, gram = problem.moments, problem.gram
    back, definite = _inverse(gram, alpha)
    start = jnp.matmul(problem.cross, back, precision="highest")
    # Means far above the spread cancel in x coef: then a centred copy is worth it.
    far = moments.weight * moments.mean_x**2 > 100 * jnp.diagonal(moments.gram)
    far = far.any() & problem.fit_intercept

    def by_rows(_):
        coef = _refine(start, back, lambda coef: problem.slope(coef, alpha))
        return coef, near(coef)

    def by_centred_rows(_):
        rows, targets = problem.weighted_rows()

        def slope(coef):
            left = targets - jnp.matmul(rows, coef.T, precision="highest")
            pull = jnp.einsum("nt,nd->td", left, rows, precision="highest")
            return alpha * coef - pull

        coef = _refine(start, back, slope)
        return coef, near(coef)

    def near(coef):
        # After the passes over the rows: LAPACK's threads would disturb them.
        gram = jax.lax.optimization_barrier((problem.gram, coef))[0]
        return jnp.sqrt(jnp.maximum(jnp.linalg.eigvalsh(gram)[::-1], 0))

    def by_singular_values(_):
        rows, targets = problem.weighted_rows()
        return spectrum.least(rows, targets, gram, alpha)

    ways = (by_rows, by_centred_rows, by_singular_values)
    way = jnp.where(definite, far.astype(jnp.int32), 2)
    coef, singular = jax.lax.switch(way, ways, None)
    return coef, Spectrum(singular, spectrum.rank(singular))


def _inverse(gram, alpha):
    """(gram + αI)⁻¹, and whether it can be trusted."""
    d, eps, tiny = len(gram), jnp.finfo(gram.dtype).eps, jnp.finfo(gram.dtype).tiny
    eye = jnp.eye(d, dtype=gram.dtype)
    shifted = gram + alpha * eye
    scale = jax.lax.rsqrt(jnp.maximum(jnp.diagonal(shifted), tiny))
    even = scale[:, None] * shifted * scale[None]
    if d <= SMALL:
        middle, pivots = linalg.inverse(even)
    else:
        factor = jnp.linalg.cholesky(even)
        middle = jax.scipy.linalg.cho_solve((factor, True), eye)
        pivots = jnp.diagonal(factor) ** 2
    # By how much collinearity inflates a variance. A penalty forgives weak directions;
    # without it their digits count. (A NaN is not definite either.)
    inflation = jnp.diagonal(middle).max()
    limit = 1 / (30 * d * eps)
    definite = inflation < jnp.where(alpha > 0, limit, jnp.minimum(limit, eps**-0.35))
    return scale[:, None] * middle * scale[None], definite & (pivots > eps).all()


def _refine(coef, back, slope):
    """Newton steps by an inexact inverse, as many as bring the error to rounding."""

    def refine(coef):
        step = -jnp.matmul(slope(coef), back, precision="highest")
        return coef + step, jnp.abs(step).max()

    coef, step = refine(coef)
    # Each step multiplies the error by about the same factor. (No while loop: XLA would
    # copy the rows into it.)
    share = step / jnp.abs(coef).max()
    small = jnp.finfo(coef.dtype).eps ** 0.8
    more = lambda coef: refine(refine(coef)[0])[0]
    return jax.lax.cond(share**2 > small, more, lambda coef: coef, coef)


def _wide(problem, alpha):
    """More columns than rows: the dual, n unknowns for each target."""
    rows, targets = problem.weighted_rows()
    n = len(rows)
    eps = jnp.finfo(rows.dtype).eps
    with jax.default_matmul_precision("highest"):
        gram = rows @ rows.T + alpha * jnp.eye(n, dtype=rows.dtype)
        factor = jnp.linalg.cholesky(gram)
        pivots = jnp.diagonal(factor)
        definite = pivots.min() ** 2 > 30 * n * eps * pivots.max() ** 2

        def dual(_):
            invert = lambda right: jax.scipy.linalg.cho_solve((factor, True), right)
            weights = invert(targets)
            left = targets - rows @ (rows.T @ weights) - alpha * weights
            weights = weights + invert(left)
            values = jnp.linalg.eigvalsh(rows @ rows.T)[::-1]
            return weights.T @ rows, jnp.sqrt(jnp.maximum(values, 0))

        def by_singular_values(_):
            left, singular, right = jnp.linalg.svd(rows, full_matrices=False)
            gain = spectrum.gain(singular, alpha) * singular
            return (targets.T @ left * gain[None]) @ right, singular

        coef, singular = jax.lax.cond(definite, dual, by_singular_values, None)
    return coef, Spectrum(singular, spectrum.rank(singular))


def _sums(moments, fit_intercept):
    """Gram and cross product about the means, or about the origin."""
    if fit_intercept:
        return moments.gram, moments.cross
    weight, mean_x, mean_y = moments.weight, moments.mean_x, moments.mean_y
    gram = moments.gram + weight * jnp.outer(mean_x, mean_x)
    return gram, moments.cross + weight * jnp.outer(mean_y, mean_x)


def _intercept(moments, coef, fit_intercept):
    if not fit_intercept:
        return jnp.zeros(len(coef), coef.dtype)
    return moments.mean_y - jnp.matmul(coef, moments.mean_x, precision="highest")
