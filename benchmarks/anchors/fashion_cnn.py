"""Row 49: Fashion-MNIST by a convolutional network.

    python benchmarks/anchors/fashion_cnn.py [--book]

Floor: test accuracy 0.9117, of the network that `--book` trains: 64 kernels of 7x7,
then 128-128 and 256-256 of 3x3, two dense layers with dropout 0.5; Nadam 1e-3, batch
32, 10 epochs. It costs an hour or more. Without it, our small network, which has a
fifteenth of its parameters and of its cost: three stages with batch norm, dropout 0.2,
AdamW under 1cycle up to 4e-3, batch 64, 5 epochs, 4 min. The last weights of both;
pixels from 0 to 1, no augmentation, 55,000 rows to train on.
"""

import training

from jaxml.models.vision.cnn import CNN, BookCNN
from jaxml.optim import optimizers


def main() -> None:
    options = training.options(__doc__, book="the network of the book, an hour or more")
    data = training.fashion(options)
    if options.book:
        name, model, batch_size, epochs = "BookCNN", BookCNN(10), 32, 10
        choice = optimizers.Optimizer("nadam", rate=1e-3)
    else:
        name, model, batch_size, epochs = "CNN", CNN(10, dropout=0.2), 64, 5
        choice = optimizers.Optimizer("adamw", rate=4e-3, schedule="one_cycle")
    epochs = 1 if options.smoke else epochs
    steps = epochs * -(-len(data.train["y"]) // batch_size)

    def run(seed):
        state = training.fit(
            model,
            data.train,
            choice.build(steps),
            epochs=epochs,
            seed=seed,
            batch_size=batch_size,
            scan=False,
        )
        return {
            f"{name} validation accuracy": training.scorer(model, data.valid)(state),
            f"{name} test accuracy": training.scorer(model, data.test)(state),
        }

    floors = {f"{name} validation accuracy": None, f"{name} test accuracy": 0.9117}
    training.report(49, floors, run, options)


if __name__ == "__main__":
    main()
