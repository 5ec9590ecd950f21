"""Heads on an encoder of the BERT kind: what people do with BERT, RoBERTa, DistilBERT.

    model = TokenClassification(bert_base(pooler=False), num_classes=9)
    variables = jax.jit(model.init)(key, ids)
    logits = model.apply(variables, ids, mask)

An encoder is any module that is called as (ids, mask, token_types, positions=,
train=), answers with `last_hidden_state` and `pooled`, keeps its table of words at
`embeddings/word_embeddings` and has the fields that the heads read (width, vocab_size,
activation, epsilon, dropout, dtype, param_dtype). It stands under "encoder" in the
parameters.

References:
    Devlin, Chang, Lee and Toutanova, 2018. BERT. arXiv:1810.04805 (section 3.1 for
    the pre-training heads, section 4 for the others).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxml.nn import activations

__all__ = [
    "Head",
    "MaskedLM",
    "MaskedLMHead",
    "MultipleChoice",
    "NextSentence",
    "PreTraining",
    "PreTrainingOutput",
    "QuestionAnswering",
    "SequenceClassification",
    "Span",
    "TokenClassification",
]

_normal = nn.initializers.normal(0.02)


class Span(NamedTuple):
    """Logits of where an answer begins and ends."""

    start: Float[Array, "b t"]
    end: Float[Array, "b t"]


class PreTrainingOutput(NamedTuple):
    """Logits of the hidden words, and of "the second sentence follows the first"."""

    words: Float[Array, "b t v"]
    next_sentence: Float[Array, "b 2"]  # follows, does not follow


class MaskedLMHead(nn.Module):
    """Dense layer, activation, norm, and the scores of every word.

    Args:
        vocab_size: number of words.
        activation: name in `jaxml.nn.activations`, or a function.
        epsilon: added to the variance of the norm.
        tied: whether the scores are products with the table of the encoder.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    vocab_size: int
    activation: Any = "gelu"
    epsilon: float = 1e-12
    tied: bool = True
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "b t d"], table: Float[Array, "v d"]
    ) -> Float[Array, "b t v"]:
        """Logits of every word at every place.

        Args:
            x: what the encoder answers.
            table: vectors of the words, read only if the head is tied.
        """
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        dense: Callable = partial(nn.Dense, kernel_init=_normal, **dtypes)
        x = dense(x.shape[-1], name="transform")(x)
        x = activations.activate(x, self.activation)
        x = nn.LayerNorm(
            epsilon=self.epsilon, use_fast_variance=False, name="norm", **dtypes
        )(x)
        bias = self.param(
            "bias", nn.initializers.zeros, (self.vocab_size,), self.param_dtype
        )
        if self.tied:
            scores = x @ table.T.astype(x.dtype)
        else:
            decoder = dense(self.vocab_size, use_bias=False, name="decoder")
            scores = decoder(x)
        return scores + bias.astype(x.dtype)[None, None]


class Head(nn.Module):
    """Whatever reads an encoder: subclasses say in `answer` what they make of it.

    Args:
        encoder: a `Bert`, `Roberta` or `DistilBert`.
    """

    encoder: nn.Module

    @nn.compact
    def __call__(
        self,
        ids: Int[Array, "b t"],
        mask: Bool[Array, "b t"] | None = None,
        token_types: Int[Array, "b t"] | None = None,
        *,
        positions: Int[Array, "b t"] | None = None,
        train: bool = False,
    ) -> Any:
        """The answer of the head.

        Args:
            ids: tokens.
            mask: False for padding, which nothing then looks at.
            token_types: 0 in the first sentence, 1 in the second; all 0 if None.
            positions: places in the table; counted if None.
            train: whether to drop values.
        """
        output = self.encoder(ids, mask, token_types, positions=positions, train=train)
        return self.answer(output, train)

    def answer(self, output: Any, train: bool) -> Any:
        """What the head makes of the encoder's output."""
        raise NotImplementedError

    def dense(self, features: int, name: str) -> nn.Dense:
        """A dense layer with the dtypes of the encoder, started as in BERT."""
        return nn.Dense(
            features,
            kernel_init=_normal,
            dtype=self.encoder.dtype,
            param_dtype=self.encoder.param_dtype,
            name=name,
        )

    def drop(
        self, x: Float[Array, "*b d"], rate: float | None, train: bool, name: str
    ) -> Float[Array, "*b d"]:
        """Dropout, at the rate of the encoder if the head has none."""
        rate = self.encoder.dropout if rate is None else rate
        return nn.Dropout(rate, name=name)(x, deterministic=not train)


