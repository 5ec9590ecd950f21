"""Switch Transformers: T5 whose every second feed-forward layer is a choice of experts.

    model = switch_base(experts=8)
    variables = jax.jit(model.init)(key, ids, decoder_ids)
    out, state = model.apply(variables, ids, decoder_ids, mask, mutable=["router"])
    loss = loss + 0.01 * load_balance(...)              # see `jaxml.nn.experts`

Each token goes to the one expert that its router prefers, weighted by the router's
probability; an expert takes `capacity` tokens of a row, and the rest pass unchanged.
Decoding is that of `jaxml.models.language.t5`: encode, remember, start_cache, decode.

References:
    Fedus, Zoph and Shazeer, 2021. Switch transformers. arXiv:2101.03961.
"""

from functools import partial
from typing import Any

import flax.linen as nn

from jaxml.models.language.t5 import T5
from jaxml.models.language.t5_blocks import Stack
from jaxml.nn.experts import Experts

__all__ = ["Switch", "SwitchStack", "switch_base", "switch_large"]


class SwitchStack(Stack):
    """One side of the network; fields beside those of `Stack`.

    Args:
        experts: how many of them a sparse layer has.
        sparse_step: every layer so far from the last sparse one is sparse.
        capacity: tokens of a row that an expert takes.
        jitter: how far the router's input is moved in training.
    """

    experts: int
    sparse_step: int
    capacity: int | float | None
    jitter: float

    def _block(self):
        block = super()._block()
        experts = partial(
            Experts,
            block.keywords["feed_forward"],
            count=self.experts,
            top_k=1,
            capacity=self.capacity,
            renormalize=False,
            jitter=self.jitter,
            param_dtype=self.param_dtype,
        )
        sparse = partial(block, feed_forward=experts)
        if self.sparse_step == 1:
            return sparse  # all alike, and so may be scanned
        step = self.sparse_step
        return [
            sparse if step > 0 and i % step == 1 else block for i in range(self.depth)
        ]


class Switch(T5):
    """Encoder, decoder and scores of the words; fields beside those of `T5`.

    Only a network whose every layer is sparse can be scanned.

    Args:
        experts: how many of them a sparse layer has.
        sparse_step: every layer of the encoder so far from the last sparse one is
            sparse; 0 for none.
        decoder_sparse_step: the same of the decoder.
        capacity: tokens of a row that an expert takes: a number, a multiple (as a
            float) of the even share, or None for all.
        jitter: how far the router's input is moved in training.
    """

    experts: int = 8
    sparse_step: int = 2
    decoder_sparse_step: int = 2
    capacity: int | float | None = 64
    jitter: float = 0.01

    def stack(self, decoder: bool, depth: int) -> nn.Module:
        """One side of the network."""
        return SwitchStack(
            decoder=decoder,
            depth=depth,
            sparse_step=self.decoder_sparse_step if decoder else self.sparse_step,
            experts=self.experts,
            capacity=self.capacity,
            jitter=self.jitter,
            **self.side_fields(),
        )


_base: dict[str, Any] = {"width": 768, "hidden": 3072, "depth": 12, "heads": 12}
_large: dict[str, Any] = {"width": 1024, "hidden": 4096, "depth": 24, "heads": 16}
switch_base = partial(Switch, **_base)  # 619.3 M parameters with 8 experts
switch_large = partial(Switch, **_large, experts=128)  # 26.3 G
