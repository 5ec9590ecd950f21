"""Derivatives of a solution by the implicit function theorem, without its iterations.

value, info = implicit.root(jax.grad(loss), start, lambda start: newton(loss, start))

If F(value, θ) = 0 holds at the solution, dvalue/dθ = -(∂F/∂value)⁻¹ ∂F/∂θ, whatever
found it. Every traced array that `residual` closes over is a θ: in forward and in
reverse mode, under vmap, and again for second derivatives.

References:
    Blondel et al., 2022. Efficient and modular implicit differentiation.
    arXiv:2105.15183, eq. 2.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import PyTree

from jaxml.ops import check

__all__ = ["root"]

DENSE = 1024  # unknowns up to which "auto" factors the Jacobian


def root(
    residual: Callable[[PyTree], PyTree],
    start: PyTree,
    solve: Callable[[PyTree], tuple[PyTree, Any]],
    *,
    linear: str = "auto",
) -> tuple[PyTree, Any]:
    """Run `solve`, and differentiate its value as the root of `residual`.

    Args:
        residual: a function of the value, like it, that is 0 at the solution: the
            gradient of a smooth objective; value minus one proximal step of it.
        start: where to start; no derivative flows to it. solve: from the start to the
        value and anything else, which has no derivative. linear: "dense" factors the
        Jacobian of the residual (LU), "cg" solves by conjugate
            gradients (the Jacobian must be symmetric and positive), "normal" by
            conjugate gradients on its normal equations. "auto": dense up to 1,024
            unknowns, above that "normal".

    Returns:
        What `solve` returns.

    Raises:
        ValueError: if `linear` is unknown.
    """
    check.one_of("linear", linear, ("auto", "dense", "cg", "normal"))
    flat, unravel = ravel_pytree(jax.lax.stop_gradient(start))
    kinds: list[PyTree] = []
    if linear == "auto":
        linear = "dense" if flat.size <= DENSE else "normal"

    def flat_residual(vector):
        return ravel_pytree(residual(unravel(vector)))[0]

    def flat_solve(_, vector):
        value, rest = solve(unravel(vector))
        kinds.append(jax.tree.map(jnp.result_type, rest))
        # custom_root has no derivative for integers; below 2^24 a float holds them.
        rest = jax.tree.map(lambda leaf: jnp.asarray(leaf, vector.dtype), rest)
        return ravel_pytree(value)[0], rest

    vector, rest = jax.lax.custom_root(
        flat_residual, flat, flat_solve, _SOLVERS[linear], has_aux=True
    )
    rest = jax.tree.map(lambda leaf, kind: leaf.astype(kind), rest, kinds[-1])
    return unravel(vector), jax.lax.stop_gradient(rest)


def _dense(product, target):
    jacobian = jax.jacfwd(product)(jnp.zeros_like(target))
    return jnp.linalg.solve(jacobian, target)


def _cg(product, target):
    return jax.lax.custom_linear_solve(product, target, _gradients, symmetric=True)


def _normal(product, target):
    return jax.lax.custom_linear_solve(product, target, _by_normal, _by_normal)


def _gradients(product, target):
    """Conjugate gradients, to the last digits."""
    eps = float(jnp.finfo(target.dtype).eps)
    most = 4 * len(target)
    return jax.scipy.sparse.linalg.cg(product, target, tol=eps, maxiter=most)[0]


def _by_normal(product, target):
    """The same on the normal equations, for a Jacobian that is not symmetric."""
    transpose = jax.linear_transpose(product, target)
    square = lambda vector: transpose(product(vector))[0]
    return _gradients(square, transpose(target)[0])


_SOLVERS = {"dense": _dense, "cg": _cg, "normal": _normal}
