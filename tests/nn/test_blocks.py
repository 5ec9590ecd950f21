from functools import partial

import flax.linen as nn
import jax
import numpy as np
import pytest

from jaxml.nn import stochastic_depth
from jaxml.nn.attention import Attention
from jaxml.nn.blocks import Block
from jaxml.nn.feed_forward import FeedForward, GatedFeedForward
from jaxml.nn.stochastic_depth import DropPath

PARTS = {
    "attention": partial(Attention, heads=2),
    "feed_forward": partial(FeedForward, 12),
    "norm": partial(nn.LayerNorm, use_fast_variance=False),
}


def draw(*shape, seed=0):
    return jax.random.normal(jax.random.key(seed), shape)


def applied(module, params, *args, **options):
    return module.apply({"params": params}, *args, **options)


@pytest.mark.parametrize("position", ["pre", "post"])
def test_is_the_sum_of_its_parts(position):
    x, context = draw(2, 5, 8), draw(2, 3, 8, seed=1)
    block = Block(
        **PARTS, cross_attention=partial(Attention, heads=4), norm_position=position
    )
    params = jax.jit(block.init)(jax.random.key(0), x, context)["params"]
    params = jax.tree.map(lambda p: p + 0.1, params)
    parts = (
        ("attention", lambda p, y: applied(Attention(heads=2), p, y, causal=True)[0]),
        ("cross_attention", lambda p, y: applied(Attention(heads=4), p, y, context)[0]),
        ("feed_forward", lambda p, y: applied(FeedForward(12), p, y)),
    )
    assert {f"{name}{end}" for name, _ in parts for end in ("", "_norm")} == set(params)
    expected = x
    for name, part in parts:
        norm = partial(applied, PARTS["norm"](), params[f"{name}_norm"])
        if position == "pre":
            expected = expected + part(params[name], norm(expected))
        else:
            expected = norm(expected + part(params[name], expected))
    got, _ = applied(block, params, x, context, causal=True)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_layer_scale_starts_where_it_is_told():
    x = draw(2, 5, 8)
    block = Block(**PARTS, layer_scale=1e-6)
    variables = jax.jit(block.init)(jax.random.key(0), x)
    assert set(variables["params"]) >= {"attention_scale", "feed_forward_scale"}
    np.testing.assert_allclose(block.apply(variables, x)[0], x, atol=1e-4)


def test_gated_feed_forward_is_the_formula():
    x = draw(3, 8)
    layer = GatedFeedForward(6, use_bias=True)
    params = layer.init(jax.random.key(0), x)["params"]
    params = jax.tree.map(lambda p: p + 0.1, params)
    dense = lambda name, y: y @ params[name]["kernel"] + params[name]["bias"][None]
    expected = dense("down", jax.nn.silu(dense("gate", x)) * dense("up", x))
    np.testing.assert_allclose(applied(layer, params, x), expected, rtol=1e-5)


def test_drop_path_drops_whole_rows_and_keeps_the_mean():
    x = np.ones((4000, 2, 3), np.float32)
    drop = partial(DropPath(0.25).apply, {}, jax.numpy.asarray(x))
    np.testing.assert_array_equal(drop(), x)
    y = np.asarray(drop(deterministic=False, rngs={"dropout": jax.random.key(0)}))
    values = y.reshape(4000, -1)
    assert (values == values[:, :1]).all()
    assert set(np.unique(values).round(5)) == {0, np.float32(4 / 3).round(5)}
    assert y.mean() == pytest.approx(1, abs=0.03)  # 4 standard errors


def test_drop_path_of_a_block_leaves_the_shortcut():
    x = draw(64, 2, 8)
    block = Block(**PARTS, drop_path=0.9)
    variables = jax.jit(block.init)(jax.random.key(0), x)
    y, _ = block.apply(variables, x, train=True, rngs={"dropout": jax.random.key(1)})
    untouched = (y == x).all((1, 2)).mean()
    assert 0.6 < untouched < 0.95  # 0.81 expected


def test_rates_grow_with_depth():
    assert stochastic_depth.rates(0.3, 4) == pytest.approx([0, 0.1, 0.2, 0.3])


def test_rejects():
    x = draw(1, 2, 8)
    init = lambda **options: jax.eval_shape(
        Block(**PARTS, **options).init, jax.random.key(0), x
    )
    with pytest.raises(ValueError, match="nearest: pre"):
        init(norm_position="prae")
    with pytest.raises(ValueError, match="a context needs cross_attention"):
        init(cross_attention=PARTS["attention"])
    with pytest.raises(ValueError, match="rate must be from 0 to below 1; got 1"):
        DropPath(1.0).apply({}, x)
