"""Losses of gradient boosting: values, gradients and hessians of raw predictions.

g, h = gradients("log_loss", y, raw)
g, h = gradients(lambda y, raw: jnp.logaddexp(raw - y, y - raw), y, raw)

A loss of one's own is a function `loss(y, raw)` of one row: its target, and its raw
prediction (a number, or [k] where there are k trees for an iteration). JAX derives it.

Letters: n rows, k raw predictions of a row, m leaves.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxml.ops import order

__all__ = ["REGRESSION", "Loss", "baseline", "gradients", "inverse_link", "renewed"]

REGRESSION = ("squared_error", "absolute_error", "quantile", "poisson", "gamma")
Loss = str | Callable  # a name of REGRESSION, "log_loss", or a function
STEPS = 30  # of Newton's method for the first prediction of a user's loss


def values(
    loss: Loss,
    y: Array,
    raw: Float[Array, "k n"],
    quantile: float | Array = 0.5,
) -> Float[Array, "n"]:
    """The loss of each row; the half of it for squares, Poisson and gamma."""
    if callable(loss):
        return jax.vmap(_of_row(loss, len(raw)))(y, raw.T)
    first = raw[0]
    if loss == "log_loss" and len(raw) == 1:
        return jax.nn.softplus(first) - y * first
    if loss == "log_loss":
        chosen = jnp.take_along_axis(raw, y[None].astype(jnp.int32), 0)[0]
        return jax.nn.logsumexp(raw, axis=0) - chosen
    if loss == "squared_error":
        return (first - y) ** 2 / 2
    if loss == "absolute_error":
        return jnp.abs(first - y)
    if loss == "quantile":
        return jnp.where(
            y >= first, quantile * (y - first), (1 - quantile) * (first - y)
        )
    if loss == "poisson":
        return jnp.exp(first) - y * first
    return first + y * jnp.exp(-first)


def gradients(
    loss: Loss,
    y: Array,
    raw: Float[Array, "k n"],
    quantile: float | Array = 0.5,
) -> tuple[Float[Array, "k n"], Float[Array, "k n"] | Float[Array, "k 1"]]:
    """First and second derivatives in the raw predictions; [k, 1] if constant.

    Of k > 1 raw predictions the diagonal of the hessian.
    """
    if callable(loss):
        return _derived(loss, y, raw)
    one = jnp.ones((1, 1), raw.dtype)
    if loss == "log_loss" and len(raw) == 1:
        chance = jax.nn.sigmoid(raw)
        return chance - y[None].astype(raw.dtype), chance * (1 - chance)
    if loss == "log_loss":
        chance = jax.nn.softmax(raw, axis=0)
        own = jnp.arange(len(raw))[:, None] == y[None]
        return chance - own.astype(raw.dtype), chance * (1 - chance)
    y = y[None]
    if loss == "squared_error":
        return raw - y, one
    if loss in ("absolute_error", "quantile"):
        below, above = (1, 1) if loss == "absolute_error" else (quantile, 1 - quantile)
        slope = jnp.where(y >= raw, -below, above).astype(raw.dtype)
        return slope + 0 * (y - raw), one  # a NaN must be seen
    if loss == "poisson":
        mean = jnp.exp(raw)
        return mean - y, mean
    share = y * jnp.exp(-raw)
    return 1 - share, share


def _of_row(loss, k):
    """The loss of one row, of raw predictions [k]."""
    return (lambda y, raw: loss(y, raw[0])) if k == 1 else loss


def _derived(loss, y, raw):
    """Gradient and diagonal of the hessian by JAX."""
    slope = jax.grad(_of_row(loss, len(raw)), 1)

    def row(y, raw):
        def along(direction):
            return jax.jvp(lambda r: slope(y, r), (raw,), (direction,))[1] @ direction

        return slope(y, raw), jax.vmap(along)(jnp.eye(len(raw), dtype=raw.dtype))

    g, h = jax.vmap(row)(y, raw.T)
    return g.T, h.T


def baseline(
    loss: Loss,
    y: Array,
    weight: Float[Array, "n"],
    k: int,
    quantile: float | Array = 0.5,
) -> Float[Array, "k"]:
    """The best constant raw prediction; of several classes centred.

    Args:
        loss: which.
        y: targets.
        weight: of each row.
        k: raw predictions of a row.
        quantile: of the loss "quantile".
    """
    dtype, total = weight.dtype, weight.sum()
    if callable(loss):
        return _newton(loss, y, weight, k)
    if loss == "log_loss":
        tiny = jnp.finfo(dtype).eps
        if k == 1:
            chance = jnp.clip((weight * y).sum() / total, tiny, 1 - tiny)
            return jnp.log(chance / (1 - chance))[None]
        own = (jnp.arange(k)[:, None] == y[None]).astype(dtype)
        score = jnp.log(jnp.clip(own @ weight / total, tiny, 1 - tiny))
        return score - score.mean()
    if loss in ("absolute_error", "quantile"):
        share = jnp.asarray(0.5, dtype) if loss == "absolute_error" else quantile
        return _quantiles(y, weight, jnp.zeros(len(y), jnp.int32), 1, share)
    mean = jnp.where(weight > 0, weight * y, 0).sum() / total
    return (mean if loss == "squared_error" else jnp.log(mean))[None]


def _newton(loss, y, weight, k):
    """Minimise the sum of the losses over a constant."""

    def step(_, raw):
        spread = jnp.broadcast_to(raw[:, None], (k, len(y)))
        g, h = _derived(loss, y, spread)
        g, h = g @ weight, h @ weight
        move = g / jnp.maximum(h, jnp.finfo(raw.dtype).tiny)
        # A loss without curvature here has no Newton step.
        return raw - jnp.where(h > 0, jnp.clip(move, -10, 10), 0 * g)

    return jax.lax.fori_loop(0, STEPS, step, jnp.zeros(k, weight.dtype))


def inverse_link(loss: Loss, raw: Array) -> Array:
    """The prediction of a regression from the raw one."""
    return jnp.exp(raw) if loss in ("poisson", "gamma") else raw


def renewed(
    loss: Loss,
    residual: Float[Array, "n"],
    weight: Float[Array, "n"],
    leaf: Int[Array, "n"],
    value: Float[Array, "m"],
    quantile: float | Array = 0.5,
) -> Float[Array, "m"]:
    """Values of leaves: for losses without curvature, quantiles of the residuals."""
    if loss not in ("absolute_error", "quantile"):
        return value
    share = jnp.asarray(0.5, value.dtype) if loss == "absolute_error" else quantile
    found = _quantiles(residual, weight, leaf, len(value), share)
    there = jnp.zeros(len(value), weight.dtype).at[leaf].add(weight) > 0
    # A NaN in the value is one in the data, and stays.
    return jnp.where(there & ~jnp.isnan(value), found, value)


def _quantiles(x, weight, segment, count, share):
    """Weighted quantiles of segments, the middle of the two where both are right.

    Bisection over the bits of the floats: sums over the rows, no sort.
    """
    keys = order.bits(x)
    width = keys.dtype.itemsize * 8
    total = jnp.zeros(count, x.dtype).at[segment].add(weight)
    # Room for the rounding of the sums, so that equal halves are seen as equal.
    slack = 8 * float(jnp.finfo(x.dtype).eps)
    low, high = total * share * (1 - slack), total * share * (1 + slack)

    def upto(limit):
        inside = jnp.where(keys <= limit[segment], weight, 0)
        return jnp.zeros(count, x.dtype).at[segment].add(inside)

    def halve(i, least):
        bit = jnp.asarray(1, keys.dtype) << (width - 1 - i).astype(keys.dtype)
        # Bits above are known: is the key below this half?
        half = least + (bit - 1)
        return jnp.where(upto(half) >= low, least, least + bit)

    key = jax.lax.fori_loop(0, width, halve, jnp.zeros(count, keys.dtype))
    member = (keys <= key[segment]) & (weight > 0)
    lower = jnp.full(count, -jnp.inf, x.dtype)
    lower = lower.at[segment].max(jnp.where(member, x, -jnp.inf))
    upper = jnp.full(count, jnp.inf, x.dtype)
    beyond = (keys > key[segment]) & (weight > 0)
    upper = upper.at[segment].min(jnp.where(beyond, x, jnp.inf))
    tied = (upto(key) <= high) & (upper < jnp.inf)
    return jnp.where(tied, (lower + upper) / 2, lower)
