"""Handwritten digits by a multilayer perceptron: the default run.

    jaxml run examples/digits_mlp.py
    jaxml run examples/digits_mlp.py epochs=10 optimizer.rate=1e-3 --folder runs/mine
    jaxml run examples/digits_mlp.py --resume runs/mine

Expected: test accuracy 0.98 or more on the held-out fifth, in half a minute on two
cores. It runs unchanged on one device, on several (batches are split over all there
are, `fsdp` splits the parameters too) and in several processes.
"""

import sys
from dataclasses import dataclass, field
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxml import export, losses, metrics, sharding
from jaxml.cli import main as cli
from jaxml.data import augment, datasets
from jaxml.data.loader import Loader
from jaxml.models.mlp import MLP
from jaxml.optim.optimizers import Optimizer
from jaxml.train import evaluate, loop
from jaxml.train import step as train
from jaxml.train.folder import Run


@dataclass(frozen=True)
class Config:
    """What `key=value` on the command line may change."""

    hidden: tuple[int, ...] = (512, 256)
    dropout: float = 0.3
    optimizer: Optimizer = field(
        default_factory=lambda: Optimizer(
            "adamw", rate=3e-3, schedule="cosine", weight_decay=0.05
        )
    )
    ema_decay: float = 0.99
    shift: float = 0.1  # of its side: how far a training image may move
    epochs: int = 100
    batch_size: int = 64
    seed: int = 0
    fsdp: bool = False  # split the parameters over the devices too


SMOKE = Config(hidden=(32,), epochs=2)


def main(config: Config, run: Run) -> dict[str, float]:
    """Train, evaluate, draw and export."""
    data = datasets.load("digits")
    mesh = sharding.mesh(data=-1)
    over = sharding.batch(mesh)
    loader = Loader(data.train, config.batch_size, seed=config.seed, sharding=over)
    tests = Loader(data.test, config.batch_size, shuffle=False, sharding=over)
    steps = config.epochs * loader.steps_per_epoch
    model = MLP(config.hidden, num_outputs=10, dropout=config.dropout)
    move = augment.per_image(partial(augment.shift, limit=config.shift))

    def forward(variables, images):
        """Logits of raw images, 0 to 16."""
        return model.apply(variables, images.astype(jnp.float32) / 16)

    def loss_fn(params, extra, batch, key):
        key_move, key_drop = jax.random.split(key)
        images = move(key_move, batch["image"].astype(jnp.float32) / 16)
        logits = model.apply(
            {"params": params}, images, train=True, rngs={"dropout": key_drop}
        )
        values = losses.cross_entropy(logits, batch["label"])
        accuracy = metrics.accuracy(logits, batch["label"], batch["weight"])
        loss = losses.weighted_mean(values, batch["weight"])
        return loss, (extra, {"accuracy": metrics.compute(accuracy)})

    def eval_step(params, extra, batch):
        logits = forward({"params": params}, batch["image"])
        label, weight = batch["label"], batch["weight"]
        return {
            "accuracy": metrics.accuracy(logits, label, weight),
            "loss": metrics.mean(losses.cross_entropy(logits, label), weight),
        }

    tx = config.optimizer.build(steps)

    def init(key):
        params = model.init(key, jnp.zeros((1, 8, 8, 1)))["params"]
        return train.init(params, tx, key=key, ema=True)

    key = jax.random.key(config.seed)
    spread = sharding.fsdp(jax.eval_shape(init, key), mesh) if config.fsdp else []
    state = sharding.init(init, spread, mesh)(key)
    step = train.make_step(loss_fn, tx, ema_decay=config.ema_decay)

    def score(state):
        averaged = state._replace(params=state.ema)
        return evaluate.evaluate(eval_step, averaged, tests.epoch())

    step = jax.jit(step, donate_argnums=0)
    ten = 10 * loader.steps_per_epoch
    for state, _ in loop.run(  # the last state is what we came for
        step, state, loader, steps=steps, folder=run, evaluate=score, eval_every=ten
    ):
        pass

    variables = {"params": state.ema}
    logits = evaluate.predict(
        lambda v, batch: forward(v, batch["image"]), variables, tests.epoch()
    )
    scores = score(state)
    run.finish(
        scores,
        labels=data.test["label"],
        probabilities=np.asarray(jax.nn.softmax(logits)),
        images=data.test["image"],
        classes=data.classes,
    )
    example = data.test["image"][:1]
    export.save(run.path / "export", forward, variables, example, classes=data.classes)
    return scores


if __name__ == "__main__":
    raise SystemExit(cli.main(["run", __file__, *sys.argv[1:]]))
