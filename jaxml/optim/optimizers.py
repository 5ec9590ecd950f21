"""Optimizers by name and as functions, on optax, with torch's meaning and defaults.

    tx = optimizers.adamw(1e-3)                          # or by_name("adamw", 1e-3)
    tx = optimizers.momentum(schedules.one_cycle(0.4, 10_000), momentum=0.95)
    tx = Optimizer("adamw", rate=1e-3, schedule="cosine", warmup=500).build(10_000)

Every function takes the rate first: a number, a traced number (a run may be vmapped
over rates) or a schedule; the rate each update used stands in the state as
`learning_rate`. All take, last,

    weight_decay: rate * weight_decay * w is taken from each parameter w of `mask`,
        apart from the gradient (decoupled). For L2 in the gradient, as torch's SGD and
        Adam have it, chain `regularize.l2_gradient` before. (lamb and lars scale the
        decay with the gradient.)
    mask: which parameters decay; by default no biases and no norms, None for all.

b1, b2, decay are those of the averages of g and g ** 2; eps is added to the root.

Where others differ. adagrad: Keras and optax start the sum at 0.1 (`initial`), with eps
in the root. rmsprop: Keras and optax put eps in the root, torch's decay is 0.99. nadam:
`momentum_decay` is 1 in Keras, infinite in optax. radam: optax computes its length in
float32 with three digits. Keras's momentum multiplies the velocity by the rate as it
goes in: the same while the rate is constant.
"""

from dataclasses import dataclass
from typing import Any, Literal

import jax
import optax
import optax.contrib
from jaxtyping import PyTree

from jaxml.optim import names, schedules
from jaxml.optim.classic import (
    adadelta,
    adagrad,
    adam,
    adamax,
    adamw,
    momentum,
    nadam,
    nadamw,
    nesterov,
    rmsprop,
    sgd,
)
from jaxml.optim.modern import (
    adabelief,
    adafactor,
    adan,
    lamb,
    lars,
    lion,
    muon,
    radam,
    schedule_free_adamw,
    schedule_free_sgd,
)
from jaxml.optim.rate import Rate, RateState, Transformation, descend, scale_by_rate
from jaxml.optim.regularize import clip_norm

__all__ = [
    "NAMES",
    "Optimizer",
    "RateState",
    "adabelief",
    "adadelta",
    "adafactor",
    "adagrad",
    "adam",
    "adamax",
    "adamw",
    "adan",
    "by_name",
    "descend",
    "eval_params",
    "lamb",
    "lars",
    "lion",
    "momentum",
    "muon",
    "nadam",
    "nadamw",
    "nesterov",
    "radam",
    "rmsprop",
    "scale_by_rate",
    "schedule_free_adamw",
    "schedule_free_sgd",
    "sgd",
]


def by_name(name: str, rate: Rate, **options: Any) -> Transformation:
    """The optimizer called `name`, one of `NAMES`.

        >>> tx = by_name("adam", 1e-3, b1=0.95)
        >>> by_name("adam", 1e-3, b3=0.9)
        Traceback (most recent call last):
        ValueError: options of optimizer adam are b1, b2, eps, ...

    Args:
        name: the name of a function of this module.
        rate: its first argument.
        options: its other arguments.

    Raises:
        ValueError: on an unknown name or option; the message lists the right ones.
    """
    function = names.find("optimizer", _OPTIMIZERS, name)
    names.check(f"optimizer {name}", function, options)
    return function(rate, **options)


@dataclass(frozen=True)
class Optimizer:
    """The choice of an optimizer, to be nested in the configuration of a run.

    Args:
        name: one of `NAMES`.
        rate: the peak of the schedule.
        schedule: what the rate does over the run (`schedules.over_run`).
        warmup: steps of linear warm-up before it.
        momentum: of momentum and nesterov; None takes their own, or the cycle that
            goes with the schedule one_cycle.
        weight_decay: None takes the optimizer's own.
        clip_norm: the largest norm of the whole gradient; None clips nothing.
    """

    name: str = "adamw"
    rate: float = 1e-3
    schedule: Literal[
        "constant",
        "linear",
        "cosine",
        "one_cycle",
        "exponential",
        "power",
        "inverse_sqrt",
    ] = "constant"
    warmup: int = 0
    momentum: float | None = None
    weight_decay: float | None = None
    clip_norm: float | None = None

    def __post_init__(self):
        names.find("optimizer", _OPTIMIZERS, self.name)

    def build(self, steps: int) -> Transformation:
        """The optimizer of a run of `steps` updates, warm-up included."""
        if not 0 <= self.warmup < steps:
            raise ValueError(
                f"warmup must be from 0 to steps - 1 = {steps - 1}; got {self.warmup}"
            )
        rest = steps - self.warmup
        rate = schedules.over_run(self.schedule, self.rate, rest)
        rate = schedules.linear_warmup(rate, self.warmup)
        options: dict[str, Any] = {}
        if self.weight_decay is not None:
            options["weight_decay"] = self.weight_decay
        if self.momentum is not None:
            options["momentum"] = self.momentum
        elif self.schedule == "one_cycle" and self.name in ("momentum", "nesterov"):
            cycle = schedules.one_cycle_momentum(rest)
            options["momentum"] = schedules.linear_warmup(cycle, self.warmup, start=1.0)
        tx = by_name(self.name, rate, **options)
        if self.clip_norm is not None:
            tx = optax.chain(clip_norm(self.clip_norm), tx)
        return tx


def eval_params(opt_state: optax.OptState, params: PyTree) -> PyTree:
    """The parameters to evaluate: the averaged ones of schedule-free, else `params`.

    Args:
        opt_state: of any optimizer; schedule-free may be in a chain or a group.
        params: the parameters that gradients are taken at.

    References:
        Defazio et al., arXiv:2405.15682, eq. 3-5: x from y = (1 - b1) z + b1 x.
    """
    for state in _found(opt_state, optax.contrib.ScheduleFreeState):
        b1 = state.b1

        def averaged(z, y, b1=b1):
            return y if _masked(z) else ((y - (1.0 - b1) * z) / b1).astype(y.dtype)

        params = jax.tree.map(averaged, state.z, params, is_leaf=_masked)
    return params


_OPTIMIZERS = {
    function.__name__: function
    for function in (
        sgd,
        momentum,
        nesterov,
        adagrad,
        rmsprop,
        adadelta,
        adam,
        adamw,
        adamax,
        nadam,
        nadamw,
        radam,
        adabelief,
        adan,
        lion,
        muon,
        lamb,
        lars,
        adafactor,
        schedule_free_sgd,
        schedule_free_adamw,
    )
}

NAMES = tuple(_OPTIMIZERS)


def _masked(node) -> bool:
    return isinstance(node, optax.MaskedNode)


def _found(tree, kind: type) -> list:
    nodes = jax.tree.leaves(tree, is_leaf=lambda node: isinstance(node, kind))
    return [node for node in nodes if isinstance(node, kind)]
