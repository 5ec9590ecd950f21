"""How far predictions lie from targets.

    metrics.compute(metrics.absolute_error(prediction, target, weight))
    metrics.root_squared_error(prediction, target, weight)

What a mean can say is a `Mean`, which batches merge; the rest is a number that needs
all data at once. A row of weight 0 is absent. Of several targets, means are over all; a
number for each is `jax.vmap(root_squared_error, (1, 1, None))`.

Letters: b examples.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from jaxml.metrics import means, quantiles
from jaxml.metrics.means import Mean

__all__ = [
    "absolute_error",
    "gamma_deviance",
    "huber",
    "max_error",
    "median_absolute_error",
    "percentage_error",
    "pinball",
    "poisson_deviance",
    "root_squared_error",
    "root_squared_log_error",
    "squared_error",
    "squared_log_error",
    "tweedie_deviance",
]

Number = float | Float[Array, ""]


def squared_error(
    prediction: Float[Array, "*b"],
    target: Shaped[Array, "..."],
    weight: Shaped[Array, "*lead"] | None = None,
) -> Mean:
    """Mean squared error, in the squared unit of `target`.

    Raises:
        ValueError: if the shapes differ: [b, 1] less [b] would be [b, b].
    """
    means.same_shape(prediction, target)
    return means.mean((prediction - target) ** 2, weight)


def root_squared_error(
    prediction: Float[Array, "*b"],
    target: Shaped[Array, "..."],
    weight: Shaped[Array, "*lead"] | None = None,
) -> Float[Array, ""]:
    """Root of the mean squared error, in the unit of `target`."""
    return jnp.sqrt(means.compute(squared_error(prediction, target, weight)))


def absolute_error(
    prediction: Float[Array, "*b"],
    target: Shaped[Array, "..."],
    weight: Shaped[Array, "*lead"] | None = None,
) -> Mean:
    """Mean absolute error, in the unit of `target`; raises as `squared_error` does."""
    means.same_shape(prediction, target)
    return means.mean(jnp.abs(prediction - target), weight)


def percentage_error(
    prediction: Float[Array, "*b"],
    target: Float[Array, "..."],
    weight: Shaped[Array, "*lead"] | None = None,
) -> Mean:
    """Mean absolute error as a share of the target, 0.1 for 10 %; huge at target 0."""
    means.same_shape(prediction, target)
    least = jnp.asarray(2.0**-52, target.dtype)
    share = jnp.abs(prediction - target) / jnp.maximum(jnp.abs(target), least)
    return means.mean(share, weight)


def squared_log_error(
    prediction: Float[Array, "*b"],
    target: Float[Array, "..."],
    weight: Shaped[Array, "*lead"] | None = None,
) -> Mean:
    """Mean squared difference of log(1 + value), of values above -1; NaN below."""
    means.same_shape(prediction, target)
    return means.mean((jnp.log1p(prediction) - jnp.log1p(target)) ** 2, weight)


def root_squared_log_error(
    prediction: Float[Array, "*b"],
    target: Float[Array, "..."],
    weight: Shaped[Array, "*lead"] | None = None,
) -> Float[Array, ""]:
    """Root of the mean squared logarithmic error."""
    return jnp.sqrt(means.compute(squared_log_error(prediction, target, weight)))


def pinball(
    prediction: Float[Array, "*b"],
    target: Float[Array, "..."],
    weight: Shaped[Array, "*lead"] | None = None,
    *,
    alpha: Number = 0.5,
) -> Mean:
    """Mean pinball loss, least at the quantile `alpha` of the target.

    Args:
        prediction: quantiles.
        target: what came, in the same unit.
        weight: how much each example counts.
        alpha: from 0 to 1; 0.5 is half the absolute error.
    """
    means.same_shape(prediction, target)
    gap = target - prediction
    return means.mean(jnp.maximum(alpha * gap, (alpha - 1) * gap), weight)


def huber(
    prediction: Float[Array, "*b"],
    target: Float[Array, "..."],
    weight: Shaped[Array, "*lead"] | None = None,
    *,
    delta: Number = 1.0,
) -> Mean:
    """Mean Huber loss: half the squared error up to `delta`, linear beyond."""
    means.same_shape(prediction, target)
    gap = jnp.abs(prediction - target)
    return means.mean(
        jnp.where(gap <= delta, gap**2 / 2, delta * (gap - delta / 2)), weight
    )


def tweedie_deviance(
    prediction: Float[Array, "*b"],
    target: Float[Array, "..."],
    weight: Shaped[Array, "*lead"] | None = None,
    *,
    power: float = 0.0,
) -> Mean:
    """Mean deviance of the Tweedie family.

    Args:
        prediction: means of the family; above 0 unless `power` is 0.
        target: what came; at least 0 for a power from 1 to 2, above 0 from 2 on.
        weight: how much each example counts.
        power: variance ∝ mean^power: 0 normal (the squared error), 1 Poisson, 2 gamma,
            3 inverse Gaussian; never between 0 and 1.

    Raises:
        ValueError: if `power` is between 0 and 1, or the shapes differ.
    """
    if 0 < power < 1:
        raise ValueError(f"power must not be between 0 and 1; got {power}")
    means.same_shape(prediction, target)
    y, mu = target, prediction
    if power == 0:
        deviance = (y - mu) ** 2
    elif power == 1:
        log = jnp.log(jnp.where(y > 0, y, 1) / mu)
        deviance = 2 * (jnp.where(y > 0, y * log, 0) - y + mu)
    elif power == 2:
        deviance = 2 * (jnp.log(mu / y) + y / mu - 1)
    else:
        one, two = 1 - power, 2 - power
        base = jnp.maximum(y, 0) if power < 0 else y
        deviance = 2 * (base**two / (one * two) - y * mu**one / one + mu**two / two)
    return means.mean(deviance, weight)


def poisson_deviance(
    prediction: Float[Array, "*b"],
    target: Float[Array, "..."],
    weight: Shaped[Array, "*lead"] | None = None,
) -> Mean:
    """Mean Poisson deviance, of counts."""
    return tweedie_deviance(prediction, target, weight, power=1.0)


def gamma_deviance(
    prediction: Float[Array, "*b"],
    target: Float[Array, "..."],
    weight: Shaped[Array, "*lead"] | None = None,
) -> Mean:
    """Mean gamma deviance, of positive amounts: relative errors count."""
    return tweedie_deviance(prediction, target, weight, power=2.0)


def max_error(
    prediction: Float[Array, "*b"],
    target: Float[Array, "..."],
    weight: Shaped[Array, "*lead"] | None = None,
) -> Float[Array, ""]:
    """The greatest absolute error of the rows whose weight is not 0."""
    means.same_shape(prediction, target)
    gap = jnp.abs(prediction - target)
    if weight is not None:
        gap = jnp.where(means.spread(weight, gap) > 0, gap, 0)
    return gap.max()


def median_absolute_error(
    prediction: Float[Array, "b"],
    target: Float[Array, "b"],
    weight: Shaped[Array, "b"] | None = None,
) -> Float[Array, ""]:
    """The weighted median of the absolute errors; of two that are, the mean."""
    means.same_shape(prediction, target)
    gap = jnp.abs(prediction - target)
    return quantiles.quantile(gap, _weights(gap, weight), 0.5)


def _weights(values, weight):
    return jnp.ones_like(values) if weight is None else means.spread(weight, values)
