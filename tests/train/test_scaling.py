"""Loss scaling against torch's, and float16 training that needs it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxml.train import scaling
from jaxml.train import step as train


def test_scales_as_torch_does():
    torch = pytest.importorskip("torch")
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=3)
    ours = scaling.init(8.0, interval=3)
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=0.0)
    rng = np.random.default_rng(0)
    for finite in rng.uniform(size=40) < 0.8:
        weight.grad = None
        scaler.scale(weight.sum() * (1.0 if finite else float("inf"))).backward()
        scaler.step(optimizer)
        scaler.update()
        ours = scaling.update(ours, jnp.asarray(finite))
        assert ours.scale == max(scaler.get_scale(), 1.0)


def test_stays_between_its_floor_and_infinity():
    small, large = scaling.init(2.0, floor=1.0), scaling.init(2.0**127, interval=1)
    for _ in range(3):
        small = scaling.update(small, jnp.asarray(False))
        large = scaling.update(large, jnp.asarray(True))
    assert small.scale == 1
    assert scaling.at_floor(small)
    assert large.scale == 2.0**127


def loss_fn(params, extra, batch, key):
    """A sum in float16 whose gradient is 1e-9 `batch`, below what float16 can hold."""
    hidden = (params["w"].astype(jnp.float16) * batch.astype(jnp.float16)).sum()
    return hidden.astype(jnp.float32) * 1e-9, ({"calls": extra["calls"] + 1}, {})


def begin(tx, key, scale):
    return train.init(
        {"w": jnp.zeros(3)},
        tx,
        key=key,
        extra={"calls": jnp.zeros((), jnp.int32)},
        ema=True,
        scaling=scale and scaling.init(scale, interval=2, floor=0.5),
    )


def test_small_gradients_live_only_when_scaled(key):
    tx = optax.sgd(1.0)
    step = jax.jit(train.make_step(loss_fn, tx, ema_decay=0.9))
    lost, _ = step(begin(tx, key, None), jnp.ones(3))
    kept, metrics = step(begin(tx, key, 2.0**15), jnp.ones(3))
    assert not lost.params["w"].any()
    np.testing.assert_allclose(kept.params["w"], -1e-9, rtol=1e-2)  # 11 bits
    np.testing.assert_allclose(metrics["grad_norm"], 3**0.5 * 1e-9, rtol=1e-2)
    np.testing.assert_allclose(metrics["loss"], 0.0)
    assert metrics["scale"] == 2.0**15
    assert kept.params["w"].dtype == jnp.float32


@pytest.mark.parametrize("accumulate", [1, 3])
def test_an_overflow_skips_the_step_and_halves_the_scale(key, accumulate):
    tx = optax.adam(1.0)
    step = jax.jit(
        train.make_step(loss_fn, tx, ema_decay=0.9, accumulate=accumulate),
        donate_argnums=0,
    )
    start = begin(tx, key, 2.0**15)
    before = jax.tree.map(np.asarray, start._replace(key=None))
    after, metrics = step(start, jnp.full(3, 7e4))  # beyond float16
    for name in ("params", "opt_state", "extra", "ema"):
        jax.tree.map(
            np.testing.assert_array_equal, getattr(before, name), getattr(after, name)
        )
    assert after.step == 1
    assert after.scaling.scale == 2.0**14
    assert after.first_bad.tolist() == [-1, -1]
    assert not jnp.isfinite(metrics["grad_norm"])
    for _ in range(2):
        after, _ = step(after, jnp.ones(3))
    assert after.scaling.scale == 2.0**15
    assert after.params["w"].all()


def test_a_fault_at_the_floor_is_told(key):
    tx = optax.sgd(1.0)
    step = jax.jit(train.make_step(loss_fn, tx, ema_decay=0.9))
    state = begin(tx, key, 2.0)
    for _ in range(4):
        state, _ = step(state, jnp.full(3, jnp.nan))
    assert state.first_bad.tolist() == [2, 0]  # 2, 1, then 0.5: the floor


def test_a_network_in_float16_learns(key):
    x = jax.random.normal(key, (64, 4))
    y = jnp.tanh(x @ jnp.array([1.0, -1.0, 0.5, 2.0]))

    def network(params, x):
        hidden = jnp.tanh(x.astype(jnp.float16) @ params["in"].astype(jnp.float16))
        return (hidden @ params["out"].astype(jnp.float16)).astype(jnp.float32)

    def loss_fn(params, extra, batch, key):
        return ((network(params, x) - y) ** 2).mean(), (extra, {})

    params = {"in": jax.random.normal(key, (4, 16)) / 2, "out": jnp.zeros(16)}
    tx = optax.adam(0.02)
    state = train.init(params, tx, key=key, scaling=scaling.init(2.0**24))
    step = jax.jit(train.make_step(loss_fn, tx), donate_argnums=0)
    for _ in range(150):
        state, metrics = step(state, None)
    assert metrics["loss"] < 0.02  # the variance of y is 0.6
    assert 1 < metrics["scale"] < 2.0**24  # found by itself
    assert state.first_bad[0] == -1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"interval": 0}, "interval must be at least 1; got 0"),
        ({"scale": 0.5}, r"got scale 0\.5 and floor 1\.0"),
        ({"floor": 0.0}, r"floor 0\.0"),
        ({"scale": float("inf")}, "scale must be finite"),
    ],
)
def test_rejects_numbers_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        scaling.init(**options)
