"""A transformer block whose parts are fields.

    block = partial(
        Block,
        attention=partial(Attention, heads=12),
        feed_forward=partial(FeedForward, 3072),
        norm=partial(nn.LayerNorm, epsilon=1e-5, use_fast_variance=False),
    )
    x, cache = block(name="block")(x, causal=True, cache=cache, train=train)
    x, caches = depth.repeat(block, 12)(x, causal=True, cache=caches, train=train)

References:
    Vaswani et al., 2017. Attention is all you need (post-norm). arXiv:1706.03762.
    Xiong et al., 2020. On layer normalization in the transformer (pre-norm).
    arXiv:2002.04745.
    Touvron et al., 2021. Going deeper with image transformers (layer scale: eq. 4).
    arXiv:2103.17239.
"""

from collections.abc import Callable

import flax.linen as nn
from jaxtyping import Array, Bool, Float, Int

from jaxml.nn import check
from jaxml.nn.cache import Cache
from jaxml.nn.stochastic_depth import DropPath

__all__ = ["Block", "LayerScale"]


class Block(nn.Module):
    """Attention and a feed-forward network, each beside a shortcut and with a norm.

    Args:
        attention: maker of the self-attention, given a name; called as
            `jaxml.nn.attention.Attention` is.
        feed_forward: maker of the feed-forward network, given a name; called with
            `train`.
        norm: maker of a norm, given a name.
        cross_attention: maker of the attention to a context; none if None.
        norm_position: "pre" (norm of what enters each part) or "post" (norm of the sum
            with the shortcut).
        dropout: chance of a feature of each part to be dropped in training.
        drop_path: chance of a part to be left out for a row in training.
        layer_scale: where the learned factors of each part start; none if None.
    """

    attention: Callable
    feed_forward: Callable
    norm: Callable
    cross_attention: Callable | None = None
    norm_position: str = "pre"
    dropout: float = 0.0
    drop_path: float = 0.0
    layer_scale: float | None = None

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b t f"],
        context: Float[Array, "b _s _c"] | None = None,
        *,
        mask: Bool[Array, "#b #n #t _k"] | None = None,
        bias: Float[Array, "#b #n #t _k"] | None = None,
        context_mask: Bool[Array, "#b #m #t _s"] | None = None,
        context_bias: Float[Array, "#b #m #t _s"] | None = None,
        causal: bool = False,
        positions: Int[Array, "#b t"] | None = None,
        cache: Cache | None = None,
        train: bool = False,
    ) -> tuple[Float[Array, "b t f"], Cache | None]:
        """Apply the block.

        Args:
            x: what enters.
            context: what the cross-attention looks at.
            mask: of the self-attention.
            bias: of the self-attention.
            context_mask: of the cross-attention.
            context_bias: of the cross-attention.
            causal: of the self-attention.
            positions: of the self-attention.
            cache: of the self-attention.
            train: whether to drop (rng "dropout").

        Returns:
            What leaves, and the cache with the new tokens.

        Raises:
            ValueError: if context and cross-attention do not go together.
        """
        check.one_of(self.norm_position, ("pre", "post"), "norm_position")
        if (context is None) != (self.cross_attention is None):
            raise ValueError(
                "a context needs cross_attention and the other way round; got "
                f"{'no ' if context is None else 'a '}context"
            )

        def attend(y):
            nonlocal cache
            y, cache = self.attention(name="attention")(
                y,
                mask=mask,
                bias=bias,
                causal=causal,
                positions=positions,
                cache=cache,
                train=train,
            )
            return y

        x = self._beside(x, attend, "attention", train)
        if self.cross_attention is not None:
            cross = self.cross_attention
            seen = {"mask": context_mask, "bias": context_bias, "train": train}
            look = lambda y: cross(name="cross_attention")(y, context, **seen)[0]
            x = self._beside(x, look, "cross_attention", train)
        forward = lambda y: self.feed_forward(name="feed_forward")(y, train=train)
        return self._beside(x, forward, "feed_forward", train), cache

    def _beside(self, x, part, name, train):
        """Shortcut, part and norm."""
        norm = self.norm(name=f"{name}_norm")
        y = part(norm(x) if self.norm_position == "pre" else x)
        if self.layer_scale is not None:
            y = LayerScale(self.layer_scale, name=f"{name}_scale")(y)
        y = nn.Dropout(self.dropout)(y, deterministic=not train)
        y = x + DropPath(self.drop_path)(y, deterministic=not train)
        return y if self.norm_position == "pre" else norm(y)


class LayerScale(nn.Module):
    """A learned factor for each feature.

    Args:
        start: value all factors start at.
    """

    start: float = 1e-5

    @nn.compact
    def __call__(self, x: Float[Array, "*b f"]) -> Float[Array, "*b f"]:
        """Scale the last axis."""
        init = nn.initializers.constant(self.start)
        scale = self.param("scale", init, (x.shape[-1],))
        return x * scale.astype(x.dtype).reshape((1,) * (x.ndim - 1) + (-1,))
