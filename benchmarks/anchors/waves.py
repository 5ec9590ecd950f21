"""Row 75: ten steps ahead of two sines and noise.

    python benchmarks/anchors/waves.py [--seeds 3]

10,000 series of 60 steps made as in the book (second edition, chapter 15, NumPy seed
42): 7,000 to train, 2,000 to validate; the first 50 steps go in, the last 10 are to be
said. Ceilings, mean squared error: linear 0.0187, two RNN layers of 20 units to a
vector 0.0085, WaveNet (the last step of a network that says 10 steps at every step)
0.0072. Adam at 0.001, 0.003 and 0.01, 20 epochs, batch 32. Cost: a minute a seed.
"""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import training

from jaxml import metrics
from jaxml.data import windows
from jaxml.models.mlp import MLP
from jaxml.models.sequence import rnn, wavenet
from jaxml.optim import optimizers

AHEAD = 10
LAST = lambda outputs, y: jnp.square(outputs - y).reshape(len(y), -1, AHEAD)
GOAL = training.Goal(
    lambda outputs, y: LAST(outputs, y).mean((1, 2)),
    lambda outputs, y, w: metrics.mean(LAST(outputs, y)[:, -1].mean(-1), w),
)


class Series(nn.Module):
    """A network that is told which rows are padding and need not know."""

    network: nn.Module

    @nn.compact
    def __call__(self, x, *, train=False, mask=None):
        return self.network(x, train=train)


def waves(rows, steps):
    """Two sines of random frequency and phase, and noise."""
    rng = np.random.RandomState(42)
    one, two, first, second = rng.rand(4, rows, 1)
    time = np.linspace(0, 1, steps)
    series = 0.5 * np.sin((time - first) * (one * 10 + 10))
    series += 0.2 * np.sin((time - second) * (two * 20 + 20))
    series += 0.1 * (rng.rand(rows, steps) - 0.5)
    return series[..., None].astype(np.float32)


def arrays(series, every_step):
    """One window a series, and its last ten steps, or the next ten of every step."""
    made = [windows.windows(s, 50, ahead=AHEAD, every_step=every_step) for s in series]
    return {
        name: np.concatenate([m[name] for m in made]).reshape(len(series), *shape)
        for name, shape in (
            ("x", (50, 1)),
            ("y", (50, AHEAD) if every_step else (AHEAD,)),
        )
    }


def main() -> None:
    options = training.options(__doc__)
    series = waves(10_000, 50 + AHEAD)
    epochs = 1 if options.smoke else 20
    deep = partial(rnn.rnn, features=20, layers=2)
    for name, ceiling, network, rate, every_step in (
        ("linear", 0.0187, MLP((), AHEAD), 1e-3, False),
        ("deep RNN", 0.0085, rnn.SequenceToVector(deep, AHEAD), 3e-3, False),
        ("WaveNet", 0.0072, wavenet.DilatedStack(AHEAD), 1e-2, True),
    ):
        rows = 500 if options.smoke else 7_000
        train = arrays(series[:rows], every_step)
        valid = arrays(series[7_000:9_000], every_step)
        model = Series(network)

        def run(seed, model=model, train=train, valid=valid, rate=rate, name=name):
            state = training.fit(
                model,
                train,
                optimizers.adam(rate),
                epochs=epochs,
                seed=seed,
                goal=GOAL,
                scan=name != "WaveNet",
            )
            return {name: float(training.scorer(model, valid, GOAL)(state))}

        training.report(75, {name: ceiling}, run, options, best=min, word="ceiling")


if __name__ == "__main__":
    main()
