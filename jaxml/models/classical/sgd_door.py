"""What the models of stochastic gradient descent check and gather at their door.

recipe = sgd_door.recipe(losses, loss, penalty, learning_rate, True, False, x.dtype)
sgd_door.check_numbers(recipe, Numbers(alpha, l1_ratio, eta0, power_t, epsilon))
sgd_door.check_stopping(Stopping(max_iter, shuffle, early_stopping, 5), 0.1)
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array

from jaxml.models.classical import sgd_epoch
from jaxml.models.classical.sgd_epoch import Numbers, Recipe
from jaxml.ops import check, native

__all__ = ["Stopping", "check_numbers", "check_shape", "check_stopping", "recipe"]


class Stopping(NamedTuple):
    """What is static of the epochs."""

    max_iter: int
    shuffle: bool
    early_stopping: bool
    n_iter_no_change: int


def recipe(
    losses: tuple[str, ...],
    loss: str,
    penalty: str | None,
    learning_rate: str,
    fit_intercept: bool,
    average: bool | int,
    dtype: Any,
) -> Recipe:
    """Check and gather what is static; with the kernel where there is one.

    Raises:
        ValueError: if a choice is none of those there are.
    """
    check.one_of("loss", loss, losses)
    check.one_of("penalty", penalty, sgd_epoch.PENALTIES)
    check.one_of("learning_rate", learning_rate, sgd_epoch.RATES)
    if learning_rate in ("pa1", "pa2"):
        fitting = ("hinge",) if "hinge" in losses else ("epsilon_insensitive",)
        check.one_of(f"loss with learning_rate {learning_rate!r}", loss, fitting)
    check.size("average", int(average), 0)
    kernel = jnp.dtype(dtype).name in ("float32", "float64") and native.enabled("sgd")
    return Recipe(loss, penalty, learning_rate, fit_intercept, int(average), kernel)


def check_numbers(recipe: Recipe, values: Numbers) -> None:
    """Refuse hyperparameters out of their range.

    Raises:
        ValueError: naming the range and what came.
    """
    bound = check.above if recipe.learning_rate == "optimal" else check.at_least
    bound("alpha", values.alpha, 0)
    check.between("l1_ratio", values.l1_ratio, 0, 1)
    check.above("eta0", values.eta0, 0)
    check.at_least("power_t", values.power_t, 0)
    check.at_least("epsilon", values.epsilon, 0)


def check_stopping(stopping: Stopping, validation_fraction: Any) -> None:
    """Refuse options of the end of the descent that are out of their range.

    Raises:
        ValueError: naming the range and what came.
    """
    check.size("max_iter", stopping.max_iter, 1)
    check.size("n_iter_no_change", stopping.n_iter_no_change, 1)
    check.above("validation_fraction", validation_fraction, 0)
    check.between("validation_fraction", validation_fraction, 0, 1)


def check_shape(name: str, array: Array | None, shape: tuple[int, ...]) -> None:
    """Refuse an array of another shape; None passes.

    Raises:
        ValueError: naming both shapes.
    """
    if array is not None and array.shape != shape:
        raise ValueError(f"{name} must be {list(shape)}; got {list(array.shape)}")
