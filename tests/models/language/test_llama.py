from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.models.language import llama, mistral, qwen2, qwen3
from jaxml.nn.rotary import Rotary

IDS = jnp.array([[3, 1, 4, 1, 5, 2, 6]])
SMALL = {"vocab_size": 7, "width": 8, "depth": 2, "heads": 2, "hidden": 8}


@pytest.mark.parametrize(
    ("make", "parameters"),  # of the released checkpoints
    [
        (llama.llama_2_7b, 6_738_415_616),
        (llama.llama_2_13b, 13_015_864_320),
        (llama.llama_2_70b, 68_976_648_192),
        (llama.llama_3_8b, 8_030_261_248),
        (llama.llama_3_1_70b, 70_553_706_496),
        (llama.llama_3_2_1b, 1_235_814_400),
        (llama.llama_3_2_3b, 3_212_749_824),
        (mistral.mistral_7b, 7_241_732_096),
        (mistral.mistral_7b_v3, 7_248_023_552),
        (qwen2.qwen2_5_0_5b, 494_032_768),
        (qwen2.qwen2_5_1_5b, 1_543_714_304),
        (qwen2.qwen2_5_3b, 3_085_938_688),
        (qwen2.qwen2_5_7b, 7_615_616_512),
        (qwen2.qwen2_5_14b, 14_770_033_664),
        (qwen2.qwen2_5_32b, 32_763_876_352),
        (qwen2.qwen2_5_72b, 72_706_203_648),
        (qwen3.qwen3_0_6b, 596_049_920),
        (qwen3.qwen3_1_7b, 1_720_574_976),
        (qwen3.qwen3_4b, 4_022_468_096),
        (qwen3.qwen3_8b, 8_190_735_360),
        (qwen3.qwen3_14b, 14_768_307_200),
        (qwen3.qwen3_32b, 32_762_123_264),
    ],
)
def test_named_sizes(make, parameters):
    shapes = jax.eval_shape(make(scan=True).init, jax.random.key(0), IDS)
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == parameters


def test_windows_may_differ_from_block_to_block():
    model = llama.Llama(**SMALL, window=(2, None))
    variables = jax.jit(model.init)(jax.random.key(0), IDS)
    look = jax.jit(partial(model.apply, mutable=["intermediates"]))
    _, state = look(variables, IDS)
    near, far = (
        state["intermediates"][f"layers_{i}"]["attention"]["attention"][0][0, 0]
        for i in (0, 1)
    )
    np.testing.assert_array_equal(near > 0, np.tri(7) - np.tri(7, k=-2) > 0)
    np.testing.assert_array_equal(far > 0, np.tri(7) > 0)
    slots = [cache.position.shape[1] for cache in model.start_cache(1, 7)]
    assert slots == [2, 7]


def test_scores_of_words_go_by_their_distance():
    model = llama.Llama(**SMALL, rotary=Rotary(4, 100.0))
    variables = jax.jit(model.init)(jax.random.key(0), IDS)
    run = jax.jit(lambda first: model.apply(variables, IDS, None, first).logits)
    near, far = (run(first + jnp.arange(7)[None]) for first in (0, 50))
    np.testing.assert_allclose(near, far, rtol=1e-4, atol=1e-6)


def test_rejects_windows_of_another_depth():
    with pytest.raises(ValueError, match="one for each of 2 blocks; got 3"):
        llama.Llama(**SMALL, window=(1, 2, 3)).start_cache(1, 4)
