"""Probabilities from decision values, by rows that the classifier has not seen.

    calibrator = calibration.fit(held_out_decision, y, method="isotonic")
    proba = calibration.predict_proba(calibrator, decision)

Methods: "sigmoid" (Platt), "isotonic" (a monotone function), "temperature" (one factor
for all classes). Of more than two classes, the first two treat each against the rest,
and divide by the sum.

Classifier and calibrator in one program: `cross_calibration`.

Letters: n rows, m new rows, k classes, c = 1 of two classes, else k.

References:
    Platt, 2000. Probabilities for SV machines. Advances in Large Margin Classifiers.
    Zadrozny and Elkan, 2002. Transforming classifier scores into accurate multiclass
    probability estimates. KDD.
    Guo et al., 2017. On calibration of modern neural networks. arXiv:1706.04599, eq. 9.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxml.models.classical import isotonic, platt
from jaxml.ops import check
from jaxml.optim import implicit

__all__ = [
    "Sigmoid",
    "Temperature",
    "fit",
    "predict_proba",
]

METHODS = ("sigmoid", "isotonic", "temperature")
SMALL = 1e-12  # the least inverse temperature that Newton may ask for
RANGE = 10.0  # bound on the logarithm of the inverse temperature


class Sigmoid(NamedTuple):
    """Probability 1 / (1 + exp(a decision + b)), for each class."""

    a: Float[Array, "c"]
    b: Float[Array, "c"]


class Temperature(NamedTuple):
    """Probabilities softmax(beta decision)."""

    beta: Float[Array, ""]  # inverse temperature


Calibrator = Sigmoid | Temperature | isotonic.Isotonic  # arrays of the last: [c, n]


def fit(
    decision: Float[Array, "n"] | Float[Array, "n k"],
    y: Int[Array, "n"],
    *,
    n_classes: int = 2,
    method: str = "sigmoid",
    sample_weight: Float[Array, "n"] | None = None,
) -> Calibrator:
    """Fit the map from decision values to probabilities.

    Args:
        decision: [n] for two classes, else [n, k]; of rows that the classifier did not
            learn from. Probabilities do for "sigmoid" and "isotonic"; "temperature"
            wants their logarithms, and of [n] makes (-decision, decision).
        y: labels from 0 to `n_classes` - 1.
        n_classes: how many classes there are.
        method: "sigmoid", "isotonic" or "temperature".
        sample_weight: how much each row counts; 0 is an absent row. Default: 1.

    >>> calibrator = fit(jnp.array([-2.0, -1.0, 1.0, 2.0]), jnp.array([0, 1, 0, 1]))
    >>> predict_proba(calibrator, jnp.array([0.0]))
    Array([[0.5, 0.5]], dtype=float32)

    Raises:
        ValueError: if the shapes do not fit, or `method` is unknown.
    """
    check.one_of("method", method, METHODS)
    check.labels(y, n_classes)
    wide = decision.ndim == 2 and decision.shape[1] == n_classes
    if not (decision.ndim == 1 and n_classes == 2) and not wide:
        raise ValueError(
            f"decision must be [n, {n_classes}]{', or [n]' if n_classes == 2 else ''}; "
            f"got shape {decision.shape}"
        )
    if wide and n_classes == 2 and method != "temperature":
        raise ValueError(f"decision of two classes must be [n]; got {decision.shape}")
    check.rows(decision.reshape(len(decision), -1), y, sample_weight)
    return _fit(decision, y, sample_weight, method=method)


@jax.jit
def predict_proba(
    model: Calibrator, decision: Float[Array, "m"] | Float[Array, "m k"]
) -> Float[Array, "m k"]:
    """Probability of every class.

    Args:
        model: a fitted calibrator.
        decision: values of the classifier, in the shape that it was fitted to.
    """
    if isinstance(model, Temperature):
        return jax.nn.softmax(model.beta * _logits(decision), axis=1)
    columns = decision[None] if decision.ndim == 1 else decision.T  # [c, m]
    if isinstance(model, Sigmoid):
        positive = jax.nn.sigmoid(-(model.a[:, None] * columns + model.b[:, None]))
    else:
        positive = jax.vmap(partial(isotonic.predict, out_of_bounds="clip"))(
            model, columns
        )
    if decision.ndim == 1:
        return jnp.stack([1 - positive[0], positive[0]], axis=1)
    total, k = positive.sum(0), len(positive)
    safe = jnp.where(total == 0, 1, total)
    return jnp.where((total == 0)[None], 1 / k, positive / safe[None]).T


@partial(jax.jit, static_argnames=("method",))
def _fit(decision, y, weight, *, method):
    weight = jnp.ones(len(decision)) if weight is None else weight
    weight = weight.astype(decision.dtype)
    absent = (weight == 0).reshape(-1, *[1] * (decision.ndim - 1))
    decision = jnp.where(absent, 0, decision)
    if method == "temperature":
        return _cool(_logits(decision), y, weight)
    if decision.ndim == 1:
        columns, positive = decision[None], (y == 1)[None]
    else:
        columns = decision.T
        positive = y[None] == jnp.arange(len(columns))[:, None]
    if method == "isotonic":
        one = lambda column, hit: isotonic.fit(
            column, hit.astype(column.dtype), sample_weight=weight
        )
        return jax.vmap(one)(columns, positive)
    # Without the unit of the decision, whose square would spoil the Newton equations.
    scale = jax.lax.stop_gradient(jnp.abs(columns).max(1))
    scale = jnp.where(scale > 0, scale, 1)
    ab = jax.vmap(platt.sigmoid, (0, 0, None))(
        columns / scale[:, None], positive, weight
    )
    return Sigmoid(ab[:, 0] / scale, ab[:, 1])


def _cool(logits, y, weight):
    """Least log loss in the inverse temperature, which is convex: Newton, bracketed."""
    own = jnp.take_along_axis(logits, y[:, None], axis=1)[:, 0]

    def slope(beta):
        proba = jax.nn.softmax(beta * logits, axis=1)
        return weight @ ((proba * logits).sum(1) - own)

    def at(theta):
        bound = jnp.where(theta > 0, RANGE, -RANGE)
        return jnp.where(jnp.abs(theta) >= RANGE, theta - bound, slope(jnp.exp(theta)))

    def improve(carry):
        theta, low, high, _, n_iter = carry
        beta = jnp.exp(theta)
        value, curve = jax.value_and_grad(slope)(beta)
        low, high = jnp.where(value < 0, theta, low), jnp.where(value < 0, high, theta)
        newton = jnp.log(jnp.maximum(beta - value / curve, SMALL))
        middle = (low + high) / 2
        inside = (newton > low) & (newton < high)
        moved = jnp.where(value == 0, theta, jnp.where(inside, newton, middle))
        return moved, low, high, jnp.abs(moved - theta), n_iter + 1

    def solve(theta):
        eps = 4 * jnp.finfo(theta.dtype).eps
        ends = jnp.full_like(theta, -RANGE), jnp.full_like(theta, RANGE)
        theta, *_ = jax.lax.while_loop(
            lambda c: (c[3] > eps) & (c[4] < 100),
            improve,
            (theta, *ends, jnp.full_like(theta, jnp.inf), 0),
        )
        beyond = jnp.where(slope(jnp.exp(ends[1])) < 0, ends[1], theta)
        return jnp.where(slope(jnp.exp(ends[0])) > 0, ends[0], beyond), ()

    theta, _ = implicit.root(at, jnp.zeros((), logits.dtype), solve)
    return Temperature(jnp.exp(theta))


def _logits(decision):
    return jnp.stack([-decision, decision], 1) if decision.ndim == 1 else decision
