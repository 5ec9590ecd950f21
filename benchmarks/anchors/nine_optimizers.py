"""Row 43: Fashion-MNIST by nine optimizers.

    python benchmarks/anchors/nine_optimizers.py [--seeds 3]

100-100-100 ReLU, He normal, batch 32, 10 epochs, pixels from 0 to 1, rate 1e-3; the
options are Keras's. Floors: the validation accuracies after the last epoch below. The
source's figure for SGD is, digit by digit, that of momentum: its run has momentum 0.9
too. So plain SGD is run twice, at 1e-3 and at 1e-2, and the second is comparable;
AdaGrad also at 1e-2 with torch's start. Cost: 20 s a seed and optimizer.
"""

import training

from jaxml.models.mlp import MLP
from jaxml.optim import optimizers

RUNS = {  # what: (optimizer, floor)
    "sgd 1e-3": (optimizers.sgd(1e-3), 0.8672),
    "sgd 1e-2": (optimizers.sgd(1e-2), 0.8672),
    "momentum": (optimizers.momentum(1e-3), 0.8672),
    "nesterov": (optimizers.nesterov(1e-3), 0.8708),
    "adagrad": (optimizers.adagrad(1e-3, initial=0.1, eps=1e-7), 0.8424),
    "adagrad 1e-2": (optimizers.adagrad(1e-2), 0.8424),
    "rmsprop": (optimizers.rmsprop(1e-3, eps=1e-7), 0.8636),
    "adam": (optimizers.adam(1e-3, eps=1e-7), 0.8696),
    "adamax": (optimizers.adamax(1e-3, eps=1e-7), 0.8780),
    "nadam": (optimizers.nadam(1e-3, eps=1e-7), 0.8740),
    # Keras and torch alike decay by rate * 1e-5 * w
    "adamw": (optimizers.adamw(1e-3, eps=1e-7, weight_decay=1e-5), 0.8702),
}


def main() -> None:
    options = training.options(__doc__)
    data = training.fashion(options)
    epochs = 1 if options.smoke else 10
    model = MLP((100, 100, 100), 10)

    for name, (tx, floor) in RUNS.items():
        what = f"{name} validation accuracy"

        def run(seed, tx=tx, what=what):
            state = training.fit(model, data.train, tx, epochs=epochs, seed=seed)
            return {what: training.scorer(model, data.valid)(state)}

        training.report(43, {what: floor}, run, options)


if __name__ == "__main__":
    main()
