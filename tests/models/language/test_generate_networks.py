"""Generation by the networks themselves, in all the forms that they are kept in."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml import sharding
from jaxml.models.language.beam import beam_search
from jaxml.models.language.generate import generate
from jaxml.models.language.gpt2 import GPT2
from jaxml.models.language.llama import Llama
from jaxml.models.language.speculative import speculate
from jaxml.models.language.t5 import T5
from jaxml.nn import depth, rules

NEW = 7
IDS = jax.random.randint(jax.random.key(3), (3, 6), 1, 32)
MASK = jnp.arange(6)[None] >= jnp.array([0, 2, 5])[:, None]
OPTIONS = {"max_new_tokens": NEW, "bucket": 8}
gpt = partial(GPT2, vocab_size=32, width=16, depth=2, heads=4, max_positions=32)


def loud(model, *inputs):
    """Parameters far from their start, so that tokens differ."""
    variables = jax.jit(model.init)(jax.random.key(0), *inputs)
    leaves, tree = jax.tree.flatten(variables)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    more = [
        3 * x + 0.3 * jax.random.normal(k, x.shape)
        for x, k in zip(leaves, keys, strict=True)
    ]
    return jax.tree.unflatten(tree, more)


@pytest.mark.parametrize("network", ["gpt2", "windowed"])
def test_with_cache_as_without(network):
    model = gpt()
    if network == "windowed":
        sizes = {"heads": 4, "kv_heads": 2, "hidden": 32, "window": 4}
        model = Llama(vocab_size=32, width=16, depth=2, **sizes)
    variables = loud(model, IDS)
    out = generate(model, variables, IDS, MASK, **OPTIONS)

    @jax.jit
    def logits(ids, mask):
        return model.apply(variables, ids, mask).logits

    ids, size = jnp.pad(IDS, ((0, 0), (0, NEW))), IDS.shape[1]
    for i in range(NEW):
        mask = jnp.pad(MASK, ((0, 0), (0, i)), constant_values=True)
        mask = jnp.pad(mask, ((0, 0), (0, NEW - i)))
        token = logits(ids, mask)[:, size + i - 1].argmax(-1)
        ids = ids.at[:, size + i].set(token)
    np.testing.assert_array_equal(out.tokens, ids[:, size:])
    assert len(np.unique(out.tokens)) > 3


def test_an_encoder_decoder_with_cache_as_without():
    sizes = {"width": 16, "heads": 2, "head_dim": 8, "hidden": 32, "depth": 2}
    model = T5(vocab_size=32, **sizes)
    variables = loud(model, IDS, IDS)
    out = generate(model, variables, IDS, MASK, **OPTIONS)

    @jax.jit
    def logits(said):
        encoded = model.apply(variables, IDS, MASK, method="encode")
        given = variables, said, encoded, MASK
        return model.apply(*given, method="decode").logits

    said = jnp.zeros((3, NEW + 1), jnp.int32)
    for i in range(NEW):
        said = said.at[:, i + 1].set(logits(said)[:, i].argmax(-1))
    np.testing.assert_array_equal(out.tokens, said[:, 1:])
    best = beam_search(model, variables, IDS, MASK, num_beams=1, **OPTIONS)
    np.testing.assert_array_equal(best.tokens[:, 0], out.tokens)


def test_stacked_and_sharded_parameters_say_the_same():
    model = gpt()
    variables = loud(model, IDS)
    out = generate(model, variables, IDS, MASK, **OPTIONS)
    mesh = sharding.mesh(data=2, model=4)
    where = sharding.shardings(
        variables, rules.tensor_parallel(), mesh, every_rule=False
    )
    sharded = jax.device_put(variables, where)
    got = generate(model, sharded, IDS, MASK, **OPTIONS)
    np.testing.assert_array_equal(got.tokens, out.tokens)

    stacked, scanned = depth.stack(variables, "layers"), gpt(scan=True)
    got = generate(scanned, stacked, IDS, MASK, **OPTIONS)
    np.testing.assert_array_equal(got.tokens, out.tokens)
    beams = [
        beam_search(m, v, IDS, MASK, num_beams=3, eos_token_id=5, **OPTIONS).tokens
        for m, v in ((model, variables), (scanned, stacked))
    ]
    np.testing.assert_array_equal(*beams)
    first = {k: x for k, x in variables["params"].items() if k != "layers_1"}
    draft = gpt(depth=1), {"params": first}
    got = speculate(scanned, stacked, *draft, IDS, MASK, draft_tokens=2, **OPTIONS)
    np.testing.assert_array_equal(got.tokens, out.tokens)


def test_rejects_more_than_there_are_positions():
    model = gpt()
    variables = jax.eval_shape(model.init, jax.random.key(0), IDS)
    with pytest.raises(ValueError, match=r"must be at most 32 together; got 6 \+ 27"):
        generate(model, variables, IDS, MASK, max_new_tokens=27)
