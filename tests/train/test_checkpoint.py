"""Checkpoints: the same bits again, on any number of devices, and which are kept."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

from jaxml.train import leaves
from jaxml.train.checkpoint import Checkpoints

P = jax.sharding.PartitionSpec


class State(NamedTuple):
    step: Any
    params: Any
    opt_state: Any
    key: Any
    extra: Any = None


def make_state(seed=0, width=3):
    kernel = jax.random.normal(jax.random.key(seed), (8, width))
    params = {"Dense_0": {"kernel": kernel, "bias": jnp.zeros(width)}}
    tx = optax.chain(optax.clip(1.0), optax.adam(optax.linear_schedule(1e-3, 0, 9)))
    return State(jnp.asarray(seed), params, tx.init(params), jax.random.key(seed))


def assert_same(got, wanted):
    """Equal bit for bit, NaNs too, and of the same types."""
    assert jax.tree.structure(got) == jax.tree.structure(wanted)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        assert type(one) is type(other)
        if isinstance(other, jax.Array):
            assert one.dtype == other.dtype
            if jax.dtypes.issubdtype(other.dtype, jax.dtypes.prng_key):
                assert jax.random.key_impl(one) == jax.random.key_impl(other)
                one, other = jax.random.key_data(one), jax.random.key_data(other)
            else:
                assert one.weak_type == other.weak_type
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()
        assert np.shape(one) == np.shape(other)


def filled(folder, steps=(1, 2, 3), **options):
    """A closed folder with a checkpoint for each step."""
    with Checkpoints(folder, **options) as checkpoints:
        for step in steps:
            checkpoints.save(step, make_state(step), loader=(0, step, 2 * step))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "checkpoints"


def rich_state():
    keys = jax.random.split(jax.random.key(3), 4)
    kinds = "float32 bfloat16 float16 float8_e4m3fn int8 int32 uint8 bool complex64"
    return {
        "kinds": {kind: jnp.arange(6).astype(kind) for kind in kinds.split()},
        "nan": jnp.array([jnp.nan, -jnp.nan, jnp.inf, -0.0]),
        "keys": (keys, keys[0], jax.random.key(4, impl="rbg")),
        "weak": (jnp.asarray(3), jnp.full((2,), 0.5)),
        "none": None,
        "empty": (jnp.zeros((0, 3)), (), {}, optax.EmptyState()),
        "host": (np.arange(3.0), np.float64(0.1), 7, 0.1, True),
        "state": make_state(),
    }


@pytest.mark.parametrize("small", [leaves.SMALL, 0], ids=["packed", "one by one"])
def test_gives_the_same_bits(folder, small, monkeypatch):
    monkeypatch.setattr(leaves, "SMALL", small)
    state = rich_state()
    if not small:
        del state["empty"]  # orbax writes no array without elements
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(5, state, loader=(1, 2, 3), score=0.5)
        restored = checkpoints.restore(state)
    assert_same(restored.state, state)
    assert restored[1:] == (5, (1, 2, 3), (), 0.5)


def test_large_leaves_are_plain_orbax_arrays(folder):
    state = {"large": jnp.arange(300_000.0), "step": jnp.asarray(1)}
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(1, state, wait=True)
        assert_same(checkpoints.restore(state).state, state)
    stored = ocp.PyTreeCheckpointHandler().restore(folder / "1" / "arrays")
    np.testing.assert_array_equal(stored["leaf_0"], state["large"])


def test_none_where_there_is_none(folder):
    with Checkpoints(folder) as checkpoints:
        assert checkpoints.restore(make_state()) is None
        assert checkpoints.best(make_state()) is None
        checkpoints.save(1, make_state())
        assert checkpoints.best(make_state()) is None  # no score


def test_state_may_be_donated_at_once(folder):
    @jax.jit
    def work(x):  # long enough that the save comes while it runs
        return jax.lax.fori_loop(0, 200, lambda _, x: jnp.sin(x @ x) / 3, x)

    overwrite = jax.jit(lambda x: x * 0 - 1, donate_argnums=0)
    start = jax.random.normal(jax.random.key(0), (200, 200))
    with Checkpoints(folder) as checkpoints:
        for step in range(8):
            wanted = np.array(work(start + step))
            state = work(start + step)
            checkpoints.save(step, {"x": state})
            state = overwrite(state)
            got = checkpoints.restore({"x": state}).state["x"]
            np.testing.assert_array_equal(got, wanted)


def test_numpy_state_may_change_at_once(folder):
    state = {"x": np.arange(400_000.0)}
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(1, state)
        state["x"][:] = -1
        np.testing.assert_array_equal(
            checkpoints.restore(state).state["x"], np.arange(400_000.0)
        )


def test_host_memory_of_an_accelerator(folder, monkeypatch):
    # CPUs have the memory kind too, so that the way of GPUs and TPUs is run here.
    monkeypatch.setattr(leaves, "_copy", leaves._to_host)
    overwrite = jax.jit(lambda x: x * 0 - 1, donate_argnums=0)
    state = jax.device_put(jnp.arange(64.0), sharding(8))
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(1, state)
        state = overwrite(state)
        np.testing.assert_array_equal(checkpoints.restore(state).state, np.arange(64.0))


def sharding(devices, *, split=True):
    axis = jax.sharding.AxisType.Auto
    mesh = jax.make_mesh((devices,), ("data",), axis_types=(axis,))
    return jax.NamedSharding(mesh, P("data") if split else P())


@pytest.mark.parametrize("small", [leaves.SMALL, 0], ids=["packed", "one by one"])
@pytest.mark.parametrize(("before", "after"), [(8, 1), (1, 8), (8, 4), (2, 8)])
def test_other_number_of_devices(folder, before, after, small, monkeypatch):
    monkeypatch.setattr(leaves, "SMALL", small)
    keys = jax.random.split(jax.random.key(1), 8)
    state = {"a": jnp.arange(48.0).reshape(8, 6), "keys": keys, "step": jnp.asarray(7)}

    def on(devices, tree):
        whole, split = sharding(devices, split=False), sharding(devices)
        return jax.device_put(tree, {"a": split, "keys": split, "step": whole})

    with Checkpoints(folder) as checkpoints:
        checkpoints.save(1, on(before, state))
        template = on(after, jax.tree.map(jnp.zeros_like, state | {"keys": keys[::-1]}))
        got = checkpoints.restore(template).state
        abstract = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
            template,
        )
        again = checkpoints.restore(abstract).state
    for restored in (got, again):
        for name, leaf in restored.items():
            assert leaf.sharding.is_equivalent_to(template[name].sharding, leaf.ndim)
        np.testing.assert_array_equal(restored["a"], state["a"])
        assert bool((restored["keys"] == keys).all())
        assert restored["step"] == 7


def test_free_arrays_stay_free(folder):
    # An array that is bound to device 0 cannot meet a batch that lies on eight.
    state = make_state()
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(1, state)
        restored = checkpoints.restore(state).state
    assert not any(leaf.committed for leaf in jax.tree.leaves(restored))


def test_rejects_another_model(folder):
    filled(folder)
    other = make_state(width=4)
    other.params["Dense_1"] = {"bias": jnp.zeros(2)}
    other = other._replace(step=jnp.zeros(()), opt_state=())
    with (
        Checkpoints(folder) as checkpoints,
        pytest.raises(ValueError, match="3 is of another state") as caught,
    ):
        checkpoints.restore(other)
    text = str(caught.value)
    assert "params/Dense_0/kernel: float32[8, 3] saved, float32[8, 4] wanted" in text
    assert "params/Dense_1/bias: not in the checkpoint, float32[2] wanted" in text
    assert "step: int32[] saved, float32[] wanted" in text
    assert "mu/Dense_0/bias: only in the checkpoint, float32[3]" in text


def test_rejects_another_generator(folder):
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(1, {"key": jax.random.key(0)})
        with pytest.raises(
            ValueError, match=r"key<fry>\[\] saved, key<rbg>\[\] wanted"
        ):
            checkpoints.restore({"key": jax.random.key(0, impl="rbg")})


def test_keeps_the_last_and_the_best(folder):
    scores = [0.3, 0.1, float("nan"), 0.2, 0.1, None, 0.4]
    with Checkpoints(folder, keep=2, keep_best=1) as checkpoints:
        for step, score in enumerate(scores):
            checkpoints.save(step, make_state(step), score=score)
        best = checkpoints.best(make_state())
        assert (best.step, best.score) == (1, 0.1)
        assert_same(best.state, make_state(1))
        assert checkpoints.steps() == [1, 5, 6]
    with Checkpoints(folder, keep=1, keep_best=2, mode="max") as checkpoints:
        assert checkpoints.best(make_state()).step == 6
        checkpoints.save(7, make_state(7), score=0.0, wait=True)
        assert checkpoints.steps() == [1, 6, 7]


def test_same_step_again_replaces(folder):
    filled(folder, steps=(1, 2))
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(2, make_state(9), wait=True)
        assert_same(checkpoints.restore(make_state()).state, make_state(9))
    assert sorted(path.name for path in folder.iterdir()) == ["1", "2"]


def test_an_earlier_step_than_the_last_is_kept(folder):
    filled(folder, steps=(7, 8, 9))
    with Checkpoints(folder, keep=2) as checkpoints:
        checkpoints.save(3, make_state(3), wait=True)
        assert checkpoints.steps() == [3, 8, 9]


def test_rejects_bad_options(folder):
    with pytest.raises(ValueError, match=r"keep must be from 1 .* got 0 and 1"):
        Checkpoints(folder, keep=0)
    with pytest.raises(ValueError, match='mode must be "min" or "max"; got \'best\''):
        Checkpoints(folder, mode="best")
    with Checkpoints(folder) as checkpoints, pytest.raises(ValueError, match="got -1"):
        checkpoints.save(-1, {})
