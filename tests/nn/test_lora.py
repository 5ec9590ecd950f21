import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from safetensors.numpy import load_file, save_file

from jaxml.nn import lora
from jaxml.nn.graft import graft
from jaxml.optim import groups


class Net(nn.Module):
    out: int = 3

    @nn.compact
    def __call__(self, x):
        for i in range(2):
            x = nn.tanh(nn.Dense(8, name=f"layers_{i}")(x))
        return nn.Dense(self.out, name="head")(x)


@pytest.fixture
def net(key):
    x = jax.random.normal(key, (32, 5))
    return Net(), jax.jit(Net().init)(jax.random.key(1), x)["params"], x


TARGETS = r"layers_\d/kernel$"


def trained(adapters, key):
    """Adapters with something in them."""
    leaves, tree = jax.tree.flatten(adapters)
    keys = jax.random.split(key, len(leaves))
    moved = [
        x + jax.random.normal(k, x.shape) if x.ndim else x
        for x, k in zip(leaves, keys, strict=True)
    ]
    return jax.tree.unflatten(tree, moved)


def test_new_adapters_change_nothing_and_trained_ones_add_their_product(net, key):
    _, params, _ = net
    adapters = lora.add(params, key=key, rank=2, alpha=6.0, targets=TARGETS)
    same = lora.merge(params, adapters)
    assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), params, same))
    adapters = trained(adapters, key)
    merged = lora.merge(params, adapters)
    for name in ("layers_0", "layers_1"):
        down, up, scale = (np.asarray(part) for part in adapters[name]["kernel"])
        assert scale == 3
        expected = np.asarray(params[name]["kernel"]) + 3 * down @ up
        np.testing.assert_allclose(merged[name]["kernel"], expected, rtol=2e-5)
        change = merged[name]["kernel"] - params[name]["kernel"]
        assert np.linalg.matrix_rank(change, 1e-4) == 2
        assert merged[name]["bias"] is params[name]["bias"]
    back = lora.unmerge(merged, adapters)
    for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(params), strict=True):
        np.testing.assert_allclose(a, b, atol=3e-6)


def test_training_moves_adapters_alone(net, key):
    model, params, x = net
    target = jnp.sin(3 * x[:, :3])
    adapters = lora.add(params, key=key, rank=4, targets=TARGETS)
    tx = optax.masked(optax.adamw(0.03), lora.mask(adapters))

    def loss_of(adapters):
        merged = lora.merge(params, adapters)
        return ((model.apply({"params": merged}, x) - target) ** 2).mean()

    @jax.jit
    def step(carry, _):
        adapters, state = carry
        loss, grads = jax.value_and_grad(loss_of)(adapters)
        updates, state = tx.update(grads, state, adapters)
        return (optax.apply_updates(adapters, updates), state), loss

    start = adapters, tx.init(adapters)
    (adapters, _), losses = jax.lax.scan(step, start, None, 200)
    assert losses[-1] < 0.5 * losses[0]
    assert all(a["kernel"].scale == 2 for a in adapters.values())
    count = sum(x.size for x in jax.tree.leaves(tx.init(adapters)))
    assert count < 3 * sum(x.size for x in jax.tree.leaves(adapters))


def test_groups_freeze_all_but_the_adapters(net, key):
    # For a loop that has one tree of parameters.
    model, params, x = net
    adapters = trained(lora.add(params, key=key, rank=2, targets=TARGETS), key)
    both = {"base": params, "lora": adapters}
    tx = groups.groups(
        {"^base/": groups.frozen(), "/scale$": groups.frozen()}, default=optax.sgd(0.1)
    )

    @jax.jit
    def step(both, state):
        def loss_of(both):
            merged = lora.merge(both["base"], both["lora"])
            return (model.apply({"params": merged}, x) ** 2).mean()

        updates, state = tx.update(jax.grad(loss_of)(both), state, both)
        return optax.apply_updates(both, updates)

    after = step(both, tx.init(both))
    same = jax.tree.map(lambda a, b: bool((a == b).all()), both, after)
    assert jax.tree.all(same["base"])
    assert not any(a["kernel"].down or a["kernel"].up for a in same["lora"].values())
    assert all(a["kernel"].scale for a in same["lora"].values())


