"""Qwen2 and Qwen2.5: Llama whose queries, keys and values have a bias.

    model = qwen2_5_0_5b(dtype=jnp.bfloat16)
    logits = model.apply(variables, ids, mask).logits

References:
    Yang et al., 2024. Qwen2 technical report. arXiv:2407.10671 (table 1).
    Yang et al., 2024. Qwen2.5 technical report. arXiv:2412.15115.
"""

from functools import partial

from jaxml.models.language.llama import Llama
from jaxml.nn.rotary import Rotary

__all__ = [
    "qwen2",
    "qwen2_5_0_5b",
    "qwen2_5_14b",
    "qwen2_5_1_5b",
    "qwen2_5_32b",
    "qwen2_5_3b",
    "qwen2_5_72b",
    "qwen2_5_7b",
]

qwen2 = partial(Llama, vocab_size=151936, qkv_bias=True, rotary=Rotary(128, 1e6))
_small = partial(qwen2, kv_heads=2, tied=True)
qwen2_5_0_5b = partial(
    _small, width=896, depth=24, heads=14, hidden=4864, rotary=Rotary(64, 1e6)
)
qwen2_5_1_5b = partial(_small, width=1536, depth=28, heads=12, hidden=8960)
qwen2_5_3b = partial(_small, width=2048, depth=36, heads=16, hidden=11008)
_large = partial(qwen2, vocab_size=152064)
qwen2_5_7b = partial(_large, width=3584, depth=28, heads=28, kv_heads=4, hidden=18944)
qwen2_5_14b = partial(
    _large, width=5120, depth=48, heads=40, kv_heads=8, hidden=13824, epsilon=1e-5
)
qwen2_5_32b = partial(qwen2_5_14b, depth=64, hidden=27648)
qwen2_5_72b = partial(qwen2_5_14b, width=8192, depth=80, heads=64, hidden=29568)
