"""Mixtral: Mistral whose feed-forward layers are mixtures of experts.

    model = mixtral_8x7b(dtype=jnp.bfloat16)
    logits = model.apply(variables, ids, mask).logits
    output, state = model.apply(variables, ids, mask, train=True, mutable=["router"])
    loss = loss + 0.02 * balance(state["router"], top_k=2, mask=mask)

Token ids [batch, time] are whole numbers; `mask` is False for padding.

References:
    Jiang et al., 2024. Mixtral of experts. arXiv:2401.04088 (section 2).
    Fedus, Zoph and Shazeer, 2021. Switch transformers (eq. 4). arXiv:2101.03961.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from jaxml.models.language import causal
from jaxml.models.language.causal import CausalOutput
from jaxml.nn import attention, blocks, experts, feed_forward
from jaxml.nn.rotary import Rotary

__all__ = ["Mixtral", "balance", "mixtral_8x22b", "mixtral_8x7b", "routers"]


class Mixtral(nn.Module):
    """Words, blocks of attention and experts, a root-mean-square norm, logits.

    Args:
        vocab_size: number of words.
        width: size of the vectors.
        depth: number of blocks.
        heads: number of query heads.
        kv_heads: heads of keys and values, a divisor of `heads`; `heads` if None.
        head_dim: width of a head; the width by `heads` if None.
        hidden: size of the gated feed-forward layer of an expert.
        experts: how many experts a block has.
        top_k: how many of them a token is sent to.
        capacity: tokens of a row that an expert takes, see `jaxml.nn.experts`.
        jitter: noise of the router in training, see `jaxml.nn.experts`.
        activation: name in `jaxml.nn.activations`, or a function.
        epsilon: added to the mean square in the norms.
        rotary: settings of the positions; base 1e6 if None.
        window: how many positions a query sees; all if None.
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
    kv_heads: int | None = 8
    head_dim: int | None = None
    hidden: int = 14336
    experts: int = 8
    top_k: int = 2
    capacity: int | float | None = None
    jitter: float = 0.0
    activation: Any = "silu"
    epsilon: float = 1e-5
    rotary: Rotary | None = None
    window: int | None = None
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
            train: whether to draw.

        Raises:
            ValueError: if ids or mask are off.
        """
        where = causal.places(ids, mask, positions, cache)
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        init = nn.initializers.normal(0.02)
        width = self.head_dim or self.width // self.heads

        def forward(name):
            mixture = experts.Experts(
                partial(
                    feed_forward.GatedFeedForward,
                    self.hidden,
                    activation=self.activation,
                    kernel_init=init,
                    **dtypes,
                ),
                count=self.experts,
                top_k=self.top_k,
                capacity=self.capacity,
                jitter=self.jitter,
                kernel_init=init,
                param_dtype=self.param_dtype,
                name=name,
            )
            return lambda x, train: mixture(x, mask=mask, train=train)

        block = partial(
            blocks.Block,
            attention=partial(
                attention.Attention,
                heads=self.heads,
                kv_heads=self.kv_heads,
                head_dim=width,
                qkv_bias=False,
                out_bias=False,
                dropout=self.attention_dropout,
                window=self.window,
                rotary=self.rotary or Rotary(width, 1e6),
                backend=self.backend,
                kernel_init=init,
                **dtypes,
            ),
            feed_forward=forward,
            norm=causal.rms_norm(self),
        )
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
            windows=(self.window,) * self.depth,
            scan=self.scan,
            dtype=dtype,
        )


def routers(sown: Mapping[str, Any]) -> Float[Array, "l b t e"]:
    """Logits of the routers of all blocks, in order.

    Args:
        sown: the collection "router" of a call, of blocks in a loop or scanned.
    """
    if "layers" in sown:
        return jax.tree.leaves(sown)[0]
    layers = (sown[f"layers_{i}"] for i in range(len(sown)))
    return jnp.stack([jax.tree.leaves(layer)[0] for layer in layers])


def balance(
    sown: Mapping[str, Any], *, top_k: int, mask: Bool[Array, "b t"] | None = None
) -> Float[Array, ""]:
    """The auxiliary loss: `top_k` if all experts have equal work, more if not.

    Args:
        sown: the collection "router" of a call.
        top_k: of the network.
        mask: False for padding.
    """
    return experts.load_balance(routers(sown), top_k=top_k, mask=mask)


mixtral_8x7b = Mixtral  # 46.7 B parameters
mixtral_8x22b = partial(  # 141 B
    Mixtral, vocab_size=32768, width=6144, depth=56, heads=48, hidden=16384
)
