"""Kernel classifiers of one machine for each pair of classes: votes, probabilities.

The state and the predictions that `svc` and `nu_svc` share.

labels = one_vs_one.predict(model, x)
margins = one_vs_one.decision_function(model, x)
p = one_vs_one.predict_proba(model, x)

Letters: n rows, d features, k classes, p = k (k - 1) / 2 pairs, m new rows.

References:
    Chang and Lin, 2011. LIBSVM: a library for support vector machines. ACM TIST 2(3),
    section 7.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxml.models.classical import kernel_svm, platt
from jaxml.ops import check

__all__ = [
    "Classifier",
    "compact",
    "decision_function",
    "pairs",
    "predict",
    "predict_proba",
]


class Classifier(NamedTuple):
    """A fitted classifier. Rows that are no support vectors have zero coefficients."""

    support_vectors: Float[
        Array, "n d"
    ]  # all rows of the fit (none, d = 0: precomputed)
    dual_coef: Float[Array, "k_1 n"]  # against each other class, in order; [1, n]: two
    intercept: Float[
        Array, "p"
    ]  # pairs 01, 02, .., 12, ..: positive for the first class
    support: Int[Array, "n"]  # row number in the fit, -1: no support vector
    n_support: Int[Array, "k"]
    label: Int[Array, "n"]
    # P(first of the pair) = 1 / (1 + exp(A f + B)); empty without probabilities
    probA: Float[Array, "a"]  # noqa: N815
    probB: Float[Array, "a"]  # noqa: N815
    gamma: Float[Array, ""]
    coef0: Float[Array, ""]
    n_iter: Int[Array, "p"]
    converged: Bool[Array, ""]  # of all pairs
    kernel: kernel_svm.Kind  # no array


def pairs(n_classes: int) -> np.ndarray:
    """The pairs (first, second), [p, 2]."""
    return np.array(
        [(i, j) for i in range(n_classes) for j in range(i + 1, n_classes)], np.int32
    )


def compact(model: Classifier) -> Classifier:
    """Drop the rows that are no support vectors, and sort the others by class.

    The fields are then those of scikit-learn. It looks at the values: not under jit.
    """
    known = np.flatnonzero(np.asarray(model.support) >= 0)
    order = known[np.argsort(np.asarray(model.label)[known], kind="stable")]
    kept = kernel_svm.keep(model, order)
    return model._replace(label=model.label[order], **kept)


@jax.jit
def _pair_values(model, x):
    """f of every pair, [m, p]; of two classes positive for the second."""
    k = len(model.n_support)
    if k == 2:
        coef = model.dual_coef.T
    else:
        first, second = pairs(k).T
        label = model.label[None]
        coef = jnp.where(
            label == first[:, None],
            model.dual_coef[second - 1],
            jnp.where(label == second[:, None], model.dual_coef[first], 0),
        ).T
    return kernel_svm.values(model, x, coef) + model.intercept[None]


@partial(jax.jit, static_argnames=("decision_function_shape",))
def decision_function(
    model: Classifier,
    x: Float[Array, "m d"],
    *,
    decision_function_shape: str = "ovr",
) -> Float[Array, "..."]:
    """Compute the margins of every row of `x`.

    Args:
        model: a fitted classifier.
        x: rows; for a precomputed kernel, their kernel with all rows of the fit.
        decision_function_shape: "ovr", votes with the sum of margins as a fraction, or
            "ovo", a column for each pair, positive for its first class.

    Returns:
        [m] for two classes, positive for the second; else [m, k] or [m, p].

    Raises:
        ValueError: if the shape is unknown.
    """
    check.one_of("decision_function_shape", decision_function_shape, ("ovr", "ovo"))
    margins, k = _pair_values(model, x), len(model.n_support)
    if k == 2:
        return margins[:, 0]
    if decision_function_shape == "ovo":
        return margins
    votes, sums = _votes(margins, k)
    return votes + sums / (3 * (jnp.abs(sums) + 1))  # the fraction stays below 1 / 3


@partial(jax.jit, static_argnames=("break_ties", "decision_function_shape"))
def predict(
    model: Classifier,
    x: Float[Array, "m d"],
    *,
    break_ties: bool = False,
    decision_function_shape: str = "ovr",
) -> Int[Array, "m"]:
    """Label every row of `x` with the class that wins most pairs.

    Args:
        model: a fitted classifier.
        x: as in `decision_function`.
        break_ties: among equal votes the sum of the margins decides, not the order.
        decision_function_shape: must be "ovr" to break ties.

    Returns:
        Labels.

    Raises:
        ValueError: if ties shall be broken and the shape is not "ovr".
    """
    if break_ties and decision_function_shape != "ovr":
        raise ValueError(
            "decision_function_shape must be 'ovr' to break ties; "
            f"got {decision_function_shape!r}"
        )
    margins, k = _pair_values(model, x), len(model.n_support)
    if k == 2:
        return (margins[:, 0] >= 0).astype(jnp.int32)
    if break_ties:
        return decision_function(model, x).argmax(1).astype(jnp.int32)
    return _votes(margins, k)[0].argmax(1).astype(jnp.int32)


def _votes(margins, k):
    """Pairs won, and the sum of the margins, of every class."""
    both = pairs(k)
    first = jnp.asarray(np.eye(k)[both[:, 0]], margins.dtype)  # [p, k]
    second = jnp.asarray(np.eye(k)[both[:, 1]], margins.dtype)
    won = (margins > 0).astype(margins.dtype)
    product = partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
    return product(won, first) + product(1 - won, second), product(
        margins, first - second
    )


@jax.jit
def predict_proba(model: Classifier, x: Float[Array, "m d"]) -> Float[Array, "m k"]:
    """Estimate the probability of every class, of a fit with `probability=True`.

    Args:
        model: a fitted classifier.
        x: as in `decision_function`.

    Returns:
        Rows that sum to 1: sigmoids of the margins, coupled over the pairs.

    Raises:
        ValueError: if the fit did not estimate the sigmoids.
    """
    if model.probA.size == 0:
        raise ValueError("predict_proba needs a fit with probability=True; got False")
    margins, k = _pair_values(model, x), len(model.n_support)
    margins = -margins if k == 2 else margins  # positive for the first class
    first = jax.nn.sigmoid(-(margins * model.probA[None] + model.probB[None]))
    if k == 2:
        return jnp.concatenate([first, 1 - first], 1)
    return platt.couple(jnp.clip(first, 1e-7, 1 - 1e-7), pairs(k))
