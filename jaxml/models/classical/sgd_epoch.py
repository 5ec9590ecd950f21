"""One pass of stochastic gradient descent over rows of data, one row a step.

iterate, objective = epoch(recipe, numbers, rows, order, rate, active, iterate)

What the linear models of scikit-learn's SGD family share: losses of a linear prediction
p = w·x + b, penalties, rates, averages. All k outputs (one-versus-all) take one pass.
On a CPU with a C++ compiler the rows are walked by `jaxml/ops/sgd.cc`, elsewhere by a
scan; both take the same steps in the same order.

Letters: n rows, d features, k outputs.

References:
    Bottou, 2012. Stochastic gradient descent tricks. (the rate "optimal")
    Tsuruoka, Tsujii and Ananiadou, 2009. Stochastic gradient descent training for
        L1-regularized log-linear models with cumulative penalty. ACL, fig. 2.
    Crammer et al., 2006. Online passive-aggressive algorithms. JMLR 7.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxml.ops import native

__all__ = ["Iterate", "Numbers", "Recipe", "Rows", "epoch", "losses"]

# The positions are the numbers by which sgd.cc knows the choices.
LOSSES = (
    "hinge",
    "perceptron",
    "squared_hinge",
    "modified_huber",
    "log_loss",
    "squared_error",
    "huber",
    "epsilon_insensitive",
    "squared_epsilon_insensitive",
)
PENALTIES = (None, "l1", "l2", "elasticnet")
RATES = ("constant", "optimal", "invscaling", "adaptive", "pa1", "pa2")
STEEPEST = 1e12  # a slope beyond it is clipped, as in scikit-learn


class Recipe(NamedTuple):
    """What is static."""

    loss: str
    penalty: str | None
    learning_rate: str
    fit_intercept: bool
    average: int  # the step from which iterates are averaged; 0: never
    native: bool  # whether a CPU runs the kernel


class Numbers(NamedTuple):
    """What may be tuned under vmap; inside of the dtype of the rows."""

    alpha: float | Float[Array, ""]
    l1_ratio: float | Float[Array, ""]
    eta0: float | Float[Array, ""]
    power_t: float | Float[Array, ""]
    epsilon: float | Float[Array, ""]


class Rows(NamedTuple):
    """What is learned from."""

    x: Float[Array, "n d"]
    target: Float[Array, "n k"]  # -1 and 1, or what to regress on
    weight: Float[Array, "n"]  # 0: the row is absent
    side: Float[Array, "2 k"]  # weights of the targets up to 0, and above


class Iterate(NamedTuple):
    """Where the descent stands."""

    coef: Float[Array, "k d"]
    intercept: Float[Array, "k"]
    mean_coef: Float[Array, "k d"]  # over the steps from `average` on
    mean_intercept: Float[Array, "k"]
    shrunk: Float[
        Array, "k d"
    ]  # L1 penalty that each coefficient has taken: q of Tsuruoka
    due: Float[Array, "k"]  # L1 penalty that each could have taken: u
    squares: Float[Array, "k"]  # squared L2 norm of coef before the last truncation
    sizes: Float[Array, "k"]  # L1 norm, likewise
    t: Int[Array, ""]  # 1 + steps


def losses(name: str, p: Array, y: Array, epsilon: Array) -> tuple[Array, Array]:
    """Loss of the prediction `p` of the target `y`, and its slope in `p`."""
    if name in LOSSES[:5]:
        margin = p * y
        value, slope = _margin_loss(name, margin)
        return value, slope * y
    error = p - y
    size, sign = jnp.abs(error), jnp.sign(error)
    beyond = jnp.maximum(size - epsilon, 0)
    if name == "squared_error":
        return 0.5 * error**2, error
    if name == "huber":
        inside = size <= epsilon
        value = jnp.where(inside, 0.5 * error**2, epsilon * (size - 0.5 * epsilon))
        return value, jnp.where(inside, error, epsilon * sign)
    if name == "epsilon_insensitive":
        return beyond, jnp.where(size <= epsilon, 0, sign)
    return beyond**2, 2 * beyond * sign


def _margin_loss(name, margin):
    if name == "log_loss":
        return jnp.logaddexp(-margin, 0), -jax.nn.sigmoid(-margin)
    if name == "modified_huber":
        slack = jnp.maximum(1 - margin, 0)
        steep = margin < -1
        value = jnp.where(steep, -4 * margin, slack**2)
        return value, jnp.where(steep, -4 * jnp.ones_like(margin), -2 * slack)
    slack = (0 if name == "perceptron" else 1) - margin
    if name == "squared_hinge":
        return jnp.maximum(slack, 0) ** 2, -2 * jnp.maximum(slack, 0)
    # Written so that a NaN has a slope, and shows in the coefficients.
    return jnp.maximum(slack, 0), jnp.where(slack < 0, jnp.zeros_like(slack), -1)


def epoch(
    recipe: Recipe,
    numbers: Numbers,
    rows: Rows,
    order: Int[Array, "n"],
    rate: Float[Array, "k"],
    active: Bool[Array, "k"],
    iterate: Iterate,
) -> tuple[Iterate, Float[Array, "k"]]:
    """Take one step for each row that has a weight.

    Args:
        recipe: what is static.
        numbers: hyperparameters.
        rows: the data.
        order: permutation of the rows.
        rate: size of the steps where the rate is "constant" or "adaptive".
        active: outputs that still learn; the others stay.
        iterate: where to start.

    Returns:
        Where it ends, and the sum of loss and penalty met on the way.
    """
    given = [jnp.asarray(number, rows.x.dtype) for number in numbers]
    inputs = (*given, *rows, order, rate, active, *iterate)

    def scan(*inputs):
        numbers, rest = Numbers(*inputs[:5]), inputs[5:]
        rows, (order, rate, active), iterate = Rows(*rest[:4]), rest[4:7], rest[7:]
        return _scan(recipe, numbers, rows, order, rate, active, Iterate(*iterate))

    if not recipe.native:
        outputs = scan(*inputs)
    else:
        shapes = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in iterate]
        outputs = native.call(
            "sgd",
            f"sgd_epoch_{rows.x.dtype}",
            scan,
            [*shapes, shapes[1]],
            *inputs,
            loss=LOSSES.index(recipe.loss),
            penalty=PENALTIES.index(recipe.penalty),
            rate=RATES.index(recipe.learning_rate),
            fit_intercept=int(recipe.fit_intercept),
            average=recipe.average,
        )
    return Iterate(*outputs[:-1]), outputs[-1]


def _scan(recipe, numbers, rows, order, rate, active, iterate):
    """What the kernel does, in XLA: the outputs in a flat tuple."""

    def step(carry, i):
        iterate, objective = carry
        iterate, met = _step(recipe, numbers, rows, i, rate, active, iterate)
        return (iterate, objective + met), None

    zero = jnp.zeros_like(iterate.intercept)
    (iterate, objective), _ = jax.lax.scan(step, (iterate, zero), order)
    return (*iterate, objective)


def _step(recipe, numbers, rows, i, rate, active, iterate):
    """One row: the iterate after it, and loss and penalty before."""
    x, y, weight = rows.x[i], rows.target[i], rows.weight[i]
    passive = recipe.learning_rate in ("pa1", "pa2")
    p = (iterate.coef * x[None]).sum(1) + iterate.intercept
    value, slope = losses(recipe.loss, p, y, numbers.epsilon)
    l1_ratio = {"l1": 1.0, "l2": 0.0}.get(recipe.penalty, numbers.l1_ratio)
    eta = _rate(recipe.learning_rate, numbers, iterate.t, rate)
    go = active & (weight > 0)
    met = value
    if recipe.penalty is not None and not passive:
        ridge = (1 - l1_ratio) * 0.5 * iterate.squares
        met = value + numbers.alpha * (ridge + l1_ratio * iterate.sizes)
    met = jnp.where(go, met, 0)
    if passive:
        squares = (x * x).sum()
        if recipe.learning_rate == "pa1":
            go = go & (squares > 0)
            size = jnp.minimum(eta, value / jnp.where(squares > 0, squares, 1))
        else:
            size = value / (squares + 0.5 / numbers.eta0)
        update = -jnp.sign(slope) * size
    else:
        update = -eta * jnp.clip(slope, -STEEPEST, STEEPEST)
    update = update * jnp.where(y > 0, rows.side[1], rows.side[0]) * weight

    coef, squares, sizes = iterate.coef, iterate.squares, iterate.sizes
    shrunk, due = iterate.shrunk, iterate.due
    if recipe.penalty in ("l2", "elasticnet"):
        # A large rate must not turn the sign of the coefficients.
        shrink = jnp.maximum(0, 1 - (1 - l1_ratio) * eta * numbers.alpha)
        shrink = jnp.broadcast_to(shrink, update.shape)
        coef = coef * shrink[:, None]
        squares, sizes = squares * shrink**2, sizes * shrink
    coef = coef + update[:, None] * x[None]
    if recipe.penalty in ("l2", "elasticnet"):
        squares = jnp.where(update != 0, (coef * coef).sum(1), squares)
    if recipe.penalty in ("l1", "elasticnet"):
        sizes = jnp.where(update != 0, jnp.abs(coef).sum(1), sizes)
        due = due + l1_ratio * eta * numbers.alpha
        coef, shrunk = _truncate(coef, shrunk, due)
    intercept = iterate.intercept
    if recipe.fit_intercept:
        intercept = intercept + update
    mean_coef, mean_intercept = iterate.mean_coef, iterate.mean_intercept
    if recipe.average:
        # Until the average begins it is the iterate itself.
        count = jnp.maximum(iterate.t - recipe.average + 1, 1).astype(x.dtype)
        mean_coef = mean_coef + (coef - mean_coef) / count
        mean_intercept = mean_intercept + (intercept - mean_intercept) / count
    t = _count(iterate.t, go.any())
    new = Iterate(
        coef, intercept, mean_coef, mean_intercept, shrunk, due, squares, sizes, t
    )

    def chosen(new, old):
        if new is old or new.ndim == 0:
            return new
        return jnp.where(go if new.ndim == 1 else go[:, None], new, old)

    return jax.tree.map(chosen, new, iterate), met


def _truncate(coef, shrunk, due):
    """Take from each coefficient the penalty that it still owes, up to 0."""
    below = jnp.maximum(0, coef - (due[:, None] + shrunk))
    above = jnp.minimum(0, coef + (due[:, None] - shrunk))
    new = jnp.where(coef > 0, below, jnp.where(coef < 0, above, coef))
    return new, shrunk + new - coef


def _rate(name, numbers, t, rate):
    """Size of step t, for all outputs or for each."""
    t = t.astype(numbers.alpha.dtype)
    if name == "optimal":
        # The first step is as long as typical coefficients, alpha^(-1/4).
        return 1 / (numbers.alpha * (numbers.alpha**-0.75 + t - 1))
    return numbers.eta0 / t**numbers.power_t if name == "invscaling" else rate


def _count(t, went):
    """Count a step, and stay at the largest integer."""
    return jnp.where(went & (t < jnp.iinfo(t.dtype).max), t + 1, t)
