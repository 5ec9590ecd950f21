"""The kernel of an LSTM beside the loop that stands for it elsewhere."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.ops import lstm, native

# odd sizes: tiles of rows and of features that are not full, one step, one row
SIZES = [(5, 3, 2, 4, False), (4, 13, 5, 17, True), (3, 9, 3, 70, False), (1,) * 4]
close = partial(np.testing.assert_allclose, rtol=2e-5, atol=5e-6)


def arrays(t, b, d, h):
    rng = np.random.default_rng(0)
    draw = lambda *shape, scale=1.0: jnp.asarray(
        scale * rng.normal(size=shape), jnp.float32
    )
    state = (draw(b, h), draw(b, h))
    kernels = draw(d, 4 * h, scale=d**-0.5), draw(h, 4 * h, scale=h**-0.5)
    return draw(t, b, d), state, *kernels, draw(4 * h)


def plain(x, state, *weights, reverse):
    """The loop, with the derivatives of the loop."""
    y, memory, *_ = lstm._scan(x, *state, *weights, reverse=reverse, keep=False)
    return y, (y[0 if reverse else -1], memory)


def with_slopes(function, reverse):
    def loss(*arguments):
        y, (hidden, memory) = function(*arguments, reverse=reverse)
        return jnp.sin(y).sum() + jnp.cos(2 * hidden).sum() + (memory**2).sum(), y

    return jax.jit(jax.value_and_grad(loss, argnums=tuple(range(5)), has_aux=True))


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("kernel", [True, False])
def test_values_and_slopes_are_those_of_the_loop(size, kernel, monkeypatch):
    if kernel and not lstm.enabled():
        pytest.skip(f"no kernel: {native.reason('lstm')}")
    if not kernel:  # what a GPU runs
        monkeypatch.setattr(
            native,
            "call",
            lambda _, __, fallback, ___, *inputs, **____: fallback(*inputs),
        )
    *sizes, reverse = (*size, True)[:5]
    data = arrays(*sizes)
    got = with_slopes(lstm.run, reverse)(*data)
    jax.tree.map(close, got, with_slopes(plain, reverse)(*data))


def test_large_values_saturate_and_nan_stays():
    if not lstm.enabled():
        pytest.skip(f"no kernel: {native.reason('lstm')}")
    x, state, *weights = arrays(4, 3, 2, 4)
    wide = x.at[0].set(1e6).at[1, 1].set(-1e30).at[2, 2, 0].set(jnp.nan)
    got = jax.jit(lstm.run)(wide, state, *weights)
    jax.tree.map(close, got, plain(wide, state, *weights, reverse=False))


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (lambda x, state, *w: (x, state, *(a[..., :12] for a in w)), "four gates of 4"),
        (lambda x, state, *w: (x[:0], state, *w), "at least one step"),
    ],
    ids=["gates", "steps"],
)
def test_rejects_what_the_kernel_would_read_beyond(cut, message):
    with pytest.raises(ValueError, match=message):
        lstm.run(*cut(*arrays(4, 3, 2, 4)))


def test_the_kernel_refuses_sizes_that_do_not_fit():
    if not lstm.enabled():
        pytest.skip(f"no kernel: {native.reason('lstm')}")
    x, state, *weights = arrays(4, 3, 2, 4)
    short = (x, *state, *(array[..., :12] for array in weights))
    with pytest.raises(jax.errors.JaxRuntimeError, match="shapes do not fit"):
        jax.block_until_ready(lstm._forward(short, False, keep=True))


def test_population_by_vmap():
    if not lstm.enabled():
        pytest.skip(f"no kernel: {native.reason('lstm')}")
    x, state, *weights = arrays(4, 3, 2, 4)
    many = [jnp.stack([w, 2 * w]) for w in weights]
    y, _ = jax.jit(jax.vmap(lambda *w: lstm.run(x, state, *w)))(*many)
    for n in range(2):
        close(y[n], plain(x, state, *(w[n] for w in many), reverse=False)[0])
