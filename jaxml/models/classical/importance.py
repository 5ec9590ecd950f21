"""How much the features matter: to trees by their splits, to any model by shuffling.

    found = importance.permutation(ridge.predict, model, x, y, key=key)
    found.importances_mean                               # [d] loss of score
    shares = importance.of_trees(tree, d)                # [d], they sum to 1

Letters: n rows, d features, r repeats, t trees, m nodes.

References:
    Breiman, 2001. Random forests. Machine Learning 45, section 10. (permutation)
    Breiman, Friedman, Olshen and Stone, 1984. Classification and regression trees.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree, Shaped

from jaxml.ops import check
from jaxml.ops.trees import Trees

__all__ = ["Importance", "gains", "mean_of_trees", "of_trees", "permutation", "r2"]


class Importance(NamedTuple):
    """What the score loses where a feature is shuffled."""

    importances: Float[Array, "d r"]
    importances_mean: Float[Array, "d"]
    importances_std: Float[Array, "d"]


def permutation(
    predict: Callable[..., Array],
    model: PyTree,
    x: Float[Array, "n d"],
    y: Shaped[Array, "n *t"],
    *,
    key: Key[Array, ""],
    score: str | Callable[..., Array] | None = None,
    n_repeats: int = 5,
    sample_weight: Float[Array, "n"] | None = None,
    options: dict[str, Any] | None = None,
) -> Importance:
    """Measure what the score loses where one feature is shuffled over the rows.

    Args:
        predict: function of (model, x), such as `predict` of a module here.
        model: what it predicts with.
        x: features; best of rows that the model has not seen.
        y: targets, or labels.
        key: random key.
        score: "accuracy", "r2", or a function of (y, predicted, sample_weight), the
            greater the better. Default: "accuracy" of integers, "r2" of floats.
        n_repeats: how often each feature is shuffled.
        sample_weight: how much each row counts; the values of rows of weight 0 go
            nowhere. Default: 1.
        options: further keywords of `predict`, static.

    >>> x, y = jnp.array([[0.0, 1.0], [1.0, 1.0]]), jnp.array([0.0, 1.0])
    >>> first = lambda model, x: x[:, 0]
    >>> found = permutation(first, (), x, y, key=jax.random.key(0), n_repeats=3)
    >>> found.importances_mean[1]  # the second feature is not looked at
    Array(0., dtype=float32)

    Raises:
        ValueError: if the data do not fit together or `score` is unknown.
    """
    check.rows(x, y, sample_weight)
    check.size("n_repeats", n_repeats, 1)
    if score is None:
        score = "accuracy" if jnp.issubdtype(y.dtype, jnp.integer) else "r2"
    if not callable(score):
        check.one_of("score", score, tuple(_SCORES))
    static = tuple(sorted((options or {}).items()))
    sizes = {"n_repeats": n_repeats, "options": static}
    data = (model, x, y, sample_weight, key)
    return _permutation(*data, predict=predict, score=score, **sizes)


@partial(jax.jit, static_argnames=("predict", "score", "n_repeats", "options"))
def _permutation(
    model, x, y, weight, key, *, predict, score, n_repeats, options
) -> Importance:
    weight = jnp.ones(len(x), x.dtype) if weight is None else weight
    scored = _SCORES[score] if isinstance(score, str) else score

    def run(x):
        return scored(y, predict(model, x, **dict(options)), weight)

    def shuffled(item):
        feature, key = item
        column = x[:, feature][_shuffle(key, weight)]
        return run(x.at[:, feature].set(column))

    d = x.shape[1]
    pairs = jnp.repeat(jnp.arange(d), n_repeats)
    keys = jax.random.split(key, d * n_repeats)
    scores = jax.lax.map(shuffled, (pairs, keys)).reshape(d, n_repeats)
    lost = run(x) - scores
    return Importance(lost, lost.mean(1), lost.std(1))


def _shuffle(key, weight):
    """A random permutation of the rows that leaves those of weight 0 where they are."""
    n = len(weight)
    present = weight > 0
    here = jnp.argsort(~present, stable=True)  # absent rows last
    bits = jax.random.bits(key, (n,), jnp.uint32) >> 1
    # The first bits go to the rows of positive weight, so absent rows change nothing.
    last = jnp.asarray(1 << 31, bits.dtype)
    by = jnp.argsort(jnp.where(present[here], bits, last), stable=True)
    return jnp.zeros(n, jnp.int32).at[here].set(here[by].astype(jnp.int32))


def _accuracy(y, predicted, weight):
    return (weight * (y == predicted)).sum() / weight.sum()


def r2(
    y: Float[Array, "n *o"], predicted: Float[Array, "n *o"], weight: Float[Array, "n"]
) -> Float[Array, ""]:
    """The mean over the targets of 1 - squares left / squares."""
    y, predicted = y.reshape(len(y), -1), predicted.reshape(len(y), -1)
    w = weight[:, None]
    absent = w == 0
    center = jnp.where(absent, 0, w * y).sum(0, keepdims=True) / w.sum()
    whole = jnp.where(absent, 0, w * (y - center) ** 2).sum(0)
    left = jnp.where(absent, 0, w * (y - predicted) ** 2).sum(0)
    ratio = left / jnp.where(whole > 0, whole, 1)
    # Targets that do not vary: 1 where they are met, else 0, as in scikit-learn.
    return jnp.where(whole > 0, 1 - ratio, jnp.where(left > 0, 0.0, 1.0)).mean()


_SCORES = {"accuracy": _accuracy, "r2": r2}


def of_trees(trees: Trees, n_features: int) -> Float[Array, "*t d"]:
    """Share of each feature in what the splits of a tree take from its impurity.

    Args:
        trees: one tree, or many with leading axes.
        n_features: d.

    Returns:
        For each tree shares that sum to 1, or zeros for a tree without a split.
    """
    found = gains(trees, n_features)
    total = found.sum(-1, keepdims=True)
    return jnp.where(total > 0, found / jnp.where(total > 0, total, 1), 0)


def gains(trees: Trees, n_features: int) -> Float[Array, "*t d"]:
    """What the splits by each feature take from the mean impurity of the rows.

    Args:
        trees: one tree, or many with leading axes.
        n_features: d.
    """
    shape = trees.children_left.shape
    splits = trees.children_left >= 0
    loss = trees.weighted_n_node_samples * trees.impurity
    children = (trees.children_left, trees.children_right)
    left, right = (
        jnp.take_along_axis(loss, jnp.maximum(child, 0), -1) for child in children
    )
    gain = jnp.where(splits, loss - left - right, 0)
    count = trees.node_count.size
    place = jnp.maximum(trees.feature, 0).reshape(count, -1)
    place = place + n_features * jnp.arange(count, dtype=place.dtype)[:, None]
    flat = jnp.zeros(count * n_features, gain.dtype)
    flat = flat.at[place.reshape(-1)].add(gain.reshape(-1))  # one scatter for all trees
    return (
        flat.reshape(*shape[:-1], n_features) / trees.weighted_n_node_samples[..., :1]
    )


def mean_of_trees(shares: Float[Array, "t d"]) -> Float[Array, "d"]:
    """The mean over the trees that have splits, which sums to 1; or zeros."""
    total = shares.sum(0)
    whole = total.sum()
    return jnp.where(whole > 0, total / jnp.where(whole > 0, whole, 1), 0)
