"""Linear regression by stochastic gradient descent: squared, Huber and tube losses.

model = sgd_regressor.fit(x, y, loss="huber", epsilon=0.5, key=key)
values = sgd_regressor.predict(model, x)
model = sgd_regressor.partial_fit(model, x_more, y_more, key=key)

Given the same order of the rows (`shuffle=False`) the coefficients are those of
scikit-learn, with two differences: a row of weight 0 is absent (it makes no step), and
an average under an L1 penalty is that of the coefficients after each truncation. The
steps are no function of an optimum, so `fit` has no derivative; one `partial_fit` has.

Rows are met one after another: rows that lie on several devices are brought together.

Letters: n rows, m new rows, d features.

References:
    Bottou, 2012. Stochastic gradient descent tricks.
    Crammer et al., 2006. Online passive-aggressive algorithms. JMLR 7. (pa1, pa2)
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from jaxml.models.classical import sgd, sgd_door, sgd_epoch
from jaxml.models.classical.sgd_door import Stopping
from jaxml.ops import check

__all__ = ["SGDRegressor", "fit", "init", "partial_fit", "predict"]

_LOSSES = sgd_epoch.LOSSES[5:]


class SGDRegressor(NamedTuple):
    """A linear function, and where its descent stands."""

    coef: Float[Array, "d"]  # what predicts: averages, once they have begun
    intercept: Float[Array, "1"]
    iterate_coef: Float[Array, "d"]  # where `partial_fit` goes on
    iterate_intercept: Float[Array, "1"]
    t: Int[Array, ""]  # 1 + steps
    n_iter: Int[Array, ""]  # epochs
    converged: Bool[Array, ""]  # False: stopped by max_iter, or not finite


def init(n_features: int, *, dtype: Any = None) -> SGDRegressor:
    """Make the model of zeros, from which `partial_fit` may begin.

    Args:
        n_features: columns of the data.
        dtype: of the coefficients; the default float of JAX if None.
    """
    check.size("n_features", n_features, 1)
    coef = jnp.zeros((1, n_features), dtype or float)
    iterate = sgd.start(coef, coef[:, 0])
    return _model(sgd.Descent(iterate, jnp.asarray(0, int), jnp.asarray(False)))


def fit(
    x: Float[Array, "n d"],
    y: Float[Array, "n"],
    *,
    key: Key[Array, ""],
    loss: str = "squared_error",
    penalty: str | None = "l2",
    alpha: float | Float[Array, ""] = 0.0001,
    l1_ratio: float | Float[Array, ""] = 0.15,
    fit_intercept: bool = True,
    max_iter: int = 1000,
    tol: float | Float[Array, ""] | None = 1e-3,
    shuffle: bool = True,
    epsilon: float | Float[Array, ""] = 0.1,
    learning_rate: str = "invscaling",
    eta0: float | Float[Array, ""] = 0.01,
    power_t: float | Float[Array, ""] = 0.25,
    early_stopping: bool = False,
    validation_fraction: float | Float[Array, ""] = 0.1,
    n_iter_no_change: int = 5,
    average: bool | int = False,
    coef_init: Float[Array, "d"] | None = None,
    intercept_init: Float[Array, "1"] | None = None,
    sample_weight: Float[Array, "n"] | None = None,
) -> SGDRegressor:
    """Descend until an epoch brings no more progress.

    Args:
        x: rows. Scale the features first: one rate serves all.
        y: targets.
        key: random key, of the order of the rows and of those set aside.
        loss: "squared_error" (half the square), "huber", "epsilon_insensitive" or
            "squared_epsilon_insensitive".
        penalty: "l2", "l1", "elasticnet" or None.
        alpha: strength of the penalty, and the scale of the rate "optimal".
        l1_ratio: share of L1 in "elasticnet", from 0 to 1.
        fit_intercept: whether the linear function has a constant.
        max_iter: bound on the epochs.
        tol: an epoch whose mean objective is not below the best by this much makes no
            progress. None: all `max_iter` epochs.
        shuffle: whether each epoch draws an order; else the rows come as they are.
        epsilon: where "huber" turns linear; half width of the tube of the
            "*epsilon_insensitive". In the unit of y.
        learning_rate: as in `sgd_classifier.fit`; "pa1" and "pa2" with the loss
            "epsilon_insensitive".
        eta0: first or constant size of a step, C of "pa1" and "pa2"; above 0.
        power_t: exponent of "invscaling".
        early_stopping: whether progress is that of R² on rows set aside.
        validation_fraction: their share, between 0 and 1.
        n_iter_no_change: epochs without progress in a row that end the descent, or
            lower an "adaptive" rate.
        average: True or the step from which on the iterates are averaged.
        coef_init: where to start. Default: 0.
        intercept_init: where to start. Default: 0.
        sample_weight: factor on the step of each row; 0 is an absent row. Default: 1.

    Returns:
        The model.

        >>> x = jnp.linspace(-1.0, 1.0, 40)[:, None]
        >>> y = 2.0 * x[:, 0] + 1.0
        >>> model = fit(x, y, key=jax.random.key(0), eta0=0.1, tol=1e-6)
        >>> predict(model, jnp.array([[0.5]])).round(1)
        Array([2.], dtype=float32)

    Raises:
        ValueError: if an option is unknown or out of its range, or shapes don't fit.
    """
    _check_rows(x, y, sample_weight)
    recipe = sgd_door.recipe(
        _LOSSES, loss, penalty, learning_rate, fit_intercept, average, x.dtype
    )
    values = sgd_epoch.Numbers(alpha, l1_ratio, eta0, power_t, epsilon)
    sgd_door.check_numbers(recipe, values)
    stopping = Stopping(max_iter, shuffle, early_stopping, n_iter_no_change)
    sgd_door.check_stopping(stopping, validation_fraction)
    sgd_door.check_shape("coef_init", coef_init, (x.shape[1],))
    sgd_door.check_shape("intercept_init", intercept_init, (1,))
    return _fit(
        x,
        y,
        values,
        (coef_init, intercept_init),
        sample_weight,
        -jnp.inf if tol is None else tol,
        validation_fraction,
        key=key,
        recipe=recipe,
        stopping=stopping,
    )


@partial(jax.jit, static_argnames=("recipe", "stopping"))
def _fit(
    x, y, values, start, sample_weight, tol, validation_fraction, *, recipe, **options
):
    coef, intercept = start
    coef = jnp.zeros(x.shape[1], x.dtype) if coef is None else coef
    intercept = jnp.zeros(1, x.dtype) if intercept is None else intercept
    descent = sgd.run(
        recipe,
        values,
        _rows(x, y, sample_weight),
        sgd.start(coef[None].astype(x.dtype), intercept.astype(x.dtype)),
        groups=None,
        tol=tol,
        validation_fraction=validation_fraction,
        **options,
    )
    return _model(descent)


def partial_fit(
    model: SGDRegressor,
    x: Float[Array, "n d"],
    y: Float[Array, "n"],
    *,
    key: Key[Array, ""],
    loss: str = "squared_error",
    penalty: str | None = "l2",
    alpha: float | Float[Array, ""] = 0.0001,
    l1_ratio: float | Float[Array, ""] = 0.15,
    fit_intercept: bool = True,
    shuffle: bool = True,
    epsilon: float | Float[Array, ""] = 0.1,
    learning_rate: str = "invscaling",
    eta0: float | Float[Array, ""] = 0.01,
    power_t: float | Float[Array, ""] = 0.25,
    average: bool | int = False,
    sample_weight: Float[Array, "n"] | None = None,
) -> SGDRegressor:
    """Take one epoch over more rows, from where `model` stands.

    Args:
        model: from `init`, `fit` or `partial_fit`.
        x: rows.
        y: targets.
        key: random key, of the order of the rows.
        loss: as in `fit`, like all that follow. The cumulative penalty of "l1" begins
            anew in each call, as in scikit-learn.

    Returns:
        The model one epoch on; `n_iter` is 1.

    Raises:
        ValueError: as in `fit`.
    """
    _check_rows(x, y, sample_weight)
    sgd_door.check_shape("x", x, (len(x), len(model.coef)))
    recipe = sgd_door.recipe(
        _LOSSES, loss, penalty, learning_rate, fit_intercept, average, x.dtype
    )
    values = sgd_epoch.Numbers(alpha, l1_ratio, eta0, power_t, epsilon)
    sgd_door.check_numbers(recipe, values)
    return _partial_fit(
        model,
        x,
        y,
        values,
        sample_weight,
        key=key,
        recipe=recipe,
        shuffle=shuffle,
    )


@partial(jax.jit, static_argnames=("recipe", "shuffle"))
def _partial_fit(model, x, y, values, sample_weight, *, key, recipe, shuffle):
    rows = _rows(x, y, sample_weight)
    descent = sgd.partial(
        recipe, values, rows, sgd.resume(model), key=key, shuffle=shuffle
    )
    return _model(descent)


@jax.jit
def predict(model: SGDRegressor, x: Float[Array, "m d"]) -> Float[Array, "m"]:
    """Value of the linear function at each row."""
    return sgd.linear(model, x)[:, 0]


def _check_rows(x, y, sample_weight):
    check.rows(x, y, sample_weight)
    sgd_door.check_shape("y", y, (len(x),))


def _rows(x, y, sample_weight):
    side = jnp.ones((2, 1), x.dtype)
    target = y[:, None].astype(x.dtype)
    return sgd_epoch.Rows(x, target, sgd.weights(x, sample_weight), side)


def _model(descent):
    iterate = descent.iterate
    return SGDRegressor(
        iterate.mean_coef[0],
        iterate.mean_intercept,
        iterate.coef[0],
        iterate.intercept,
        iterate.t,
        descent.n_iter,
        descent.converged,
    )
