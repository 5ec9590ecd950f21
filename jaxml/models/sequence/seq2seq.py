"""Encoder and decoder, recurrent, with additive or multiplicative attention.

    model = Seq2Seq(source_tokens=1000, target_tokens=1000, features=512)
    logits = model.apply(variables, source, target[:, :-1], source_mask=mask)
    tokens = translate.greedy(model, variables, source, start=1, end=2, steps=50).tokens

The decoder is fed the target, one step behind what it predicts (teacher forcing), or,
with `teacher` below 1, sometimes its own best guess instead (scheduled sampling).
Letters: b batch, s source steps, t target steps, e features of an encoder state, h of a
decoder state, k target tokens.

References:
    Sutskever, Vinyals and Le, 2014. Sequence to sequence learning. arXiv:1409.3215.
    Bahdanau, Cho and Bengio, 2014. Neural machine translation by jointly learning to
    align and translate. arXiv:1409.0473 (additive attention: appendix A.1.2).
    Luong, Pham and Manning, 2015. Effective approaches. arXiv:1508.04025 (eq. 5, 7, 8).
    Bengio et al., 2015. Scheduled sampling. arXiv:1506.03099.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from jaxml.nn import cells, check
from jaxml.nn.recurrent import Recurrent

__all__ = ["Memory", "Seq2Seq", "attention_weights"]


class Memory(NamedTuple):
    """What the decoder knows of the source."""

    states: Float[Array, "b s e"]
    keys: Float[Array, "b s h"] | None  # what a score compares the decoder's state to
    mask: Bool[Array, "b s"] | None  # False for padding
    carry: PyTree  # where the decoder begins


class Seq2Seq(nn.Module):
    """Encoder in both directions, bridge, decoder with attention.

    Args:
        source_tokens: size of the source's vocabulary.
        target_tokens: size of the target's vocabulary.
        embedding: size of the embeddings.
        features: hidden size of the decoder.
        encoder_features: hidden size of each direction of the encoder.
        cell: maker of the cells, such as `GRUCell`.
        attention: "bahdanau" (before the cell, which sees the context), "luong" (after
            it, by a bilinear score) or "none".
        bidirectional: whether the encoder also runs backward.
        dropout: chance of an embedded value to be dropped in training.
        dtype: dtype of the computation; that of the parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    source_tokens: int
    target_tokens: int
    embedding: int = 128
    features: int = 512
    encoder_features: int = 256
    cell: Callable[..., cells.Cell] = cells.LSTMCell
    attention: str = "bahdanau"
    bidirectional: bool = True
    dropout: float = 0.0
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def setup(self):
        check.one_of(self.attention, ("bahdanau", "luong", "none"), "attention")
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        self.source_embedding = nn.Embed(self.source_tokens, self.embedding, **dtypes)
        self.encoder = Recurrent(
            self.cell,
            self.encoder_features,
            bidirectional=self.bidirectional,
            **dtypes,
        )
        if self.attention != "none":
            bias = self.attention == "bahdanau"
            self.key = nn.Dense(self.features, use_bias=bias, **dtypes)
        pair = self.cell(features=1, parent=None).pair
        self.bridge = nn.Dense((1 + pair) * self.features, **dtypes)
        self.drop = nn.Dropout(self.dropout)
        self.decoder = _Decoder(
            tokens=self.target_tokens,
            embedding=self.embedding,
            features=self.features,
            cell=self.cell,
            attention=self.attention,
            dropout=self.dropout,
            **dtypes,
        )

    def __call__(
        self,
        source: Int[Array, "b s"],
        target: Int[Array, "b t"],
        *,
        source_mask: Bool[Array, "b s"] | None = None,
        teacher: float | Float[Array, ""] = 1.0,
        train: bool = False,
    ) -> Float[Array, "b t k"]:
        """Logits of the token after each of the target's.

        Args:
            source: tokens to be translated.
            target: tokens that the decoder is fed, the start token first.
            source_mask: False for padding of the source.
            teacher: chance of a token of `target` to be fed, rather than the decoder's
                best guess; the first always is. Below 1 it asks for the rng "sample".
            train: whether dropout is on.

        Raises:
            ValueError: if the tokens are no integers [batch, time], or there is none.
        """
        memory = self.encode(source, source_mask=source_mask, train=train)
        return self.decode(target, memory, teacher=teacher, train=train)[0]

    def encode(
        self,
        source: Int[Array, "b s"],
        *,
        source_mask: Bool[Array, "b s"] | None = None,
        train: bool = False,
    ) -> Memory:
        """What the decoder needs of the source; arguments as of the call."""
        _check_tokens(source, "source")
        embedded = self.drop(self.source_embedding(source), deterministic=not train)
        states, ended = self.encoder(embedded, mask=source_mask, train=train)
        parts = zip(*ended, strict=True) if isinstance(ended[0], tuple) else [ended]
        joined = [jnp.concatenate(part, axis=-1) for part in parts]
        # the hidden state first: it alone decides where the cell has no memory
        carry = jnp.tanh(self.bridge(jnp.concatenate(joined, axis=-1)))
        hidden, *memory = jnp.split(carry, carry.shape[-1] // self.features, axis=-1)
        keys = None if self.attention == "none" else self.key(states)
        return Memory(
            states, keys, source_mask, (hidden, *memory) if memory else hidden
        )

    def decode(
        self,
        target: Int[Array, "b t"],
        memory: Memory,
        carry: PyTree = None,
        *,
        teacher: float | Float[Array, ""] = 1.0,
        train: bool = False,
    ) -> tuple[Float[Array, "b t k"], PyTree]:
        """Logits after each token, and the carry to go on from.

        Args:
            target: tokens that the decoder is fed.
            memory: of `encode`.
            carry: of a call before, to go on from; that of the memory if None.
            teacher: as of the call.
            train: whether dropout is on.
        """
        _check_tokens(target, "target")
        fed = jnp.ones(target.shape, bool)
        if not isinstance(teacher, int | float) or teacher < 1:
            coin = jax.random.bernoulli(self.make_rng("sample"), teacher, target.shape)
            fed = coin.at[:, 0].set(True)
        if carry is None:
            hidden = jax.tree.leaves(memory.carry)[0]
            carry = memory.carry, jnp.zeros_like(hidden)
        guess = jnp.zeros(len(target), target.dtype)
        loop = nn.scan(
            lambda module, carry, now: module(carry, *now, memory, train),
            variable_broadcast="params",
            variable_axes={"intermediates": 1},
            split_rngs={"params": False, "dropout": True},
            in_axes=1,
            out_axes=1,
        )
        (carry, _), logits = loop(self.decoder, (carry, guess), (target, fed))
        return logits, carry


class _Decoder(nn.Module):
    """One step of the decoder; the fields are those of `Seq2Seq`."""

    tokens: int
    embedding: int
    features: int
    cell: Callable[..., cells.Cell]
    attention: str
    dropout: float
    dtype: Any
    param_dtype: Any

    @nn.compact
    def __call__(self, carry, token, fed, memory, train):
        (state, attended), guess = carry
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        token = jnp.where(fed, token, guess)
        x = nn.Embed(self.tokens, self.embedding, name="embedding", **dtypes)(token)
        x = nn.Dropout(self.dropout)(x, deterministic=not train)
        cell = self.cell(features=self.features, name="cell", **dtypes)
        before = state[0] if cell.pair else state
        if self.attention == "bahdanau":
            query = nn.Dense(self.features, use_bias=False, name="query", **dtypes)
            both = jnp.tanh(query(before)[:, None] + memory.keys)
            score = nn.Dense(1, use_bias=False, name="score", **dtypes)(both)[..., 0]
            context = self._context(score, memory)
            state, hidden = cell(state, jnp.concatenate([x, context], axis=-1))
            seen = jnp.concatenate([hidden, context, x], axis=-1)
        elif self.attention == "luong":
            state, hidden = cell(state, jnp.concatenate([x, attended], axis=-1))
            score = jnp.einsum("bh,bsh->bs", hidden, memory.keys)  # eq. 8, general
            both = jnp.concatenate([self._context(score, memory), hidden], axis=-1)
            mix = nn.Dense(self.features, use_bias=False, name="mix", **dtypes)
            attended = seen = jnp.tanh(mix(both))  # eq. 5; the next step sees it
        else:
            state, seen = cell(state, x)
        logits = nn.Dense(self.tokens, name="head", **dtypes)(seen)
        return ((state, attended), logits.argmax(-1).astype(guess.dtype)), logits

    def _context(self, score, memory):
        weights = attention_weights(score, memory.mask)
        self.sow("intermediates", "attention", weights)
        return jnp.einsum("bs,bse->be", weights, memory.states)


def attention_weights(
    score: Float[Array, "b s"], mask: Bool[Array, "b s"] | None = None
) -> Float[Array, "b s"]:
    """Softmax over what is real, in float32; a row without any gets zeros.

    >>> attention_weights(jnp.zeros((1, 3)), jnp.array([[True, True, False]]))
    Array([[0.5, 0.5, 0. ]], dtype=float32)
    """
    wide = score.astype(jnp.promote_types(score.dtype, jnp.float32))
    weights = jax.nn.softmax(wide, axis=-1, where=mask)
    if mask is not None:
        weights = jnp.where(mask, weights, 0)
    return weights.astype(score.dtype)


def _check_tokens(tokens, what):
    if tokens.ndim != 2 or not jnp.issubdtype(tokens.dtype, jnp.integer):
        raise ValueError(
            f"{what} must be integer tokens [batch, time]; got {tokens.dtype} "
            f"{list(tokens.shape)}"
        )
    if 0 in tokens.shape:
        raise ValueError(
            f"{what} must have at least one row and one step; got {list(tokens.shape)}"
        )
