"""Encoder and decoder: reference numbers, pieces, padding, greedy decoding."""

from functools import partial

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.models.sequence import seq2seq, translate
from jaxml.nn import cells
from tests.models.sequence.networks import SEQ2SEQ, TOKENS, close, drawn, read, started


@pytest.fixture
def reference(parity_folder):
    theirs, tensors = read(parity_folder, "seq2seq_bahdanau")
    model = seq2seq.Seq2Seq(
        30, 28, embedding=12, features=20, encoder_features=16, cell=cells.GRUCell
    )
    kernel = lambda name: jnp.asarray(theirs[f"{name}.weight"].T)
    dense = lambda name: {"kernel": kernel(name), "bias": theirs[f"{name}.bias"]}
    embed = lambda name: {"embedding": theirs[f"{name}.embedding.weight"]}

    def cell(name, end=""):
        return {
            f"{ours}_{kind}": theirs[f"{name}.{word}_{letter}h_l0{end}"].T
            for ours, letter in (("input", "i"), ("hidden", "h"))
            for kind, word in (("kernel", "weight"), ("bias", "bias"))
        }

    attention = dense("decoder.attention.attn_fc")
    params = {
        "source_embedding": embed("encoder"),
        "encoder": {
            "forward_0": cell("encoder.rnn"),
            "backward_0": cell("encoder.rnn", "_reverse"),
        },
        "bridge": dense("encoder.fc"),
        "key": {"kernel": attention["kernel"][20:], "bias": attention["bias"]},
        "decoder": {
            "embedding": embed("decoder"),
            "query": {"kernel": attention["kernel"][:20]},
            "score": {"kernel": kernel("decoder.attention.v_fc")},
            "cell": cell("decoder.rnn"),
            "head": dense("decoder.fc_out"),
        },
    }
    params = jax.tree.map(jnp.asarray, params)
    source, target = (
        jnp.asarray(tensors[f"inputs/{name}"].T.astype(np.int32))
        for name in ("src", "trg")
    )
    return model, {"params": params}, source, target, tensors


def test_attention_equals_the_reference(reference):
    model, variables, source, target, tensors = reference
    run = jax.jit(model.apply)
    for name, teacher in (("teacher_forced", 1.0), ("greedy", jnp.array(0.0))):
        logits = run(
            variables,
            source,
            target[:, :-1],
            teacher=teacher,
            rngs={"sample": jax.random.key(0)},
        )
        expected = tensors[f"outputs/{name}"][1:].swapaxes(0, 1)
        np.testing.assert_allclose(logits, expected, rtol=0, atol=1.9e-5)
    made = translate.greedy(
        model, variables, source, start=target[0, 0], end=None, steps=5
    )
    if (target[:, 0] == target[0, 0]).all():
        np.testing.assert_array_equal(made.tokens, expected.argmax(-1))


@pytest.mark.parametrize("maker", SEQ2SEQ.values(), ids=SEQ2SEQ)
def test_decoder_in_pieces_padding_and_greedy(maker):
    model = maker()
    source, target = drawn([TOKENS, (4, 5)])
    variables = started(model, [source, target])

    @jax.jit
    def run(source, mask):
        whole = model.apply(variables, source, target, source_mask=mask)
        memory = model.apply(variables, source, source_mask=mask, method="encode")
        decode = partial(model.apply, variables, method="decode")
        first, carry = decode(target[:, :2], memory)
        return whole, jnp.concatenate(
            [first, decode(target[:, 2:], memory, carry)[0]], axis=1
        )

    mask = jnp.ones(TOKENS, bool).at[:, 6:].set(False)
    whole, pieces = run(source, mask)
    close(pieces, whole)
    close(whole, jax.jit(model.apply)(variables, source[:, :6], target))

    made = translate.greedy(
        model, variables, source, start=1, end=3, steps=6, source_mask=mask
    )
    for tokens, length in zip(made.tokens, made.lengths, strict=True):
        assert 3 not in tokens[: length - 1]
        np.testing.assert_array_equal(tokens[length:], 0)
    free = translate.greedy(
        model, variables, source, start=1, end=None, steps=6, source_mask=mask
    ).tokens
    fed = jnp.concatenate([jnp.ones((4, 1), jnp.int32), free[:, :-1]], axis=1)
    logits = jax.jit(model.apply)(variables, source, fed, source_mask=mask)
    np.testing.assert_array_equal(logits.argmax(-1), free)


def test_attention_is_shown_and_sums_to_one():
    model, (source, target) = SEQ2SEQ["bahdanau"](), drawn([TOKENS, (4, 5)])
    variables = started(model, [source, target])
    run = jax.jit(partial(model.apply, mutable=["intermediates"]))
    _, seen = run(variables, source, target)
    (weights,) = jax.tree.leaves(seen)
    assert weights.shape == (4, 5, 9)
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-5)


def test_sampling_asks_for_its_key():
    model, (source, target) = SEQ2SEQ["bahdanau"](), drawn([TOKENS, (4, 5)])
    shapes = jax.eval_shape(model.init, jax.random.key(0), source, target)
    with pytest.raises(flax.errors.InvalidRngError, match="sample"):
        jax.eval_shape(lambda v: model.apply(v, source, target, teacher=0.5), shapes)


def test_rejects_a_name_and_no_steps():
    model, inputs = seq2seq.Seq2Seq(3, 3, attention="bahdenau"), drawn([TOKENS] * 2)
    with pytest.raises(ValueError, match="no attention 'bahdenau'; nearest: bahdanau"):
        jax.eval_shape(model.init, jax.random.key(0), *inputs)
    model, (source, target) = SEQ2SEQ["none"](), drawn([TOKENS, (4, 5)])
    variables = started(model, [source, target])
    with pytest.raises(ValueError, match="steps must be at least 1; got 0"):
        translate.greedy(model, variables, source, start=1, end=2, steps=0)
