from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from jaxml.nn.attention import Attention
from jaxml.nn.rotary import Rotary


def given(t=5, width=8):
    return jax.random.normal(jax.random.key(1), (2, t, width))


def started(model, *args):
    return jax.jit(model.init)(jax.random.key(0), *args)


def as_flax(params, heads, kv_heads):
    """The parameters in the shapes of Flax's own attention; shared heads repeated."""

    def split(layer, count):
        by_head = lambda x: x.reshape(*x.shape[:-1], count, -1)
        repeat = lambda x: jnp.repeat(by_head(x), heads // count, x.ndim - 1)
        return jax.tree.map(repeat, layer)

    out = params["out"]
    return {
        "query": split(params["query"], heads),
        "key": split(params["key"], kv_heads),
        "value": split(params["value"], kv_heads),
        "out": {
            "kernel": out["kernel"].reshape(heads, -1, out["kernel"].shape[-1]),
            "bias": out["bias"],
        },
    }


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_equals_flax_with_shared_heads_repeated(kv_heads):
    x, context = given(), given(7)
    mask = jax.random.bernoulli(jax.random.key(2), 0.7, (2, 1, 5, 7))
    mask = mask.at[..., 0].set(True)
    model = Attention(heads=4, kv_heads=kv_heads)
    variables = started(model, x, context)
    theirs = nn.MultiHeadDotProductAttention(num_heads=4)
    params = {"params": as_flax(variables["params"], 4, kv_heads)}
    out, cache = jax.jit(model.apply)(variables, x, context, mask=mask)
    assert cache is None
    expected = jax.jit(theirs.apply)(params, x, context, mask=mask)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)


def test_equals_torch(parity_folder):
    """nn.MultiheadAttention, whose mask is True where a key is hidden."""
    file = load_file(parity_folder / "open" / "nn_mha.safetensors")
    packed = [np.split(file[f"params/in_proj_{x}"], 3) for x in ("weight", "bias")]
    params = {
        name: {"kernel": weight.T, "bias": bias}
        for name, weight, bias in zip(("query", "key", "value"), *packed, strict=True)
    }
    # Its values are made of half of what its keys are made of.
    params["value"]["kernel"] = params["value"]["kernel"] / 2
    params["out"] = {
        "kernel": file["params/out_proj.weight"].T,
        "bias": file["params/out_proj.bias"],
    }
    (out, _), state = Attention(heads=4).apply(
        {"params": params},
        jnp.asarray(file["inputs/q"]),
        jnp.asarray(file["inputs/k"]),
        mask=jnp.asarray(file["inputs/mask"] == 0)[:, None, None],
        mutable=["intermediates"],
    )
    weights = state["intermediates"]["attention"][0]
    np.testing.assert_allclose(out, file["outputs/out"], atol=3e-6)
    np.testing.assert_allclose(weights, file["outputs/w"], atol=3e-6)


def test_weights_are_shown_only_when_asked_for():
    x = given()
    model = Attention(heads=2)
    variables = started(model, x)
    assert set(variables) == {"params"}
    _, state = model.apply(variables, x, causal=True, mutable=["intermediates"])
    (weights,) = state["intermediates"]["attention"]
    assert weights.shape == (2, 2, 5, 5)
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-6)
    assert not np.triu(weights, 1).any()


def test_dropout_drops_weights_in_training_alone():
    x = given()
    model = Attention(heads=2, dropout=0.5)
    variables = started(model, x)
    run = jax.jit(partial(model.apply, train=True))
    drop = lambda seed: run(variables, x, rngs={"dropout": jax.random.key(seed)})[0]
    calm = model.apply(variables, x)[0]
    assert not np.allclose(drop(0), drop(1))
    mean = np.mean([drop(seed) for seed in range(400)], 0)
    # standard error of 400 draws of weights that are 0 or doubled
    np.testing.assert_allclose(mean, calm, atol=0.15)


def test_rotary_scores_depend_on_distances_alone():
    x = given()
    model = Attention(heads=2, rotary=Rotary(4))
    variables = started(model, x)
    run = lambda first: model.apply(
        variables, x, causal=True, positions=first + jnp.arange(5)[None]
    )[0]
    np.testing.assert_allclose(run(0), run(100), rtol=1e-4, atol=1e-5)
    turned = model.apply(variables, x, positions=3 * jnp.arange(5)[None])[0]
    assert not np.allclose(turned, model.apply(variables, x)[0], atol=1e-3)


def test_bfloat16_computes_and_float32_stores():
    x = given().astype(jnp.bfloat16)
    norm = partial(nn.RMSNorm, dtype=jnp.bfloat16)
    model = Attention(heads=2, qk_norm=norm, rotary=Rotary(4), dtype=jnp.bfloat16)
    variables = started(model, x)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    assert set(variables["params"]) > {"query_norm", "key_norm"}
    assert model.apply(variables, x)[0].dtype == jnp.bfloat16


def test_rejects_heads_that_do_not_divide():
    x = given()
    for options, message in (
        ({"heads": 4, "kv_heads": 3}, "kv_heads must divide heads = 4; got 3"),
        ({"heads": 3}, "heads must divide the features 8"),
    ):
        with pytest.raises(ValueError, match=message):
            jax.eval_shape(Attention(**options).init, jax.random.key(0), x)
