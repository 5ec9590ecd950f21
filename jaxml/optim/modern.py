"""Optimizers after AdamW: of signs, of matrices, of large batches, without schedule.

    tx = optimizers.lion(1e-4, weight_decay=0.1)      # found in jaxml.optim.optimizers
    tx = optimizers.schedule_free_adamw(2e-3)
    logits = model.apply(optimizers.eval_params(opt_state, params), images)

`rate`, `weight_decay` and `mask` mean what the head of `jaxml.optim.optimizers` says.
"""

import jax
import optax
import optax.contrib
from jaxtyping import Array, Float, PyTree

from jaxml.optim import directions
from jaxml.optim.cycles import Scalar
from jaxml.optim.rate import Rate, Transformation, descend, scale_by_rate
from jaxml.optim.regularize import Mask, decay_mask

__all__ = [
    "adabelief",
    "adafactor",
    "adan",
    "lamb",
    "lars",
    "lion",
    "muon",
    "radam",
    "schedule_free_adamw",
    "schedule_free_sgd",
]


def radam(
    rate: Rate,
    *,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    weight_decay: Scalar = 0.0,
    mask: Mask = decay_mask,
) -> Transformation:
    """Adam that warms itself up.

    References:
        Liu et al., arXiv:1908.03265, alg. 2.
    """
    return descend(directions.radam(b1=b1, b2=b2, eps=eps), rate, weight_decay, mask)


def adabelief(
    rate: Rate,
    *,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-16,
    weight_decay: Scalar = 0.0,
    mask: Mask = decay_mask,
) -> Transformation:
    """Adam that divides by the deviation of the gradient from its average.

    References:
        Zhuang et al., arXiv:2010.07468, alg. 2.
    """
    direction = optax.scale_by_belief(b1, b2, eps=eps, eps_root=eps)
    return descend(direction, rate, weight_decay, mask)


def adan(
    rate: Rate,
    *,
    b1: Scalar = 0.98,
    b2: Scalar = 0.92,
    b3: Scalar = 0.99,
    eps: Scalar = 1e-8,
    weight_decay: Scalar = 0.0,
    mask: Mask = decay_mask,
) -> Transformation:
    """Adam with Nesterov's momentum on differences of gradients (b2; squares by b3).

    References:
        Xie et al., arXiv:2208.06677, alg. 1.
    """
    direction = optax.scale_by_adan(b1, b2, b3, eps=eps)
    return descend(direction, rate, weight_decay, mask)


def lion(
    rate: Rate,
    *,
    b1: Scalar = 0.9,
    b2: Scalar = 0.99,
    weight_decay: Scalar = 0.0,
    mask: Mask = decay_mask,
) -> Transformation:
    """The sign of a momentum; wants a rate 3 to 10 times below that of AdamW.

    References:
        Chen et al., arXiv:2302.06675, alg. 2.
    """
    return descend(optax.scale_by_lion(b1, b2), rate, weight_decay, mask)


def muon(
    rate: Rate,
    *,
    beta: Scalar = 0.95,
    newton_schulz_steps: int = 5,
    adam_rate: Scalar = 1.0,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    weight_decay: Scalar = 0.0,
    mask: Mask = decay_mask,
) -> Transformation:
    """Orthogonalised momentum for matrices, Adam for all else.

    Matrices are the kernels of dense layers and of 2-D convolutions (as [height * width
    * in, out]); not embeddings. Their update has the size of AdamW's, so the rates of
    AdamW fit.

    Args:
        rate: of the matrices.
        beta: of the momentum of matrices.
        newton_schulz_steps: of the orthogonalisation.
        adam_rate: the rate of all else, relative to `rate`.
        b1: of Adam.
        b2: of Adam.
        weight_decay: for matrices and others alike.
        mask: which of them.

    References:
        Jordan, "Muon", 2024; Liu et al., arXiv:2502.16982, eq. 4 (size of the update).
    """
    matrices = optax.chain(
        optax.contrib.scale_by_muon(
            ns_steps=newton_schulz_steps, beta=beta, weight_dimension_numbers=_axes
        ),
        optax.stateless_with_tree_map(lambda u, _: _as_large_as_adamw(u)),
    )
    others = optax.chain(optax.scale_by_adam(b1, b2), optax.scale(adam_rate))
    direction = optax.partition({"matrix": matrices, "other": others}, _matrix_or_other)
    return descend(direction, rate, weight_decay, mask)


def lamb(
    rate: Rate,
    *,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-6,
    weight_decay: Scalar = 0.0,
    mask: Mask = decay_mask,
) -> Transformation:
    """AdamW whose update, decay included, has the norm of each parameter.

    References:
        You et al., arXiv:1904.00962, alg. 2.
    """
    return optax.chain(
        optax.scale_by_adam(b1, b2, eps),
        optax.add_decayed_weights(weight_decay, mask),
        optax.scale_by_trust_ratio(),
        scale_by_rate(rate),
    )


