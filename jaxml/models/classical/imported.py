"""Trees, forests and boosters that another library fitted.

model = from_lightgbm.load("model.txt")        # or from_xgboost, from_sklearn
labels = imported.predict(model, x)            # a classifier's labels, or numbers
shares = imported.predict_proba(model, x)

The model predicts what the library predicts, to the rounding of its dtype, for rows of
that dtype; labels are positions in the library's list of classes. What the libraries
do differently with zeros, categories and digits of a row happens in `encode`: the trees
themselves are `jaxml.ops.trees`, and all that works on these works on
`model.trees` and `encode(model, x)`.

Letters: n rows, d features, t trees (of each class), c classes or other outputs,
m nodes, e features with categories.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxml.ops import check, trees
from jaxml.ops.trees import Trees

__all__ = [
    "Imported",
    "Rules",
    "apply",
    "decision_function",
    "encode",
    "predict",
    "predict_proba",
    "score_samples",
]

ZERO = float(np.float32(1e-35))  # LightGBM takes no number below it for another than 0


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Rules:
    """How the library reads rows and scores: what of a model is no array."""

    n_features: int
    task: str = "regression"  # "classes", "labels" (several at once), "outliers"
    link: str = "identity"  # from scores to predictions: a key of LINKS, or "median"
    single: bool = False  # rows are rounded to float32 before they are compared
    tiny: bool = False  # what is as near to 0 as ZERO is 0
    whole: str = "exact"  # fraction of a category: "exact", "truncate", "floor"
    unknown_missing: bool = False  # a category without a code is a missing value


class Imported(NamedTuple):
    """A fitted ensemble of trees."""

    trees: Trees  # [t, m], or [t, c, m] where each output has trees of its own
    start: Float[Array, "c"]  # what the sum of the trees begins with
    scale: Float[Array, ""]  # what the sum is multiplied by: 1/t for a forest
    slope: Float[Array, ""]  # what a score is multiplied by before its sigmoid
    weights: Float[Array, "t"]  # of the trees, for a median of them; else [0]
    numbers: Int[Array, "*t m"]  # what the library calls each node
    zeros: Bool[Array, "d"]  # features of which 0 is a missing value; [0]: none
    columns: Int[Array, "e"]  # features with categories
    tables: Float[Array, "e v"]  # their values, in the order of the codes; +inf beyond
    rules: Rules  # no array


def predict(model: Imported, x: Float[Array, "n d"]) -> Array:
    """Predict labels, or numbers.

    Args:
        model: the model.
        x: rows, with NaN where a value is missing.

    Returns:
        A classifier's labels [n]: positions in the library's list of classes. Labels
        [n, c] of 0 and 1 for several labels at once. 1 or -1 (an outlier) for an
        isolation forest. Else the predicted numbers, [n] or [n, c]; the scores, where
        the objective only ranks.

    Raises:
        ValueError: if `x` does not have the model's number of features.
    """
    _door(model, x)
    if model.rules.link == "median":
        return _median(model, trees.apply(model.trees, encode(model, x)))
    return _predicted(model, decision_function(model, x))


def predict_proba(model: Imported, x: Float[Array, "n d"]) -> Float[Array, "n c"]:
    """Predict the probabilities of the classes.

    Args:
        model: a classifier.
        x: rows, with NaN where a value is missing.

    Returns:
        One column for each class; those of one-against-all do not sum to 1. For several
        labels at once, the probability of each.

    Raises:
        ValueError: if the model is no classifier, or has labels only.
    """
    _door(model, x)
    rules = model.rules
    if rules.task not in ("classes", "labels") or rules.link == "hinge":
        raise ValueError(
            f"predict_proba needs a classifier with probabilities; this model is for "
            f"{rules.task!r} with link {rules.link!r}"
        )
    return _shares(model, decision_function(model, x))


def decision_function(model: Imported, x: Float[Array, "n d"]) -> Array:
    """Score rows: what the trees sum or average to, before any link.

    Args:
        model: any model but a median of trees (AdaBoostRegressor).
        x: rows, with NaN where a value is missing.

    Returns:
        [n] for one output, as of two classes of a booster; else [n, c].

    Raises:
        ValueError: if there is no such score.
    """
    _door(model, x)
    if model.rules.link == "median":
        raise ValueError("a median of trees has no decision_function; use predict")
    return _score(model, trees.sum_values(model.trees, encode(model, x)))


def score_samples(model: Imported, x: Float[Array, "n d"]) -> Float[Array, "n"]:
    """Score how usual rows are, from -1 (isolated at once) to 0.

    Args:
        model: an isolation forest.
        x: rows, with NaN where a value is missing.

    Returns:
        One score for each row, the lower the stranger.

    Raises:
        ValueError: if the model is no isolation forest.
    """
    _door(model, x)
    if model.rules.task != "outliers":
        raise ValueError(
            f"score_samples needs an isolation forest; this model is for "
            f"{model.rules.task!r}"
        )
    return decision_function(model._replace(start=jnp.zeros_like(model.start)), x)


def apply(model: Imported, x: Float[Array, "n d"]) -> Int[Array, "n *t"]:
    """Name the leaf of each row in each tree, by the library's own numbers.

    Args:
        model: any model.
        x: rows, with NaN where a value is missing.

    Returns:
        [n, t], or [n, t, c] where each output has trees of its own.

    Raises:
        ValueError: if `x` does not have the model's number of features.
    """
    _door(model, x)
    return _names(model, trees.apply(model.trees, encode(model, x)))


@jax.jit
def encode(model: Imported, x: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """Write rows as the trees of the model take them.

    Args:
        model: any model.
        x: rows as the library takes them.

    Returns:
        The rows in the model's dtype, with codes for categories and NaN for all that
        the library takes as missing.
    """
    rules = model.rules
    dtype = model.trees.threshold.dtype
    if rules.single and x.dtype != jnp.float32:
        # No pair of casts, which XLA may drop.
        x = jax.lax.reduce_precision(x, exponent_bits=8, mantissa_bits=23)
    x = x.astype(dtype)
    if rules.tiny:
        x = jnp.where(jnp.abs(x) <= jnp.asarray(ZERO, dtype), 0, x)
    if len(model.zeros):
        x = jnp.where((x == 0) & model.zeros[None], jnp.nan, x)
    if len(model.columns):
        value = x.at[:, model.columns].get(mode="clip")
        whole = {"truncate": jnp.trunc, "floor": jnp.floor, "exact": lambda v: v}
        value = whole[rules.whole](value)
        place = jax.vmap(jnp.searchsorted, (0, 1), 1)(model.tables, value)
        place = jnp.minimum(place, model.tables.shape[1] - 1)
        found = jnp.take_along_axis(model.tables.T, place, 0) == value
        found = found & jnp.isfinite(value)
        nowhere = jnp.nan if rules.unknown_missing else -1.0
        code = jnp.where(found, place.astype(dtype), jnp.asarray(nowhere, dtype))
        code = jnp.where(jnp.isnan(value), value, code)
        x = x.at[:, model.columns].set(code)
    return x


def _door(model: Imported, x: Any) -> None:
    check.rows(x)
    if x.shape[1] != model.rules.n_features:
        raise ValueError(
            f"x must have the model's {model.rules.n_features} features; "
            f"got {x.shape[1]}"
        )


@jax.jit
def _score(model, total):
    """Scores from the sums of the leaves."""
    total = model.scale * total
    if model.rules.task == "outliers":
        return model.start[0] - jnp.exp2(-total[:, 0])
    total = model.start[None] + total
    return total[:, 0] if total.shape[1] == 1 else total


@jax.jit
def _predicted(model, score):
    rules = model.rules
    if rules.task == "classes" and score.ndim == 2:
        return score.argmax(1)
    if rules.task in ("classes", "labels"):
        return (score > 0).astype(jnp.int32)
    if rules.task == "outliers":
        return jnp.where(score < 0, -1, 1)
    return LINKS[rules.link](score, model.slope)


@jax.jit
def _shares(model, score):
    if score.ndim == 1:  # two classes
        score = jnp.stack([-score, score], 1)
    return LINKS[model.rules.link](score, model.slope)


@jax.jit
def _names(model, leaf):
    names = model.numbers.reshape(-1, model.numbers.shape[-1])
    flat = leaf.reshape(len(leaf), -1)
    return names[jnp.arange(len(names))[None], flat].reshape(leaf.shape)


@jax.jit
def _median(model, leaf):
    """Weighted median of the trees, as AdaBoost.R2 takes it."""
    guess = model.trees.value[jnp.arange(leaf.shape[1])[None], leaf, 0]
    order = jnp.argsort(guess, 1)
    mass = jnp.cumsum(model.weights[order], 1)
    middle = (mass >= 0.5 * mass[:, -1:]).argmax(1)[:, None]
    return jnp.take_along_axis(guess, jnp.take_along_axis(order, middle, 1), 1)[:, 0]


LINKS = {
    "identity": lambda score, slope: score,
    "exp": lambda score, slope: jnp.exp(score),
    "sigmoid": lambda score, slope: jax.nn.sigmoid(slope * score),
    "softmax": lambda score, slope: jax.nn.softmax(slope * score),
    "square": lambda score, slope: jnp.sign(score) * score**2,
    "log1p_exp": lambda score, slope: jax.nn.softplus(score),
}