class MaskedLM(Head):
    """Scores of every word at every place [batch, time, word].

    Args:
        activation: of the head; that of the encoder if None.
        tied: whether the scores are products with the encoder's table of words.
    """

    activation: Any = None
    tied: bool = True

    def answer(self, output: Any, train: bool) -> Float[Array, "b t v"]:
        """Logits of the words."""
        return _score(self, output)


class PreTraining(Head):
    """Both tasks that BERT was pre-trained on, from an encoder with its pooler.

    Args:
        activation: of the head for the words; that of the encoder if None.
        tied: whether the scores are products with the encoder's table of words.
    """

    activation: Any = None
    tied: bool = True

    def answer(self, output: Any, train: bool) -> PreTrainingOutput:
        """Logits of the words and of the order of the two sentences."""
        next_sentence = self.dense(2, "next_sentence")(_pooled(output))
        return PreTrainingOutput(_score(self, output), next_sentence)


class NextSentence(Head):
    """Whether the second sentence follows the first, from an encoder with pooler."""

    def answer(self, output: Any, train: bool) -> Float[Array, "b 2"]:
        """Logits of: it follows, it does not."""
        return self.dense(2, "next_sentence")(_pooled(output))


class SequenceClassification(Head):
    """A class for the whole text, from an encoder with its pooler.

    Args:
        num_classes: number of logits.
        dropout: chance of a pooled value to be dropped in training; that of the
            encoder if None.
    """

    num_classes: int = 2
    dropout: float | None = None

    def answer(self, output: Any, train: bool) -> Float[Array, "b k"]:
        """Logits [batch, class]."""
        x = self.drop(_pooled(output), self.dropout, train, "drop")
        return self.dense(self.num_classes, "classifier")(x)


class TokenClassification(Head):
    """A class for every token.

    Args:
        num_classes: number of logits.
        dropout: chance of a value to be dropped in training before the logits; that
            of the encoder if None.
    """

    num_classes: int = 2
    dropout: float | None = None

    def answer(self, output: Any, train: bool) -> Float[Array, "b t k"]:
        """Logits [batch, time, class]."""
        x = self.drop(output.last_hidden_state, self.dropout, train, "drop")
        return self.dense(self.num_classes, "classifier")(x)


class QuestionAnswering(Head):
    """Where the answer begins and ends in the text.

    Args:
        dropout: chance of a value to be dropped in training before the logits.
    """

    dropout: float = 0.0

    def answer(self, output: Any, train: bool) -> Span:
        """Logits [batch, time] of the first and of the last token of the answer."""
        x = self.drop(output.last_hidden_state, self.dropout, train, "drop")
        logits = self.dense(2, "classifier")(x)
        return Span(logits[..., 0], logits[..., 1])


class MultipleChoice(nn.Module):
    """Which of several texts fits: one logit for each, side by side.

    Args:
        classifier: a classifier of texts with one class.
    """

    classifier: nn.Module

    @nn.compact
    def __call__(
        self,
        ids: Int[Array, "b c t"],
        mask: Bool[Array, "b c t"] | None = None,
        token_types: Int[Array, "b c t"] | None = None,
        *,
        train: bool = False,
    ) -> Float[Array, "b c"]:
        """Logits [batch, choice] of texts [batch, choice, time]."""
        flat = lambda x: None if x is None else x.reshape(-1, x.shape[-1])
        logits = self.classifier(flat(ids), flat(mask), flat(token_types), train=train)
        return logits.reshape(ids.shape[:2])


def _score(head, output):
    """Scores of the words, by a head with the fields of `MaskedLM`."""
    encoder = head.encoder
    # The table is there once the encoder has been called.
    table = encoder.variables["params"]["embeddings"]["word_embeddings"]["embedding"]
    return MaskedLMHead(
        encoder.vocab_size,
        encoder.activation if head.activation is None else head.activation,
        encoder.epsilon,
        head.tied,
        encoder.dtype,
        encoder.param_dtype,
        name="head",
    )(output.last_hidden_state, table)


def _pooled(output):
    if output.pooled is None:
        raise ValueError("this head reads the pooled token: build it with pooler=True")
    return output.pooled
