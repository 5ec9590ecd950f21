"""Networks over sequences: reference numbers, causality, padding, the contract."""

from functools import partial

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from jaxml import sharding
from jaxml.models.sequence import conv_rnn, rnn, wavenet
from tests.models.sequence.networks import SEQ2SEQ, TOKENS, close, drawn, read, started

small = partial(rnn.gru, features=4)
X = (4, 9, 3)
CASES = [
    pytest.param(partial(rnn.SequenceToVector, small, 5), [X], id="to_vector"),
    pytest.param(partial(rnn.SequenceToSequence, small, 5), [X], id="to_sequence"),
    pytest.param(
        partial(
            wavenet.WaveNet,
            num_outputs=5,
            layers=4,
            stacks=2,
            channels=6,
            gate_channels=8,
            skip_channels=6,
            weight_norm=True,
        ),
        [X],
        id="wavenet",
    ),
    pytest.param(
        partial(wavenet.DilatedStack, 5, channels=6, dilations=(1, 2)),
        [X],
        id="dilated",
    ),
    pytest.param(partial(conv_rnn.ConvRNN, small, 5, channels=6), [X], id="conv_rnn"),
    pytest.param(
        partial(conv_rnn.ChoraleNet, 7, channels=(4, 6), features=5),
        [TOKENS],
        id="chorale",
    ),
    *(
        pytest.param(maker, [TOKENS, (4, 5)], id=name)
        for name, maker in SEQ2SEQ.items()
    ),
]


@pytest.mark.parametrize(("maker", "shapes"), CASES)
def test_contract(maker, shapes):
    """jit, a population of 4, half precision, 8 devices, every parameter learns."""
    model, inputs = maker(), drawn(shapes)
    each = [started(model, inputs, seed) for seed in range(4)]
    variables = each[0]
    many = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
    population = jax.jit(jax.vmap(lambda v: model.apply(v, *inputs)))(many)
    alone = jax.jit(model.apply)(variables, *inputs)
    close(population[0], alone)

    half = jax.jit(maker(dtype=jnp.bfloat16).apply)(variables, *inputs)
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(jnp.float32), alone, atol=0.1)
    stored = maker(param_dtype=jnp.bfloat16)
    kinds = jax.eval_shape(stored.init, jax.random.key(0), *inputs)["params"]
    assert {leaf.dtype for leaf in jax.tree.leaves(kinds)} == {jnp.dtype("bfloat16")}

    def loss(params):
        y, _ = model.apply(
            variables | {"params": params}, *inputs, train=True, mutable=["batch_stats"]
        )
        return jnp.sin(y).sum()

    slope = jax.jit(jax.grad(loss))(variables["params"])
    for path, leaf in jax.tree_util.tree_leaves_with_path(slope):
        assert np.isfinite(leaf).all(), path
        assert np.any(leaf != 0), path

    wide = [jnp.tile(x, (2,) + (1,) * (x.ndim - 1)) for x in inputs]
    rows = NamedSharding(sharding.mesh(data=8), P("data"))
    spread = jax.jit(model.apply)(variables, *jax.device_put(wide, rows))
    close(spread, jnp.tile(alone, (2,) + (1,) * (alone.ndim - 1)))


@pytest.mark.parametrize(("maker", "shapes"), CASES[1:4] + CASES[5:6])
def test_an_output_sees_the_past_alone_and_no_padding(maker, shapes):
    model, (x,) = maker(), drawn(shapes)
    variables = started(model, [x])
    changed = x.at[:, 5:].set(x[:, 5:] * 2 % 7)
    run = jax.jit(model.apply)
    y = run(variables, x)
    close(run(variables, changed)[:, :5], y[:, :5])
    # three steps of padding on the left, and two on the right
    padded = jnp.concatenate([changed[:, :3], x, changed[:, :2]], axis=1)
    real = jnp.zeros(padded.shape[:2], bool).at[:, 3:12].set(True)
    close(run(variables, padded, mask=real)[:, 3:12], y)


def test_conv_rnn_without_padding_and_statistics_of_chorales():
    model, (x,) = CASES[4].values[0](), drawn([X])
    variables = started(model, [x])
    padded = jnp.concatenate([x, 9 + x[:, :3]], axis=1)
    mask = jnp.arange(12)[None] < jnp.full((4, 1), 9)
    y = jax.jit(model.apply)(variables, padded, mask=mask)
    assert y.shape == (4, 5, 5)
    close(y[:, :3], jax.jit(model.apply)(variables, x))

    model, (tokens,) = CASES[5].values[0](), drawn([TOKENS])
    variables = started(model, [tokens])
    run = jax.jit(partial(model.apply, train=True, mutable=["batch_stats"]))
    _, expected = run(variables, tokens)
    padded = jnp.concatenate([tokens, tokens[:, :3]], axis=1)
    _, got = run(variables, padded, mask=mask)
    jax.tree.map(partial(close, rtol=1e-4, atol=1e-5), got, expected)


