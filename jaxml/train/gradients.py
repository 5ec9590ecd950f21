"""Loss and gradients of a batch, whole or in micro-batches.

    loss, grads, extra, metrics = gradients.of_batch(
        loss_fn, params, extra, batch, key, accumulate=4
    )

`jaxml.train.step` is made of it; take it alone for an update that is not optax's.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

__all__ = ["LossFn", "Metrics", "of_batch", "wide"]

Metrics = dict[str, Array]
LossFn = Callable[..., tuple[Float[Array, ""], tuple[PyTree, Metrics]]]

# On a CPU up to so many micro-batches are unrolled: there XLA runs a convolution inside
# a loop ten times slower. Elsewhere it is a loop, which alone is sure to save memory.
_UNROLLED = 8


def of_batch(
    loss_fn: LossFn,
    params: PyTree[Array],
    extra: PyTree[Array],
    batch: Any,
    key: Key[Array, ""],
    *,
    accumulate: int = 1,
    scale: Float[Array, ""] | None = None,
) -> tuple[Float[Array, ""], PyTree[Array], PyTree[Array], Metrics]:
    """Differentiate `loss_fn` by `params`.

    Args:
        loss_fn: `loss_fn(params, extra, batch, key) -> loss, (extra, metrics)`.
        params: in any dtype; the gradients have the same.
        extra: handed from one micro-batch to the next.
        batch: tree of arrays that share the leading axis.
        key: random key; micro-batch i gets it with i folded in.
        accumulate: number of micro-batches, as in `jaxml.train.step.make_step`.
        scale: what the loss is multiplied by before it is differentiated, and the
            gradients divided by after.

    Returns:
        Loss, gradients, the new `extra`, and the metrics.

    Raises:
        ValueError: if the rows cannot be divided, or their weights are not reported.
    """

    def scaled(params, extra, batch, key):
        loss, (extra, metrics) = loss_fn(params, extra, batch, key)
        return loss if scale is None else loss * scale, (loss, extra, metrics)

    def differentiate(extra, batch, key):
        grads, (loss, extra, metrics) = jax.grad(scaled, has_aux=True)(
            params, extra, batch, key
        )
        return loss, grads, extra, metrics

    if accumulate == 1:
        loss, grads, extra, metrics = differentiate(extra, batch, key)
    else:
        micro = _split(batch, accumulate)
        loss, grads, extra, metrics = _mean(differentiate, params, extra, micro, key)
    if scale is not None:
        grads = jax.tree.map(
            lambda grad: (grad * (1 / scale)).astype(grad.dtype), grads
        )
    return loss, grads, extra, metrics


def wide(leaf: Array) -> jnp.dtype:
    """float32, or the dtype of `leaf` if that is wider."""
    return jnp.promote_types(leaf.dtype, jnp.float32)


def _mean(differentiate, params, extra, micro, key):
    """What `differentiate` gives, averaged over micro-batches by their weights."""

    def add(carry, numbered):
        extra, total = carry
        number, batch = numbered
        loss, grads, extra, metrics = differentiate(
            extra, batch, jax.random.fold_in(key, number)
        )
        if "weight" not in metrics and isinstance(batch, Mapping) and "weight" in batch:
            raise ValueError(
                "loss_fn must return metrics['weight'], the sum of the weights it "
                "averaged over, to accumulate over weighted batches; got "
                f"{sorted(metrics)}"
            )
        weight = jnp.asarray(metrics.get("weight", 1.0), jnp.float32)
        total = jax.tree.map(lambda sum, grad: sum + _times(weight, grad), total, grads)
        return (extra, total), (weight, metrics | {"loss": loss})

    # Sums in float32, also for parameters in bfloat16.
    zeros = jax.tree.map(lambda leaf: jnp.zeros_like(leaf, wide(leaf)), params)
    accumulate = len(jax.tree.leaves(micro)[0])
    start, numbered = (extra, zeros), (jnp.arange(accumulate), micro)
    (extra, total), (weight, metrics) = jax.lax.platform_dependent(
        cpu=lambda: jax.lax.scan(add, start, numbered, unroll=accumulate <= _UNROLLED),
        default=lambda: jax.lax.scan(add, start, numbered),
    )
    whole = weight.sum()
    share = 1 / jnp.where(whole == 0, 1, whole)
    grads = jax.tree.map(
        lambda sum, leaf: (sum * share).astype(leaf.dtype), total, params
    )
    means = {name: _times(weight, x).sum() * share for name, x in metrics.items()}
    loss = means.pop("loss")
    if "weight" in metrics:
        means["weight"] = whole
    return loss, grads, extra, means


def _split(batch, accumulate):
    """Every leaf [b, ...] as [accumulate, b / accumulate, ...].

    Row i goes to part i modulo `accumulate`, so that the parts of a batch sharded by
    rows lie on all its devices, and nothing moves.
    """

    def split(leaf):
        if leaf.shape[0] % accumulate:
            raise ValueError(
                f"the rows of a batch must be a multiple of accumulate {accumulate}; "
                f"got {leaf.shape[0]}"
            )
        return leaf.reshape(-1, accumulate, *leaf.shape[1:]).swapaxes(0, 1)

    return jax.tree.map(split, batch)


def _times(weight, value):
    """Their product, 0 for a weight of 0: padding, whatever its loss."""
    return jnp.where(weight == 0, 0, weight * value)
