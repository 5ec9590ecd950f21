"""Attention from a decoder to an encoder, whose half can be prepared once a text.

    cross = CrossAttention(heads=8, head_dim=64, features=512)
    memory = cross.project(encoded)                 # keys and values, once a text
    y = cross(x, memory, mask=encoded_mask)         # for each token
    x, cache = CrossBlock(...)(x, encoded=encoded, cache=Carried(cache, memory))

The weights are sown as "attention" into "intermediates" when the caller makes that
collection mutable, as those of `jaxml.nn.attention` are.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from jaxml.nn import cache as caches
from jaxml.nn import check
from jaxml.ops import attention

__all__ = ["Carried", "CrossAttention", "CrossBlock", "Memory", "carried"]


class Memory(NamedTuple):
    """Keys and values of the encoder's answer, with a leading axis where stacked."""

    key: Float[Array, "*layers b s n d"]
    value: Float[Array, "*layers b s n d"]


class Carried(NamedTuple):
    """What a layer of the decoder has at hand beside its input."""

    cache: caches.Cache | None
    memory: Memory | None


class CrossAttention(nn.Module):
    """Multi-head attention from one sequence to another.

    Args:
        heads: number of heads.
        head_dim: width of a head.
        features: of the result.
        scale: factor of the logits; head_dim^-1/2 if None.
        use_bias: whether the four layers have a bias.
        dropout: chance of an attention weight to be dropped in training.
        query_init: initialiser of the kernel of the queries.
        kernel_init: initialiser of the other kernels.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    heads: int
    head_dim: int
    features: int
    scale: float | None = None
    use_bias: bool = True
    dropout: float = 0.0
    query_init: Callable = nn.initializers.xavier_uniform()
    kernel_init: Callable = nn.initializers.xavier_uniform()
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def setup(self):
        def dense(features, init):
            return nn.Dense(
                features,
                use_bias=self.use_bias,
                kernel_init=init,
                dtype=self.dtype,
                param_dtype=self.param_dtype,
            )

        inner = self.heads * self.head_dim
        self.query = dense(inner, self.query_init)
        self.key = dense(inner, self.kernel_init)
        self.value = dense(inner, self.kernel_init)
        self.out = dense(self.features, self.kernel_init)
        self.drop = nn.Dropout(self.dropout)

    def project(self, context: Float[Array, "b s c"]) -> Memory:
        """Keys and values of what is looked at."""
        by_head = lambda y: y.reshape(*y.shape[:2], self.heads, self.head_dim)
        return Memory(by_head(self.key(context)), by_head(self.value(context)))

    def __call__(
        self,
        x: Float[Array, "b t f"],
        memory: Memory,
        *,
        mask: Bool[Array, "#b #n #t _s"] | None = None,
        train: bool = False,
    ) -> Float[Array, "b t _o"]:
        """What each place of `x` finds in the memory; `mask` is True where it may look.

        Args:
            x: what asks.
            memory: what `project` made of the other sequence.
            mask: True where a query may look.
            train: whether attention weights are dropped (rng "dropout").
        """
        query = self.query(x)
        query = query.reshape(*query.shape[:2], self.heads, self.head_dim)
        key, value = (y.astype(query.dtype) for y in memory)
        options: dict[str, Any] = {"mask": mask, "scale": self.scale}
        shown = self.is_mutable_collection("intermediates")
        if shown or (train and self.dropout > 0):
            weights = attention.probabilities(query, key, **options)
            self.sow("intermediates", "attention", weights)
            weights = self.drop(weights, deterministic=not train)
            y = jnp.einsum("bnts,bsnd->btnd", weights.astype(value.dtype), value)
        else:
            y = attention.attend(query, key, value, **options)
        return self.out(y.reshape(*y.shape[:2], -1))


class CrossBlock(nn.Module):
    """Attention, attention to the encoder, feed-forward, each beside a shortcut.

    As `jaxml.nn.blocks.Block`, for a stack whose layers may hold a memory.

    Args:
        attention: maker of the self-attention, given a name.
        feed_forward: maker of the feed-forward network, given a name.
        norm: maker of a norm, given a name.
        cross_attention: maker of a `CrossAttention`, given a name; None in an encoder.
        norm_position: "pre" (norm of what enters each part) or "post" (norm of the sum
            with the shortcut).
        dropout: chance of a feature of each part to be dropped in training.
    """

    attention: Callable
    feed_forward: Callable
    norm: Callable
    cross_attention: Callable | None = None
    norm_position: str = "pre"
    dropout: float = 0.0

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b t f"],
        *,
        cache: Carried | None = None,
        encoded: Float[Array, "b _s _c"] | None = None,
        encoded_mask: Bool[Array, "b 1 1 _s"] | None = None,
        mask: Bool[Array, "#b #n #t _k"] | None = None,
        bias: Float[Array, "#b #n #t _k"] | None = None,
        causal: bool = False,
        positions: Int[Array, "b t"] | None = None,
        project: bool = False,
        train: bool = False,
    ) -> tuple[Float[Array, "b t f"], Any]:
        """Apply the block.

        Args:
            x: what enters.
            cache: keys and values read before, and those of the encoder.
            encoded: the encoder's answer, where the memory does not hold it.
            encoded_mask: False where that is padding.
            mask: of the self-attention.
            bias: of the self-attention.
            causal: of the self-attention.
            positions: of the tokens, for the cache.
            project: whether to do no more than prepare the memory.
            train: whether to drop (rng "dropout").

        Returns:
            What leaves, and the cache with the new tokens (the memory, if projected).
        """
        check.one_of(self.norm_position, ("pre", "post"), "norm_position")
        held, memory = cache or Carried(None, None)
        look: Any = None
        if self.cross_attention is not None:
            look = self.cross_attention(name="cross_attention")
        if project:
            return x, look.project(encoded)

        def beside(x, name, part):
            norm = self.norm(name=f"{name}_norm")
            y = part(norm(x) if self.norm_position == "pre" else x)
            y = x + nn.Dropout(self.dropout)(y, deterministic=not train)
            return y if self.norm_position == "pre" else norm(y)

        def attend(y):
            nonlocal held
            y, held = self.attention(name="attention")(
                y,
                mask=mask,
                bias=bias,
                causal=causal,
                positions=positions,
                cache=held,
                train=train,
            )
            return y

        def recall(y):
            known = look.project(encoded) if memory is None else memory
            return look(y, known, mask=encoded_mask, train=train)

        x = beside(x, "attention", attend)
        if look is not None:
            x = beside(x, "cross_attention", recall)
        forward = lambda y: self.feed_forward(name="feed_forward")(y, train=train)
        return beside(x, "feed_forward", forward), held


def carried(cache: PyTree, memory: PyTree, depth: int, scan: bool) -> PyTree:
    """What `jaxml.nn.depth.repeat` hands to each layer: its cache and its memory.

    Args:
        cache: caches of all layers, or None.
        memory: memories of all layers, or None.
        depth: number of layers.
        scan: whether they are scanned, so that both have a leading axis of layers.
    """
    if scan:
        return Carried(cache, memory)
    nothing = (None,) * depth
    pairs = zip(cache or nothing, memory or nothing, strict=True)
    return tuple(Carried(*pair) for pair in pairs)
