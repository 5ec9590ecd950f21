"""DistilBERT: BERT at half the depth, without kinds of sentence and without pooler.

    model = distilbert_base()
    variables = jax.jit(model.init)(key, ids)
    output = model.apply(variables, ids, mask)     # .last_hidden_state

Heads are those of `jaxml.models.language.bert_heads` and the classifier of texts here.

References:
    Sanh, Debut, Chaumond and Wolf, 2019. DistilBERT. arXiv:1910.01108.
"""

from functools import partial

import flax.linen as nn
from jaxtyping import Array, Float

from jaxml.models.language import bert, bert_heads

__all__ = [
    "DistilBert",
    "DistilBertClassification",
    "distilbert_base",
    "distilbert_base_cased",
    "distilbert_base_multilingual",
]


class DistilBert(bert.Bert):
    """A `Bert` of six blocks that refuses token types and pools nothing."""

    depth: int = 6
    type_vocab_size: int = 0
    pooler: bool = False


class DistilBertClassification(bert_heads.Head):
    """A class for the whole text: dense and ReLU on the first token, then logits.

    Args:
        num_classes: number of logits.
        dropout: chance of a value to be dropped in training before the logits.
    """

    num_classes: int = 2
    dropout: float = 0.2

    def answer(self, output: bert.BertOutput, train: bool) -> Float[Array, "b k"]:
        """Logits [batch, class]."""
        x = self.dense(self.encoder.width, "dense")(output.last_hidden_state[:, 0])
        x = self.drop(nn.relu(x), self.dropout, train, "drop")
        return self.dense(self.num_classes, "classifier")(x)


distilbert_base = DistilBert  # 66.4 M parameters
distilbert_base_cased = partial(DistilBert, vocab_size=28996)  # 65.2 M
distilbert_base_multilingual = partial(DistilBert, vocab_size=119547)  # 134.7 M
