"""Multi-head attention as a module: grouped heads, rotary positions, a cache.

    y, _ = Attention(heads=12, name="attention")(x, mask=mask, train=train)
    y, cache = Attention(heads=32, kv_heads=8, rotary=rotary)(x, cache=cache)
    y, _ = Attention(heads=8, name="cross_attention")(x, context, mask=context_mask)

The attention weights are sown as "attention" into "intermediates" when the caller makes
that collection mutable; they are not held otherwise.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxml.nn import cache as caches
from jaxml.nn import rotary as rotaries
from jaxml.ops import attention, attention_logits

__all__ = ["Attention"]


class Attention(nn.Module):
    """Project, compare, average, project.

    Args:
        heads: number of query heads.
        kv_heads: number of heads of keys and values, a divisor of `heads`; 1 is
            multi-query attention; `heads` if None.
        head_dim: width of a head; the features of the input by `heads` if None.
        features: features of the result; those of the input if None.
        qkv_bias: whether query, key and value have a bias: all, or each.
        out_bias: whether the last projection has a bias.
        dropout: chance of an attention weight to be dropped in training.
        scale: factor of the logits; head_dim^-1/2 if None.
        softcap: c of c·tanh(logit / c); none if None.
        window: how many positions a query sees, its own included; all if None.
        rotary: settings of rotary positions; none if None.
        qk_norm: maker of a norm over each head of queries and keys, given a name.
        backend: as for `jaxml.ops.attention.attend`.
        kernel_init: initialiser of the projections.
        out_init: initialiser of the last one; `kernel_init` if None.
        dtype: dtype of the computation; that of input and parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    heads: int
    kv_heads: int | None = None
    head_dim: int | None = None
    features: int | None = None
    qkv_bias: bool | tuple[bool, bool, bool] = True
    out_bias: bool = True
    dropout: float = 0.0
    scale: float | None = None
    softcap: float | None = None
    window: int | None = None
    rotary: rotaries.Rotary | None = None
    qk_norm: Callable | None = None
    backend: str = "auto"
    kernel_init: Callable = nn.initializers.xavier_uniform()
    out_init: Callable | None = None
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b t f"],
        context: Float[Array, "b _s _c"] | None = None,
        *,
        mask: Bool[Array, "#b #n #t _k"] | None = None,
        bias: Float[Array, "#b #n #t _k"] | None = None,
        causal: bool = False,
        positions: Int[Array, "#b t"] | None = None,
        cache: caches.Cache | None = None,
        train: bool = False,
    ) -> tuple[Float[Array, "b t _o"], caches.Cache | None]:
        """Attend from `x` to `context`, to the cache and `x`, or to `x` itself.

        Args:
            x: what asks.
            context: what is looked at; `x` if None.
            mask: True where a query may look; with a cache, over its slots as they are
                after this call (which by themselves hide padding and what comes later).
            bias: added to the logits, over the same keys as the mask.
            causal: whether no query looks ahead; with a cache, none ever does.
            positions: of the tokens of `x`, -1 for padding that the cache shall not
                keep; counted on from what the cache has read if None.
            cache: keys and values read before.
            train: whether attention weights are dropped (rng "dropout").

        Returns:
            The result, and the cache with the tokens of `x` (None without one).

        Raises:
            ValueError: if the heads do not divide, or a cache meets a context.
        """
        self._check(x, context, cache)
        query, key, value = self._project(x, x if context is None else context)
        if positions is None and (self.rotary is not None or cache is not None):
            read = 0 if cache is None else cache.length[:, None]
            positions = jnp.arange(x.shape[1], dtype=jnp.int32)[None] + read
        if self.rotary is not None and context is None and positions is not None:
            query = rotaries.apply(self.rotary, query, positions)
            key = rotaries.apply(self.rotary, key, positions)
        options: dict[str, Any] = {"causal": causal, "window": self.window}
        if cache is not None:
            key, value, mask, cache = self._remember(key, value, mask, positions, cache)
            options = {"causal": False, "window": None}  # the mask says it all
        options |= {"scale": self.scale, "softcap": self.softcap}
        y = self._attend(query, key, value, train, mask=mask, bias=bias, **options)
        out = nn.Dense(
            x.shape[-1] if self.features is None else self.features,
            use_bias=self.out_bias,
            kernel_init=self.out_init or self.kernel_init,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            name="out",
        )(y.reshape(*y.shape[:2], -1))
        return out, cache

    def _project(self, x, source):
        """Queries, keys and values by head, normalised if so told."""
        width = self.head_dim or x.shape[-1] // self.heads
        biased = self.qkv_bias
        biased = (biased,) * 3 if isinstance(biased, bool) else biased
        counts = (self.heads, *(self.kv_heads or self.heads,) * 2)
        made = []
        for name, count, use_bias, of in zip(
            ("query", "key", "value"), counts, biased, (x, source, source), strict=True
        ):
            y = nn.Dense(
                count * width,
                use_bias=use_bias,
                kernel_init=self.kernel_init,
                dtype=self.dtype,
                param_dtype=self.param_dtype,
                name=name,
            )(of)
            made.append(y.reshape(*y.shape[:2], count, width))
        query, key, value = made
        if self.qk_norm is not None:
            query = self.qk_norm(name="query_norm")(query)
            key = self.qk_norm(name="key_norm")(key)
        return query, key, value

    def _remember(self, key, value, mask, positions, cache):
        """Keys, values and mask with what the cache holds, and the new cache."""
        positions = jnp.broadcast_to(positions, key.shape[:2])
        new = caches.append(cache, key, value, positions)
        if self.window is None or key.shape[1] == 1:
            held = new
        else:
            # The last tokens of the piece may take slots that its first ones look at.
            join = lambda old, y: jnp.concatenate(
                [old, jnp.moveaxis(y, 1, 2).astype(old.dtype)], 2
            )
            held = caches.Cache(
                join(cache.key, key),
                join(cache.value, value),
                jnp.concatenate([cache.position, positions], 1),
                new.length,
            )
        seen = caches.visible(held.position, positions, window=self.window)
        mask = seen if mask is None else mask & seen
        # Turned back by `attend`, which the compiler sees: nothing is moved.
        tokens_first = lambda old, y: jnp.moveaxis(old, 1, 2).astype(y.dtype)
        key, value = tokens_first(held.key, key), tokens_first(held.value, value)
        return key, value, mask, new

    def _attend(self, query, key, value, train, **options):
        """The weighted values, by way of the weights where somebody needs those."""
        shown = self.is_mutable_collection("intermediates")
        if not (shown or (train and self.dropout > 0)):
            return attention.attend(query, key, value, backend=self.backend, **options)
        weights = attention.probabilities(query, key, **options)
        self.sow("intermediates", "attention", weights)
        weights = nn.Dropout(self.dropout, name="dropout")(
            weights, deterministic=not train
        )
        return attention_logits.mean(weights, value, query.dtype)

    def _check(self, x, context, cache):
        if self.heads % (self.kv_heads or self.heads):
            raise ValueError(
                f"kv_heads must divide heads = {self.heads}; got {self.kv_heads}"
            )
        if self.head_dim is None and x.shape[-1] % self.heads:
            raise ValueError(
                f"heads must divide the features {x.shape[-1]} unless head_dim is "
                f"given; got {self.heads}"
            )
        if context is not None and cache is not None:
            raise ValueError(
                "a cache holds what x says; it must be None with a context"
            )
