"""Files to run, in an empty current folder."""

import sys

import pytest

JAXML = [
    sys.executable,
    "-c",
    "from jaxml.cli.main import main; raise SystemExit(main())",
]
PLAIN = """
from dataclasses import dataclass, field

@dataclass(frozen=True)
class Optimizer:
    rate: float = 0.1

    def __post_init__(self):
        if self.rate <= 0:
            raise ValueError("rate must be positive")

@dataclass(frozen=True)
class Config:
    epochs: int = 2
    sizes: tuple[int, ...] = (300, 100)
    optimizer: Optimizer = field(default_factory=Optimizer)

SMOKE = Config(epochs=1)

def main(config, run):
    assert run.config == config
    return {"epochs": config.epochs, "rate": config.optimizer.rate}
"""

TRAIN = """
import os, signal
from dataclasses import dataclass

import jax, jax.numpy as jnp, numpy as np, optax

from jaxml import export
from jaxml.train import loop, step as train

@dataclass(frozen=True)
class Config:
    steps: int = 6
    rate: float = 0.1

def main(config, run):
    def forward(weight, x):
        return x * weight
    def loss_fn(params, extra, batch, key):
        return ((forward(params, batch["x"]) - 3) ** 2).mean(), (extra, {})
    tx = optax.sgd(config.rate)
    state = train.init(jnp.zeros(()), tx, key=jax.random.key(0))
    batches = [{"x": jnp.ones(4)}]
    step = jax.jit(train.make_step(loss_fn, tx))
    every = dict(log_every=1, save_every=2, progress=False)
    for state, _ in loop.run(
        step, state, batches, steps=config.steps, folder=run, **every
    ):
        if int(state.step) == int(os.environ.get("STOP_AT", 0)):
            signal.raise_signal(int(os.environ["STOP_BY"]))
    export.save(run.path / "export", forward, state.params, np.zeros(1, np.float32))
    return {"weight": float(state.params)}
"""


@pytest.fixture
def plain():
    """A file whose main only gives its config back; line 21 is the first of main."""
    return PLAIN


@pytest.fixture
def train():
    """A file that trains one weight, and stops where the environment says."""
    return TRAIN


@pytest.fixture
def jaxml():
    """The words that start the command line in a process of its own."""
    return JAXML


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a file into an empty folder that is the current one."""
    monkeypatch.chdir(tmp_path)

    def write(text, name="train.py"):
        (tmp_path / name).write_text(text)
        return name

    return write
