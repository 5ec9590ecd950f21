"""RoBERTa: BERT without kinds of sentence, its positions counted past the padding.

    model = roberta_base()
    variables = jax.jit(model.init)(key, ids)
    output = model.apply(variables, ids, mask)     # .last_hidden_state, .pooled

The first token that is no padding stands at position pad_id + 1, and padding itself
at pad_id: the table of positions is that much longer than the longest text. Heads are
those of `jaxml.models.language.bert_heads` (the one for masked words always with the
exact GELU: `MaskedLM(encoder, activation="gelu")`) and the classifier of texts here.

References:
    Liu et al., 2019. RoBERTa. arXiv:1907.11692.
    Conneau et al., 2019. XLM-R. arXiv:1911.02116 (the same network, more words).
"""

from functools import partial
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxml.models.language import bert, bert_heads

__all__ = [
    "Roberta",
    "RobertaClassification",
    "roberta_base",
    "roberta_large",
    "xlm_roberta_base",
    "xlm_roberta_large",
]


class Roberta(bert.Bert):
    """A `Bert` that reads its positions off the ids.

    Args:
        pad_id: the id of padding, and the position of it.
    """

    vocab_size: int = 50265
    max_positions: int = 514
    type_vocab_size: int = 1
    epsilon: float = 1e-5
    pad_id: int = 1

    def count(self, ids: Int[Array, "b t"]) -> Int[Array, "b t"]:
        """Tokens up to here that are no padding, plus `pad_id`; `pad_id` in padding.

        Raises:
            ValueError: if the text is longer than the table of positions allows.
        """
        bert.refuse_too_long(ids.shape[1], self.max_positions - self.pad_id - 1)
        real = (ids != self.pad_id).astype(jnp.int32)
        return jnp.cumsum(real, 1) * real + self.pad_id


class RobertaClassification(bert_heads.Head):
    """A class for the whole text: dense and tanh on the first token, then logits.

    Args:
        num_classes: number of logits.
        dropout: chance of a value to be dropped in training, before each layer; that
            of the encoder if None.
    """

    num_classes: int = 2
    dropout: float | None = None

    def answer(self, output: bert.BertOutput, train: bool) -> Float[Array, "b k"]:
        """Logits [batch, class]."""
        x = output.last_hidden_state[:, 0]
        x = self.drop(x, self.dropout, train, "drop")
        x = jnp.tanh(self.dense(self.encoder.width, "dense")(x))
        x = self.drop(x, self.dropout, train, "drop_dense")
        return self.dense(self.num_classes, "classifier")(x)


_large: dict[str, Any] = {"depth": 24, "width": 1024, "heads": 16, "hidden": 4096}
roberta_base = Roberta  # 124.6 M parameters
roberta_large = partial(Roberta, **_large)  # 355.4 M
xlm_roberta_base = partial(Roberta, vocab_size=250002)  # 278.0 M
xlm_roberta_large = partial(xlm_roberta_base, **_large)  # 559.9 M
