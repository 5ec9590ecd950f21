"""Switch Transformers: experts in every second layer, and decoding with them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.models.language import switch
from jaxml.nn import experts

SMALL = {
    "vocab_size": 30,
    "width": 16,
    "depth": 2,
    "decoder_depth": 2,
    "heads": 2,
    "head_dim": 6,
    "hidden": 24,
    "buckets": 8,
    "max_distance": 6,
    "experts": 3,
}
IDS = jnp.array([[4, 8, 15, 16, 23], [1, 2, 3, 0, 0]])
MASK = IDS > 0
WRITTEN = jnp.array([[0, 7, 9, 11], [0, 5, 6, 4]])


@pytest.fixture(scope="module")
def variables():
    """Parameters large enough for every part to be seen in the outputs."""
    rng = np.random.default_rng(0)
    model = switch.Switch(**SMALL)
    shapes = jax.eval_shape(model.init, jax.random.key(0), IDS, WRITTEN)
    return jax.tree.map(
        lambda x: rng.normal(size=x.shape, scale=0.3).astype(np.float32), shapes
    )


def test_every_second_layer_has_experts(variables):
    for side in ("encoder", "decoder"):
        dense, sparse = (variables["params"][side][f"layers_{i}"] for i in range(2))
        assert set(dense["feed_forward"]) == {"up", "down"}
        assert set(sparse["feed_forward"]) == {"experts", "router"}


def test_pieces_with_a_cache_equal_the_whole(variables):
    model = switch.Switch(**SMALL, capacity=None)
    whole, state = jax.jit(
        lambda v: model.apply(v, IDS, WRITTEN, MASK, mutable=["router"])
    )(variables)

    def decode(variables):
        memory = model.apply(variables, whole.encoded, method="remember")
        cache, logits = model.start_cache(2, 6), []
        for piece in (slice(0, 3), slice(3, 4)):
            out = model.apply(
                variables, WRITTEN[:, piece], memory, MASK, cache, method="decode"
            )
            cache = out.cache
            logits.append(out.logits)
        return jnp.concatenate(logits, 1)

    # The cache has empty slots: sums of other lengths.
    np.testing.assert_allclose(jax.jit(decode)(variables), whole.logits, atol=2e-5)
    logits = state["router"]["encoder"]["layers_1"]["feed_forward"]["logits"][0]
    assert logits.shape == (2, 5, 3)
    assert experts.load_balance(logits, top_k=1) > 0.5


def test_what_is_over_the_capacity_gets_nothing_from_the_experts(variables):
    run = lambda capacity: jax.jit(switch.Switch(**SMALL, capacity=capacity).apply)(
        variables, IDS, WRITTEN, MASK
    )
    ample, exact, narrow = run(64), run(None), run(1)
    np.testing.assert_allclose(ample.logits, exact.logits, atol=2e-5)
    assert abs(narrow.encoded - exact.encoded).max() > 1e-3


def test_base_has_its_parameters():
    model = switch.switch_base()
    shapes = jax.eval_shape(model.init, jax.random.key(0), IDS, WRITTEN)
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == 619_339_008


def test_rejects_a_scan_over_layers_that_differ():
    model = switch.Switch(**SMALL, scan=True)
    with pytest.raises(ValueError, match="to be scanned"):
        jax.eval_shape(model.init, jax.random.key(0), IDS, WRITTEN)
