"""T5: decoding with a cache, the two sides, beyond the parity with the reference."""

import json

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from jaxml.models.language import t5
from jaxml.nn import depth
from jaxml.zoo import table
from jaxml.zoo.families.transformers_t5 import FAMILY

SMALL = {
    "vocab_size": 30,
    "width": 16,
    "depth": 2,
    "decoder_depth": 3,
    "heads": 2,
    "head_dim": 6,
    "hidden": 24,
    "buckets": 8,
    "max_distance": 6,
}
V1_1 = {"gated": True, "activation": "gelu_tanh", "tied": False, "scale_logits": False}
IDS = jnp.array([[4, 8, 15, 16, 23], [1, 2, 3, 0, 0]])
MASK = jnp.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], bool)
WRITTEN = jnp.array([[0, 7, 9, 11, 2, 13], [0, 5, 6, 4, 3, 9]])


def drawn(model):
    """Parameters large enough for every part to be seen in the outputs."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(model.init, jax.random.key(0), IDS, WRITTEN)
    return jax.tree.map(
        lambda x: rng.normal(size=x.shape, scale=0.3).astype(np.float32), shapes
    )


@pytest.fixture(scope="module")
def variables():
    return drawn(t5.T5(**SMALL))


def run(variables, ids=IDS, mask=MASK, written=WRITTEN, written_mask=None, **options):
    model = t5.T5(**SMALL, **options)
    return jax.jit(model.apply)(variables, ids, written, mask, written_mask)


def in_pieces(model, variables, sizes, mask=None):
    """Logits of `WRITTEN`, fed in pieces to a decoder that remembers."""

    def decode(variables):
        encoded = model.apply(variables, IDS, MASK, method="encode")
        memory = model.apply(variables, encoded, method="remember")
        cache, logits, begin = model.start_cache(2, 8), [], 0
        for size in sizes:
            piece = slice(begin, begin + size)
            out = model.apply(
                variables,
                WRITTEN[:, piece],
                memory,
                MASK,
                cache,
                mask=None if mask is None else mask[:, piece],
                method="decode",
            )
            cache, begin = out.cache, begin + size
            logits.append(out.logits)
        return jnp.concatenate(logits, 1)

    return jax.jit(decode)(variables)


@pytest.mark.parametrize("sizes", [(6,), (1, 3, 2)])
def test_pieces_with_a_cache_equal_the_whole(variables, sizes):
    got = in_pieces(t5.T5(**SMALL), variables, sizes)
    # The cache has two empty slots: sums of other lengths.
    np.testing.assert_allclose(got, run(variables).logits, atol=2e-5)


def test_padding_on_the_left_of_what_is_written_changes_nothing(variables):
    mask = jnp.array([[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1]], bool)
    expected = run(variables, written=WRITTEN[:, 2:]).logits[0]
    whole = run(variables, written_mask=mask).logits[0, 2:]
    np.testing.assert_allclose(whole, expected, atol=2e-5)
    pieces = in_pieces(t5.T5(**SMALL), variables, (3, 3), mask)[0, 2:]
    np.testing.assert_allclose(pieces, expected, atol=2e-5)


def test_padding_of_what_is_read_changes_nothing(variables):
    expected = run(variables, IDS[1:, :3], None, WRITTEN[1:])
    got = run(variables)
    np.testing.assert_allclose(got.logits[1:], expected.logits, atol=2e-5)
    rolled = run(variables, jnp.roll(IDS, 2, 1), jnp.roll(MASK, 2, 1))
    np.testing.assert_allclose(rolled.logits[1:], expected.logits, atol=2e-5)


def test_nothing_looks_ahead(variables):
    other = WRITTEN.at[:, 4].set(29)
    a, b = run(variables).logits, run(variables, written=other).logits
    np.testing.assert_allclose(a[:, :4], b[:, :4], atol=1e-6)
    assert abs(a[:, 4:] - b[:, 4:]).max() > 1e-3


def test_scan_equals_loop_with_and_without_a_cache(variables):
    scanned, stacked = t5.T5(**SMALL, scan=True), depth.stack(variables)
    expected = run(variables)
    got = run(stacked, scan=True, remat="full")
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), got, expected
    )
    pieces = in_pieces(scanned, stacked, (2, 4))
    np.testing.assert_allclose(pieces, expected.logits, atol=2e-5)


def test_half_precision_is_near(variables):
    got, expected = run(variables, dtype=jnp.bfloat16), run(variables)
    assert got.logits.dtype == jnp.bfloat16
    error = got.logits.astype(jnp.float32) - expected.logits
    # Eight bits of mantissa, through five blocks.
    assert jnp.sqrt(jnp.square(error).mean()) < 0.03 * expected.logits.std()


def test_every_parameter_of_the_newer_kind_learns():
    model = t5.T5(**SMALL | V1_1 | {"depth": 1, "decoder_depth": 1})
    variables = drawn(model)

    def loss(variables):
        rngs = {"dropout": jax.random.key(1)}
        out = model.apply(variables, IDS, WRITTEN, MASK, train=True, rngs=rngs)
        return jnp.square(out.logits).mean()

    gradient = jax.jit(jax.grad(loss))(variables)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        assert np.abs(leaf).max() > 1e-6, jax.tree_util.keystr(path)


def test_the_start_is_of_the_right_size():
    """Logits of attention about 1, whatever the width of a head."""
    model = t5.T5(vocab_size=50, width=64, depth=1, heads=2, head_dim=64, hidden=64)
    variables = jax.jit(model.init)(jax.random.key(0), IDS, WRITTEN)["params"]
    for side, part in (("encoder", "attention"), ("decoder", "cross_attention")):
        layer = variables[side]["layers_0"][part]
        product = layer["query"]["kernel"].std() * layer["key"]["kernel"].std()
        # x · Wq · Wk · x sums 64 · 64 products for each of 64 places of a head.
        assert 0.8 < product * 64 * 64**0.5 < 1.25, part
        product = layer["value"]["kernel"].std() * layer["out"]["kernel"].std()
        assert 0.8 < product * 64**0.5 * 128**0.5 < 1.25, part


def test_greedy_tokens_are_those_of_the_reference(load_vector):
    config, name, params, inputs, outputs = load_vector("t5_relu_tied")
    model = FAMILY.build(config, name)
    shapes = jax.eval_shape(model.init, jax.random.key(0), IDS, WRITTEN)
    variables, _, problems = table.convert(FAMILY.rows(model), params, shapes)
    assert not problems
    ids = jnp.asarray(inputs["input_ids"], jnp.int32)
    mask = jnp.asarray(inputs["attention_mask"], bool)
    expected = outputs["greedy"]

    @jax.jit
    def write(variables):
        encoded = model.apply(variables, ids, mask, method="encode")
        memory = model.apply(variables, encoded, method="remember")

        def step(carry, _):
            token, cache = carry
            out = model.apply(
                variables, token[:, None], memory, mask, cache, method="decode"
            )
            token = out.logits[:, -1].argmax(-1).astype(jnp.int32)
            return (token, out.cache), token

        steps = expected.shape[1] - 1
        start = jnp.zeros(2, jnp.int32), model.start_cache(2, steps)
        return jax.lax.scan(step, start, length=steps)[1].T

    np.testing.assert_array_equal(write(variables), expected[:, 1:])


@pytest.fixture
def load_vector(parity_folder):
    """Configuration, class, weights, inputs and outputs of a reference vector."""

    def load(name):
        stem = parity_folder / "open" / name
        case = json.loads(stem.with_suffix(".json").read_text())
        parts = {"params": {}, "inputs": {}, "outputs": {}}
        for key, array in load_file(stem.with_suffix(".safetensors")).items():
            kind, _, tensor = key.partition("/")
            parts[kind][tensor] = array
        return case["config"]["config_json"], case["class"], *parts.values()

    return load


@pytest.mark.parametrize(
    ("make", "millions"),
    [
        (t5.t5_small, 60.507),
        (t5.t5_base, 222.904),
        (t5.flan_t5_small, 76.961),
        (t5.flan_t5_xxl, 11135.332),
        (t5.mt5_small, 300.177),
    ],
)
def test_named_sizes_have_their_parameters(make, millions):
    model = make(scan=True)
    shapes = jax.eval_shape(model.init, jax.random.key(0), IDS, WRITTEN)
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    assert round(count / 1e6, 3) == millions


def test_training_asks_for_the_key_of_dropout(variables):
    model = t5.T5(**SMALL)
    with pytest.raises(flax.errors.InvalidRngError, match="dropout"):
        jax.eval_shape(lambda v: model.apply(v, IDS, WRITTEN, train=True), variables)


@pytest.mark.usefixtures("unchecked")
def test_rejects_what_does_not_fit(variables):
    model = t5.T5(**SMALL)
    apply = lambda *given: jax.eval_shape(model.apply, variables, *given)
    with pytest.raises(ValueError, match=r"whole numbers \[batch, time\]; got float32"):
        apply(IDS.astype(jnp.float32), WRITTEN)
    with pytest.raises(ValueError, match=r"bool \[2, 6\], .*got bool \[2, 5"):
        apply(IDS, WRITTEN, MASK, MASK)
