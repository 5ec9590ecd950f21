"""One side of BART: its positions and its blocks.

    x, cache = Side(decoder=True, depth=6, ...)(words, positions, options, encoded=y)

References:
    Lewis et al., 2019. BART. arXiv:1910.13461.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import flax.linen as nn
from jaxtyping import Array, Bool, Float, Int, PyTree

from jaxml.models.language.cross_attention import (
    CrossAttention,
    CrossBlock,
    carried,
)
from jaxml.nn import depth as depths
from jaxml.nn.attention import Attention
from jaxml.nn.feed_forward import FeedForward

__all__ = ["Side"]

_normal = nn.initializers.normal(0.02)
_OFFSET = 2  # rows of the tables of positions that are never read


class Side(nn.Module):
    """Positions, a norm and the blocks of one side.

    Args:
        decoder: whether it looks back only, and at the encoder.
        depth: number of blocks.
        width: size of the vectors.
        heads: number of heads; they divide the width.
        hidden: size of the feed-forward layer.
        max_positions: longest text.
        activation: name in `jaxml.nn.activations`, or a function.
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

    decoder: bool
    depth: int
    width: int
    heads: int
    hidden: int
    max_positions: int
    activation: Any
    epsilon: float
    dropout: float
    attention_dropout: float
    hidden_dropout: float
    scan: bool
    remat: str | None
    backend: str
    dtype: Any
    param_dtype: Any

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b t d"],
        positions: Int[Array, "#b t"],
        options: Mapping[str, Any],
        *,
        encoded: Float[Array, "b _s d"] | None = None,
        memory: PyTree = None,
        encoded_mask: Bool[Array, "b _s"] | None = None,
        cache: PyTree = None,
        project: bool = False,
        train: bool = False,
    ) -> tuple[Float[Array, "b t d"], PyTree]:
        """Vectors of every token, and the caches.

        Args:
            x: vectors of the words.
            positions: of the words in the text.
            options: of the self-attention: causal, positions, and mask if there is no
                cache.
            encoded: the encoder's answer, for a decoder without `memory`.
            memory: keys and values of it, layer by layer.
            encoded_mask: False where that is padding.
            cache: keys and values read before, layer by layer.
            project: whether to answer with the memory of `encoded` instead.
            train: whether to drop values.
        """
        run = depths.repeat(
            self._block(),
            self.depth,
            scan=self.scan,
            remat=self.remat,
            record=None if project else depths.recorder(self),
        )
        if project:
            handed = carried(None, None, self.depth, self.scan)
            return run(x, cache=handed, encoded=encoded, project=True)
        table = nn.Embed(
            self.max_positions + _OFFSET,
            self.width,
            embedding_init=_normal,
            name="position",
            **self._dtypes,
        )
        x = self._norm(name="norm")(x + table(positions + _OFFSET))
        x = nn.Dropout(self.dropout, name="drop")(x, deterministic=not train)
        if encoded_mask is not None:
            encoded_mask = encoded_mask[:, None, None, :]
        x, cache = run(
            x,
            cache=carried(cache, memory, self.depth, self.scan),
            encoded=encoded if memory is None else None,
            encoded_mask=encoded_mask,
            train=train,
            **options,
        )
        self.sow("intermediates", "hidden_states", x)
        return x, cache

    @property
    def _dtypes(self):
        return {"dtype": self.dtype, "param_dtype": self.param_dtype}

    @property
    def _norm(self):
        return partial(
            nn.LayerNorm,
            epsilon=self.epsilon,
            use_fast_variance=False,
            **self._dtypes,
        )

    def _block(self):
        attention = partial(
            Attention,
            heads=self.heads,
            dropout=self.attention_dropout,
            backend=self.backend,
            kernel_init=_normal,
            **self._dtypes,
        )
        cross = partial(
            CrossAttention,
            heads=self.heads,
            head_dim=self.width // self.heads,
            features=self.width,
            dropout=self.attention_dropout,
            query_init=_normal,
            kernel_init=_normal,
            **self._dtypes,
        )
        forward = partial(
            FeedForward,
            self.hidden,
            activation=self.activation,
            dropout=self.hidden_dropout,
            kernel_init=_normal,
            **self._dtypes,
        )
        return partial(
            CrossBlock,
            attention=attention,
            feed_forward=forward,
            norm=self._norm,
            cross_attention=cross if self.decoder else None,
            norm_position="post",
            dropout=self.dropout,
        )
