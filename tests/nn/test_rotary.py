import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.nn import rotary
from jaxml.nn.rotary import Rotary

KINDS = {
    "linear": {"factor": 4.0},
    "dynamic": {"factor": 2.0, "original": 16},
    "yarn": {"factor": 4.0, "original": 256, "attention": 1.1386},
    "llama3": {"factor": 8.0, "original": 64, "low": 1.0, "high": 4.0},
    "longrope": {"original": 16, "short": (1.0,) * 4, "long": (1.0, 1.5, 3.0, 6.0)},
}


def draw(*shape):
    return jax.random.normal(jax.random.key(0), shape)


def test_is_a_turn_of_complex_numbers():
    x, positions = draw(2, 3, 2, 8), jnp.array([[0, 1, 2], [5, 9, 40]])
    turn = 1e4 ** -(np.arange(0, 8, 2) / 8)
    angle = np.exp(1j * np.asarray(positions)[..., None] * turn)[:, :, None]
    for interleaved in (False, True):
        if interleaved:
            first, second = x[..., ::2], x[..., 1::2]
        else:
            first, second = x[..., :4], x[..., 4:]
        z = (np.asarray(first) + 1j * np.asarray(second)) * angle
        parts = [z.real, z.imag]
        joined = np.stack(parts, -1).reshape(x.shape)
        expected = joined if interleaved else np.concatenate(parts, -1)
        got = rotary.apply(Rotary(8, interleaved=interleaved), x, positions)
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_turns_the_first_features_only_and_padding_not_at_all():
    x = draw(1, 3, 2, 8)
    got = rotary.apply(Rotary(4), x, jnp.array([[-1, 0, 7]]))
    np.testing.assert_array_equal(got[..., 4:], x[..., 4:])
    np.testing.assert_array_equal(got[:, :2], x[:, :2])
    assert not np.allclose(got[:, 2, :, :4], x[:, 2, :, :4])


@pytest.mark.parametrize("length", [10, 40], ids=["within", "beyond"])
@pytest.mark.parametrize("kind", KINDS)
def test_frequencies_equal_those_of_transformers(kind, length):
    pytest.importorskip("torch")
    utils = pytest.importorskip("transformers.modeling_rope_utils")
    config = pytest.importorskip("transformers").LlamaConfig
    given = KINDS[kind]
    theirs = {"rope_type": kind, "rope_theta": 1e4}
    names = {
        "factor": "factor",
        "original": "original_max_position_embeddings",
        "low": "low_freq_factor",
        "high": "high_freq_factor",
        "short": "short_factor",
        "long": "long_factor",
    }
    theirs |= {names[k]: v for k, v in given.items() if k in names}
    theirs |= {k: list(v) for k, v in theirs.items() if isinstance(v, tuple)}
    config = config(
        hidden_size=16,
        num_attention_heads=2,
        max_position_embeddings=given.get("original", 256),
        rope_parameters=theirs,
    )
    expected, factor = utils.ROPE_INIT_FUNCTIONS[kind](config, "cpu", seq_len=length)
    ours = Rotary(8, kind=kind, **given)
    got = rotary.frequencies(ours, jnp.arange(length)[None])
    np.testing.assert_allclose(got, expected.numpy(), rtol=1e-5)
    if kind == "yarn":
        assert ours.attention == pytest.approx(factor, rel=1e-3)


def test_yarn_keeps_fast_pairs_and_stretches_slow_ones():
    plain = rotary.frequencies(Rotary(64))
    yarn = rotary.frequencies(Rotary(64, kind="yarn", factor=8.0, original=4096))
    ratio = np.asarray(plain / yarn)
    assert np.all(np.diff(ratio) >= -1e-6)
    np.testing.assert_allclose(ratio[[0, -1]], [1, 8], rtol=1e-6)


def test_half_precision_tells_distant_neighbours_apart():
    x = jnp.ones((1, 2, 1, 4), jnp.bfloat16)
    got = rotary.apply(Rotary(4), x, jnp.array([[4000, 4001]]))
    assert got.dtype == jnp.bfloat16
    assert not np.array_equal(got[:, 0], got[:, 1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 3}, "dim must be even"),
        ({"dim": 4, "kind": "yarm"}, "nearest: yarn"),
        ({"dim": 4, "kind": "yarn"}, "needs original"),
        ({"dim": 4, "factor": 0.5}, "factor must be at least 1"),
        ({"dim": 4, "kind": "longrope", "original": 4}, "must hold dim / 2 = 2"),
    ],
)
def test_rejects(options, message):
    with pytest.raises(ValueError, match=message):
        Rotary(**options)


def test_rejects_narrow_heads():
    with pytest.raises(ValueError, match="at least 8 wide; got 4"):
        rotary.apply(Rotary(8), draw(1, 2, 1, 4), jnp.array([[0, 1]]))
