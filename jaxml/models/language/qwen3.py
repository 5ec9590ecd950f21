"""Qwen3: Llama that normalises each head of its queries and keys.

    model = qwen3_0_6b(dtype=jnp.bfloat16)
    logits = model.apply(variables, ids, mask).logits

References:
    Yang et al., 2025. Qwen3 technical report. arXiv:2505.09388 (table 1; section 2).
    Dehghani et al., 2023. Scaling vision transformers to 22 billion parameters
    (normalised queries and keys: section 2). arXiv:2302.05442.
"""

from functools import partial

from jaxml.models.language.llama import Llama
from jaxml.nn.rotary import Rotary

__all__ = [
    "qwen3",
    "qwen3_0_6b",
    "qwen3_14b",
    "qwen3_1_7b",
    "qwen3_32b",
    "qwen3_4b",
    "qwen3_8b",
]

qwen3 = partial(
    Llama,
    vocab_size=151936,
    kv_heads=8,
    head_dim=128,
    qk_norm=True,
    rotary=Rotary(128, 1e6),
)
qwen3_0_6b = partial(qwen3, width=1024, depth=28, heads=16, hidden=3072, tied=True)
qwen3_1_7b = partial(qwen3_0_6b, width=2048, hidden=6144)
qwen3_4b = partial(qwen3, width=2560, depth=36, heads=32, hidden=9728, tied=True)
qwen3_8b = partial(qwen3, width=4096, depth=36, heads=32, hidden=12288)
qwen3_14b = partial(qwen3, width=5120, depth=40, heads=40, hidden=17408)
qwen3_32b = partial(qwen3, width=5120, depth=64, heads=64, hidden=25600)
