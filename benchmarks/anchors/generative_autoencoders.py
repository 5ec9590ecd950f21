"""Rows 64 to 66: Fashion-MNIST by autoencoders, sparse and variational ones among them.

    python benchmarks/anchors/generative_autoencoders.py [--seeds 3]

Nadam 1e-3, batch 32, pixels from 0 to 1, 55,000 rows to train on and 5,000 to validate;
the last weights; validation mean square. Row 64: 100-30 stacked (20 epochs, floor
0.0132), tied (10, 0.0133), convolutions to a code of 30 (10, 0.0121), LSTMs over the
rows of the image, 100-30 (10, 0.0104). Row 65, 10 epochs: half of the pixels dropped
(0.0166), a code of 300 sigmoids with l1 1e-4 (0.0111) or with 5e-3 of the divergence
from a mean of 0.1 (0.0099); the two include the penalty, as Keras prints it. Row 66:
VAE 150-100 with a code of 10, batch 128, 25 epochs: mean square plus KL / 784 of drawn
codes (0.0311). The convolutions and the LSTMs cost most of the time.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import training

from jaxml import losses
from jaxml.data.loader import Loader
from jaxml.models.generative import autoencoder, conv_autoencoder, vae
from jaxml.models.generative import autoencoder_losses as penalties
from jaxml.optim import optimizers
from jaxml.train import step as train

SHAPE = (28, 28, 1)


def fit(model, measure, arrays, *, epochs, seed, batch_size, scan):
    """Parameters after some epochs of Nadam on the mean of `measure`."""
    variables = training.start(model, arrays, seed)
    tx = optimizers.Optimizer("nadam", rate=1e-3).build(1)
    state = train.init(variables["params"], tx, key=jax.random.key(seed))

    def loss_fn(params, extra, batch, key):
        values = measure(model, params, batch["x"], key=key, train=True)
        return losses.weighted_mean(values, batch["weight"]), (extra, {})

    step = train.make_step(loss_fn, tx)
    loader = Loader(arrays, batch_size, seed=seed)

    def over(state, x, rows):
        def one(state, rows):
            weight = (rows >= 0).astype(jnp.float32)
            return step(state, {"x": x[jnp.maximum(rows, 0)], "weight": weight})

        return jax.lax.scan(one, state, rows)[0]

    take = jax.jit(over if scan else step, donate_argnums=0)
    x = jax.device_put(arrays["x"]) if scan else None
    for epoch in range(epochs):
        if scan:
            state = take(state, x, training.order(loader, epoch))
        else:
            for batch in loader.epoch(epoch):
                state, _ = take(state, batch)
    return state.params


def score(model, measure, params, arrays):
    """Mean of `measure` over `arrays`, outside training."""
    run = jax.jit(lambda x, key: measure(model, params, x, key=key, train=False))
    parts = [arrays["x"][i : i + 1000] for i in range(0, len(arrays["x"]), 1000)]
    values = [run(jnp.asarray(x), jax.random.key(i)) for i, x in enumerate(parts)]
    return float(jnp.concatenate(values).mean())


def error(model, params, x, *, key, train):
    """Mean square of the reconstruction."""
    back = model.apply({"params": params}, x, train=train, rngs={"dropout": key})
    return penalties.square_error(back, x)


def sparse(model, params, x, *, key, train, penalty):
    """Mean square and the penalty of the codes."""
    variables = {"params": params}
    code = model.apply(variables, x, method="encode")
    back = model.apply(variables, code, method="decode")
    return penalties.square_error(back, x) + penalty(code)


def variational(model, params, x, *, key, train):
    """Mean square and KL of each pixel; codes are drawn in validation too."""
    output = model.apply({"params": params}, x, train=True, rngs={"dropout": key})
    cost = vae.kl(output.posterior).sum(-1) / x[0].size
    return penalties.square_error(output.reconstruction, x) + cost


class Case(NamedTuple):
    """One row of the table."""

    row: int
    name: str
    floor: float
    model: nn.Module
    measure: Callable
    epochs: int = 10
    batch_size: int = 32
    scan: bool = True  # convolutions are slow in a loop on a CPU


def cases() -> list[Case]:
    stacked = partial(autoencoder.Autoencoder, shape=SHAPE)
    units = stacked((100, 300), code_activation="sigmoid")
    l1 = partial(sparse, penalty=lambda code: 1e-4 * penalties.l1(code))
    kl = partial(sparse, penalty=lambda code: 5e-3 * penalties.kl_sparsity(code))
    conv = conv_autoencoder.ConvAutoencoder((16, 32, 64), 30, SHAPE)
    lstm = conv_autoencoder.RecurrentAutoencoder(100, 30, SHAPE)
    tied = autoencoder.TiedAutoencoder((100, 30), SHAPE)
    noisy = stacked((100, 30), input_dropout=0.5)
    drawn = vae.VAE((150, 100), 10, SHAPE)
    return [
        Case(64, "stacked", 0.0132, stacked((100, 30)), error, epochs=20),
        Case(64, "tied", 0.0133, tied, error),
        Case(64, "convolutional", 0.0121, conv, error, scan=False),
        Case(64, "recurrent", 0.0104, lstm, error),
        Case(65, "denoising", 0.0166, noisy, error),
        Case(65, "sparse l1", 0.0111, units, l1),
        Case(65, "sparse KL", 0.0099, units, kl),
        Case(66, "variational", 0.0311, drawn, variational, epochs=25, batch_size=128),
    ]


def run(seed, case, data, smoke):
    params = fit(
        case.model,
        case.measure,
        data.train,
        epochs=1 if smoke else case.epochs,
        seed=seed,
        batch_size=case.batch_size,
        scan=case.scan,
    )
    value = score(case.model, case.measure, params, data.valid)
    return {f"{case.name} validation": value}


def main() -> None:
    options = training.options(__doc__, fast="without convolutions and LSTMs")
    data = training.fashion(options)
    for case in cases():
        if options.fast and case.name in ("convolutional", "recurrent"):
            continue
        floors = {f"{case.name} validation": case.floor}
        once = partial(run, case=case, data=data, smoke=options.smoke)
        training.report(case.row, floors, once, options, best=min)


if __name__ == "__main__":
    main()
