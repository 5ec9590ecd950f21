"""The fits of all pairs of classes of a kernel classifier.

What `svc` and `nu_svc` share; the dual of one pair is theirs:
machine(gram, sign, costs) -> coefficients [n], bias, steps, converged.

Letters: n rows, d features, k classes, p = k (k - 1) / 2 pairs, c rows of the largest
class.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxml.models.classical import kernel_svm, platt
from jaxml.models.classical.one_vs_one import Classifier, pairs
from jaxml.ops import kernels
from jaxml.optim.gram import Gram

__all__ = ["fit", "groups"]

FOLDS = 5  # of the margins that probabilities are fitted on


def fit(
    machine: Callable[[Gram, Array, Array], tuple],
    gram: Callable[[Array], Gram],
    x: Float[Array, "n d"],
    y: Int[Array, "n"],
    costs: Float[Array, "n"],
    weight: Float[Array, "n"],
    folds: Int[Array, "n"] | None,
    parts: tuple | None,
    *,
    n_classes: int,
    kernel: kernels.Kernel,
    degree: int,
    gamma: Float[Array, ""],
    coef0: Float[Array, ""],
) -> Classifier:
    """Fit the machine of every pair.

    Args:
        machine: from a Gram matrix, a sign for each row (1, -1, or 0: absent) and costs
            to a solution of the dual.
        gram: from rows to their Gram matrix.
        x: rows.
        y: labels.
        costs: of the rows, as the machine takes them; 0 is an absent row.
        weight: how much each row counts in the fit of probabilities.
        folds: fold of each row, for probabilities; None for none.
        parts: what `groups` tells of the labels; None solves each pair on all rows.
        n_classes: k.
        kernel: for the state.
        degree: for the state.
        gamma: for the state.
        coef0: for the state.

    Returns:
        The state.
    """

    def solve(gram, sign, rows):
        own = costs if rows is None else costs[rows]
        own = jnp.where(sign != 0, own, 0)
        beta, bias, n_iter, converged = machine(gram, sign, own)
        sigmoid = jnp.zeros(0, x.dtype)
        if folds is not None:
            fold = folds if rows is None else folds[rows]
            counts = weight if rows is None else weight[rows]
            counts = jnp.where(sign != 0, counts, 0)
            first = -1 if n_classes == 2 else 1  # the sign of the first class
            margin = first * _held_out(machine, gram, sign, own, fold)
            sigmoid = platt.sigmoid(margin, first * sign > 0, counts)
        return beta, (bias, n_iter, converged, sigmoid)

    if parts is None:
        coef, rest = _masked(solve, gram(x), y, n_classes)
    else:

        def of(rows):
            return gram(x[rows][:, rows] if kernel == "precomputed" else x[rows])

        rows, present, slot = parts
        coef, rest = _grouped(solve, of, rows, present, slot, y)
    return _assemble(
        x, y, coef, rest, n_classes, kernel_svm.Kind(kernel, degree), gamma, coef0
    )


def _held_out(machine, gram, sign, costs, fold):
    """The margin of each row by a machine that has not seen its fold."""

    def one(number):
        seen = jnp.where(fold == number, 0, costs)
        beta, bias, _, _ = machine(gram, sign, seen)
        return jnp.where(fold == number, gram.product(beta) + bias, 0)

    return jax.lax.map(one, jnp.arange(FOLDS)).sum(0)


def _table(n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """For each class and each other class in order: their pair, and the place in it."""
    number = {tuple(pair): p for p, pair in enumerate(pairs(n_classes).tolist())}
    others = [[b for b in range(n_classes) if b != a] for a in range(n_classes)]
    pair = [[number[min(a, b), max(a, b)] for b in o] for a, o in enumerate(others)]
    place = [[int(b < a) for b in o] for a, o in enumerate(others)]
    return np.array(pair), np.array(place)


def _masked(solve, gram, y, n_classes):
    """Every pair on all rows; those of other classes are absent.

    Returns:
        dual_coef [k - 1, n] and the other results, each with a leading axis of pairs.
    """
    if n_classes == 2:  # the second class is the positive one, as in scikit-learn
        coef, rest = solve(gram, jnp.where(y == 1, 1, -1), None)
        return coef[None], jax.tree.map(lambda leaf: leaf[None], rest)

    def one(pair):
        sign = (y == pair[0]).astype(jnp.int32) - (y == pair[1])
        return solve(gram, sign, None)

    coef, rest = jax.lax.map(one, jnp.asarray(pairs(n_classes)))
    own = jnp.asarray(_table(n_classes)[0])[y]  # [n, k - 1]
    return jnp.take_along_axis(coef.T, own, 1).T, rest


def _grouped(solve, gram, rows, present, slot, y):
    """Every pair on the rows of its two classes alone; returns as `_masked`."""
    k = len(rows)
    signs = present.astype(jnp.int32)

    def one(pair):
        first, second = pair
        these = jnp.concatenate([rows[first], rows[second]])
        sign = jnp.concatenate([signs[first], -signs[second]])
        coef, rest = solve(gram(these), sign, these)
        return coef.reshape(2, -1), rest

    coef, rest = jax.lax.map(one, jnp.asarray(pairs(k)))
    pair, place = _table(k)
    by_class = coef[pair, place]  # [k, k - 1, c]
    return by_class[y, :, slot].T, rest


def groups(y: Any, n_classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Group the rows by class, where `y` can be looked at.

    Args:
        y: labels.
        n_classes: k.

    Returns:
        Row numbers of each class [k, c], which of these are rows (the others fill up),
        and the place of each row in its class [n]; None for traced labels.
    """
    try:
        label = np.asarray(y)
    except jax.errors.TracerArrayConversionError:
        return None
    count = np.bincount(label, minlength=n_classes)
    # a multiple of an eighth of a power of two: folds of one size share their program
    step = max(8, 2 ** int(np.log2(max(count.max(), 1))) // 8)
    size = -(-int(count.max()) // step) * step
    order = np.argsort(label, kind="stable")
    begin = np.cumsum(count) - count
    slot = np.empty(len(label), np.int32)
    slot[order] = np.arange(len(label)) - begin[label[order]]
    rows = np.zeros((n_classes, size), np.int32)
    rows[label, slot] = np.arange(len(label))
    return rows, np.arange(size)[None] < count[:, None], slot


def _assemble(x, y, dual_coef, rest, n_classes, kind, gamma, coef0):
    """The state, from the results of all pairs."""
    intercept, n_iter, converged, sigmoid = rest
    support = kernel_svm.numbering(dual_coef)
    of = (y[None] == jnp.arange(n_classes)[:, None]) & (support >= 0)[None]
    return Classifier(
        support_vectors=x[:, :0] if kind.name == "precomputed" else x,
        dual_coef=dual_coef,
        intercept=intercept,
        support=support,
        n_support=of.sum(1).astype(jnp.int32),
        label=y.astype(jnp.int32),
        probA=sigmoid[:, 0] if sigmoid.size else sigmoid.ravel(),
        probB=sigmoid[:, 1] if sigmoid.size else sigmoid.ravel(),
        gamma=gamma,
        coef0=coef0,
        n_iter=n_iter,
        converged=converged.all(),
        kernel=kind,
    )
