"""Row 46: what eight classes teach for the two others, of which 200 images are known.

    python benchmarks/anchors/transfer.py [--seeds 10]

Fashion-MNIST. Task A: the eight classes without T-shirt and pullover, 20 epochs. Task
B: pullover or T-shirt, from the first 200 images of them, 20 epochs from fresh weights;
or with the hidden layers of A, 4 epochs with these frozen and 16 with all free.
100-100-100 ReLU, He normal, SGD 1e-3, batch 32. Floors: test accuracy 0.9185 alone,
0.9385 with A. Seeds differ by points: look at the median of many. Cost: 30 s a seed.
"""

import numpy as np
import optax
import training

from jaxml import metrics
from jaxml.models.mlp import MLP
from jaxml.optim import groups, optimizers

SHIRT, PULLOVER = 0, 2
BINARY = training.Goal(
    lambda outputs, y: optax.sigmoid_binary_cross_entropy(outputs[:, 0], y),
    lambda outputs, y, weight: metrics.binary_accuracy(outputs[:, 0], y, weight),
)


def tasks(part):
    """The rows of A, classes 0 to 7, and of B, 1 for a pullover."""
    y = part["y"]
    of_b = (y == SHIRT) | (y == PULLOVER)
    others = np.setdiff1d(np.arange(10), (SHIRT, PULLOVER))
    a = {"x": part["x"][~of_b], "y": np.searchsorted(others, y[~of_b]).astype(np.int32)}
    b = {"x": part["x"][of_b], "y": (y[of_b] == PULLOVER).astype(np.float32)}
    return a, b


def main() -> None:
    options = training.options(__doc__)
    data = training.fashion(options)
    epochs, frozen = (2, 1) if options.smoke else (20, 4)
    train_a, train_b = tasks(data.train)
    train_b = {name: array[:200] for name, array in train_b.items()}
    test_b = tasks(data.test)[1]
    hidden = (100, 100, 100)
    model = MLP(hidden, 1)
    sgd = optimizers.sgd(1e-3)
    head = groups.groups({"^hidden": groups.frozen()}, default=sgd)
    accuracy = training.scorer(model, test_b, BINARY)

    def run(seed):
        def fit(epochs, tx, variables):
            return training.fit(
                model,
                train_b,
                tx,
                epochs=epochs,
                seed=seed,
                goal=BINARY,
                variables=variables,
            )

        taught = training.fit(MLP(hidden, 8), train_a, sgd, epochs=epochs, seed=seed)
        fresh = training.start(model, train_b, seed)
        alone = fit(epochs, sgd, fresh)
        # the same fresh head, so that only the hidden layers differ
        reused = {"params": taught.params | {"head": fresh["params"]["head"]}}
        state = fit(frozen, head, reused)
        state = fit(epochs - frozen, sgd, {"params": state.params})
        return {
            "B alone test accuracy": accuracy(alone),
            "A to B test accuracy": accuracy(state),
        }

    floors = {"B alone test accuracy": 0.9185, "A to B test accuracy": 0.9385}
    training.report(46, floors, run, options)


if __name__ == "__main__":
    main()
