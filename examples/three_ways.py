"""One training step under `jax.jit` with shardings (pjit), `jax.shard_map`, `jax.pmap`.

    jaxml run examples/three_ways.py
    XLA_FLAGS=--xla_force_host_platform_device_count=8 python examples/three_ways.py

Expected: the same loss three times, to six digits, and a test accuracy of 0.96 or more
on digits; ten seconds on two cores, on one device or on eight simulated ones.

Begin with `jit`: it sees arrays of the whole batch, and the compiler adds what goes
between devices. `shard_map` and `pmap` run the step on each device's rows, so that the
sums over all devices must be written down. `pmap` wants the devices as a first axis of
the batch, which the others do without.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxml import losses, metrics, sharding
from jaxml.cli import main as cli
from jaxml.data import datasets
from jaxml.data.loader import Loader
from jaxml.models.mlp import MLP
from jaxml.train.folder import Run


@dataclass(frozen=True)
class Config:
    """What `key=value` on the command line may change."""

    hidden: tuple[int, ...] = (128, 64)
    rate: float = 2e-3
    steps: int = 300
    batch_size: int = 64
    seed: int = 0


SMOKE = Config(hidden=(16,), steps=20)


def make_step(model: MLP, tx: optax.GradientTransformation, axis: str | None = None):
    """The step on all rows; or, named an axis of devices, on those of one of them."""

    def total(x):
        return x if axis is None else jax.lax.psum(x, axis)

    def loss_fn(params, batch, weight):
        logits = model.apply(params, batch["image"].astype(jnp.float32) / 16)
        values = losses.cross_entropy(logits, batch["label"])
        return (values * batch["weight"]).sum() / weight

    def step(state, batch):
        params, opt_state = state
        weight = total(batch["weight"].sum())
        loss, grads = jax.value_and_grad(loss_fn)(params, batch, weight)
        updates, opt_state = tx.update(total(grads), opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), total(loss)

    return step


def with_jit(model, tx, mesh) -> tuple[Callable, Callable]:
    """The step, and what lays out a batch for it."""
    rows, whole = sharding.batch(mesh), jax.NamedSharding(mesh, jax.P())
    step = make_step(model, tx)
    return (
        jax.jit(step, in_shardings=(whole, rows), out_shardings=whole),
        lambda batch: jax.device_put(batch, rows),
    )


def with_shard_map(model, tx, mesh) -> tuple[Callable, Callable]:
    """As `with_jit`; the same arrays, taken apart by hand."""
    rows, whole = jax.P("data"), jax.P()
    step = jax.shard_map(
        make_step(model, tx, "data"),
        mesh=mesh,
        in_specs=(whole, rows),
        out_specs=whole,
        check_vma=False,  # else shard_map sums the gradients itself, pmap does not
    )
    return jax.jit(step), lambda batch: jax.device_put(batch, sharding.batch(mesh))


def with_pmap(model, tx, mesh) -> tuple[Callable, Callable]:
    """As `with_jit`; a batch is [devices, rows of one device, ...]."""
    step = jax.pmap(
        make_step(model, tx, "data"),
        axis_name="data",
        devices=list(mesh.devices.flat),
        in_axes=(None, 0),
        out_axes=None,
    )
    split = partial(jax.tree.map, lambda x: x.reshape(mesh.size, -1, *x.shape[1:]))
    return step, split


WAYS = {"jit": with_jit, "shard_map": with_shard_map, "pmap": with_pmap}


def train(config: Config, way: Callable, loader: Loader) -> tuple[Any, np.ndarray]:
    """Parameters after the last step, and the loss of each step."""
    model = MLP(config.hidden, num_outputs=10)
    tx = optax.adam(config.rate)
    params = model.init(jax.random.key(config.seed), jnp.zeros((1, 8, 8, 1)))
    state = params, tx.init(params)
    step, lay_out = way(model, tx, sharding.mesh(data=-1))
    values = []
    for number in range(config.steps):
        _, epoch, index = loader.state_at(number)
        state, loss = step(state, lay_out(loader.batch(epoch, index)))
        values.append(loss)
    return state[0], np.array(values)


def main(config: Config, run: Run) -> dict[str, float]:
    """Train three times; the last losses, their largest difference, the accuracy."""
    data = datasets.load("digits")
    loader = Loader(data.train, config.batch_size, seed=config.seed)
    curves = {}
    for name, way in WAYS.items():
        params, curves[name] = train(config, way, loader)
    images = jnp.asarray(data.test["image"], jnp.float32) / 16
    logits = MLP(config.hidden, num_outputs=10).apply(params, images)
    right = metrics.compute(metrics.accuracy(logits, jnp.asarray(data.test["label"])))
    apart = max(np.abs(curve / curves["jit"] - 1).max() for curve in curves.values())
    scores = {f"loss_{name}": float(curve[-1]) for name, curve in curves.items()}
    scores |= {"difference": float(apart), "accuracy": float(right)}
    run.finish(scores)
    return scores


if __name__ == "__main__":
    raise SystemExit(cli.main(["run", __file__, *sys.argv[1:]]))