def test_wavenet_equals_the_reference(parity_folder):
    theirs, tensors = read(parity_folder, "wavenet_onehot")
    model = wavenet.WaveNet(
        num_outputs=16,
        layers=6,
        stacks=2,
        channels=12,
        gate_channels=16,
        skip_channels=10,
        residual_scale=0.5**0.5,
        skip_scale=6**-0.5,
        weight_norm=True,
    )
    assert model.receptive_field == 15
    names = {"first": "first_conv"}
    names |= {"head": "last_conv_layers.1", "last": "last_conv_layers.3"}
    for n in range(6):
        names[f"layer_{n}_gate"] = f"conv_layers.{n}.conv"
        names[f"layer_{n}_skip"] = f"conv_layers.{n}.conv1x1_skip"
        if n < 5:  # what the last layer would pass on goes nowhere
            names[f"layer_{n}_out"] = f"conv_layers.{n}.conv1x1_out"
    params = {
        ours: {
            "kernel": jnp.asarray(theirs[f"{name}.weight_v"].transpose(2, 1, 0)),
            "scale": jnp.asarray(theirs[f"{name}.weight_g"].ravel()),
            "bias": jnp.asarray(theirs[f"{name}.bias"]),
        }
        for ours, name in names.items()
    }
    x = jnp.asarray(tensors["inputs/x"].swapaxes(1, 2))
    y = jax.jit(model.apply)({"params": params}, x)
    expected = tensors["outputs/out"].swapaxes(1, 2)
    np.testing.assert_allclose(y, expected, rtol=0, atol=3.8e-6)


def test_vector_to_sequence_and_last_state_of_a_padded_one():
    model, (x,) = rnn.VectorToSequence(small, 6, 2), drawn([(4, 1, 3)])
    variables = started(model, [x[:, 0]])
    y = jax.jit(model.apply)(variables, x[:, 0])
    assert y.shape == (4, 6, 2)
    inner = rnn.SequenceToSequence(small, 2)
    close(y, inner.apply({"params": variables["params"]["sequence"]}, x.repeat(6, 1)))

    model, (x,) = (
        rnn.SequenceToVector(partial(small, bidirectional=True), 2),
        drawn([X]),
    )
    variables = started(model, [x])
    mask = jnp.ones(X[:2], bool).at[:, 5:].set(False)
    run = jax.jit(model.apply)
    close(run(variables, x, mask=mask), run(variables, x[:, :5]))


def test_training_with_dropout_asks_for_its_key():
    (x,) = drawn([X])
    model = rnn.SequenceToVector(partial(small, hidden_dropout=0.5))
    shapes = jax.eval_shape(model.init, jax.random.key(0), x)
    with pytest.raises(flax.errors.InvalidRngError, match="dropout"):
        jax.eval_shape(lambda v: model.apply(v, x, train=True), shapes)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("maker", "shapes"), CASES)
def test_rejects_wrong_rank_and_no_steps(maker, shapes):
    model, inputs = maker(), drawn(shapes)
    init = lambda *inputs: jax.eval_shape(model.init, jax.random.key(0), *inputs)
    with pytest.raises(ValueError, match=r"\[batch, time.*got (float|int)32 \[4\]"):
        init(inputs[0][:, 0].reshape(4, -1)[:, 0], *inputs[1:])
    with pytest.raises(ValueError, match=r"at least one row and one step.*0"):
        init(inputs[0][:, :0], *inputs[1:])


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("model", "message"),
    [
        (wavenet.WaveNet(1, layers=5, stacks=2), "multiple of stacks.*got 5"),
        (wavenet.WaveNet(1, gate_channels=3), "gate_channels must be even; got 3"),
        (conv_rnn.ConvRNN(small, kernel=20), "at least kernel = 20 steps; got 9"),
    ],
)
def test_rejects_settings(model, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(model.init, jax.random.key(0), *drawn([X]))


def test_rejects_names_and_lengths():
    with pytest.raises(ValueError, match="no cell 'lsmt'; nearest: lstm"):
        rnn.stack("lsmt")
    with pytest.raises(ValueError, match="steps must be at least 1; got 0"):
        rnn.forecast(lambda x: x[:, -1], jnp.ones((1, 1, 1)), steps=0)
    model = rnn.VectorToSequence(small, 0)
    with pytest.raises(ValueError, match="steps must be at least 1; got 0"):
        jax.eval_shape(model.init, jax.random.key(0), jnp.ones((2, 3)))
