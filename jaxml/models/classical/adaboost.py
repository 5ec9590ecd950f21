"""What AdaBoost for classes and for numbers share: its models, one after another.

    fit, predict = adaboost.learner(estimator, x, weight, options, n_classes=3, ...)
    state, (models, found) = adaboost.run(step, state, keys)

The models are trees if no module is given: features are binned once, and all trees are
one `Trees`. Of a module every array gets an axis of t models in front.

Letters: n rows, d features, t models, k classes, m nodes.
"""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree, Shaped

from jaxml.models.classical import cart, importance
from jaxml.models.classical import estimator as inner
from jaxml.ops import bins, native
from jaxml.ops import trees as tree_ops
from jaxml.ops.trees import Trees

__all__ = [
    "Learner",
    "blank",
    "check_options",
    "choices",
    "importances",
    "learner",
    "predictor",
    "run",
]


class Learner(NamedTuple):
    """How one model is fitted and predicts."""

    fit: Callable[..., PyTree]  # (y, weight, key) -> model
    predict: Callable[..., Array]  # (model, x) -> labels or numbers [m]


def check_options(estimator: Any, options: inner.Options, key: Any) -> None:
    """Refuse options that the default trees do not have, and a key that lacks.

    Raises:
        ValueError: saying what is right and what came.
    """
    wanted = _key_of(estimator)
    if wanted is not None and wanted.default is wanted.empty and key is None:
        name = getattr(estimator, "__name__", estimator)
        raise ValueError(f"key must be a random key, for {name}; got None")
    unknown = set(options or {}) - {"max_depth", "max_leaf_nodes"}
    if estimator is None and unknown:
        raise ValueError(
            "options of the default trees must be max_depth or max_leaf_nodes (give "
            f"the module of a model to set others); got {sorted(unknown)}"
        )


def learner(
    estimator: Any,
    x: Float[Array, "n d"],
    weight: Float[Array, "n"] | None,
    options: inner.Options,
    *,
    n_classes: int,
    max_bins: int,
    depth: int,
    kernel: bool,
    draws: bool,
) -> Learner:
    """The functions of a module, or those of trees over `x`, which is binned here.

    Args:
        estimator: a module, or None.
        x: features.
        weight: of each row at the start.
        options: what `fit` is given.
        n_classes: k, or 0 for numbers.
        max_bins: of the features, for trees.
        depth: of the trees, where `options` do not say it.
        kernel: whether trees grow in a native kernel.
        draws: whether `fit` is given a key.
    """
    if estimator is None:
        return _trees(x, weight, options, n_classes, max_bins, depth, kernel)
    given = dict(options or {})
    if n_classes > 2:
        given.setdefault("n_classes", n_classes)

    def fit(y, weight, key):
        key = key if draws else None
        return inner.fit(estimator, x, y, given, sample_weight=weight, key=key)

    return Learner(fit, estimator.predict)


def _key_of(estimator: Any) -> inspect.Parameter | None:
    """The parameter of the `fit` of a module that is a random key."""
    if estimator is None:
        return None
    return inspect.signature(estimator.fit).parameters.get("key")


def _trees(x, weight, options, n_classes, max_bins, depth, kernel):
    sizes = {"max_depth": depth} | dict(options or {})
    criterion = "gini" if n_classes else "squared_error"
    recipe = cart.Recipe(criterion, x.shape[1], n_classes, **sizes, native=kernel)
    numbers = (2, 1, 0, 0)
    limits = cart.Limits(*(jnp.asarray(number, x.dtype) for number in numbers))
    edges = bins.find(x, n_bins=max_bins, sample_weight=weight)
    codes = bins.codes(edges, x)

    def fit(y, weight, key):
        seeds = jnp.zeros(1, jnp.uint32)  # of which nothing is drawn
        grown = cart.grow(recipe, limits, codes, edges, y[:, None], weight[None], seeds)
        return jax.tree.map(lambda leaf: leaf[0], grown.trees)

    return Learner(fit, partial(_answer, n_classes=n_classes))


def _answer(tree, x, *, n_classes):
    value = tree_ops.sum_values(jax.tree.map(lambda leaf: leaf[None], tree), x)
    if not n_classes:
        return value[:, 0]
    return jnp.argmax(value, axis=1).astype(jnp.int32)


def predictor(estimator: Any, n_classes: int) -> Callable[..., Shaped[Array, "m"]]:
    """The function of (model, x) that predicts with one of the models."""
    if estimator is None:
        return partial(_answer, n_classes=n_classes)
    return estimator.predict


def run(step: Callable, state: Any, keys: Key[Array, "t"]) -> tuple[Any, Any]:
    """Take a step for each key while `state.active`; then only blanks.

    Args:
        step: from (state, key) to the next state, and (model, numbers).
        state: a NamedTuple with a field `active`.
        keys: of the steps.

    Returns:
        The last state; models and numbers, stacked. Those of steps that were not taken
        are zeros, of trees: single leaves.
    """
    shapes = jax.eval_shape(step, state, keys[0])[1]

    def rest(state, key):
        model, numbers = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
        return state, (blank(model), numbers)

    once = lambda state, key: jax.lax.cond(state.active, step, rest, state, key)
    return jax.lax.scan(once, state, keys)


def blank(model: PyTree) -> PyTree:
    """Make a tree of zeros a leaf; leave other models alone."""
    if not isinstance(model, Trees):
        return model
    return model._replace(
        children_left=jnp.full_like(model.children_left, -1),
        children_right=jnp.full_like(model.children_right, -1),
        feature=jnp.full_like(model.feature, -2),
        threshold=jnp.full_like(model.threshold, -2),
        node_count=jnp.ones_like(model.node_count),
    )


def importances(
    models: PyTree, weights: Float[Array, "t"], d: int
) -> Float[Array, "d"] | Float[Array, "0"]:
    """Mean of the shares of each feature in trees, by their weights; else nothing."""
    if not isinstance(models, Trees):
        return jnp.zeros(0, weights.dtype)
    shares = jnp.matmul(weights, importance.of_trees(models, d), precision="highest")
    total = weights.sum()
    return jnp.where(total > 0, shares / jnp.where(total > 0, total, 1), 0)


def choices(estimator: Any, key: Any) -> dict[str, bool]:
    """What `learner` must know that is asked outside of jit."""
    return {
        "kernel": estimator is None and native.enabled("cart"),
        "draws": key is not None and _key_of(estimator) is not None,
    }
