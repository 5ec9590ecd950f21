"""Row 44: a hundred layers, with SELU and with ReLU.

    python benchmarks/anchors/deep.py [--seeds 3] [--better]

Fashion-MNIST, each pixel standardised; 100 hidden layers of 100 units, SGD 1e-3, batch
32, 5 epochs; SELU with LeCun normal, ReLU with He normal. Floors: validation accuracy
0.8046 (SELU) and 0.7054 (ReLU). Seeds differ by ten points at this constant rate. With
`--better` SELU alone, its rate in 1cycle up to 2e-3. Cost: 1 min a seed and network.
"""

import training

from jaxml.models.mlp import MLP, selu_mlp
from jaxml.optim.optimizers import Optimizer


def main() -> None:
    options = training.options(__doc__, better="SELU with 1cycle up to 2e-3")
    data = training.fashion(options, standardise=True)
    hidden, epochs = ((100,) * 10, 1) if options.smoke else ((100,) * 100, 5)
    steps = epochs * -(-len(data.train["y"]) // 32)

    kinds = {"SELU": (selu_mlp, 0.8046), "ReLU": (MLP, 0.7054)}
    choice = Optimizer("sgd", rate=1e-3)
    if options.better:
        del kinds["ReLU"]
        choice = Optimizer("sgd", rate=2e-3, schedule="one_cycle")

    for name, (kind, floor) in kinds.items():
        model, what = kind(hidden, 10), f"{name} validation accuracy"

        def run(seed, model=model, what=what):
            tx = choice.build(steps)
            state = training.fit(model, data.train, tx, epochs=epochs, seed=seed)
            return {what: training.scorer(model, data.valid)(state)}

        training.report(44, {what: floor}, run, options)


if __name__ == "__main__":
    main()
