"""Meshes and rules: the same numbers on any of them, and clear errors."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxml import sharding
from jaxml.train import step as train

P = jax.P


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.tanh(nn.Dense(64)(x))
        x = nn.tanh(nn.Dense(64)(x))
        return nn.Dense(8)(x)


TX = optax.adamw(optax.linear_schedule(1e-2, 1e-3, 50))


def loss_fn(params, extra, batch, key):
    x = batch["x"] + 0.01 * jax.random.normal(key, batch["x"].shape)
    logits = Net().apply({"params": params}, x)
    values = optax.softmax_cross_entropy_with_integer_labels(logits, batch["y"])
    return (values * batch["weight"]).sum() / batch["weight"].sum(), (extra, {})


def make_state(key):
    params = Net().init(key, jnp.zeros((1, 16)))["params"]
    return train.init(params, TX, key=key, ema=True)


def make_batch(number):
    rng = np.random.default_rng(number)
    x = rng.normal(size=(32, 16)).astype(np.float32)
    weight = np.ones(32, np.float32)
    weight[-5:] = 0  # padding, on the last devices only
    return {"x": x, "y": x[:, :8].argmax(1).astype(np.int32), "weight": weight}


def run(mesh, where, steps=50):
    """The state after some steps, and the losses."""
    state = sharding.init(make_state, where, mesh)(jax.random.key(0))
    step = jax.jit(train.make_step(loss_fn, TX, ema_decay=0.9), donate_argnums=0)
    values = []
    for number in range(steps):
        batch = jax.device_put(make_batch(number), sharding.batch(mesh))
        state, metrics = step(state, batch)
        values.append(metrics["loss"])
    return state, np.array(values)


@pytest.fixture(scope="module")
def alone():
    return run(sharding.mesh(jax.devices()[:1], data=-1), [])


def abstract():
    return jax.eval_shape(make_state, jax.random.key(0))


TENSOR = [
    ("Dense_0/kernel", P(None, "model")),
    ("Dense_0/bias", P("model")),
    ("Dense_1/kernel", P("model", None)),
]
WAYS = {
    "data": ({"data": 8}, []),
    "fsdp": ({"data": 8}, lambda tree, mesh: sharding.fsdp(tree, mesh, smallest=64)),
    "tensor": ({"data": 4, "model": 2}, TENSOR),
}


@pytest.mark.parametrize("way", WAYS)
def test_same_losses_as_one_device(alone, way):
    """1e-5 relative over 50 steps: sums over devices are taken in another order."""
    axes, where = WAYS[way]
    state, values = run(sharding.mesh(**axes), where)
    np.testing.assert_allclose(values, alone[1], rtol=1e-5)
    assert values[-1] < 0.8 * values[0]
    for got, wanted in zip(
        jax.tree.leaves(state.params), jax.tree.leaves(alone[0].params), strict=True
    ):
        np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-5)


def parts(leaf):
    return [shard.data.shape for shard in leaf.addressable_shards]


def test_fsdp_holds_an_eighth_on_each_device():
    mesh = sharding.mesh(data=8)
    state, _ = run(mesh, WAYS["fsdp"][1], steps=2)
    adam = state.opt_state[0]
    for tree in (state.params, adam.mu, adam.nu, state.ema):
        assert parts(tree["Dense_1"]["kernel"]) == [(8, 64)] * 8
        assert parts(tree["Dense_0"]["kernel"]) == [(16, 8)] * 8
        assert parts(tree["Dense_0"]["bias"]) == [(8,)] * 8
        assert parts(tree["Dense_2"]["bias"]) == [(8,)] * 8  # small: whole
    assert parts(state.step) == [()] * 8


def test_init_never_holds_the_whole():
    """The compiled program of a device gives its part and keeps nothing larger."""
    mesh = sharding.mesh(data=8)

    def make(key):
        return {"weight": jax.random.normal(key, (1024, 512))}

    where = sharding.fsdp(jax.eval_shape(make, jax.random.key(0)), mesh)
    program = jax.jit(make, out_shardings=where).lower(jax.random.key(0)).compile()
    memory = program.memory_analysis()
    assert memory.output_size_in_bytes <= 1024 * 512 * 4 / 8 + 1024
    assert memory.temp_size_in_bytes < 1024 * 512 * 4 / 2
    got = sharding.init(make, where, mesh)(jax.random.key(0))["weight"]
    np.testing.assert_array_equal(got, make(jax.random.key(0))["weight"])


def test_rules_follow_into_the_optimizer():
    mesh = sharding.mesh(data=4, model=2)
    state = sharding.init(make_state, TENSOR, mesh)(jax.random.key(0))
    adam = state.opt_state[0]
    for tree in (state.params, adam.mu, adam.nu, state.ema):
        assert parts(tree["Dense_0"]["kernel"]) == [(16, 32)] * 8
        assert parts(tree["Dense_0"]["bias"]) == [(32,)] * 8
        assert parts(tree["Dense_1"]["kernel"]) == [(32, 64)] * 8
        assert tree["Dense_2"]["kernel"].sharding.is_fully_replicated
    assert state.step.sharding.is_fully_replicated


def test_first_rule_wins():
    tree = {"a": {"kernel": jnp.zeros((4, 4)), "bias": jnp.zeros(4)}}
    rules = [("a/kernel", P("x")), ("a/", P("y"))]
    assert sharding.specs(tree, rules) == {"a": {"kernel": P("x"), "bias": P("y")}}


def test_one_element_is_never_split():
    # Adafactor keeps placeholders of shape [1] where it factors a moment.
    tree = {"v": {"kernel": jnp.zeros(1)}, "kernel": jnp.zeros((4, 8))}
    found = sharding.specs(tree, [("kernel", P(None, "model"))])
    assert found == {"v": {"kernel": P()}, "kernel": P(None, "model")}


class Pair(NamedTuple):
    first: Any
    second: Any


def test_paths_name_fields_items_and_keys():
    tree = {"a": Pair(jnp.zeros(2), [jnp.zeros(2), None, jnp.zeros(2)])}
    assert sharding.paths(tree) == ["a/first", "a/second/0", "a/second/2"]


def test_fsdp_splits_the_longest_even_dimension():
    mesh = sharding.mesh(data=8)
    shapes = {"a": (8, 24), "b": (30, 16), "c": (9, 7), "d": (8,), "e": ()}
    tree = {name: jax.ShapeDtypeStruct(s, jnp.float32) for name, s in shapes.items()}
    found = sharding.fsdp(tree, mesh, smallest=9)
    wanted = {"a": P(None, "data"), "b": P(None, "data"), "c": P(), "d": P(), "e": P()}
    assert {name: s.spec for name, s in found.items()} == wanted


def test_batch_is_split_by_rows():
    mesh = sharding.mesh(data=4, model=2)
    rows = jax.device_put(jnp.zeros((8, 3)), sharding.batch(mesh))
    assert parts(rows) == [(2, 3)] * 8


def test_mesh_fills_in_what_is_left():
    assert dict(sharding.mesh(data=-1, model=2).shape) == {"data": 4, "model": 2}
    assert dict(sharding.mesh(data=8).shape) == {"data": 8}
    found = sharding.mesh(jax.devices()[:2], data=-1)
    assert found.size == 2
    assert found.axis_types == (jax.sharding.AxisType.Auto,)


@pytest.mark.parametrize(
    "axes", [{"data": 3}, {"data": -1, "model": 3}, {"data": -1, "model": -1}, {}]
)
def test_rejects_axes_that_do_not_fit(axes):
    with pytest.raises(ValueError, match=r"multiply to the 8 devices.*got \{"):
        sharding.mesh(**axes)


def test_rejects_zero_devices():
    with pytest.raises(ValueError, match=r"got \{'data': 0, 'model': -1\}"):
        sharding.mesh(data=0, model=-1)


def test_rejects_a_rule_that_decides_nothing():
    rules = [("Dense_0/kernle", P("data"))]
    told = r"'Dense_0/kernle' is found in no path.* near are \['ema/Dense_0/kernel'"
    with pytest.raises(ValueError, match=told):
        sharding.specs(abstract(), rules)
    found = sharding.specs(abstract(), rules, every_rule=False)
    assert set(jax.tree.leaves(found)) == {P()}
    with pytest.raises(ValueError, match="'Dense_0/bias' is found in no path that a"):
        sharding.specs(abstract(), [("bias", P("data")), ("Dense_0/bias", P())])


def test_rejects_an_uneven_split():
    mesh, tree = sharding.mesh(data=8), {"a": {"kernel": jnp.zeros((3, 12))}}
    told = r"a/kernel has shape \(3, 12\), its spec is .*'data'.* on mesh\(data=8\)"
    with pytest.raises(ValueError, match=told):
        sharding.shardings(tree, [("kernel", P(None, "data"))], mesh)


def test_rejects_a_spec_of_too_many_entries():
    mesh, tree = sharding.mesh(data=8), {"bias": jnp.zeros(8)}
    with pytest.raises(ValueError, match=r"at most one entry .* bias has shape \(8,\)"):
        sharding.shardings(tree, [("bias", P("data", None))], mesh)


def test_rejects_an_unknown_axis():
    mesh = sharding.mesh(rows=8)
    for call in (
        lambda: sharding.batch(mesh),
        lambda: sharding.fsdp({"a": jnp.zeros(8)}, mesh),
        lambda: sharding.shardings({"a": jnp.zeros(8)}, [("a", P("data"))], mesh),
    ):
        with pytest.raises(ValueError, match=r"an axis of mesh\(rows=8\); got 'data'"):
            call()


def test_start_has_nothing_to_do_alone():
    sharding.start({})
    sharding.start({"SLURM_NTASKS": "1", "SLURM_PROCID": "0"})
    one = {"JAXML_PROCESSES": "1", "JAXML_PROCESS": "0"}
    sharding.start(one | {"JAXML_COORDINATOR": "localhost:1234"})
    assert not jax.distributed.is_initialized()


def test_start_asks_jax_under_a_scheduler(monkeypatch):
    asked = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda *a: asked.append(a))
    sharding.start({"SLURM_NTASKS": "4", "SLURM_PROCID": "2"})
    sharding.start({"OMPI_COMM_WORLD_SIZE": "2"})
    sharding.start({"TPU_WORKER_HOSTNAMES": "one,two"})
    sharding.start({"JAXML_COORDINATOR": "auto"})
    assert asked == [()] * 4
    two = {"JAXML_PROCESSES": "2", "JAXML_PROCESS": "1"}
    sharding.start(two | {"JAXML_COORDINATOR": "host:99"})
    assert asked[-1] == ("host:99", 2, 1)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"JAXML_PROCESS": ""}, "belong together; got only"),
        ({"JAXML_PROCESS": "2"}, "got '2' of '2'"),
        ({"JAXML_PROCESSES": "two"}, "got '1' of 'two'"),
        ({"JAXML_COORDINATOR": "host"}, "must be host:port or auto; got 'host'"),
    ],
)
def test_start_rejects(wrong, told):
    names = {"JAXML_COORDINATOR": "a:1", "JAXML_PROCESSES": "2", "JAXML_PROCESS": "1"}
    with pytest.raises(ValueError, match=told):
        sharding.start(names | wrong)
