"""T5: an encoder of text and a decoder that writes text, and their named sizes.

    model = t5_small()
    variables = jax.jit(model.init)(key, ids, decoder_ids)
    logits = model.apply(variables, ids, decoder_ids, mask).logits

    encoded = model.apply(variables, ids, mask, method="encode")
    memory = model.apply(variables, encoded, method="remember")    # keys and values
    cache = model.start_cache(batch, length)
    out = model.apply(variables, start, memory, mask, cache, method="decode")
    out = model.apply(variables, next_ids, memory, mask, out.cache, method="decode")

Positions are a bias by distance, learned once for all layers of each side; queries are
not divided by the root of their width. The sizes of v1.0 have ReLU and score words
with their table, those of v1.1 (and Flan-T5, mT5) a gated GELU and a kernel of their
own.

References:
    Raffel et al., 2019. T5. arXiv:1910.10683.
    Shazeer, 2020. GLU variants (v1.1: eq. 6). arXiv:2002.05202.
    Xue et al., 2020. mT5. arXiv:2010.11934.
    Chung et al., 2022. Flan-T5. arXiv:2210.11416.
"""

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from jaxml.models.language import causal
from jaxml.models.language.causal import CausalOutput
from jaxml.models.language.t5_blocks import Stack

__all__ = [
    "T5",
    "Reader",
    "T5Encoder",
    "T5Output",
    "flan_t5_base",
    "flan_t5_large",
    "flan_t5_small",
    "flan_t5_xl",
    "flan_t5_xxl",
    "mt5_base",
    "mt5_small",
    "t5_base",
    "t5_large",
    "t5_small",
    "t5_xl",
    "t5_xxl",
]

_fan_in = nn.initializers.variance_scaling(1.0, "fan_in", "normal")


class T5Output(NamedTuple):
    """What the whole network answers."""

    logits: Float[Array, "b t v"] | None
    last_hidden_state: Float[Array, "b t d"]  # of the decoder
    encoded: Float[Array, "b s d"]


