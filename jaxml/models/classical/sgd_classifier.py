"""Linear classifiers by stochastic gradient descent: SVM, logistic, perceptron, ...

model = sgd_classifier.fit(x, y, loss="log_loss", key=key)
labels = sgd_classifier.predict(model, x)
model = sgd_classifier.partial_fit(model, x_more, y_more, loss="log_loss", key=key)

Given the same order of the rows (`shuffle=False`) the coefficients are those of
scikit-learn, whose rules of rates, penalties and stopping these are, with two
differences: a row of weight 0 is absent (it makes no step), and an average under an L1
penalty is that of the coefficients after each truncation. The steps are no function of
an optimum, so `fit` has no derivative; one `partial_fit` has.

Rows are met one after another: rows that lie on several devices are brought together.

Letters: n rows, m new rows, d features, c classes; k outputs: 1 for two classes,
else c.

References:
    Bottou, 2012. Stochastic gradient descent tricks.
    Zhang, 2004. Solving large scale linear prediction problems using stochastic
        gradient descent algorithms. ICML. (modified Huber)
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from jaxml.models.classical import sgd, sgd_door, sgd_epoch
from jaxml.models.classical.sgd_door import Stopping
from jaxml.ops import check

__all__ = [
    "SGDClassifier",
    "decision_function",
    "fit",
    "init",
    "partial_fit",
    "predict",
    "predict_proba",
]


class SGDClassifier(NamedTuple):
    """A linear function for each output, and where its descent stands."""

    coef: Float[Array, "k d"]  # what predicts: averages, once they have begun
    intercept: Float[Array, "k"]
    iterate_coef: Float[Array, "k d"]  # where `partial_fit` goes on
    iterate_intercept: Float[Array, "k"]
    t: Int[Array, ""]  # 1 + steps
    n_iter: Int[Array, ""]  # epochs, of the output that took most
    converged: Bool[Array, ""]  # False: stopped by max_iter, or not finite


def init(n_features: int, *, n_classes: int = 2, dtype: Any = None) -> SGDClassifier:
    """Make the model of zeros, from which `partial_fit` may begin.

    Args:
        n_features: columns of the data.
        n_classes: number of classes, at least 2.
        dtype: of the coefficients; the default float of JAX if None.
    """
    check.size("n_features", n_features, 1)
    check.size("n_classes", n_classes, 2)
    outputs = 1 if n_classes == 2 else n_classes
    coef = jnp.zeros((outputs, n_features), dtype or float)
    intercept = coef[:, 0]
    iterate = sgd.start(coef, intercept)
    return _model(sgd.Descent(iterate, jnp.asarray(0, int), jnp.asarray(False)))


def fit(
    x: Float[Array, "n d"],
    y: Int[Array, "n"],
    *,
    key: Key[Array, ""],
    n_classes: int = 2,
    loss: str = "hinge",
    penalty: str | None = "l2",
    alpha: float | Float[Array, ""] = 0.0001,
    l1_ratio: float | Float[Array, ""] = 0.15,
    fit_intercept: bool = True,
    max_iter: int = 1000,
    tol: float | Float[Array, ""] | None = 1e-3,
    shuffle: bool = True,
    epsilon: float | Float[Array, ""] = 0.1,
    learning_rate: str = "optimal",
    eta0: float | Float[Array, ""] = 0.01,
    power_t: float | Float[Array, ""] = 0.5,
    early_stopping: bool = False,
    validation_fraction: float | Float[Array, ""] = 0.1,
    n_iter_no_change: int = 5,
    class_weight: Float[Array, "c"] | None = None,
    average: bool | int = False,
    coef_init: Float[Array, "k d"] | None = None,
    intercept_init: Float[Array, "k"] | None = None,
    sample_weight: Float[Array, "n"] | None = None,
) -> SGDClassifier:
    """Descend until an epoch brings no more progress.

    Args:
        x: rows. Scale the features first: one rate serves all.
        y: labels from 0 to n_classes - 1.
        key: random key, of the order of the rows and of those set aside.
        n_classes: number of classes; above 2, one output for each against the rest.
        loss: "hinge" (SVM), "log_loss", "modified_huber", "squared_hinge",
            "perceptron", or one of the losses of `sgd_regressor` on targets -1 and 1.
        penalty: "l2", "l1", "elasticnet" or None.
        alpha: strength of the penalty, and the scale of the rate "optimal".
        l1_ratio: share of L1 in "elasticnet", from 0 to 1.
        fit_intercept: whether the linear functions have a constant.
        max_iter: bound on the epochs.
        tol: an epoch whose mean objective is not below the best by this much makes no
            progress. None: all `max_iter` epochs.
        shuffle: whether each epoch draws an order; else the rows come as they are.
        epsilon: width of the losses "huber" and "*epsilon_insensitive".
        learning_rate: size of step t: "constant" eta0, "optimal"
            1 / (alpha (t + alpha^(-3/4) - 1)), "invscaling" eta0 / t^power_t,
            "adaptive" eta0 and a fifth of it each time that progress ends, "pa1" and
            "pa2" passive-aggressive with C = eta0 (loss "hinge").
        eta0: see `learning_rate`; above 0.
        power_t: see `learning_rate`.
        early_stopping: whether progress is that of the accuracy on rows set aside.
        validation_fraction: their share of each class, between 0 and 1.
        n_iter_no_change: epochs without progress in a row that end the descent, or
            lower an "adaptive" rate.
        class_weight: factor on the steps of the rows of a class; above two classes on
            those where it is the one and not of the rest. Default: 1.
        average: True or the step from which on the iterates are averaged.
        coef_init: where to start. Default: 0.
        intercept_init: where to start. Default: 0.
        sample_weight: factor on the step of each row; 0 is an absent row. Default: 1.

    Returns:
        The model.

        >>> x = jnp.array([[-2.0, -1.0], [-1.0, -1.0], [1.0, 1.0], [2.0, 1.0]])
        >>> model = fit(x, jnp.array([0, 0, 1, 1]), key=jax.random.key(0))
        >>> predict(model, jnp.array([[-0.8, -1.0], [3.0, 2.0]]))
        Array([0, 1], dtype=int32)

    Raises:
        ValueError: if an option is unknown or out of its range, or shapes don't fit.
    """
    check.rows(x, y, sample_weight)
    check.labels(y, n_classes)
    recipe = sgd_door.recipe(
        sgd_epoch.LOSSES, loss, penalty, learning_rate, fit_intercept, average, x.dtype
    )
    values = sgd_epoch.Numbers(alpha, l1_ratio, eta0, power_t, epsilon)
    sgd_door.check_numbers(recipe, values)
    stopping = Stopping(max_iter, shuffle, early_stopping, n_iter_no_change)
    sgd_door.check_stopping(stopping, validation_fraction)
    outputs = 1 if n_classes == 2 else n_classes
    sgd_door.check_shape("class_weight", class_weight, (n_classes,))
    sgd_door.check_shape("coef_init", coef_init, (outputs, x.shape[1]))
    sgd_door.check_shape("intercept_init", intercept_init, (outputs,))
    return _fit(
        x,
        y,
        values,
        (coef_init, intercept_init),
        class_weight,
        sample_weight,
        -jnp.inf if tol is None else tol,
        validation_fraction,
        key=key,
        n_classes=n_classes,
        recipe=recipe,
        stopping=stopping,
    )


@partial(jax.jit, static_argnames=("n_classes", "recipe", "stopping"))
def _fit(
    x,
    y,
    values,
    start,
    class_weight,
    sample_weight,
    tol,
    validation_fraction,
    *,
    n_classes,
    recipe,
    **options,
):
    rows = sgd.one_vs_rest(x, y, n_classes, class_weight, sample_weight)
    coef, intercept = start
    outputs = rows.target.shape[1]
    coef = jnp.zeros((outputs, x.shape[1]), x.dtype) if coef is None else coef
    intercept = jnp.zeros(outputs, x.dtype) if intercept is None else intercept
    descent = sgd.run(
        recipe,
        values,
        rows,
        sgd.start(coef.astype(x.dtype), intercept.astype(x.dtype)),
        groups=y,
        tol=tol,
        validation_fraction=validation_fraction,
        **options,
    )
    return _model(descent)


def partial_fit(
    model: SGDClassifier,
    x: Float[Array, "n d"],
    y: Int[Array, "n"],
    *,
    key: Key[Array, ""],
    loss: str = "hinge",
    penalty: str | None = "l2",
    alpha: float | Float[Array, ""] = 0.0001,
    l1_ratio: float | Float[Array, ""] = 0.15,
    fit_intercept: bool = True,
    shuffle: bool = True,
    epsilon: float | Float[Array, ""] = 0.1,
    learning_rate: str = "optimal",
    eta0: float | Float[Array, ""] = 0.01,
    power_t: float | Float[Array, ""] = 0.5,
    class_weight: Float[Array, "c"] | None = None,
    average: bool | int = False,
    sample_weight: Float[Array, "n"] | None = None,
) -> SGDClassifier:
    """Take one epoch over more rows, from where `model` stands.

    Args:
        model: from `init`, `fit` or `partial_fit`; it has the number of classes.
        x: rows.
        y: labels.
        key: random key, of the order of the rows.
        loss: as in `fit`, like all that follow. The cumulative penalty of "l1" begins
            anew in each call, as in scikit-learn.

    Returns:
        The model one epoch on; `n_iter` is 1.

    Raises:
        ValueError: as in `fit`.
    """
    outputs, d = model.coef.shape
    n_classes = 2 if outputs == 1 else outputs
    check.rows(x, y, sample_weight)
    check.labels(y, n_classes)
    sgd_door.check_shape("x", x, (len(x), d))
    sgd_door.check_shape("class_weight", class_weight, (n_classes,))
    recipe = sgd_door.recipe(
        sgd_epoch.LOSSES, loss, penalty, learning_rate, fit_intercept, average, x.dtype
    )
    values = sgd_epoch.Numbers(alpha, l1_ratio, eta0, power_t, epsilon)
    sgd_door.check_numbers(recipe, values)
    return _partial_fit(
        model,
        x,
        y,
        values,
        class_weight,
        sample_weight,
        key=key,
        recipe=recipe,
        shuffle=shuffle,
    )


@partial(jax.jit, static_argnames=("recipe", "shuffle"))
def _partial_fit(
    model, x, y, values, class_weight, sample_weight, *, key, recipe, shuffle
):
    outputs = len(model.coef)
    n_classes = 2 if outputs == 1 else outputs
    rows = sgd.one_vs_rest(x, y, n_classes, class_weight, sample_weight)
    descent = sgd.partial(
        recipe, values, rows, sgd.resume(model), key=key, shuffle=shuffle
    )
    return _model(descent)


@jax.jit
def decision_function(
    model: SGDClassifier, x: Float[Array, "m d"]
) -> Float[Array, "m"] | Float[Array, "m c"]:
    """Value of the linear functions: [m] for two classes, above 0 for class 1."""
    return sgd.decision(model, x)


@jax.jit
def predict(model: SGDClassifier, x: Float[Array, "m d"]) -> Int[Array, "m"]:
    """Label rows with their class of largest value."""
    return sgd.label(model, x)


@partial(jax.jit, static_argnames=("loss",))
def predict_proba(
    model: SGDClassifier, x: Float[Array, "m d"], *, loss: str = "log_loss"
) -> Float[Array, "m c"]:
    """Probabilities of the classes; above two, of each against the rest, normalized.

    Args:
        model: fitted with the same loss.
        x: rows.
        loss: "log_loss" or "modified_huber"; the others have no probabilities.

    Raises:
        ValueError: if the loss has no probabilities.
    """
    check.one_of("loss", loss, ("log_loss", "modified_huber"))
    values = sgd.linear(model, x)
    if loss == "log_loss":
        positive = jax.nn.sigmoid(values)
    else:
        positive = (jnp.clip(values, -1, 1) + 1) / 2
    if values.shape[1] == 1:
        return jnp.concatenate([1 - positive, positive], axis=1)
    total = positive.sum(1, keepdims=True)
    # A row far from all classes is no nearer to one than to another.
    share = 1 / jnp.asarray(values.shape[1], x.dtype)
    return jnp.where(total > 0, positive / jnp.where(total > 0, total, 1), share)


def _model(descent):
    iterate = descent.iterate
    return SGDClassifier(
        iterate.mean_coef,
        iterate.mean_intercept,
        iterate.coef,
        iterate.intercept,
        iterate.t,
        descent.n_iter,
        descent.converged,
    )
