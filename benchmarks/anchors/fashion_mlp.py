"""Rows 38 and 39: Fashion-MNIST by a perceptron, as Keras and as scikit-learn train it.

    python benchmarks/anchors/fashion_mlp.py [--seeds 3]

Row 38: 300-100 ReLU, Glorot uniform, SGD 0.01, batch 32, 30 epochs, pixels from 0 to 1,
55,000 rows to train on and 5,000 to validate; the last weights. Floors: validation
0.8894, test 0.8864. Row 39: 200-100, Adam 1e-3, batch 200, L2 1e-4 a batch, a tenth of
60,000 rows held out, which stops the run after 10 epochs without a better accuracy (by
1e-4) and chooses the weights. Floor: test 0.8907. Cost: 60 s a seed.
"""

import optax
import training

from jaxml.data import datasets
from jaxml.models.mlp import MLP
from jaxml.optim import optimizers, regularize


def main() -> None:
    options = training.options(__doc__)
    data = training.fashion(options)
    longest = (
        {"keras": 1, "sklearn": 2} if options.smoke else {"keras": 30, "sklearn": 200}
    )

    def as_keras(seed):
        model = MLP((300, 100), 10, kernel_init="glorot_uniform")
        tx = optimizers.sgd(1e-2)
        state = training.fit(model, data.train, tx, epochs=longest["keras"], seed=seed)
        return {
            "validation accuracy": training.scorer(model, data.valid)(state),
            "test accuracy": training.scorer(model, data.test)(state),
        }

    everything = training.fashion(options, train_rows=60_000).train

    def as_sklearn(seed):
        train, valid = datasets.split(
            everything, (0.9, 0.1), seed=seed, stratify=everything["y"]
        )
        model = MLP(
            (200, 100), 10, kernel_init="glorot_uniform", head_init="glorot_uniform"
        )
        # scikit-learn divides its penalty by the rows of a batch
        decay = regularize.l2_gradient(1e-4 / 200, regularize.kernel_mask)
        tx = optax.chain(decay, optimizers.adam(1e-3))
        # it stops when more than ten are no better
        keep = training.Keep(training.scorer(model, valid), 11, "max", 1e-4)
        state = training.fit(
            model,
            train,
            tx,
            epochs=longest["sklearn"],
            seed=seed,
            batch_size=200,
            keep=keep,
        )
        return {"test accuracy": training.scorer(model, data.test)(state)}

    floors = {"validation accuracy": 0.8894, "test accuracy": 0.8864}
    training.report(38, floors, as_keras, options)
    training.report(39, {"test accuracy": 0.8907}, as_sklearn, options)


if __name__ == "__main__":
    main()
