"""The text tower of CLIP: a transformer that reads from left to right.

    tower = ClipText(width=512, heads=8, hidden=2048)
    output = tower.apply(variables, ids, mask)      # .last_hidden_state, .pooled

Token ids [batch, time] are whole numbers; `mask` is False for padding. The text is
pooled at its end token, where all of it has been read.

References:
    Radford et al., 2021. Learning transferable visual models from natural language
    supervision (section 2.4). arXiv:2103.00020.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxml.nn import attention, blocks, depth, feed_forward

__all__ = ["ClipText", "ClipTextOutput"]


class ClipTextOutput(NamedTuple):
    """What the tower answers."""

    last_hidden_state: Float[Array, "b t d"]  # normalised
    pooled: Float[Array, "b d"]  # of the end token


class ClipText(nn.Module):
    """Words and positions, causal blocks that normalise first, a norm.

    Args:
        vocab_size: number of words.
        max_positions: longest text.
        width: size of the vectors.
        depth: number of blocks.
        heads: number of attention heads.
        hidden: size of the feed-forward layer.
        end_token: id whose first place is pooled; None for the place of the largest
            id, as in the first releases.
        activation: name in `jaxml.nn.activations`, or a function.
        epsilon: added to the variance in the norms.
        attention_dropout: chance of an attention weight to be dropped in training.
        scan: whether the blocks are one program run `depth` times, their parameters
            stacked (see `jaxml.nn.depth`).
        remat: None, "full" or the name of a policy of `jax.checkpoint_policies`.
        backend: of the attention, see `jaxml.ops.attention`.
        dtype: dtype of the computation; that of the parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    vocab_size: int = 49408
    max_positions: int = 77
    width: int = 512
    depth: int = 12
    heads: int = 8
    hidden: int = 2048
    end_token: int | None = 49407
    activation: str | Callable = "quick_gelu"
    epsilon: float = 1e-5
    attention_dropout: float = 0.0
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
        *,
        train: bool = False,
    ) -> ClipTextOutput:
        """Vectors of every token, and of the whole text.

        Args:
            ids: tokens.
            mask: False for padding, which nothing then looks at.
            train: whether to drop attention weights (rng "dropout").

        Raises:
            ValueError: if the ids are no whole numbers [batch, time], or too many.
        """
        self._check(ids)
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        norm = partial(
            nn.LayerNorm, epsilon=self.epsilon, use_fast_variance=False, **dtypes
        )
        small = nn.initializers.normal(0.01)
        word = nn.Embed(
            self.vocab_size,
            self.width,
            embedding_init=nn.initializers.normal(0.02),
            name="word",
            **dtypes,
        )
        position = nn.Embed(
            self.max_positions,
            self.width,
            embedding_init=small,
            name="position",
            **dtypes,
        )
        x = word(ids) + position(jnp.arange(ids.shape[1])[None])
        x, _ = depth.repeat(
            self._block(norm, dtypes),
            self.depth,
            scan=self.scan,
            remat=self.remat,
            record=depth.recorder(self),
        )(
            x,
            mask=None if mask is None else mask[:, None, None, :],
            causal=True,
            train=train,
        )
        self.sow("intermediates", "hidden_states", x)
        x = norm(name="norm")(x)
        last = ids if self.end_token is None else ids == self.end_token
        place = last.argmax(-1)[:, None, None]
        return ClipTextOutput(x, jnp.take_along_axis(x, place, 1)[:, 0])

    def _block(self, norm, dtypes):
        normal = nn.initializers.normal(self.width**-0.5)
        return partial(
            blocks.Block,
            attention=partial(
                attention.Attention,
                heads=self.heads,
                dropout=self.attention_dropout,
                backend=self.backend,
                kernel_init=normal,
                **dtypes,
            ),
            feed_forward=partial(
                feed_forward.FeedForward,
                self.hidden,
                activation=self.activation,
                kernel_init=normal,
                **dtypes,
            ),
            norm=norm,
        )

    def _check(self, ids):
        if ids.ndim != 2 or not jnp.issubdtype(ids.dtype, jnp.integer):
            raise ValueError(
                "ids must be whole numbers [batch, time]; "
                f"got {ids.dtype} {list(ids.shape)}"
            )
        if ids.shape[1] > self.max_positions:
            raise ValueError(
                f"the text must have at most {self.max_positions} tokens, the length "
                f"of the table of positions; got {ids.shape[1]}"
            )
