"""Weight decay, penalties, norms: what keeps parameters and gradients small.

    tx = optax.chain(regularize.clip_norm(1.0), optimizers.adamw(1e-3))  # decoupled
    tx = optax.chain(regularize.l2_gradient(5e-4), optimizers.momentum(0.1))  # as torch
    loss = loss + regularize.l1_l2(params, l1=1e-5, l2=1e-4)          # as Keras

A mask says which parameters count: a function from the parameters to a tree of
booleans, or None for all of them.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from jaxml.optim.cycles import Scalar

__all__ = [
    "Mask",
    "clip_norm",
    "clip_value",
    "decay_mask",
    "kernel_mask",
    "l1",
    "l1_l2",
    "l2",
    "l2_gradient",
    "max_norm",
]

Mask = Callable[[optax.Params], PyTree] | None

UNDECAYED = frozenset({"bias", "scale", "beta", "gamma"})


def decay_mask(params: PyTree) -> PyTree:
    """True for what weight decay is meant for: not biases, norms and lone numbers.

    A parameter is left out if its last name is that of a bias or of a norm's scale
    (whatever its rank: biases of attention and of scanned layers are matrices), or if
    it is a vector or a number.

        >>> decay_mask({"Dense_0": {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)}})
        {'Dense_0': {'bias': False, 'kernel': True}}
    """
    return jax.tree_util.tree_map_with_path(
        lambda path, p: jnp.ndim(p) > 1 and _last(path) not in UNDECAYED, params
    )


def kernel_mask(params: PyTree) -> PyTree:
    """True for the parameters that are called "kernel"."""
    return jax.tree_util.tree_map_with_path(
        lambda path, p: _last(path) == "kernel" and jnp.ndim(p) > 1, params
    )


def l1(params: PyTree, strength: Scalar, mask: Mask = decay_mask) -> Float[Array, ""]:
    """The penalty strength * sum |w|, to be added to a loss."""
    return strength * _total(jnp.abs, params, mask)


def l2(params: PyTree, strength: Scalar, mask: Mask = decay_mask) -> Float[Array, ""]:
    """The penalty strength * sum w ** 2, to be added to a loss.

    Its gradient is 2 * strength * w, twice that of `l2_gradient`.

        >>> l2({"kernel": jnp.full((2, 2), 3.0)}, 0.1).item()
        3.6000001430511475
    """
    return strength * _total(jnp.square, params, mask)


def l1_l2(
    params: PyTree, l1: Scalar, l2: Scalar, mask: Mask = decay_mask
) -> Float[Array, ""]:
    """The penalty l1 * sum |w| + l2 * sum w ** 2, to be added to a loss."""
    absolute = _total(jnp.abs, params, mask)
    return l1 * absolute + l2 * _total(jnp.square, params, mask)


def l2_gradient(
    strength: Scalar, mask: Mask = None
) -> optax.GradientTransformationExtraArgs:
    """Add strength * w to the gradient: `weight_decay` of torch's SGD and Adam.

    Chain it before the optimizer, whose momentum and scaling then see it.

    Args:
        strength: not multiplied by the rate here.
        mask: which parameters; all of them by default, as in torch.
    """
    return optax.with_extra_args_support(optax.add_decayed_weights(strength, mask))


def clip_value(limit: Scalar) -> optax.GradientTransformation:
    """Clip every component of the gradient to [-limit, limit]."""
    _positive("limit", limit)
    return optax.clip(limit)


def clip_norm(limit: Scalar, eps: Scalar = 1e-6) -> optax.GradientTransformation:
    """Scale the whole gradient down where its norm exceeds `limit`.

    Args:
        limit: on the Euclidean norm over all parameters together, positive.
        eps: added to the norm, as in torch (optax and Keras add nothing).
    """
    _positive("limit", limit)

    def update(grads, state, params=None):
        del params
        factor = jnp.minimum(limit / (optax.tree.norm(grads) + eps), 1.0)
        return jax.tree.map(lambda g: (factor * g).astype(g.dtype), grads), state

    return optax.GradientTransformation(optax.init_empty_state, update)


def max_norm(limit: Scalar, mask: Mask = kernel_mask) -> optax.GradientTransformation:
    """Keep the norm of each unit's incoming weights at most `limit`.

    Chain it last: it changes the update so that the new parameters obey. Units are the
    last axis, as in Flax's kernels [in, out] and [height, width, in, out].

    Args:
        limit: on the Euclidean norm of each unit's weights, positive.
        mask: which parameters.

    References:
        Srivastava et al., JMLR 15 (2014), section 5.1.
    """
    _positive("limit", limit)

    def shorten(u, p):
        moved = p + u
        squares = jnp.square(moved).sum(range(moved.ndim - 1), keepdims=True)
        return (moved * (limit / jnp.maximum(jnp.sqrt(squares), limit)) - p).astype(
            u.dtype
        )

    def update(updates, state, params=None):
        if params is None:
            raise ValueError("max_norm needs params in update(grads, state, params)")
        chosen = _chosen(params, mask)
        updates = jax.tree.map(
            lambda u, p, yes: shorten(u, p) if yes else u, updates, params, chosen
        )
        return updates, state

    return optax.GradientTransformation(optax.init_empty_state, update)


def _chosen(params: PyTree, mask: Mask) -> PyTree:
    return jax.tree.map(lambda _: True, params) if mask is None else mask(params)


def _total(function: Callable, params: PyTree, mask: Mask) -> Float[Array, ""]:
    """The sum of `function` over the parameters that count, in float32 or better."""
    sums = jax.tree.map(
        lambda p, yes: (
            function(p).sum(dtype=jnp.promote_types(p.dtype, float))
            if yes
            else jnp.zeros(())
        ),
        params,
        _chosen(params, mask),
    )
    return sum(jax.tree.leaves(sums), start=jnp.zeros(()))


def _last(path) -> str:
    return jax.tree_util.keystr(path[-1:], simple=True)


def _positive(name: str, value: Scalar) -> None:
    if isinstance(value, int | float) and not value > 0:
        raise ValueError(f"{name} must be positive; got {value}")
