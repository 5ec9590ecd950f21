"""Row 45: dropout, and the mean over 100 draws of it.

    python benchmarks/anchors/dropout.py [--seeds 3] [--better]

Fashion-MNIST, 100-100 ReLU, He normal, a fifth of the pixels and units dropped, SGD
0.01 with momentum 0.9, batch 32, 10 epochs. Floors: test accuracy 0.8700, by Monte
Carlo dropout 0.8717. With `--better` 20 epochs, the rate in 1cycle up to 0.02,
the momentum against it (by the validation accuracy, from 10 and 20 epochs, 0.02 and
0.05). Cost: 1 min a seed, of which the draws are a half.
"""

import jax
import jax.numpy as jnp
import numpy as np
import training

from jaxml.models.mlp import MLP
from jaxml.nn import dropout
from jaxml.optim import optimizers


def main() -> None:
    options = training.options(__doc__, better="20 epochs of 1cycle up to 0.02")
    data = training.fashion(options)
    epochs, samples = (1, 2) if options.smoke else (20 if options.better else 10, 100)
    steps = epochs * -(-len(data.train["y"]) // 32)
    choice = optimizers.Optimizer("momentum", rate=1e-2)
    if options.better:
        choice = optimizers.Optimizer("momentum", rate=2e-2, schedule="one_cycle")
    model = MLP((100, 100), 10, dropout=0.2, input_dropout=0.2)

    @jax.jit
    def probabilities(params, x, key):
        """The mean over draws; 100 times the rows of `x` are in memory."""

        def draw(key):
            logits = model.apply(
                {"params": params}, x, train=True, rngs={"dropout": key}
            )
            return jax.nn.softmax(logits)

        return dropout.monte_carlo(draw, samples=samples, key=key)[0]

    def run(seed):
        tx = choice.build(steps)
        state = training.fit(model, data.train, tx, epochs=epochs, seed=seed)
        images, labels = data.test["x"], data.test["y"]
        keys = jax.random.split(jax.random.key(seed), len(images) // 200)
        parts = [
            probabilities(state.params, jnp.asarray(part), key)
            for part, key in zip(np.split(images, len(keys)), keys, strict=True)
        ]
        chosen = np.concatenate(parts).argmax(-1)
        return {
            "test accuracy": training.scorer(model, data.test)(state),
            "Monte Carlo test accuracy": float(np.mean(chosen == labels)),
        }

    floors = {"test accuracy": 0.8700, "Monte Carlo test accuracy": 0.8717}
    training.report(45, floors, run, options)


if __name__ == "__main__":
    main()
