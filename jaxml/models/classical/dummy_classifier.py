"""A classifier that does not look at the features: the score that any other must beat.

    model = dummy_classifier.fit(x, y, n_classes=3, strategy="most_frequent")
    labels = dummy_classifier.predict(model, x_new)

Letters: n rows, m new rows, d features, k classes.
"""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, PyTree

from jaxml.ops import check

__all__ = ["DummyClassifier", "fit", "predict", "predict_log_proba", "predict_proba"]

STRATEGIES = ("most_frequent", "prior", "stratified", "uniform", "constant")


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["class_prior", "constant"],
    meta_fields=["strategy"],
)
@dataclasses.dataclass(frozen=True)
class DummyClassifier:
    """The shares of the classes, and what to do with them."""

    class_prior: PyTree  # [k] shares; NaN where no row has a weight
    constant: PyTree  # [] the label of the strategy "constant"
    strategy: str


def fit(
    x: Float[Array, "n d"],
    y: Int[Array, "n"],
    *,
    n_classes: int = 2,
    strategy: str = "prior",
    constant: int | Int[Array, ""] | None = None,
    class_weight: Float[Array, "k"] | None = None,
    sample_weight: Float[Array, "n"] | None = None,
) -> DummyClassifier:
    """Count the classes.

    Args:
        x: features; only their number of rows and their dtype matter.
        y: labels from 0 to `n_classes` - 1.
        n_classes: how many classes there are, also those without rows.
        strategy: what is predicted. "prior": the commonest class, and the shares of the
            classes as probabilities. "most_frequent": the same class, with probability
            1. "stratified": a class drawn by the shares. "uniform": one drawn evenly.
            "constant": the label `constant`.
        constant: the label that "constant" predicts.
        class_weight: how much a row of each class counts. Default: 1.
        sample_weight: how much each row counts; 0 is an absent row. Default: 1.

    >>> x, y = jnp.zeros((4, 1)), jnp.array([0, 1, 1, 1])
    >>> predict_proba(fit(x, y), x[:1])
    Array([[0.25, 0.75]], dtype=float32)

    Raises:
        ValueError: if `strategy` is unknown, or "constant" without a `constant`.
    """
    check.rows(x, y, sample_weight)
    check.labels(y, n_classes)
    check.one_of("strategy", strategy, STRATEGIES)
    if strategy == "constant" and constant is None:
        raise ValueError(
            "constant must be a label for the strategy 'constant'; got None"
        )
    if class_weight is not None and class_weight.shape != (n_classes,):
        raise ValueError(
            f"class_weight must be one number for each of {n_classes} classes; "
            f"got shape {class_weight.shape}"
        )
    constant = jnp.asarray(0 if constant is None else constant, jnp.int32)
    prior = _shares(x, y, sample_weight, class_weight, n_classes=n_classes)
    return DummyClassifier(prior, constant, strategy)


@partial(jax.jit, static_argnames=("n_classes",))
def _shares(x, y, sample_weight, class_weight, *, n_classes):
    weight = jnp.ones(len(y), x.dtype) if sample_weight is None else sample_weight
    same = y[:, None] == jnp.arange(n_classes)[None]
    mass = jnp.where(same, weight.astype(x.dtype)[:, None], 0).sum(0)
    if class_weight is not None:
        mass = mass * class_weight.astype(x.dtype)
    return mass / mass.sum()


@jax.jit
def predict(
    model: DummyClassifier, x: Float[Array, "m d"], *, key: Key[Array, ""] | None = None
) -> Int[Array, "m"]:
    """Label every row.

    Args:
        model: a fitted dummy.
        x: features; only their number matters.
        key: random key, which the strategies "stratified" and "uniform" need.

    Raises:
        ValueError: if the strategy is random and there is no key.
    """
    if model.strategy not in ("stratified", "uniform"):
        best = jnp.argmax(_fixed(model)).astype(jnp.int32)
        return jnp.broadcast_to(best, (len(x),))
    return _draw(model, len(x), key)


@jax.jit
def predict_proba(
    model: DummyClassifier, x: Float[Array, "m d"], *, key: Key[Array, ""] | None = None
) -> Float[Array, "m k"]:
    """Probability of every class for every row.

    Args:
        model: a fitted dummy.
        x: features; only their number matters.
        key: random key, which the strategy "stratified" needs: its probability is 1 for
            the class that `predict` draws with the same key.

    Raises:
        ValueError: if the strategy is "stratified" and there is no key.
    """
    k = len(model.class_prior)
    if model.strategy == "stratified":
        return jax.nn.one_hot(
            _draw(model, len(x), key), k, dtype=model.class_prior.dtype
        )
    return jnp.broadcast_to(_fixed(model)[None], (len(x), k))


@jax.jit
def predict_log_proba(
    model: DummyClassifier, x: Float[Array, "m d"], *, key: Key[Array, ""] | None = None
) -> Float[Array, "m k"]:
    """The logarithm of `predict_proba`, -inf where that is 0."""
    return jnp.log(predict_proba(model, x, key=key))


def _fixed(model):
    """The probabilities that are the same for all rows."""
    prior = model.class_prior
    k = len(prior)
    if model.strategy == "uniform":
        return jnp.full(k, 1 / k, prior.dtype)
    if model.strategy == "prior":
        return prior
    constant = model.strategy == "constant"
    label = model.constant if constant else jnp.argmax(prior)
    return jax.nn.one_hot(label, k, dtype=prior.dtype)


def _draw(model, count, key):
    if key is None:
        raise ValueError(
            f"key must be a random key for the strategy {model.strategy!r}; got None"
        )
    prior = model.class_prior
    if model.strategy == "uniform":
        return jax.random.randint(key, (count,), 0, len(prior), jnp.int32)
    drawn = jax.random.categorical(key, jnp.log(prior), shape=(count,))
    return drawn.astype(jnp.int32)
