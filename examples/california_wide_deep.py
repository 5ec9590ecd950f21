"""California house values by Wide & Deep: two inputs, two heads, a regression.

    jaxml data get california_housing
    jaxml run examples/california_wide_deep.py

Expected: test error (RMSE) 0.57 or less, in 100,000 dollars, in half a minute on two
cores.
"""

import sys
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp

from jaxml import export, losses, metrics
from jaxml.cli import main as cli
from jaxml.data import datasets, preprocess
from jaxml.data.loader import Loader
from jaxml.models import wide_deep
from jaxml.models.wide_deep import WideDeep
from jaxml.optim.optimizers import Optimizer
from jaxml.train import evaluate, loop
from jaxml.train import step as train
from jaxml.train.folder import Run


@dataclass(frozen=True)
class Config:
    """What `key=value` on the command line may change."""

    hidden: tuple[int, ...] = (64, 64)
    wide: int = 5  # the first features go to the wide input
    deep: int = 6  # the last features go to the deep input
    auxiliary: float = 0.1  # share of the auxiliary head in the loss
    optimizer: Optimizer = field(
        default_factory=lambda: Optimizer("adam", rate=3e-3, schedule="cosine")
    )
    epochs: int = 30
    batch_size: int = 64
    seed: int = 0


SMOKE = Config(hidden=(8,), epochs=1, batch_size=512)


def main(config: Config, run: Run) -> dict[str, float]:
    """Train, keep the best weights, evaluate, draw and export."""
    data = datasets.load("california_housing")
    part, held = datasets.split(data.train, (0.8, 0.2), seed=config.seed)
    loader = Loader(part, config.batch_size, seed=config.seed)
    valid = Loader(held, 512, shuffle=False)
    tests = Loader(data.test, 512, shuffle=False)
    steps = config.epochs * loader.steps_per_epoch
    model = WideDeep(config.hidden)
    scaler = preprocess.fit(jnp.asarray(part["x"]))

    def apply(params, x):
        x = preprocess.transform(scaler, x)
        return model.apply(
            {"params": params}, x[:, : config.wide], x[:, -config.deep :]
        )

    def forward(variables, x):
        """Value of raw rows, in 100,000 dollars."""
        return apply(variables["params"], x).main[:, 0]

    def loss_fn(params, extra, batch, key):
        values = wide_deep.loss(
            apply(params, batch["x"]),
            batch["y"][:, None],
            main=1 - config.auxiliary,
            auxiliary=config.auxiliary,
        )
        return losses.weighted_mean(values, batch["weight"]), (extra, {})

    def eval_step(params, extra, batch):
        value = forward({"params": params}, batch["x"])
        return {"mse": metrics.squared_error(value, batch["y"], batch["weight"])}

    def score(loader, state):
        mse = evaluate.evaluate(eval_step, state, loader.epoch())["mse"]
        return {"rmse": mse**0.5}

    tx = config.optimizer.build(steps)
    key = jax.random.key(config.seed)
    rows = jnp.zeros((1, config.wide)), jnp.zeros((1, config.deep))
    state = train.init(jax.jit(model.init)(key, *rows)["params"], tx, key=key)
    step = jax.jit(train.make_step(loss_fn, tx), donate_argnums=0)
    for state, _ in loop.run(  # the last state holds the best weights
        step,
        state,
        loader,
        steps=steps,
        folder=run,
        evaluate=lambda state: score(valid, state),
        best=loop.Best("rmse", patience=10),
    ):
        pass

    scores = score(tests, state)
    run.finish(scores)
    example = data.test["x"][:1]
    export.save(run.path / "export", forward, {"params": state.params}, example)
    return scores


if __name__ == "__main__":
    raise SystemExit(cli.main(["run", __file__, *sys.argv[1:]]))
