"""The perceptron: a step towards each row that is on the wrong side.

model = perceptron.fit(x, y, key=key)
labels = perceptron.predict(model, x)

It is `sgd_classifier` with the loss "perceptron", a constant rate and by default no
penalty; the coefficients are those of scikit-learn given the same order of the rows.
The steps are no function of an optimum, so there is no derivative.

Letters: n rows, m new rows, d features, c classes; k outputs: 1 for two classes,
else c.

References:
    Rosenblatt, 1958. The perceptron: a probabilistic model for information storage and
        organization in the brain. Psychological Review 65.
"""

from typing import Any, NamedTuple

import jax
from jaxtyping import Array, Bool, Float, Int, Key

from jaxml.models.classical import sgd, sgd_classifier

__all__ = ["Perceptron", "decision_function", "fit", "init", "partial_fit", "predict"]


class Perceptron(NamedTuple):
    """A linear function for each output."""

    coef: Float[Array, "k d"]
    intercept: Float[Array, "k"]
    t: Int[Array, ""]  # 1 + rows met
    n_iter: Int[Array, ""]  # epochs, of the output that took most
    converged: Bool[Array, ""]  # False: stopped by max_iter, or not finite


def init(n_features: int, *, n_classes: int = 2, dtype: Any = None) -> Perceptron:
    """Make the model of zeros, from which `partial_fit` may begin.

    Args:
        n_features: columns of the data.
        n_classes: number of classes, at least 2.
        dtype: of the coefficients; the default float of JAX if None.
    """
    return _shorter(sgd_classifier.init(n_features, n_classes=n_classes, dtype=dtype))


def fit(
    x: Float[Array, "n d"],
    y: Int[Array, "n"],
    *,
    key: Key[Array, ""],
    n_classes: int = 2,
    penalty: str | None = None,
    alpha: float | Float[Array, ""] = 0.0001,
    l1_ratio: float | Float[Array, ""] = 0.15,
    fit_intercept: bool = True,
    max_iter: int = 1000,
    tol: float | Float[Array, ""] | None = 1e-3,
    shuffle: bool = True,
    eta0: float | Float[Array, ""] = 1.0,
    early_stopping: bool = False,
    validation_fraction: float | Float[Array, ""] = 0.1,
    n_iter_no_change: int = 5,
    class_weight: Float[Array, "c"] | None = None,
    coef_init: Float[Array, "k d"] | None = None,
    intercept_init: Float[Array, "k"] | None = None,
    sample_weight: Float[Array, "n"] | None = None,
) -> Perceptron:
    """Pass over the rows until the mean loss stops falling.

    Args:
        x: rows.
        y: labels from 0 to n_classes - 1.
        key: random key, of the order of the rows and of those set aside.
        n_classes: number of classes; above 2, one output for each against the rest.
        penalty: "l2", "l1", "elasticnet" or None.
        alpha: strength of the penalty.
        l1_ratio: share of L1 in "elasticnet", from 0 to 1.
        fit_intercept: whether the linear functions have a constant.
        max_iter: bound on the epochs.
        tol: an epoch whose mean objective is not below the best by this much makes no
            progress. None: all `max_iter` epochs.
        shuffle: whether each epoch draws an order; else the rows come as they are.
        eta0: size of the steps; without a penalty it scales the model and no more.
        early_stopping: whether progress is that of the accuracy on rows set aside.
        validation_fraction: their share of each class, between 0 and 1.
        n_iter_no_change: epochs without progress in a row that end the passes.
        class_weight: factor on the step of the rows of a class. Default: 1.
        coef_init: where to start. Default: 0.
        intercept_init: where to start. Default: 0.
        sample_weight: factor on the step of each row; 0 is an absent row. Default: 1.

    Returns:
        The model.

        >>> import jax.numpy as jnp
        >>> x = jnp.array([[-2.0, -1.0], [-1.0, -1.0], [1.0, 1.0], [2.0, 1.0]])
        >>> model = fit(x, jnp.array([0, 0, 1, 1]), key=jax.random.key(0))
        >>> predict(model, x)
        Array([0, 0, 1, 1], dtype=int32)

    Raises:
        ValueError: if an option is unknown or out of its range, or shapes don't fit.
    """
    model = sgd_classifier.fit(
        x,
        y,
        key=key,
        n_classes=n_classes,
        loss="perceptron",
        penalty=penalty,
        alpha=alpha,
        l1_ratio=l1_ratio,
        fit_intercept=fit_intercept,
        max_iter=max_iter,
        tol=tol,
        shuffle=shuffle,
        learning_rate="constant",
        eta0=eta0,
        early_stopping=early_stopping,
        validation_fraction=validation_fraction,
        n_iter_no_change=n_iter_no_change,
        class_weight=class_weight,
        coef_init=coef_init,
        intercept_init=intercept_init,
        sample_weight=sample_weight,
    )
    return _shorter(model)


def partial_fit(
    model: Perceptron,
    x: Float[Array, "n d"],
    y: Int[Array, "n"],
    *,
    key: Key[Array, ""],
    penalty: str | None = None,
    alpha: float | Float[Array, ""] = 0.0001,
    l1_ratio: float | Float[Array, ""] = 0.15,
    fit_intercept: bool = True,
    shuffle: bool = True,
    eta0: float | Float[Array, ""] = 1.0,
    class_weight: Float[Array, "c"] | None = None,
    sample_weight: Float[Array, "n"] | None = None,
) -> Perceptron:
    """Pass once over more rows, from where `model` stands; all else as in `fit`."""
    longer = sgd_classifier.SGDClassifier(*model[:2], *model[:2], *model[2:])
    longer = sgd_classifier.partial_fit(
        longer,
        x,
        y,
        key=key,
        loss="perceptron",
        penalty=penalty,
        alpha=alpha,
        l1_ratio=l1_ratio,
        fit_intercept=fit_intercept,
        shuffle=shuffle,
        learning_rate="constant",
        eta0=eta0,
        class_weight=class_weight,
        sample_weight=sample_weight,
    )
    return _shorter(longer)


@jax.jit
def decision_function(
    model: Perceptron, x: Float[Array, "m d"]
) -> Float[Array, "m"] | Float[Array, "m c"]:
    """Value of the linear functions: [m] for two classes, above 0 for class 1."""
    return sgd.decision(model, x)


@jax.jit
def predict(model: Perceptron, x: Float[Array, "m d"]) -> Int[Array, "m"]:
    """Label rows with their class of largest value."""
    return sgd.label(model, x)


def _shorter(model):
    """Without the second copy of the coefficients that averages would need."""
    return Perceptron(*model[:2], *model[4:])
