"""Optimizers: torch's trajectories, and one contract for all names."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.tree_utils
import pytest
from safetensors.numpy import load_file

from jaxml import config
from jaxml.optim import optimizers, regularize, schedules
from jaxml.optim.optimizers import Optimizer

# What torch.optim calls an optimizer and its options, and what they are here.
TORCH_NAMES = {
    "Adagrad": "adagrad",
    "RMSprop": "rmsprop",
    "Adadelta": "adadelta",
    "Adam": "adam",
    "AdamW": "adamw",
    "Adamax": "adamax",
    "NAdam": "nadam",
    "RAdam": "radam",
}
TORCH_OPTIONS = {
    "alpha": "decay",
    "rho": "decay",
    "initial_accumulator_value": "initial",
    "eps": "eps",
    "centered": "centered",
    "momentum": "momentum",
    "momentum_decay": "momentum_decay",
}


def as_torch(kind, lr, weight_decay=0.0, nesterov=False, betas=None, **options):
    """The optimizer here that does what torch's does."""
    options = {TORCH_OPTIONS[name]: value for name, value in options.items()}
    decoupled = kind == "AdamW" or options.pop("decoupled_weight_decay", False)
    if kind == "SGD":
        name = "nesterov" if nesterov else "momentum" if options else "sgd"
    else:
        name = TORCH_NAMES[kind]
    if kind == "RMSprop":
        options.setdefault("decay", 0.99)
    if betas is not None:
        options |= dict(zip(("b1", "b2"), betas, strict=True))
    if decoupled:
        return optimizers.by_name(
            name, lr, weight_decay=weight_decay, mask=None, **options
        )
    tx = optimizers.by_name(name, lr, **options)
    return optax.chain(regularize.l2_gradient(weight_decay), tx)


def trajectory(tx, params, grads):
    """The parameters before and after each of the given gradients."""
    params = jnp.asarray(params)

    def step(carry, grad):
        params, state = carry
        updates, state = tx.update(grad, state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), params

    _, after = jax.lax.scan(step, (params, tx.init(params)), jnp.asarray(grads))
    return np.concatenate([params[None], after])


def parity_cases():
    return ["sgd", "sgd_mom_wd", "adam", "adamw", "rmsprop", "adadelta"]


@pytest.mark.parametrize("case", parity_cases())
def test_follows_the_reference(case, parity_folder):
    stem = parity_folder / "open" / "x_optim"
    made = json.loads(stem.with_suffix(".json").read_text())["optimizers"][case]
    tensors = load_file(stem.with_suffix(".safetensors"))
    tx = as_torch(made.pop("class"), **made)
    want = tensors[f"{case}/params"]
    # 1e-6 absolute: parameters of size 1 after 12 steps in float32.
    got = trajectory(tx, want[0], tensors[f"{case}/grads"])
    np.testing.assert_allclose(got, want, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("SGD", {"lr": 0.05, "momentum": 0.8, "nesterov": True}),
        ("SGD", {"lr": 0.05, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1}),
        ("Adagrad", {"lr": 0.1}),
        ("Adagrad", {"lr": 0.1, "initial_accumulator_value": 0.1, "eps": 1e-3}),
        ("RMSprop", {"lr": 0.01, "momentum": 0.9}),
        ("RMSprop", {"lr": 0.01, "momentum": 0.5, "centered": True, "eps": 1e-4}),
        ("RMSprop", {"lr": 0.01, "weight_decay": 0.1}),
        ("Adadelta", {"lr": 1.0, "rho": 0.95, "eps": 1e-5}),
        ("Adam", {"lr": 0.05, "betas": (0.8, 0.99), "weight_decay": 0.1}),
        ("Adamax", {"lr": 0.01}),
        ("Adamax", {"lr": 0.01, "weight_decay": 0.1, "betas": (0.8, 0.9)}),
        ("NAdam", {"lr": 0.01}),
        ("NAdam", {"lr": 0.01, "momentum_decay": 1.0, "weight_decay": 0.1}),
        ("RAdam", {"lr": 0.01}),
        ("RAdam", {"lr": 0.01, "betas": (0.9, 0.9), "weight_decay": 0.1}),
    ],
)
def test_follows_torch(kind, options):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    start = rng.normal(size=(4, 3)).astype(np.float32)
    grads = rng.normal(size=(30, 4, 3)).astype(np.float32)
    weight = torch.nn.Parameter(torch.tensor(start))
    reference = getattr(torch.optim, kind)([weight], **options)
    want = [start]
    for grad in grads:
        weight.grad = torch.tensor(grad)
        reference.step()
        want.append(weight.detach().numpy().copy())
    got = trajectory(as_torch(kind, **options), start, grads)
    # 30 steps in float32; adadelta divides two tiny averages, so it loses a digit.
    np.testing.assert_allclose(got, want, atol=3e-6, rtol=0)


PARAMS = {
    "dense": {"kernel": np.linspace(-1, 1, 12).reshape(4, 3), "bias": np.ones(3)},
    "norm": {"scale": np.full(3, 2.0)},
}
TARGET = 0.3


