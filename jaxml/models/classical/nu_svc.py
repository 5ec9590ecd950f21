"""Support vector classification where ν bounds the share of errors and supports.

model = nu_svc.fit(x, y, n_classes=3, nu=0.2, gamma=0.1)
labels = nu_svc.predict(model, x)
margins = nu_svc.decision_function(model, x)

Letters: n rows, d features, k classes, p = k (k - 1) / 2 pairs.

References:
    Schölkopf, Smola, Williamson and Bartlett, 2000. New support vector algorithms.
    Neural Computation 12.
    Chang and Lin, 2011. LIBSVM: a library for support vector machines. ACM TIST 2(3).
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxml.models.classical import kernel_svm, pair_fits
from jaxml.models.classical.kernel_svm import GRAM_LIMIT, Number
from jaxml.models.classical.one_vs_one import (
    Classifier,
    compact,
    decision_function,
    predict,
    predict_proba,
)
from jaxml.ops import check, kernels
from jaxml.optim import smo

__all__ = [
    "Classifier",
    "compact",
    "decision_function",
    "fit",
    "predict",
    "predict_proba",
]


def fit(
    x: Float[Array, "n d"],
    y: Int[Array, "n"],
    *,
    n_classes: int = 2,
    nu: Number = 0.5,
    kernel: kernels.Kernel = "rbf",
    degree: int = 3,
    gamma: str | Number = "scale",
    coef0: Number = 0.0,
    probability: bool = False,
    tol: Number = 1e-3,
    class_weight: Float[Array, "k"] | None = None,
    sample_weight: Float[Array, "n"] | None = None,
    max_iter: int = -1,
    gram_limit: int = GRAM_LIMIT,
    key: Key[Array, ""] | None = None,
) -> Classifier:
    """Fit min ½|w|² - ν ρ W + Σ w_i max(0, ρ - y_i f(x_i)), over ρ too, for every pair.

    W is the sum of the weights w. The functions are divided by ρ, as in LIBSVM.

    Args:
        x: rows. Kernels mix the units of all features: scale them first. The square
            Gram matrix where `kernel` is "precomputed".
        y: labels from 0 to n_classes - 1.
        n_classes: k.
        nu: at most this share of the rows is on the wrong side of the margin, and at
            least this share are support vectors; above 0 and at most 1. Above twice the
            share of the smaller class of a pair no machine exists: not converged.
        kernel: "linear", "poly", "rbf", "sigmoid", "precomputed", or a function from
            [n, d] and [m, d] to [n, m].
        degree: power of "poly".
        gamma: factor of the kernel; "scale" is 1 / (d variance of x), weighted by
            `sample_weight`, and "auto" is 1 / d.
        coef0: what "poly" and "sigmoid" add.
        probability: fit sigmoids for `predict_proba`, on margins of 5 held-out folds.
        tol: greatest violation of the optimality conditions at which to stop.
        class_weight: factor of the weight of the rows of each class.
        sample_weight: how much each row counts; 0 is an absent row.
        max_iter: bound on the steps of each pair; -1 is max(10⁷, 100 n).
        gram_limit: bytes up to which a Gram matrix is held whole. Rows that lie on
            several devices are not gathered for it: it is made row by row.
        key: random key of the folds, for `probability` alone.

    Returns:
        Support vectors and coefficients of all pairs.

        >>> x = jnp.array([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
        >>> model = fit(x, jnp.array([0, 0, 1, 1]), gamma=1.0)
        >>> predict(model, x)
        Array([0, 0, 1, 1], dtype=int32)

    Raises:
        ValueError: if shapes disagree, a choice is unknown, a number has no meaning, or
            a key is missing.
    """
    numbers = {"nu": nu, "tol": tol, "gamma": gamma, "degree": degree}
    kernel_svm.door(x, y, sample_weight, kernel, max_iter=max_iter, **numbers)
    check.labels(y, n_classes)
    if probability and key is None:
        raise ValueError("probability=True needs a key for its folds; got None")
    apart = kernel_svm.sharded(x)
    parts = None if n_classes == 2 or apart else pair_fits.groups(y, n_classes)
    return _fit(
        x,
        y,
        sample_weight,
        class_weight,
        nu,
        kernel_svm.width(x, gamma, sample_weight),
        coef0,
        tol,
        key if probability else None,
        parts,
        n_classes=n_classes,
        kernel=kernel,
        degree=degree,
        max_iter=kernel_svm.iterations(max_iter, len(x)),
        limit=gram_limit,
        sharded=apart,
    )


@partial(
    jax.jit,
    static_argnames=("n_classes", "kernel", "degree", "max_iter", "limit", "sharded"),
)
def _fit(
    x,
    y,
    weight,
    class_weight,
    nu,
    gamma,
    coef0,
    tol,
    key,
    parts,
    *,
    n_classes,
    kernel,
    degree,
    max_iter,
    limit,
    sharded,
):
    weight = jnp.ones(len(x), x.dtype) if weight is None else weight.astype(x.dtype)
    nu = jnp.asarray(nu, x.dtype)
    if class_weight is not None:
        weight = weight * class_weight.astype(x.dtype)[y]
    coef0 = jnp.asarray(coef0, x.dtype)
    folds = None
    if key is not None:
        folds = jax.random.permutation(key, len(x)) % pair_fits.FOLDS

    def gram(x):
        return kernel_svm.gram(
            x, kernel, gamma, degree, coef0, limit=limit, sharded=sharded
        )

    def machine(gram, sign, costs):
        # Both classes keep their sum: a side of the dual for each.
        high = jnp.where(jnp.stack([sign, -sign]) > 0, costs[None], 0)
        sums = high.sum(1)
        share = jnp.stack([jnp.ones((), x.dtype), -jnp.ones((), x.dtype)])[:, None]
        begin = smo.filled(high, 0.5 * nu * sums.sum())
        solution = smo.minimize(
            gram,
            jnp.zeros_like(high),
            jnp.where(share < 0, -high, 0),
            jnp.where(share > 0, high, 0),
            start=share * begin,
            tol=tol,
            max_iter=max_iter,
        )
        (beta, bias), info = solution
        # K β is ρ - b on the margin of the first class, and -ρ - b on the other.
        margin, level = 0.5 * (bias[1] - bias[0]), 0.5 * (bias[0] + bias[1])
        both = (sums > 0).all()
        enough = begin.sum(1) >= 0.5 * nu * sums.sum() * (1 - 1e-5)
        # Where a class has no rows, the other one is the answer.
        alone = jnp.where(sums[0] > 0, 1, jnp.where(sums[1] > 0, -1, jnp.nan))
        safe = jnp.where(both, margin, 1)
        coef = jnp.where(both, beta.sum(0) / safe, 0)
        found = info.converged & enough.all() & (margin > 0)
        converged = jnp.where(both, found, sums.any())
        return coef, jnp.where(both, level / safe, alone), info.n_iter, converged

    return pair_fits.fit(
        machine,
        gram,
        x,
        y,
        weight,
        weight,
        folds,
        parts,
        n_classes=n_classes,
        kernel=kernel,
        degree=degree,
        gamma=gamma,
        coef0=coef0,
    )
