"""Directions of descent that optax lacks, or computes otherwise than torch.

    tx = optax.chain(directions.rms(decay=0.99), optimizers.scale_by_rate(1e-3))

Each is a gradient transformation without a rate. Letters: g gradient, m and v its first
and second moment, t the step counted from 1.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

from jaxml.optim.cycles import Scalar, Schedule

__all__ = [
    "NadamState",
    "RmsState",
    "RootOfSumState",
    "VelocityState",
    "nadam",
    "radam",
    "rms",
    "root_of_sum",
    "velocity",
]


class VelocityState(NamedTuple):
    """State of `velocity`."""

    step: Int[Array, ""]  # updates done
    momentum: Float[Array, ""]  # of the last update
    velocity: PyTree[Array]


class RootOfSumState(NamedTuple):
    """State of `root_of_sum`."""

    total: PyTree[Array]  # of the squared gradients


class RmsState(NamedTuple):
    """State of `rms`."""

    mean: PyTree[Array] | None  # only where centered
    square: PyTree[Array]


class NadamState(NamedTuple):
    """State of `nadam`."""

    step: Int[Array, ""]
    product: Float[Array, ""]  # of the momenta so far
    mean: PyTree[Array]
    square: PyTree[Array]


def velocity(
    momentum: Scalar | Schedule, *, nesterov: bool = False
) -> optax.GradientTransformation:
    """Accumulate: velocity = momentum * velocity + g; the rate multiplies it later.

    Args:
        momentum: in [0, 1), or a schedule of it.
        nesterov: return g + momentum * velocity, the gradient one step ahead.
    """

    def at(count):
        return jnp.array(momentum(count) if callable(momentum) else momentum, float)

    def init(params):
        count = jnp.zeros((), jnp.int32)
        return VelocityState(count, at(count), optax.tree.zeros_like(params))

    def update(grads, state, params=None):
        del params
        now = at(state.step)

        def step(v, g):
            return (now * v + g).astype(v.dtype)

        moved = jax.tree.map(step, state.velocity, grads)
        ahead = jax.tree.map(step, moved, grads) if nesterov else moved
        return ahead, VelocityState(optax.safe_increment(state.step), now, moved)

    return optax.GradientTransformation(init, update)


def root_of_sum(
    *, initial: Scalar = 0.0, eps: Scalar = 1e-10
) -> optax.GradientTransformation:
    """AdaGrad: g / (sqrt(initial + sum of all g ** 2) + eps)."""

    def init(params):
        return RootOfSumState(optax.tree.full_like(params, initial))

    def update(grads, state, params=None):
        del params
        total = jax.tree.map(lambda s, g: s + g * g, state.total, grads)
        scaled = jax.tree.map(lambda g, s: g / (jnp.sqrt(s) + eps), grads, total)
        return scaled, RootOfSumState(total)

    return optax.GradientTransformation(init, update)


def rms(
    *, decay: Scalar = 0.9, eps: Scalar = 1e-8, centered: bool = False
) -> optax.GradientTransformation:
    """RMSProp: g / (sqrt(v) + eps), with v - m ** 2 in the place of v if centered."""

    def init(params):
        mean = optax.tree.zeros_like(params) if centered else None
        return RmsState(mean, optax.tree.zeros_like(params))

    def update(grads, state, params=None):
        del params
        mean = None
        square = optax.tree.update_moment(grads, state.square, decay, 2)
        variance = square
        if centered:
            mean = optax.tree.update_moment(grads, state.mean, decay, 1)
            # Rounding can take the variance of a constant gradient below zero.
            variance = jax.tree.map(
                lambda v, m: jnp.maximum(v - m * m, 0.0), square, mean
            )
        scaled = jax.tree.map(lambda g, v: g / (jnp.sqrt(v) + eps), grads, variance)
        return scaled, RmsState(mean, square)

    return optax.GradientTransformation(init, update)


def nadam(
    *,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    momentum_decay: Scalar = 0.004,
) -> optax.GradientTransformation:
    """Adam with Nesterov's momentum, whose momentum warms up from b1 / 2 to b1.

    References:
        Dozat, "Incorporating Nesterov Momentum into Adam", ICLR workshop 2016, alg. 2
        with mu_t = b1 * (1 - 0.96 ** (t * momentum_decay) / 2).
    """

    def momentum(t):
        return b1 * (1.0 - 0.5 * 0.96 ** (t * momentum_decay))

    def init(params):
        mean, square = optax.tree.zeros_like(params), optax.tree.zeros_like(params)
        return NadamState(jnp.zeros((), jnp.int32), jnp.ones((), float), mean, square)

    def update(grads, state, params=None):
        del params
        count = optax.safe_increment(state.step)
        t = count.astype(float)
        product = state.product * momentum(t)
        of_g = (1.0 - momentum(t)) / (1.0 - product)
        of_m = momentum(t + 1.0) / (1.0 - product * momentum(t + 1.0))
        unseen = _one_minus_power(b2, t)
        mean = optax.tree.update_moment(grads, state.mean, b1, 1)
        square = optax.tree.update_moment(grads, state.square, b2, 2)

        def direct(g, m, v):
            return ((of_g * g + of_m * m) / (jnp.sqrt(v / unseen) + eps)).astype(
                g.dtype
            )

        scaled = jax.tree.map(direct, grads, mean, square)
        return scaled, NadamState(count, product, mean, square)

    return optax.GradientTransformation(init, update)


def radam(
    *, b1: Scalar = 0.9, b2: Scalar = 0.999, eps: Scalar = 1e-8
) -> optax.GradientTransformation:
    """Adam that is plain momentum until the second moment has seen enough steps.

    References:
        Liu et al., arXiv:1908.03265, alg. 2.
    """
    # The length of the average, rho_t = rho_inf - 2 t b2^t / (1 - b2^t), is a small
    # difference of two thousands. With a = -log(b2) and x = a t it is
    # coth(a/2) - (2/a) x / (e^x - 1): the two poles 2/a are taken out by series.
    a = -_log(b2)
    head = a / 6.0 - a**3 / 360.0  # coth(a/2) - 2/a
    longest = 2.0 / a + head

    def length(x):
        near = x * (0.5 - x * (1 / 12 - x * x * (1 / 720 - x * x / 30240)))
        far = 1.0 - x / jnp.expm1(jnp.maximum(x, 0.5))
        return head + 2.0 / a * jnp.where(x < 0.5, near, far)

    def init(params):
        mean, square = optax.tree.zeros_like(params), optax.tree.zeros_like(params)
        return optax.ScaleByAdamState(jnp.zeros((), jnp.int32), mean, square)

    def update(grads, state, params=None):
        del params
        count = optax.safe_increment(state.count)
        t = count.astype(float)
        rho = length(a * t)
        sure = jnp.maximum(rho, 5.0)  # keeps the square root real where it is not used
        rectifier = jnp.sqrt(
            (sure - 4.0)
            * (sure - 2.0)
            * longest
            / ((longest - 4.0) * (longest - 2.0) * sure)
        ) * jnp.sqrt(_one_minus_power(b2, t))
        mean = optax.tree.update_moment(grads, state.mu, b1, 1)
        square = optax.tree.update_moment(grads, state.nu, b2, 2)

        def direct(m, v):
            adapted = rectifier / (jnp.sqrt(v) + eps)
            step = m / _one_minus_power(b1, t) * jnp.where(rho > 5.0, adapted, 1.0)
            return step.astype(m.dtype)

        scaled = jax.tree.map(direct, mean, square)
        return scaled, optax.ScaleByAdamState(count, mean, square)

    return optax.GradientTransformation(init, update)


def _log(b):
    """Exact where b is a number: near 1 the float32 of b holds three digits of it."""
    return math.log(b) if isinstance(b, int | float) else jnp.log(b)


def _one_minus_power(b, t):
    """1 - b ** t without its cancellation at small t."""
    return -jnp.expm1(_log(b) * t)
