"""One side of T5: its blocks and the norm after them.

    x, cache = Stack(decoder=True, depth=6, ...)(x, options, encoded=encoded)

References:
    Raffel et al., 2019. T5 (section 2.1). arXiv:1910.10683.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

from jaxml.models.language.cross_attention import (
    CrossAttention,
    CrossBlock,
    carried,
)
from jaxml.nn import cache as caches
from jaxml.nn import depth as depths
from jaxml.nn.attention import Attention
from jaxml.nn.feed_forward import FeedForward, GatedFeedForward
from jaxml.nn.positions import RelativeBias

__all__ = ["Stack"]

_fan_in = nn.initializers.variance_scaling(1.0, "fan_in", "normal")


class Stack(nn.Module):
    """The blocks of one side, and a norm after them.

    Args:
        decoder: whether it looks back only, and at the encoder.
        depth: number of blocks.
        width: size of the vectors.
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

    decoder: bool
    depth: int
    width: int
    heads: int
    head_dim: int
    hidden: int
    activation: Any
    gated: bool
    buckets: int
    max_distance: int
    epsilon: float
    dropout: float
    scan: bool
    remat: str | None
    backend: str
    dtype: Any
    param_dtype: Any

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b t d"],
        options: Mapping[str, Any] = {},
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
        x = nn.Dropout(self.dropout, name="drop_words")(x, deterministic=not train)
        if encoded_mask is not None:
            encoded_mask = encoded_mask[:, None, None, :]
        x, cache = run(
            x,
            cache=carried(cache, memory, self.depth, self.scan),
            encoded=encoded if memory is None else None,
            encoded_mask=encoded_mask,
            bias=self._bias(cache, options["positions"]),
            train=train,
            **options,
        )
        x = self._norm(name="norm")(x)
        self.sow("intermediates", "hidden_states", x)
        x = nn.Dropout(self.dropout, name="drop_last")(x, deterministic=not train)
        return x, cache

    @property
    def _dtypes(self):
        return {"dtype": self.dtype, "param_dtype": self.param_dtype}

    @property
    def _norm(self):
        return partial(nn.RMSNorm, epsilon=self.epsilon, **self._dtypes)

    def _bias(self, cache, positions):
        """The bias of this side [b or 1, heads, queries, keys], for all its layers."""
        if cache is None:  # distances are the same from wherever one counts
            positions = keys = jnp.arange(positions.shape[1])[None]
        else:
            first = cache if self.scan else cache[0]
            if self.scan:
                first = jax.tree.map(lambda leaf: leaf[0], first)
            keys = caches.positions_after(first, positions)
        return RelativeBias(
            self.heads,
            self.buckets,
            self.max_distance,
            bidirectional=not self.decoder,
            embedding_init=nn.initializers.normal(self.width**-0.5),
            param_dtype=self.param_dtype,
            name="relative_bias",
        )(positions, keys)

    def _block(self):
        """Maker of a block.

        The paper draws queries smaller by the root of their width. Where queries, keys
        and values share an initialiser, a fourth root on each, taken back on the way
        out, starts logits and result at the same size.
        """
        root = self.head_dim**0.5
        scaled = partial(
            nn.initializers.variance_scaling, mode="fan_in", distribution="normal"
        )
        attention = partial(
            Attention,
            heads=self.heads,
            head_dim=self.head_dim,
            qkv_bias=False,
            out_bias=False,
            dropout=self.dropout,
            scale=1.0,
            backend=self.backend,
            kernel_init=scaled(1 / root),
            out_init=scaled(root),
            **self._dtypes,
        )
        cross = partial(
            CrossAttention,
            heads=self.heads,
            head_dim=self.head_dim,
            features=self.width,
            scale=1.0,
            use_bias=False,
            dropout=self.dropout,
            query_init=scaled(1 / self.head_dim),
            kernel_init=_fan_in,
            **self._dtypes,
        )
        return partial(
            CrossBlock,
            attention=attention,
            feed_forward=partial(
                GatedFeedForward if self.gated else FeedForward,
                self.hidden,
                activation=self.activation,
                dropout=self.dropout,
                use_bias=False,
                kernel_init=_fan_in,
                **self._dtypes,
            ),
            norm=self._norm,
            cross_attention=cross if self.decoder else None,
            dropout=self.dropout,
        )
