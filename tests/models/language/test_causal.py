"""What every causal language model must keep, whatever it computes."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml import sharding
from jaxml.models.language import causal
from jaxml.models.language.gpt2 import GPT2
from jaxml.models.language.llama import Llama
from jaxml.models.language.mixtral import Mixtral
from jaxml.nn import depth, rules

SMALL = {"vocab_size": 24, "width": 16, "depth": 2, "heads": 4, "hidden": 16}
MODELS = {
    "gpt2": partial(GPT2, max_positions=16, **SMALL),
    "llama": partial(Llama, kv_heads=2, qk_norm=True, qkv_bias=True, **SMALL),
    "window": partial(Llama, kv_heads=2, window=4, tied=True, **SMALL),
    "mixtral": partial(Mixtral, kv_heads=2, experts=4, **SMALL),
}
IDS = jnp.asarray(np.random.default_rng(0).integers(0, 24, (3, 10)), jnp.int32)
PADDED = [[0] * 4 + [1] * 6, [1] * 10, [1] * 2 + [0] * 5 + [1] * 3]


@pytest.fixture(scope="module", params=MODELS)
def case(request):
    """Maker, variables that are no fixed point of anything, logits of the text."""
    make = MODELS[request.param]
    model = make()
    shapes = jax.eval_shape(model.init, jax.random.key(0), IDS)
    rng = np.random.default_rng(1)
    draw = lambda leaf: jnp.asarray(
        rng.normal(leaf.ndim == 1, 0.3, leaf.shape), leaf.dtype
    )
    variables = jax.tree.map(draw, shapes)
    return make, variables, jax.jit(model.apply)(variables, IDS).logits


def scanned(variables):
    return depth.stack(variables)


close = partial(np.testing.assert_allclose, rtol=2e-4, atol=2e-5)


def test_no_token_sees_a_later_one(case):
    make, variables, logits = case
    later = IDS.at[:, 6].add(1) % 24
    changed = jax.jit(make().apply)(variables, later).logits
    np.testing.assert_array_equal(changed[:, :6], logits[:, :6])
    assert np.all(np.any(changed[:, 6:] != logits[:, 6:], (1, 2)))


@pytest.mark.parametrize("scan", [False, True], ids=["loop", "scan"])
def test_pieces_equal_the_whole_with_padding_anywhere(case, scan):
    make, variables, _ = case
    real = jnp.array(PADDED, bool)
    model = make(scan=scan)
    # Each row alone, without its padding, is what must come out.
    alone = np.zeros((3, 10, 24), np.float32)
    squeeze = jax.jit(make().apply)
    for row in range(3):
        count = int(real[row].sum())
        first = jnp.argsort(~real[row], stable=True)
        text = jnp.where(jnp.arange(10) < count, IDS[row][first], 0)[None]
        alone[row, np.asarray(real[row])] = squeeze(variables, text).logits[0, :count]
    given = scanned(variables) if scan else variables
    run = jax.jit(model.apply)
    if not scan and model.__class__ is not Llama:  # windows go by index, not by place
        whole = run(given, IDS, real).logits
        close(whole[real], alone[real])
    cache, pieces = model.start_cache(3, 10), []
    for first, last in ((0, 4), (4, 8), (8, 9), (9, 10)):
        output = run(given, IDS[:, first:last], real[:, first:last], cache=cache)
        cache = output.cache
        pieces.append(output.logits)
    close(jnp.concatenate(pieces, 1)[real], alone[real])


def test_scan_and_remat_change_nothing(case):
    make, variables, logits = case

    def loss(variables, model):
        out = model.apply(variables, IDS).logits
        return jnp.sin(out).sum(), out

    grad = lambda model, variables: jax.jit(
        jax.grad(partial(loss, model=model), has_aux=True)
    )(variables)
    slope, _ = grad(make(), variables)
    again, same = grad(make(remat="full"), variables)
    close(same, logits)
    largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(slope))
    near = partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-5 * largest)
    jax.tree.map(near, again, slope)
    deep, same = grad(make(scan=True, remat="dots_saveable"), scanned(variables))
    close(same, logits)
    jax.tree.map(near, depth.unstack(deep), dict(slope))


def test_population_and_half_precision(case):
    make, variables, logits = case
    both = jax.tree.map(lambda leaf: jnp.stack([leaf, 0.5 * leaf]), variables)
    many = jax.jit(jax.vmap(lambda v: make().apply(v, IDS).logits))(both)
    close(many[0], logits)
    assert not np.allclose(many[1], logits, atol=0.1)
    half = jax.jit(make(dtype=jnp.bfloat16).apply)(variables, IDS)
    assert half.logits.dtype == half.last_hidden_state.dtype == jnp.bfloat16
    # eight bits of mantissa through two blocks; experts may be chosen otherwise
    error = np.abs(half.logits.astype(jnp.float32) - logits)
    assert np.median(error) < 0.05 * np.std(logits)


@pytest.mark.parametrize(
    ("kind", "scan"), [("tensor", False), ("fsdp", False), ("both", True)]
)
def test_sharded_parameters_give_the_same(case, kind, scan):
    make, variables, logits = case
    mesh = sharding.mesh(data=4, model=2)
    table = {
        "tensor": rules.tensor_parallel(),
        "fsdp": rules.fsdp_tensor_parallel(),
        "both": rules.fsdp_tensor_parallel("data", "model"),
    }[kind]
    given = dict(scanned(variables) if scan else variables)
    where = sharding.shardings(given, table, mesh, every_rule=False)
    for path, place in zip(sharding.paths(given), jax.tree.leaves(where), strict=True):
        small = re.search("position|router|norm|bias", path)
        assert small or not place.is_fully_replicated, path
    ids = jnp.concatenate([IDS, IDS[:1]])
    got = jax.jit(make(scan=scan).apply)(
        jax.device_put(given, where), jax.device_put(ids, sharding.batch(mesh))
    )
    close(got.logits[:3], logits)


def test_intermediates_are_reachable(case):
    make, variables, _ = case
    look = jax.jit(partial(make().apply, mutable=["intermediates"]))
    output, state = look(variables, IDS)
    seen = state["intermediates"]
    assert len(seen["hidden_states"]) == 3
    np.testing.assert_array_equal(seen["hidden_states"][-1], output.last_hidden_state)
    for layer in ("layers_0", "layers_1"):
        assert seen[layer]["attention"]["attention"][0].shape == (3, 4, 10, 10)


def test_classifier_reads_the_last_real_token(case):
    make, variables, _ = case
    model = causal.Classifier(make(head=False), num_classes=5)
    mask = jnp.array(PADDED, bool).at[2, 2:].set(False)
    made = jax.eval_shape(model.init, jax.random.key(0), IDS)
    assert "head" not in made["params"]["network"]
    kernel = jax.random.normal(jax.random.key(2), (16, 5))
    network = {k: v for k, v in variables["params"].items() if k != "head"}
    given = {"params": {"network": network, "classifier": {"kernel": kernel}}}
    got = jax.jit(model.apply)(given, IDS, mask)
    states = jax.jit(make().apply)(variables, IDS, mask).last_hidden_state
    expected = jnp.stack([states[0, 9], states[1, 9], states[2, 1]]) @ kernel
    close(got, expected)


@pytest.mark.usefixtures("unchecked")
def test_rejects_wrong_rank_and_kind(case):
    make, variables, _ = case
    run = lambda *args: jax.eval_shape(make().apply, variables, *args)
    for ids in (IDS[0], IDS.astype(jnp.float32)):
        with pytest.raises(ValueError, match="whole numbers"):
            run(ids)
    for mask in (jnp.ones((3, 10)), jnp.ones((3, 9), bool)):
        with pytest.raises(ValueError, match=r"mask must be bool \[3, 10\]"):
            run(IDS, mask)
