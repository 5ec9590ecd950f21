"""BERT: an encoder of text that reads both ways, and its named sizes.

    model = bert_base()
    variables = jax.jit(model.init)(key, ids)
    output = model.apply(variables, ids, mask)     # .last_hidden_state, .pooled

Token ids [batch, time] are whole numbers; `mask` is False for padding. Training
draws dropout from the rng "dropout". The heads (masked words, classes of texts and of
tokens, answers) stand in `jaxml.models.language.bert_heads`.

References:
    Devlin, Chang, Lee and Toutanova, 2018. BERT. arXiv:1810.04805.
    Turc, Chang, Lee and Toutanova, 2019. The smaller sizes. arXiv:1908.08962.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxml.nn import depth as depths
from jaxml.nn.attention import Attention
from jaxml.nn.blocks import Block
from jaxml.nn.feed_forward import FeedForward

__all__ = [
    "Bert",
    "BertOutput",
    "Embeddings",
    "bert_base",
    "bert_base_cased",
    "bert_large",
    "bert_large_cased",
    "bert_medium",
    "bert_mini",
    "bert_small",
    "bert_tiny",
]

_normal = nn.initializers.normal(0.02)


class BertOutput(NamedTuple):
    """What the encoder answers."""

    last_hidden_state: Float[Array, "b t d"]
    pooled: Float[Array, "b d"] | None  # first token, dense and tanh; None if unpooled


class Bert(nn.Module):
    """Sum of three tables, then blocks that normalise after each addition.

    Args:
        vocab_size: number of words.
        width: size of the vectors.
        depth: number of blocks.
        heads: number of attention heads; they divide the width.
        hidden: size of the feed-forward layer.
        max_positions: longest text.
        type_vocab_size: kinds of sentence (first, second).
        activation: name in `jaxml.nn.activations`, or a function.
        epsilon: added to the variance in the norms.
        dropout: chance of a value to be dropped in training, from 0 to below 1.
        attention_dropout: the same for an attention weight.
        pooler: whether the first token is pooled, for heads that read the whole text.
        scan: whether the blocks are one program run `depth` times, their parameters
            stacked (see `jaxml.nn.depth`).
        remat: None, "full" or the name of a policy of `jax.checkpoint_policies`.
        backend: of the attention, see `jaxml.ops.attention`.
        dtype: dtype of the computation; that of the parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    vocab_size: int = 30522
    width: int = 768
    depth: int = 12
    heads: int = 12
    hidden: int = 3072
    max_positions: int = 512
    type_vocab_size: int = 2
    activation: Any = "gelu"
    epsilon: float = 1e-12
    dropout: float = 0.1
    attention_dropout: float = 0.1
    pooler: bool = True
    scan: bool = False
    remat: str | None = None
    backend: str = "auto"
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        ids: Int[Array, "b t"],
        mask: Bool[Array, "b t"] | None = None,
        token_types: Int[Array, "b t"] | None = None,
        *,
        positions: Int[Array, "b t"] | None = None,
        train: bool = False,
    ) -> BertOutput:
        """Vectors of every token, and of the whole text.

        Args:
            ids: tokens.
            mask: False for padding, which nothing then looks at.
            token_types: 0 in the first sentence, 1 in the second; all 0 if None.
            positions: places in the table; counted from the left if None.
            train: whether to drop values.

        Raises:
            ValueError: if the ids are no whole numbers [batch, time], or the text is
                longer than the table of positions.
        """
        _check(ids, mask)
        if positions is None:
            positions = self.count(ids)
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        x = Embeddings(
            self.vocab_size,
            self.width,
            self.max_positions,
            self.type_vocab_size,
            self.epsilon,
            self.dropout,
            name="embeddings",
            **dtypes,
        )(ids, token_types, positions, train=train)
        norm = partial(
            nn.LayerNorm, epsilon=self.epsilon, use_fast_variance=False, **dtypes
        )
        block = partial(
            Block,
            attention=partial(
                Attention,
                heads=self.heads,
                dropout=self.attention_dropout,
                backend=self.backend,
                kernel_init=_normal,
                **dtypes,
            ),
            feed_forward=partial(
                FeedForward,
                self.hidden,
                activation=self.activation,
                kernel_init=_normal,
                **dtypes,
            ),
            norm=norm,
            norm_position="post",
            dropout=self.dropout,
        )
        visible = None if mask is None else mask[:, None, None, :]
        run = depths.repeat(
            block,
            self.depth,
            scan=self.scan,
            remat=self.remat,
            record=depths.recorder(self),
        )
        x, _ = run(x, mask=visible, train=train)
        self.sow("intermediates", "hidden_states", x)
        if not self.pooler:
            return BertOutput(x, None)
        pool = nn.Dense(self.width, kernel_init=_normal, name="pooler", **dtypes)
        return BertOutput(x, jnp.tanh(pool(x[:, 0])))

    def count(self, ids: Int[Array, "b t"]) -> Int[Array, "b t"]:
        """Positions from the left, 0 first.

        Raises:
            ValueError: if the text is longer than the table of positions.
        """
        refuse_too_long(ids.shape[1], self.max_positions)
        return jnp.broadcast_to(jnp.arange(ids.shape[1]), ids.shape)


