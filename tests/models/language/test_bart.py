"""BART: decoding with a cache, beyond the parity with the reference."""

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.models.language import bart
from jaxml.nn import depth

SMALL = {
    "vocab_size": 30,
    "width": 16,
    "depth": 1,
    "decoder_depth": 2,
    "heads": 2,
    "decoder_heads": 4,
    "hidden": 24,
    "decoder_hidden": 20,
    "max_positions": 8,
}
IDS = jnp.array([[4, 8, 15, 16, 23], [5, 2, 3, 1, 1]])
MASK = IDS != 1
WRITTEN = jnp.array([[2, 7, 9, 11, 2], [2, 5, 6, 4, 3]])


@pytest.fixture(scope="module")
def variables():
    """Parameters large enough for every part to be seen in the outputs."""
    rng = np.random.default_rng(0)
    model = bart.Bart(**SMALL)
    shapes = jax.eval_shape(model.init, jax.random.key(0), IDS, WRITTEN)
    return jax.tree.map(
        lambda x: rng.normal(size=x.shape, scale=0.3).astype(np.float32), shapes
    )


def run(variables, ids=IDS, mask=MASK, written=WRITTEN, **options):
    model = bart.Bart(**SMALL, **options)
    return jax.jit(model.apply)(variables, ids, written, mask)


@pytest.mark.parametrize("scan", [False, True])
def test_pieces_with_a_cache_equal_the_whole(variables, scan):
    model = bart.Bart(**SMALL, scan=scan)

    def decode(variables):
        encoded = model.apply(variables, IDS, MASK, method="encode")
        memory = model.apply(variables, encoded, method="remember")
        cache, logits = model.start_cache(2, 6), []
        for piece in (slice(0, 3), slice(3, 4), slice(4, 5)):
            out = model.apply(
                variables, WRITTEN[:, piece], memory, MASK, cache, method="decode"
            )
            cache = out.cache
            logits.append(out.logits)
        return jnp.concatenate(logits, 1)

    expected = run(variables).logits
    got = jax.jit(decode)(depth.stack(variables) if scan else variables)
    # The cache has an empty slot: sums of other lengths.
    np.testing.assert_allclose(got, expected, atol=2e-5)


def test_padding_changes_nothing_and_nothing_looks_ahead(variables):
    expected = run(variables).logits
    alone = run(variables, IDS[1:, :3], None, WRITTEN[1:]).logits
    np.testing.assert_allclose(expected[1:], alone, atol=2e-5)
    other = run(variables, written=WRITTEN.at[:, 3].set(29)).logits
    np.testing.assert_allclose(expected[:, :3], other[:, :3], atol=1e-6)
    assert abs(expected[:, 3:] - other[:, 3:]).max() > 1e-3


def test_words_may_be_scaled(variables):
    scaled = run(variables, scale_embedding=True).encoded
    words = variables["params"]["shared"]["embedding"] * 4
    params = {**variables["params"], "shared": {"embedding": words}}
    np.testing.assert_allclose(
        scaled, run({**variables, "params": params}).encoded, atol=1e-5
    )


def test_base_has_its_parameters():
    model = bart.bart_base(scan=True)
    shapes = jax.eval_shape(model.init, jax.random.key(0), IDS, WRITTEN)
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == 139_470_681


def test_training_asks_for_the_key_of_dropout(variables):
    model = bart.Bart(**SMALL)
    with pytest.raises(flax.errors.InvalidRngError, match="dropout"):
        jax.eval_shape(lambda v: model.apply(v, IDS, WRITTEN, train=True), variables)


def test_rejects_a_text_that_is_too_long(variables):
    model, long = bart.Bart(**SMALL), jnp.zeros((2, 9), int)
    for ids, written in ((long, WRITTEN), (IDS, long)):
        with pytest.raises(ValueError, match=r"at most 8 tokens.*got 9"):
            jax.eval_shape(model.apply, variables, ids, written)
