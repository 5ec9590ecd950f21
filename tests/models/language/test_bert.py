"""BERT and its heads, beyond the parity with the reference (tests/zoo)."""

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.models.language import bert, bert_heads
from jaxml.nn import depth
from jaxml.zoo import table
from jaxml.zoo.families.transformers_bert import FAMILY

SMALL = {
    "vocab_size": 30,
    "width": 16,
    "depth": 2,
    "heads": 2,
    "hidden": 24,
    "max_positions": 12,
}
IDS = jnp.array([[4, 8, 15, 16, 23], [1, 2, 3, 0, 0]])
MASK = jnp.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], bool)
HEADS = {
    "masked": bert_heads.MaskedLM,
    "untied": lambda encoder: bert_heads.MaskedLM(encoder, tied=False),
    "pre_training": bert_heads.PreTraining,
    "next_sentence": bert_heads.NextSentence,
    "texts": bert_heads.SequenceClassification,
    "tokens": bert_heads.TokenClassification,
    "answers": bert_heads.QuestionAnswering,
}
SHAPES = {
    "masked": [(2, 5, 30)],
    "untied": [(2, 5, 30)],
    "pre_training": [(2, 5, 30), (2, 2)],
    "next_sentence": [(2, 2)],
    "texts": [(2, 2)],
    "tokens": [(2, 5, 2)],
    "answers": [(2, 5), (2, 5)],
}


