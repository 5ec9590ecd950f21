"""The step: as by hand and as torch, resumable, open about what is not finite."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P
from safetensors.numpy import load_file

from jaxml.train import step as train


def loss_fn(params, extra, batch, key, noise=0.0):
    """Weighted least squares, with a count of its calls."""
    if noise:
        key = jax.random.fold_in(key, 1)
        params = params | {"b": params["b"] + noise * jax.random.normal(key)}
    error = (batch["x"] @ params["w"] + params["b"] - batch["y"]) ** 2
    weight = batch["weight"].sum()
    loss = (batch["weight"] * error).sum() / weight
    calls = None if extra is None else {"calls": extra["calls"] + 1}
    return loss, (calls, {"weight": weight})


@pytest.fixture
def params():
    return {"w": jnp.zeros(3), "b": jnp.zeros(())}


@pytest.fixture
def batch(key):
    x = jax.random.normal(key, (32, 3))
    weight = jnp.arange(32) % 5 / 2.0  # ragged, with zeros
    return {"x": x, "y": x @ jnp.array([1.0, -2.0, 0.5]) + 1, "weight": weight}


def run(state, batch, steps, tx, loss_fn=loss_fn, **options):
    step = jax.jit(train.make_step(loss_fn, tx, **options))
    for _ in range(steps):
        state, metrics = step(state, batch)
    return state, metrics


def assert_same(a, b, **tolerance):
    a, b = (jax.tree.leaves(x) for x in (a, b))
    for one, other in zip(a, b, strict=True):
        np.testing.assert_allclose(one, other, **tolerance)


# Parity.


def test_matches_sgd_by_hand(params, batch, key):
    tx = optax.sgd(0.1)
    after, metrics = run(train.init(params, tx, key=key), batch, 1, tx)
    residual = -np.asarray(batch["y"]) * batch["weight"]
    scale = 2 / batch["weight"].sum()
    grad = {"w": scale * residual @ batch["x"], "b": scale * residual.sum()}
    np.testing.assert_allclose(after.params["w"], -0.1 * grad["w"], rtol=1e-5)
    np.testing.assert_allclose(after.params["b"], -0.1 * grad["b"], rtol=1e-5)
    norm = np.sqrt((grad["w"] ** 2).sum() + grad["b"] ** 2)
    np.testing.assert_allclose(metrics["grad_norm"], norm, rtol=1e-5)
    assert after.step == 1


def transformer(params, x, heads=3):
    """Two pre-norm encoder layers and a linear head, on the names of torch."""

    def linear(x, name):
        return x @ params[f"{name}.weight"].T + params[f"{name}.bias"][None, None]

    def norm(x, name):
        x = jax.nn.standardize(x, epsilon=1e-5)
        return (
            x * params[f"{name}.weight"][None, None]
            + params[f"{name}.bias"][None, None]
        )

    for layer in ("0.layers.0", "0.layers.1"):
        bias = params[f"{layer}.self_attn.in_proj_bias"][None, None]
        h = norm(x, f"{layer}.norm1")
        h = h @ params[f"{layer}.self_attn.in_proj_weight"].T + bias
        h = h.reshape(*x.shape[:2], 3, heads, -1)
        h = jax.nn.dot_product_attention(*jnp.moveaxis(h, 2, 0)).reshape(x.shape)
        x = x + linear(h, f"{layer}.self_attn.out_proj")
        h = linear(norm(x, f"{layer}.norm2"), f"{layer}.linear1")
        x = x + linear(jax.nn.gelu(h, approximate=False), f"{layer}.linear2")
    return linear(x, "1")


@pytest.mark.parametrize("accumulate", [1, 3])
def test_five_steps_of_clipped_adamw_match_torch(parity_folder, key, accumulate):
    file = parity_folder / "open" / "x_train_transformer_adamw_clip.safetensors"
    vectors = {name: jnp.asarray(x) for name, x in load_file(file).items()}

    def part(head):
        return {k.removeprefix(head): v for k, v in vectors.items() if head in k}

    def loss_fn(params, extra, batch, key):
        logits = transformer(params, batch["x"])
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["y"])
        return losses.mean(), (extra, {})

    tx = optax.chain(
        optax.clip_by_global_norm(0.5), optax.adamw(1e-2, weight_decay=0.05)
    )
    state = train.init(part("params0/"), tx, key=key)
    step = jax.jit(train.make_step(loss_fn, tx, accumulate=accumulate))
    raw = jnp.sqrt(sum((grad**2).sum() for grad in part("grad0/").values()))
    for i, (x, y) in enumerate(zip(vectors["x"], vectors["y"], strict=True)):
        state, metrics = step(state, {"x": x, "y": y.astype(jnp.int32)})
        np.testing.assert_allclose(metrics["loss"], vectors["loss"][i], rtol=1e-5)
        if i == 0:
            np.testing.assert_allclose(metrics["grad_norm"], raw, rtol=1e-5)
    for name, expected in part("params1/").items():
        ours = state.params[name]
        if name.endswith("in_proj_bias"):
            # A bias of the keys cancels in the softmax: its gradient is pure rounding,
            # and Adam makes whole updates of it.
            ours, expected = (jnp.delete(x, slice(12, 24)) for x in (ours, expected))
        np.testing.assert_allclose(ours, expected, atol=1e-5, err_msg=name)
    out = transformer(state.params, vectors["x"][0])
    np.testing.assert_allclose(out, vectors["eval_out"], atol=2e-4)


# Properties: one run is one run.


def test_resumed_run_is_the_same_run(params, batch, key):
    tx = optax.adam(0.1)
    noisy = partial(loss_fn, noise=0.1)
    options = {"ema_decay": 0.9, "accumulate": 2, "loss_fn": noisy}
    start = train.init(params, tx, key=key, ema=True)
    straight, _ = run(start, batch, 10, tx, **options)
    half, _ = run(start, batch, 5, tx, **options)
    resumed, _ = run(half, batch, 5, tx, **options)
    straight, resumed = (s._replace(key=None) for s in (straight, resumed))
    jax.tree.map(np.testing.assert_array_equal, straight, resumed)


@pytest.mark.parametrize("accumulate", [2, 4, 16])
def test_accumulation_is_the_whole_batch(params, batch, key, accumulate):
    tx = optax.sgd(0.1)
    start = train.init(params, tx, key=key)
    whole, expected = run(start, batch, 3, tx)
    parts, metrics = run(start, batch, 3, tx, accumulate=accumulate)
    assert_same(parts.params, whole.params, rtol=1e-5)
    for name in ("loss", "grad_norm", "weight"):
        np.testing.assert_allclose(metrics[name], expected[name], rtol=1e-5)


def test_accumulation_outlasts_a_micro_batch_of_padding(params, batch, key):
    tx = optax.sgd(0.1)
    batch["weight"] = batch["weight"].at[::4].set(0.0)  # micro-batch 0: its loss is 0/0
    start = train.init(params, tx, key=key)
    whole, _ = run(start, batch, 1, tx)
    parts, _ = run(start, batch, 1, tx, accumulate=4)
    assert_same(parts.params, whole.params, rtol=1e-5)
    assert parts.first_bad[0] == -1


def test_extra_passes_through_all_micro_batches(params, batch, key):
    tx = optax.sgd(0.1)
    start = train.init(params, tx, key=key, extra={"calls": jnp.zeros((), jnp.int32)})
    after, _ = run(start, batch, 3, tx, accumulate=4)
    assert after.extra["calls"] == 12


def test_each_step_and_micro_batch_has_its_own_key(params, batch, key):
    def loss_fn(params, extra, batch, key):
        draw = jax.random.uniform(key)
        return draw + 0 * params["b"], (extra, {"draw": draw, "square": draw**2})

    tx = optax.sgd(0.0)
    step = jax.jit(train.make_step(loss_fn, tx, accumulate=4))
    state, first = step(train.init(params, tx, key=key), {"x": batch["x"]})
    _, second = step(state, {"x": batch["x"]})
    assert first["draw"] != second["draw"]
    assert first["square"] - first["draw"] ** 2 > 1e-4  # draws within a step differ


def test_loop_of_micro_batches_is_for_accelerators_only(params, batch, key):
    tx = optax.sgd(0.1)
    traced = jax.jit(train.make_step(loss_fn, tx, accumulate=4)).trace(
        train.init(params, tx, key=key), batch
    )
    for platform, loops in [("cpu", False), ("tpu", True), ("cuda", True)]:
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        assert ("stablehlo.while" in text) == loops


def test_average_is_its_closed_form(params, batch, key):
    tx = optax.sgd(0.1)
    state = train.init(params, tx, key=key, ema=True)
    step = jax.jit(train.make_step(loss_fn, tx, ema_decay=0.3))
    expected = np.zeros(3)
    for t in range(6):
        state, _ = step(state, batch)
        decay = min(0.3, (1 + t) / (10 + t))
        expected = decay * expected + (1 - decay) * np.asarray(state.params["w"])
    np.testing.assert_allclose(state.ema["w"], expected, rtol=1e-5)


def test_average_follows_a_schedule_and_is_float32(batch, key):
    params = {name: jnp.zeros(s, jnp.bfloat16) for name, s in [("w", 3), ("b", ())]}
    tx = optax.sgd(0.1)
    start = train.init(params, tx, key=key, ema=True)
    after, _ = run(start, batch, 2, tx, ema_decay=lambda t: jnp.where(t < 1, 1.0, 0.25))
    assert after.ema["w"].dtype == jnp.float32
    assert after.params["w"].dtype == jnp.bfloat16
    expected = 0.75 * after.params["w"].astype(jnp.float32)
    # XLA may keep the bits that bfloat16 drops, until the parameters are stored
    np.testing.assert_allclose(after.ema["w"], expected, rtol=2**-8)


def test_vmapped_rates_are_the_runs_one_by_one(params, batch, key):
    def last(rate):
        tx = optax.inject_hyperparams(optax.adam)(rate)
        state, metrics = run(train.init(params, tx, key=key), batch, 5, tx)
        return state.params, metrics["rate"]

    rates = jnp.array([1e-3, 1e-2, 0.1])
    together, told = jax.vmap(last)(rates)
    np.testing.assert_array_equal(told, rates)
    alone = [last(rate)[0] for rate in rates]
    assert_same(
        together, jax.tree.map(lambda *x: jnp.stack(x), *alone), rtol=1e-5, atol=1e-7
    )


def test_donated_steps_leave_the_arrays_of_the_caller(params, batch, key):
    shared = params | {"unused": params["b"]}  # one array twice
    rate = jnp.asarray(0.1)
    tx = optax.inject_hyperparams(optax.adam)(rate)
    state = train.init(shared, tx, key=key, ema=True)
    step = jax.jit(train.make_step(loss_fn, tx, ema_decay=0.9), donate_argnums=0)
    state, metrics = step(state, batch)
    step(state, batch)
    assert metrics["rate"] == rate  # what was told stays, too
    assert shared["w"].is_deleted()  # taken over
    assert rate + jax.random.uniform(key) > 0  # copied


@pytest.mark.parametrize("accumulate", [1, 2])
def test_sharded_batch_gives_the_same(params, batch, key, accumulate):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    tx = optax.adam(0.1)
    start = train.init(params, tx, key=key)
    alone, expected = run(start, batch, 5, tx, accumulate=accumulate)
    everywhere = jax.device_put(start, jax.NamedSharding(mesh, P()))
    rows = jax.device_put(batch, jax.NamedSharding(mesh, P("data")))
    sharded, metrics = run(everywhere, rows, 5, tx, accumulate=accumulate)
    assert_same(sharded.params, alone.params, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(metrics["loss"], expected["loss"], rtol=1e-5)


def test_micro_batches_of_a_sharded_batch_do_not_move(params, batch, key):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    tx = optax.sgd(0.1)
    state = train.init(params, tx, key=key)
    state = jax.device_put(state, jax.NamedSharding(mesh, P()))
    rows = jax.device_put(batch, jax.NamedSharding(mesh, P("data")))
    step = jax.jit(train.make_step(loss_fn, tx, accumulate=4))
    text = step.lower(state, rows).compile().as_text()
    assert "all-reduce" in text
    for collective in ("all-gather", "all-to-all", "collective-permute"):
        assert collective not in text


# What is told.


def test_rates_of_groups_are_all_told(params, batch, key):
    group = optax.inject_hyperparams(optax.sgd)
    tx = optax.multi_transform(
        {"fast": group(0.1), "slow": group(optax.constant_schedule(0.01))},
        {"w": "fast", "b": "slow"},
    )
    _, metrics = run(train.init(params, tx, key=key), batch, 1, tx)
    np.testing.assert_allclose([metrics["rate"], metrics["rate_1"]], [0.1, 0.01])


def test_optimizers_get_the_loss(params, batch, key):
    tx = optax.chain(optax.sgd(0.0), optax.contrib.reduce_on_plateau(patience=1))
    state, _ = run(train.init(params, tx, key=key), batch, 4, tx)
    assert optax.tree_utils.tree_get(state.opt_state, "scale") < 1


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize(("leaf", "index"), [("b", 0), ("w", 1)])
def test_names_first_bad_step_and_leaf(params, batch, key, leaf, index, accumulate):
    """The gradient of one leaf overflows in step 3, and of all later."""

    def loss_fn(params, extra, batch, key):
        loss = sum((p.sum() - 1) ** 2 for p in params.values())
        fault = jnp.where(batch["number"][0] == 3, jnp.inf, 0.0)
        hook = params[leaf].sum() - jax.lax.stop_gradient(params[leaf].sum())
        return loss + jnp.where(fault > 0, fault, 1.0) * hook, (extra, {})

    tx = optax.sgd(0.1)
    state = train.init(params, tx, key=key)
    step = jax.jit(train.make_step(loss_fn, tx, accumulate=accumulate))
    for number in range(6):
        assert state.first_bad.tolist() == ([-1, -1] if number < 4 else [3, index])
        state, _ = step(state, {"number": jnp.full(4, number)})


def test_a_bad_loss_alone_counts_as_the_leaf_after_the_last(params, batch, key):
    def loss_fn(params, extra, batch, key):
        return params["w"].sum() + jnp.nan, (extra, {})

    tx = optax.sgd(0.1)
    step = train.make_step(loss_fn, tx)
    state, _ = step(train.init(params, tx, key=key), batch)
    assert state.first_bad.tolist() == [0, 2]


def test_float16_gradients_do_not_overflow_the_norm(key):
    def loss_fn(params, extra, batch, key):
        return (300 * params).sum().astype(jnp.float32), (extra, {})

    tx = optax.sgd(0.0)
    state = train.init(jnp.ones(4, jnp.float16), tx, key=key)
    state, metrics = train.make_step(loss_fn, tx)(state, None)
    assert metrics["grad_norm"] == 600  # 300² is beyond float16
    assert state.first_bad[0] == -1


# Errors.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"accumulate": 0}, "accumulate must be at least 1; got 0"),
        ({"ema_decay": 1.0}, r"from 0 to below 1; got 1\.0"),
    ],
)
def test_rejects_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        train.make_step(loss_fn, optax.sgd(0.1), **options)


def test_rejects_a_batch_that_cannot_be_divided(params, batch, key):
    tx = optax.sgd(0.1)
    with pytest.raises(ValueError, match="multiple of accumulate 5; got 32"):
        run(train.init(params, tx, key=key), batch, 1, tx, accumulate=5)


def test_rejects_accumulation_by_unknown_weights(params, batch, key):
    def silent(*args):
        loss, (extra, _) = loss_fn(*args)
        return loss, (extra, {"shown": loss})

    tx = optax.sgd(0.1)
    step = train.make_step(silent, tx, accumulate=2)
    with pytest.raises(ValueError, match=r"metrics\['weight'\].*got \['shown'\]"):
        step(train.init(params, tx, key=key), batch)


@pytest.mark.parametrize("asked", [True, False])
def test_rejects_half_an_average(params, batch, key, asked):
    tx = optax.sgd(0.1)
    state = train.init(params, tx, key=key, ema=asked)
    with pytest.raises(ValueError, match="belong together"):
        run(state, batch, 1, tx, ema_decay=None if asked else 0.9)
