"""RoBERTa: positions past the padding, and its classifier."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.models.language import bert_heads, roberta
from jaxml.nn import depth

SMALL = {
    "vocab_size": 30,
    "width": 16,
    "depth": 2,
    "heads": 2,
    "hidden": 24,
    "max_positions": 9,
}
IDS = jnp.array([[4, 8, 15, 16, 23], [5, 2, 3, 1, 1]])
MASK = IDS != 1


def drawn(model):
    """Parameters large enough for every part to be seen in the outputs."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(model.init, jax.random.key(0), IDS)
    return jax.tree.map(
        lambda x: rng.normal(size=x.shape, scale=0.3).astype(np.float32), shapes
    )


def test_positions_start_past_the_padding_wherever_it_is():
    encoder = roberta.Roberta(**SMALL)
    assert encoder.count(IDS).tolist() == [[2, 3, 4, 5, 6], [2, 3, 4, 1, 1]]
    left = jnp.roll(IDS, 2, 1)[1:]
    assert encoder.count(left).tolist() == [[1, 1, 2, 3, 4]]


def test_padding_on_either_side_changes_nothing_nor_does_the_scan():
    model = roberta.RobertaClassification(roberta.Roberta(**SMALL), 3)
    variables = drawn(model)
    run = jax.jit(model.apply)
    expected = run(variables, IDS, MASK)
    alone = run(variables, IDS[1:, :3])
    np.testing.assert_allclose(expected[1:], alone, atol=2e-5)
    scanned = roberta.RobertaClassification(roberta.Roberta(**SMALL, scan=True), 3)
    again = jax.jit(scanned.apply)(depth.stack(variables), IDS, MASK)
    np.testing.assert_allclose(again, expected, atol=2e-5)

    encoder = roberta.Roberta(**SMALL)
    inner = {"params": variables["params"]["encoder"]}
    run = jax.jit(encoder.apply)
    left = run(inner, jnp.roll(IDS, 2, 1), jnp.roll(MASK, 2, 1))
    right = run(inner, IDS, MASK)
    np.testing.assert_allclose(
        left.last_hidden_state[1, 2:], right.last_hidden_state[1, :3], atol=2e-5
    )


@pytest.mark.parametrize(
    ("make", "millions"),
    [(roberta.roberta_base, 124.646), (roberta.xlm_roberta_large, 559.890)],
)
def test_named_sizes_have_their_parameters(make, millions):
    model = make(scan=True)
    shapes = jax.eval_shape(model.init, jax.random.key(0), IDS)
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    assert round(count / 1e6, 3) == millions


def test_rejects_a_text_that_leaves_no_room_for_the_padding():
    encoder = roberta.Roberta(**SMALL)
    jax.eval_shape(encoder.init, jax.random.key(0), jnp.zeros((1, 7), int))
    with pytest.raises(ValueError, match=r"at most 7 tokens.*got 8"):
        jax.eval_shape(encoder.init, jax.random.key(0), jnp.zeros((1, 8), int))


def test_masked_words_may_have_another_activation():
    make = lambda **options: bert_heads.MaskedLM(
        roberta.Roberta(**SMALL, activation="relu"), **options
    )
    variables = drawn(make())
    run = lambda model: jax.jit(model.apply)(variables, IDS, MASK)
    assert abs(run(make()) - run(make(activation="gelu"))).max() > 1e-3
