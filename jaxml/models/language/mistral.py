"""Mistral: Llama with a sliding window and grouped heads.

    model = mistral_7b(dtype=jnp.bfloat16)
    logits = model.apply(variables, ids, mask).logits

A query sees `window` positions, its own included, and the cache is a ring buffer of as
many. The later releases (v0.2 on) have no window and another base of the positions.

References:
    Jiang et al., 2023. Mistral 7B. arXiv:2310.06825 (table 1; window: section 2).
"""

from functools import partial

from jaxml.models.language.llama import Llama
from jaxml.nn.rotary import Rotary

__all__ = ["mistral", "mistral_7b", "mistral_7b_v3"]

mistral = partial(Llama, kv_heads=8, hidden=14336, window=4096)
mistral_7b = partial(mistral, epsilon=1e-5)  # 7.2 B parameters
mistral_7b_v3 = partial(
    mistral_7b, vocab_size=32768, window=None, rotary=Rotary(128, 1e6)
)
