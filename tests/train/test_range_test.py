"""The range test on losses whose breaking point is known."""

import math
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxml.train import range_test

CURVATURE = 4.0  # gradient descent on CURVATURE * w ** 2 / 2 breaks above 2 / CURVATURE


def loss_fn(params, extra, batch, key):
    del key
    loss = CURVATURE / 2 * jnp.square(params["w"]).sum() * batch["scale"]
    return loss, (extra, {})


def run(batches=None, **options):
    params = {"w": jnp.full(3, 2.0)}
    batches = [{"scale": jnp.ones(())}] * 3 if batches is None else batches
    options = {"optimizer": optax.sgd, "low": 1e-4, "steps": 80, "smoothing": 0.5} | (
        options
    )
    return range_test.range_test(
        loss_fn, params, batches, key=jax.random.key(0), **options
    )


def test_stops_where_descent_breaks():
    result = run()
    assert result.diverged
    # The distance to the minimum is multiplied by 1 - rate * CURVATURE at each step:
    # the loss can climb above the limit alone, and takes a few steps to come back up.
    limit = 2 / CURVATURE
    lowest = result.rates[np.argmin(result.losses)]
    assert limit / 2 < lowest < 2 * limit
    assert limit < result.rates[-1] < 20 * limit
    assert result.suggestion == pytest.approx(
        result.rates[np.argmin(result.smoothed)] / 10
    )


def test_rates_rise_by_equal_factors_and_are_those_used():
    result = run(low=1e-3, high=1e-1, steps=21, smoothing=0.0)
    np.testing.assert_allclose(result.rates, np.geomspace(1e-3, 1e-1, 21), rtol=1e-12)
    assert not result.diverged
    w, losses = 2.0, []
    for rate in result.rates:
        losses.append(3 * CURVATURE / 2 * w**2)
        w -= rate * CURVATURE * w
    np.testing.assert_allclose(result.losses, losses, rtol=1e-4)
    np.testing.assert_array_equal(result.losses, result.smoothed)


def test_suggests_nothing_where_the_loss_never_falls():
    result = run([{"scale": -jnp.ones(())}], steps=10, high=1e-2)
    assert result.suggestion > 0  # upside down it falls for ever
    result = run([{"scale": jnp.ones(())}], low=10.0, high=100.0, steps=10)
    assert math.isnan(result.suggestion)
    assert result.diverged


def test_stops_on_a_loss_that_is_not_finite():
    batches = [{"scale": jnp.ones(())}] * 4 + [{"scale": jnp.array(jnp.nan)}]
    result = run(batches, high=1e-2)
    assert result.diverged
    assert result.losses.shape == result.rates.shape == (4,)


def test_leaves_what_it_was_given():
    params, extra = {"w": jnp.full(3, 2.0)}, {"seen": jnp.zeros(())}

    def counting(params, extra, batch, key):
        loss, _ = loss_fn(params, None, batch, key)
        return loss, ({"seen": extra["seen"] + 1}, {})

    range_test.range_test(
        counting,
        params,
        [{"scale": jnp.ones(())}],
        key=jax.random.key(0),
        extra=extra,
        steps=5,
    )
    np.testing.assert_array_equal(params["w"], 2.0)
    assert extra["seen"] == 0


def test_plots_without_pyplot(tmp_path):
    path = tmp_path / "rates.png"
    had = "matplotlib.pyplot" in sys.modules
    range_test.plot(run(), path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert ("matplotlib.pyplot" in sys.modules) == had
    range_test.plot(run([{"scale": jnp.array(jnp.nan)}]), path)  # an empty sweep


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"low": 1.0, "high": 0.1}, "0 < low < high; got 1.0 and 0.1"),
        ({"low": 0.0}, "0 < low < high; got 0.0"),
        ({"steps": 1}, "at least 2; got 1"),
        ({"smoothing": 1.0}, "below 1; got 1.0"),
        ({"batches": []}, "at least one batch.*round 1"),
        (
            {"batches": iter([{"scale": jnp.ones(())}])},
            "got none in round 2",
        ),
    ],
)
def test_rejects(options, message):
    with pytest.raises(ValueError, match=message):
        run(**options)