def drawn(model, *inputs, seed=0):
    """Parameters large enough for every part to be seen in the outputs."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(model.init, jax.random.key(0), *inputs)
    return jax.tree.map(
        lambda x: rng.normal(size=x.shape, scale=0.3).astype(np.float32), shapes
    )


@pytest.fixture(scope="module")
def variables():
    return drawn(bert.Bert(**SMALL), IDS)


def run(variables, ids=IDS, mask=MASK, types=None, **options):
    model = bert.Bert(**SMALL, **options)
    return jax.jit(model.apply)(variables, ids, mask, types)


def test_padding_and_neighbours_change_nothing(variables):
    expected = run(variables, IDS[1:, :3], None)
    output = run(variables)
    # Sums of other lengths.
    np.testing.assert_allclose(
        output.last_hidden_state[1:, :3], expected.last_hidden_state, atol=1e-5
    )
    np.testing.assert_allclose(output.pooled[1:], expected.pooled, atol=1e-5)
    assert abs(run(variables, mask=None).pooled[1] - expected.pooled[0]).max() > 1e-3


def test_token_types_count_and_default_to_the_first(variables):
    first = run(variables, types=jnp.zeros_like(IDS))
    np.testing.assert_array_equal(first.pooled, run(variables).pooled)
    second = run(variables, types=jnp.ones_like(IDS))
    assert abs(first.pooled - second.pooled).max() > 1e-3


@pytest.mark.parametrize("remat", [None, "full"])
def test_scan_equals_loop(variables, remat):
    expected = run(variables)
    stacked = depth.stack(variables, "layers")
    output = run(stacked, scan=True, remat=remat)
    np.testing.assert_allclose(output[0], expected[0], atol=1e-6)


def test_half_precision_is_near(variables):
    output, expected = run(variables, dtype=jnp.bfloat16), run(variables)
    assert output.pooled.dtype == jnp.bfloat16
    # Eight bits of mantissa through two blocks of values about 1.
    np.testing.assert_allclose(
        output.last_hidden_state.astype(jnp.float32), expected[0], atol=0.1
    )


def test_hidden_states_and_attention_can_be_looked_at(variables):
    model = bert.Bert(**SMALL)
    look = lambda model, v: model.apply(v, IDS, MASK, mutable=["intermediates"])
    _, state = jax.jit(look, static_argnums=0)(model, variables)
    seen = state["intermediates"]
    assert [x.shape for x in seen["hidden_states"]] == [(2, 5, 16)] * 3
    weights = seen["layers_1"]["attention"]["attention"][0]
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-6)
    assert (weights[1, :, :, 3:] == 0).all()
    scanned = bert.Bert(**SMALL, scan=True)
    _, state = jax.jit(look, static_argnums=0)(scanned, depth.stack(variables))
    again = state["intermediates"]["hidden_states"]
    for a, b in zip(seen["hidden_states"], again, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_heads_answer_and_every_parameter_learns():
    """All heads in one program, each on the sums of its logits."""
    heads = {
        name: make(bert.Bert(**SMALL | {"depth": 1})) for name, make in HEADS.items()
    }
    variables = {name: drawn(model, IDS) for name, model in heads.items()}
    for name, model in heads.items():
        answer = jax.eval_shape(model.apply, variables[name], IDS)
        assert [x.shape for x in jax.tree.leaves(answer)] == SHAPES[name]

    def loss(variables):
        rngs = {"dropout": jax.random.key(1)}
        answers = [
            model.apply(variables[name], IDS, MASK, train=True, rngs=rngs)
            for name, model in heads.items()
        ]
        return sum(jnp.square(x).sum() for x in jax.tree.leaves(answers))

    gradient = jax.jit(jax.grad(loss))(variables)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        text = jax.tree_util.keystr(path)
        unpooled = ("masked", "untied", "tokens", "answers")
        dead = "pooler" in text and path[0].key in unpooled
        # A bias of the keys moves all logits of a query alike.
        dead |= "['key']['bias']" in text
        assert np.any(np.abs(leaf) > 1e-4) != dead, text


def test_choices_are_judged_one_by_one():
    classifier = bert_heads.SequenceClassification(bert.Bert(**SMALL), 1)
    model = bert_heads.MultipleChoice(classifier)
    ids = jnp.stack([IDS, IDS[::-1]], 1)
    variables = drawn(model, ids)
    logits = jax.jit(model.apply)(variables, ids)
    inner = {"params": variables["params"]["classifier"]}
    single = jax.jit(classifier.apply)(inner, IDS)
    expected = jnp.stack([single[:, 0], single[::-1, 0]], 1)
    np.testing.assert_allclose(logits, expected, atol=1e-6)


@pytest.mark.parametrize("name", ["BertModel", "BertForMaskedLM"])
def test_a_file_of_both_pre_training_heads_serves_each_part(name):
    """As released in 2018: gamma and beta, and more than most networks read."""
    config = {"vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 1}
    config |= {"num_attention_heads": 2, "intermediate_size": 24}
    full = FAMILY.build(config, "BertForPreTraining")
    shapes = jax.eval_shape(full.init, jax.random.key(0), IDS)
    zeros = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
    tensors = table.revert(FAMILY.rows(full), zeros)
    old = {
        key.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): array
        for key, array in tensors.items()
    }
    assert "cls.predictions.transform.LayerNorm.gamma" in old
    model = FAMILY.build(config, name)
    shapes = jax.eval_shape(model.init, jax.random.key(0), IDS)
    done = table.convert(FAMILY.rows(model), old, shapes)
    assert not done.problems
    assert table.revert(FAMILY.rows(model), done.variables, done.extras).keys() == (
        old.keys()
    )


@pytest.mark.parametrize(
    ("make", "millions"),
    [
        (bert.bert_tiny, 4.386),
        (bert.bert_medium, 41.373),
        (bert.bert_base, 109.482),
        (bert.bert_large, 335.142),
        (bert.bert_base_cased, 108.310),
    ],
)
def test_named_sizes_have_their_parameters(make, millions):
    model = make(scan=True)
    shapes = jax.eval_shape(model.init, jax.random.key(0), IDS)
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    assert round(count / 1e6, 3) == millions


def test_training_asks_for_the_key_of_dropout(variables):
    model = bert.Bert(**SMALL)
    with pytest.raises(flax.errors.InvalidRngError, match="dropout"):
        jax.eval_shape(lambda v: model.apply(v, IDS, train=True), variables)


@pytest.mark.usefixtures("unchecked")
def test_rejects_what_does_not_fit(variables):
    model = bert.Bert(**SMALL)
    apply = lambda *given: jax.eval_shape(model.apply, variables, *given)
    with pytest.raises(ValueError, match=r"at most 12 tokens.*got 13"):
        apply(jnp.zeros((1, 13), int))
    with pytest.raises(ValueError, match=r"whole numbers \[batch, time\]; got float32"):
        apply(jnp.zeros((1, 3)))
    with pytest.raises(ValueError, match=r"mask must be bool \[2, 5\]; got int32"):
        apply(IDS, MASK.astype(int))
    head = bert_heads.NextSentence(bert.Bert(**SMALL, pooler=False))
    with pytest.raises(ValueError, match="pooler=True"):
        jax.eval_shape(head.init, jax.random.key(0), IDS)
