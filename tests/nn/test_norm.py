from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from safetensors.numpy import load_file

from jaxml import losses
from jaxml.nn.norm import BatchNorm
from jaxml.ops import pool


class Small(nn.Module):
    """The network of the vectors: Sequential 0 ... 9 of torch."""

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Conv(6, (3, 3), padding=1, use_bias=False, name="0")(x)
        x = nn.relu(BatchNorm(name="1")(x, train=train))
        x = nn.Conv(8, (3, 3), 2, padding=0, name="4")(pool.max_pool(x))
        x = nn.gelu(BatchNorm(name="5")(x, train=train), approximate=False)
        return nn.Dense(4, name="9")(x.mean((1, 2)))


def named(tensors, prefix):
    """Torch's tensors as {collection: {layer: {leaf: array}}}."""
    tree = {"params": {}, "batch_stats": {}}
    for name, array in tensors.items():
        if not name.startswith(prefix) or name.endswith("num_batches_tracked"):
            continue
        layer, leaf = name.removeprefix(prefix).split(".")
        if leaf.startswith("running_"):
            node, leaf = "batch_stats", leaf.removeprefix("running_")
        else:
            kernel = {"weight": "kernel" if array.ndim > 1 else "scale"}
            node, leaf = "params", kernel.get(leaf, leaf)
        array = array.transpose({4: (2, 3, 1, 0), 2: (1, 0)}.get(array.ndim))
        tree[node].setdefault(layer, {})[leaf] = array
    return tree


def test_five_steps_of_training_are_those_of_torch(parity_folder):
    case = load_file(parity_folder / "open" / "x_train_cnn_bn_sgd.safetensors")
    model, variables = Small(), named(case, "params0/")
    params, stats = variables["params"], variables["batch_stats"]
    tx = optax.chain(optax.add_decayed_weights(1e-3), optax.sgd(0.05, momentum=0.9))

    @jax.jit
    def step(params, stats, opt_state, x, y):
        def loss(params):
            logits, updates = model.apply(
                {"params": params, "batch_stats": stats},
                x,
                train=True,
                mutable=["batch_stats"],
            )
            return losses.cross_entropy(logits, y).mean(), updates["batch_stats"]

        (value, stats_new), grads = jax.value_and_grad(loss, has_aux=True)(params)
        updates, opt_state = tx.update(grads, opt_state, params)
        new = optax.apply_updates(params, updates)
        return new, stats_new, opt_state, value, grads

    # a few hundred float32 sums in another order, over five steps
    close = partial(np.testing.assert_allclose, rtol=1e-4, atol=2e-6)
    opt_state = tx.init(params)
    images = case["x"].transpose(0, 1, 3, 4, 2)
    for i in range(5):
        params, stats, opt_state, value, grads = step(
            params, stats, opt_state, images[i], case["y"][i]
        )
        close(value, case["loss"][i])
        if i == 0:
            jax.tree.map(close, grads, named(case, "grad0/")["params"])
    expected = named(case, "params1/")
    jax.tree.map(close, params, expected["params"])
    jax.tree.map(close, stats, expected["batch_stats"])
    logits = model.apply({"params": params, "batch_stats": stats}, images[0])
    close(logits, case["eval_out"])


@partial(jax.jit, static_argnums=0)
def trained(norm, x, mask=None):
    """Result, running statistics and gradient of one training pass."""
    variables = norm.init(jax.random.key(0), x)

    def energy(x):
        y, updates = norm.apply(
            variables, x, train=True, mask=mask, mutable=["batch_stats"]
        )
        keep = 1.0 if mask is None else mask.reshape((-1,) + (1,) * (x.ndim - 1))
        weights = jnp.sin(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)
        return (y * keep * weights).sum(), (y, updates["batch_stats"])

    gradient, rest = jax.grad(energy, has_aux=True)(x)
    return *rest, gradient


def test_rows_of_padding_change_nothing(key):
    norm = BatchNorm()
    x = jax.random.normal(key, (6, 3, 3, 4)) + 2
    mask = jnp.arange(6) < 4
    y, stats, gradient = trained(norm, x.at[4:].set(1e6), mask)
    expected_y, expected_stats, expected_gradient = trained(norm, x[:4])
    close = partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    close(y[:4], expected_y)
    jax.tree.map(close, stats, expected_stats)
    close(gradient[:4], expected_gradient)
    np.testing.assert_array_equal(gradient[4:], 0)


def test_padding_alone_leaves_the_statistics(key):
    norm = BatchNorm()
    x = jax.random.normal(key, (3, 4))
    y, stats, _ = trained(norm, x, jnp.zeros(3, bool))
    assert np.isfinite(y).all()
    np.testing.assert_array_equal(stats["mean"], 0)
    np.testing.assert_array_equal(stats["var"], 1)


def test_half_precision_takes_its_statistics_in_float32(key):
    # In bfloat16 the mean of 4,096 values near 100 would be off by 0.5.
    x = (100 + jax.random.normal(key, (4096, 3))).astype(jnp.bfloat16)
    y, stats, _ = trained(BatchNorm(dtype=jnp.bfloat16), x)
    assert y.dtype == jnp.bfloat16
    assert stats["mean"].dtype == stats["var"].dtype == jnp.float32
    np.testing.assert_allclose(10 * stats["mean"], x.astype(float).mean(0), rtol=1e-5)


def test_a_far_mean_does_not_cancel_the_variance(key):
    x = 3000 + jax.random.normal(key, (512, 2))
    _, stats, _ = trained(BatchNorm(momentum=0.0), x)
    # x itself is rounded to 2e-4
    np.testing.assert_allclose(
        stats["var"], np.var(np.float64(x), 0, ddof=1), rtol=1e-3
    )


@pytest.mark.parametrize("masked", [False, True])
def test_devices_share_their_statistics(masked, key):
    x = jax.random.normal(key, (8, 3, 2))
    mask = jnp.arange(8) < 5 if masked else None
    expected = trained(BatchNorm(), x, mask)[:2]
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows, same = jax.sharding.PartitionSpec("data"), jax.sharding.PartitionSpec()
    norm = BatchNorm(axis_name="data")
    variables = BatchNorm().init(key, x)

    def shard(x, mask):
        y, updates = norm.apply(
            variables, x, train=True, mask=mask, mutable=["batch_stats"]
        )
        return y, updates["batch_stats"]

    got = jax.jit(
        jax.shard_map(shard, mesh=mesh, in_specs=(rows, rows), out_specs=(rows, same))
    )(x, mask)
    close = partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    jax.tree.map(close, got, expected)


def test_rejects_one_value_a_channel():
    norm = BatchNorm()
    variables = norm.init(jax.random.key(0), jnp.ones((1, 4)), train=False)
    with pytest.raises(ValueError, match=r"more than one value .* got \[1, 4\]"):
        norm.apply(variables, jnp.ones((1, 4)), train=True, mutable=["batch_stats"])