def fresh():
    return jax.tree.map(lambda p: jnp.array(p, jnp.float32), PARAMS)


def quadratic(params):
    return sum(jnp.square(p - TARGET).sum() for p in jax.tree.leaves(params))


def descent(tx, params, steps=30):
    """The parameters, the state and the rate of each step."""

    def step(carry, _):
        params, state = carry
        grads = jax.grad(quadratic)(params)
        updates, state = tx.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), rates(state)[0]

    (params, state), used = jax.lax.scan(step, (params, tx.init(params)), length=steps)
    return params, state, used


def rates(state):
    found = optax.tree_utils.tree_get_all_with_path(state, "learning_rate")
    return [rate for _, rate in found]


@pytest.mark.parametrize("name", optimizers.NAMES)
class TestEveryOptimizer:
    def test_descends_for_many_rates_at_once(self, name):
        def schedule(rate):
            return schedules.linear_warmup(schedules.cosine(rate, 40), 4)

        def run(rate):
            tx = optimizers.by_name(name, schedule(rate))
            params, state, used = descent(tx, fresh())
            return optimizers.eval_params(state, params), used

        many = jnp.array([0.003, 0.01, 0.03])
        params, used = jax.jit(jax.vmap(run))(many)
        assert (jax.vmap(quadratic)(params) < quadratic(fresh())).all()
        want = jax.vmap(lambda rate: schedule(rate)(jnp.arange(30)))(many)
        np.testing.assert_allclose(used, want, rtol=1e-6)
        alone, _ = jax.jit(run)(many[1])
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a[1], b, rtol=2e-4, atol=1e-5),
            params,
            alone,
        )

    def test_state_is_made_of_arrays_of_its_own(self, name):
        rate = jnp.float32(0.01)
        tx = optimizers.by_name(name, rate)
        params = fresh()
        state = tx.init(params)
        assert len(rates(state)) == 1
        leaves = jax.tree.leaves(state)
        assert all(isinstance(leaf, jax.Array) for leaf in leaves)
        others = [rate, *jax.tree.leaves(params)]
        buffers = {leaf.unsafe_buffer_pointer() for leaf in leaves + others}
        assert len(buffers) == len(leaves) + len(others)

        def update(params, state):
            updates, after = tx.update(params, state, params)
            return optax.apply_updates(params, updates), after

        # What comes out has the types of what went in: it compiles once, and scans.
        shapes = jax.eval_shape(lambda: (fresh(), tx.init(fresh())))
        once = jax.eval_shape(update, *shapes)
        assert jax.tree.map(_kind, once) == jax.tree.map(_kind, shapes)
        jax.jit(update, donate_argnums=(0, 1)).lower(params, state).compile()(
            params, state
        )

    def test_keeps_the_dtype_of_parameters(self, name):
        def updates():
            params = jax.tree.map(lambda p: p.astype(jnp.bfloat16), fresh())
            tx = optimizers.by_name(name, jnp.float32(0.01))
            updates, state = tx.update(params, tx.init(params), params)
            return updates, tx.init(params), state

        updates, before, after = jax.eval_shape(updates)
        assert {u.dtype for u in jax.tree.leaves(updates)} == {jnp.dtype("bfloat16")}
        assert jax.tree.map(_kind, before) == jax.tree.map(_kind, after)

    def test_decays_kernels_alone(self, name):
        @jax.jit
        def decayed(weight_decay):
            tx = optimizers.by_name(name, 0.01, weight_decay=weight_decay)
            params = fresh()
            grads = jax.tree.map(jnp.ones_like, params)
            return tx.update(grads, tx.init(params), params)[0]

        with_decay, without = decayed(jnp.float32(0.5)), decayed(jnp.float32(0.0))
        moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), with_decay, without)
        assert moved["dense"]["bias"] == 0
        assert moved["norm"]["scale"] == 0
        assert moved["dense"]["kernel"] > 1e-6
        if name not in ("lamb", "lars", "schedule_free_sgd", "schedule_free_adamw"):
            np.testing.assert_allclose(
                with_decay["dense"]["kernel"] - without["dense"]["kernel"],
                -0.01 * 0.5 * PARAMS["dense"]["kernel"],
                atol=2e-8,
            )


def _kind(leaf):
    return leaf.shape, leaf.dtype, leaf.weak_type


def test_schedule_free_evaluates_the_average():
    # Eq. 3-5 written out, each step weighted by the square of the largest rate so far.
    schedule = schedules.linear_warmup(schedules.constant(0.1), 3, start=0.25)
    tx = optimizers.schedule_free_sgd(schedule, b1=0.9)
    y = z = x = jnp.array([1.0, -2.0])
    params, state, weights = y, tx.init(y), 0.0
    for step in range(5):
        grad, rate = 2 * (y - TARGET), float(schedule(step))
        updates, state = tx.update(2 * (params - TARGET), state, params)
        params = optax.apply_updates(params, updates)
        weights += rate**2
        z = z - rate * grad
        x = x + rate**2 / weights * (z - x)
        y = 0.1 * z + 0.9 * x
    np.testing.assert_allclose(params, y, rtol=1e-5)
    np.testing.assert_allclose(optimizers.eval_params(state, params), x, rtol=1e-5)
    chained = (optax.EmptyState(), state)
    np.testing.assert_allclose(optimizers.eval_params(chained, params), x, rtol=1e-5)