class Embeddings(nn.Module):
    """Vectors of word, position and kind of sentence, added, normalised, dropped.

    Args:
        vocab_size: number of words.
        width: size of the vectors.
        max_positions: places in the table of positions.
        type_vocab_size: kinds of sentence; 0 for none.
        epsilon: added to the variance.
        dropout: chance of a value to be dropped in training.
        dtype: dtype of the computation; that of the parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    vocab_size: int
    width: int
    max_positions: int
    type_vocab_size: int
    epsilon: float
    dropout: float
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        ids: Int[Array, "b t"],
        token_types: Int[Array, "b t"] | None,
        positions: Int[Array, "b t"],
        *,
        train: bool = False,
    ) -> Float[Array, "b t d"]:
        """Vectors [batch, time, width]; `token_types` None means all 0."""
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        table: Callable = partial(
            nn.Embed, features=self.width, embedding_init=_normal, **dtypes
        )
        x = table(self.vocab_size, name="word_embeddings")(ids)
        if self.type_vocab_size:
            kinds = jnp.zeros_like(ids) if token_types is None else token_types
            x = x + table(self.type_vocab_size, name="token_type_embeddings")(kinds)
        elif token_types is not None:
            raise ValueError("this network knows no token types: give None")
        x = x + table(self.max_positions, name="position_embeddings")(positions)
        x = nn.LayerNorm(
            epsilon=self.epsilon, use_fast_variance=False, name="norm", **dtypes
        )(x)
        return nn.Dropout(self.dropout, name="drop")(x, deterministic=not train)


def refuse_too_long(length: int, most: int) -> None:
    """Refuse a text longer than the table of positions.

    Raises:
        ValueError: if it is; the message tells both numbers.
    """
    if length > most:
        raise ValueError(
            f"the text must have at most {most} tokens, the length of the table of "
            f"positions; got {length}"
        )


def _check(ids, mask):
    if ids.ndim != 2 or not jnp.issubdtype(ids.dtype, jnp.integer):
        raise ValueError(
            "ids must be whole numbers [batch, time]; "
            f"got {ids.dtype} {list(ids.shape)}"
        )
    if mask is not None and (mask.shape != ids.shape or mask.dtype != bool):
        raise ValueError(
            f"mask must be bool {list(ids.shape)}; got {mask.dtype} {list(mask.shape)}"
        )


def _size(depth, width, **options):
    """A size of which heads are 64 wide and the hidden layer four times the width."""
    return partial(
        Bert, depth=depth, width=width, heads=width // 64, hidden=4 * width, **options
    )


bert_tiny = _size(2, 128)  # 4.4 M parameters
bert_mini = _size(4, 256)  # 11.2 M
bert_small = _size(4, 512)  # 28.8 M
bert_medium = _size(8, 512)  # 41.4 M
bert_base = _size(12, 768)  # 109.5 M
bert_large = _size(24, 1024)  # 335.1 M
bert_base_cased = _size(12, 768, vocab_size=28996)  # 108.3 M
bert_large_cased = _size(24, 1024, vocab_size=28996)  # 333.6 M