def test_stacked_kernels_and_half_precision(key):
    params = {"layers": {"query": {"kernel": jnp.ones((3, 4, 6), jnp.bfloat16)}}}
    adapters = trained(lora.add(params, key=key, rank=2), key)
    adapter = adapters["layers"]["query"]["kernel"]
    assert adapter.down.shape == (3, 4, 2)
    merged = lora.merge(params, adapters)["layers"]["query"]["kernel"]
    assert merged.dtype == jnp.bfloat16
    one = {"query": {"kernel": params["layers"]["query"]["kernel"][1]}}
    only = {
        "query": {"kernel": lora.Adapter(adapter.down[1], adapter.up[1], adapter.scale)}
    }
    alone = lora.merge(one, only)["query"]["kernel"]
    np.testing.assert_array_equal(
        merged[1].astype(jnp.float32), alone.astype(jnp.float32)
    )


def test_files_come_back_and_have_the_names_of_peft(net, key, tmp_path):
    _, params, _ = net
    adapters = trained(
        lora.add(params, key=key, rank=2, alpha=5.0, targets=TARGETS), key
    )
    names = lambda path: (
        "model.layers."
        + path.removeprefix("layers_").replace("/kernel", ".mlp.up_proj")
    )
    lora.save(adapters, tmp_path, names=names)
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    name = "base_model.model.model.layers.0.mlp.up_proj.lora_A.weight"
    np.testing.assert_array_equal(tensors[name].T, adapters["layers_0"]["kernel"].down)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"]) == (2, 5)
    assert config["target_modules"] == ["up_proj"]
    again = lora.load(params, tmp_path, targets=TARGETS, names=names)
    assert jax.tree.structure(again) == jax.tree.structure(adapters)
    for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(adapters), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_new_head_on_an_old_body(net, key):
    _, params, x = net
    fresh = jax.jit(Net(out=7).init)(key, x)["params"]
    both = graft(fresh, params, keep="^head/")
    np.testing.assert_array_equal(
        both["layers_1"]["kernel"], params["layers_1"]["kernel"]
    )
    np.testing.assert_array_equal(both["head"]["kernel"], fresh["head"]["kernel"])
    with pytest.raises(ValueError, match=r"head/kernel must be \[8, 7\], got \[8, 3\]"):
        graft(fresh, params, keep="layers_0")
    with pytest.raises(
        ValueError, match="keep must find a parameter; 'tail' finds none"
    ):
        graft(fresh, params, keep="tail")
    del params["layers_1"]
    with pytest.raises(ValueError, match="layers_1/bias is missing"):
        graft(fresh, params, keep="^head/")


def test_rejects(net, key, tmp_path):
    _, params, _ = net
    with pytest.raises(ValueError, match="rank must be at least 1; got 0"):
        lora.add(params, key=key, rank=0, targets=TARGETS)
    with pytest.raises(ValueError, match="'query' finds none in head/bias"):
        lora.add(params, key=key, targets="query")
    with pytest.raises(ValueError, match=r"must be kernels .*; got head/bias"):
        lora.add(params, key=key, targets="head/bias")
    adapters = lora.add(params, key=key, rank=2, targets=TARGETS)
    with pytest.raises(ValueError, match=r"none at \['layers_0/kernel'"):
        lora.merge({"head": params["head"]}, adapters)
    wide = {**params, "layers_0": {"kernel": jnp.ones((9, 9))}}
    with pytest.raises(ValueError, match=r"must be for \[9, 9\]; got \[5, 8\]"):
        lora.merge(wide, adapters)
    with pytest.raises(ValueError, match="two paths got the same one"):
        lora.save(adapters, tmp_path, names=lambda path: "x")
    lora.save(adapters, tmp_path)
    file = tmp_path / "adapter_model.safetensors"
    tensors = load_file(file)
    save_file({**tensors, "odd": np.zeros(1, np.float32)}, file)
    with pytest.raises(ValueError, match="odd to none"):
        lora.load(params, tmp_path, targets=TARGETS)
    del tensors["base_model.model.layers_0.lora_A.weight"]
    save_file(tensors, file)
    with pytest.raises(ValueError, match="must have both lora_A and lora_B"):
        lora.load(params, tmp_path, targets=TARGETS)