def test_evaluates_the_parameters_themselves_elsewhere():
    tx = optimizers.adamw(1e-3)
    params = fresh()
    assert optimizers.eval_params(tx.init(params), params) is params


def test_momentum_may_be_a_schedule():
    cycle = schedules.one_cycle_momentum(12)
    tx = optimizers.momentum(0.1, momentum=cycle)
    grads = np.ones((12, 2), np.float32)
    got = trajectory(tx, np.zeros(2, np.float32), grads)[:, 0]
    velocity, want = 0.0, [0.0]
    for step in range(12):
        velocity = float(cycle(step)) * velocity + 1.0
        want.append(want[-1] - 0.1 * velocity)
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_muon_orthogonalises_kernels_and_leaves_embeddings_to_adam():
    params = {
        "dense": {"kernel": jnp.ones((6, 4))},
        "conv": {"kernel": jnp.ones((3, 3, 2, 4))},
        "table": {"embedding": jnp.ones((6, 4))},
    }
    keys = iter(jax.random.split(jax.random.key(0), 3))
    grads = jax.tree.map(lambda p: jax.random.normal(next(keys), p.shape), params)
    tx = optimizers.muon(1.0)
    updates, _ = jax.jit(lambda g, p: tx.update(g, tx.init(p), p))(grads, params)
    for layer in ("dense", "conv"):
        matrix = updates[layer]["kernel"].reshape(-1, 4)
        values = np.linalg.svd(matrix, compute_uv=False)
        assert values.max() / values.min() < 2  # five steps leave it in [0.7, 1.2]
        size = np.sqrt(np.square(matrix).mean())
        np.testing.assert_allclose(size, 0.2, rtol=0.25)  # that of AdamW
    first = np.abs(updates["table"]["embedding"])
    np.testing.assert_allclose(first, 1.0, atol=0.02)  # Adam's first step is a sign


def test_builds_from_a_configuration():
    chosen = Optimizer("nesterov", rate=0.4, schedule="one_cycle", clip_norm=1.0)
    tx = chosen.build(50)
    params = fresh()
    state = tx.init(params)
    (momentum,) = [
        m for _, m in optax.tree_utils.tree_get_all_with_path(state, "momentum")
    ]
    np.testing.assert_allclose(momentum, 0.95, rtol=1e-6)
    np.testing.assert_allclose(rates(state)[0], 0.4 / 25, rtol=1e-6)
    large = jax.tree.map(lambda p: 1e6 * jnp.ones_like(p), params)
    updates, _ = tx.update(large, state, params)
    # nesterov's first step is (1 + momentum) times a gradient of norm 1
    np.testing.assert_allclose(optax.tree.norm(updates), 0.4 / 25 * 1.95, rtol=1e-4)
    decayed = Optimizer("sgd", rate=0.1, weight_decay=1.0, warmup=2).build(4)
    state = decayed.init(params)
    zero = jax.tree.map(jnp.zeros_like, params)
    for want in (0.0, 0.05, 0.1, 0.1):
        updates, state = decayed.update(zero, state, params)
        np.testing.assert_allclose(
            updates["dense"]["kernel"], -want * params["dense"]["kernel"], rtol=1e-6
        )
    heavy = Optimizer("momentum", momentum=0.5).build(4).init(params)
    assert optax.tree_utils.tree_get(heavy, "momentum") == 0.5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optimizers.by_name("adamm", 0.1), r"'adamm' \(nearest: adam"),
        (lambda: optimizers.by_name("adam", 0.1, beta=1), "are b1, b2, eps.*'beta'"),
        (lambda: Optimizer("adamm"), r"optimizer must be one of sgd.*got 'adamm'"),
        (lambda: Optimizer(warmup=9).build(9), "from 0 to steps - 1 = 8; got 9"),
        (
            lambda: optimizers.adam(jnp.ones(3)),
            r"one number.*got shape \(3,\)",
        ),
        (lambda: optimizers.adam(-0.1), "at least 0; got -0.1"),
        (lambda: optimizers.adam(float("nan")), "at least 0; got nan"),
        (lambda: optimizers.schedule_free_sgd(0.1, b1=0.0), "between 0 and 1; got 0"),
    ],
)
def test_rejects(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_is_set_from_the_command_line():
    chosen = config.override(
        Optimizer(), ["name=lion", "rate=3e-4", "schedule=cosine", "clip_norm=1"]
    )
    assert chosen == Optimizer("lion", 3e-4, "cosine", clip_norm=1.0)
    assert config.from_dict(Optimizer, config.to_dict(chosen)) == chosen
    with pytest.raises(ValueError, match=r"name=lyon.*got 'lyon' \(nearest: lion\)"):
        config.override(Optimizer(), ["name=lyon"])
