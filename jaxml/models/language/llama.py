"""Llama: a decoder of text with rotary positions and grouped heads, and its sizes.

    model = llama_3_8b(dtype=jnp.bfloat16)
    variables = jax.jit(model.init)(key, ids)
    logits = model.apply(variables, ids, mask).logits

Token ids [batch, time] are whole numbers; `mask` is False for padding. Mistral, Qwen2
and Qwen3 are this network with other settings, in files of their own.

References:
    Touvron et al., 2023. LLaMA. arXiv:2302.13971 (section 2.2).
    Touvron et al., 2023. Llama 2. arXiv:2307.09288 (table 1).
    Grattafiori et al., 2024. The Llama 3 herd of models. arXiv:2407.21783 (table 3).
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PyTree

from jaxml.models.language import causal
from jaxml.models.language.causal import CausalOutput
from jaxml.nn import attention, blocks, feed_forward
from jaxml.nn.rotary import Rotary

__all__ = [
    "Llama",
    "llama_2_13b",
    "llama_2_70b",
    "llama_2_7b",
    "llama_3_1_70b",
    "llama_3_1_8b",
    "llama_3_2_1b",
    "llama_3_2_3b",
    "llama_3_70b",
    "llama_3_8b",
]


class Llama(nn.Module):
    """Words, blocks that normalise first, a root-mean-square norm, logits.

    Args:
        vocab_size: number of words.
        width: size of the vectors.
        depth: number of blocks.
        heads: number of query heads.
        kv_heads: heads of keys and values, a divisor of `heads`; `heads` if None.
        head_dim: width of a head; the width by `heads` if None.
        hidden: size of the gated feed-forward layer.
        activation: name in `jaxml.nn.activations`, or a function.
        epsilon: added to the mean square in the norms.
        rotary: settings of the positions; those of Llama 1 and 2 if None.
        window: how many positions a query sees, in all blocks or in each; all if None.
        qkv_bias: whether query, key and value have a bias.
        out_bias: whether the projection after the attention has one.
        hidden_bias: whether the feed-forward layers have one.
        qk_norm: whether each head of queries and keys is normalised.
        attention_dropout: chance of an attention weight to be dropped in training.
        tied: whether the logits are read off the table of words.
        head: whether there are logits at all.
        scan: whether the blocks are one program run `depth` times, their parameters
            stacked (see `jaxml.nn.depth`).
        remat: None, "full" or the name of a policy of `jax.checkpoint_policies`.
        backend: of the attention, see `jaxml.ops.attention`.
        dtype: dtype of the computation; that of the parameters if None.
        param_dtype: dtype the parameters are stored in.
    """

    vocab_size: int = 32000
    width: int = 4096
    depth: int = 32
    heads: int = 32
    kv_heads: int | None = None
    head_dim: int | None = None
    hidden: int = 11008
    activation: Any = "silu"
    epsilon: float = 1e-6
    rotary: Rotary | None = None
    window: int | tuple[int | None, ...] | None = None
    qkv_bias: bool = False
    out_bias: bool = False
    hidden_bias: bool = False
    qk_norm: bool = False
    attention_dropout: float = 0.0
    tied: bool = False
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
            positions: of the tokens; the number of real tokens before each if None.
            cache: of `start_cache`, or of the call before.
            train: whether to drop attention weights.

        Raises:
            ValueError: if ids, mask or the windows are off.
        """
        where = causal.places(ids, mask, positions, cache)
        windows = self._windows()
        makers = [self._block(window) for window in windows]
        block: Any = makers[0] if len(set(windows)) == 1 else makers
        return causal.decode(self, block, ids, where, cache, train)

    def start_cache(self, batch: int, length: int, dtype: Any = jnp.float32) -> PyTree:
        """Empty caches of all blocks: ring buffers where there is a window.

        Args:
            batch: number of rows.
            length: how many tokens a row will hold at most.
            dtype: of keys and values.
        """
        return causal.caches_of(
            self.depth,
            batch,
            length,
            self.kv_heads or self.heads,
            self.head_dim or self.width // self.heads,
            windows=self._windows(),
            scan=self.scan,
            dtype=dtype,
        )

    def _windows(self):
        if not isinstance(self.window, tuple):
            return (self.window,) * self.depth
        if len(self.window) != self.depth:
            raise ValueError(
                f"window must be one for each of {self.depth} blocks; "
                f"got {len(self.window)}"
            )
        return self.window

    def _block(self, window):
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        init = nn.initializers.normal(0.02)
        norm = causal.rms_norm(self)
        width = self.head_dim or self.width // self.heads
        return partial(
            blocks.Block,
            attention=partial(
                attention.Attention,
                heads=self.heads,
                kv_heads=self.kv_heads,
                head_dim=width,
                qkv_bias=self.qkv_bias,
                out_bias=self.out_bias,
                dropout=self.attention_dropout,
                window=window,
                rotary=self.rotary or Rotary(width),
                qk_norm=norm if self.qk_norm else None,
                backend=self.backend,
                kernel_init=init,
                **dtypes,
            ),
            feed_forward=partial(
                feed_forward.GatedFeedForward,
                self.hidden,
                activation=self.activation,
                use_bias=self.hidden_bias,
                kernel_init=init,
                **dtypes,
            ),
            norm=norm,
        )


llama_2_7b = partial(Llama, epsilon=1e-5)  # 6.7 B parameters
llama_2_13b = partial(llama_2_7b, width=5120, depth=40, heads=40, hidden=13824)
llama_2_70b = partial(
    llama_2_7b, width=8192, depth=80, heads=64, kv_heads=8, hidden=28672
)
llama_3_8b = partial(
    Llama,
    vocab_size=128256,
    kv_heads=8,
    hidden=14336,
    epsilon=1e-5,
    rotary=Rotary(128, 500_000.0),
)
llama_3_70b = partial(llama_3_8b, width=8192, depth=80, heads=64, hidden=28672)
_stretched = partial(Rotary, theta=500_000.0, kind="llama3", original=8192)
llama_3_1_8b = partial(llama_3_8b, rotary=_stretched(128, factor=8.0))
llama_3_1_70b = partial(llama_3_70b, rotary=_stretched(128, factor=8.0))
llama_3_2_1b = partial(  # 1.2 B
    llama_3_8b,
    width=2048,
    depth=16,
    hidden=8192,
    rotary=_stretched(64, factor=32.0),
    tied=True,
)
llama_3_2_3b = partial(  # 3.2 B
    llama_3_8b,
    width=3072,
    depth=28,
    heads=24,
    hidden=8192,
    rotary=_stretched(128, factor=32.0),
    tied=True,
)
