"""Stacks over time: torch's packed runs, equal forms, padding, what is refused."""

from functools import partial

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from jaxml import sharding
from jaxml.nn import cells
from jaxml.nn.recurrent import Recurrent

CELLS = [
    cells.RNNCell,
    cells.LayerNormRNNCell,
    cells.LSTMCell,
    cells.PeepholeLSTMCell,
    cells.LayerNormLSTMCell,
    cells.GRUCell,
]
# float32 sums in another order, over a dozen steps
close = partial(np.testing.assert_allclose, rtol=1e-5, atol=2e-6)


def started(model, x, seed=0):
    """Variables that are all felt, without compiling an initialisation."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(model.init, jax.random.key(0), x)
    return jax.tree.map(
        lambda leaf: rng.normal(0, 0.4, leaf.shape).astype(leaf.dtype), shapes
    )


@pytest.fixture
def x():
    return jax.random.normal(jax.random.key(1), (3, 7, 5))


@pytest.mark.parametrize("cell", CELLS)
def test_scan_unrolled_blocks_and_single_steps_agree(cell, x):
    model = Recurrent(cell, 4, layers=2)
    variables = started(model, x)

    def forms(variables, x):
        whole = model.apply(variables, x)
        carry, ys = None, []
        for t in range(x.shape[1]):
            y, carry = model.apply(variables, x[:, t : t + 1], carry)
            ys.append(y)
        swapped = model.clone(time_major=True).apply(variables, x.swapaxes(0, 1))
        return whole, [
            (jnp.concatenate(ys, axis=1), carry),
            model.clone(unroll=7).apply(variables, x),
            model.clone(remat=3).apply(variables, x),
            swapped._replace(outputs=swapped.outputs.swapaxes(0, 1)),
        ]

    whole, others = jax.jit(forms)(variables, x)
    for other in others:
        jax.tree.map(close, tuple(whole), tuple(other))


@pytest.mark.parametrize("cell", [cells.LSTMCell, cells.GRUCell])
def test_padding_anywhere_gives_the_run_without_it(cell, x):
    model = Recurrent(cell, 4, layers=2, bidirectional=True, remat=3)
    variables = started(model, x)
    real = np.ones((3, 7), bool)
    real[0, 4:] = real[1, :3] = real[2, [1, 3, 5]] = False  # right, left, holes
    run = jax.jit(model.apply)
    padded = jnp.where(real[..., None], x, 1e3)
    outputs, carry = run(variables, padded, mask=jnp.asarray(real))
    for row in range(3):
        alone = run(variables, x[row : row + 1, real[row]])
        close(outputs[row, real[row]], alone.outputs[0])
        np.testing.assert_array_equal(outputs[row, ~real[row]], 0)
        here = jax.tree.map(lambda leaf: leaf[row : row + 1], carry)  # noqa: B023
        jax.tree.map(close, here, alone.carry)


def test_lengths_are_a_mask_and_zero_leaves_the_carry(x):
    model = Recurrent(cells.GRUCell, 4, bidirectional=True)
    variables = started(model, x)
    lengths, start = jnp.array([7, 3, 0]), (jnp.ones((3, 4)), jnp.zeros((3, 4)))
    run = jax.jit(model.apply)
    by_length = run(variables, x, start, lengths=lengths)
    mask = jnp.arange(7)[None] < lengths[:, None]
    jax.tree.map(close, by_length, run(variables, x, start, mask=mask))
    np.testing.assert_array_equal(by_length.carry[0][2], 1)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_equals_torch_over_packed_sequences_and_its_gradient(kind, x):
    torch = pytest.importorskip("torch")
    theirs = getattr(torch.nn, kind)(5, 4, 2, batch_first=True, bidirectional=True)
    torch_x, lengths = torch.tensor(np.asarray(x), requires_grad=True), [4, 7, 2]
    pack = torch.nn.utils.rnn.pack_padded_sequence
    packed = pack(torch_x, lengths, batch_first=True, enforce_sorted=False)
    unpack = torch.nn.utils.rnn.pad_packed_sequence
    expected = unpack(theirs(packed)[0], batch_first=True)[0]
    expected.square().sum().backward()
    cell = {"LSTM": cells.LSTMCell, "GRU": cells.GRUCell, "RNN": cells.RNNCell}[kind]
    model = Recurrent(cell, 4, layers=2, bidirectional=True)
    names = {"input_kernel": "weight_ih", "hidden_kernel": "weight_hh"}
    names |= {"input_bias": "bias_ih", "hidden_bias": "bias_hh"}
    params = {
        f"{direction}_{layer}": {
            ours: jnp.asarray(
                getattr(theirs, f"{name}_l{layer}{end}").detach().numpy().T
            )
            for ours, name in names.items()
        }
        for direction, end in (("forward", ""), ("backward", "_reverse"))
        for layer in range(2)
    }

    @jax.jit
    def run(x):
        loss = lambda x: model.apply({"params": params}, x, lengths=jnp.array(lengths))
        y, pull = jax.vjp(lambda x: loss(x).outputs, x)
        return y, pull(2 * y)[0]

    y, gradient = run(x)
    close(y, expected.detach().numpy())
    close(gradient, torch_x.grad.numpy(), rtol=1e-4)


def test_variational_dropout_is_one_draw_for_all_steps_and_plain_is_not(key):
    x = jnp.ones((2, 5, 16))
    cell = partial(cells.RNNCell, activation=lambda v: v, use_bias=False)
    eye = {"input_kernel": jnp.eye(16), "hidden_kernel": jnp.zeros((16, 16))}
    params = {"params": {"forward_0": eye, "forward_1": eye}}
    run = lambda **rates: Recurrent(cell, 16, layers=2, **rates).apply(
        params, x, train=True, rngs={"dropout": key}
    )
    same = run(input_dropout=0.5).outputs
    np.testing.assert_array_equal(same, same[:, :1].repeat(5, 1))
    assert set(np.unique(same)) == {0.0, 4.0}
    other = run(dropout=0.5).outputs
    assert (other != other[:, :1]).any()
    assert set(np.unique(other)) == {0.0, 2.0}
    # the hidden state alone: identity over time, zero input after the first step
    remember = {"input_kernel": jnp.eye(16), "hidden_kernel": jnp.eye(16)}
    model = Recurrent(cell, 16, hidden_dropout=0.5)
    y = model.apply(
        {"params": {"forward_0": remember}},
        x.at[:, 1:].set(0),
        train=True,
        rngs={"dropout": key},
    ).outputs
    np.testing.assert_array_equal(y[:, 4], y[:, 1] ** 4)


def test_population_half_precision_and_eight_devices(x):
    model = Recurrent(cells.LSTMCell, 4, bidirectional=True)
    each = [started(model, x, seed) for seed in range(4)]
    many = jax.tree.map(lambda *leaves: np.stack(leaves), *each)
    mask = jnp.arange(7)[None] < jnp.array([7, 2, 5])[:, None]
    run = partial(model.apply, x=x, mask=mask)
    alone = jax.jit(run)(each[3])
    jax.tree.map(
        lambda a, b: close(a[3], b), jax.jit(jax.vmap(lambda v: run(v)))(many), alone
    )
    half = model.clone(dtype=jnp.bfloat16).apply(each[3], x, mask=mask)
    assert {leaf.dtype for leaf in jax.tree.leaves(half)} == {jnp.dtype("bfloat16")}
    np.testing.assert_allclose(half.outputs, alone.outputs, atol=0.05)

    wide = jnp.tile(x, (8, 1, 1))[:16]
    expected = jax.jit(model.apply)(each[0], wide)
    rows = NamedSharding(sharding.mesh(data=8), P("data"))
    got = jax.jit(model.apply)(each[0], jax.device_put(wide, rows))
    jax.tree.map(close, got, expected)


@pytest.fixture
def unchecked():
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("fields", "change", "message"),
    [
        ({}, {"x": jnp.ones((3, 5))}, r"\[batch, time, features\]; got float32"),
        ({}, {"x": jnp.ones((3, 7, 5), int)}, "embed tokens"),
        ({}, {"x": jnp.ones((3, 0, 5))}, r"at least one row and one step .* \[3, 0, 5"),
        ({"time_major": True}, {"x": jnp.ones(3)}, r"\[time, batch, features\]"),
        ({"inputs": 4}, {}, "x must have 4 features; got 5"),
        ({"layers": 0}, {}, "layers must be at least 1; got 0"),
        ({"dropout": 1.0}, {}, "dropout must be from 0 to below 1; got 1.0"),
        ({"remat": 0}, {}, "remat must be at least 1 step"),
        ({}, {"mask": jnp.ones((3, 5), bool)}, r"axes of x \[3, 7\]; got \[3, 5\]"),
        ({}, {"lengths": jnp.ones(2, int)}, "each of the 3 rows"),
        ({"layers": 2}, {"carry": (jnp.ones((3, 4)),)}, "that of 2 runs .* got 1"),
        (
            {},
            {"mask": jnp.ones((3, 7), bool), "lengths": jnp.ones(3, int)},
            "mask or lengths, not both",
        ),
    ],
)
def test_rejects(fields, change, message, x, key):
    given = {"x": x} | change
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(lambda: Recurrent(cells.GRUCell, 4, **fields).init(key, **given))
