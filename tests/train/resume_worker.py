"""A run that gets killed: `python resume_worker.py FOLDER SECONDS`.

It trains on the digits with all that could go astray (dropout, a schedule, a shuffled
loader, a moving average, early stopping), goes on by itself where FOLDER holds a
broken run, and writes the last state to FOLDER/final.npz. SECONDS is how long each step
is drawn out.
"""

import logging
import shutil
import sys
import time
from pathlib import Path

import jax
import numpy as np
import optax

from jaxml.data import datasets
from jaxml.data.loader import Loader
from jaxml.models.mlp import MLP
from jaxml.train import folder, loop
from jaxml.train.step import init, make_step

STEPS = 400
SAVE_EVERY = 15


def main(path: Path, seconds: float) -> int:
    digits = datasets.load("digits")
    image = digits.train["image"].astype(np.float32) / 16
    loader = Loader({"image": image, "label": digits.train["label"]}, 32, seed=5)
    model = MLP((32,), num_outputs=10, dropout=0.3)
    tx = optax.chain(
        optax.clip_by_global_norm(5.0),
        optax.inject_hyperparams(optax.adamw)(
            optax.warmup_cosine_decay_schedule(0.0, 5e-3, 50, STEPS)
        ),
    )

    def loss_fn(params, extra, batch, key):
        logits = model.apply(
            {"params": params}, batch["image"], train=True, rngs={"dropout": key}
        )
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])
        weight = batch["weight"]
        return (weight * losses).sum() / weight.sum(), (extra, {})

    @jax.jit
    def start(key):
        return model.init(key, image[:1])["params"]

    @jax.jit
    def spread(params):
        return optax.tree.norm(params)

    key_params, key_run = jax.random.split(jax.random.key(7))
    state = init(start(key_params), tx, key=key_run, ema=True)
    step = jax.jit(make_step(loss_fn, tx, ema_decay=0.99), donate_argnums=0)
    pairs = loop.run(
        step,
        state,
        loader,
        steps=STEPS,
        folder=_open(path),
        log_every=1,
        save_every=SAVE_EVERY,
        evaluate=lambda state: {"norm": float(spread(state.ema))},
        eval_every=20,
        best=loop.Best("norm"),
    )
    try:
        for state, _ in pairs:
            time.sleep(seconds)
    except loop.Interrupted as signal:
        return 128 + signal.signal
    leaves = jax.tree.leaves(state._replace(key=jax.random.key_data(state.key)))
    np.savez(path / "final.npz", *map(np.asarray, leaves))
    return 0


def _open(path: Path) -> folder.Run:
    """A new run, or the one that was killed in `path`."""
    config = {"steps": STEPS, "save_every": SAVE_EVERY}
    if not (path / "config.json").exists():  # killed before it was a run
        shutil.rmtree(path, ignore_errors=True)
        return folder.create(path, config=config)
    return folder.create(path, config=config, resume=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, force=True)  # absl was first
    logging.getLogger("absl").setLevel(logging.ERROR)
    sys.exit(main(Path(sys.argv[1]), float(sys.argv[2])))
