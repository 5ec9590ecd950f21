"""What is taken for what: confusion matrices, and the scores that they hold.

    confusion = metrics.confusion_matrix(prediction, label, 3, weight)
    metrics.f1(confusion)                                  # of each class
    metrics.f1(confusion, average="macro")

    tables = metrics.multilabel_confusion(prediction, target, weight)   # [t, 2, 2]
    metrics.f1(tables, average="macro")

Matrices of batches add up, so every score of them can be had over all. A share of
nothing is 0.

Letters: b examples, k classes, t labels of an example.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped

from jaxml.metrics import means

__all__ = [
    "balanced_accuracy",
    "cohen_kappa",
    "confusion_matrix",
    "f1",
    "f_beta",
    "jaccard",
    "matthews",
    "multilabel_confusion",
    "precision",
    "recall",
]

Table = Float[Array, "k k"] | Float[Array, "t 2 2"]
Score = Float[Array, "..."]
AVERAGES = (None, "binary", "macro", "micro", "weighted")


def confusion_matrix(
    prediction: Int[Array, "b"],
    label: Int[Array, "b"],
    num_classes: int,
    weight: Shaped[Array, "b"] | None = None,
    *,
    normalize: str | None = None,
) -> Float[Array, "k k"]:
    """Weight of the examples by (label, prediction).

    The sum over batches is that of all, as long as it is not normalised.

    Args:
        prediction: classes from 0 to `num_classes` - 1.
        label: the true ones. An example outside the classes, here or in `prediction`,
            makes its nearest cell NaN, unless its weight is 0.
        num_classes: k.
        weight: how much each example counts. Default: 1. To see the errors alone:
            `prediction != label`.
        normalize: what sums to 1: "true" each row, "pred" each column, "all" the whole.
            Default: nothing.

    >>> confusion_matrix(jnp.array([0, 1, 1]), jnp.array([0, 1, 0]), 2)
    Array([[1., 1.],
           [0., 1.]], dtype=float32)
    """
    means.same_shape(prediction, label)
    weight = jnp.ones(label.shape) if weight is None else means.spread(weight, label)
    known = (jnp.minimum(prediction, label) >= 0) & (
        jnp.maximum(prediction, label) < num_classes
    )
    row, column = (jnp.clip(x, 0, num_classes - 1) for x in (label, prediction))
    cells = jax.ops.segment_sum(
        means.weighted(weight, jnp.where(known, 1.0, jnp.nan)),
        row * num_classes + column,
        num_classes**2,
    )
    return _normalized(cells.reshape(num_classes, num_classes), normalize)


def multilabel_confusion(
    prediction: Shaped[Array, "b t"],
    target: Shaped[Array, "b t"],
    weight: Shaped[Array, "b"] | None = None,
    *,
    samplewise: bool = False,
) -> Float[Array, "... 2 2"]:
    """Confusion matrices of labels that an example may have several of.

    Args:
        prediction: whether each label was predicted, 0 or 1.
        target: whether the example has it.
        weight: how much each example counts. Default: 1.
        samplewise: False: a matrix for each label, [t, 2, 2]. True: for each example,
            [b, 2, 2]; a score of these is averaged by `metrics.mean(score, weight)`.

    >>> multilabel_confusion(jnp.array([[1, 0]]), jnp.array([[1, 1]]))[1]
    Array([[0., 0.],
           [1., 0.]], dtype=float32)
    """
    means.same_shape(prediction, target)
    weight = jnp.ones(target.shape) if weight is None else means.spread(weight, target)
    said, true = prediction > 0, target > 0
    cells = [
        means.weighted(weight, (true == t) & (said == s)).sum(1 if samplewise else 0)
        for t in (False, True)
        for s in (False, True)
    ]
    return jnp.stack(cells, axis=-1).reshape(-1, 2, 2)


def precision(confusion: Table, *, average: str | None = None) -> Score:
    """Of what was predicted as each class, the share that is; 0 if nothing was.

    Args:
        confusion: [k, k] of classes, or [t, 2, 2] of labels.
        average: None: a score for each class. "macro": their mean, over the classes
            that occur. "weighted": their mean by how often each class is true. "micro":
            the score of all decisions together. "binary": that of class 1.

    Raises:
        ValueError: if `average` is unknown.
    """
    right, said, _ = _counts(confusion, average)
    return _averaged(_share(right, said), confusion, average)


def recall(confusion: Table, *, average: str | None = None) -> Score:
    """Of what is of each class, the share that was found; 0 if nothing is.

    Args:
        confusion: as in `precision`.
        average: as in `precision`.
    """
    right, _, true = _counts(confusion, average)
    return _averaged(_share(right, true), confusion, average)


def f1(confusion: Table, *, average: str | None = None) -> Score:
    """Harmonic mean of `precision` and `recall` of each class.

    Args:
        confusion: as in `precision`.
        average: as in `precision`.
    """
    return f_beta(confusion, 1.0, average=average)


def f_beta(
    confusion: Table,
    beta: float | Float[Array, ""] = 1.0,
    *,
    average: str | None = None,
) -> Score:
    """Harmonic mean of precision and recall, recall weighted by `beta` squared.

    Args:
        confusion: as in `precision`.
        beta: above 1 recall counts more, below 1 precision.
        average: as in `precision`.
    """
    right, said, true = _counts(confusion, average)
    both = _share((1 + beta**2) * right, said + beta**2 * true)
    return _averaged(both, confusion, average)


def jaccard(confusion: Table, *, average: str | None = None) -> Score:
    """Of what is of a class or was predicted as it, the share that is both.

    Args:
        confusion: as in `precision`.
        average: as in `precision`.
    """
    right, said, true = _counts(confusion, average)
    return _averaged(_share(right, said + true - right), confusion, average)


def balanced_accuracy(
    confusion: Float[Array, "k k"], *, adjusted: bool = False
) -> Float[Array, ""]:
    """Mean of the recall of the classes that occur.

    Args:
        confusion: [k, k] of classes.
        adjusted: whether it is scaled so that chance is 0 and 1 stays 1.
    """
    occurs = confusion.sum(1) > 0
    score = jnp.where(occurs, recall(confusion), 0).sum() / occurs.sum()
    chance = 1 / occurs.sum()
    return (score - chance) / (1 - chance) if adjusted else score


def matthews(confusion: Float[Array, "k k"]) -> Float[Array, ""]:
    """Correlation of predictions and labels, from -1 to 1; 0 where one is constant."""
    total = confusion.sum()
    share = confusion / jnp.where(total > 0, total, 1)
    true, said = share.sum(1), share.sum(0)
    joint = jnp.trace(share) - true @ said
    spread = (1 - said @ said) * (1 - true @ true)
    # Below rounding one of them is constant.
    known = spread > (4 * jnp.finfo(share.dtype).eps) ** 2
    return jnp.where(known, joint / jnp.sqrt(jnp.where(known, spread, 1)), 0)


def cohen_kappa(
    confusion: Float[Array, "k k"], *, weights: str | None = None
) -> Float[Array, ""]:
    """Agreement beyond that of chance: 1 less the ratio of the disagreements.

    Args:
        confusion: [k, k] of classes.
        weights: how much a disagreement counts: None each the same, "linear" by the
            distance of the classes, "quadratic" by its square.

    Raises:
        ValueError: if `weights` is unknown.
    """
    _one_of("weights", weights, (None, "linear", "quadratic"))
    place = jnp.arange(len(confusion), dtype=confusion.dtype)
    gap = jnp.abs(place[:, None] - place[None])
    if weights is None:
        gap = (gap > 0).astype(confusion.dtype)
    elif weights == "quadratic":
        gap = gap**2
    chance = jnp.outer(confusion.sum(1), confusion.sum(0)) / confusion.sum()
    return 1 - (gap * confusion).sum() / (gap * chance).sum()


def _normalized(table, over):
    _one_of("normalize", over, (None, "true", "pred", "all"))
    if over is None:
        return table
    axis = {"true": 1, "pred": 0, "all": None}[over]
    return _share(table, jnp.broadcast_to(table.sum(axis, keepdims=True), table.shape))


def _counts(table, average):
    """(right, predicted, true) for each class, or of all for "micro"."""
    _one_of("average", average, AVERAGES)
    if table.ndim == 3:
        counts = table[:, 1, 1], table[:, :, 1].sum(1), table[:, 1, :].sum(1)
    else:
        counts = jnp.diagonal(table), table.sum(0), table.sum(1)
    if average == "micro":
        return tuple(count.sum(keepdims=True) for count in counts)
    return counts


def _averaged(score, table, average):
    if average is None:
        return score
    if average == "micro":
        return score[0]
    if average == "binary":
        if table.shape != (2, 2):
            raise ValueError(
                "average 'binary' needs the confusion of two classes [2, 2]; "
                f"got shape {table.shape}"
            )
        return score[1]
    _, said, true = _counts(table, None)
    # All labels of an example count; of classes, those that occur.
    occurs = jnp.ones_like(true) if table.ndim == 3 else (said + true > 0)
    mass = true if average == "weighted" else occurs.astype(score.dtype)
    return _share((mass * score).sum(), mass.sum())


def _share(part, whole):
    return jnp.where(whole == 0, 0.0, part / jnp.where(whole == 0, 1.0, whole))


def _one_of(name, value, choices):
    if value not in choices:
        raise ValueError(f"{name} must be one of {choices}; got {value!r}")
