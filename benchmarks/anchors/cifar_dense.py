"""Row 47: CIFAR-10 by twenty dense layers, next to PyTorch.

    python benchmarks/anchors/cifar_dense.py [--seeds 1]

With the 4,000 + 1,000 images at hand, once JPEG, the figures for all 50,000
(validation accuracy 0.4676, 0.5074, 0.5026, 0.5242) cannot be had. The floor is what
PyTorch reaches from the same first weights, with the same batches, optimizer and rule
to stop: step by step the losses agree to 1e-5, until after some five steps rounding is
blown up. Hidden layers of 100 units: swish, He normal, Nadam 5e-5, pixels from 0 to
255; BN, the same with batch norm before swish, 5e-4; SELU, LeCun normal, 7e-4, pixels
standardised. Batch 32, at most 100 epochs, stopped when 20 brought no better validation
loss; the best weights. 1cycle: as SELU, with alpha dropout 0.1 before the head, SGD up
to 0.05, batch 128, 15 epochs; the last weights. Cost: 3 min a seed.
"""

from typing import NamedTuple

import flax.linen as nn
import numpy as np
import one_cycle
import torch_dense
import training

from jaxml.data import datasets
from jaxml.data.loader import Loader
from jaxml.models.mlp import MLP, selu_mlp
from jaxml.nn.dropout import AlphaDropout
from jaxml.optim import optimizers, schedules

DEPTH = 20


class Dropped(nn.Module):
    """SELU layers, alpha dropout after the last of them, and a head."""

    @nn.compact
    def __call__(self, x, *, train=False, mask=None):
        body = selu_mlp((100,) * (DEPTH - 1), 100, name="body")
        x = nn.selu(body(x, train=train, mask=mask))
        x = AlphaDropout(0.1)(x, deterministic=not train)
        return nn.Dense(10, name="head")(x)


class Setting(NamedTuple):
    """One of the four runs."""

    floor: float  # of all of CIFAR-10
    model: nn.Module
    rate: schedules.Schedule
    activation: str = "SiLU"  # in torch's words
    norm: bool = False
    batch_size: int = 32
    epochs: int = 100
    patience: int | None = 20  # with Nadam; None: plain SGD, all epochs
    alpha_dropout: float = 0.0


HIDDEN = (100,) * DEPTH
SWISH, BN = MLP(HIDDEN, 10, "swish"), MLP(HIDDEN, 10, "swish", norm="batch")
RATES = [schedules.constant(rate) for rate in (5e-5, 5e-4, 7e-4)]
CYCLE = one_cycle.triangle(0.05, 15 * 32)
SETTINGS = {
    "swish": Setting(0.4676, SWISH, RATES[0]),
    "BN": Setting(0.5074, BN, RATES[1], norm=True),
    "SELU": Setting(0.5026, selu_mlp(HIDDEN, 10), RATES[2], "SELU"),
    "1cycle": Setting(0.5242, Dropped(), CYCLE, "SELU", False, 128, 15, None, 0.1),
}


def ours(setting, parts, variables, seed) -> float:
    """Validation accuracy of our network."""
    model, keep, kind = setting.model, None, optimizers.sgd
    if setting.patience is not None:
        loss = training.scorer(model, parts.valid, training.LOSS)
        keep, kind = training.Keep(loss, setting.patience), optimizers.nadam
    state = training.fit(
        model,
        parts.train,
        kind(setting.rate),
        epochs=setting.epochs,
        seed=seed,
        batch_size=setting.batch_size,
        variables=variables,
        keep=keep,
    )
    return training.scorer(model, parts.valid)(state)


def theirs(setting, parts, variables, seed) -> float:
    """Validation accuracy of the same network in PyTorch."""
    params, body = variables["params"], variables["params"].get("body")
    inner = params if body is None else body
    count = sum(name.startswith("hidden") for name in inner)
    chain = [inner[f"hidden_{i}"]["dense"] for i in range(count)] + [inner["head"]]
    chain += [] if body is None else [params["head"]]
    layers = [(layer["kernel"], layer["bias"]) for layer in chain]
    loader = Loader(parts.train, setting.batch_size, seed=seed)
    orders = (training.order(loader, epoch) for epoch in range(setting.epochs))
    rates = np.asarray(setting.rate(np.arange(setting.epochs * loader.steps_per_epoch)))
    setting = setting._replace(rate=lambda step: rates[step])
    return torch_dense.accuracy(setting, layers, parts, orders, seed=seed)


def main() -> None:
    options = training.options(__doc__)
    data = datasets.load("cifar10")
    train, valid = training.pictures(data.train), training.pictures(data.test)
    unit = training.Parts(train, valid, valid)
    scaled = training.scaled(unit)
    raw = training.Parts(*({**part, "x": part["x"] * 255} for part in unit))

    for name, setting in SETTINGS.items():
        setting = setting._replace(epochs=1) if options.smoke else setting
        parts = scaled if setting.activation == "SELU" else raw
        sides = {"ours": ours, "PyTorch": theirs}
        for side, run in sides.items():
            what = f"{name} {side} validation accuracy"

            def once(seed, run=run, setting=setting, parts=parts, what=what):
                variables = training.start(setting.model, parts.train, seed)
                return {what: run(setting, parts, variables, seed)}

            training.report(
                47, {what: setting.floor}, once, options, word="on all of CIFAR-10"
            )


if __name__ == "__main__":
    main()
