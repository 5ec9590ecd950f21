"""Losses that optax lacks, or that need a guard: one number for each example.

    values = cross_entropy(logits, labels, label_smoothing=0.1)       # [batch]
    loss = weighted_mean(values, batch["weight"])

The rest are in `optax.losses` and right there: `huber_loss`, `log_cosh`,
`kl_divergence` (of a log-probability), `sigmoid_binary_cross_entropy`, `hinge_loss`
(two classes), `ctc_loss`, `cosine_similarity`, `squared_error`. Those that are one
number for each output are averaged over the last axis by the caller.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

__all__ = [
    "cross_entropy",
    "multi_margin",
    "poisson_nll",
    "smooth_l1",
    "soft_cross_entropy",
    "weighted_mean",
]


def weighted_mean(
    values: Float[Array, "*batch"], weight: Float[Array, "*batch"] | None = None
) -> Float[Array, ""]:
    """Mean of what has weight; 0 if nothing has.

    Where the weight is 0 the value counts for nothing even if it is NaN, and its
    gradient is 0.

    Args:
        values: one for each example.
        weight: at least 0, 0 for padding; all 1 if None.

    >>> float(weighted_mean(jnp.array([1.0, 3.0, jnp.nan]), jnp.array([1.0, 1.0, 0])))
    2.0
    """
    if weight is None:
        return values.mean()
    total = jnp.where(weight > 0, values * weight, 0).sum()
    # 1 stands in for a total of 0, or the gradient would be 0/0.
    mass = weight.sum()
    return total / jnp.where(mass > 0, mass, 1)


def cross_entropy(
    logits: Float[Array, "*batch k"],
    labels: Int[Array, "*batch"],
    *,
    label_smoothing: float | Float[Array, ""] = 0.0,
) -> Float[Array, "*batch"]:
    """Minus the log-probability that softmax gives to the label, in float32 at least.

    A label that is no class (below 0, or k and above) makes its loss NaN: an index
    that JAX would clamp, or count from the end, must not pass in silence.

    Args:
        logits: unnormalised log-probabilities, class last.
        labels: classes, from 0 to k - 1.
        label_smoothing: share of the target, 0 to 1, spread evenly over all classes.

    References:
        Szegedy et al., 2015. Label smoothing. arXiv:1512.00567 (section 7).

    >>> logits = jnp.array([[2.0, 0.0], [2.0, 0.0]])
    >>> cross_entropy(logits, jnp.array([0, -1])).round(4)
    Array([0.1269,    nan], dtype=float32)
    """
    logits = _wide(logits)
    k = logits.shape[-1]
    # Safe under where: the clipped label has a finite loss and gradient.
    chosen = jnp.clip(labels, 0, k - 1)[..., None]
    normaliser = jax.nn.logsumexp(logits, axis=-1)
    picked = jnp.take_along_axis(logits, chosen, axis=-1)[..., 0]
    smooth = normaliser - logits.mean(-1)
    values = (1 - label_smoothing) * (normaliser - picked) + label_smoothing * smooth
    return jnp.where((labels >= 0) & (labels < k), values, jnp.nan)


def soft_cross_entropy(
    logits: Float[Array, "*batch k"], targets: Float[Array, "*batch k"]
) -> Float[Array, "*batch"]:
    """Cross-entropy against a distribution over the classes (one-hot, mixed, taught).

    Args:
        logits: unnormalised log-probabilities, class last.
        targets: probabilities, class last. They need not sum to 1: a class weight
            may be multiplied in.
    """
    return -(targets * jax.nn.log_softmax(_wide(logits))).sum(-1)


def smooth_l1(
    prediction: Float[Array, "..."],
    target: Float[Array, "..."],
    *,
    beta: float | Float[Array, ""] = 1.0,
) -> Float[Array, "..."]:
    """Absolute error, made quadratic below `beta`; Huber's loss over `beta`.

    Args:
        prediction: numbers.
        target: the truth, of the same shape.
        beta: error at which the loss turns from quadratic to linear, above 0.

    References:
        Girshick, 2015. Fast R-CNN. arXiv:1504.08083 (eq. 3).
    """
    _same(prediction, target)
    error = jnp.abs(prediction - target)
    return jnp.where(error < beta, 0.5 * error**2 / beta, error - 0.5 * beta)


def multi_margin(
    scores: Float[Array, "*batch k"],
    labels: Int[Array, "*batch"],
    *,
    margin: float | Float[Array, ""] = 1.0,
) -> Float[Array, "*batch"]:
    """Hinge loss over classes, the mean of max(0, margin - score + other score).

    A label that is no class makes its loss NaN.

    Args:
        scores: score of each class, class last.
        labels: classes, from 0 to k - 1.
        margin: lead that the right class should have.

    References:
        Weston and Watkins, 1999. Support vector machines for multi-class pattern
        recognition (over k - 1 classes; divided by k here, as in torch).
    """
    k = scores.shape[-1]
    chosen = jnp.clip(labels, 0, k - 1)[..., None]
    right = jnp.take_along_axis(scores, chosen, axis=-1)
    behind = jnp.maximum(0, margin - right + scores)
    behind = jnp.where(jax.nn.one_hot(labels, k, dtype=bool), 0, behind)
    return jnp.where((labels >= 0) & (labels < k), behind.mean(-1), jnp.nan)


def poisson_nll(
    log_rate: Float[Array, "..."], count: Float[Array, "..."]
) -> Float[Array, "..."]:
    """Minus the log-likelihood of counts, but for the constant log(count!).

    Args:
        log_rate: logarithm of the expected count.
        count: what was counted, at least 0, of the same shape.
    """
    _same(log_rate, count)
    return jnp.exp(log_rate) - count * log_rate


def _wide(logits):
    """At least float32: the sum of exponentials needs the digits."""
    return logits.astype(jnp.promote_types(logits.dtype, jnp.float32))


def _same(prediction, target):
    if prediction.shape != target.shape:
        raise ValueError(
            "prediction and target must have one shape; "
            f"got {list(prediction.shape)} and {list(target.shape)}"
        )
