"""Two processes of four devices each: one run, with the losses of one process.

The file is also what the processes run; `main` is their part.
"""

import json
import os
import socket
import subprocess
import sys
import time
import zlib
from functools import partial
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.experimental import multihost_utils

from jaxml import sharding
from jaxml.data.loader import Loader
from jaxml.train import step as train
from jaxml.train.checkpoint import Checkpoints

pytestmark = pytest.mark.xdist_group("two_processes")  # the fixture is dear

STEPS, HALF = 50, 25
TX = optax.adam(3e-3)
WAYS = {"data": [], "fsdp": partial(sharding.fsdp, smallest=64)}


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.tanh(nn.Dense(64)(x))
        return nn.Dense(8)(x)


def loss_fn(params, extra, batch, key):
    x = batch["x"] + 0.01 * jax.random.normal(key, batch["x"].shape)
    logits = Net().apply({"params": params}, x)
    values = optax.softmax_cross_entropy_with_integer_labels(logits, batch["y"])
    return (values * batch["weight"]).sum() / batch["weight"].sum(), (extra, {})


def make_state(key):
    params = Net().init(key, jnp.zeros((1, 16)))["params"]
    return train.init(params, TX, key=key)


def make_loader(mesh):
    x = np.random.default_rng(0).normal(size=(100, 16)).astype(np.float32)
    y = x[:, :8].argmax(1).astype(np.int32)  # 100 rows in batches of 32: ragged
    return Loader({"x": x, "y": y}, 32, seed=3, sharding=sharding.batch(mesh))


def run(state, loader, start, stop):
    """The state after step `stop`, and the losses from `start` on."""
    step = jax.jit(train.make_step(loss_fn, TX), donate_argnums=0)
    values, stream = [], loader.stream(loader.state_at(start))
    for _ in range(start, stop):
        state, metrics = step(state, next(stream))
        values.append(metrics["loss"])
    stream.close()
    return state, [float(value) for value in values]


def digest(state):
    """The CRC-32 of the bits of a state, wherever its parts lie."""
    state = state._replace(key=jax.random.key_data(state.key))
    whole = multihost_utils.process_allgather(state, tiled=True)
    return [zlib.crc32(np.asarray(leaf).tobytes()) for leaf in jax.tree.leaves(whole)]


def main(folder):
    """Train in both ways; save half-way, damage, restore, go on. Writes what came."""
    sharding.start()
    mesh, found = sharding.mesh(data=-1), {}
    assert (jax.process_count(), mesh.size) == (2, 8)
    loader, first = make_loader(mesh), jax.process_index() == 0
    for way, where in WAYS.items():
        state = sharding.init(make_state, where, mesh)(jax.random.key(0))
        with Checkpoints(folder / way) as checkpoints:
            state, losses = run(state, loader, 0, HALF)
            checkpoints.save(HALF, state, loader=loader.state_at(HALF), score=1.0)
            half = digest(state)
            state, rest = run(state, loader, HALF, STEPS)
            checkpoints.save(STEPS, state, loader=loader.state_at(STEPS), wait=True)
            multihost_utils.sync_global_devices(f"saved {way}")
            if first:
                (folder / way / str(STEPS) / "index.json").unlink()
            multihost_utils.sync_global_devices(f"damaged {way}")
            restored = checkpoints.restore(state)
            assert checkpoints.best(state).step == HALF
        assert digest(restored.state) == half
        assert restored.loader == tuple(loader.state_at(HALF))
        again = run(restored.state, loader, restored.step, STEPS)[1]
        found[way] = {
            "losses": losses + rest,
            "digest": half,
            "skipped": restored.skipped,
            "again": again == rest,
            "parts": len(state.params["Dense_0"]["kernel"].addressable_shards),
            "shape": state.params["Dense_0"]["kernel"].addressable_data(0).shape,
        }
    path = folder / f"process_{jax.process_index()}.json"
    path.write_text(json.dumps(found))


def start(index, port, folder):
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "JAXML_COORDINATOR": f"127.0.0.1:{port}",
        "JAXML_PROCESSES": "2",
        "JAXML_PROCESS": str(index),
    }
    with open(folder / f"output_{index}.txt", "w") as output:
        command = [sys.executable, __file__, str(folder)]
        return subprocess.Popen(command, env=environment, stdout=output, stderr=output)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What the two processes found, and their folder."""
    folder = tmp_path_factory.mktemp("two")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [start(index, port, folder) for index in range(2)]
    try:
        until = time.monotonic() + 240
        while any(process.poll() is None for process in processes):
            failed = any(process.poll() for process in processes)
            if failed or time.monotonic() > until:
                break
            time.sleep(0.1)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    if any(process.returncode for process in processes):
        texts = [(folder / f"output_{i}.txt").read_text()[-3000:] for i in range(2)]
        pytest.fail("\n\n".join(texts))
    files = [folder / f"process_{index}.json" for index in range(2)]
    return [json.loads(file.read_text()) for file in files], folder


@pytest.fixture(scope="module")
def alone():
    mesh = sharding.mesh(jax.devices()[:1], data=-1)
    state = sharding.init(make_state, [], mesh)(jax.random.key(0))
    return run(state, make_loader(mesh), 0, STEPS)[1]


@pytest.mark.parametrize("way", WAYS)
def test_same_losses(two, alone, way):
    """1e-5 relative: sums over devices are taken in another order."""
    mesh = sharding.mesh(data=8)
    state = sharding.init(make_state, WAYS[way], mesh)(jax.random.key(0))
    eight = run(state, make_loader(mesh), 0, STEPS)[1]
    first, second = (found[way] for found in two[0])
    assert first == second
    assert alone[-1] < 0.8 * alone[0]
    np.testing.assert_allclose(first["losses"], eight, rtol=1e-5)
    np.testing.assert_allclose(first["losses"], alone, rtol=1e-5)


@pytest.mark.parametrize("way", WAYS)
def test_checkpoint_of_two_processes(two, alone, way):
    """A damaged newest is skipped on both; on one device the bits are the same."""
    found, folder = two[0][0][way], two[1]
    assert found["skipped"] == ["step 50: index.json is missing"]
    assert found["again"]
    assert found["parts"] == 4
    assert found["shape"] == ([16, 8] if way == "fsdp" else [16, 64])
    mesh = sharding.mesh(jax.devices()[:1], data=-1)
    template = sharding.init(make_state, [], mesh)(jax.random.key(1))
    with Checkpoints(folder / way) as checkpoints:
        restored = checkpoints.restore(template)
    assert restored.step == HALF
    assert digest(restored.state) == found["digest"]
    rest = run(restored.state, make_loader(mesh), HALF, STEPS)[1]
    np.testing.assert_allclose(rest, alone[HALF:], rtol=1e-5)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
