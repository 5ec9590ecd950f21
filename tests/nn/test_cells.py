"""One step of each cell, beside its equations written out in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.nn import cells


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def norm(x, p, name):
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return x * p[f"{name}_scale"] + p[f"{name}_bias"]


def rnn(p, h, x):
    return np.tanh(products(p, h, x)), None


def layer_norm_rnn(p, h, x):
    return np.tanh(norm(products(p, h, x), p, "norm")), None


def products(p, h, x):
    return (
        x @ p["input_kernel"]
        + p["input_bias"]
        + h @ p["hidden_kernel"]
        + p["hidden_bias"]
    )


def lstm(p, h, c, x):
    i, f, g, o = np.split(products(p, h, x), 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def peephole_lstm(p, h, c, x):
    i, f, g, o = np.split(products(p, h, x), 4, axis=-1)
    i, f = i + p["peephole_i"] * c, f + p["peephole_f"] * c
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o + p["peephole_o"] * c) * np.tanh(c), c


def layer_norm_lstm(p, h, c, x):
    total = (
        norm(x @ p["input_kernel"], p, "input_norm")
        + norm(h @ p["hidden_kernel"], p, "hidden_norm")
        + p["input_bias"]
        + p["hidden_bias"]
    )
    i, f, g, o = np.split(total, 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(norm(c, p, "memory_norm")), c


def gru(p, h, x):
    wide = h.shape[-1]
    a = x @ p["input_kernel"] + p["input_bias"]
    b = h @ p["hidden_kernel"] + p["hidden_bias"]
    r, z = (sigmoid(a + b)[:, part : part + wide] for part in (0, wide))
    n = np.tanh(a[:, 2 * wide :] + r * b[:, 2 * wide :])
    return (1 - z) * n + z * h, None


CASES = [
    pytest.param(cells.RNNCell, rnn, id="rnn"),
    pytest.param(cells.LayerNormRNNCell, layer_norm_rnn, id="layer_norm_rnn"),
    pytest.param(cells.LSTMCell, lstm, id="lstm"),
    pytest.param(cells.PeepholeLSTMCell, peephole_lstm, id="peephole_lstm"),
    pytest.param(cells.LayerNormLSTMCell, layer_norm_lstm, id="layer_norm_lstm"),
    pytest.param(cells.GRUCell, gru, id="gru"),
]


@pytest.mark.parametrize(("kind", "equations"), CASES)
def test_step_follows_the_equations(kind, equations, key):
    cell, rng = kind(4), np.random.default_rng(0)
    x = rng.normal(size=(3, 2)).astype(np.float32)
    shapes = jax.eval_shape(cell.init, key, cell.start(3), jnp.asarray(x))
    p = {
        name: rng.normal(size=leaf.shape).astype(np.float32)
        for name, leaf in shapes["params"].items()
    }
    state = [rng.normal(size=(3, 4)).astype(np.float32) for _ in range(2)]
    state = state if cell.pair else state[:1]
    carry = tuple(map(jnp.asarray, state)) if cell.pair else jnp.asarray(state[0])
    carry, y = jax.jit(cell.apply)({"params": p}, carry, jnp.asarray(x))
    hidden, memory = equations(p, *state, x)
    np.testing.assert_allclose(y, hidden, rtol=2e-5, atol=1e-6)
    if cell.pair:
        np.testing.assert_allclose(carry[0], hidden, rtol=2e-5, atol=1e-6)
        np.testing.assert_allclose(carry[1], memory, rtol=2e-5, atol=1e-6)


def test_forget_gate_starts_open_and_hidden_kernel_orthogonal(key):
    cell = cells.LSTMCell(4)
    p = jax.jit(cell.init)(key, cell.start(1), jnp.ones((1, 2)))["params"]
    np.testing.assert_array_equal(
        p["input_bias"].reshape(4, 4), np.outer([0, 1, 0, 0], np.ones(4))
    )
    np.testing.assert_allclose(
        p["hidden_kernel"] @ p["hidden_kernel"].T, np.eye(4), atol=1e-5
    )


def test_without_biases(key):
    cell = cells.GRUCell(4, use_bias=False)
    shapes = jax.eval_shape(cell.init, key, cell.start(1), jnp.ones((1, 2)))
    assert set(shapes["params"]) == {"input_kernel", "hidden_kernel"}


def test_rejects_no_features(key):
    cell = cells.GRUCell(0)
    with pytest.raises(ValueError, match="features must be at least 1; got 0"):
        jax.eval_shape(cell.init, key, cell.start(1), jnp.ones((1, 2)))
