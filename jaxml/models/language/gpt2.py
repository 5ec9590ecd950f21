"""GPT-2: a decoder of text with learned positions, and its named sizes.

    model = gpt2()
    variables = jax.jit(model.init)(key, ids)
    logits = model.apply(variables, ids, mask).logits
    output = model.apply(variables, ids, train=True, rngs={"dropout": key})

Token ids [batch, time] are whole numbers; `mask` is False for padding.

References:
    Radford et al., 2019. Language models are unsupervised multitask learners
    (sizes: table 2; initialisation and pre-norm: section 2.3).
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PyTree

from jaxml.models.language import causal
from jaxml.models.language.causal import CausalOutput
from jaxml.nn import attention, blocks, depth, feed_forward

__all__ = ["GPT2", "gpt2", "gpt2_large", "gpt2_medium", "gpt2_xl"]


class GPT2(nn.Module):
    """Words and positions, blocks that normalise first, a norm, the words again.

    Args:
        vocab_size: number of words.
        width: size of the vectors.
        depth: number of blocks.
        heads: number of attention heads; they divide the width.
        hidden: size of the feed-forward layer; four times the width if None.
        max_positions: longest text.
        activation: name in `jaxml.nn.activations`, or a function.
        epsilon: added to the variance in the norms.
        dropout: chance of a value to be dropped in training, from 0 to below 1.
        attention_dropout: the same for an attention weight.
        embedding_dropout: the same for a value of the first vectors.
        scaled: whether logits of the attention are divided by √(width of a head).
        scaled_by_depth: whether those of block i are divided by i + 1 as well.
        tied: whether the logits are read off the table of words.
        head: whether there are logits at all.
        scan: whether the blocks are one program run `depth` times, their parameters
            stacked (see `jaxml.nn.depth`).
        remat: None, "full" or the name of a policy of `jax.checkpoint_policies`.
        backend: of the attention, see `jaxml.ops.attention`.
        dtype: dtype of the computation; that of the parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    vocab_size: int = 50257
    width: int = 768
    depth: int = 12
    heads: int = 12
    hidden: int | None = None
    max_positions: int = 1024
    activation: Any = "gelu_tanh"
    epsilon: float = 1e-5
    dropout: float = 0.1
    attention_dropout: float = 0.1
    embedding_dropout: float = 0.1
    scaled: bool = True
    scaled_by_depth: bool = False
    tied: bool = True
    head: bool = True
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
        positions: Int[Array, "#b t"] | None = None,
        cache: PyTree = None,
        *,
        train: bool = False,
    ) -> CausalOutput:
        """Logits of the token after each.

        Args:
            ids: tokens.
            mask: False for padding, which nothing then looks at.
            positions: places in the table; the number of real tokens before if None.
            cache: of `start_cache`, or of the call before.
            train: whether to drop values.

        Raises:
            ValueError: if ids or mask are off, or the text is longer than the table.
        """
        if ids.ndim == 2 and ids.shape[1] > self.max_positions:
            raise ValueError(
                f"a text must have at most {self.max_positions} tokens; "
                f"got {ids.shape[1]}"
            )
        where = causal.places(ids, mask, positions, cache)
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        table = partial(nn.Embed, features=self.width, **dtypes)
        words = table(
            num_embeddings=self.vocab_size, embedding_init=_normal(0.02), name="word"
        )
        places = table(
            num_embeddings=self.max_positions,
            embedding_init=_normal(0.01),
            name="position",
        )
        x = words(ids) + places(where.positions)
        x = nn.Dropout(self.embedding_dropout)(x, deterministic=not train)
        record = depth.recorder(self)
        run = depth.repeat(
            self._blocks(dtypes),
            self.depth,
            scan=self.scan,
            remat=self.remat,
            record=record,
        )
        x, cache = run(x, cache=cache, train=train, **where.options)
        x = self._norm(dtypes)(name="norm")(x)
        if record is not None:
            record(x)
        if not self.head:
            return CausalOutput(None, x, cache)
        if self.tied:
            return CausalOutput(words.attend(x), x, cache)
        head = nn.Dense(
            self.vocab_size,
            use_bias=False,
            kernel_init=_normal(0.02),
            name="head",
            **dtypes,
        )
        return CausalOutput(head(x), x, cache)

    def start_cache(self, batch: int, length: int, dtype: Any = jnp.float32) -> PyTree:
        """Empty caches of all blocks.

        Args:
            batch: number of rows.
            length: how many tokens a row will hold at most.
            dtype: of keys and values.
        """
        width = self.width // self.heads
        return causal.caches_of(
            self.depth, batch, length, self.heads, width, scan=self.scan, dtype=dtype
        )

    def _norm(self, dtypes):
        return partial(
            nn.LayerNorm, epsilon=self.epsilon, use_fast_variance=False, **dtypes
        )

    def _blocks(self, dtypes):
        """The maker of a block, or one for each where they differ."""
        # What is added to the shortcut grows with the depth unless it starts smaller.
        last = _normal(0.02 / (2 * self.depth) ** 0.5)
        forward = partial(
            feed_forward.FeedForward,
            self.hidden or 4 * self.width,
            activation=self.activation,
            kernel_init=_normal(0.02),
            down_init=last,
            **dtypes,
        )

        def block(divisor=1):
            scale = (self.width // self.heads) ** -0.5 if self.scaled else 1.0
            return partial(
                blocks.Block,
                attention=partial(
                    attention.Attention,
                    heads=self.heads,
                    dropout=self.attention_dropout,
                    scale=scale / divisor,
                    backend=self.backend,
                    kernel_init=_normal(0.02),
                    out_init=last,
                    **dtypes,
                ),
                feed_forward=forward,
                norm=self._norm(dtypes),
                dropout=self.dropout,
            )

        if not self.scaled_by_depth:
            return block()
        return [block(i + 1) for i in range(self.depth)]


_normal = nn.initializers.normal
gpt2 = GPT2  # 124 M parameters
gpt2_medium = partial(GPT2, width=1024, depth=24, heads=16)  # 355 M
gpt2_large = partial(GPT2, width=1280, depth=36, heads=20)  # 774 M
gpt2_xl = partial(GPT2, width=1600, depth=48, heads=25)  # 1558 M
