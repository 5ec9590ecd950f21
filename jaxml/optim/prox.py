"""Proximal operators and projections: what a step of proximal gradient ends with.

    shrunk = prox.l1(weights, 0.1)                     # soft threshold
    shares = prox.simplex(scores)                      # nearest point of the simplex
    solution = proximal.minimize(loss, start, lambda v, step: prox.l1(v, 0.1 * step))

The proximal operator of g is prox(u) = argmin over v of ½|v - u|² + g(v); that of a
constraint is the projection: the nearest point that obeys. Multiply the strength by the
step where a step is taken. All are differentiable where they are smooth. `value` may be
a tree of arrays; a strength is then one number for all or a tree like it. For a lone
array it may be an array that broadcasts.

Letters: u the value, v the result, λ a strength.

References:
    Parikh and Boyd, 2014. Proximal Algorithms. Foundations and Trends in Optimization
    1(3), sections 6 and 7.
    Duchi et al., 2008. Efficient projections onto the l1-ball for learning in high
    dimensions. ICML, figure 1.
    Simon et al., 2013. A sparse-group lasso. J. Comput. Graph. Stat. 22(2), eq. 10.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxml.ops import check

__all__ = [
    "box",
    "elastic_net",
    "group_l2",
    "halfspace",
    "hyperplane",
    "identity",
    "l1",
    "l1_ball",
    "l2_ball",
    "non_negative",
    "non_negative_l1",
    "ridge",
    "simplex",
    "sparse_group",
]

Strength = Any  # a number, an array that broadcasts, or a tree like the value


def identity(value: PyTree, step: Strength = 1.0) -> PyTree:
    """Of g = 0: plain gradient descent."""
    del step
    return value


def l1(value: PyTree, strength: Strength) -> PyTree:
    """Of λ Σ|v|: sign(u) max(|u| - λ, 0), the soft threshold.

    >>> l1(jnp.array([3.0, -0.5, -2.0]), 1.0)
    Array([ 2.,  0., -1.], dtype=float32)
    """
    return _each(_soft, value, strength)


def non_negative_l1(value: PyTree, strength: Strength) -> PyTree:
    """Of λ Σ v where v ≥ 0: max(u - λ, 0)."""
    return _each(lambda u, λ: jnp.maximum(u - λ, 0), value, strength)


def ridge(value: PyTree, strength: Strength) -> PyTree:
    """Of ½ λ Σ v²: u / (1 + λ)."""
    return _each(lambda u, λ: u / (1 + λ), value, strength)


def elastic_net(value: PyTree, l1: Strength, l2: Strength) -> PyTree:
    """Of λ₁ Σ|v| + ½ λ₂ Σ v²: the soft threshold of λ₁, over 1 + λ₂."""
    return ridge(_each(_soft, value, l1), l2)


def group_l2(
    value: Float[Array, "..."],
    strength: float | Float[Array, ""],
    *,
    axis: int | tuple[int, ...] | None = None,
) -> Float[Array, "..."]:
    """Of λ Σ over groups |v_group|₂: u_group max(1 - λ / |u_group|, 0).

    Args:
        value: the groups.
        strength: λ, at least 0.
        axis: along which the members of a group lie; None: all is one group.
    """
    squares = (value * value).sum(axis, keepdims=True)
    outside = squares > strength * strength
    norm = jnp.sqrt(jnp.where(outside, squares, 1))
    scale = jnp.where(outside, 1 - strength / norm, 0)
    return value * jnp.broadcast_to(scale, value.shape)


def sparse_group(
    value: Float[Array, "..."],
    l1: float | Float[Array, ""],
    l2: float | Float[Array, ""],
    *,
    axis: int | tuple[int, ...] | None = None,
) -> Float[Array, "..."]:
    """Of λ₁ Σ|v| + λ₂ Σ over groups |v_group|₂: one after the other (Simon, eq. 10)."""
    return group_l2(_soft(value, l1), l2, axis=axis)


def non_negative(value: PyTree) -> PyTree:
    """Project on v ≥ 0."""
    return jax.tree.map(lambda u: jnp.maximum(u, 0), value)


def box(value: PyTree, low: Strength, high: Strength) -> PyTree:
    """Project on low ≤ v ≤ high."""
    return _each(jnp.minimum, _each(jnp.maximum, value, low), high)


def simplex(
    value: Float[Array, "*batch k"], total: float | Float[Array, ""] = 1.0
) -> Float[Array, "*batch k"]:
    """Project each row of the last axis on v ≥ 0, Σ v = total.

    v = max(u - θ, 0), where θ makes the sum right; found by sorting.

    >>> simplex(jnp.array([0.5, 1.5, -3.0]))
    Array([0., 1., 0.], dtype=float32)

    Args:
        value: rows.
        total: the sum, above 0.

    Raises:
        ValueError: if the total is not above 0.
    """
    check.above("total", total, 0)
    fixed = jax.lax.stop_gradient(value)
    falling = -jnp.sort(-fixed, axis=-1)
    excess = jnp.cumsum(falling, -1) - total
    count = jnp.arange(1, value.shape[-1] + 1, dtype=value.dtype)
    # The largest k numbers stay positive: u_k > (u_1 + ... + u_k - total) / k.
    count = jnp.broadcast_to(count, value.shape)
    positive = falling * count > excess
    least = jnp.where(positive, falling, jnp.inf).min(-1, keepdims=True)
    support = fixed >= jnp.broadcast_to(least, value.shape)
    # θ from the support again: the derivative need not go through the sort.
    theta = (jnp.where(support, value, 0).sum(-1, keepdims=True) - total) / support.sum(
        -1, keepdims=True
    ).astype(value.dtype)
    moved = jnp.maximum(value - jnp.broadcast_to(theta, value.shape), 0)
    return jnp.where(support, moved, 0)


def l1_ball(
    value: Float[Array, "*batch k"], radius: float | Float[Array, ""] = 1.0
) -> Float[Array, "*batch k"]:
    """Project each row of the last axis on Σ|v| ≤ radius.

    Args:
        value: rows.
        radius: above 0.

    Raises:
        ValueError: if the radius is not above 0.
    """
    check.above("radius", radius, 0)
    inside = jnp.abs(value).sum(-1, keepdims=True) <= radius
    outer = jnp.sign(value) * simplex(jnp.abs(value), radius)
    return jnp.where(jnp.broadcast_to(inside, value.shape), value, outer)


def l2_ball(value: PyTree, radius: float | Float[Array, ""] = 1.0) -> PyTree:
    """Project the whole tree on |v|₂ ≤ radius: u min(1, radius / |u|)."""
    squares = sum(jnp.sum(u * u) for u in jax.tree.leaves(value))
    outside = squares > radius * radius
    norm = jnp.sqrt(jnp.where(outside, squares, 1))
    scale = jnp.where(outside, radius / norm, 1)
    return jax.tree.map(lambda u: u * scale, value)


def hyperplane(
    value: Float[Array, "k"],
    normal: Float[Array, "k"],
    offset: float | Float[Array, ""] = 0.0,
) -> Float[Array, "k"]:
    """Project on normalᵀ v = offset."""
    slack = jnp.dot(normal, value, precision="highest") - offset
    return value - normal * (slack / (normal * normal).sum())


def halfspace(
    value: Float[Array, "k"],
    normal: Float[Array, "k"],
    offset: float | Float[Array, ""] = 0.0,
) -> Float[Array, "k"]:
    """Project on normalᵀ v ≤ offset."""
    slack = jnp.dot(normal, value, precision="highest") - offset
    return value - normal * (jnp.maximum(slack, 0) / (normal * normal).sum())


def _soft(value, strength):
    return value - jnp.clip(value, -strength, strength)


def _each(function, value: PyTree, strength: Strength) -> PyTree:
    """Apply to every leaf, with its own strength if there is a tree of them."""
    given: Any = jax.tree.structure(strength)
    if given == jax.tree.structure(value):
        return jax.tree.map(function, value, strength)
    return jax.tree.map(lambda leaf: function(leaf, strength), value)
