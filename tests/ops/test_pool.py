from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.ops import pool

SIZES = [(2, 2, 0), (3, 2, 1), (3, 2, 0), (3, 1, 1), (2, 3, 0), (1, 2, 0), (4, 2, 2)]


def flax_pool(pooling, x, window, stride, padding):
    return pooling(x, (window,) * 2, (stride,) * 2, ((padding, padding),) * 2)


@pytest.mark.parametrize(("window", "stride", "padding"), SIZES)
@pytest.mark.parametrize("name", ["max_pool", "avg_pool"])
def test_values_and_gradients_are_those_of_flax(name, window, stride, padding, key):
    x = jax.random.normal(key, (2, 9, 11, 3))  # no ties, so every rule agrees
    ours = lambda x: getattr(pool, name)(
        x, window=window, stride=stride, padding=padding
    )
    theirs = lambda x: flax_pool(getattr(nn, name), x, window, stride, padding)
    cotangent = jax.random.normal(key, jax.eval_shape(theirs, x).shape)

    @partial(jax.jit, static_argnums=0)
    def value_and_gradient(pooling, x):
        y, vjp = jax.vjp(pooling, x)
        return y, vjp(cotangent)

    jax.tree.map(
        # sums of at most sixteen numbers in another order
        partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-6),
        value_and_gradient(ours, x),
        value_and_gradient(theirs, x),
    )


@pytest.mark.parametrize(("window", "stride", "padding"), SIZES)
def test_ties_send_the_gradient_to_the_first_as_in_torch(window, stride, padding, key):
    torch = pytest.importorskip("torch")
    x = np.asarray(jax.random.randint(key, (2, 9, 11, 3), 0, 3), np.float32)
    theirs = torch.tensor(x.transpose(0, 3, 1, 2), requires_grad=True)
    torch.nn.functional.max_pool2d(theirs, window, stride, padding).sum().backward()
    ours = lambda x: pool.max_pool(x, window=window, stride=stride, padding=padding)
    gradient = jax.jit(jax.grad(lambda x: ours(x).sum()))(jnp.asarray(x))
    np.testing.assert_array_equal(gradient, theirs.grad.numpy().transpose(0, 2, 3, 1))


def test_nan_is_never_hidden(key):
    x = jax.random.normal(key, (1, 4, 4, 1))
    for row in range(2):
        for column in range(2):
            y = jax.jit(pool.max_pool)(x.at[0, row, column].set(jnp.nan))
            assert np.isnan(y).sum() == 1
            assert np.isnan(y[0, 0, 0, 0])


def test_keeps_bfloat16_and_takes_second_and_forward_derivatives(key):
    x = jax.random.normal(key, (1, 4, 4, 2))
    assert pool.max_pool(
        x.astype(jnp.bfloat16), window=3, stride=2, padding=1
    ).dtype == (jnp.bfloat16)
    energy = lambda x: (pool.max_pool(x) ** 2).sum()
    assert (
        jax.jit(jax.hessian(energy))(x).sum() == 2 * 8
    )  # one 2 for each of the 8 windows


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 5}, "at least as large as the window 5; got 4 x 4"),
        ({"window": 0}, "window and stride must be >= 1; got 0"),
        ({"stride": 0}, "window and stride must be >= 1; got 2 and 0"),
        ({"padding": 2}, "padding must be from 0 to half the window 2; got 2"),
    ],
)
def test_rejects_sizes_that_do_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        pool.max_pool(jnp.zeros((1, 4, 4, 1)), **options)
