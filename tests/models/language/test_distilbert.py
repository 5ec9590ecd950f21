"""DistilBERT: what it lacks of BERT, and its classifier."""

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.models.language import bert, bert_heads, distilbert
from jaxml.nn import depth

SMALL = {
    "vocab_size": 30,
    "width": 16,
    "depth": 2,
    "heads": 2,
    "hidden": 24,
    "max_positions": 12,
}
IDS = jnp.array([[4, 8, 15, 16, 23], [1, 2, 3, 0, 0]])
MASK = IDS > 0


def drawn(model):
    """Parameters large enough for every part to be seen in the outputs."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(model.init, jax.random.key(0), IDS)
    return jax.tree.map(
        lambda x: rng.normal(size=x.shape, scale=0.3).astype(np.float32), shapes
    )


@pytest.fixture(scope="module")
def variables():
    return drawn(distilbert.DistilBertClassification(distilbert.DistilBert(**SMALL)))


def test_it_is_bert_with_one_kind_of_sentence(variables):
    encoder = variables["params"]["encoder"]
    kind = {"token_type_embeddings": {"embedding": np.zeros((1, 16), np.float32)}}
    same = {**encoder, "embeddings": {**encoder["embeddings"], **kind}}
    model = bert.Bert(**SMALL, type_vocab_size=1, pooler=False)
    expected = jax.jit(model.apply)({"params": same}, IDS, MASK)
    model = distilbert.DistilBert(**SMALL)
    got = jax.jit(model.apply)({"params": encoder}, IDS, MASK)
    np.testing.assert_allclose(got[0], expected[0], atol=1e-6)
    assert got.pooled is None


def test_padding_changes_no_class_nor_does_the_scan(variables):
    model = distilbert.DistilBertClassification(distilbert.DistilBert(**SMALL))
    logits = jax.jit(model.apply)(variables, IDS, MASK)
    alone = jax.jit(model.apply)(variables, IDS[1:, :3])
    np.testing.assert_allclose(logits[1:], alone, atol=2e-5)
    scanned = distilbert.DistilBertClassification(
        distilbert.DistilBert(**SMALL, scan=True)
    )
    again = jax.jit(scanned.apply)(depth.stack(variables), IDS, MASK)
    np.testing.assert_allclose(again, logits, atol=2e-5)


def test_base_has_its_parameters():
    model = distilbert.distilbert_base(scan=True)
    shapes = jax.eval_shape(model.init, jax.random.key(0), IDS)
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == 66_362_880


def test_training_asks_for_the_key_of_dropout(variables):
    still = distilbert.DistilBert(**SMALL, dropout=0.0, attention_dropout=0.0)
    model = distilbert.DistilBertClassification(still)
    with pytest.raises(flax.errors.InvalidRngError, match="dropout"):
        jax.eval_shape(lambda v: model.apply(v, IDS, train=True), variables)


def test_rejects_token_types_and_heads_that_pool(variables):
    encoder = distilbert.DistilBert(**SMALL)
    with pytest.raises(ValueError, match="no token types"):
        jax.eval_shape(encoder.init, jax.random.key(0), IDS, MASK, IDS)
    head = bert_heads.SequenceClassification(encoder)
    with pytest.raises(ValueError, match="pooled"):
        jax.eval_shape(head.init, jax.random.key(0), IDS)
