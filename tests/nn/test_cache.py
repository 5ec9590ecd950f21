"""Reading in pieces equals reading the whole, with padding anywhere."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.nn import cache as caches
from jaxml.nn.attention import Attention
from jaxml.nn.rotary import Rotary

MASKS = {
    "none": [[1] * 9, [1] * 9],
    "left": [[0] * 5 + [1] * 4, [1] * 9],
    "right": [[1] * 3 + [0] * 5 + [1], [1] * 9],
    "all": [[0, 1, 1, 0, 0, 1, 1, 0, 1], [0] * 8 + [1]],
}


@pytest.fixture(scope="module", params=[None, 3], ids=["full", "window"])
def attention(request):
    model = Attention(
        heads=4, kv_heads=2, head_dim=4, window=request.param, rotary=Rotary(4)
    )
    x = jax.random.normal(jax.random.key(0), (2, 9, 8))
    variables = jax.jit(model.init)(jax.random.key(1), x)
    return model, variables, x, jax.jit(model.apply)


@pytest.mark.parametrize("real", MASKS.values(), ids=MASKS)
def test_pieces_equal_the_whole(attention, real):
    model, variables, x, run = attention
    real = np.array(real, bool)
    positions = np.where(real, real.cumsum(1) - 1, -1)
    # The whole: what is seen, written by positions.
    apart = positions[:, :, None] - positions[:, None]
    seen = real[:, None] & (apart >= 0) & (apart < (model.window or 99))
    plain = Attention(heads=4, kv_heads=2, head_dim=4, rotary=Rotary(4))
    whole, _ = plain.apply(
        variables, x, mask=jnp.asarray(seen[:, None]), positions=jnp.asarray(positions)
    )
    cache = caches.start(2, 9, 2, 4, window=model.window)
    assert cache.position.shape[1] == (model.window or 9)
    pieces = []
    for first, last in ((0, 4), (4, 8), (8, 9)):
        part, cache = run(
            variables,
            x[:, first:last],
            positions=jnp.asarray(positions[:, first:last]),
            cache=cache,
        )
        pieces.append(part)
    got = jnp.concatenate(pieces, 1)
    np.testing.assert_allclose(got[real], whole[real], rtol=1e-5, atol=1e-6)
    assert cache.length.tolist() == real.sum(1).tolist()


def test_padding_takes_no_slot_and_the_oldest_gives_way():
    cache = caches.start(1, 3, 1, 1)
    put = jax.jit(caches.append)
    tokens = lambda *x: jnp.array(x, jnp.float32).reshape(1, -1, 1, 1)
    cache = put(cache, tokens(7, 8), tokens(7, 8), jnp.array([[-1, 0]]))
    assert cache.position.tolist() == [[0, -1, -1]]
    cache = put(cache, tokens(9, 1, 2), tokens(9, 1, 2), jnp.array([[1, 2, 3]]))
    assert cache.position.tolist() == [[3, 1, 2]]
    assert cache.key.ravel().tolist() == [2, 9, 1]
    # More than fits in one piece: the last ones stay, each written once.
    cache = put(cache, *[tokens(*range(7))] * 2, jnp.arange(4, 11)[None])
    assert sorted(cache.position[0].tolist()) == [8, 9, 10]
    assert sorted(cache.value.ravel().tolist()) == [4, 5, 6]


def test_positions_after_tell_what_append_will_hold():
    cache = caches.start(2, 4, 1, 2)
    x = jnp.ones((2, 3, 1, 2))
    positions = jnp.array([[-1, 0, 1], [0, 1, 2]])
    told = caches.positions_after(cache, positions)
    assert told.tolist() == caches.append(cache, x, x, positions).position.tolist()


def test_rows_are_taken_from_caches_stacked_or_not():
    one = caches.start(3, 4, 1, 2)._replace(length=jnp.array([5, 6, 7]))
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), one)
    rows = jnp.array([2, 2, 0, 1])
    plain, deep = caches.take((one, stacked), rows)
    assert plain.length.tolist() == [7, 7, 5, 6]
    assert deep.length.tolist() == [[7, 7, 5, 6]] * 2
    assert deep.key.shape == (2, 4, *one.key.shape[1:])


def test_rejects_sizes_below_one_and_a_context():
    with pytest.raises(ValueError, match="must be at least 1"):
        caches.start(1, 0, 1, 1)
    x = jnp.ones((1, 2, 4))
    make = partial(Attention(heads=2).init, cache=caches.start(1, 2, 2, 2))
    with pytest.raises(ValueError, match="must be None with a context"):
        jax.eval_shape(make, jax.random.key(0), x, x)