class Reader(nn.Module):
    """The words and the encoder, which `T5Encoder` and `T5` share.

    Args:
        vocab_size: number of words.
        width: size of the vectors.
        depth: number of blocks of the encoder.
        heads: number of heads.
        head_dim: width of a head; heads times head_dim need not be the width.
        hidden: size of the feed-forward layer.
        activation: name in `jaxml.nn.activations`, or a function.
        gated: whether the feed-forward layer has a gate.
        buckets: how many ranges of distances have a bias.
        max_distance: from which distance on all share one.
        epsilon: added to the mean square in the norms.
        dropout: chance of a value to be dropped in training, from 0 to below 1.
        scan: whether the blocks are one program over stacked parameters.
        remat: None, "full" or the name of a policy of `jax.checkpoint_policies`.
        backend: of the attention, see `jaxml.ops.attention`.
        dtype: dtype of the computation; that of the parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    vocab_size: int = 32128
    width: int = 512
    depth: int = 6
    heads: int = 8
    head_dim: int = 64
    hidden: int = 2048
    activation: Any = "relu"
    gated: bool = False
    buckets: int = 32
    max_distance: int = 128
    epsilon: float = 1e-6
    dropout: float = 0.1
    scan: bool = False
    remat: str | None = None
    backend: str = "auto"
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def setup(self):
        self.shared = nn.Embed(
            self.vocab_size,
            self.width,
            embedding_init=nn.initializers.normal(1.0),
            dtype=self.dtype,
            param_dtype=self.param_dtype,
        )
        self.encoder = self.stack(decoder=False, depth=self.depth)

    def stack(self, decoder: bool, depth: int) -> nn.Module:
        """One side of the network."""
        return Stack(decoder=decoder, depth=depth, **self.side_fields())

    def side_fields(self) -> dict[str, Any]:
        """What both sides have in common."""
        own = set(Reader.__dataclass_fields__)
        own -= {"parent", "name", "vocab_size", "depth"}
        return {name: getattr(self, name) for name in own}

    def encode(
        self,
        ids: Int[Array, "b s"],
        mask: Bool[Array, "b s"] | None = None,
        *,
        train: bool = False,
    ) -> Float[Array, "b s d"]:
        """Vectors of every token that is read.

        Args:
            ids: tokens.
            mask: False for padding, which nothing then looks at.
            train: whether to drop values.

        Raises:
            ValueError: if the ids are no whole numbers [batch, time].
        """
        places = causal.places(ids, mask, None, None)
        options = places.options | {"causal": False}
        return self.encoder(self.shared(ids), options, train=train)[0]


class T5Encoder(Reader):
    """The encoder of T5 alone, for features of a text; fields are those of `Reader`."""

    def __call__(
        self,
        ids: Int[Array, "b s"],
        mask: Bool[Array, "b s"] | None = None,
        *,
        train: bool = False,
    ) -> Float[Array, "b s d"]:
        """The same as `encode`."""
        return self.encode(ids, mask, train=train)


class T5(Reader):
    """Encoder, decoder and scores of the words; fields beside those of `Reader`.

    Args:
        decoder_depth: number of blocks of the decoder; that of the encoder if None.
        tied: whether words are scored with their table instead of a kernel.
        scale_logits: whether the vectors are divided by the root of their width
            before.
    """

    decoder_depth: int | None = None
    tied: bool = True
    scale_logits: bool = True

    def setup(self):
        super().setup()
        self.decoder = self.stack(decoder=True, depth=self.decoder_blocks)
        if not self.tied:
            self.lm_head = nn.Dense(
                self.vocab_size,
                use_bias=False,
                kernel_init=_fan_in,
                dtype=self.dtype,
                param_dtype=self.param_dtype,
            )

    def __call__(
        self,
        ids: Int[Array, "b s"],
        decoder_ids: Int[Array, "b t"],
        mask: Bool[Array, "b s"] | None = None,
        decoder_mask: Bool[Array, "b t"] | None = None,
        *,
        train: bool = False,
    ) -> T5Output:
        """Scores of the next word at every place of what is written.

        Args:
            ids: tokens that are read.
            decoder_ids: tokens written so far; the first is the padding token.
            mask: False for padding among the first.
            decoder_mask: the same among the second.
            train: whether to drop values.

        Raises:
            ValueError: if the ids are no whole numbers [batch, time].
        """
        encoded = self.encode(ids, mask, train=train)
        out = self.decode(decoder_ids, encoded, mask, mask=decoder_mask, train=train)
        return T5Output(*out[:2], encoded)

    @property
    def decoder_blocks(self) -> int:
        """Number of blocks of the decoder."""
        return self.depth if self.decoder_depth is None else self.decoder_depth

    def remember(self, encoded: Float[Array, "b s d"]) -> PyTree:
        """Keys and values of the encoder's answer in every layer of the decoder.

        `decode` takes them in the place of the answer, and then need not compute them
        for each token again.
        """
        return self.decoder(encoded, encoded=encoded, project=True)[1]

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
            positions: of the tokens, with a cache; counted on if None.
            train: whether to drop values.

        Raises:
            ValueError: if the ids are no whole numbers [batch, time].
        """
        places = causal.places(decoder_ids, mask, positions, cache)
        prepared = not hasattr(encoded, "ndim")
        x, cache = self.decoder(
            self.shared(decoder_ids),
            places.options,
            encoded=None if prepared else encoded,
            memory=encoded if prepared else None,
            encoded_mask=encoded_mask,
            cache=cache,
            train=train,
        )
        y = x * self.width**-0.5 if self.scale_logits else x
        return CausalOutput(
            self.shared.attend(y) if self.tied else self.lm_head(y), x, cache
        )

    def start_cache(self, batch: int, length: int, dtype: Any = jnp.float32) -> PyTree:
        """A cache with nothing in it, for at most `length` tokens a row."""
        return causal.caches_of(
            self.decoder_blocks,
            batch,
            length,
            self.heads,
            self.head_dim,
            scan=self.scan,
            dtype=dtype,
        )


_v1: dict[str, Any] = {
    "gated": True,
    "activation": "gelu_tanh",
    "tied": False,
    "scale_logits": False,
}
_base: dict[str, Any] = {"width": 768, "hidden": 3072, "depth": 12, "heads": 12}
_large: dict[str, Any] = {"width": 1024, "hidden": 4096, "depth": 24, "heads": 16}
t5_small = T5  # 60.5 M parameters
t5_base = partial(T5, **_base)  # 222.9 M
t5_large = partial(T5, **_large)  # 737.7 M
t5_xl = partial(t5_large, hidden=16384, heads=32, head_dim=128)  # 2.85 G
t5_xxl = partial(t5_large, hidden=65536, heads=128, head_dim=128)  # 11.3 G
flan_t5_small = partial(T5, hidden=1024, depth=8, heads=6, **_v1)  # 77.0 M
flan_t5_base = partial(t5_base, **_v1 | {"hidden": 2048})  # 247.6 M
flan_t5_large = partial(t5_large, **_v1 | {"hidden": 2816})  # 783.2 M
flan_t5_xl = partial(flan_t5_large, width=2048, hidden=5120, heads=32)  # 2.85 G
flan_t5_xxl = partial(flan_t5_large, width=4096, hidden=10240, heads=64)  # 11.1 G
mt5_small = partial(flan_t5_small, vocab_size=250112)  # 300.2 M
mt5_base = partial(flan_t5_base, vocab_size=250112)  # 582.4 M
