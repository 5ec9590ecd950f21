"""BART: an encoder and a decoder that normalise after each addition.

    model = bart_base()
    variables = jax.jit(model.init)(key, ids, decoder_ids)
    logits = model.apply(variables, ids, decoder_ids, mask).logits

    encoded = model.apply(variables, ids, mask, method="encode")
    memory = model.apply(variables, encoded, method="remember")    # keys and values
    cache = model.start_cache(batch, length)
    out = model.apply(variables, start, memory, mask, cache, method="decode")

Positions are learned and counted from the left, so padding stands on the right (or
positions are given). Their tables have two rows that are never read, as released.

References:
    Lewis et al., 2019. BART. arXiv:1910.13461.
"""

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from jaxml.models.language import causal
from jaxml.models.language.bart_blocks import Side
from jaxml.models.language.causal import CausalOutput

__all__ = ["Bart", "BartOutput", "bart_base", "bart_large"]

_normal = nn.initializers.normal(0.02)


class BartOutput(NamedTuple):
    """What the whole network answers."""

    logits: Float[Array, "b t v"] | None
    last_hidden_state: Float[Array, "b t d"]  # of the decoder
    encoded: Float[Array, "b s d"]


class Bart(nn.Module):
    """Encoder, decoder and scores of the words, which are products with their table.

    Args:
        vocab_size: number of words.
        width: size of the vectors.
        depth: number of blocks of the encoder.
        decoder_depth: number of blocks of the decoder; that of the encoder if None.
        heads: number of heads; they divide the width.
        decoder_heads: the same of the decoder; those of the encoder if None.
        hidden: size of the feed-forward layer.
        decoder_hidden: the same of the decoder; that of the encoder if None.
        max_positions: longest text on either side.
        activation: name in `jaxml.nn.activations`, or a function.
        scale_embedding: whether the words are multiplied by the root of the width.
        epsilon: added to the variance in the norms.
        dropout: chance of a value to be dropped in training, from 0 to below 1.
        attention_dropout: the same for an attention weight.
        hidden_dropout: the same inside the feed-forward layer.
        scan: whether the blocks are one program over stacked parameters.
        remat: None, "full" or the name of a policy of `jax.checkpoint_policies`.
        backend: of the attention, see `jaxml.ops.attention`.
        dtype: dtype of the computation; that of the parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    vocab_size: int = 50265
    width: int = 768
    depth: int = 6
    decoder_depth: int | None = None
    heads: int = 12
    decoder_heads: int | None = None
    hidden: int = 3072
    decoder_hidden: int | None = None
    max_positions: int = 1024
    activation: Any = "gelu"
    scale_embedding: bool = False
    epsilon: float = 1e-5
    dropout: float = 0.1
    attention_dropout: float = 0.0
    hidden_dropout: float = 0.0
    scan: bool = False
    remat: str | None = None
    backend: str = "auto"
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def setup(self):
        self.shared = nn.Embed(
            self.vocab_size,
            self.width,
            embedding_init=_normal,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
        )
        # The released files hold it, and no training moves it.
        self.logits_bias = self.variable(
            "buffers",
            "logits_bias",
            lambda: jnp.zeros((1, self.vocab_size), self.param_dtype),
        )
        own = Side.__dataclass_fields__.keys() & Bart.__dataclass_fields__.keys()
        fields = {k: getattr(self, k) for k in own - {"parent", "name"}}
        self.encoder = Side(decoder=False, **fields)
        depth, heads, hidden = self.decoder_sizes
        fields |= {"depth": depth, "heads": heads, "hidden": hidden}
        self.decoder = Side(decoder=True, **fields)

    @property
    def decoder_sizes(self) -> tuple[int, int, int]:
        """Depth, heads and hidden of the decoder."""
        own = self.decoder_depth, self.decoder_heads, self.decoder_hidden
        other = self.depth, self.heads, self.hidden
        depth, heads, hidden = (
            b if a is None else a for a, b in zip(own, other, strict=True)
        )
        return depth, heads, hidden

    def __call__(
        self,
        ids: Int[Array, "b s"],
        decoder_ids: Int[Array, "b t"],
        mask: Bool[Array, "b s"] | None = None,
        decoder_mask: Bool[Array, "b t"] | None = None,
        *,
        train: bool = False,
    ) -> BartOutput:
        """Scores of the next word at every place of what is written.

        Args:
            ids: tokens that are read.
            decoder_ids: tokens written so far; the first is the one that ends a text.
            mask: False for padding among the first.
            decoder_mask: the same among the second.
            train: whether to drop values.

        Raises:
            ValueError: if the ids are no whole numbers [batch, time], or a text is
                longer than the table of positions.
        """
        encoded = self.encode(ids, mask, train=train)
        out = self.decode(decoder_ids, encoded, mask, mask=decoder_mask, train=train)
        return BartOutput(*out[:2], encoded)

    def encode(
        self,
        ids: Int[Array, "b s"],
        mask: Bool[Array, "b s"] | None = None,
        *,
        positions: Int[Array, "#b s"] | None = None,
        train: bool = False,
    ) -> Float[Array, "b s d"]:
        """Vectors of every token that is read.

        Args:
            ids: tokens.
            mask: False for padding, which nothing then looks at.
            positions: of the tokens; counted from the left if None.
            train: whether to drop values.

        Raises:
            ValueError: if the ids are no whole numbers [batch, time], or the text is
                longer than the table of positions.
        """
        options = causal.places(ids, mask, None, None).options | {"causal": False}
        if positions is None:
            positions = self._count(ids)
        return self.encoder(self._words(ids), positions, options, train=train)[0]

    def remember(self, encoded: Float[Array, "b s d"]) -> PyTree:
        """Keys and values of the encoder's answer in every layer of the decoder.

        `decode` takes them in the place of the answer, and then need not compute them
        for each token again.
        """
        nowhere = jnp.zeros((1, encoded.shape[1]), jnp.int32)
        return self.decoder(encoded, nowhere, {}, encoded=encoded, project=True)[1]

    def decode(
        self,
        decoder_ids: Int[Array, "b t"],
        encoded: Float[Array, "b s d"] | PyTree,
        encoded_mask: Bool[Array, "b s"] | None = None,
        cache: PyTree = None,
        *,
        mask: Bool[Array, "b t"] | None = None,
        positions: Int[Array, "b t"] | None = None,
        train: bool = False,
    ) -> CausalOutput:
        """Scores of the next word, from the encoder's answer.

        Args:
            decoder_ids: tokens written so far, or, with a cache, the new ones.
            encoded: what `encode` answered, or what `remember` made of it.
            encoded_mask: False where that is padding.
            cache: what was written before, from `start_cache` or the last call.
            mask: False for padding among `decoder_ids`.
            positions: of the tokens; counted on if None.
            train: whether to drop values.

        Raises:
            ValueError: if the ids are no whole numbers [batch, time], or the text is
                longer than the table of positions.
        """
        places = causal.places(decoder_ids, mask, positions, cache)
        if positions is None:
            fresh = self._count(decoder_ids)
            positions = fresh if cache is None else places.positions
        prepared = not hasattr(encoded, "ndim")
        x, cache = self.decoder(
            self._words(decoder_ids),
            positions,
            places.options,
            encoded=None if prepared else encoded,
            memory=encoded if prepared else None,
            encoded_mask=encoded_mask,
            cache=cache,
            train=train,
        )
        bias = self.logits_bias.value[None].astype(x.dtype)
        return CausalOutput(self.shared.attend(x) + bias, x, cache)

    def start_cache(self, batch: int, length: int, dtype: Any = jnp.float32) -> PyTree:
        """A cache with nothing in it, for at most `length` tokens a row."""
        depth, heads, _ = self.decoder_sizes
        return causal.caches_of(
            depth,
            batch,
            length,
            heads,
            self.width // heads,
            scan=self.scan,
            dtype=dtype,
        )

    def _words(self, ids):
        x = self.shared(ids)
        return x * self.width**0.5 if self.scale_embedding else x

    def _count(self, ids):
        if ids.shape[1] > self.max_positions:
            raise ValueError(
                f"a text must have at most {self.max_positions} tokens, the length of "
                f"the table of positions; got {ids.shape[1]}"
            )
        return jnp.arange(ids.shape[1])[None]


bart_base = Bart  # 139.5 M parameters
bart_large = partial(Bart, width=1024, depth=12, heads=16, hidden=4096)  # 406.3 M
