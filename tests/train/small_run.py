"""A run of a few milliseconds, with all that a run can have."""

from collections import deque

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxml.data.loader import Loader
from jaxml.train import loop
from jaxml.train.step import init, make_step

TX = optax.inject_hyperparams(optax.adam)(optax.cosine_decay_schedule(0.1, 60))


def loss_fn(params, extra, batch, key):
    kept = jax.random.bernoulli(key, 0.8, batch["x"].shape)  # a dropout of inputs
    error = (batch["x"] * kept) @ params["w"] + params["b"] - batch["y"]
    loss = (batch["weight"] * error**2).sum() / batch["weight"].sum()
    return loss, (extra, {"error": jnp.abs(error).max()})


TAKE = jax.jit(make_step(loss_fn, TX, ema_decay=0.9), donate_argnums=0)


def start():
    params = {"b": jnp.zeros(()), "w": jnp.zeros(3)}
    return init(params, TX, key=jax.random.key(1), ema=True)


def loader(**changes):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(37, 3)).astype(np.float32)
    arrays = {"x": x, "y": x @ np.float32([1, -2, 3])} | changes
    return Loader(arrays, 8, seed=3)


def train(run, steps=60, **options):
    """The last pair of a run."""
    options = {"log_every": 5, "save_every": 10} | options
    pairs = loop.run(TAKE, start(), loader(), steps=steps, folder=run, **options)
    return deque(pairs, maxlen=1).pop()


def each(pairs, act):
    for state, _ in pairs:
        act(int(state.step))


def timeless(run):
    """The log without what the clock says."""
    clock = ("time", "steps_per_second")
    return [
        {k: v for k, v in record.items() if k not in clock}
        for record in run.log.records()
    ]


def assert_same_bits(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()
