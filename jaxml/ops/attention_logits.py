"""What every way to compute attention shares: logits, who sees whom, softmax.

    query, key = by_head(query, key)
    weights = softmax(logits(query, key, bias, options), visible(t, s, mask, options))
    out = weigh(weights, jnp.moveaxis(value, 2, 1), dtype)

Here the heads stand before the tokens: products of matrices that lie in one piece are
twice as fast on a CPU, and a transposition before costs less than one inside.
r: heads of a group.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

__all__ = ["Options", "by_head", "logits", "mean", "softmax", "visible", "weigh"]


class Options(NamedTuple):
    """The settings of `jaxml.ops.attention.attend`."""

    causal: bool
    window: int | None
    scale: float
    softcap: float | None


def by_head(
    query: Float[Array, "b t n d"], key: Float[Array, "b s g d"]
) -> tuple[Float[Array, "b g r t d"], Float[Array, "b g s d"]]:
    """Heads before tokens, those of a group together.

    Args:
        query: what is asked.
        key: what is compared.
    """
    b, t, n, d = query.shape
    key = jnp.moveaxis(key, 2, 1)
    query = jnp.moveaxis(query, 2, 1)
    return query.reshape(b, key.shape[1], n // key.shape[1], t, d), key


def logits(
    query: Float[Array, "b g r t d"],
    key: Float[Array, "b g s d"],
    bias: Float[Array, "#b #n #t #s"] | None,
    options: Options,
) -> Float[Array, "b n t s"]:
    """Scaled, capped and shifted query · key, float32 at least.

    Args:
        query: from `by_head`.
        key: from `by_head`.
        bias: added last: a cap would squash a large negative one.
        options: scale and cap.
    """
    b, g, r, t, _ = query.shape
    wide = jnp.promote_types(query.dtype, jnp.float32)
    # Scaling the query costs t·d products instead of t·s, but rounds in half precision.
    early = query.dtype == wide
    query = query * jnp.asarray(options.scale, wide) if early else query
    x = jnp.einsum("bgrtd,bgsd->bgrts", query, key, preferred_element_type=wide)
    x = x.reshape(b, g * r, t, key.shape[2])
    x = x if early else x * options.scale
    if options.softcap is not None:
        x = options.softcap * jnp.tanh(x / options.softcap)
    return x if bias is None else x + bias.astype(wide)


def visible(
    queries: int,
    keys: int,
    mask: Bool[Array, "#b #n #t s"] | None,
    options: Options,
    start: int | Int[Array, ""] | None = None,
) -> Bool[Array, "#b #n #t s"] | None:
    """Which keys each query may look at; None if all.

    Args:
        queries: how many there are.
        keys: how many there are.
        mask: what the caller allows.
        options: causality and window.
        start: where the first query stands among the keys; keys - queries if None.
    """
    if not options.causal and options.window is None:
        return mask
    start = keys - queries if start is None else start
    place = start + jax.lax.broadcasted_iota(jnp.int32, (queries, keys), 0)
    behind = place - jax.lax.broadcasted_iota(jnp.int32, (queries, keys), 1)
    seen = behind >= 0 if options.causal else jnp.ones((queries, keys), bool)
    if options.window is not None:
        seen &= jnp.abs(behind) < options.window
    seen = seen[None, None]
    return seen if mask is None else mask & seen


def softmax(
    x: Float[Array, "b n t s"], seen: Bool[Array, "#b #n #t s"] | None
) -> Float[Array, "b n t s"]:
    """Softmax over the keys that are seen; zeros where none is.

    Args:
        x: logits.
        seen: which keys count; all if None.
    """
    if seen is None:
        return jax.nn.softmax(x, axis=-1)
    x = jnp.where(seen, x, -jnp.inf)
    largest = jax.lax.stop_gradient(x.max(-1, keepdims=True))
    # A row without any key has -inf as its largest; -inf - -inf would be NaN.
    weights = jnp.exp(x - jnp.where(jnp.isfinite(largest), largest, 0))
    total = weights.sum(-1, keepdims=True)
    return weights / jnp.where(total == 0, 1, total)


def weigh(
    weights: Float[Array, "b n t s"], value: Float[Array, "b g s e"], dtype: Any
) -> Float[Array, "b t n e"]:
    """The values, weighted, heads behind the tokens again.

    Args:
        weights: of each query for each key.
        value: of each key, heads first.
        dtype: of the result; products are rounded to the dtype of the values.
    """
    b, n, t, s = weights.shape
    grouped = weights.astype(value.dtype).reshape(b, value.shape[1], -1, t, s)
    out = jnp.einsum(
        "bgrts,bgse->bgrte",
        grouped,
        value,
        preferred_element_type=jnp.promote_types(value.dtype, jnp.float32),
    )
    return jnp.moveaxis(out.reshape(b, n, t, -1).astype(dtype), 1, 2)


def mean(
    weights: Float[Array, "b n t s"], value: Float[Array, "b s g e"], dtype: Any
) -> Float[Array, "b t n e"]:
    """What `jaxml.ops.attention.attend` makes of its probabilities.

    Args:
        weights: of each query for each key.
        value: of each key.
        dtype: of the result.
    """
    return weigh(weights, jnp.moveaxis(value, 2, 1), dtype)
