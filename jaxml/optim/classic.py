"""The optimizers every course names: from plain descent to Adam and its near relatives.

    tx = optimizers.adamw(1e-3)                     # found in jaxml.optim.optimizers

`rate`, `weight_decay`, `mask` and the options of averages mean what the head of
`jaxml.optim.optimizers` says.
"""

import optax

from jaxml.optim import directions
from jaxml.optim.cycles import Scalar, Schedule
from jaxml.optim.rate import Rate, Transformation, descend
from jaxml.optim.regularize import Mask, decay_mask

__all__ = [
    "adadelta",
    "adagrad",
    "adam",
    "adamax",
    "adamw",
    "momentum",
    "nadam",
    "nadamw",
    "nesterov",
    "rmsprop",
    "sgd",
]


def sgd(
    rate: Rate,
    *,
    weight_decay: Scalar = 0.0,
    mask: Mask = decay_mask,
) -> Transformation:
    """Plain gradient descent."""
    return descend(optax.identity(), rate, weight_decay, mask)


def momentum(
    rate: Rate,
    *,
    momentum: Scalar | Schedule = 0.9,
    weight_decay: Scalar = 0.0,
    mask: Mask = decay_mask,
) -> Transformation:
    """Gradient descent with momentum, a number in [0, 1) or a schedule of it.

    References:
        Polyak, USSR Comput. Math. Math. Phys. 4(5), 1964.
    """
    return descend(directions.velocity(momentum), rate, weight_decay, mask)


def nesterov(
    rate: Rate,
    *,
    momentum: Scalar | Schedule = 0.9,
    weight_decay: Scalar = 0.0,
    mask: Mask = decay_mask,
) -> Transformation:
    """Gradient descent with Nesterov's momentum.

    References:
        Sutskever et al., ICML 2013, eq. 3-4.
    """
    return descend(
        directions.velocity(momentum, nesterov=True), rate, weight_decay, mask
    )


def adagrad(
    rate: Rate,
    *,
    initial: Scalar = 0.0,
    eps: Scalar = 1e-10,
    weight_decay: Scalar = 0.0,
    mask: Mask = decay_mask,
) -> Transformation:
    """Divide by the root of the sum of all squared gradients, begun at `initial`.

    References:
        Duchi et al., JMLR 12 (2011), fig. 1.
    """
    direction = directions.root_of_sum(initial=initial, eps=eps)
    return descend(direction, rate, weight_decay, mask)


def rmsprop(
    rate: Rate,
    *,
    decay: Scalar = 0.9,
    eps: Scalar = 1e-8,
    momentum: Scalar | Schedule = 0.0,
    centered: bool = False,
    weight_decay: Scalar = 0.0,
    mask: Mask = decay_mask,
) -> Transformation:
    """Divide by the root of the average squared gradient.

    Args:
        rate: see above.
        decay: of the average.
        eps: added to the root.
        momentum: of a velocity of the scaled gradients; 0 for none.
        centered: take the square of the average gradient off.
        weight_decay: see above.
        mask: see above.

    References:
        Tieleman and Hinton, Coursera lecture 6.5, 2012; centered: Graves,
        arXiv:1308.0850, eq. 38-45.
    """
    direction = directions.rms(decay=decay, eps=eps, centered=centered)
    if not (isinstance(momentum, int | float) and momentum == 0):
        direction = optax.chain(direction, directions.velocity(momentum))
    return descend(direction, rate, weight_decay, mask)


def adadelta(
    rate: Rate,
    *,
    decay: Scalar = 0.9,
    eps: Scalar = 1e-6,
    weight_decay: Scalar = 0.0,
    mask: Mask = decay_mask,
) -> Transformation:
    """Steps in the unit of the parameter; made for a rate of 1.

    References:
        Zeiler, arXiv:1212.5701, alg. 1.
    """
    return descend(optax.scale_by_adadelta(decay, eps), rate, weight_decay, mask)


def adam(
    rate: Rate,
    *,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    weight_decay: Scalar = 0.0,
    mask: Mask = decay_mask,
) -> Transformation:
    """Momentum over the root of the average squared gradient.

    References:
        Kingma and Ba, arXiv:1412.6980, alg. 1.
    """
    return descend(optax.scale_by_adam(b1, b2, eps), rate, weight_decay, mask)


def adamw(
    rate: Rate,
    *,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    weight_decay: Scalar = 0.01,
    mask: Mask = decay_mask,
) -> Transformation:
    """Adam with decoupled weight decay.

    References:
        Loshchilov and Hutter, arXiv:1711.05101, alg. 2.
    """
    return descend(optax.scale_by_adam(b1, b2, eps), rate, weight_decay, mask)


def adamax(
    rate: Rate,
    *,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    weight_decay: Scalar = 0.0,
    mask: Mask = decay_mask,
) -> Transformation:
    """Adam with a decaying maximum in the place of the average square.

    References:
        Kingma and Ba, arXiv:1412.6980, alg. 2.
    """
    return descend(optax.scale_by_adamax(b1, b2, eps), rate, weight_decay, mask)


def nadam(
    rate: Rate,
    *,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    momentum_decay: Scalar = 0.004,
    weight_decay: Scalar = 0.0,
    mask: Mask = decay_mask,
) -> Transformation:
    """Adam with Nesterov's momentum.

    References:
        Dozat, ICLR workshop 2016, alg. 2; see `directions.nadam`.
    """
    direction = directions.nadam(b1=b1, b2=b2, eps=eps, momentum_decay=momentum_decay)
    return descend(direction, rate, weight_decay, mask)


def nadamw(
    rate: Rate,
    *,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    momentum_decay: Scalar = 0.004,
    weight_decay: Scalar = 0.01,
    mask: Mask = decay_mask,
) -> Transformation:
    """Nadam with decoupled weight decay."""
    direction = directions.nadam(b1=b1, b2=b2, eps=eps, momentum_decay=momentum_decay)
    return descend(direction, rate, weight_decay, mask)