def lars(
    rate: Rate,
    *,
    momentum: Scalar = 0.9,
    trust: Scalar = 0.001,
    weight_decay: Scalar = 0.0,
    mask: Mask = decay_mask,
) -> Transformation:
    """Momentum on gradients, decay included, of the norm of each parameter.

    Args:
        rate: multiplies the gradient before the momentum.
        momentum: in [0, 1).
        trust: the norm of a gradient relative to that of its parameter.
        weight_decay: added to the gradient before it is scaled.
        mask: which parameters decay and are scaled; the others take plain momentum.

    References:
        You et al., arXiv:1708.03888, alg. 1.
    """
    ratio = optax.scale_by_trust_ratio(trust_coefficient=trust)
    return optax.chain(
        optax.add_decayed_weights(weight_decay, mask),
        ratio if mask is None else optax.masked(ratio, mask),
        scale_by_rate(rate),
        optax.trace(momentum),
    )


def adafactor(
    rate: Rate,
    *,
    decay: Scalar = 0.8,
    factor_from: int = 128,
    threshold: Scalar = 1.0,
    weight_decay: Scalar = 0.0,
    mask: Mask = decay_mask,
) -> Transformation:
    """Adam without momentum whose second moment is a row and a column.

    Args:
        rate: relative to the root mean square of each parameter.
        decay: exponent of the averaging, 1 - t ** -decay.
        factor_from: both sizes of a matrix must reach this to be factored.
        threshold: the largest root mean square of an update.
        weight_decay: see above.
        mask: see above.

    References:
        Shazeer and Stern, arXiv:1804.04235, alg. 4.
    """
    direction = optax.chain(
        optax.scale_by_factored_rms(
            decay_rate=decay, min_dim_size_to_factor=factor_from
        ),
        optax.clip_by_block_rms(threshold),
        optax.scale_by_param_block_rms(),
    )
    return descend(direction, rate, weight_decay, mask)


def schedule_free_sgd(
    rate: Rate,
    *,
    b1: Scalar = 0.9,
    weight_decay: Scalar = 0.0,
    mask: Mask = decay_mask,
) -> Transformation:
    """Descent on an average of its own path instead of a falling rate.

    Give it a warm-up and then a constant rate, and evaluate `eval_params`.

    References:
        Defazio et al., arXiv:2405.15682, eq. 3-5.
    """
    return _schedule_free(descend(optax.identity(), rate, weight_decay, mask), rate, b1)


def schedule_free_adamw(
    rate: Rate,
    *,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    weight_decay: Scalar = 0.01,
    mask: Mask = decay_mask,
) -> Transformation:
    """AdamW on an average of its own path instead of a falling rate.

    Give it a warm-up and then a constant rate, and evaluate `eval_params`.

    References:
        Defazio et al., arXiv:2405.15682, alg. 1.
    """
    direction = optax.scale_by_rms(b2, eps, eps_in_sqrt=False, bias_correction=True)
    return _schedule_free(descend(direction, rate, weight_decay, mask), rate, b1)


def _schedule_free(tx: Transformation, rate: Rate, b1: Scalar) -> Transformation:
    if isinstance(b1, int | float) and not 0 < b1 < 1:
        raise ValueError(f"b1 must be between 0 and 1; got {b1}")
    # optax counts from 1 here and from 0 in every other optimizer; and only the value
    # of a schedule does it keep in the dtype of its state.
    return optax.contrib.schedule_free(
        tx, lambda step: rate(step - 1) if callable(rate) else rate, b1
    )


def _matrix_or_other(params: PyTree) -> PyTree:
    """What muon orthogonalises, and what it leaves to Adam."""

    def kind(path, p):
        name = jax.tree_util.keystr(path[-1:], simple=True)
        return "matrix" if p.ndim in (2, 4) and name != "embedding" else "other"

    return jax.tree_util.tree_map_with_path(kind, params)


def _axes(params: PyTree) -> PyTree:
    """The last axis is that of the outputs, all others are inputs."""
    return jax.tree.map(
        lambda p: optax.contrib.MuonDimensionNumbers(
            tuple(range(p.ndim - 1)), p.ndim - 1
        ),
        params,
    )


def _as_large_as_adamw(update: Float[Array, "..."]) -> Float[Array, "..."]:
    """Give an orthogonal matrix the typical root mean square of AdamW's update, 0.2."""
    longer = max(update.size // update.shape[-1], update.shape[-1])
    return 0.2 * longer**0.5 * update
