"""What share of the spread of the targets the predictions explain, at most 1.

    metrics.r2(prediction, target, weight)

A share needs all data at once: those of batches cannot be averaged. A row of weight 0
is absent. Of several targets: `jax.vmap(r2, (1, 1, None))`.

Letters: b examples.

References:
    Hastie, Tibshirani and Wainwright, 2015. Statistical learning with sparsity,
    section 3.1 (the share of deviance explained, D²).
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from jaxml.metrics import means, quantiles
from jaxml.metrics.regression import pinball, squared_error, tweedie_deviance

__all__ = ["d2_absolute", "d2_pinball", "d2_tweedie", "explained_variance", "r2"]

Number = float | Float[Array, ""]


def r2(
    prediction: Float[Array, "b"],
    target: Float[Array, "b"],
    weight: Shaped[Array, "b"] | None = None,
) -> Float[Array, ""]:
    """Share of the variance of `target` that `prediction` explains, at most 1.

    It needs all the data at once: the R² of batches cannot be averaged. Of a constant
    target it is 1 where it is met, else 0.
    """
    center = means.compute(means.mean(target, weight))
    residual = squared_error(prediction, target, weight)
    spread = squared_error(jnp.broadcast_to(center, target.shape), target, weight)
    return _explained(residual, spread)


def explained_variance(
    prediction: Float[Array, "b"],
    target: Float[Array, "b"],
    weight: Shaped[Array, "b"] | None = None,
) -> Float[Array, ""]:
    """As `r2`, but blind to an error that is the same for all."""
    means.same_shape(prediction, target)
    error = target - prediction
    bias = means.compute(means.mean(error, weight))
    center = means.compute(means.mean(target, weight))
    return _explained(
        means.mean((error - bias) ** 2, weight),
        means.mean((target - center) ** 2, weight),
    )


def d2_absolute(
    prediction: Float[Array, "b"],
    target: Float[Array, "b"],
    weight: Shaped[Array, "b"] | None = None,
) -> Float[Array, ""]:
    """Share of the absolute error of the median that `prediction` explains."""
    return d2_pinball(prediction, target, weight, alpha=0.5)


def d2_pinball(
    prediction: Float[Array, "b"],
    target: Float[Array, "b"],
    weight: Shaped[Array, "b"] | None = None,
    *,
    alpha: Number = 0.5,
) -> Float[Array, ""]:
    """Share of the pinball loss of the quantile `alpha` that `prediction` explains."""
    ones = jnp.ones_like(target)
    mass = ones if weight is None else means.spread(weight, target)
    base = quantiles.quantile(target, mass, alpha)
    constant = jnp.broadcast_to(base, target.shape)
    return _explained(
        pinball(prediction, target, weight, alpha=alpha),
        pinball(constant, target, weight, alpha=alpha),
    )


def d2_tweedie(
    prediction: Float[Array, "b"],
    target: Float[Array, "b"],
    weight: Shaped[Array, "b"] | None = None,
    *,
    power: float = 0.0,
) -> Float[Array, ""]:
    """Share of the deviance of the mean that `prediction` explains; R² for power 0."""
    center = means.compute(means.mean(target, weight))
    constant = jnp.broadcast_to(center, target.shape)
    return _explained(
        tweedie_deviance(prediction, target, weight, power=power),
        tweedie_deviance(constant, target, weight, power=power),
    )


def _explained(residual, spread):
    """1 less their ratio; of nothing to explain, 1 where nothing is left, else 0."""
    none = spread.total == 0
    share = 1 - residual.total / jnp.where(none, 1, spread.total)
    return jnp.where(none, jnp.where(residual.total == 0, 1.0, 0.0), share)
