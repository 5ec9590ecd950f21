"""Support vector classification with a kernel: one soft-margin machine for each pair.

model = svc.fit(x, y, n_classes=3, C=10.0, gamma=0.1)
labels = svc.predict(model, x)
margins = svc.decision_function(model, x)

Letters: n rows, d features, k classes, p = k (k - 1) / 2 pairs.

References:
    Cortes and Vapnik, 1995. Support-vector networks. Machine Learning 20.
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
    C: Number = 1.0,  # noqa: N803
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
    """Fit min ½|w|² + Σ C_i max(0, 1 - y_i f(x_i)) for every pair of classes.

    Args:
        x: rows. Kernels mix the units of all features: scale them first. The square
            Gram matrix where `kernel` is "precomputed".
        y: labels from 0 to n_classes - 1.
        n_classes: k.
        C: weight of the losses against the margin, above 0.
        kernel: "linear", "poly", "rbf", "sigmoid", "precomputed", or a function from
            [n, d] and [m, d] to [n, m].
        degree: power of "poly".
        gamma: factor of the kernel; "scale" is 1 / (d variance of x), weighted by
            `sample_weight`, and "auto" is 1 / d.
        coef0: what "poly" and "sigmoid" add.
        probability: fit sigmoids for `predict_proba`, on margins of 5 held-out folds.
        tol: greatest violation of the optimality conditions at which to stop.
        class_weight: factor of C for each class.
        sample_weight: factor of C for each row; 0 is an absent row.
        max_iter: bound on the steps of each pair; -1 is max(10⁷, 100 n).
        gram_limit: bytes up to which a Gram matrix is held whole. Rows that lie on
            several devices are not gathered for it: it is made row by row.
        key: random key of the folds, for `probability` alone.

    Returns:
        Support vectors and coefficients of all pairs.

        >>> x = jnp.array([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
        >>> model = fit(x, jnp.array([0, 0, 1, 1]), gamma=1.0, C=10.0)
        >>> predict(model, x)
        Array([0, 0, 1, 1], dtype=int32)

    Raises:
        ValueError: if shapes disagree, a choice is unknown, a number has no meaning, or
            a key is missing.
    """
    numbers = {"C": C, "tol": tol, "gamma": gamma, "degree": degree}
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
        C,
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
    cost,
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
    costs = weight * jnp.asarray(cost, x.dtype)
    if class_weight is not None:
        costs = costs * class_weight.astype(x.dtype)[y]
    coef0 = jnp.asarray(coef0, x.dtype)
    folds = None
    if key is not None:
        folds = jax.random.permutation(key, len(x)) % pair_fits.FOLDS

    def gram(x):
        return kernel_svm.gram(
            x, kernel, gamma, degree, coef0, limit=limit, sharded=sharded
        )

    def machine(gram, sign, costs):
        solution = smo.minimize(
            gram,
            -sign.astype(x.dtype)[None],
            jnp.where(sign < 0, -costs, 0)[None],
            jnp.where(sign > 0, costs, 0)[None],
            tol=tol,
            max_iter=max_iter,
        )
        (beta, bias), info = solution
        return beta[0], bias[0], info.n_iter, info.converged

    return pair_fits.fit(
        machine,
        gram,
        x,
        y,
        costs,
        weight,
        folds,
        parts,
        n_classes=n_classes,
        kernel=kernel,
        degree=degree,
        gamma=gamma,
        coef0=coef0,
    )
